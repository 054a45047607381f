//! Sends a schedule from one core: what is due goes out in batches; what could not go when it was due goes as soon as it can,
//! with the time at which it should have gone. Nothing waits for receivers.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand_core::Rng as _;
use sealcast_dataplane::batch::Runs;
use sealcast_dataplane::source::Due;
use sealcast_dataplane::status::{PUBLISH_INTERVAL, Published};
use sealcast_net::aligned::AlignedBuffer;
use sealcast_net::{GroupOptions, SocketError, UdpSender, clock, shard};

use crate::control::{Control, OpenError};
use crate::latency::Times;
use crate::schedule::{LENGTH_MAX, Schedule, Slot};
use crate::stamp::{END_LEN, Kind, Run, Stamp};

/// Datagrams taken between two looks at the clock.
const TURN: usize = 256;
/// Datagrams of one batch: what one system call takes.
const BATCH: usize = 64;
/// So near to the next datagram sleeping would be too coarse.
const SPIN: u64 = 100_000;
/// The longest sleep: signals are looked for.
const SLEEP_MAX: u64 = 50_000_000;
/// Datagrams that were not tried are counted up to here.
const LEFT_MAX: usize = 50_000_000;
/// How often and how far apart the end of a flow is told.
const ENDS: usize = 3;
const ENDS_APART: std::time::Duration = std::time::Duration::from_millis(20);
/// IP and UDP headers.
const HEADERS_V4: usize = 28;
const HEADERS_V6: usize = 48;

/// What one core sends.
pub(crate) struct GeneratorTask {
    /// Flow f goes to the target f modulo their number.
    pub(crate) targets: Vec<GroupOptions>,
    pub(crate) schedule: Box<dyn Schedule>,
    /// How many flows there are in all, and those of this core.
    pub(crate) flows: u32,
    pub(crate) mine: Vec<u32>,
    /// Bytes of the longest payload.
    pub(crate) len: usize,
    /// Nanoseconds.
    pub(crate) duration: u64,
    pub(crate) run: Run,
    /// Never sleep.
    pub(crate) busy: bool,
    pub(crate) control: Arc<Control>,
    pub(crate) status: Published<SentNow>,
}

/// What was sent up to now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SentNow {
    /// Datagrams handed to the kernel.
    pub packets: u64,
    /// Their bytes of payload.
    pub bytes: u64,
    /// Datagrams that the kernel refused.
    pub refused: u64,
    /// There will be no more.
    pub finished: bool,
}

/// What was sent.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Totals.
    pub now: SentNow,
    /// Datagrams of each flow, refused ones included.
    pub flows: Vec<u64>,
    /// From when each was due to when it was handed over.
    pub lateness: Times,
    /// Datagrams that were due and never tried: the generator was too slow for the rate.
    pub unsent: u64,
    /// Nanoseconds from the start to the last datagram.
    pub took: u64,
    /// Why the kernel refused, the first time.
    pub error: Option<String>,
    /// Whether the kernel took batches (UDP_SEGMENT).
    pub batches: bool,
}

