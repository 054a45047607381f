//! `sealcast load stream`: flags to a plan, progress on a terminal, the report as text, JSON, page.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::ValueEnum;
use sealcast_dataplane::endpoint::{Input, Output, UdpOptions, quantity};
use sealcast_loadgen::report::{self, Cell, Fact, Report};
use sealcast_loadgen::run::{self, Plan};
use sealcast_loadgen::scenario::{SIZES, Scenario, ScenarioError, Setup};
use sealcast_loadgen::schedule::{FLOWS_MAX, Rate, Shape, Traffic};
use sealcast_loadgen::source::Source;
use sealcast_loadgen::trace::replay::Replay;
use sealcast_net::shard::Placement;

use crate::Failure;
use crate::channels::group_options;
use crate::config::ExecutorArgs;
use crate::load::addresses::spread;
use crate::load::progress::Progress;
use crate::load::replay::ReplayArgs;
use crate::signals::Signals;

/// Flags of `sealcast load stream`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Open loop: datagrams are due on a schedule that waits for nobody, and latency counts from when each was due.\n\
    Targets and sinks may be the same group (plain multicast), or input and output of what is measured:\n  \
    sealcast load stream udp://239.1.1.1:5000?iface=lo --sink udp://239.1.1.1:5000?iface=lo --rate 100M\n  \
    sealcast load stream udp://127.0.0.1:5000 --sink udp://127.0.0.1:6000 --rate 100M   # around send and receive\n  \
    sealcast load stream --sink udp://239.1.1.1:5000?iface=eth0                         # verifies what another host sends\n  \
    sealcast load stream udp://239.1.1.1:5000?iface=eth0 --trace feed.trace --speed 2   # a feed again, twice as fast\n\
    Exit codes: 0 everything came, whole and in order (without a sink: was sent), 1 not so, 2 wrong flags, 3 cannot open.\n\
    What the numbers mean: docs/load.md."
)]
pub struct StreamArgs {
    /// Where to send: udp://ADDRESS:PORT with options as for --group of `sealcast send`; flows take targets in turn
    #[arg(value_name = "TARGET", required_unless_present_any = ["sinks", "scenario"])]
    targets: Vec<String>,
    /// Receive here and verify; may be given more than once
    #[arg(long = "sink", value_name = "URL")]
    sinks: Vec<String>,
    /// Every target and sink stands for so many addresses, each the one before plus one
    #[arg(long, default_value_t = 1, value_name = "N")]
    groups: u32,
    /// Every target and sink stands for so many ports, one after the other
    #[arg(long, default_value_t = 1, value_name = "N")]
    ports: u16,
    /// Bits of payload per second, of all flows together (for example 20M), or `max`: as many as can be sent
    #[arg(long, default_value = "10M", value_parser = rate)]
    rate: Rate,
    /// Datagrams per second, of all flows together, in place of --rate
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = packets)]
    pps: Option<Rate>,
    /// Bytes of payload of each datagram; multiples of 188 are TS packets
    #[arg(long, default_value_t = 1316, value_name = "BYTES")]
    size: usize,
    /// Streams with numbers of their own (default: one for each target)
    #[arg(long, value_name = "N")]
    flows: Option<u32>,
    /// How datagrams of a flow follow each other: constant, variable (as coded video), bursts:N
    #[arg(long, default_value = "constant", value_parser = shape)]
    shape: Shape,
    #[command(flatten)]
    replay: ReplayArgs,
    /// How long; sinks alone: at most so long, for ever if it is not given
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Chooses what is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Pin one generator to each of these cores, for example 2,3
    #[arg(long, value_delimiter = ',', value_name = "CORES")]
    cores: Vec<usize>,
    /// Pin one shard of sinks to each of these cores
    #[arg(long, value_delimiter = ',', value_name = "CORES")]
    sink_cores: Vec<usize>,
    #[command(flatten)]
    executor: ExecutorArgs,
    /// Never sleep, neither generators nor sinks: exact times for a whole core each
    #[arg(long)]
    busy: bool,
    /// Sinks alone: how much longer each datagram took than the quickest before it, for senders on other hosts
    #[arg(long, conflicts_with = "targets")]
    variation: bool,
    /// Run a named measurement after RFC 3918 instead of one stream
    #[arg(long, value_name = "NAME", conflicts_with_all = ["duration", "variation"])]
    scenario: Option<ScenarioName>,
    /// Of a scenario: how long each trial is
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    trial: Duration,
    /// Of a scenario: trials of each point
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Of a scenario: bytes of payload, one after the other (default: 64 to 1472 and seven TS packets; group-capacity: --size)
    #[arg(long, value_delimiter = ',', value_name = "BYTES")]
    sizes: Vec<usize>,
    /// Of the scenario join: started in each trial, killed after it; for example `sealcast receive` with the sink as its output
    #[arg(long, value_name = "COMMAND", requires = "scenario")]
    command: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write a page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Named measurements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ScenarioName {
    /// The highest rate at which nothing is lost, by bisection, for each size
    AggregatedThroughput,
    /// How many groups at once (--groups or --ports: up to how many)
    GroupCapacity,
    /// Least, mean, percentiles and greatest latency at the rate, for each size
    Latency,
    /// From joining, or from the start of --command, to the first datagram
    Join,
    /// Seal and send, receive and open, beside plain, on one core (no target needed), for each size
    Encapsulation,
}

