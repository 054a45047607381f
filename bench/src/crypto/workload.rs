//! What is sealed and opened: batches of equal packets, back to back in one buffer, as segmentation offload takes them.

use std::fmt;

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sealcast_crypto::{AesKey, SALT_LEN, Span, TAG_LEN};
use serde::Serialize;

/// Bytes of a packet that are authenticated only: the header of sealcast's packets.
pub const AAD_LEN: usize = 12;
/// Lengths of payloads that are measured: one TS packet, small, seven TS packets, nearly an Ethernet frame, a jumbo
/// frame, the longest datagram's order of magnitude.
pub const SIZES: [usize; 6] = [188, 512, 1316, 1440, 8192, 65536];

/// Packets of a call, if they are not too long for that.
const BATCH: usize = 32;
/// Bytes of a batch, at most (but one packet at least).
const BATCH_BYTES: usize = 512 << 10;
/// Bytes of the batches that are worked on in turn (but one batch at least): with the image they are restored from,
/// they stay in the second-level cache of a server, as packets do that have just come from the kernel.
const ARENA_BYTES: usize = 256 << 10;
/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Which AES.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyBits {
    /// AES-128.
    #[value(name = "128")]
    Aes128,
    /// AES-256.
    #[value(name = "256")]
    Aes256,
}

impl KeyBits {
    /// Length of the key, in bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        match self {
            Self::Aes128 => 128,
            Self::Aes256 => 256,
        }
    }

    /// Length of the key, in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.bits() as usize / 8
    }
}

impl fmt::Display for KeyBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AES-{}-GCM", self.bits())
    }
}

/// What is done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Encrypt, make the tag.
    Seal,
    /// Check the tag, decrypt.
    Open,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seal => "seal",
            Self::Open => "open",
        })
    }
}

/// Where packets begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The first payload of a batch begins on a line of the cache; others do where the packets' length allows it.
    Aligned,
    /// The first header does; its payload lies across lines.
    Unaligned,
}

impl Placement {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Aligned, Self::Unaligned];

    const fn lead(self) -> usize {
        match self {
            Self::Aligned => LINE - AAD_LEN,
            Self::Unaligned => 0,
        }
    }
}

/// A key and salt that mean nothing.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Which AES.
    pub bits: KeyBits,
    /// The salt; xor the packet number it is the nonce (RFC 9605 4.4.3).
    pub salt: [u8; SALT_LEN],
    material: [u8; 32],
}

impl Key {
    /// The key that all numbers are made with.
    #[must_use]
    pub fn new(bits: KeyBits) -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        let mut key = Self {
            bits,
            salt: [0; SALT_LEN],
            material: [0; 32],
        };
        rng.fill_bytes(&mut key.salt);
        rng.fill_bytes(&mut key.material);
        key
    }

    /// The AES key.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.material[..self.bits.bytes()]
    }

    /// The key as sealcast takes it.
    #[must_use]
    pub fn aes(&self) -> AesKey {
        match self.bits {
            KeyBits::Aes128 => {
                let mut half = [0; 16];
                half.copy_from_slice(self.bytes());
                AesKey::Aes128(half)
            }
            KeyBits::Aes256 => AesKey::Aes256(self.material),
        }
    }
}

/// The nonces of a batch, made before its packets are handed to a library one by one.
///
/// A nonce that is made right before it is read costs ipsec-mb 70 cycles per packet: it reads with one wide load what
/// narrower stores have just written, and has to wait for them.
pub(crate) struct Nonces {
    salt: [u8; SALT_LEN],
    made: Vec<[u8; SALT_LEN]>,
}

impl Nonces {
    pub(crate) fn new(key: &Key) -> Self {
        Self {
            salt: key.salt,
            made: Vec::with_capacity(BATCH),
        }
    }

    /// Each packet with its nonce.
    pub(crate) fn of<'a>(
        &'a mut self,
        spans: &'a [Span],
    ) -> impl Iterator<Item = (&'a [u8; SALT_LEN], &'a Span)> {
        let salt = &self.salt;
        self.made.clear();
        self.made
            .extend(spans.iter().map(|span| nonce(salt, span.ctr)));
        self.made.iter().zip(spans)
    }
}

/// The nonce of a packet.
fn nonce(salt: &[u8; SALT_LEN], ctr: u64) -> [u8; SALT_LEN] {
    let mut nonce = *salt;
    for (byte, ctr) in nonce[SALT_LEN - 8..].iter_mut().zip(ctr.to_be_bytes()) {
        *byte ^= ctr;
    }
    nonce
}

