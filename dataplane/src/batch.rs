//! A batch of payloads laid out as the kernel will send it: header, payload and tag of each packet, one after the other.
//! Sealed in place and cut into runs that go out with one system call each.

use std::ops::{Deref, DerefMut, Range};

use sealcast_crypto::{BATCH_MAX, Span};
use sealcast_net::aligned::LINE;
use sealcast_net::{ClosedBuffer, SendBuffer};
use sealcast_proto::limits::{DATAGRAM_MAX, HEADER_LEN, OVERHEAD};
use sealcast_proto::wire::manifest::MANIFEST_MAX;

/// Packets of one batch: what fits one GSO send of 1316-byte payloads.
const PACKETS: usize = 48;

/// Payloads on their way to being packets; once sealed and closed, packets on their way out.
#[derive(Debug)]
pub struct SealBatch<B = SendBuffer> {
    /// The first payload lies on a 64-byte line, and so do the others if each packet is a multiple of that: 1316 bytes and
    /// [`OVERHEAD`] are 21 lines.
    buffer: B,
    spans: Vec<Span>,
    used: usize,
    /// Bytes that payloads leave free, for what is put behind them.
    kept: usize,
    /// Length of what is behind the packets.
    behind: Option<usize>,
}

impl Default for SealBatch {
    fn default() -> Self {
        const { assert!(PACKETS <= BATCH_MAX && (1316 + OVERHEAD).is_multiple_of(LINE)) }
        Self::over(
            SendBuffer::plain(DATAGRAM_MAX, HEADER_LEN),
            Vec::with_capacity(PACKETS),
        )
    }
}

impl SealBatch {
    /// An empty batch in this buffer, whose byte [`HEADER_LEN`] lies on a line; `spans` is a vector to be used again.
    #[must_use]
    pub fn over(buffer: SendBuffer, mut spans: Vec<Span>) -> Self {
        spans.clear();
        Self {
            buffer,
            spans,
            used: 0,
            kept: 0,
            behind: None,
        }
    }

    /// Leaves room for a manifest or a part of a key block behind the packets, unless the first payload needs it.
    pub fn keep_room_behind(&mut self) {
        self.kept = MANIFEST_MAX;
    }

    /// The longest datagram that leaves with the packets, as the shorter last segment of their run; nothing is changed between the packets
    /// and it any more.
    #[must_use]
    pub fn room_behind(&self) -> usize {
        let last = self
            .spans
            .last()
            .map_or(0, |span| span.payload_len + OVERHEAD);
        last.min(self.buffer.len() - self.used)
    }

    /// Puts a datagram behind the sealed packets, for which there is [room](Self::room_behind).
    pub fn put_behind(&mut self, datagram: &[u8]) {
        self.buffer[self.used..self.used + datagram.len()].copy_from_slice(datagram);
        self.behind = Some(datagram.len());
    }

    /// It is sealed: now it is only sent.
    #[must_use]
    pub fn close(self) -> SealBatch<ClosedBuffer> {
        SealBatch {
            buffer: self.buffer.close(),
            spans: self.spans,
            used: self.used,
            kept: self.kept,
            behind: self.behind,
        }
    }

    /// What it consists of, to be used again.
    #[must_use]
    pub fn into_parts(self) -> (SendBuffer, Vec<Span>) {
        (self.buffer, self.spans)
    }
}

impl SealBatch<ClosedBuffer> {
    /// Where its packets are.
    #[must_use]
    pub fn buffer(&self) -> &ClosedBuffer {
        &self.buffer
    }

    /// Its packets as runs of equal length, what is behind them included: (place in the buffer, segment length).
    pub fn ranges(&self) -> impl Iterator<Item = (Range<usize>, usize)> {
        ranges(&self.spans, self.behind)
    }

    /// What it consists of, to be used again.
    #[must_use]
    pub fn into_parts(self) -> (ClosedBuffer, Vec<Span>) {
        (self.buffer, self.spans)
    }
}

impl<B: Deref<Target = [u8]> + DerefMut> SealBatch<B> {
    /// Whether a payload of so many bytes fits in. One that fits no datagram never does.
    #[must_use]
    pub fn has_room(&self, len: usize) -> bool {
        let kept = if self.spans.is_empty() { 0 } else { self.kept };
        self.spans.len() < PACKETS && self.used + len + OVERHEAD + kept <= self.buffer.len()
    }

