//! Rounds: parts alone, then every rate.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sealcast_control::door::Doors;
use sealcast_control::usage::{Meter, MeterConfig};
use sealcast_net::shard::{self, Executor};

use super::bare::Bare;
use super::devices::{self, Got};
use super::mint::{Mint, Requests};
use super::options::Options;
use super::parts;
use super::report;
use crate::host::{Host, executor};
use crate::interrupt::Interrupt;
use crate::progress::progress;
use crate::record::{Origin, printed};

/// The thread of the only door.
const DOOR: &str = "door-0";
/// For a door to hear its news.
const SETTLE: Duration = Duration::from_millis(100);

/// One rate in one round.
pub(super) struct Turn {
    pub(super) rate: u32,
    pub(super) got: Got,
    /// What the kernel dropped in front of the door.
    pub(super) dropped: u64,
}

/// Runs the bench, and says what is to be printed.
///
/// # Errors
/// If the cores are not there or the same, a door does not begin, sockets cannot be opened, or it is interrupted.
pub fn run(options: &Options) -> Result<String> {
    ensure!(
        options.door_core != options.load_core,
        "core {} cannot both answer and ask: what is measured needs a core of its own",
        options.door_core
    );
    let interrupt = Interrupt::listen()?;
    let host = Host::pinned(Some(options.load_core))?;
    let told = vec![format!(
        "{} sockets of devices, no segmentation offload; the door waits in {}",
        options.sockets,
        executor(options.io_uring)
    )];
    let origin = Origin::new(host, told);
    let (mut turns, mut bare, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    let bar = progress(2 * usize::from(options.rounds) * options.rates.len());
    for round in 1..=options.rounds {
        let alone = parts::alone(&mut Mint::new(round.into()))?;
        parts.push(alone);
        for &rate in &options.rates {
            interrupt.check()?;
            bar.set_message(format!("round {round}, {rate} requests/s"));
            turns.push(turn(options, round, rate)?);
            bar.inc(1);
            bar.set_message(format!("round {round}, {rate} requests/s, no door"));
            bare.push(turn_bare(options, round, rate, alone.lengths.1)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let rows = report::rows(&parts, &turns, &bare);
    Ok(printed(options.json, &origin, &rows, report::text)?)
}

/// The requests of a turn.
fn requests(options: &Options, round: u16, rate: u32) -> Result<(Mint, Requests)> {
    let mut mint = Mint::new(u64::from(round) << 32 | u64::from(rate));
    let count = u64::from(rate) * u64::from(options.window) / 1000;
    let requests = mint.requests(usize::try_from(count)?)?;
    Ok((mint, requests))
}

/// Asks the server whose thread has this name.
fn ask(
    options: &Options,
    server: SocketAddr,
    name: &str,
    mut requests: Requests,
    rate: u32,
) -> Result<Got> {
    let (sockets, thread) = (options.sockets, thread_named(name)?);
    let asking = shard::start(
        "devices",
        Executor::default().on(options.load_core),
        move || async move { devices::ask(server, thread, &mut requests, sockets, rate).await },
    )?;
    asking.join()?
}

/// The same without a door: system calls alone.
fn turn_bare(options: &Options, round: u16, rate: u32, reply: usize) -> Result<Turn> {
    let (_, requests) = requests(options, round, rate)?;
    let bare = Bare::start(executor(options.io_uring).on(options.door_core), reply)?;
    let got = ask(options, bare.addr(), Bare::THREAD, requests, rate)?;
    // Nobody expects keys of it.
    let got = Got { wrong: 0, ..got };
    let dropped = bare.stop()?;
    Ok(Turn { rate, got, dropped })
}

fn turn(options: &Options, round: u16, rate: u32) -> Result<Turn> {
    let (mint, requests) = requests(options, round, rate)?;
    let listen = "127.0.0.1:0".parse()?;
    // Counted as in a key server.
    let folder = tempfile::tempdir()?;
    let meter = Meter::start(&MeterConfig {
        folder: folder.path().to_owned(),
        slave: 1,
        interval: Duration::from_secs(1),
    })?;
    let doors = Doors::start(
        &[listen],
        &[executor(options.io_uring).on(options.door_core)],
        Some(meter.tap()),
    )?;
    mint.updates()
        .into_iter()
        .for_each(|update| doors.teller().tell(update));
    std::thread::sleep(SETTLE);
    let got = ask(options, doors.addrs()[0], DOOR, requests, rate)?;
    // Totals are published four times a second.
    std::thread::sleep(3 * SETTLE);
    let dropped = doors.stats().read().kernel_drops;
    drop(doors);
    let uncounted = meter.tap().stats().uncounted;
    meter.finish();
    ensure!(uncounted == 0, "the meter lost {uncounted} answers");
    Ok(Turn { rate, got, dropped })
}

/// The thread of this process with that name.
fn thread_named(name: &str) -> Result<i32> {
    for thread in fs::read_dir("/proc/self/task")? {
        let thread = thread?;
        let comm = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        if comm.trim() == name {
            return Ok(thread.file_name().to_string_lossy().parse()?);
        }
    }
    Err(anyhow::anyhow!("no thread {name}")).context("measuring the door")
}
