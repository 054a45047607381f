//! One contender at one rate, once: a stream begins, a receiver joins it, a window of it is measured, another receiver joins
//! late. Everything that is waited for has a limit, and every program ends with its turn.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

use super::checker::Arrivals;
use super::contender::{Contender, Keys};
use super::program::Program;
use super::traffic::{INPUT, OUTPUT, Traffic};
use crate::cpu::CpuTime;
use crate::interrupt::Interrupt;
use crate::lab::{Lab, Side};

/// A program is ready within this.
const START: Duration = Duration::from_secs(20);
/// A receiver that has delivered nothing for so long does not join.
const JOIN: Duration = Duration::from_secs(5);
/// Packets that are sent before the first receiver starts: the stream runs, and RTP's 16-bit numbers have not yet come round
/// when it joins.
const LEAD: u32 = 10_000;
/// From joining to measuring.
const SETTLE: Duration = Duration::from_secs(1);
/// From measuring to counting: more than anybody's buffer holds back.
const DRAIN: Duration = Duration::from_millis(700);

/// Where a turn takes place.
#[derive(Clone, Copy)]
pub(super) struct Stage<'a> {
    pub(super) lab: &'a Lab,
    /// For what programs say.
    pub(super) folder: &'a Path,
    /// Of the contender.
    pub(super) peer_core: usize,
    /// Of generator, checker and key server.
    pub(super) own_core: usize,
    /// Whether the checker takes batches whole.
    pub(super) gro: bool,
    pub(super) interrupt: &'a Interrupt,
}

impl Stage<'_> {
    /// Where sender and receiver may run.
    fn cores(&self, contender: &Contender) -> Vec<usize> {
        let own = contender.any_core.then_some(self.own_core);
        std::iter::once(self.peer_core).chain(own).collect()
    }
}

/// What came of a turn.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Outcome {
    /// Processor time of a packet that was delivered meanwhile.
    pub(super) sender: Duration,
    pub(super) receiver: Duration,
    /// Of the key server, if there is one.
    pub(super) server: Option<Duration>,
    pub(super) arrivals: Arrivals,
    /// From the stream's begin to its end.
    pub(super) corrupt: u64,
    /// In the window.
    pub(super) key_changes: u64,
    /// From the start of a receiver to the first payload.
    pub(super) join: Duration,
    /// The same later in the stream; None if none came.
    pub(super) late_join: Option<Duration>,
    /// Packets per second that were sent in the window.
    pub(super) offered: f64,
    /// The longest that the generator was late.
    pub(super) lateness: Duration,
    /// Datagrams that sockets dropped in the window, for want of buffer space.
    pub(super) drops: Drops,
}

/// Datagrams that sockets dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Drops {
    /// The sender's input.
    pub(super) input: u64,
    /// The receiver's, as far as its port is known.
    pub(super) network: u64,
    /// The checker's: no fault of the contender.
    pub(super) checker: u64,
}

/// Who is on stage.
struct Cast<'a> {
    stage: Stage<'a>,
    contender: &'a Contender,
    server: Option<Program>,
    sender: Program,
    traffic: Traffic,
}

/// What has been used and done so far.
struct Moment {
    at: Instant,
    sent: u64,
    genuine: u64,
    sender: CpuTime,
    receiver: CpuTime,
    server: Option<CpuTime>,
    epoch: Option<u64>,
}

