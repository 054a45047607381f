//! Content at rest and downloads: a stream of any length, sealed in segments of 64 KiB that can be opened one by one.
//!
//! This is the construction STREAM of Hoang, Reyhanitabar, Rogaway and Vizár ("Online authenticated-encryption and its
//! nonce-reuse misuse-resistance", CRYPTO 2015) with AES-GCM. The nonce of a segment is
//!
//! ```text
//! prefix, 7 bytes | index of the segment, 4 bytes, big-endian | 1 if it is the last, otherwise 0
//! ```
//!
//! All segments but the last hold exactly [`SEGMENT_LEN`] bytes of plaintext; the last holds 0 to `SEGMENT_LEN`. A sealed
//! segment is its ciphertext and a tag of 16 bytes; segment i begins at byte `i * SEALED_SEGMENT_LEN`. A stream is at least
//! one segment, so that an empty stream is authenticated too.
//!
//! A segment opens only at its own index and only as what it was sealed as, last or not. So segments cannot be reordered,
//! repeated, dropped or taken from another stream, and a stream that was cut at a segment's end is found by whoever reads
//! to the end: what comes last does not open as the last. Who opens one segment alone must know from elsewhere, such as
//! the length of the file, whether it is the last.
//!
//! The prefix must be different for every stream under one key: derive key and prefix for each stream, or use one key for
//! few streams (a random prefix repeats among 2^20 streams with a probability of 2^-17).

use std::fmt;

use zeroize::Zeroizing;

use crate::aead::{AesKey, TAG_LEN};
use crate::backend::{Backend, Kernel};
use crate::batch::{Packet, Packets, nonce_of_bytes};

/// Bytes of plaintext in a segment that is not the last.
pub const SEGMENT_LEN: usize = 64 * 1024;
/// Bytes of a sealed segment that is not the last.
pub const SEALED_SEGMENT_LEN: usize = SEGMENT_LEN + TAG_LEN;
/// Bytes in front of the nonces of a stream.
pub const PREFIX_LEN: usize = 7;

/// The segment is forged, damaged, cut short, of another stream, at another index, or not last or last as it was said to
/// be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the segment is not genuine")]
pub struct BadSegment;

/// Seals the segments of one stream, in order: an index cannot come twice.
pub struct SegmentSealer {
    stream: Stream,
    /// `None` when all indices are used up or the last segment was sealed.
    next: Option<u32>,
}

/// Opens the segments of one stream, in any order.
pub struct SegmentOpener(Stream);

struct Stream {
    kernel: Kernel,
    prefix: Zeroizing<[u8; PREFIX_LEN]>,
}

impl Stream {
    fn new(key: &AesKey, prefix: &[u8; PREFIX_LEN], backend: Backend) -> Self {
        Self {
            kernel: Kernel::new(key, backend),
            prefix: Zeroizing::new(*prefix),
        }
    }

    /// The segment in `buf` as a packet without a header; `None` if it cannot be a segment.
    fn packet<'a>(&self, index: u32, last: bool, buf: &'a mut [u8]) -> Option<Packet<'a>> {
        let (payload, tag) = buf.split_last_chunk_mut()?;
        let fits = if last {
            payload.len() <= SEGMENT_LEN
        } else {
            payload.len() == SEGMENT_LEN
        };
        let mut nonce = [0; 12];
        nonce[..PREFIX_LEN].copy_from_slice(&*self.prefix);
        nonce[PREFIX_LEN..11].copy_from_slice(&index.to_be_bytes());
        nonce[11] = u8::from(last);
        fits.then_some(Packet {
            nonce: nonce_of_bytes(&nonce),
            header: &[],
            payload,
            tag,
        })
    }
}

impl SegmentSealer {
    /// A stream that begins, on the fastest implementation this processor has.
    #[must_use]
    pub fn new(key: &AesKey, prefix: &[u8; PREFIX_LEN]) -> Self {
        Self::with_backend(key, prefix, Backend::detect())
    }

    /// A stream that begins, on `backend`.
    ///
    /// # Panics
    /// If `backend` is not [available](Backend::available).
    #[must_use]
    pub fn with_backend(key: &AesKey, prefix: &[u8; PREFIX_LEN], backend: Backend) -> Self {
        Self {
            stream: Stream::new(key, prefix, backend),
            next: Some(0),
        }
    }

    /// Seals the next segment in place: `buf` is its plaintext and [`TAG_LEN`] bytes for the tag. Gives back its index.
    ///
    /// # Panics
    /// If the last segment was sealed before, if 2^32 segments were, or if `buf` is neither [`SEALED_SEGMENT_LEN`] bytes
    /// long nor, as the last, between `TAG_LEN` and that. Nothing has been sealed then.
    pub fn seal(&mut self, last: bool, buf: &mut [u8]) -> u32 {
        let index = self.next.expect("the stream has ended");
        let len = buf.len();
        let packet = self.stream.packet(index, last, buf);
        let packet = packet.unwrap_or_else(|| panic!("{len} bytes are no segment"));
        self.stream.kernel.seal(&mut Packets::One(Some(packet)));
        self.next = if last { None } else { index.checked_add(1) };
        index
    }
}

impl SegmentOpener {
    /// A stream to read, on the fastest implementation this processor has.
    #[must_use]
    pub fn new(key: &AesKey, prefix: &[u8; PREFIX_LEN]) -> Self {
        Self::with_backend(key, prefix, Backend::detect())
    }

    /// A stream to read, on `backend`.
    ///
    /// # Panics
    /// If `backend` is not [available](Backend::available).
    #[must_use]
    pub fn with_backend(key: &AesKey, prefix: &[u8; PREFIX_LEN], backend: Backend) -> Self {
        Self(Stream::new(key, prefix, backend))
    }

    /// Opens segment `index` in place: `buf` is the sealed segment, what is given back its plaintext at the start.
    ///
    /// # Errors
    /// [`BadSegment`]; the plaintext's place is zeroed then, unless `buf` has no length that a segment can have.
    pub fn open<'a>(
        &self,
        index: u32,
        last: bool,
        buf: &'a mut [u8],
    ) -> Result<&'a mut [u8], BadSegment> {
        let packet = self.0.packet(index, last, buf).ok_or(BadSegment)?;
        let verdicts = self.0.kernel.open(&mut Packets::One(Some(packet)));
        if !verdicts.all_ok() {
            return Err(BadSegment);
        }
        let len = buf.len() - TAG_LEN;
        Ok(&mut buf[..len])
    }
}

impl fmt::Debug for SegmentSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentSealer")
            .field("backend", &self.stream.kernel.backend())
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SegmentOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentOpener")
            .field("backend", &self.0.kernel.backend())
            .finish_non_exhaustive()
    }
}
