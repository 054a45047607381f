//! AES-GCM on 256-bit vectors of two blocks: VAES, VPCLMULQDQ, AVX2, and no instruction of AVX-512. The algorithm is in
//! `narrow.rs` and `narrow_quad.rs`, its sources in `key.rs`; this file names the instructions.
//!
//! Two vectors take a round per cycle here, on ports 0 and 1; with GHASH's xors, three ports bind: 336 cycles for 1316
//! bytes at best.

use std::arch::asm;
use std::arch::x86_64::*;

use super::key::{Key, POWERS};
use super::narrow::{STRETCH, kernel, partial_block, store_partial};
use super::narrow_quad::quads;
use super::{BLOCKS_MAX, COUNTERS_MAX, check, unroll};
use crate::aead::TAG_LEN;
use crate::batch::{Packet, Packets, Verdicts};

type V = __m256i;
const LANES: usize = 2;

kernel!("avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1");
quads!("avx2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1");

/// # Safety
/// 32 bytes at `from` are readable.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(from: *const u8) -> V {
    // SAFETY: by contract.
    unsafe { _mm256_loadu_si256(from.cast()) }
}

/// # Safety
/// 32 bytes at `to` are writable.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store(to: *mut u8, data: V) {
    // SAFETY: by contract.
    unsafe { _mm256_storeu_si256(to.cast(), data) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn both(block: __m128i) -> V {
    _mm256_broadcastsi128_si256(block)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(a: V, b: V) -> V {
    _mm256_xor_si256(a, b)
}

#[inline]
#[target_feature(enable = "avx2,vaes")]
fn round(state: V, key: V) -> V {
    _mm256_aesenc_epi128(state, key)
}

#[inline]
#[target_feature(enable = "avx2,vaes")]
fn last_round(state: V, key: V) -> V {
    _mm256_aesenclast_epi128(state, key)
}

#[inline]
#[target_feature(enable = "avx2,vpclmulqdq")]
fn clmul<const HALVES: i32>(a: V, b: V) -> V {
    _mm256_clmulepi64_epi128::<HALVES>(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn shuffle(data: V, order: V) -> V {
    _mm256_shuffle_epi8(data, order)
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: V, b: V) -> V {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn lane_numbers() -> V {
    _mm256_set_epi32(1, 0, 0, 0, 0, 0, 0, 0)
}

#[inline]
#[target_feature(enable = "avx2")]
fn fold(v: V) -> __m128i {
    _mm_xor_si128(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v))
}

#[inline]
#[target_feature(enable = "avx2")]
fn and(a: V, b: V) -> V {
    _mm256_and_si256(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn widen(block: __m128i) -> V {
    _mm256_zextsi128_si256(block)
}

#[inline]
#[target_feature(enable = "avx2")]
fn join([a, b, c, d]: [__m128i; 4]) -> [V; 2] {
    [_mm256_set_m128i(b, a), _mm256_set_m128i(d, c)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn last_lane(v: V) -> __m128i {
    _mm256_extracti128_si256::<1>(v)
}

#[inline]
#[target_feature(enable = "avx2")]
fn with_last_lane(v: V, block: __m128i) -> V {
    _mm256_inserti128_si256::<1>(v, block)
}

#[inline]
#[target_feature(enable = "avx2")]
fn split([low, high]: [V; 2]) -> [__m128i; 4] {
    [
        _mm256_castsi256_si128(low),
        last_lane(low),
        _mm256_castsi256_si128(high),
        last_lane(high),
    ]
}

/// Nothing but an order: the sums are computed before the states are used again, so that GHASH stays between the rounds.
#[inline]
#[target_feature(enable = "avx2")]
fn pin([a, b, c, d, e, f, g, h]: &mut [V; 8], r: &mut V, s: &mut V) {
    // SAFETY: no instruction; the operands keep their values.
    unsafe {
        asm!(
            "/* {0} {1} {2} {3} {4} {5} {6} {7} {8} {9} */",
            inout(ymm_reg) * a,
            inout(ymm_reg) * b,
            inout(ymm_reg) * c,
            inout(ymm_reg) * d,
            inout(ymm_reg) * e,
            inout(ymm_reg) * f,
            inout(ymm_reg) * g,
            inout(ymm_reg) * h,
            inout(ymm_reg) * r,
            inout(ymm_reg) * s,
            options(nomem, nostack, preserves_flags)
        );
    }
}
