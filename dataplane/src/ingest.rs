//! Where a sending channel's payloads come from: a socket, or a feeder.

use std::collections::VecDeque;

use sealcast_net::{RecvBatch, UdpReceiver, clock, shard};

use crate::batch::SealBatch;
use crate::feeder::{Chunk, Fed, Feed};
use crate::source::{Due, Warning};
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
    payload_max: usize,
    counts: IngestCounts,
    /// When the first payload was there that [`Ingest::take_age`] has not told of; by the clock of its kind of input.
    oldest: Option<u64>,
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
    chunk: Option<Chunk>,
    /// Boot clock at the source's time 0.
    start: u64,
    /// Why the source ended, if it has.
    end: Option<Option<String>>,
    warnings: VecDeque<Warning>,
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
    /// The input has ended; why, if it failed.
    End(Option<String>),
}

impl Ingest {
    /// From a socket; `rtp`: datagrams must be RTP.
    #[must_use]
    pub fn udp(socket: UdpReceiver, rtp: bool, header: Header, payload_max: usize) -> Self {
        let from = From::Udp {
            socket,
            header,
            rtp,
            left: None,
        };
        Self {
            from,
            payload_max,
            counts: IngestCounts::default(),
            oldest: None,
        }
    }

    /// From a feeder; its time starts now.
    #[must_use]
    pub fn feed(feed: Feed, payload_max: usize) -> Self {
        let from = From::Feed(FeedInput {
            feed,
            chunk: None,
            start: clock::boottime(),
            end: None,
            warnings: VecDeque::new(),
        });
        Self {
            from,
            payload_max,
            counts: IngestCounts::default(),
            oldest: None,
        }
    }

    /// Bytes of the longest payload that is taken.
    #[must_use]
    pub fn payload_max(&self) -> usize {
        self.payload_max
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
            ..self.counts
        }
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
            From::Feed(input) => input.warnings.pop_front(),
        }
    }

    /// Waits until [`Ingest::fill`] has something to do. Cancel-safe.
    pub async fn ready(&mut self) {
        match &mut self.from {
            From::Udp { socket, .. } => {
                // An error shows itself again in `fill`.
                let _ = socket.readable().await;
            }
            From::Feed(input) => input.ready().await,
        }
    }

    /// Puts what is there and due into `batch`.
    pub fn fill(&mut self, batch: &mut SealBatch) -> Filled {
        let (counts, max) = (&mut self.counts, self.payload_max);
        match &mut self.from {
            From::Udp {
                socket,
                header,
                rtp,
                left,
            } => loop {
                let Some((mut received, mut at)) =
                    left.take().or_else(|| receive(socket, &mut self.oldest))
                else {
                    return Filled::Drained;
                };
                if !take_datagrams(&mut received, &mut at, batch, |datagram| {
                    payload(datagram, *rtp, *header, max, counts)
                }) {
                    *left = Some((received, at));
                    return Filled::Full;
                }
                scratch::put_received(received);
                if !socket.may_have_more() {
                    return Filled::Drained;
                }
            },
            From::Feed(input) => input.fill(batch, max, counts, &mut self.oldest),
        }
    }

    /// How long ago the first payload was there that was taken since the last call: nanoseconds since the kernel received it, or
    /// since it was due.
    pub fn take_age(&mut self) -> Option<u64> {
        let oldest = self.oldest.take()?;
        let now = match &self.from {
            From::Udp { .. } => clock::realtime(),
            From::Feed(_) => clock::boottime(),
        };
        Some(now.saturating_sub(oldest))
    }
}

/// What a socket has, if anything. An error shows itself again at the next call; until then there is nothing.
fn receive(socket: &mut UdpReceiver, oldest: &mut Option<u64>) -> Option<(RecvBatch, Cursor)> {
    let mut received = scratch::take_received();
    if let Ok(1..) = socket.recv(&mut received) {
        *oldest = oldest.or(received.arrival());
        return Some((received, Cursor::default()));
    }
    scratch::put_received(received);
    None
}

/// The payload of one input datagram, if it can be sent.
fn payload<'a>(
    datagram: &'a [u8],
    rtp: bool,
    header: Header,
    max: usize,
    counts: &mut IngestCounts,
) -> Option<&'a [u8]> {
    let payload = if rtp {
        let Some(inside) = rtp::payload(datagram) else {
            counts.malformed += 1;
            return None;
        };
        if header == Header::Strip {
            inside
        } else {
            datagram
        }
    } else {
        datagram
    };
    if payload.len() > max {
        counts.too_long(payload.len());
        return None;
    }
    (!payload.is_empty()).then_some(payload)
}

/// Copies payloads of the received buffers into `batch`, from `at` on. True when all are taken.
fn take_datagrams<'a>(
    received: &'a mut RecvBatch,
    at: &mut Cursor,
    batch: &mut SealBatch,
    mut payload: impl FnMut(&'a [u8]) -> Option<&'a [u8]>,
) -> bool {
    for (index, frame) in received.iter_mut().enumerate().skip(at.frame) {
        let data: &'a [u8] = frame.data;
        while at.offset < data.len() {
            let end = data.len().min(at.offset + frame.segment);
            if let Some(payload) = payload(&data[at.offset..end])
                && !batch.push(payload)
            {
                return false;
            }
            at.offset = end;
        }
        *at = Cursor {
            frame: index + 1,
            offset: 0,
        };
    }
    true
}

impl FeedInput {
    async fn ready(&mut self) {
        match self.chunk.as_ref().and_then(Chunk::front) {
            Some((_, Due::At(due))) => shard::sleep_until(self.start + due).await,
            Some((_, Due::Now)) => {}
            None if self.end.is_some() => {}
            None => self.feed.ready().await,
        }
    }

    fn fill(
        &mut self,
        batch: &mut SealBatch,
        max: usize,
        counts: &mut IngestCounts,
        oldest: &mut Option<u64>,
    ) -> Filled {
        let now = clock::boottime();
        loop {
            if self.chunk.is_none() {
                match self.feed.try_recv() {
                    Some(Fed::Chunk(next)) => self.chunk = Some(next),
                    Some(Fed::Warning(warning)) => self.warnings.push_back(warning),
                    Some(Fed::End(why)) => self.end = Some(why),
                    None => return self.end.clone().map_or(Filled::Drained, Filled::End),
                }
            }
            let Some(current) = &mut self.chunk else {
                continue;
            };
            while let Some((payload, due)) = current.front() {
                let there = match due {
                    Due::At(due) if self.start + due > now => return Filled::Drained,
                    Due::At(due) => self.start + due,
                    Due::Now => now,
                };
                if payload.len() > max {
                    counts.too_long(payload.len());
                } else if !payload.is_empty() && !batch.push(payload) {
                    return Filled::Full;
                }
                *oldest = oldest.or(Some(there));
                current.advance();
            }
            if let Some(done) = self.chunk.take() {
                self.feed.recycle(done);
            }
        }
    }
}
