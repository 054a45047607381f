//! AES-GCM on 128-bit vectors of one block: AES-NI, PCLMULQDQ, SSSE3, SSE4.1. The algorithm is in `narrow.rs` and
//! `narrow_quad.rs`, its sources in `key.rs`; this file names the instructions.
//!
//! Two blocks take a round per cycle, on ports 0 and 1; with GHASH's xors, three ports bind: 672 cycles for 1316 bytes at
//! best.

use std::arch::asm;
use std::arch::x86_64::*;

use super::key::{Key, POWERS};
use super::narrow::{STRETCH, kernel, partial_block, store_partial};
use super::narrow_quad::quads;
use super::{BLOCKS_MAX, COUNTERS_MAX, check, unroll};
use crate::aead::TAG_LEN;
use crate::batch::{Packet, Packets, Verdicts};

type V = __m128i;
const LANES: usize = 1;

kernel!("aes,pclmulqdq,ssse3,sse4.1");
quads!("aes,pclmulqdq,ssse3,sse4.1");

/// # Safety
/// 16 bytes at `from` are readable.
#[inline]
#[target_feature(enable = "sse2")]
unsafe fn load(from: *const u8) -> V {
    // SAFETY: by contract.
    unsafe { _mm_loadu_si128(from.cast()) }
}

/// # Safety
/// 16 bytes at `to` are writable.
#[inline]
#[target_feature(enable = "sse2")]
unsafe fn store(to: *mut u8, data: V) {
    // SAFETY: by contract.
    unsafe { _mm_storeu_si128(to.cast(), data) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn both(block: __m128i) -> V {
    block
}

#[inline]
#[target_feature(enable = "sse2")]
fn xor(a: V, b: V) -> V {
    _mm_xor_si128(a, b)
}

#[inline]
#[target_feature(enable = "aes")]
fn round(state: V, key: V) -> V {
    _mm_aesenc_si128(state, key)
}

#[inline]
#[target_feature(enable = "aes")]
fn last_round(state: V, key: V) -> V {
    _mm_aesenclast_si128(state, key)
}

#[inline]
#[target_feature(enable = "pclmulqdq")]
fn clmul<const HALVES: i32>(a: V, b: V) -> V {
    _mm_clmulepi64_si128::<HALVES>(a, b)
}

#[inline]
#[target_feature(enable = "ssse3")]
fn shuffle(data: V, order: V) -> V {
    _mm_shuffle_epi8(data, order)
}

#[inline]
#[target_feature(enable = "sse2")]
fn add(a: V, b: V) -> V {
    _mm_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "sse2")]
fn lane_numbers() -> V {
    _mm_setzero_si128()
}

#[inline]
#[target_feature(enable = "sse2")]
fn fold(v: V) -> __m128i {
    v
}

#[inline]
#[target_feature(enable = "sse2")]
fn and(a: V, b: V) -> V {
    _mm_and_si128(a, b)
}

fn widen(block: __m128i) -> V {
    block
}

fn join([a, b, _, _]: [__m128i; 4]) -> [V; 2] {
    [a, b]
}

fn last_lane(v: V) -> __m128i {
    v
}

fn with_last_lane(_: V, block: __m128i) -> V {
    block
}

fn split([a, b]: [V; 2]) -> [__m128i; 4] {
    [a, b, b, b]
}

/// Nothing but an order: the sums are computed before the states are used again, so that GHASH stays between the rounds.
#[inline]
#[target_feature(enable = "sse2")]
fn pin([a, b, c, d, e, f, g, h]: &mut [V; 8], r: &mut V, s: &mut V) {
    // SAFETY: no instruction; the operands keep their values.
    unsafe {
        asm!(
            "/* {0} {1} {2} {3} {4} {5} {6} {7} {8} {9} */",
            inout(xmm_reg) * a,
            inout(xmm_reg) * b,
            inout(xmm_reg) * c,
            inout(xmm_reg) * d,
            inout(xmm_reg) * e,
            inout(xmm_reg) * f,
            inout(xmm_reg) * g,
            inout(xmm_reg) * h,
            inout(xmm_reg) * r,
            inout(xmm_reg) * s,
            options(nomem, nostack, preserves_flags)
        );
    }
}
