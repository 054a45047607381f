//! `sealcast load capture`: a packet trace of a live feed or of a capture.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use sealcast_dataplane::endpoint::{Input, UdpOptions};
use sealcast_dataplane::pcap::PcapReader;
use sealcast_loadgen::trace::{self, CaptureError, Summary};
use sealcast_net::{mailbox, shard};

use crate::Failure;
use crate::channels::group_options;
use crate::config::ExecutorArgs;
use crate::signals::Signals;

/// How often signals and the end are looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Flags of `sealcast load capture`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A trace says when each datagram came, for which address, how long it was and of what kind (TS, RTP with TS, other); \
    never what was in it. Without --seconds a live feed is recorded until INT or TERM.\n\
    Exit codes: 0 recorded, 1 nothing came or the kernel dropped some, 2 wrong flags, 3 cannot open or write."
)]
pub struct CaptureArgs {
    /// What to record: udp://GROUP:PORT?iface=.., rtp://.., or pcap:FILE?dst=ADDR:PORT
    #[arg(long, value_name = "URL")]
    from: Input,
    /// Record so long from the first datagram on; if none comes, wait so long (live feeds)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// The trace to write; what is there is replaced
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    executor: ExecutorArgs,
}

/// Records.
pub fn run(args: &CaptureArgs) -> Result<(), Failure> {
    let (summary, complaint) = match &args.from {
        Input::Pcap {
            path,
            dst,
            repeat: false,
        } => {
            if args.seconds.is_some() {
                let why = anyhow!("--seconds is for live feeds: a capture is taken in whole");
                return Err(Failure::Configuration(why));
            }
            let cannot = |error| failure(args, error);
            let reader = PcapReader::open(path, *dst).map_err(|error| cannot(error.into()))?;
            let recorded = trace::pcap(reader, create(&args.output)?);
            let (summary, counts) = recorded.map_err(cannot)?;
            let missing = counts.fragments + counts.short;
            let complaint = format!(
                "{missing} packets of the capture are pieces of datagrams and not in the trace: capture with -s 0 and datagrams below \
                 the MTU"
            );
            (summary, (missing > 0).then_some(complaint))
        }
        Input::Udp(options) | Input::Rtp { options, .. } => {
            let (summary, drops) = live(args, options)?;
            let complaint = format!(
                "the kernel dropped {drops} buffers of datagrams that are not in the trace: give the socket more, for example buffer=16M"
            );
            (summary, (drops > 0).then_some(complaint))
        }
        other => {
            let why = anyhow!(
                "{other} cannot be recorded: give udp://, rtp://, or pcap:FILE without loop="
            );
            return Err(Failure::Configuration(why));
        }
    };
    if summary.packets == 0 {
        let why = anyhow!(
            "{}: nothing came; is it sent, and through this interface (iface=)?",
            args.from
        );
        return Err(Failure::NotAsItMustBe(why));
    }
    println!("{}: {summary}", args.output.display());
    complaint.map_or(Ok(()), |why| Err(Failure::NotAsItMustBe(anyhow!(why))))
}

/// A file for a trace.
pub(super) fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    File::create(path)
        .map(BufWriter::new)
        .with_context(|| format!("cannot write {}", path.display()))
        .map_err(Failure::CannotOpen)
}

fn failure(args: &CaptureArgs, error: CaptureError) -> Failure {
    Failure::CannotOpen(anyhow!("{}: {error}", args.from))
}

fn live(args: &CaptureArgs, options: &UdpOptions) -> Result<(Summary, u64), Failure> {
    let signals = Signals::listen().map_err(|error| Failure::CannotOpen(error.into()))?;
    let group = group_options(options).map_err(Failure::CannotOpen)?;
    let (path, length) = (args.output.clone(), args.seconds.map(Duration::from_secs));
    let stop = Arc::new(AtomicBool::new(false));
    let (told, mut recorded) = mailbox::mailbox(1);
    let stopped = Arc::clone(&stop);
    let shard = shard::start(
        "capture",
        args.executor.chosen().anywhere(),
        move || async move {
            let out = || File::create(path).map(BufWriter::new);
            let _ = told.try_send(trace::live(&group, length, &stopped, out).await);
        },
    );
    let shard = shard.map_err(|error| Failure::CannotOpen(error.into()))?;
    let result = loop {
        if let Some(result) = recorded.try_recv() {
            break result;
        }
        stop.store(signals.stop(), Ordering::Relaxed);
        std::thread::sleep(LOOK);
    };
    shard
        .join()
        .map_err(|error| Failure::NotAsItMustBe(error.into()))?;
    result.map_err(|error| failure(args, error))
}
