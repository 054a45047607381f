//! Where a sending channel's payloads come from: a socket, or a feeder.

use sealcast_net::{RecvBatch, UdpReceiver, clock, shard};
use sealcast_proto::ids::Time;

use crate::feeder::{Feed, Front};
use crate::histogram::Histogram;
use crate::lanes::Hand;
use crate::pacer::{Pacer, Pacing};
use crate::source::{Due, Warning};
use crate::ts::jitter::PcrMeter;
use crate::{rtp, scratch};

/// How RTP input is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Header {
    /// Datagrams are payloads as they are.
    Keep,
    /// Datagrams are RTP; only what is inside is a payload.
    Strip,
}

/// A channel's input.
#[derive(Debug)]
pub struct Ingest {
    from: From,
    intake: Intake,
}

/// What decides on each payload.
#[derive(Debug)]
struct Intake {
    payload_max: usize,
    counts: IngestCounts,
    pacer: Option<Pacer>,
    /// When the first payload was there that [`Ingest::take_age`] has not told of; by the clock of its kind of input.
    oldest: Option<u64>,
    pcr: PcrMeter,
}

/// What was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IngestCounts {
    /// Payloads longer than the path takes.
    pub oversize: u64,
    /// Bytes of the longest of these.
    pub longest: usize,
    /// Datagrams that are not what the input's URL promises.
    pub malformed: u64,
    /// Buffers that the kernel dropped.
    pub drops: u64,
}

impl IngestCounts {
    fn too_long(&mut self, length: usize) {
        self.oversize += 1;
        self.longest = self.longest.max(length);
    }
}

#[derive(Debug)]
enum From {
    Udp {
        socket: UdpReceiver,
        header: Header,
        rtp: bool,
        /// Received, and not yet taken from `at` on.
        left: Option<(RecvBatch, Cursor)>,
    },
    Feed(FeedInput),
}

/// Payloads of a feeder, each when it is due.
#[derive(Debug)]
struct FeedInput {
    feed: Feed,
    /// Boot clock at the source's time 0.
    start: u64,
}

/// Where in the receive batch the next payload lies.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    frame: usize,
    offset: usize,
}

/// What filling a batch came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Filled {
    /// The batch took no more; there may be more.
    Full,
    /// Nothing more is there, or due, for now.
    Drained,
    /// There is more, and it may not leave before this time.
    Paced(Time),
    /// The input has ended; why, if it failed.
    End(Option<String>),
}

impl Ingest {
    /// From a socket; `rtp`: datagrams must be RTP.
    #[must_use]
    pub fn udp(socket: UdpReceiver, rtp: bool, header: Header, payload_max: usize) -> Self {
        let from = From::Udp {
            socket: socket.without_sources(),
            header,
            rtp,
            left: None,
        };
        Self::new(from, payload_max)
    }

    /// From a feeder; its time starts now.
    #[must_use]
    pub fn feed(feed: Feed, payload_max: usize) -> Self {
        let from = From::Feed(FeedInput {
            feed,
            start: clock::boottime(),
        });
        Self::new(from, payload_max)
    }

    fn new(from: From, payload_max: usize) -> Self {
        let intake = Intake {
            payload_max,
            counts: IngestCounts::default(),
            pacer: None,
            oldest: None,
            pcr: PcrMeter::default(),
        };
        Self { from, intake }
    }

    /// Takes payloads at this rate, whatever clock the source has. What a socket gets faster waits in its buffer.
    #[must_use]
    pub fn paced(mut self, pacing: Pacing) -> Self {
        self.intake.pacer = Some(Pacer::new(pacing));
        self
    }

    /// Bytes of the longest payload that is taken.
    #[must_use]
    pub fn payload_max(&self) -> usize {
        self.intake.payload_max
    }

    /// What was not taken so far.
    #[must_use]
    pub fn counts(&self) -> IngestCounts {
        let drops = match &self.from {
            From::Udp { socket, .. } => socket.drops(),
            From::Feed(_) => 0,
        };
        IngestCounts {
            drops,
            ..self.intake.counts
        }
    }

    /// How far clock references were from their places in time when they were taken.
    #[must_use]
    pub fn pcr_jitter(&self) -> Histogram {
        self.intake.pcr.seen()
    }

    /// Time is counted from now on: sending could not begin before.
    pub fn restart_clock(&mut self) {
        if let From::Feed(input) = &mut self.from {
            input.start = clock::boottime();
        }
    }

    /// What people should know of the source, each once.
    pub fn take_warning(&mut self) -> Option<Warning> {
        match &mut self.from {
            From::Udp { .. } => None,
            From::Feed(input) => input.feed.take_warning(),
        }
    }

    /// Waits until [`Ingest::fill`] has something to do. Cancel-safe.
    pub async fn ready(&mut self) {
        let paced = self.intake.pacer.is_some();
        match &mut self.from {
            From::Udp { socket, .. } => {
                // An error shows itself again in `fill`.
                let _ = socket.readable().await;
            }
            From::Feed(input) => input.ready(paced).await,
        }
    }