impl From<ScenarioName> for Scenario {
    fn from(name: ScenarioName) -> Self {
        match name {
            ScenarioName::AggregatedThroughput => Self::AggregatedThroughput,
            ScenarioName::GroupCapacity => Self::GroupCapacity,
            ScenarioName::Latency => Self::Latency,
            ScenarioName::Join => Self::Join,
            ScenarioName::Encapsulation => Self::Encapsulation,
        }
    }
}

/// Without a duration a generator sends so long.
const DURATION: Duration = Duration::from_secs(10);
/// Addresses and ports that a run may have.
const ADDRESSES_MAX: u64 = FLOWS_MAX as u64;

pub(super) fn rate(text: &str) -> Result<Rate, String> {
    match text {
        "max" => Ok(Rate::Unlimited),
        text => quantity(text).map(Rate::Bits).ok_or_else(|| {
            "write bits per second with k, M or G if you like, for example 20M, or max".to_owned()
        }),
    }
}

pub(super) fn packets(text: &str) -> Result<Rate, String> {
    let number = quantity(text).map(Rate::Packets);
    number.ok_or_else(|| "write datagrams per second, for example 20k".to_owned())
}

pub(super) fn shape(text: &str) -> Result<Shape, String> {
    let burst = |text: &str| {
        text.strip_prefix("bursts:")
            .and_then(|size| size.parse().ok())
    };
    match text {
        "constant" => Ok(Shape::Constant),
        "variable" => Ok(Shape::Variable),
        text => burst(text).map(Shape::Bursts).ok_or_else(|| {
            "there are constant, variable and bursts:N, for example bursts:20".to_owned()
        }),
    }
}

/// Where to send.
fn target(text: &str) -> anyhow::Result<UdpOptions> {
    let options = udp(text, "a target")?;
    // As an output it must say where to.
    text.parse::<Output>()?;
    Ok(options)
}

/// The address of an input or target: schedules pace what is sent, so that there is nothing to smooth.
fn udp(text: &str, what: &str) -> anyhow::Result<UdpOptions> {
    match text.parse()? {
        Input::Udp(options) => Ok(options),
        _ => Err(anyhow!("{text:?}: {what} is written udp://ADDRESS:PORT")),
    }
}

/// Runs it and tells what came of it.
pub fn run(args: &StreamArgs) -> Result<(), Failure> {
    let replay = args.replay.open(args.duration)?;
    let plan = args.plan(replay).map_err(Failure::Configuration)?;
    // Told before a long run, not after it.
    if let Some(file) = &args.html {
        write_page(file, "")?;
    }
    let signals = Signals::listen().map_err(|error| Failure::CannotOpen(error.into()))?;
    if let Some(name) = args.scenario {
        return args.measure(name, plan, &signals);
    }
    let progress = Progress::new(&plan);
    let outcome = run::run(&plan, &mut |sample| {
        progress.show(sample);
        !signals.stop()
    });
    progress.clear();
    let outcome = outcome.map_err(|error| Failure::CannotOpen(error.into()))?;
    tell(
        args.json,
        args.html.as_deref(),
        &report::of_stream(args.parameters(&plan), &outcome),
    )
}

