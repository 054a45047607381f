//! AES-GCM (NIST SP 800-38D) on 512-bit vectors of four blocks: VAES, VPCLMULQDQ, AVX-512.
//!
//! AES rounds bind: one vector takes one round per cycle, on port 0. The four products, one shuffle and three xors that
//! GHASH needs for the same vector fit beside them on port 5, if every stretch of code holds both. So four vectors at a
//! time are enciphered, and hashed is, between their rounds, what was enciphered or read just before.
//!
//! - `quad.rs`: four packets of one length, vector k of each at a time. Nothing waits at the end of a packet, and the tags
//!   of all four are made at once.
//! - `single.rs`: any packet alone, four successive vectors at a time. A partial vector comes first, because sums commute.
//!
//! GHASH is the sum of block i of n times H^(n + 1 - i) and the length block times H^1 (see `key.rs`). A header of up to
//! 48 bytes shares a vector with the length block. The block of counter 1, which masks the tag, takes lane 3 of the last
//! vector where the payload leaves it free.

mod quad;
mod single;
mod vectors;

use std::arch::x86_64::*;

use super::BLOCKS_MAX;
use super::key::Key;
use crate::batch::{Packet, Packets, Verdicts};
use quad::{Pending, quad};
use single::single;
use vectors::V;

/// The longest header that leaves lane 3 of its vector to the length block.
const HEADER_SHORT: usize = 48;

/// Seals or opens the packets; the verdicts mean nothing when sealing.
#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1,bmi2"
)]
pub(super) fn run<const R: usize, const SEAL: bool>(
    key: &Key,
    packets: &mut Packets<'_, '_>,
) -> Verdicts {
    // What cuts the packets off stays in registers if it is known, and taken out of its place.
    match packets {
        Packets::Spans(spans) => each::<R, SEAL>(key, spans.take()),
        Packets::Frames(frames) => each::<R, SEAL>(key, frames.take()),
        Packets::One(packet) => each::<R, SEAL>(key, packet.take().into_iter()),
    }
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1,bmi2"
)]
fn each<'a, const R: usize, const SEAL: bool>(
    key: &Key,
    packets: impl Iterator<Item = Packet<'a>>,
) -> Verdicts {
    let mut verdicts = Verdicts::NONE;
    let mut slots = [const { [const { None }; 4] }; 2];
    let (mut turn, mut count) = (0, 0);
    let mut pending = Pending::nothing();
    for packet in packets {
        slots[turn][count] = Some(packet);
        count += 1;
        if count < 4 {
            continue;
        }
        count = 0;
        let [even, odd] = &mut slots;
        let (now, before) = if turn == 0 { (even, odd) } else { (odd, even) };
        let [Some(a), Some(b), Some(c), Some(d)] = now else {
            break;
        };
        let mut four = [a, b, c, d];
        if fit_together(&four) {
            let live = pending.live;
            let tags = quad::<R, SEAL>(key, &mut four, &mut pending);
            if live {
                deliver::<SEAL>(tags, before, &mut verdicts);
            }
            turn ^= 1;
        } else {
            if pending.live {
                deliver::<SEAL>(pending.settle(), before, &mut verdicts);
            }
            for packet in four {
                verdicts.push(single::<R, SEAL>(key, packet));
            }
        }
    }
    let [even, odd] = &mut slots;
    let (now, before) = if turn == 0 { (even, odd) } else { (odd, even) };
    if pending.live {
        deliver::<SEAL>(pending.settle(), before, &mut verdicts);
    }
    for packet in now[..count].iter_mut().flatten() {
        verdicts.push(single::<R, SEAL>(key, packet));
    }
    verdicts
}

/// Writes the tags of four packets, or compares them in constant time and zeroes the payloads where they differ.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,bmi2")]
fn deliver<const SEAL: bool>(
    tags: V,
    packets: &mut [Option<Packet<'_>>; 4],
    verdicts: &mut Verdicts,
) {
    let [Some(a), Some(b), Some(c), Some(d)] = packets else {
        return;
    };
    if SEAL {
        // SAFETY: a tag has 16 bytes and is exclusively borrowed.
        unsafe {
            _mm_storeu_si128(a.tag.as_mut_ptr().cast(), _mm512_castsi512_si128(tags));
            _mm_storeu_si128(
                b.tag.as_mut_ptr().cast(),
                _mm512_extracti32x4_epi32::<1>(tags),
            );
            _mm_storeu_si128(
                c.tag.as_mut_ptr().cast(),
                _mm512_extracti32x4_epi32::<2>(tags),
            );
            _mm_storeu_si128(
                d.tag.as_mut_ptr().cast(),
                _mm512_extracti32x4_epi32::<3>(tags),
            );
        }
        return;
    }
    // SAFETY: a tag has 16 bytes.
    let given = unsafe {
        let given = _mm512_castsi128_si512(_mm_loadu_si128(a.tag.as_ptr().cast()));
        let given = _mm512_inserti32x4::<1>(given, _mm_loadu_si128(b.tag.as_ptr().cast()));
        let given = _mm512_inserti32x4::<2>(given, _mm_loadu_si128(c.tag.as_ptr().cast()));
        _mm512_inserti32x4::<3>(given, _mm_loadu_si128(d.tag.as_ptr().cast()))
    };
    let halves = _mm512_cmpneq_epi64_mask(tags, given);
    let forged = _pext_u32(u32::from(halves | halves >> 1), 0x55) as u8;
    if forged != 0 {
        wipe(packets, forged);
    }
    verdicts.push_four(!forged);
}

/// Zeroes the payloads of forged packets.
#[cold]
#[inline(never)]
fn wipe(packets: &mut [Option<Packet<'_>>; 4], forged: u8) {
    for (index, packet) in packets.iter_mut().flatten().enumerate() {
        if forged >> index & 1 == 1 {
            packet.payload.fill(0);
        }
    }
}

/// Whether [`quad()`] takes these packets.
fn fit_together(packets: &[&mut Packet<'_>; 4]) -> bool {
    let len = packets[0].payload.len();
    let header_len = packets[0].header.len();
    len <= BLOCKS_MAX * 16
        && header_len <= HEADER_SHORT
        && packets
            .iter()
            .all(|packet| packet.payload.len() == len && packet.header.len() == header_len)
}
