//! One run: generators and sinks on shards of their own, watched from here.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rand::rngs::SysRng;
use rand_core::TryRng as _;
use sealcast_dataplane::status::Published;
use sealcast_net::shard::{self, Placement, ShardHandle};
use sealcast_net::{GroupOptions, clock};
use twox_hash::XxHash3_64;

use crate::control::{Control, OpenError};
use crate::generator::{GeneratorTask, Sent, SentNow};
use crate::outcome::{Outcome, Received, Sample};
use crate::schedule::Part;
use crate::sink::{SinkTask, Sunk, SunkNow};
use crate::source::Source;
use crate::stamp::Run;
use crate::verify::{Clocks, Expect};

/// How often the shards are looked at.
const TICK: Duration = Duration::from_millis(20);
/// From opening to the first datagram.
const LEAD: u64 = 20_000_000;
/// When nothing came for so long, nothing is under way any more; and so long at most is waited for that.
const QUIET: Duration = Duration::from_millis(300);
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Points of a series, about.
const POINTS: u32 = 120;
/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to send; nothing without it.
    pub source: Option<Source>,
    /// Where to: flow f goes to the target f modulo their number.
    pub targets: Vec<GroupOptions>,
    /// Where to receive; none: send only.
    pub sinks: Vec<GroupOptions>,
    /// Generators, one per entry, pinned where a core is named.
    pub shards: Vec<Placement>,
    /// Shards of sinks.
    pub sink_shards: Vec<Placement>,
    /// Neither sleeps: exact times for a core each.
    pub busy: bool,
    /// Sinks alone measure how latency varies, whatever clock the sender has.
    pub variation: bool,
    /// How long sinks alone receive, at most.
    pub limit: Option<Duration>,
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
    let length = plan.source.as_ref().map(Source::duration).or(plan.limit);
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
    match &plan.source {
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
        let shards = plan.sink_shards.len().min(plan.sinks.len());
        for (index, &placement) in plan.sink_shards.iter().take(shards).enumerate() {
            let numbered = plan.sinks.iter().cloned().enumerate();
            let status = Published::default();
            let task = SinkTask {
                sinks: numbered.skip(index).step_by(shards).collect(),
                expect: if plan.source.is_some() {
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
            self.sinks.push((
                shard::start(&name, placement, move || task.run(ready))?,
                status,
            ));
        }
        drop(ready);
        opened.into_iter().collect()
    }

    fn open_generators(&mut self, plan: &Plan) -> Result<(), OpenError> {
        let Some(source) = &plan.source else {
            return Ok(());
        };
        let (ready, opened) = mpsc::channel();
        let shards = u32::try_from(plan.shards.len())
            .unwrap_or(1)
            .min(source.flows())
            .max(1);
        for (index, placement) in (0..shards).zip(plan.shards.iter().copied()) {
            let status = Published::default();
            let task = GeneratorTask {
                targets: plan.targets.clone(),
                schedule: source.schedule(Part { index, of: shards }),
                flows: source.flows(),
                mine: (0..source.flows())
                    .filter(|flow| flow % shards == index)
                    .collect(),
                len: source.longest(),
                duration: u64::try_from(source.duration().as_nanos()).unwrap_or(u64::MAX),
                run: self.run,
                busy: plan.busy,
                control: Arc::clone(&self.control),
                status: status.clone(),
            };
            let ready = ready.clone();
            let name = format!("generator-{index}");
            self.generators.push((
                shard::start(&name, placement, move || task.run(ready))?,
                status,
            ));
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
        let began = plan.source.as_ref().map_or(0, |_| start);
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
