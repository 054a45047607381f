//! The shapes of a batch: where its packets lie, and which of them were genuine.
//!
//! A packet is `header | payload | tag`: the header is authenticated (it is the AAD), the payload is encrypted, the tag
//! takes [`TAG_LEN`](crate::TAG_LEN) bytes. A batch is either one buffer with [`Span`]s, as segmentation offload sends
//! and receives it, or a slice of [`Frame`]s with a buffer each.

use std::fmt;
use std::slice;

use crate::aead::{SALT_LEN, TAG_LEN};

/// The most packets of one call.
pub const BATCH_MAX: usize = 128;
/// The longest header (AAD) of a packet, in bytes.
pub const HEADER_MAX: usize = 64;
/// The longest payload of a packet, in bytes: the limit of AES-GCM itself (NIST SP 800-38D 5.2.1.1).
pub const PAYLOAD_MAX: usize = (1 << 36) - 32;

/// One packet in a buffer that holds several: header at `offset`, payload right after it, tag right after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where the header begins, in bytes from the start of the buffer.
    pub offset: usize,
    /// Length of the header, at most [`HEADER_MAX`].
    pub header_len: usize,
    /// Length of the payload, at most [`PAYLOAD_MAX`]; the tag is not counted.
    pub payload_len: usize,
    /// The packet number, from which the nonce is made.
    pub ctr: u64,
}

impl Span {
    /// The first byte behind the packet. Saturates, so that an absurd span lies outside every buffer.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.offset
            .saturating_add(self.header_len)
            .saturating_add(self.payload_len)
            .saturating_add(TAG_LEN)
    }
}

/// One packet in a buffer of its own: header at the start, payload right after it, tag right after that. The buffer may
/// be longer; what follows the tag is not touched.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The buffer.
    pub buf: &'a mut [u8],
    /// Length of the header, at most [`HEADER_MAX`].
    pub header_len: usize,
    /// Length of the payload, at most [`PAYLOAD_MAX`]; the tag is not counted.
    pub payload_len: usize,
    /// The packet number, from which the nonce is made.
    pub ctr: u64,
}

impl Span {
    /// [`end`](Self::end) of a packet that lies in a buffer, whose sum cannot overflow.
    const fn end_inside(&self) -> usize {
        self.offset
            .wrapping_add(self.header_len)
            .wrapping_add(self.payload_len)
            .wrapping_add(TAG_LEN)
    }
}

impl Frame<'_> {
    const fn span(&self) -> Span {
        Span {
            offset: 0,
            header_len: self.header_len,
            payload_len: self.payload_len,
            ctr: self.ctr,
        }
    }
}

/// Which packets of a batch were genuine, in the order of the batch.
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use = "a packet without a good verdict has been wiped"]
pub struct Verdicts {
    genuine: u128,
    len: u8,
}

impl Verdicts {
    /// Of a batch of which nothing is known yet.
    pub(crate) const NONE: Self = Self { genuine: 0, len: 0 };

    /// Adds the verdict on the next packet. There are never more than [`BATCH_MAX`].
    pub(crate) fn push(&mut self, genuine: bool) {
        self.genuine |= u128::from(genuine) << self.len;
        self.len += 1;
    }

    /// Adds those on the next four, the low bits.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    pub(crate) fn push_four(&mut self, genuine: u8) {
        self.genuine |= u128::from(genuine & 0xf) << self.len;
        self.len += 4;
    }

    pub(crate) fn collect(verdicts: impl Iterator<Item = bool>) -> Self {
        let mut all = Self::NONE;
        verdicts.for_each(|genuine| all.push(genuine));
        all
    }

    /// Whether packet `index` was genuine; false beyond the end of the batch.
    #[must_use]
    pub const fn is_ok(&self, index: usize) -> bool {
        index < self.len() && self.genuine >> index & 1 == 1
    }

    /// One verdict for each packet.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = bool> + use<> {
        let verdicts = *self;
        (0..self.len()).map(move |index| verdicts.is_ok(index))
    }

    /// Packets that were genuine.
    #[must_use]
    pub const fn count_ok(&self) -> usize {
        self.genuine.count_ones() as usize
    }

    /// Whether every packet was genuine.
    #[must_use]
    pub const fn all_ok(&self) -> bool {
        self.count_ok() == self.len()
    }

    /// Packets of the batch.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the batch had no packets.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verdicts({} of {} genuine)", self.count_ok(), self.len)
    }
}

/// One packet as an implementation of the AEAD sees it.
///
/// A nonce is a number, and what makes packets is inlined into the loops that take them: then nothing goes through memory
/// in one size and comes back in another, which costs the processor dozens of cycles for each packet.
pub(crate) struct Packet<'a> {
    /// The 12 bytes of the nonce; byte i is bits 8i to 8i + 7.
    pub(crate) nonce: u128,
    pub(crate) header: &'a [u8],
    pub(crate) payload: &'a mut [u8],
    pub(crate) tag: &'a mut [u8; TAG_LEN],
}