    /// Deals what is there and due to the batches of `hand`.
    pub fn fill(&mut self, hand: &mut Hand) -> Filled {
        let (intake, now) = (&mut self.intake, Time(clock::boottime()));
        match &mut self.from {
            From::Udp {
                socket,
                header,
                rtp,
                left,
            } => loop {
                let Some((mut received, mut at)) = left.take().or_else(|| receive(socket)) else {
                    return Filled::Drained;
                };
                intake.oldest = intake.oldest.or_else(|| received.arrival());
                let taken = take_datagrams(&mut received, &mut at, |datagram| {
                    match payload(datagram, *rtp, *header) {
                        Some(payload) => intake.offer(payload, hand, now),
                        None => {
                            intake.counts.malformed += 1;
                            Ok(())
                        }
                    }
                });
                if let Err(filled) = taken {
                    *left = Some((received, at));
                    return filled;
                }
                scratch::put_received(received);
                if !socket.may_have_more() {
                    return Filled::Drained;
                }
            },
            From::Feed(input) => input.fill(intake, hand, now),
        }
    }

    /// How long ago the first payload was there that was taken since the last call: nanoseconds since the kernel received it, or
    /// since it was due.
    pub fn take_age(&mut self) -> Option<u64> {
        let oldest = self.intake.oldest.take()?;
        let now = match &self.from {
            From::Udp { .. } => clock::realtime(),
            From::Feed(_) => clock::boottime(),
        };
        Some(now.saturating_sub(oldest))
    }
}

impl Intake {
    /// Copies a payload into `hand`, or counts why it cannot be sent. `Err`: it must be offered again.
    fn offer(&mut self, payload: &[u8], hand: &mut Hand, now: Time) -> Result<(), Filled> {
        if payload.len() > self.payload_max {
            self.counts.too_long(payload.len());
            return Ok(());
        }
        if payload.is_empty() {
            return Ok(());
        }
        if !hand.has_room(payload.len()) {
            return Err(Filled::Full);
        }
        if let Some(pacer) = &mut self.pacer {
            pacer.admit(now, payload.len()).map_err(Filled::Paced)?;
        }
        self.pcr.saw(payload, now.0);
        hand.push(payload);
        Ok(())
    }
}

/// What a socket has, if anything. An error shows itself again at the next call; until then there is nothing.
fn receive(socket: &mut UdpReceiver) -> Option<(RecvBatch, Cursor)> {
    let mut received = scratch::take_received();
    if let Ok(1..) = socket.recv(&mut received) {
        return Some((received, Cursor::default()));
    }
    scratch::put_received(received);
    None
}

/// The payload of one input datagram; `None` if it is not the RTP that it should be.
fn payload(datagram: &[u8], rtp: bool, header: Header) -> Option<&[u8]> {
    match (rtp, header) {
        (false, _) => Some(datagram),
        (true, Header::Strip) => rtp::payload(datagram),
        (true, Header::Keep) => rtp::payload(datagram).map(|_| datagram),
    }
}

/// Offers the datagrams of the received buffers, from `at` on, until one is not taken.
fn take_datagrams(
    received: &mut RecvBatch,
    at: &mut Cursor,
    mut offer: impl FnMut(&[u8]) -> Result<(), Filled>,
) -> Result<(), Filled> {
    for (index, frame) in received.iter_mut().enumerate().skip(at.frame) {
        while at.offset < frame.data.len() {
            let end = frame.data.len().min(at.offset + frame.segment);
            offer(&frame.data[at.offset..end])?;
            at.offset = end;
        }
        *at = Cursor {
            frame: index + 1,
            offset: 0,
        };
    }
    Ok(())
}

impl FeedInput {
    async fn ready(&mut self, paced: bool) {
        let due = match self.feed.front() {
            Front::Payload(_, Due::At(due)) if !paced => self.start + due,
            Front::Payload(..) | Front::End(_) => return,
            Front::Nothing => return self.feed.ready().await,
        };
        shard::sleep_until(due).await;
    }

    fn fill(&mut self, intake: &mut Intake, hand: &mut Hand, now: Time) -> Filled {
        loop {
            let (payload, due) = match self.feed.front() {
                Front::Payload(payload, due) => (payload, due),
                Front::Nothing => return Filled::Drained,
                Front::End(why) => return Filled::End(why),
            };
            let there = match due {
                Due::At(due) if intake.pacer.is_none() => self.start + due,
                _ => now.0,
            };
            if there > now.0 {
                return Filled::Drained;
            }
            if let Err(filled) = intake.offer(payload, hand, now) {
                return filled;
            }
            intake.oldest = intake.oldest.or(Some(there));
            self.feed.advance();
        }
    }
}
