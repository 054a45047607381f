//! One run: generators and sinks on shards of their own, watched from here.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rand::rngs::SysRng;
use rand_core::TryRng as _;
use sealcast_dataplane::status::Published;
use sealcast_net::shard::{self, ShardHandle};
use sealcast_net::{GroupOptions, clock};
use serde::Serialize;
use twox_hash::XxHash3_64;

use crate::control::{Control, OpenError};
use crate::generator::{GeneratorTask, Sent, SentNow};
use crate::latency::Times;
use crate::schedule::{Part, Traffic};
use crate::sink::{SinkTask, Sunk, SunkNow};
use crate::stamp::Run;
use crate::verify::{Clocks, Counts, Expect};

/// How often the shards are looked at.
const TICK: Duration = Duration::from_millis(20);
/// From opening to the first datagram.
const LEAD: u64 = 20_000_000;
/// When nothing came for so long, nothing is under way any more; and so long at most is waited for that.
const QUIET: Duration = Duration::from_millis(300);
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Points of a series, about.
const POINTS: u32 = 120;
/// Datagrams that the kernel joins in a receive buffer, at most (UDP_GRO_CNT_MAX): so many are lost with one that it drops.
pub const JOINED_MAX: u64 = 64;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to send; nothing without it.
    pub traffic: Option<Traffic>,
    /// Where to: flow f goes to the target f modulo their number.
    pub targets: Vec<GroupOptions>,
    /// Where to receive; none: send only.
    pub sinks: Vec<GroupOptions>,
    /// Generators, one per entry, pinned where a core is named.
    pub cores: Vec<Option<usize>>,
    /// Shards of sinks.
    pub sink_cores: Vec<Option<usize>>,
    /// Neither sleeps: exact times for a core each.
    pub busy: bool,
    /// Sinks alone measure how latency varies, whatever clock the sender has.
    pub variation: bool,
    /// How long sinks alone receive, at most.
    pub limit: Option<Duration>,
}

/// Where a run stands.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Sample {
    /// Seconds since the start.
    pub at: f64,
    /// Datagrams sent, all in all.
    pub sent: u64,
    /// Datagrams received whole.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Datagrams missing.
    pub lost: u64,
    /// Buffers that the kernel dropped at the sinks.
    pub drops: u64,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of the generators.
    pub sent: Option<Sent>,
    /// Of the sinks.
    pub received: Option<Received>,
    /// Where it stood, over time.
    pub series: Vec<Sample>,
    /// What people should know.
    pub notes: Vec<String>,
}

/// What the sinks found.
#[derive(Clone, Debug)]
pub struct Received {
    /// Of all sinks.
    pub counts: Counts,
    /// What became of the missing ones.
    pub loss: Loss,
    /// Of each sink, in the order in which they were given.
    pub sinks: Vec<SinkResult>,
    /// From when each datagram should have been sent to when it was received.
    pub times: Times,
    /// Datagrams that have no such time, for their sender has another clock.
    pub other_clocks: u64,
    /// Nanoseconds from the first to the last datagram.
    pub span: u64,
}

/// What one sink found.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct SinkResult {
    /// As verified.
    pub counts: Counts,
    /// Buffers that the kernel dropped for want of room.
    pub drops: u64,
    /// Nanoseconds from when the socket was open, or the run had started, to the first whole datagram.
    pub join_ns: Option<u64>,
    /// When that came, nanoseconds of the boot clock.
    pub first_ns: Option<u64>,
}

/// Missing datagrams by cause. The kernel counts dropped buffers, each of 1 to [`JOINED_MAX`] datagrams: hence bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Loss {
    /// All.
    pub lost: u64,
    /// The generator's kernel refused them.
    pub refused: u64,
    /// They came, damaged.
    pub corrupt: u64,
    /// The sinks' receive buffers were full: so many at least.
    pub receive_buffer_min: u64,
    /// So many at most.
    pub receive_buffer_max: u64,
    /// Lost between generator and sink: so many at least.
    pub path_min: u64,
    /// So many at most.
    pub path_max: u64,
}

