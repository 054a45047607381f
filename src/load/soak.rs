//! `sealcast load soak`: many channels in this process, for as long as one likes.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use sealcast_dataplane::coalesce::BUDGET_DEFAULT;
use sealcast_dataplane::pacer::Rate;
use sealcast_loadgen::soak::{self, CHANNELS_MAX, Plan, Quantiles, Report};
use sealcast_net::shard::Placement;
use sealcast_proto::timing::Timing;

use crate::Failure;
use crate::config::ExecutorArgs;
use crate::load::progress::Progress;
use crate::signals::Signals;

/// Flags of `sealcast load soak`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Every channel is generated, sent over multicast, received and compared byte by byte in this process, with keys and epochs \
    of its own and no key server.\n\
    Exit codes: 0 nothing was lost, corrupt, late or leaked, 1 something was, 2 wrong flags, 3 cannot open."
)]
pub struct SoakArgs {
    /// Channels, 1 to 10000
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(CHANNELS_MAX)))]
    channels: u16,
    /// Bits of payload per second of each channel
    #[arg(long, default_value = "4M", value_name = "BITS")]
    rate: Rate,
    /// How long, from when all channels run
    #[arg(long, default_value = "1m", value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Pin a shard to each of these cores, for example 0,1
    #[arg(long, value_delimiter = ',', value_name = "CORES")]
    cores: Vec<usize>,
    #[command(flatten)]
    executor: ExecutorArgs,
    /// Life of a key; it is announced and fetched in its second half
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = humantime::parse_duration)]
    lifetime: Duration,
    /// How long packets may wait for others at senders
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    budget: Option<Duration>,
    /// Let one more channel end and begin anew this often
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    churn: Option<Duration>,
    /// Interface that everything goes over
    #[arg(long, default_value = "lo", value_name = "NAME")]
    iface: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs until the time is over, or INT or TERM comes.
pub fn run(args: &SoakArgs) -> Result<(), Failure> {
    let plan = plan(args).map_err(Failure::Configuration)?;
    let signals = Signals::listen().map_err(|error| Failure::CannotOpen(error.into()))?;
    let progress = Progress::endless();
    let report = soak::run(&plan, |sample| {
        progress.say(format!(
            "{:.0} s, {} packets sent, {} delivered, {} key changes, {} faults, {} MiB, {:.1} s of CPU",
            sample.seconds,
            sample.sent,
            sample.delivered,
            sample.switches,
            sample.faults,
            sample.resident >> 20,
            sample.cpu_seconds
        ));
        !signals.stop()
    });
    progress.clear();
    let report = report.map_err(|error| Failure::CannotOpen(error.into()))?;
    print(&report, args.json).map_err(Failure::NotAsItMustBe)?;
    if report.passed {
        return Ok(());
    }
    Err(Failure::NotAsItMustBe(anyhow!(
        "the soak found faults, see above"
    )))
}

/// As one JSON object, or for people.
fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)?;
        return Ok(());
    }
    let (all, least, most) = report.switches;
    let Report {
        channels, seconds, ..
    } = report;
    writeln!(
        out,
        "{channels} channels for {seconds:.0} s: {:.0} packets/s",
        report.packets_per_second
    )?;
    writeln!(
        out,
        "packets      {} sent, {} delivered",
        report.sent, report.delivered
    )?;
    writeln!(out, "key changes  {all}, {least} to {most} of a channel")?;
    if report.visits > 0 {
        writeln!(
            out,
            "visits       {} times one more channel began and ended",
            report.visits
        )?;
    }
    writeln!(
        out,
        "CPU          {:.2} cores, {:.2} us for a packet generated, sent, received and checked",
        report.cores_used, report.cpu_us_per_packet
    )?;
    let growth = report.growth.map_or_else(
        || "growth is told of runs over 140 s".to_owned(),
        |growth| format!("{growth:+} bytes after the second minute"),
    );
    writeln!(out, "memory       {} MiB, {growth}", report.resident >> 20)?;
    writeln!(out, "drift        {} us", report.drift_ns / 1000)?;
    for (name, times) in [
        ("due to sent", report.send_latency),
        ("received to out", report.receive_latency),
        ("PCR jitter", report.pcr_jitter),
    ] {
        let Quantiles {
            p50_us,
            p99_us,
            max_us,
            ..
        } = times;
        writeln!(
            out,
            "{name:<16} p50 {p50_us} us, p99 {p99_us} us, longest {max_us} us"
        )?;
    }
    for (what, count) in &report.faults {
        writeln!(out, "FAULT        {count} {what}")?;
    }
    writeln!(out, "{}", if report.passed { "PASSED" } else { "FAILED" })?;
    Ok(())
}

fn plan(args: &SoakArgs) -> anyhow::Result<Plan> {
    let timing = Timing::new(
        args.lifetime,
        args.lifetime / 2,
        args.lifetime / 4,
        args.lifetime / 20,
    )
    .with_context(|| format!("--lifetime {:?} is no life of a key", args.lifetime))?;
    Ok(Plan {
        channels: args.channels,
        rate: args.rate.bits(),
        duration: args.duration,
        shards: Placement::each(&args.cores, args.executor.chosen()),
        timing,
        budget: args.budget.unwrap_or(BUDGET_DEFAULT),
        churn: args.churn,
        iface: args.iface.clone(),
    })
}