    /// Copies a payload in; false when it has no room any more.
    pub fn push(&mut self, payload: &[u8]) -> bool {
        if !self.has_room(payload.len()) {
            return false;
        }
        let end = self.used + payload.len() + OVERHEAD;
        let start = self.used + HEADER_LEN;
        self.buffer[start..start + payload.len()].copy_from_slice(payload);
        self.spans.push(Span {
            offset: self.used,
            header_len: HEADER_LEN,
            payload_len: payload.len(),
            ctr: 0,
        });
        self.used = end;
        true
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Buffer and spans, to be sealed in place.
    pub fn parts(&mut self) -> (&mut [u8], &mut [Span]) {
        (&mut self.buffer[..self.used], &mut self.spans)
    }

    /// The sealed packets as runs of equal length, the last of each perhaps shorter: (bytes, segment length).
    pub fn runs(&self) -> impl Iterator<Item = (&[u8], usize)> {
        ranges(&self.spans, self.behind).map(|(range, segment)| (&self.buffer[range], segment))
    }

    /// Empties the batch.
    pub fn clear(&mut self) {
        self.spans.clear();
        (self.used, self.kept, self.behind) = (0, 0, None);
    }
}

fn ranges(spans: &[Span], behind: Option<usize>) -> impl Iterator<Item = (Range<usize>, usize)> {
    let packets = spans.iter().map(|span| span.payload_len + OVERHEAD);
    Runs::new(packets.chain(behind))
}

/// Cuts consecutive datagrams of the given lengths into runs that one GSO send can carry.
#[derive(Debug)]
pub struct Runs<I> {
    lengths: I,
    offset: usize,
    pending: Option<usize>,
}

impl<I: Iterator<Item = usize>> Runs<I> {
    /// Over `lengths` of datagrams that lie one after the other.
    pub fn new(lengths: I) -> Self {
        Self {
            lengths,
            offset: 0,
            pending: None,
        }
    }
}

impl<I: Iterator<Item = usize>> Iterator for Runs<I> {
    type Item = (Range<usize>, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let segment = self.pending.take().or_else(|| self.lengths.next())?;
        let start = self.offset;
        self.offset += segment;
        loop {
            match self.lengths.next() {
                Some(length)
                    if length == segment && self.offset - start + length <= DATAGRAM_MAX =>
                {
                    self.offset += length
                }
                Some(length)
                    if length < segment
                        && length > 0
                        && self.offset - start + length <= DATAGRAM_MAX =>
                {
                    self.offset += length;
                    break;
                }
                other => {
                    self.pending = other;
                    break;
                }
            }
        }
        Some((start..self.offset, segment))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_lengths_go_out_together_and_a_shorter_one_ends_the_run() {
        let runs: Vec<_> = Runs::new([10, 10, 4, 10, 12, 12].into_iter()).collect();
        assert_eq!(runs, [(0..24, 10), (24..34, 10), (34..58, 12)]);
    }

    proptest! {
        #[test]
        fn runs_cut_into_exactly_the_datagrams(lengths in prop::collection::vec(1_usize..2000, 0..60)) {
            let mut cut = Vec::new();
            for (range, segment) in Runs::new(lengths.iter().copied()) {
                prop_assert!(range.len() <= DATAGRAM_MAX);
                let mut at = range.start;
                while at < range.end {
                    let end = range.end.min(at + segment);
                    cut.push(end - at);
                    at = end;
                }
            }
            prop_assert_eq!(cut, lengths);
        }
    }

    /// Design 3: where vector code is fastest.
    #[test]
    fn payloads_of_seven_ts_packets_lie_on_lines() {
        let mut batch = SealBatch::default();
        while batch.push(&[7; 1316]) {}
        let (buffer, spans) = batch.parts();
        let payload = |span: &Span| buffer[span.offset + HEADER_LEN..].as_ptr().addr();
        assert!(spans.iter().all(|span| payload(span).is_multiple_of(LINE)));
    }

    #[test]
    fn a_manifest_leaves_as_the_shorter_last_segment() {
        let mut batch = SealBatch::default();
        batch.keep_room_behind();
        while batch.push(&[7; 1316]) {}
        assert_eq!(batch.room_behind(), 1344);
        batch.put_behind(&[3; MANIFEST_MAX]);
        let runs: Vec<_> = batch.close().ranges().collect();
        assert_eq!(runs, [(0..47 * 1344 + MANIFEST_MAX, 1344)]);
        let mut long = SealBatch::default();
        long.keep_room_behind();
        assert!(long.push(&vec![0; DATAGRAM_MAX - OVERHEAD]));
        assert_eq!(long.room_behind(), 0);
    }

    #[test]
    fn a_full_batch_takes_no_more() {
        let mut batch = SealBatch::default();
        assert_eq!((0..100).filter(|_| batch.push(&[0; 1316])).count(), PACKETS);
        batch.clear();
        assert!(
            !batch.push(&vec![0; DATAGRAM_MAX]) && batch.push(&vec![0; DATAGRAM_MAX - OVERHEAD])
        );
    }
}
