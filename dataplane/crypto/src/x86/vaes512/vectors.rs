//! What `quad.rs` and `single.rs` are made of.

use std::arch::asm;
use std::arch::x86_64::*;

use crate::x86::key::{Key, POWERS};
use crate::x86::{COUNTERS_MAX, halves_apart, unroll};

pub(super) type V = __m512i;

/// The two sums of GHASH, by lane, before reduction (see `key.rs`).
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) r: V,
    pub(super) f: V,
}

/// Powers by which a vector is multiplied.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    pub(super) h: V,
    pub(super) d: V,
}

/// Puts four states through all rounds but the first and the last, with a step of other work behind some of the rounds. A
/// macro, because what is not inlined would pass every vector through memory.
macro_rules! rounds_with_steps {
    ($rounds:ident, $key:expr, $states:ident, $steps:literal, $step:ident => $work:block) => {
        unroll!(ROUND in [2 3 4 5 6 7 8 9 10 11 12 13] {
            if ROUND < $rounds {
                $states = round($states, round_key($key, ROUND));
                let $step = step_after($rounds, ROUND, $steps);
                if $step < $steps $work
            }
        });
    };
}

/// Nothing but an order: `sums` are computed before `states` and `next` are used again. Left alone, the compiler gathers
/// GHASH in front of the rounds or behind them, and port 5 idles while port 0 works.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn before_going_on(mut sums: Sums, [a, b, c, d]: &mut [V; 4], next: &mut V) -> Sums {
    // SAFETY: no instruction; the operands keep their values.
    unsafe {
        asm!("/* {0} {1} {2} {3} {4} {5} {6} */", inout(zmm_reg) sums.r, inout(zmm_reg) sums.f, inout(zmm_reg) *next,
            inout(zmm_reg) *a, inout(zmm_reg) *b, inout(zmm_reg) *c, inout(zmm_reg) *d,
            options(nomem, nostack, preserves_flags));
    }
    sums
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn zero() -> Sums {
    Sums {
        r: _mm512_setzero_si512(),
        f: _mm512_setzero_si512(),
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn round_key(key: &Key, round: usize) -> V {
    let block = std::ptr::from_ref(&key.round_keys()[round]).cast();
    // SAFETY: `block` points to a round key of 16 bytes, aligned to 16.
    _mm512_broadcast_i32x4(unsafe { _mm_load_si128(block) })
}

/// The powers from element `first` of the table on, in descending order.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn weights(key: &Key, first: usize) -> Weights {
    debug_assert!(first <= POWERS);
    // SAFETY: a table has `POWERS + 4` elements of 16 bytes, so 4 can be read from element `POWERS` or any before it. No
    // caller's `first` is greater: it is the element of a power from H^1 to H^112, or, of a vector whose blocks all lie
    // behind the payload, at most 3 elements behind H^4.
    unsafe {
        Weights {
            h: _mm512_loadu_si512(key.h().as_ptr().add(first).cast()),
            d: _mm512_loadu_si512(key.d().as_ptr().add(first).cast()),
        }
    }
}

/// The order that reverses the bytes of every block.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn reversed() -> V {
    _mm512_broadcast_i32x4(_mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f))
}

/// Adds the products of the blocks of `data`, as they are on the wire, with `weights`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
pub(super) fn hash(sums: Sums, data: V, weights: Weights) -> Sums {
    let data = _mm512_shuffle_epi8(data, reversed());
    multiply(sums, data, weights)
}

/// Adds the products of the elements of `data`, bytes already reversed, with `weights`.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
pub(super) fn multiply(sums: Sums, data: V, Weights { h, d }: Weights) -> Sums {
    let low = _mm512_clmulepi64_epi128::<0x10>(data, d);
    let high = _mm512_clmulepi64_epi128::<0x11>(data, h);
    let r = _mm512_ternarylogic_epi64::<0x96>(sums.r, low, high);
    let low = _mm512_clmulepi64_epi128::<0x00>(data, d);
    let high = _mm512_clmulepi64_epi128::<0x01>(data, h);
    let f = _mm512_ternarylogic_epi64::<0x96>(sums.f, low, high);
    Sums { r, f }
}

/// Reduces each lane.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
pub(super) fn reduce(Sums { r, f }: Sums) -> V {
    let constant = _mm512_set1_epi64(0xc2_u64.cast_signed() << 56);
    let folded = _mm512_clmulepi64_epi128::<0x00>(f, constant);
    let swapped = _mm512_shuffle_epi32::<0x4e>(f);
    _mm512_ternarylogic_epi64::<0x96>(r, swapped, folded)
}

/// The length block in lane 3, as on the wire.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn lengths(header_len: usize, payload_len: usize) -> V {
    let bits = |len: usize| (len as u64 * 8).swap_bytes().cast_signed();
    let header = _mm512_maskz_set1_epi64(0x40, bits(header_len));
    _mm512_mask_set1_epi64(header, 0x80, bits(payload_len))
}

/// The bytes of a header from lane 0 on, in front of `others`.
#[inline]
#[target_feature(enable = "avx512bw,bmi2")]
pub(super) fn load_header(header: &[u8], others: V) -> V {
    let mask = _bzhi_u64(u64::MAX, header.len() as u32);
    // SAFETY: bytes that are masked off are not read, and the others are those of `header`.
    unsafe { _mm512_mask_loadu_epi8(others, mask, header.as_ptr().cast()) }
}

/// The powers of that vector for a header of `header_len` bytes before a payload whose first block has element `first`:
/// lane 3 gets H^1. Lanes between header and length hold zeros, so their powers do not matter.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) fn header_weights(key: &Key, header_len: usize, first: usize) -> Weights {
    let Weights { h, d } = weights(key, first - header_len.div_ceil(16));
    let last = weights(key, POWERS - 1);
    Weights {
        h: _mm512_mask_broadcast_i64x2(h, 0xc0, _mm512_castsi512_si128(last.h)),
        d: _mm512_mask_broadcast_i64x2(d, 0xc0, _mm512_castsi512_si128(last.d)),
    }
}

