//! The packet AEAD: AES-256-GCM under one lane key, many packets per call (RFC 9605 4.4.3, suite 0x0005).
//!
//! The nonce of a packet is the lane's salt xor its CTR; the associated data is its header. [`SealKey`] and [`OpenKey`] are
//! different types: who holds one cannot do the other's work by mistake (MD-03).

use crate::backend::{Backend, ExpandedKey};
use crate::kdf::LaneSecret;

/// Bytes of a tag.
pub const TAG_LEN: usize = 16;
/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Packets in one call, at most.
pub const BATCH_MAX: usize = 128;

/// Where one packet lies in a buffer: header (the associated data), then payload, then the tag's 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Where the header starts.
    pub offset: usize,
    /// Bytes of header.
    pub header_len: usize,
    /// Bytes of payload.
    pub payload_len: usize,
    /// The packet's CTR: makes its nonce.
    pub ctr: u64,
}

impl Span {
    fn end(&self) -> usize {
        self.offset + self.header_len + self.payload_len + TAG_LEN
    }
}

/// One packet in a buffer of its own: header, payload and tag from the buffer's start on.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Holds at least header, payload and tag.
    pub buf: &'a mut [u8],
    /// Bytes of header.
    pub header_len: usize,
    /// Bytes of payload.
    pub payload_len: usize,
    /// The packet's CTR.
    pub ctr: u64,
}

/// Which packets of a batch are genuine: bit i is packet i.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verdicts(u128);

impl Verdicts {
    /// Whether packet `index` is genuine.
    #[must_use]
    pub fn is_ok(self, index: usize) -> bool {
        index < BATCH_MAX && self.0 >> index & 1 == 1
    }

    /// How many are.
    #[must_use]
    pub fn count_ok(self) -> u32 {
        self.0.count_ones()
    }

    fn set(&mut self, index: usize) {
        self.0 |= 1 << index;
    }
}

/// Key and salt of a lane, expanded. Neither is shown, and both are wiped when dropped.
struct LaneKey {
    expanded: ExpandedKey,
    salt: zeroize::Zeroizing<[u8; NONCE_LEN]>,
}

impl LaneKey {
    fn new(secret: &LaneSecret, backend: Backend) -> Self {
        Self { expanded: ExpandedKey::new(backend, secret.key()), salt: zeroize::Zeroizing::new(*secret.salt()) }
    }

    fn nonce(&self, ctr: u64) -> [u8; NONCE_LEN] {
        let mut nonce = *self.salt;
        nonce[NONCE_LEN - 8..].iter_mut().zip(ctr.to_be_bytes()).for_each(|(salt, ctr)| *salt ^= ctr);
        nonce
    }

    fn seal(&self, ctr: u64, packet: &mut [u8], header_len: usize) {
        let (header, rest) = packet.split_at_mut(header_len);
        let (payload, tag) = rest.split_at_mut(rest.len() - TAG_LEN);
        tag.copy_from_slice(&self.expanded.seal(&self.nonce(ctr), header, payload));
    }

    fn open(&self, ctr: u64, packet: &mut [u8], header_len: usize) -> bool {
        let (header, rest) = packet.split_at_mut(header_len);
        let Some((payload, tag)) = rest.split_last_chunk_mut::<TAG_LEN>() else { return false };
        self.expanded.open(&self.nonce(ctr), header, payload, tag)
    }
}

/// Seals packets of one lane in one epoch. Never clones: the numbers under one key have one owner (SEC-06).
pub struct SealKey(LaneKey);

/// Opens packets of one lane in one epoch.
pub struct OpenKey(LaneKey);

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(..)")
    }
}

impl std::fmt::Debug for OpenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenKey(..)")
    }
}

impl SealKey {
    /// With the fastest backend of this processor.
    #[must_use]
    pub fn new(secret: &LaneSecret) -> Self {
        Self::with_backend(secret, Backend::detect())
    }

    /// With a given backend.
    #[must_use]
    pub fn with_backend(secret: &LaneSecret, backend: Backend) -> Self {
        Self(LaneKey::new(secret, backend))
    }

    /// Seals packets that lie in one buffer, in place: payloads become ciphertext, tags are written after them.
    ///
    /// # Panics
    /// When a span reaches out of the buffer or there are more than [`BATCH_MAX`]: the caller's own bug.
    pub fn seal(&self, buf: &mut [u8], spans: &[Span]) {
        assert!(spans.len() <= BATCH_MAX && spans.iter().all(|span| span.end() <= buf.len()), "spans lie in the buffer");
        for span in spans {
            self.0.seal(span.ctr, &mut buf[span.offset..span.end()], span.header_len);
        }
    }

    /// Seals packets that lie in buffers of their own.
    ///
    /// # Panics
    /// When a buffer is too short or there are more than [`BATCH_MAX`]: the caller's own bug.
    pub fn seal_frames(&self, frames: &mut [Frame<'_>]) {
        assert!(frames.len() <= BATCH_MAX);
        for frame in frames {
            let len = frame.header_len + frame.payload_len + TAG_LEN;
            self.0.seal(frame.ctr, &mut frame.buf[..len], frame.header_len);
        }
    }
}

impl OpenKey {
    /// With the fastest backend of this processor.
    #[must_use]
    pub fn new(secret: &LaneSecret) -> Self {
        Self::with_backend(secret, Backend::detect())
    }

    /// With a given backend.
    #[must_use]
    pub fn with_backend(secret: &LaneSecret, backend: Backend) -> Self {
        Self(LaneKey::new(secret, backend))
    }

    /// Opens packets that lie in one buffer, in place. The payload of a packet that is not genuine is zeroed.
    ///
    /// # Panics
    /// When a span reaches out of the buffer or there are more than [`BATCH_MAX`]: the caller's own bug.
    #[must_use]
    pub fn open(&self, buf: &mut [u8], spans: &[Span]) -> Verdicts {
        assert!(spans.len() <= BATCH_MAX && spans.iter().all(|span| span.end() <= buf.len()), "spans lie in the buffer");
        let mut verdicts = Verdicts::default();
        for (index, span) in spans.iter().enumerate() {
            if self.0.open(span.ctr, &mut buf[span.offset..span.end()], span.header_len) {
                verdicts.set(index);
            }
        }
        verdicts
    }

    /// Opens packets that lie in buffers of their own.
    ///
    /// # Panics
    /// When a buffer is too short or there are more than [`BATCH_MAX`]: the caller's own bug.
    #[must_use]
    pub fn open_frames(&self, frames: &mut [Frame<'_>]) -> Verdicts {
        assert!(frames.len() <= BATCH_MAX);
        let mut verdicts = Verdicts::default();
        for (index, frame) in frames.iter_mut().enumerate() {
            let len = frame.header_len + frame.payload_len + TAG_LEN;
            if self.0.open(frame.ctr, &mut frame.buf[..len], frame.header_len) {
                verdicts.set(index);
            }
        }
        verdicts
    }
}