impl Loss {
    /// Shares `lost` out.
    #[must_use]
    pub fn of(lost: u64, refused: u64, corrupt: u64, drops: u64) -> Self {
        let refused = refused.min(lost);
        let corrupt = corrupt.min(lost - refused);
        let rest = lost - refused - corrupt;
        let (min, max) = (drops.min(rest), drops.saturating_mul(JOINED_MAX).min(rest));
        Self {
            lost,
            refused,
            corrupt,
            receive_buffer_min: min,
            receive_buffer_max: max,
            path_min: rest - max,
            path_max: rest - min,
        }
    }
}

/// A run on its shards.
#[derive(Debug)]
struct Running {
    control: Arc<Control>,
    run: Run,
    generators: Vec<(ShardHandle<Option<Sent>>, Published<SentNow>)>,
    sinks: Vec<(ShardHandle<Option<Sunk>>, Published<SunkNow>)>,
}

/// Runs `plan` to its end. `watch` sees where it stands 50 times a second and says whether to go on.
///
/// # Errors
/// When a socket or shard cannot be opened.
pub fn run(plan: &Plan, watch: &mut dyn FnMut(&Sample) -> bool) -> Result<Outcome, OpenError> {
    let running = Running::open(plan)?;
    let start = clock::boottime() + LEAD;
    running.control.start.store(start, Ordering::Release);
    let length = plan
        .traffic
        .as_ref()
        .map(|traffic| traffic.duration)
        .or(plan.limit);
    let interval = length
        .map_or(1.0, |length| (length / POINTS).as_secs_f64())
        .max(0.1);
    let mut series = vec![Sample::default()];
    let mut note = |sample: &Sample| {
        if series
            .last()
            .is_none_or(|last| sample.at >= last.at + interval)
        {
            series.push(*sample);
        }
        watch(sample)
    };
    match &plan.traffic {
        Some(_) => running.send(start, &mut note),
        None => running.receive(start, plan.limit, &mut note),
    }
    let last = running.sample(start);
    series.push(last);
    running.finish(plan, start, series)
}

impl Running {
    /// Opens everything; nothing is sent yet.
    fn open(plan: &Plan) -> Result<Self, OpenError> {
        let run = Run {
            id: random()?,
            host: this_host(),
        };
        let mut running = Self {
            control: Arc::default(),
            run,
            generators: Vec::new(),
            sinks: Vec::new(),
        };
        let opened = running
            .open_sinks(plan)
            .and_then(|()| running.open_generators(plan));
        if let Err(error) = opened {
            running.control.stop.store(true, Ordering::Relaxed);
            running.control.drained.store(true, Ordering::Relaxed);
            return Err(error);
        }
        Ok(running)
    }

    fn open_sinks(&mut self, plan: &Plan) -> Result<(), OpenError> {
        let (ready, opened) = mpsc::channel();
        let shards = plan.sink_cores.len().min(plan.sinks.len());
        for (index, &core) in plan.sink_cores.iter().take(shards).enumerate() {
            let numbered = plan.sinks.iter().cloned().enumerate();
            let status = Published::default();
            let task = SinkTask {
                sinks: numbered.skip(index).step_by(shards).collect(),
                expect: if plan.traffic.is_some() {
                    Expect::From(self.run)
                } else {
                    Expect::Any
                },
                clocks: if plan.variation {
                    Clocks::Variation
                } else {
                    Clocks::SameHost(self.run.host)
                },
                busy: plan.busy,
                control: Arc::clone(&self.control),
                status: status.clone(),
            };
            let ready = ready.clone();
            let name = format!("sink-{index}");
            self.sinks
                .push((shard::start(&name, core, move || task.run(ready))?, status));
        }
        drop(ready);
        opened.into_iter().collect()
    }

