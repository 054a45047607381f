//! The receiving channel: one or two legs, open, order, output. A thin driver around
//! [`sealcast_proto::receiver::Receiver`].

use std::time::Duration;

use futures_lite::future::or;
use rand_core::CryptoRng;
use sealcast_net::{RecvBatch, UdpReceiver, clock, mailbox, shard};
use sealcast_proto::ids::Time;
use sealcast_proto::receiver::{Event, Receiver};

use crate::coalesce::Coalesce;
use crate::histogram::Histogram;
use crate::link::{KeyEvent, KeyLink};
use crate::meter::ChannelMeter;
use crate::output::{OutBatch, Sink};
use crate::smooth::Smoother;
use crate::status::{KeyStatus, PUBLISH_INTERVAL, Published, ReceiveStatus};
use crate::ts::check::ContinuityChecker;
use crate::ts::jitter::PcrMeter;
use crate::{rtp, scratch};

/// Receive calls in a row before the link and the clock are looked at again.
const CALLS_PER_TURN: usize = 8;

/// Everything one receiving channel runs on. Lives on one shard.
pub struct ReceiveChannel {
    /// The protocol.
    pub receiver: Receiver,
    /// One or two groups that carry the same packets.
    pub legs: Vec<UdpReceiver>,
    /// Where payloads go.
    pub sink: Sink,
    /// The key doors.
    pub link: KeyLink,
    /// Randomness.
    pub rng: Box<dyn CryptoRng>,
    /// Where totals are published.
    pub status: Published<ReceiveStatus>,
    /// Where usage is counted, if it is.
    pub meter: Option<ChannelMeter>,
    /// A message, or the end of the mailbox, stops the channel.
    pub stop: mailbox::Receiver<()>,
    /// How long a packet may wait for others that are taken with it; zero: not at all.
    pub budget: Duration,
    /// Lets payloads leave in even time; without it they leave as they come.
    pub smoother: Option<Smoother>,
    /// Gets what should be told to people.
    pub on_event: Box<dyn FnMut(Event)>,
}

impl std::fmt::Debug for ReceiveChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveChannel")
            .field("receiver", &self.receiver)
            .finish_non_exhaustive()
    }
}

/// Why a turn of the loop began.
enum Wake {
    Leg,
    Keys,
    Timer,
    Stop,
}

/// What leaves the protocol, and how.
#[derive(Default)]
struct Delivered {
    out: OutBatch,
    smoother: Option<Smoother>,
    checker: ContinuityChecker,
    output_errors: u64,
    first_packet_ns: Option<u64>,
    start: u64,
    /// A key door answers.
    reachable: bool,
    /// When the packets that are opened now arrived.
    arrival: u64,
    /// When the first packet behind what is in `out` arrived.
    oldest: Option<u64>,
    latency: Histogram,
    pcr: PcrMeter,
}

impl Delivered {
    fn take(&mut self, payload: &[u8], sink: &mut Sink) {
        if self.first_packet_ns.is_none() {
            self.first_packet_ns = Some(clock::boottime() - self.start);
        }
        let ts = rtp::payload(payload).unwrap_or(payload);
        let clocked = self.checker.push(ts);
        if let Some(smoother) = &mut self.smoother {
            return smoother.push(payload, clocked, self.arrival);
        }
        self.oldest = self.oldest.or(Some(self.arrival));
        match sink {
            Sink::Watcher(watch) => {
                watch(payload);
                if clocked {
                    self.pcr.saw(payload, self.arrival);
                }
            }
            _ => self.out.push(payload, clocked),
        }
    }

    /// Adds what the smoother lets go now.
    fn release(&mut self, now: u64) {
        if let Some(smoother) = &mut self.smoother {
            self.oldest = smoother.release(now, &mut self.out);
        }
    }

    /// Adds all that the smoother still has.
    fn release_all(&mut self) {
        if let Some(smoother) = &mut self.smoother {
            smoother.release_all(&mut self.out);
        }
    }

    /// When the smoother lets go what it has.
    fn next_due(&self) -> Option<Time> {
        self.smoother.as_ref()?.next_due().map(Time)
    }

    /// What leaves now.
    fn measure(&mut self, now: u64) {
        for payload in self.out.clocked() {
            self.pcr.saw(payload, now);
        }
        if let Some(oldest) = self.oldest.take() {
            self.latency.record(now.saturating_sub(oldest));
        }
    }
}

fn now() -> Time {
    Time(clock::boottime())
}

impl ReceiveChannel {
    /// Runs until the channel is stopped; everything received is written when it returns. Returns why the output failed, if
    /// it did.
    pub async fn run(mut self) -> Option<String> {
        let mut delivered = Delivered {
            start: clock::boottime(),
            smoother: self.smoother.take(),
            ..Delivered::default()
        };
        let mut coalesce = Coalesce::new(self.budget);
        let (mut publish, mut more, mut stopping) = (Time(0), false, false);
        while !stopping {
            let wait = self.wait(publish, more, delivered.next_due(), &mut coalesce);
            stopping = matches!(wait.await, Wake::Stop);
            self.handle_keys(&mut delivered);
            let found;
            (found, more) = self.drain_all(&mut delivered).await;
            coalesce.looked(found);
            let now = now();
            let sink = &mut self.sink;
            self.receiver.poll(now, self.rng.as_mut(), &mut |payload| {
                delivered.take(payload, sink)
            });
            self.send_outputs();
            self.flush(&mut delivered).await;
            if publish <= now {
                publish = now.after(PUBLISH_INTERVAL);
                self.status.publish(self.snapshot(now, &delivered));
                if let Some(meter) = &mut self.meter {
                    meter.tick(now, self.receiver.tally());
                }
            }
            shard::yield_if_needed().await;
        }
        let sink = &mut self.sink;
        self.receiver
            .finish(&mut |payload| delivered.take(payload, sink));
        delivered.release_all();
        self.flush(&mut delivered).await;
        self.status.publish_last(self.snapshot(now(), &delivered));
        if let Some(meter) = &mut self.meter {
            meter.finish(self.receiver.tally()).await;
        }
        self.sink.finish().err().map(|error| error.to_string())
    }

