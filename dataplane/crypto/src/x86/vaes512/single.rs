//! One packet of any length, four successive vectors at a time.

use std::arch::x86_64::*;

use super::HEADER_SHORT;
use super::vectors::{counters as first_counters, *};
use crate::batch::Packet;
use crate::x86::key::{Key, POWERS};
use crate::x86::narrow::STRETCH;
use crate::x86::{BLOCKS_MAX, check, step_after, unroll};

/// Elements of the powers of a stretch's first and last group.
const STRETCH_FIRST: usize = POWERS - STRETCH;
const STRETCH_LAST: usize = POWERS - 16;

/// The sum of the four lanes, in lane 0; the others are zero.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn fold(v: V) -> V {
    let half = _mm256_xor_si256(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v));
    let lane = _mm_xor_si128(
        _mm256_castsi256_si128(half),
        _mm256_extracti128_si256::<1>(half),
    );
    _mm512_zextsi128_si512(lane)
}

/// Any packet.
#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1,bmi2"
)]
pub(super) fn single<const R: usize, const SEAL: bool>(key: &Key, packet: &mut Packet<'_>) -> bool {
    let nonce = _mm512_xor_si512(nonce_vector(packet.nonce), round_key(key, 0));
    let (header_len, len) = (packet.header.len(), packet.payload.len());
    let (mut at, mut left) = (packet.payload.as_mut_ptr(), len);
    let mut counters = _mm512_set_epi32(5, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0);

    let mut header = packet.header;
    let mut sums = zero();
    let mut hashed = _mm512_setzero_si512();
    let split = header_len > HEADER_SHORT || len > BLOCKS_MAX * 16;
    if split {
        // What comes before the last stretch is hashed, and counts as if xored to the block that follows.
        let powers = weights(key, POWERS - header_len.div_ceil(16));
        hashed = fold(reduce(hash(
            zero(),
            load_header(header, _mm512_setzero_si512()),
            powers,
        )));
        header = &[];
    }
    if left > BLOCKS_MAX * 16 {
        // As many stretches as leave no more than a table of powers for.
        let stretches = (left - BLOCKS_MAX * 16).div_ceil(16 * STRETCH);
        let blocks = stretches * STRETCH;
        let mut sums = multiply(zero(), hashed, weights(key, STRETCH_FIRST));
        // SAFETY: more than these stretches of the payload is left behind `at`.
        unsafe {
            let first = STRETCH_FIRST;
            groups::<R, SEAL, false>(key, nonce, counters, at, blocks / 16, first, &mut sums);
        }
        hashed = fold(reduce(sums));
        counters = _mm512_add_epi32(counters, lane_step(blocks as i32));
        (at, left) = (at.wrapping_add(16 * blocks), left - 16 * blocks);
    }

    let blocks = left.div_ceil(16);
    let first = POWERS - 1 - blocks;
    sums = hash(
        sums,
        load_header(header, lengths(header_len, len)),
        header_weights(key, header.len(), first),
    );
    if split {
        sums = multiply(sums, hashed, weights(key, first));
    }
    let whole = left / 256;
    let head = Head {
        at: at.wrapping_add(256 * whole),
        len: left - 256 * whole,
        counters: _mm512_add_epi32(counters, lane_step(16 * whole as i32)),
        first: first + 16 * whole,
    };
    // SAFETY: the head is what follows the whole groups, shorter than one, and exclusively borrowed.
    let mask = unsafe {
        match (blocks - 16 * whole) / 4 {
            0 => head.run::<R, 1, SEAL>(key, nonce, &mut sums),
            1 => head.run::<R, 2, SEAL>(key, nonce, &mut sums),
            2 => head.run::<R, 3, SEAL>(key, nonce, &mut sums),
            3 => head.run::<R, 4, SEAL>(key, nonce, &mut sums),
            _ => head.run::<R, 5, SEAL>(key, nonce, &mut sums),
        }
    };
    // SAFETY: so many groups of 256 bytes are left behind `at`.
    unsafe {
        if left == len {
            groups::<R, SEAL, true>(key, nonce, counters, at, whole, first, &mut sums);
        } else {
            groups::<R, SEAL, false>(key, nonce, counters, at, whole, first, &mut sums);
        }
    }

    let hash = _mm512_shuffle_epi8(fold(reduce(sums)), reversed());
    let tag = _mm_xor_si128(_mm512_castsi512_si128(hash), mask);
    if SEAL {
        // SAFETY: a tag has 16 bytes and is exclusively borrowed.
        unsafe { _mm_storeu_si128(packet.tag.as_mut_ptr().cast(), tag) };
        return true;
    }
    check(packet, tag)
}

/// `step` in the last word of each lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn lane_step(step: i32) -> V {
    _mm512_broadcast_i32x4(_mm_set_epi32(step, 0, 0, 0))
}

/// Little-endian counters, xored to the nonce as they stand in their blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn state(nonce: V, counters: V) -> V {
    let order = _mm512_broadcast_i32x4(_mm_set_epi32(0x0c0d_0e0f, -1, -1, -1));
    _mm512_xor_si512(nonce, _mm512_shuffle_epi8(counters, order))
}