    fn open_generators(&mut self, plan: &Plan) -> Result<(), OpenError> {
        let Some(traffic) = &plan.traffic else {
            return Ok(());
        };
        let (ready, opened) = mpsc::channel();
        let shards = u32::try_from(plan.cores.len())
            .unwrap_or(1)
            .min(traffic.flows)
            .max(1);
        for (index, core) in (0..shards).zip(plan.cores.iter().copied()) {
            let status = Published::default();
            let task = GeneratorTask {
                targets: plan.targets.clone(),
                schedule: traffic.schedule(Part { index, of: shards }),
                flows: traffic.flows,
                mine: (0..traffic.flows)
                    .filter(|flow| flow % shards == index)
                    .collect(),
                len: traffic.len,
                duration: u64::try_from(traffic.duration.as_nanos()).unwrap_or(u64::MAX),
                run: self.run,
                busy: plan.busy,
                control: Arc::clone(&self.control),
                status: status.clone(),
            };
            let ready = ready.clone();
            let name = format!("generator-{index}");
            self.generators
                .push((shard::start(&name, core, move || task.run(ready))?, status));
        }
        drop(ready);
        opened.into_iter().collect()
    }

    /// Waits until everything is sent and nothing comes any more.
    fn send(&self, start: u64, note: &mut dyn FnMut(&Sample) -> bool) {
        while !self
            .generators
            .iter()
            .all(|(_, status)| status.read().finished)
        {
            std::thread::sleep(TICK);
            if !note(&self.sample(start)) {
                self.control.stop.store(true, Ordering::Relaxed);
            }
        }
        let end = Instant::now();
        let (mut quiet, mut last) = (Instant::now(), 0);
        while !self.sinks.is_empty() && quiet.elapsed() < QUIET && end.elapsed() < DRAIN_MAX {
            std::thread::sleep(TICK);
            let sample = self.sample(start);
            if sample.received != last {
                (quiet, last) = (Instant::now(), sample.received);
            }
            note(&sample);
        }
    }

    /// Waits until the flows that came have ended, the time is over, or it is told to stop.
    fn receive(&self, start: u64, limit: Option<Duration>, note: &mut dyn FnMut(&Sample) -> bool) {
        let begin = Instant::now();
        let (mut quiet, mut last) = (Instant::now(), 0);
        while limit.is_none_or(|limit| begin.elapsed() < limit) {
            std::thread::sleep(TICK);
            let sample = self.sample(start);
            if sample.received != last {
                (quiet, last) = (Instant::now(), sample.received);
            }
            let ended = self.sinks.iter().any(|(_, status)| status.read().ended)
                && self.sinks.iter().all(|(_, status)| {
                    let now = status.read();
                    now.ended || now.counts.received == 0
                });
            if !note(&sample) || ended && quiet.elapsed() >= QUIET {
                return;
            }
        }
    }

    fn sample(&self, start: u64) -> Sample {
        let mut sample = Sample {
            at: clock::boottime().saturating_sub(start) as f64 / 1e9,
            ..Sample::default()
        };
        for (_, status) in &self.generators {
            sample.sent += status.read().packets;
        }
        for (_, status) in &self.sinks {
            let now = status.read();
            sample.received += now.counts.received;
            sample.received_bytes += now.counts.bytes;
            sample.lost += now.counts.lost;
            sample.drops += now.drops;
        }
        sample
    }

    /// Ends the shards and puts together what they found.
    fn finish(self, plan: &Plan, start: u64, series: Vec<Sample>) -> Result<Outcome, OpenError> {
        self.control.drained.store(true, Ordering::Relaxed);
        let mut sent: Option<Sent> = None;
        for (handle, _) in self.generators {
            let part = handle.join()?;
            sent = match (sent, part) {
                (Some(mut sent), Some(part)) => {
                    sent.add(&part);
                    Some(sent)
                }
                (sent, part) => sent.or(part),
            };
        }
        let mut sunk = Vec::new();
        for (handle, _) in self.sinks {
            sunk.extend(handle.join()?);
        }
        let mut notes = Vec::new();
        // Sinks alone wait for whoever sends already.
        let began = plan.traffic.as_ref().map_or(0, |_| start);
        let received = (!sunk.is_empty())
            .then(|| Received::of(sunk, sent.as_ref(), plan.sinks.len(), began, &mut notes));
        Ok(Outcome {
            sent,
            received,
            series,
            notes,
        })
    }
}

