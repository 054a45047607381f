//! Four packets of equal length, vector k of each at a time.

use std::arch::x86_64::*;

use super::vectors::*;
use crate::batch::Packet;
use crate::x86::key::{Key, POWERS};
use crate::x86::{align_stack, step_after, unroll};

/// Loads bytes behind each pointer; the others of the vector are zero.
///
/// # Safety
/// Those of `mask` are readable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load4_masked(from: [*mut u8; 4], mask: u64) -> [V; 4] {
    // SAFETY: by contract.
    unsafe {
        [
            _mm512_maskz_loadu_epi8(mask, from[0].cast()),
            _mm512_maskz_loadu_epi8(mask, from[1].cast()),
            _mm512_maskz_loadu_epi8(mask, from[2].cast()),
            _mm512_maskz_loadu_epi8(mask, from[3].cast()),
        ]
    }
}

/// Each pointer, `by` bytes further.
#[inline]
fn advance4(p: [*mut u8; 4], by: usize) -> [*mut u8; 4] {
    [
        p[0].wrapping_add(by),
        p[1].wrapping_add(by),
        p[2].wrapping_add(by),
        p[3].wrapping_add(by),
    ]
}

/// Lane i is the sum of the lanes of vector i.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold4(v: [V; 4]) -> V {
    let halves = |a, b| {
        _mm512_xor_si512(
            _mm512_shuffle_i64x2::<0x44>(a, b),
            _mm512_shuffle_i64x2::<0xee>(a, b),
        )
    };
    let (low, high) = (halves(v[0], v[1]), halves(v[2], v[3]));
    _mm512_xor_si512(
        _mm512_shuffle_i64x2::<0x88>(low, high),
        _mm512_shuffle_i64x2::<0xdd>(low, high),
    )
}

/// Lane 3 of four vectors.
#[inline]
#[target_feature(enable = "avx512f")]
fn last_lanes(v: [V; 4]) -> V {
    let low = _mm512_shuffle_i64x2::<0xff>(v[0], v[1]);
    let high = _mm512_shuffle_i64x2::<0xff>(v[2], v[3]);
    _mm512_shuffle_i64x2::<0x88>(low, high)
}

/// Four packets whose payloads are done but whose tags are not: their last vectors are still to be hashed.
pub(super) struct Pending {
    pub(super) live: bool,
    sums: [Sums; 4],
    before: [V; 4],
    powers: Weights,
    /// Lane i: what masks the tag of packet i.
    masks: V,
}

impl Pending {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn nothing() -> Self {
        let Sums { r, f } = zero();
        Self {
            live: false,
            sums: [zero(); 4],
            before: [r; 4],
            powers: Weights { h: r, d: f },
            masks: r,
        }
    }

    /// Hashes the last vectors, and gives the tags.
    #[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
    pub(super) fn settle(&mut self) -> V {
        self.live = false;
        let mut sums = self.sums;
        unroll!(I in [0 1 2 3] { sums[I] = hash(sums[I], self.before[I], self.powers) });
        finish(&sums, self.masks)
    }
}

/// The tags of four packets from their sums, which are reduced together.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
fn finish(sums: &[Sums; 4], masks: V) -> V {
    let folded = Sums {
        r: fold4([sums[0].r, sums[1].r, sums[2].r, sums[3].r]),
        f: fold4([sums[0].f, sums[1].f, sums[2].f, sums[3].f]),
    };
    _mm512_xor_si512(_mm512_shuffle_epi8(reduce(folded), reversed()), masks)
}