/// The parts of a packet: header, and payload with the tag behind it.
pub(crate) fn parts<'a>(buf: &'a mut [u8], span: &Span) -> (&'a [u8], &'a mut [u8]) {
    let (header, rest) = buf[span.offset..span.end()].split_at_mut(span.header_len);
    (header, rest)
}

/// The bytes that are worked on, and the image they are restored from.
#[derive(Debug)]
pub struct Arena {
    bytes: Vec<u8>,
    image: Vec<u8>,
    /// Where the first line begins in `bytes`.
    start: usize,
    batch_len: usize,
    spans: Vec<Span>,
}

impl Arena {
    /// Batches of packets whose payloads have `size` random bytes.
    #[must_use]
    pub fn new(size: usize, placement: Placement) -> Self {
        let stride = AAD_LEN + size + TAG_LEN;
        let packets = (BATCH_BYTES / stride).clamp(1, BATCH);
        let spans = (0_u64..).take(packets).zip(0..).map(|(ctr, index)| Span {
            offset: placement.lead() + index * stride,
            header_len: AAD_LEN,
            payload_len: size,
            ctr,
        });
        let batch_len = (placement.lead() + packets * stride).next_multiple_of(LINE);
        let batches = (ARENA_BYTES / batch_len).max(1);
        let mut image = vec![0; batches * batch_len];
        StdRng::seed_from_u64(2).fill_bytes(&mut image);
        let bytes = vec![0; image.len() + LINE];
        let start = bytes.as_ptr().align_offset(LINE);
        let mut arena = Self {
            bytes,
            image,
            start,
            batch_len,
            spans: spans.collect(),
        };
        arena.restore();
        arena
    }

    /// Puts the bytes back to those of the image.
    pub fn restore(&mut self) {
        let len = self.image.len();
        self.bytes[self.start..][..len].copy_from_slice(&self.image);
    }

    /// Makes the present bytes the image.
    pub fn keep(&mut self) {
        let len = self.image.len();
        self.image.copy_from_slice(&self.bytes[self.start..][..len]);
    }

    /// The bytes of all batches.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..][..self.image.len()]
    }

    /// Calls `work` with each batch: its buffer, and where its packets are.
    #[inline]
    pub fn each(&mut self, mut work: impl FnMut(&mut [u8], &[Span])) {
        let len = self.image.len();
        for buf in self.bytes[self.start..][..len].chunks_exact_mut(self.batch_len) {
            work(buf, &self.spans);
        }
    }

    /// Where the packets of each batch are.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Packets of all batches.
    #[must_use]
    pub fn packets(&self) -> usize {
        self.image.len() / self.batch_len * self.spans.len()
    }

    /// Bytes of the payloads of all packets.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.packets() * self.spans[0].payload_len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(size: usize, placement: Placement) -> Vec<usize> {
        let mut arena = Arena::new(size, placement);
        let spans = arena.spans().to_vec();
        let mut offsets = Vec::new();
        arena.each(|buf, _| {
            let address = buf.as_ptr().addr();
            offsets.extend(
                spans
                    .iter()
                    .map(|span| (address + span.offset + AAD_LEN) % LINE),
            );
        });
        offsets
    }

    #[test]
    fn payloads_of_seven_ts_packets_begin_on_lines() {
        assert!(offsets(1316, Placement::Aligned).iter().all(|&at| at == 0));
        assert!(
            offsets(1316, Placement::Unaligned)
                .iter()
                .all(|&at| at == AAD_LEN)
        );
        for size in SIZES {
            assert_eq!(offsets(size, Placement::Aligned)[0], 0);
        }
    }

    #[test]
    fn packets_are_back_to_back_and_stay_in_the_second_cache() {
        for size in SIZES {
            let arena = Arena::new(size, Placement::Aligned);
            let spans = arena.spans();
            assert_eq!(spans.len(), if size == 65536 { 7 } else { 32 });
            assert!(
                spans
                    .iter()
                    .zip(&spans[1..])
                    .all(|(one, next)| one.end() == next.offset)
            );
            assert!(arena.bytes().len() <= BATCH_BYTES + LINE, "{size}");
            assert!(arena.packets().is_multiple_of(spans.len()));
        }
    }

    #[test]
    fn what_was_kept_comes_back() {
        let mut arena = Arena::new(188, Placement::Unaligned);
        arena.each(|buf, spans| buf[spans[0].offset] = 1);
        arena.keep();
        let kept = arena.bytes().to_vec();
        arena.each(|buf, _| buf.fill(0));
        assert_ne!(arena.bytes(), kept);
        arena.restore();
        assert_eq!(arena.bytes(), kept);
    }
}