impl<'a> Packet<'a> {
    /// Takes `bytes` apart: exactly one packet.
    #[inline(always)]
    fn new(salt: &[u8; SALT_LEN], span: &Span, bytes: &'a mut [u8]) -> Self {
        let (header, rest) = bytes.split_at_mut(span.header_len);
        let (payload, tag) = rest
            .split_last_chunk_mut()
            .expect("a packet includes its tag");
        Self {
            nonce: nonce(salt, span.ctr),
            header,
            payload,
            tag,
        }
    }
}

/// The salt xor the packet number, big-endian and right-aligned (RFC 9605 4.4.3).
#[inline(always)]
fn nonce(salt: &[u8; SALT_LEN], ctr: u64) -> u128 {
    nonce_of_bytes(salt) ^ u128::from(ctr.swap_bytes()) << 32
}

/// The nonce as [`Packet`] holds it.
#[inline(always)]
pub(crate) fn nonce_of_bytes(nonce: &[u8; SALT_LEN]) -> u128 {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *nonce;
    let front = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let back = u32::from_le_bytes([i, j, k, l]);
    u128::from(back) << 64 | u128::from(front)
}

/// The packets of one call, in order: one type for every shape of a batch, so that an implementation is compiled once.
/// Packets do not overlap, so an implementation may hold several at a time.
pub(crate) enum Packets<'a, 'f> {
    /// Of one buffer.
    Spans(Spans<'a>),
    /// With a buffer each.
    Frames(Frames<'a, 'f>),
    /// A single one.
    One(Option<Packet<'a>>),
}

impl<'a> Iterator for Packets<'a, '_> {
    type Item = Packet<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Packet<'a>> {
        match self {
            Self::Spans(spans) => spans.next(),
            Self::Frames(frames) => frames.next(),
            Self::One(packet) => packet.take(),
        }
    }
}

/// The packets of one buffer, in order.
///
/// # Panics
/// At once, if there are too many, or if they are not in ascending order, overlap or leave the buffer.
#[inline(always)]
pub(crate) fn packets<'a>(
    salt: &'a [u8; SALT_LEN],
    buf: &'a mut [u8],
    spans: &'a [Span],
) -> Packets<'a, 'static> {
    assert!(
        spans.len() <= BATCH_MAX,
        "{} packets in a batch",
        spans.len()
    );
    let mut free = 0;
    for span in spans {
        assert!(
            free <= span.offset && fits(span, buf.len()),
            "{span:?} after byte {free} of {}",
            buf.len()
        );
        free = span.end();
    }
    Packets::Spans(Spans {
        salt,
        rest: buf,
        position: 0,
        spans: spans.iter(),
    })
}

/// The packets of frames, in order.
///
/// # Panics
/// At once, if there are too many, or if one leaves its buffer.
#[inline(always)]
pub(crate) fn frame_packets<'a, 'f>(
    salt: &'a [u8; SALT_LEN],
    frames: &'a mut [Frame<'f>],
) -> Packets<'a, 'f> {
    assert!(
        frames.len() <= BATCH_MAX,
        "{} packets in a batch",
        frames.len()
    );
    for frame in &*frames {
        assert!(
            fits(&frame.span(), frame.buf.len()),
            "{:?} of {} bytes",
            frame.span(),
            frame.buf.len()
        );
    }
    Packets::Frames(Frames {
        salt,
        frames: frames.iter_mut(),
    })
}

const fn fits(span: &Span, len: usize) -> bool {
    span.header_len <= HEADER_MAX && span.payload_len <= PAYLOAD_MAX && span.end() <= len
}

/// Cuts packets off the front of a buffer. Ascending order makes that possible without aliasing.
pub(crate) struct Spans<'a> {
    salt: &'a [u8; SALT_LEN],
    rest: &'a mut [u8],
    /// Where `rest` begins in the buffer.
    position: usize,
    spans: slice::Iter<'a, Span>,
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
impl Spans<'_> {
    /// The packets, leaving none.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Self {
        Self {
            salt: self.salt,
            rest: std::mem::take(&mut self.rest),
            position: self.position,
            spans: std::mem::take(&mut self.spans),
        }
    }
}

impl<'a> Iterator for Spans<'a> {
    type Item = Packet<'a>;

    #[inline(always)]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }

    #[inline(always)]
    fn next(&mut self) -> Option<Packet<'a>> {
        let span = self.spans.next()?;
        let end = span.end_inside();
        let (before, rest) =
            std::mem::take(&mut self.rest).split_at_mut(end.wrapping_sub(self.position));
        let skipped = span.offset.wrapping_sub(self.position);
        (self.rest, self.position) = (rest, end);
        Some(Packet::new(self.salt, span, &mut before[skipped..]))
    }
}