impl StreamArgs {
    fn plan(&self, replay: Option<Replay>) -> anyhow::Result<Plan> {
        let each = self.each()?;
        let targets = spread(&self.targets, each, target)?;
        let sinks = spread(&self.sinks, each, |text| udp(text, "a sink"))?;
        let flows = self.flows.unwrap_or(u32::try_from(targets.len().max(1))?);
        let traffic = Traffic {
            shape: self.shape,
            rate: self.pps.unwrap_or(self.rate),
            len: self.size,
            flows,
            duration: self.duration.unwrap_or(DURATION),
            seed: self.seed,
        };
        let sends = !targets.is_empty() || self.scenario.is_some();
        let source = match replay {
            Some(replay) => Some(Source::Trace(replay)),
            None if sends => {
                traffic.check()?;
                Some(Source::Shape(traffic))
            }
            None => None,
        };
        let options =
            |all: &[UdpOptions]| all.iter().map(group_options).collect::<anyhow::Result<_>>();
        Ok(Plan {
            source,
            targets: options(&targets)?,
            sinks: options(&sinks)?,
            shards: Placement::each(&self.cores, self.executor.chosen()),
            sink_shards: Placement::each(&self.sink_cores, self.executor.chosen()),
            busy: self.busy,
            variation: self.variation,
            limit: self.duration,
        })
    }

    /// Runs a scenario.
    fn measure(&self, name: ScenarioName, plan: Plan, signals: &Signals) -> Result<(), Failure> {
        let sizes = match (self.sizes.as_slice(), name) {
            ([], ScenarioName::GroupCapacity | ScenarioName::Join) => vec![self.size],
            ([], _) => SIZES.to_vec(),
            (sizes, _) => sizes.to_vec(),
        };
        let mut parameters = self.parameters(&plan);
        // Trials say how long they are, and scenarios which sizes.
        parameters.retain(|fact| fact.key != "duration_s" && fact.key != "size");
        let setup = Setup {
            plan,
            trial: self.trial,
            repeats: self.repeats,
            sizes,
            command: self.command.clone(),
        };
        let progress = Progress::endless();
        let report = Scenario::from(name).run(&setup, &mut |what, sample| {
            progress.tick(what, sample);
            !signals.stop()
        });
        progress.clear();
        let mut report = report.map_err(|error| match error {
            ScenarioError::Open(error) => Failure::CannotOpen(error.into()),
            ScenarioError::Traffic(_) | ScenarioError::Missing(_) => {
                Failure::Configuration(error.into())
            }
            ScenarioError::Command { .. } | ScenarioError::Stopped => {
                Failure::NotAsItMustBe(error.into())
            }
        })?;
        parameters.append(&mut report.parameters);
        report.parameters = parameters;
        tell(self.json, self.html.as_deref(), &report)
    }

    /// Addresses and ports that each URL stands for.
    fn each(&self) -> anyhow::Result<(u32, u16)> {
        let all = u64::from(self.groups) * u64::from(self.ports);
        let urls = self.targets.len().max(self.sinks.len()) as u64;
        if all == 0 || all * urls > ADDRESSES_MAX {
            return Err(anyhow!(
                "{urls} URLs times {} groups times {} ports: choose 1 to {ADDRESSES_MAX} in all",
                self.groups,
                self.ports
            ));
        }
        Ok((self.groups, self.ports))
    }

    fn parameters(&self, plan: &Plan) -> Vec<Fact> {
        let mut facts = vec![
            fact("targets", "to", Cell::words(self.targets.join(" "))),
            fact("sinks", "sinks", Cell::words(self.sinks.join(" "))),
            fact(
                "groups",
                "groups of each URL",
                Cell::count(self.groups.into()),
            ),
            fact("ports", "ports of each URL", Cell::count(self.ports.into())),
            fact(
                "busy",
                "busy",
                Cell::words(if self.busy { "yes" } else { "no" }),
            ),
        ];
        if let Some(source) = &plan.source {
            match source {
                Source::Shape(traffic) => facts.extend([
                    fact("shape", "shape", Cell::words(shape_name(traffic.shape))),
                    fact("rate", "rate", rate_cell(traffic.rate)),
                    fact("size", "bytes of payload", Cell::count(traffic.len as u64)),
                    fact("seed", "seed", Cell::count(traffic.seed)),
                ]),
                Source::Trace(replay) => facts.extend(self.replay.facts(replay)),
            }
            facts.extend([
                fact("flows", "flows", Cell::count(source.flows().into())),
                fact(
                    "duration_s",
                    "seconds",
                    Cell::number(source.duration().as_secs_f64(), 1),
                ),
                fact(
                    "generators",
                    "generators",
                    Cell::count(plan.shards.len() as u64),
                ),
            ]);
        }
        facts
    }
}