/// What is not a whole group of a payload: less than 256 bytes.
struct Head {
    at: *mut u8,
    len: usize,
    counters: V,
    /// Element of the power of its first block.
    first: usize,
}

impl Head {
    /// Enciphers `N` vectors, the last of which has at least lane 3 free; adds to the sums, and returns the block of
    /// counter 1.
    ///
    /// # Safety
    /// `at` and `len` are those of exclusively borrowed bytes; `len` is less than 64 `N`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,bmi2")]
    unsafe fn run<const R: usize, const N: usize, const SEAL: bool>(
        self,
        key: &Key,
        nonce: V,
        sums: &mut Sums,
    ) -> __m128i {
        let mut s = [nonce; N];
        let (mut lens, mut masks) = ([0; N], [0; N]);
        let mut data = [nonce; N];
        for index in 0..N {
            let counters = _mm512_add_epi32(self.counters, lane_step(4 * index as i32));
            s[index] = state(nonce, counters);
            if index == N - 1 {
                s[index] = _mm512_mask_xor_epi64(s[index], 0xc0, nonce, counter_one());
            }
            lens[index] = self.len.saturating_sub(64 * index).min(64);
            masks[index] = _bzhi_u64(u64::MAX, lens[index] as u32);
            // SAFETY: masked off bytes are not read; the others belong to the payload.
            data[index] = unsafe {
                _mm512_maskz_loadu_epi8(masks[index], self.at.wrapping_add(64 * index).cast())
            };
        }
        unroll!(ROUND in [1 2 3 4 5 6 7 8 9 10 11 12 13] {
            if ROUND < R {
                let key = round_key(key, ROUND);
                for state in &mut s {
                    *state = _mm512_aesenc_epi128(*state, key);
                }
            }
        });
        let last_key = round_key(key, R);
        for index in 0..N {
            let out = _mm512_aesenclast_epi128(s[index], _mm512_xor_si512(last_key, data[index]));
            s[index] = out;
            // SAFETY: these bytes belong to the payload.
            unsafe { store_front(self.at.wrapping_add(64 * index), lens[index], out) };
            let hashed = if SEAL {
                _mm512_maskz_mov_epi8(masks[index], out)
            } else {
                data[index]
            };
            *sums = hash(*sums, hashed, weights(key, self.first + 4 * index));
        }
        _mm512_extracti32x4_epi32::<3>(s[N - 1])
    }
}

/// Enciphers `count` whole groups of four vectors, the first block of which has the power of element `first`, and adds
/// to the sums. `NEAR` says that the payload begins with them, so that their counters are in the table; without it, the sum
/// is carried into the next stretch behind the group that has the lowest powers.
///
/// # Safety
/// 256 `count` bytes behind `at` are exclusively borrowed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq")]
unsafe fn groups<const R: usize, const SEAL: bool, const NEAR: bool>(
    key: &Key,
    nonce: V,
    mut counters: V,
    at: *mut u8,
    count: usize,
    first: usize,
    sums: &mut Sums,
) {
    let begun = first_round(key, nonce);
    let last_key = round_key(key, R);
    // What is hashed next, and the elements of its powers and of those of the group to come.
    let (mut before, mut element, mut next) = ([nonce; 4], first, first);
    for index in 0..count {
        let from = at.wrapping_add(256 * index);
        let from = [
            from,
            from.wrapping_add(64),
            from.wrapping_add(128),
            from.wrapping_add(192),
        ];
        let mut s = if NEAR {
            let counters = [
                first_counters(key, 16 * index),
                first_counters(key, 16 * index + 4),
                first_counters(key, 16 * index + 8),
                first_counters(key, 16 * index + 12),
            ];
            xor4(counters, begun)
        } else {
            let s = [
                state(nonce, counters),
                state(nonce, _mm512_add_epi32(counters, lane_step(4))),
                state(nonce, _mm512_add_epi32(counters, lane_step(8))),
                state(nonce, _mm512_add_epi32(counters, lane_step(12))),
            ];
            round(s, round_key(key, 1))
        };
        counters = _mm512_add_epi32(counters, lane_step(16));
        // SAFETY: by contract.
        let data = unsafe { load4(from) };
        if !SEAL {
            (before, element) = (data, next);
        }
        if !SEAL || index > 0 {
            rounds_with_steps!(R, key, s, 4, step => {
                let added = hash(*sums, before[step], weights(key, element.wrapping_add(4 * step)));
                *sums = before_going_on(added, &mut s, &mut before[(step + 1) % 4]);
            });
            if !NEAR && element == STRETCH_LAST && index + usize::from(!SEAL) < count {
                *sums = multiply(zero(), fold(reduce(*sums)), weights(key, STRETCH_FIRST));
            }
        } else {
            rounds_with_steps!(R, key, s, 4, step => { });
        }
        before = last_round(s, last_key, data);
        element = next;
        next = if !NEAR && next == STRETCH_LAST {
            STRETCH_FIRST
        } else {
            next.wrapping_add(16)
        };
        // SAFETY: by contract.
        unsafe { store4(from, before) };
    }
    if SEAL && count > 0 {
        unroll!(I in [0 1 2 3] { *sums = hash(*sums, before[I], weights(key, element + 4 * I)) });
    }
}
