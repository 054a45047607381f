//! The packet AEAD: AES-GCM with a 16-byte tag over batches of packets. On the wire it is AES-256-GCM as RFC 9605 uses it
//! in its cipher suite 0x0005 (AES_256_GCM_SHA512_128); [`AesKey`] also knows AES-128.
//!
//! The key and salt are those of one lane. The nonce is the salt xor the packet number (RFC 9605 4.4.3), so under one
//! key a packet number may be sealed **once**, whatever happens (SEC-06); the caller reserves numbers before it seals. The
//! AAD is the packet's header (with no metadata, RFC 9605 4.4.4).

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::backend::{Backend, Kernel};
use crate::batch::{Frame, Span, Verdicts, frame_packets, packets};
use crate::kdf::LaneSecret;

/// Length of the AES key of a lane, in bytes.
pub const KEY_LEN: usize = 32;
/// Length of the salt and of the nonce, in bytes.
pub const SALT_LEN: usize = 12;
/// Length of the tag behind each payload, in bytes.
pub const TAG_LEN: usize = 16;

/// A key of AES-GCM; its length chooses the cipher.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub enum AesKey {
    /// AES-128: 10 rounds.
    Aes128([u8; 16]),
    /// AES-256: 14 rounds; the cipher of lanes.
    Aes256([u8; 32]),
}

impl fmt::Debug for AesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes128(_) => "Aes128(..)",
            Self::Aes256(_) => "Aes256(..)",
        })
    }
}

/// Seals the packets of one lane: the sending half.
pub struct SealKey(LaneKey);

/// Opens the packets of one lane: the receiving half.
pub struct OpenKey(LaneKey);

/// Expanded key and salt.
struct LaneKey {
    kernel: Kernel,
    salt: Zeroizing<[u8; SALT_LEN]>,
}

impl LaneKey {
    fn new(key: &AesKey, salt: &[u8; SALT_LEN], backend: Backend) -> Self {
        Self {
            kernel: Kernel::new(key, backend),
            salt: Zeroizing::new(*salt),
        }
    }

    fn of_lane(secret: &LaneSecret, backend: Backend) -> Self {
        Self::new(&AesKey::Aes256(*secret.key()), secret.salt(), backend)
    }
}

impl SealKey {
    /// A key that runs on the fastest implementation this processor has.
    #[must_use]
    pub fn new(secret: &LaneSecret) -> Self {
        Self::with_backend(secret, Backend::detect())
    }

    /// A key that runs on `backend`.
    ///
    /// # Panics
    /// If `backend` is not [available](Backend::available).
    #[must_use]
    pub fn with_backend(secret: &LaneSecret, backend: Backend) -> Self {
        Self(LaneKey::of_lane(secret, backend))
    }

    /// A key of its parts, for what is no lane: other cipher suites, tests, benchmarks. The nonce of a packet is `salt` xor
    /// its number.
    ///
    /// # Panics
    /// If `backend` is not [available](Backend::available).
    #[must_use]
    pub fn from_parts(key: &AesKey, salt: &[u8; SALT_LEN], backend: Backend) -> Self {
        Self(LaneKey::new(key, salt, backend))
    }

    /// The implementation it runs on.
    #[must_use]
    pub const fn backend(&self) -> Backend {
        self.0.kernel.backend()
    }

    /// Seals the packets of one buffer in place: encrypts each payload and writes its tag. Headers are read, all other
    /// bytes left alone. It is fastest when payloads begin on 64-byte lines and follow one another in fours of one length.
    ///
    /// # Panics
    /// If there are more than [`BATCH_MAX`](crate::BATCH_MAX) spans, or they are not in ascending order, overlap or
    /// leave the buffer. Nothing has been sealed then.
    pub fn seal(&self, buf: &mut [u8], spans: &[Span]) {
        self.0.kernel.seal(&mut packets(&self.0.salt, buf, spans));
    }

    /// Seals packets that have a buffer each, like [`seal`](Self::seal).
    ///
    /// # Panics
    /// If there are more than [`BATCH_MAX`](crate::BATCH_MAX) frames, or one leaves its buffer. Nothing has been sealed
    /// then.
    pub fn seal_frames(&self, frames: &mut [Frame<'_>]) {
        self.0.kernel.seal(&mut frame_packets(&self.0.salt, frames));
    }
}

impl OpenKey {
    /// A key that runs on the fastest implementation this processor has.
    #[must_use]
    pub fn new(secret: &LaneSecret) -> Self {
        Self::with_backend(secret, Backend::detect())
    }

    /// A key that runs on `backend`.
    ///
    /// # Panics
    /// If `backend` is not [available](Backend::available).
    #[must_use]
    pub fn with_backend(secret: &LaneSecret, backend: Backend) -> Self {
        Self(LaneKey::of_lane(secret, backend))
    }