impl Sent {
    /// Adds what another core sent.
    fn add(&mut self, other: &Self) {
        self.now.packets += other.now.packets;
        self.now.bytes += other.now.bytes;
        self.now.refused += other.now.refused;
        self.flows
            .iter_mut()
            .zip(&other.flows)
            .for_each(|(flow, more)| *flow += more);
        self.lateness.add(&other.lateness);
        self.unsent += other.unsent;
        self.took = self.took.max(other.took);
        self.error = self.error.take().or_else(|| other.error.clone());
        self.batches &= other.batches;
    }
}

impl Received {
    fn of(
        sunk: Vec<Sunk>,
        sent: Option<&Sent>,
        sinks: usize,
        start: u64,
        notes: &mut Vec<String>,
    ) -> Self {
        let mut received = Self {
            counts: Counts::default(),
            loss: Loss::default(),
            sinks: vec![SinkResult::default(); sinks],
            times: Times::default(),
            other_clocks: 0,
            span: 0,
        };
        let flows = sent.map(|sent| sent.flows.as_slice());
        let mut came = vec![false; flows.map_or(0, <[u64]>::len)];
        let mut span: Option<(u64, u64)> = None;
        for shard in sunk {
            let verified = shard.verifier.finish(flows);
            for (socket, (counts, first)) in shard.sockets.iter().zip(verified.sinks) {
                if socket.grant.is_short() {
                    notes.push(format!("sink {}: {}", socket.number + 1, socket.grant));
                }
                let waited = |first: u64| first.saturating_sub(socket.opened.max(start));
                received.counts.add(&counts);
                received.sinks[socket.number] = SinkResult {
                    counts,
                    drops: socket.drops,
                    join_ns: first.map(waited),
                    first_ns: first,
                };
            }
            for flow in verified
                .flows
                .iter()
                .filter_map(|&flow| usize::try_from(flow).ok())
            {
                if let Some(came) = came.get_mut(flow) {
                    *came = true;
                }
            }
            received.times.add(&verified.times);
            received.other_clocks += verified.other_clocks;
            span = match (span, verified.span) {
                (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
                (one, other) => one.or(other),
            };
        }
        received.span = span.map_or(0, |(first, last)| last - first);
        // Flows of which nothing came at any sink are unknown to them.
        let whole = came.iter().zip(flows.unwrap_or_default());
        received.counts.lost += whole
            .filter(|(came, _)| !**came)
            .map(|(_, sent)| sent)
            .sum::<u64>();
        let drops = received.sinks.iter().map(|sink| sink.drops).sum();
        let refused = sent.map_or(0, |sent| sent.now.refused);
        received.loss = Loss::of(
            received.counts.lost,
            refused,
            received.counts.corrupt,
            drops,
        );
        received
    }
}

/// Tells runs apart.
fn random() -> io::Result<u64> {
    SysRng.try_next_u64().map_err(io::Error::other)
}

/// Tells hosts' clocks apart: the boot clock is one for each boot.
fn this_host() -> u32 {
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let hash = XxHash3_64::oneshot(&boot).to_be_bytes();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn loss_is_shared_out_as_far_as_it_is_known() {
        let none = Loss::of(0, 3, 3, 3);
        assert_eq!(none, Loss::default());
        let known = Loss::of(10, 2, 3, 0);
        assert_eq!((known.refused, known.corrupt), (2, 3));
        assert_eq!(
            (known.receive_buffer_max, known.path_min, known.path_max),
            (0, 5, 5)
        );
        let buffers = Loss::of(100, 0, 0, 1);
        assert_eq!(
            (buffers.receive_buffer_min, buffers.receive_buffer_max),
            (1, 64)
        );
        assert_eq!((buffers.path_min, buffers.path_max), (36, 99));
    }

    proptest! {
        #[test]
        fn causes_add_up(lost in 0_u64..1000, refused in 0_u64..1000, corrupt in 0_u64..1000, drops in 0_u64..100) {
            let loss = Loss::of(lost, refused, corrupt, drops);
            let fixed = loss.refused + loss.corrupt;
            prop_assert_eq!(fixed + loss.receive_buffer_min + loss.path_max, lost);
            prop_assert_eq!(fixed + loss.receive_buffer_max + loss.path_min, lost);
        }
    }
}