/// The nonce in all lanes with counter 0.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn nonce_vector(nonce: u128) -> V {
    let [low, high] = halves_apart(nonce);
    _mm512_mask_set1_epi64(_mm512_set1_epi64(low), 0xaa, high)
}

/// Counter 1 in all lanes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn counter_one() -> V {
    _mm512_broadcast_i32x4(_mm_set_epi32(1_i32.to_be(), 0, 0, 0))
}

/// What all blocks of a packet share after round 1: it is that of counter 0, to which [`counters`] are xored. From the
/// nonce that [`nonce_vector`] made and round key 0.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
pub(super) fn first_round(key: &Key, nonce: V) -> V {
    _mm512_aesenc_epi128(nonce, round_key(key, 1))
}

/// What the counters of four blocks from `block` on, a multiple of 4, change after round 1.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn counters(key: &Key, block: usize) -> V {
    debug_assert!(block.is_multiple_of(4) && block + 4 <= COUNTERS_MAX);
    // SAFETY: callers ask for blocks of a payload of at most `BLOCKS_MAX`, which the table exceeds, by whole vectors; it
    // stands at the beginning of the key and is aligned to 64 bytes like that.
    unsafe { _mm512_load_si512(key.counters().as_ptr().add(block).cast()) }
}

/// What counter 1 changes after round 1, in all lanes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn counter_one_after_first(key: &Key) -> V {
    // SAFETY: a block of 16 bytes, aligned to 16.
    _mm512_broadcast_i32x4(unsafe { _mm_load_si128(std::ptr::from_ref(key.counter_one()).cast()) })
}

/// Enciphers one vector, the first round of which is done.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
pub(super) fn encrypt<const R: usize>(key: &Key, mut state: V) -> V {
    for round in 2..R {
        state = _mm512_aesenc_epi128(state, round_key(key, round));
    }
    _mm512_aesenclast_epi128(state, round_key(key, R))
}

/// A round of four vectors.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
pub(super) fn round(s: [V; 4], key: V) -> [V; 4] {
    [
        _mm512_aesenc_epi128(s[0], key),
        _mm512_aesenc_epi128(s[1], key),
        _mm512_aesenc_epi128(s[2], key),
        _mm512_aesenc_epi128(s[3], key),
    ]
}

/// The last round of four vectors, with the data that the keystream is xored to.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
pub(super) fn last_round(s: [V; 4], key: V, data: [V; 4]) -> [V; 4] {
    [
        _mm512_aesenclast_epi128(s[0], _mm512_xor_si512(key, data[0])),
        _mm512_aesenclast_epi128(s[1], _mm512_xor_si512(key, data[1])),
        _mm512_aesenclast_epi128(s[2], _mm512_xor_si512(key, data[2])),
        _mm512_aesenclast_epi128(s[3], _mm512_xor_si512(key, data[3])),
    ]
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn xor4(a: [V; 4], b: V) -> [V; 4] {
    [
        _mm512_xor_si512(a[0], b),
        _mm512_xor_si512(a[1], b),
        _mm512_xor_si512(a[2], b),
        _mm512_xor_si512(a[3], b),
    ]
}

/// Loads 64 bytes behind each pointer.
///
/// # Safety
/// They are readable.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn load4(from: [*mut u8; 4]) -> [V; 4] {
    // SAFETY: by contract.
    unsafe {
        [
            _mm512_loadu_si512(from[0].cast()),
            _mm512_loadu_si512(from[1].cast()),
            _mm512_loadu_si512(from[2].cast()),
            _mm512_loadu_si512(from[3].cast()),
        ]
    }
}

/// Stores 64 bytes behind each pointer.
///
/// # Safety
/// They are writable.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn store4(to: [*mut u8; 4], data: [V; 4]) {
    // SAFETY: by contract.
    unsafe {
        _mm512_storeu_si512(to[0].cast(), data[0]);
        _mm512_storeu_si512(to[1].cast(), data[1]);
        _mm512_storeu_si512(to[2].cast(), data[2]);
        _mm512_storeu_si512(to[3].cast(), data[3]);
    }
}

/// Stores the first `len` bytes of a vector, 64 at most.
///
/// Not with one masked store: to the processor that touches all 64 bytes, the header of the next packet among them, and
/// whoever loads that has to wait until the store is done. A block that begins in a payload ends in its tag at the latest.
///
/// # Safety
/// They are writable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi2")]
pub(super) unsafe fn store_front(to: *mut u8, len: usize, data: V) {
    let blocks = [
        _mm512_castsi512_si128(data),
        _mm512_extracti32x4_epi32::<1>(data),
        _mm512_extracti32x4_epi32::<2>(data),
        _mm512_extracti32x4_epi32::<3>(data),
    ];
    // SAFETY: by contract; bytes that are masked off are not written.
    unsafe {
        if len == 64 {
            _mm512_storeu_si512(to.cast(), data);
            return;
        }
        unroll!(BLOCK in [0 1 2 3] {
            let to = to.wrapping_add(16 * BLOCK);
            if len >= 16 * BLOCK + 16 {
                _mm_storeu_si128(to.cast(), blocks[BLOCK]);
            } else if len > 16 * BLOCK {
                let mask = _bzhi_u32(0xffff, (len - 16 * BLOCK) as u32) as u16;
                _mm_mask_storeu_epi8(to.cast(), mask, blocks[BLOCK]);
            }
        });
    }
}
pub(super) use rounds_with_steps;