/// Takes frames one after the other.
pub(crate) struct Frames<'a, 'f> {
    salt: &'a [u8; SALT_LEN],
    frames: slice::IterMut<'a, Frame<'f>>,
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
impl Frames<'_, '_> {
    /// The packets, leaving none.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Self {
        Self {
            salt: self.salt,
            frames: std::mem::take(&mut self.frames),
        }
    }
}

impl<'a> Iterator for Frames<'a, '_> {
    type Item = Packet<'a>;

    #[inline(always)]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.frames.size_hint()
    }

    #[inline(always)]
    fn next(&mut self) -> Option<Packet<'a>> {
        let frame = self.frames.next()?;
        let span = frame.span();
        Some(Packet::new(
            self.salt,
            &span,
            &mut frame.buf[..span.end_inside()],
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn span(offset: usize, header_len: usize, payload_len: usize) -> Span {
        Span {
            offset,
            header_len,
            payload_len,
            ctr: 0,
        }
    }

    fn count(len: usize, spans: &[Span]) -> usize {
        packets(&[0; SALT_LEN], &mut vec![0; len], spans).count()
    }

    #[test]
    fn the_nonce_is_salt_xor_number() {
        let salt = [0xf0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
        let bytes = |ctr| nonce(&salt, ctr).to_le_bytes();
        assert_eq!((&bytes(0)[..12], &bytes(0)[12..]), (&salt[..], &[0; 4][..]));
        assert_eq!(bytes(u64::MAX)[..5], [0xf0, 1, 2, 3, !4]);
        assert_eq!(bytes(0x0102)[9..12], [9, 10 ^ 1, 11 ^ 2]);
    }

    #[test]
    fn spans_are_cut_where_they_say() {
        let mut buf: Vec<u8> = (0..100).collect();
        let spans = [span(3, 2, 4), span(25, 0, 0), span(50, 12, 22)];
        let cut: Vec<_> = packets(&[0; SALT_LEN], &mut buf, &spans)
            .map(|packet| {
                (
                    packet.header.to_vec(),
                    packet.payload.to_vec(),
                    packet.tag[0],
                )
            })
            .collect();
        assert_eq!(cut[0], (vec![3, 4], vec![5, 6, 7, 8], 9));
        assert_eq!(cut[1], (vec![], vec![], 25));
        assert_eq!(cut[2], ((50..62).collect(), (62..84).collect(), 84));
    }

    #[test]
    fn the_whole_buffer_may_be_packets() {
        assert_eq!(count(56, &[span(0, 12, 0), span(28, 12, 0)]), 2);
        assert_eq!(
            count(
                16 * BATCH_MAX,
                &(0..BATCH_MAX)
                    .map(|i| span(16 * i, 0, 0))
                    .collect::<Vec<_>>()
            ),
            BATCH_MAX
        );
    }

    #[test]
    #[should_panic(expected = "after byte 0 of 27")]
    fn a_span_beyond_the_buffer_is_refused() {
        count(27, &[span(0, 12, 0)]);
    }

    #[test]
    #[should_panic(expected = "after byte 28 of 56")]
    fn overlapping_spans_are_refused() {
        count(56, &[span(0, 12, 0), span(27, 12, 0)]);
    }

    #[test]
    #[should_panic(expected = "after byte 0 of 56")]
    fn a_span_that_overflows_is_refused() {
        count(56, &[span(usize::MAX - 3, 12, 0)]);
    }

    #[test]
    #[should_panic(expected = "129 packets in a batch")]
    fn too_many_packets_are_refused() {
        count(
            4096,
            &(0..=BATCH_MAX)
                .map(|i| span(16 * i, 0, 0))
                .collect::<Vec<_>>(),
        );
    }

    #[test]
    #[should_panic(expected = "of 27 bytes")]
    fn a_frame_beyond_its_buffer_is_refused() {
        let mut frames = [Frame {
            buf: &mut [0; 27],
            header_len: 12,
            payload_len: 0,
            ctr: 0,
        }];
        let _ = frame_packets(&[0; SALT_LEN], &mut frames);
    }

    #[test]
    fn verdicts_count_and_index() {
        let verdicts = Verdicts::collect((0..BATCH_MAX).map(|index| index % 3 == 0));
        assert_eq!((verdicts.len(), verdicts.count_ok()), (128, 43));
        assert!(
            verdicts.is_ok(126)
                && !verdicts.is_ok(127)
                && !verdicts.is_ok(128)
                && !verdicts.is_ok(usize::MAX)
        );
        assert!(
            verdicts
                .iter()
                .enumerate()
                .all(|(index, genuine)| genuine == (index % 3 == 0))
        );
        assert!(!verdicts.all_ok() && !verdicts.is_empty());
        assert_eq!(format!("{verdicts:?}"), "Verdicts(43 of 128 genuine)");

        let none = Verdicts::collect(std::iter::empty());
        assert!(none.is_empty() && none.all_ok() && !none.is_ok(0) && none.iter().len() == 0);
        assert!(Verdicts::collect(std::iter::repeat_n(true, BATCH_MAX)).all_ok());
    }
}