impl Sent {
    /// Adds what another core sent.
    pub(crate) fn add(&mut self, other: &Self) {
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

impl GeneratorTask {
    /// Opens the sockets, says so, waits for the start, sends.
    pub(crate) async fn run(mut self, ready: mpsc::Sender<Result<(), OpenError>>) -> Option<Sent> {
        let mut outboxes = match self.open() {
            Ok(outboxes) => outboxes,
            Err(error) => {
                let _ = ready.send(Err(error));
                return None;
            }
        };
        let _ = ready.send(Ok(()));
        drop(ready);
        let Some(start) = self.control.started().await else {
            // Whoever waits for its end must see one.
            self.status.publish_last(SentNow {
                finished: true,
                ..SentNow::default()
            });
            return None;
        };
        let mut sent = Sent {
            flows: vec![0; self.flows.try_into().unwrap_or(0)],
            ..Sent::default()
        };
        let mut continuity = vec![0; sent.flows.len()];
        let left = self
            .send_all(start, &mut outboxes, &mut sent, &mut continuity)
            .await;
        sent.took = clock::boottime().saturating_sub(start);
        sent.unsent = left;
        self.say_end(&mut outboxes, &mut sent).await;
        sent.batches = outboxes.iter().flatten().all(|outbox| outbox.socket.gso());
        sent.now.finished = true;
        self.status.publish_last(sent.now);
        Some(sent)
    }

    /// A socket for each target that has flows here.
    fn open(&self) -> Result<Vec<Option<Outbox>>, OpenError> {
        let mut outboxes: Vec<Option<Outbox>> = self.targets.iter().map(|_| None).collect();
        for &flow in &self.mine {
            let target = self.target(flow);
            if outboxes[target].is_none() {
                outboxes[target] = Some(Outbox::open(&self.targets[target], self.len)?);
            }
        }
        Ok(outboxes)
    }

    fn target(&self, flow: u32) -> usize {
        usize::try_from(flow).unwrap_or(0) % self.targets.len()
    }

    /// Sends what the schedule holds; returns how much of it was left when it was given up.
    async fn send_all(
        &mut self,
        start: u64,
        outboxes: &mut [Option<Outbox>],
        sent: &mut Sent,
        continuity: &mut [u8],
    ) -> u64 {
        let end = start.saturating_add(self.duration);
        // A rate that cannot be kept must not make the run much longer than asked for.
        let give_up = end.saturating_add(self.duration / 10 + 1_000_000_000);
        let (mut next, mut publish) = (self.schedule.next(), 0);
        let mut dirty = Vec::new();
        loop {
            let now = clock::boottime();
            if self.control.stop.load(Ordering::Relaxed) {
                return 0;
            }
            if now >= give_up {
                return self.left(next);
            }
            let mut taken = 0;
            while taken < TURN
                && let Some(slot) = next
                && let Some(due) = due(slot, start, now, end)
            {
                self.put(slot, due, outboxes, &mut dirty, sent, continuity)
                    .await;
                next = self.schedule.next();
                taken += 1;
            }
            for target in dirty.drain(..) {
                if let Some(outbox) = &mut outboxes[target] {
                    outbox.flush(sent).await;
                }
            }
            if publish <= now {
                publish = now + u64::try_from(PUBLISH_INTERVAL.as_nanos()).unwrap_or(u64::MAX);
                self.status.publish(sent.now);
            }
            match next.map(|slot| slot.due) {
                None => return 0,
                Some(Due::Now) if now >= end => return 0,
                Some(Due::At(due)) if taken == 0 => self.wait(start.saturating_add(due), now).await,
                Some(_) => {}
            }
            shard::yield_if_needed().await;
        }
    }

    /// How many datagrams are due and will not be sent, up to a bound; an unlimited rate leaves none.
    fn left(&mut self, next: Option<Slot>) -> u64 {
        let scheduled = |slot: &Slot| slot.due != Due::Now;
        let left = next.into_iter().chain(&mut self.schedule);
        left.take(LEFT_MAX).take_while(scheduled).count() as u64
    }

    /// Writes a datagram into its target's batch.
    async fn put(
        &self,
        slot: Slot,
        due: u64,
        outboxes: &mut [Option<Outbox>],
        dirty: &mut Vec<usize>,
        sent: &mut Sent,
        continuity: &mut [u8],
    ) {
        let target = self.target(slot.flow);
        let flow = usize::try_from(slot.flow).unwrap_or(usize::MAX);
        let (Some(outbox), Some(sequence), Some(continuity)) = (
            &mut outboxes[target],
            sent.flows.get_mut(flow),
            continuity.get_mut(flow),
        ) else {
            return;
        };
        let stamp = Stamp {
            run: self.run,
            kind: Kind::Data,
            flow: slot.flow,
            sequence: *sequence,
            due,
        };
        *sequence += 1;
        if !outbox.has_room(slot.len) {
            outbox.flush(sent).await;
        }
        if outbox.lengths.is_empty() {
            dirty.push(target);
        }
        outbox.put(&stamp, slot.len, continuity);
    }

    async fn wait(&self, due: u64, now: u64) {
        let gap = due.saturating_sub(now);
        if !self.busy && gap > SPIN {
            shard::sleep_until(now + (gap - SPIN / 2).min(SLEEP_MAX)).await;
        }
    }

    /// Tells sinks how many there were, more than once, since this may be lost, too.
    async fn say_end(&self, outboxes: &mut [Option<Outbox>], sent: &mut Sent) {
        for _ in 0..ENDS {
            shard::sleep(ENDS_APART).await;
            for &flow in &self.mine {
                let (target, place) = (
                    self.target(flow),
                    usize::try_from(flow).unwrap_or(usize::MAX),
                );
                let (Some(outbox), Some(&sequence)) =
                    (&mut outboxes[target], sent.flows.get(place))
                else {
                    continue;
                };
                let stamp = Stamp {
                    run: self.run,
                    kind: Kind::End,
                    flow,
                    sequence,
                    due: 0,
                };
                let mut payload = [0xFF; END_LEN];
                stamp.write(&mut payload, &mut 0);
                if let Err(error) = outbox.socket.send_one(&payload).await {
                    sent.error.get_or_insert_with(|| error.to_string());
                }
                shard::yield_if_needed().await;
            }
        }
    }
}

/// When a datagram should go, if it should go by now, nanoseconds of the boot clock.
fn due(slot: Slot, start: u64, now: u64, end: u64) -> Option<u64> {
    match slot.due {
        Due::Now => (now < end).then_some(now),
        Due::At(due) => Some(start.saturating_add(due)).filter(|&due| due <= now),
    }
}

/// A target's socket and what will go to it with the next call.
struct Outbox {
    socket: UdpSender,
    buffer: AlignedBuffer,
    lengths: Vec<usize>,
    dues: Vec<u64>,
    used: usize,
}

impl Outbox {
    fn open(target: &GroupOptions, len: usize) -> Result<Self, OpenError> {
        let socket = UdpSender::connect(target)?;
        let headers = if target.group.is_ipv4() {
            HEADERS_V4
        } else {
            HEADERS_V6
        };
        let max = path_max(&socket, headers).map_err(|source| SocketError::Io {
            what: "asking for the MTU towards",
            addr: target.group,
            source,
        })?;
        if len > max {
            return Err(OpenError::TooLong {
                len,
                max,
                target: target.group,
            });
        }
        let mut buffer = AlignedBuffer::new(LENGTH_MAX, 0);
        // Noise once: stamps and headers are written over it.
        StdRng::seed_from_u64(1).fill_bytes(&mut buffer);
        Ok(Self {
            socket,
            buffer,
            lengths: Vec::with_capacity(BATCH),
            dues: Vec::with_capacity(BATCH),
            used: 0,
        })
    }

    fn has_room(&self, len: usize) -> bool {
        self.lengths.len() < BATCH && self.used + len <= self.buffer.len()
    }

    fn put(&mut self, stamp: &Stamp, len: usize, continuity: &mut u8) {
        stamp.write(&mut self.buffer[self.used..self.used + len], continuity);
        self.used += len;
        self.lengths.push(len);
        self.dues.push(stamp.due);
    }

    async fn flush(&mut self, sent: &mut Sent) {
        let now = clock::boottime();
        for &due in &self.dues {
            sent.lateness.record(now.saturating_sub(due));
        }
        for (range, segment) in Runs::new(self.lengths.iter().copied()) {
            let (bytes, count) = (range.len() as u64, range.len().div_ceil(segment) as u64);
            match self.socket.send_batch(&self.buffer[range], segment).await {
                Ok(()) => {
                    sent.now.packets += count;
                    sent.now.bytes += bytes;
                }
                Err(error) => {
                    sent.now.refused += count;
                    sent.error.get_or_insert_with(|| error.to_string());
                }
            }
        }
        self.lengths.clear();
        self.dues.clear();
        self.used = 0;
    }
}

fn path_max(socket: &UdpSender, headers: usize) -> io::Result<usize> {
    Ok(socket.path_mtu()?.saturating_sub(headers))
}

#[cfg(test)]
mod tests {
    use sealcast_net::shard::Placement;

    use super::*;
    use crate::schedule::{Part, Rate, Shape, Traffic};

    /// Whoever runs it waits for its end.
    #[test]
    fn a_generator_that_is_stopped_before_the_start_says_that_it_has_finished() {
        let traffic = Traffic {
            shape: Shape::Constant,
            rate: Rate::Packets(10),
            len: 188,
            flows: 1,
            duration: std::time::Duration::from_secs(1),
            seed: 1,
        };
        let status = Published::default();
        let control = Arc::new(Control::default());
        control.stop.store(true, Ordering::Relaxed);
        let task = GeneratorTask {
            targets: vec![GroupOptions::new("127.0.0.1:4000".parse().unwrap())],
            schedule: traffic.schedule(Part { index: 0, of: 1 }),
            flows: 1,
            mine: vec![0],
            len: 188,
            duration: 1,
            run: Run { id: 1, host: 1 },
            busy: false,
            control,
            status: status.clone(),
        };
        let (ready, opened) = mpsc::channel();
        let shard = shard::start("test", Placement::default(), move || task.run(ready)).unwrap();
        assert!(shard.join().unwrap().is_none());
        assert!(opened.recv().unwrap().is_ok());
        let expected = SentNow {
            finished: true,
            ..SentNow::default()
        };
        assert_eq!(status.read(), expected);
    }
}