    /// Waits for packets, unless there are `more`, or until payloads are to leave.
    async fn wait(
        &mut self,
        publish: Time,
        more: bool,
        leaving: Option<Time>,
        coalesce: &mut Coalesce,
    ) -> Wake {
        // Whatever else is due is done at the tick.
        let timer = (!coalesce.is_ticking()).then(|| {
            let due = self.receiver.next_timeout();
            due.map_or(publish, |due| due.min(publish))
        });
        let timer = timer.into_iter().chain(leaving).min();
        let legs = &self.legs;
        let readable = async |leg: usize| match legs.get(leg) {
            // An error shows itself again when receiving.
            Some(leg) => drop(leg.readable().await),
            None => std::future::pending().await,
        };
        let legs = async {
            if !more {
                coalesce.wait(or(readable(0), readable(1))).await;
            }
            Wake::Leg
        };
        let link = async {
            if self.link.ready().await {
                Wake::Keys
            } else {
                std::future::pending().await
            }
        };
        let stop = async {
            self.stop.ready().await;
            Wake::Stop
        };
        let timer = async {
            match timer {
                Some(due) => shard::sleep_until(due.0).await,
                None => std::future::pending().await,
            }
            Wake::Timer
        };
        or(stop, or(link, or(legs, timer))).await
    }

    fn handle_keys(&mut self, delivered: &mut Delivered) {
        while let Some(event) = self.link.try_recv() {
            let rng = self.rng.as_mut();
            match event {
                KeyEvent::Reachable(reachable) => delivered.reachable = reachable,
                KeyEvent::Authority(key, successor) => self.receiver.set_authority(key, successor),
                KeyEvent::Path(path) => self.receiver.set_path(*path),
                KeyEvent::Renewed => self.receiver.session_renewed(now(), rng),
                KeyEvent::Granted(granted, asked) => {
                    let sink = &mut self.sink;
                    let deliver = &mut |payload: &[u8]| delivered.take(payload, sink);
                    self.receiver
                        .handle_granted(now(), asked, *granted, deliver);
                }
                KeyEvent::Refused(refused) => self.receiver.handle_refused(now(), &refused, rng),
            }
        }
    }

    /// Receives what the legs have; whether there was something, and whether there may be more.
    async fn drain_all(&mut self, delivered: &mut Delivered) -> (bool, bool) {
        let mut batch = scratch::take_received();
        let (mut found, mut more) = (false, false);
        for leg in 0..self.legs.len() {
            let drained = self.drain(leg, &mut batch, delivered).await;
            (found, more) = (found | drained.0, more | drained.1);
        }
        scratch::put_received(batch);
        (found, more)
    }

    /// Receives what a leg has, a bounded number of calls; whether there was something, and whether there may be more. A leg that
    /// fails does not stop the other.
    async fn drain(
        &mut self,
        leg: usize,
        batch: &mut RecvBatch,
        delivered: &mut Delivered,
    ) -> (bool, bool) {
        for call in 0..CALLS_PER_TURN {
            let Ok(1..) = self.legs[leg].recv(batch) else {
                return (call > 0, false);
            };
            let now = now();
            let age = |arrival| clock::realtime().saturating_sub(arrival);
            delivered.arrival = now.0.saturating_sub(batch.arrival().map_or(0, age));
            for received in batch.iter_mut() {
                let (source, segment) = (received.source.ip(), received.segment);
                let sink = &mut self.sink;
                let deliver = &mut |payload: &[u8]| delivered.take(payload, sink);
                self.receiver.handle_batch(
                    now,
                    source,
                    leg,
                    received.data,
                    segment,
                    self.rng.as_mut(),
                    deliver,
                );
                if delivered.out.is_large() {
                    self.flush(delivered).await;
                }
            }
            if !self.legs[leg].may_have_more() {
                return (true, false);
            }
        }
        (true, true)
    }

    fn send_outputs(&mut self) {
        while let Some(wanted) = self.receiver.poll_request() {
            self.link.say(wanted);
        }
        while let Some(event) = self.receiver.poll_event() {
            (self.on_event)(event);
        }
    }

    async fn flush(&mut self, delivered: &mut Delivered) {
        let now = clock::boottime();
        delivered.release(now);
        delivered.measure(now);
        if !delivered.out.is_empty() {
            delivered.output_errors += self.sink.flush(&mut delivered.out, now).await;
        }
    }

    fn snapshot(&self, now: Time, delivered: &Delivered) -> ReceiveStatus {
        ReceiveStatus {
            stats: self.receiver.stats(),
            discards: *self.receiver.discards(),
            gaps: self.receiver.gaps(),
            keys: KeyStatus {
                current: self.receiver.current(now),
                next: self.receiver.next_epoch(),
                linked: delivered.reachable,
            },
            kernel_drops: self.legs.iter().map(UdpReceiver::drops).sum(),
            continuity_errors: delivered.checker.errors(),
            output_errors: delivered.output_errors,
            first_packet_ns: delivered.first_packet_ns,
            latency: delivered.latency,
            pcr_jitter: delivered.pcr.seen(),
        }
    }
}