/// Enciphers four packets that `fit_together`, leaves the rest of their work in `pending`, and gives the tags of the
/// four that were there before, finished beside the first vectors.
#[inline(never)]
#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1,bmi2"
)]
pub(super) fn quad<const R: usize, const SEAL: bool>(
    key: &Key,
    packets: &mut [&mut Packet<'_>; 4],
    pending: &mut Pending,
) -> V {
    align_stack();
    let len = packets[0].payload.len();
    let (full, rest, blocks) = (len / 64, len % 64, len.div_ceil(16));
    let first_key = round_key(key, 0);
    let last_key = round_key(key, R);
    let [a, b, c, d] = packets;
    let begun = [
        first_round(key, _mm512_xor_si512(nonce_vector(a.nonce), first_key)),
        first_round(key, _mm512_xor_si512(nonce_vector(b.nonce), first_key)),
        first_round(key, _mm512_xor_si512(nonce_vector(c.nonce), first_key)),
        first_round(key, _mm512_xor_si512(nonce_vector(d.nonce), first_key)),
    ];
    let mut at = [
        a.payload.as_mut_ptr(),
        b.payload.as_mut_ptr(),
        c.payload.as_mut_ptr(),
        d.payload.as_mut_ptr(),
    ];

    let mut masks = _mm512_setzero_si512();
    if blocks.is_multiple_of(4) {
        // No lane is free for counter 1: those of the four packets share a vector.
        let s = _mm512_mask_blend_epi64(0x0c, begun[0], begun[1]);
        let s = _mm512_mask_blend_epi64(0x30, s, begun[2]);
        let s = _mm512_mask_blend_epi64(0xc0, s, begun[3]);
        masks = encrypt::<R>(key, _mm512_xor_si512(s, counter_one_after_first(key)));
    }

    let mut sums = [zero(); 4];
    let lengths = lengths(a.header.len(), len);
    let mut before = [
        load_header(a.header, lengths),
        load_header(b.header, lengths),
        load_header(c.header, lengths),
        load_header(d.header, lengths),
    ];
    let first = POWERS - 1 - blocks;
    let mut powers = header_weights(key, a.header.len(), first);
    let tags;
    if full == 0 {
        tags = pending.settle();
    } else {
        let mut s = xor4(begun, counters(key, 0));
        let (mut old_sums, mut old) = (pending.sums, pending.before);
        rounds_with_steps!(R, key, s, 8, step => {
            if step < 4 {
                let added = hash(old_sums[step], old[step], pending.powers);
                let next = if step < 3 { &mut old[step + 1] } else { &mut before[0] };
                old_sums[step] = before_going_on(added, &mut s, next);
            } else {
                let added = hash(zero(), before[step - 4], powers);
                sums[step - 4] = before_going_on(added, &mut s, &mut before[(step - 3) % 4]);
            }
        });
        // SAFETY: each payload has 64 bytes.
        let data = unsafe { load4(at) };
        let out = last_round(s, last_key, data);
        // SAFETY: the same; the payloads are exclusively borrowed.
        unsafe { store4(at, out) };
        at = advance4(at, 64);
        before = if SEAL { out } else { data };
        powers = weights(key, first);
        tags = finish(&old_sums, pending.masks);
    }
    for index in 1..full {
        let mut s = xor4(begun, counters(key, 4 * index));
        rounds_with_steps!(R, key, s, 4, step => {
            let added = hash(sums[step], before[step], powers);
            sums[step] = before_going_on(added, &mut s, &mut before[(step + 1) % 4]);
        });
        // SAFETY: `index` is less than `full`, so each payload has 64 bytes at `at`.
        let data = unsafe { load4(at) };
        let out = last_round(s, last_key, data);
        // SAFETY: the same; the payloads are exclusively borrowed.
        unsafe { store4(at, out) };
        at = advance4(at, 64);
        before = if SEAL { out } else { data };
        powers = weights(key, first.wrapping_add(4 * index));
    }
    if rest > 0 {
        let mask = _bzhi_u64(u64::MAX, rest as u32);
        let free = if blocks.is_multiple_of(4) { 0 } else { 0xc0 };
        let counters = counters(key, 4 * full);
        let counters = _mm512_mask_mov_epi64(counters, free, counter_one_after_first(key));
        let mut s = xor4(begun, counters);
        rounds_with_steps!(R, key, s, 4, step => {
            let added = hash(sums[step], before[step], powers);
            sums[step] = before_going_on(added, &mut s, &mut before[(step + 1) % 4]);
        });
        // SAFETY: the `rest` bytes that are not masked off are the last of each payload.
        let data = unsafe { load4_masked(at, mask) };
        let out = last_round(s, last_key, data);
        // SAFETY: the same; the payloads are exclusively borrowed.
        unsafe {
            unroll!(I in [0 1 2 3] { store_front(at[I], rest, out[I]) });
        }
        masks = _mm512_mask_mov_epi64(last_lanes(out), if free == 0 { 0xff } else { 0 }, masks);
        before = if SEAL {
            [
                _mm512_maskz_mov_epi8(mask, out[0]),
                _mm512_maskz_mov_epi8(mask, out[1]),
                _mm512_maskz_mov_epi8(mask, out[2]),
                _mm512_maskz_mov_epi8(mask, out[3]),
            ]
        } else {
            data
        };
        powers = weights(key, first + 4 * full);
    }
    *pending = Pending {
        live: true,
        sums,
        before,
        powers,
        masks,
    };
    tags
}