/// Plays a turn.
///
/// # Errors
/// If a program cannot be started, ends, or delivers nothing; or the bench is interrupted.
pub(super) fn play(
    stage: Stage<'_>,
    contender: &Contender,
    rate: u32,
    window: Duration,
) -> Result<Outcome> {
    let mut cast = Cast::gather(stage, contender, rate)?;
    let (mut receiver, join) = cast.join()?;
    let join = join.ok_or_else(|| {
        anyhow!(
            "nothing arrived within {JOIN:?}: {}",
            cast.last_words(&receiver)
        )
    })?;
    stage.interrupt.sleep(SETTLE)?;
    cast.traffic.ask(|state| {
        state.lateness = Duration::ZERO;
        state.checker.open(state.sent)
    })??;
    let dropped = cast.drops()?;
    let before = cast.moment(&receiver)?;
    stage.interrupt.sleep(window)?;
    let after = cast.moment(&receiver)?;
    cast.traffic.ask(|state| state.checker.close(state.sent))?;
    stage.interrupt.sleep(DRAIN)?;
    let (arrivals, lateness) = cast
        .traffic
        .ask(|state| (state.checker.take(), state.lateness))?;
    let arrivals = arrivals.context("a window was open")?;
    let drops = cast.drops()?.since(dropped);
    receiver.must_run()?;
    receiver.stop();
    cast.catch_up()?;
    let (_, late_join) = cast.join()?;
    let corrupt = cast.traffic.ask(|state| state.checker.corrupt())?;
    cast.all_must_run()?;
    cast.end();
    let delivered = after.genuine.saturating_sub(before.genuine);
    let each =
        |time: Duration| Duration::from_secs_f64(time.as_secs_f64() / delivered.max(1) as f64);
    let server = after.server.as_ref().zip(before.server.as_ref());
    Ok(Outcome {
        sender: each(after.sender.since(&before.sender)),
        receiver: each(after.receiver.since(&before.receiver)),
        server: server.map(|(after, before)| each(after.since(before))),
        arrivals,
        corrupt,
        key_changes: key_changes(contender.keys, &before, &after),
        join,
        late_join,
        offered: (after.sent - before.sent) as f64 / (after.at - before.at).as_secs_f64(),
        lateness,
        drops,
    })
}

fn key_changes(keys: Keys, before: &Moment, after: &Moment) -> u64 {
    match keys {
        Keys::Never => 0,
        Keys::Packets(packets) => (after.sent - before.sent) / packets,
        Keys::Told => after
            .epoch
            .zip(before.epoch)
            .map_or(0, |(after, before)| after.saturating_sub(before)),
    }
}

impl<'a> Cast<'a> {
    /// Starts all but the receiver: the stream runs, and nobody hears it yet.
    fn gather(stage: Stage<'a>, contender: &'a Contender, rate: u32) -> Result<Self> {
        let Stage {
            lab,
            folder,
            interrupt,
            ..
        } = stage;
        let mut server = None;
        if let Some((line, runs)) = &contender.server {
            let place = (Side::Sender, &[stage.own_core][..]);
            let mut program = Program::start(lab, place, folder, "key server", line)?;
            program.wait_until(START, interrupt, runs, |program| {
                Ok(program.errors().contains(runs))
            })?;
            server = Some(program);
        }
        let cores = stage.cores(contender);
        let place = (Side::Sender, &cores[..]);
        let mut sender = Program::start(lab, place, folder, "sender", &contender.sender)?;
        sender.wait_until(START, interrupt, "listening for its input", |_| {
            Ok(lab.drops(Side::Sender, INPUT.port())?.is_some())
        })?;
        if contender.keys == Keys::Told {
            sender.wait_until(START, interrupt, "under a key", |sender| {
                Ok(epoch(&sender.output()).is_some())
            })?;
        }
        let traffic = Traffic::start(lab, stage.own_core, rate, contender.framing, stage.gro)?;
        let cast = Self {
            stage,
            contender,
            server,
            sender,
            traffic,
        };
        interrupt.sleep(Duration::from_secs(1) * LEAD / rate)?;
        Ok(cast)
    }

    /// Starts a receiver, and waits for the first payload: how long that took, if one came.
    fn join(&mut self) -> Result<(Program, Option<Duration>)> {
        let Stage {
            lab,
            folder,
            interrupt,
            ..
        } = self.stage;
        self.traffic.ask(|state| state.checker.forget_first())?;
        let cores = self.stage.cores(self.contender);
        let place = (Side::Receiver, &cores[..]);
        let mut receiver =
            Program::start(lab, place, folder, "receiver", &self.contender.receiver)?;
        let deadline = receiver.start + JOIN;
        while Instant::now() < deadline {
            let first = self
                .traffic
                .ask(|state| Some(state.begin + Duration::from_nanos(state.checker.first()?)))?;
            if let Some(first) = first {
                let join = first.saturating_duration_since(receiver.start);
                return Ok((receiver, Some(join)));
            }
            receiver.must_run()?;
            self.all_must_run()?;
            interrupt.sleep(Duration::from_millis(20))?;
        }
        Ok((receiver, None))
    }