    /// A key of its parts, for what is no lane: other cipher suites, tests, benchmarks. The nonce of a packet is `salt` xor
    /// its number.
    ///
    /// # Panics
    /// If `backend` is not [available](Backend::available).
    #[must_use]
    pub fn from_parts(key: &AesKey, salt: &[u8; SALT_LEN], backend: Backend) -> Self {
        Self(LaneKey::new(key, salt, backend))
    }

    /// The implementation it runs on.
    #[must_use]
    pub const fn backend(&self) -> Backend {
        self.0.kernel.backend()
    }

    /// Opens the packets of one buffer in place: decrypts the payload of each genuine packet, zeroes that of every other.
    /// Headers, tags and all other bytes are left alone. Tags are compared in constant time.
    ///
    /// # Panics
    /// If there are more than [`BATCH_MAX`](crate::BATCH_MAX) spans, or they are not in ascending order, overlap or
    /// leave the buffer. Nothing has been opened then. The bytes of a packet never make it panic.
    pub fn open(&self, buf: &mut [u8], spans: &[Span]) -> Verdicts {
        self.0.kernel.open(&mut packets(&self.0.salt, buf, spans))
    }

    /// Opens packets that have a buffer each, like [`open`](Self::open).
    ///
    /// # Panics
    /// If there are more than [`BATCH_MAX`](crate::BATCH_MAX) frames, or one leaves its buffer. Nothing has been opened
    /// then.
    pub fn open_frames(&self, frames: &mut [Frame<'_>]) -> Verdicts {
        self.0.kernel.open(&mut frame_packets(&self.0.salt, frames))
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKey")
            .field("backend", &self.backend())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OpenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenKey")
            .field("backend", &self.backend())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> LaneSecret {
        LaneSecret::from_parts([0x11; KEY_LEN], [0x22; SALT_LEN])
    }

    /// Two packets with a gap before, between and behind them.
    const SPANS: [Span; 2] = [
        Span {
            offset: 5,
            header_len: 12,
            payload_len: 100,
            ctr: 1 << 32,
        },
        Span {
            offset: 140,
            header_len: 12,
            payload_len: 33,
            ctr: (1 << 32) + 1,
        },
    ];

    #[test]
    fn a_batch_goes_there_and_back() {
        let clear: Vec<u8> = (0..220).collect();
        let mut buf = clear.clone();
        SealKey::new(&secret()).seal(&mut buf, &SPANS);
        for outside in [0..17, 133..152, 201..220] {
            assert_eq!(buf[outside.clone()], clear[outside]);
        }
        assert_ne!(buf[17..117], clear[17..117]);

        assert!(OpenKey::new(&secret()).open(&mut buf, &SPANS).all_ok());
        assert_eq!(buf[..117], clear[..117]);
        assert_eq!(buf[133..185], clear[133..185]);
    }

    #[test]
    fn frames_and_spans_are_sealed_alike() {
        let mut buf: Vec<u8> = (0..220).collect();
        let mut copies = SPANS.map(|span| buf[span.offset..span.end() + 3].to_vec());
        let key = SealKey::new(&secret());
        key.seal(&mut buf, &SPANS);
        let frame = |(span, buf)| {
            let Span {
                header_len,
                payload_len,
                ctr,
                ..
            } = span;
            Frame {
                buf,
                header_len,
                payload_len,
                ctr,
            }
        };
        let mut frames: Vec<_> = SPANS
            .into_iter()
            .zip(copies.iter_mut().map(Vec::as_mut_slice))
            .map(frame)
            .collect();
        key.seal_frames(&mut frames);
        for (span, frame) in SPANS.iter().zip(&frames) {
            assert_eq!(*frame.buf, buf[span.offset..span.end() + 3]);
        }
        assert!(OpenKey::new(&secret()).open_frames(&mut frames).all_ok());
        assert_eq!(frames[1].buf[12..45], (152..185).collect::<Vec<u8>>());
    }

    #[test]
    fn an_empty_batch_is_no_work() {
        SealKey::new(&secret()).seal(&mut [], &[]);
        assert!(OpenKey::new(&secret()).open(&mut [], &[]).is_empty());
    }

    #[test]
    fn debug_shows_no_secret() {
        let backend = Backend::detect();
        assert_eq!(
            format!("{:?}", SealKey::new(&secret())),
            format!("SealKey {{ backend: {backend:?}, .. }}")
        );
        assert_eq!(
            format!("{:?}", OpenKey::new(&secret())),
            format!("OpenKey {{ backend: {backend:?}, .. }}")
        );
    }
}
