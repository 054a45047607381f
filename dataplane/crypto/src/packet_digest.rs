//! Digests of packets, as manifests list them: BLAKE3 (hash mode, no key, no context) of the whole protected packet, header, payload and
//! tag, cut to its first 16 bytes.
//!
//! **Why BLAKE3, why 16 bytes.** A tag of AES-GCM binds nobody who has the key, so what stops members of a group must be a hash that resists
//! them (SEC-05). A delivery server hashes packets of its own making: who wants to replace one must find a second preimage, for which
//! 128 bits suffice. (Whoever chooses the *payload* and has the key could prepare two colliding packets with about 2^64 hashes; he gains
//! nothing, since he chose what is broadcast.) Of the standard hashes, BLAKE3 costs least when many short inputs are hashed at once:
//! SHA-256 with the processor's own instructions takes four to five times as long.
//!
//! The result is the standard function, whatever computes it: with AVX-512 sixteen packets at a time, one in each lane of the vectors
//! (`x86/blake3.rs`), elsewhere the crate `blake3`. So anybody can check a manifest with any implementation of BLAKE3.

use std::fmt;

use crate::backend::Backend;
use crate::bytes::public_bytes;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use crate::x86;

/// Length of a packet's digest.
pub const PACKET_DIGEST_LEN: usize = 16;

/// The digest of one packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketDigest([u8; PACKET_DIGEST_LEN]);
public_bytes!(PacketDigest, 16);

impl PacketDigest {
    /// The digest of one packet, or of a manifest's list, which is hashed in the same way.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        one(bytes)
    }
}

/// Packets that are worth being hashed together; fewer are faster one by one.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const TOGETHER: usize = 3;

/// What computes digests of packets.
#[derive(Clone, Copy)]
pub struct PacketHasher {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    ways: Option<x86::Blake3Ways>,
}

impl fmt::Debug for PacketHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacketHasher({} at a time)", self.at_a_time())
    }
}

impl Default for PacketHasher {
    /// The fastest that the chosen [`Backend`] allows.
    fn default() -> Self {
        Self::new(Backend::detect())
    }
}

impl PacketHasher {
    /// With the instructions that `backend` may use: [`Backend::Vaes512`] hashes sixteen packets at a time.
    ///
    /// # Panics
    /// If the processor cannot run `backend`.
    #[must_use]
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    pub fn new(backend: Backend) -> Self {
        Self {
            ways: (backend == Backend::Vaes512).then(x86::Blake3Ways::new),
        }
    }

    /// One packet at a time: there is no other way here.
    #[must_use]
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    pub const fn new(_backend: Backend) -> Self {
        Self {}
    }

    /// Packets that are hashed together; a batch of a multiple of it loses no time.
    #[must_use]
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    pub const fn at_a_time(&self) -> usize {
        if self.ways.is_some() {
            x86::Blake3Ways::WAYS
        } else {
            1
        }
    }

    /// Packets that are hashed together.
    #[must_use]
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    pub const fn at_a_time(&self) -> usize {
        1
    }

    /// The digest of each packet, in their order. Packets may have any lengths.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    pub fn digest<'a>(
        &self,
        packets: impl IntoIterator<Item = &'a [u8]>,
        mut each: impl FnMut(PacketDigest),
    ) {
        let mut packets = packets.into_iter();
        let Some(ways) = self.ways else {
            return packets.for_each(|packet| each(one(packet)));
        };
        loop {
            let mut group = [[].as_slice(); x86::Blake3Ways::WAYS];
            let mut count = 0;
            for (slot, packet) in group.iter_mut().zip(&mut packets) {
                *slot = packet;
                count += 1;
            }
            if count < TOGETHER {
                return group[..count].iter().for_each(|packet| each(one(packet)));
            }
            let short = group.map(|packet| {
                if packet.len() <= x86::Blake3Ways::INPUT_MAX {
                    packet
                } else {
                    &[]
                }
            });
            let digests = ways.hash(&short);
            for (packet, digest) in group.iter().zip(digests).take(count) {
                let is_short = packet.len() <= x86::Blake3Ways::INPUT_MAX;
                each(if is_short {
                    PacketDigest(digest)
                } else {
                    one(packet)
                });
            }
            if count < group.len() {
                return;
            }
        }
    }

    /// The digest of each packet, in their order.
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    pub fn digest<'a>(
        &self,
        packets: impl IntoIterator<Item = &'a [u8]>,
        mut each: impl FnMut(PacketDigest),
    ) {
        packets.into_iter().for_each(|packet| each(one(packet)));
    }
}

fn one(packet: &[u8]) -> PacketDigest {
    let [digest, _] = *blake3::hash(packet).as_bytes().as_chunks().0 else {
        unreachable!("a hash has 32 bytes");
    };
    PacketDigest(digest)
}