/// Prints the report, writes its page; an error if it is not good.
pub(super) fn tell(json: bool, html: Option<&Path>, report: &Report) -> Result<(), Failure> {
    let text = match json {
        true => format!("{:#}\n", report.to_json()),
        false => report::to_text(report),
    };
    // Whoever reads may have read enough (`| head`).
    let _ = std::io::stdout().write_all(text.as_bytes());
    if let Some(file) = html {
        write_page(file, &report::to_html(report))?;
    }
    match report.good {
        true => Ok(()),
        false => Err(Failure::NotAsItMustBe(anyhow!("{}", report.result))),
    }
}

/// Writes a page.
pub(super) fn write_page(file: &Path, page: &str) -> Result<(), Failure> {
    fs::write(file, page)
        .with_context(|| format!("cannot write the page {}", file.display()))
        .map_err(Failure::CannotOpen)
}

pub(super) fn fact(key: &'static str, name: &'static str, cell: Cell) -> Fact {
    Fact { key, name, cell }
}

fn shape_name(shape: Shape) -> String {
    match shape {
        Shape::Constant => "constant".to_owned(),
        Shape::Variable => "variable".to_owned(),
        Shape::Bursts(size) => format!("bursts of {size}"),
    }
}

fn rate_cell(rate: Rate) -> Cell {
    match rate {
        Rate::Bits(bits) => Cell::rate(bits as f64),
        Rate::Packets(packets) => {
            let mut cell = Cell::count(packets);
            cell.text.push_str(" datagrams/s");
            cell
        }
        Rate::Unlimited => Cell::words("max"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        stream: StreamArgs,
    }

    fn plan(line: &[&str]) -> anyhow::Result<Plan> {
        let words = std::iter::once("load").chain(line.iter().copied());
        Line::try_parse_from(words)?.stream.plan(None)
    }

    fn traffic(plan: Plan) -> Traffic {
        match plan.source {
            Some(Source::Shape(traffic)) => traffic,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_url_stands_for_groups_and_ports() {
        let line = [
            "udp://239.1.1.254:5000",
            "--sink",
            "udp://127.0.0.1:6000",
            "--groups",
            "3",
            "--ports",
            "2",
        ];
        let plan = plan(&line).unwrap();
        let at = |place: usize| plan.targets[place].group.to_string();
        assert_eq!(
            [at(0), at(1), at(4)],
            ["239.1.1.254:5000", "239.1.1.254:5001", "239.1.2.0:5000"]
        );
        assert_eq!((plan.targets.len(), plan.sinks.len()), (6, 6));
        assert_eq!(traffic(plan).flows, 6);
    }

    #[test]
    fn rates_and_shapes_are_read() {
        let of = |line: &[&str]| {
            let plan = plan(&[&["udp://239.1.1.1:5000"], line].concat());
            traffic(plan.unwrap())
        };
        assert_eq!(of(&[]).rate, Rate::Bits(10_000_000));
        assert_eq!(of(&["--rate", "1.5G"]).rate, Rate::Bits(1_500_000_000));
        assert_eq!(of(&["--rate", "max"]).rate, Rate::Unlimited);
        assert_eq!(of(&["--pps", "20k"]).rate, Rate::Packets(20_000));
        assert_eq!(of(&["--shape", "bursts:7"]).shape, Shape::Bursts(7));
        assert_eq!(of(&["--duration", "90s"]).duration, Duration::from_secs(90));
    }

    #[test]
    fn bad_flags_say_what_to_write() {
        let cases: [(&[&str], &str); 12] = [
            (&["udp://0.0.0.0:5000"], "an address to send to is missing"),
            (&["udp://239.1.1.1:5000?smooth=5"], "no option \"smooth\""),
            (&[], "TARGET"),
            (
                &["udp://239.1.1.1:5000", "--rate", "fast"],
                "for example 20M, or max",
            ),
            (
                &["udp://239.1.1.1:5000", "--shape", "round"],
                "there are constant, variable and bursts:N",
            ),
            (
                &["udp://239.1.1.1:5000", "--size", "20"],
                "choose a size from 48",
            ),
            (&["--scenario", "speed"], "aggregated-throughput"),
            (&["udp://239.1.1.1"], "a port is missing"),
            (&["/tmp/file"], "a target is written udp://"),
            (&["--sink", "gen:?rate=1M"], "a sink is written udp://"),
            (&["udp://239.1.1.1:5000", "--groups", "9000"], "in all"),
            (
                &["udp://239.255.255.255:5000", "--groups", "2"],
                "go past the last",
            ),
        ];
        for (line, words) in cases {
            let said = plan(line).unwrap_err().to_string();
            assert!(said.contains(words), "{line:?}: {said}");
        }
    }
}