    /// Waits until the checker has read what a receiver wrote that is no more.
    fn catch_up(&self) -> Result<()> {
        let deadline = Instant::now() + JOIN;
        loop {
            self.stage.interrupt.sleep(Duration::from_millis(20))?;
            if self.traffic.ask(|state| state.caught_up)? {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the checker cannot keep up with this rate on its core"
            );
        }
    }

    /// In order: the sender while its input still comes, then the key server.
    fn end(self) {
        self.sender.stop();
        if let Some(server) = self.server {
            server.stop();
        }
    }

    fn all_must_run(&mut self) -> Result<()> {
        self.server.as_mut().map_or(Ok(()), Program::must_run)?;
        self.sender.must_run()
    }

    fn last_words(&self, receiver: &Program) -> String {
        format!(
            "the receiver said: {}\nthe sender said: {}",
            receiver.last_words(),
            self.sender.last_words()
        )
    }

    fn moment(&self, receiver: &Program) -> Result<Moment> {
        let (at, sent, genuine) = self
            .traffic
            .ask(|state| (Instant::now(), state.sent, state.checker.genuine()))?;
        let server = self.server.as_ref();
        Ok(Moment {
            at,
            sent,
            genuine,
            sender: CpuTime::of(self.sender.pid())?,
            receiver: CpuTime::of(receiver.pid())?,
            server: server.map(|server| CpuTime::of(server.pid())).transpose()?,
            epoch: epoch(&self.sender.output()),
        })
    }

    fn drops(&self) -> Result<Drops> {
        let at = |side, port| {
            let drops = self.stage.lab.drops(side, port)?;
            anyhow::Ok(drops.unwrap_or(0))
        };
        Ok(Drops {
            input: at(Side::Sender, INPUT.port())?,
            network: at(Side::Receiver, self.contender.port)?,
            checker: at(Side::Receiver, OUTPUT.port())?,
        })
    }
}

impl Drops {
    /// A socket that is new begins again.
    const fn since(self, earlier: Self) -> Self {
        Self {
            input: self.input.saturating_sub(earlier.input),
            network: self.network.saturating_sub(earlier.network),
            checker: self.checker.saturating_sub(earlier.checker),
        }
    }
}

/// The epoch in the last line of `sealcast send --json` that tells one.
fn epoch(output: &str) -> Option<u64> {
    let mut lines = output.lines().rev();
    lines.find_map(|line| {
        let status: Value = serde_json::from_str(line).ok()?;
        status["channels"]["1"]["keys"]["epoch"].as_u64()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_tells_the_epoch() {
        let line =
            |epoch| format!("{{\"channels\":{{\"1\":{{\"keys\":{{\"epoch\":{epoch}}}}}}}}}\n");
        assert_eq!(epoch(&(line(3) + &line(4))), Some(4));
        assert_eq!(epoch(&(line(3) + "{\"channels\":{\"1\":{\"ke")), Some(3));
        assert_eq!(epoch(&(line(3).replace('3', "null"))), None);
        assert_eq!(epoch(""), None);
    }

    #[test]
    fn key_changes_are_counted_as_keys_change() {
        let time = CpuTime::of(std::process::id()).unwrap();
        let moment = |sent, epoch| Moment {
            at: Instant::now(),
            sent,
            genuine: 0,
            sender: time.clone(),
            receiver: time.clone(),
            server: None,
            epoch,
        };
        let (before, after) = (moment(1000, Some(2)), moment(101_100, Some(7)));
        assert_eq!(key_changes(Keys::Packets(20_000), &before, &after), 5);
        assert_eq!(key_changes(Keys::Told, &before, &after), 5);
        assert_eq!(key_changes(Keys::Never, &before, &after), 0);
        assert_eq!(key_changes(Keys::Told, &moment(0, None), &after), 0);
    }
}
