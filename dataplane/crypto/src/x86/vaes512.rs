//! AES-GCM (NIST SP 800-38D) on 512-bit vectors of four blocks: VAES, VPCLMULQDQ, AVX-512.
//!
//! AES rounds bind: one vector takes one round per cycle, on port 0. The four products, one shuffle and three xors that
//! GHASH needs for the same vector fit beside them on port 5, if every stretch of code holds both. So four vectors at a
//! time are enciphered, and hashed is, between their rounds, what was enciphered or read just before.
//!
//! - [`quad`]: four packets of one length, vector k of each at a time. Nothing waits at the end of a packet, and the tags
//!   of all four are made at once.
//! - [`single`]: any packet alone, four successive vectors at a time. A partial vector comes first, because sums commute.
//!
//! GHASH is the sum of block i of n times H^(n + 1 - i) and the length block times H^1 (see `key.rs`). A header of up to
//! 48 bytes shares a vector with the length block. The block of counter 1, which masks the tag, takes lane 3 of the last
//! vector where the payload leaves it free.

use std::arch::asm;
use std::arch::x86_64::*;

use super::key::{Key, POWERS};
use super::narrow::STRETCH;
use super::{BLOCKS_MAX, COUNTERS, step_after, unroll};
use crate::batch::{Packet, Packets, Verdicts};

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
    let mut verdicts = Verdicts::NONE;
    let mut slots = [const { [const { None }; 4] }; 2];
    let (mut turn, mut count) = (0, 0);
    let mut pending = Pending::nothing();
    while let Some(packet) = packets.next() {
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

/// Whether [`quad`] takes these packets.
fn fit_together(packets: &[&mut Packet<'_>; 4]) -> bool {
    let len = packets[0].payload.len();
    let header_len = packets[0].header.len();
    len <= BLOCKS_MAX * 16
        && header_len <= HEADER_SHORT
        && packets
            .iter()
            .all(|packet| packet.payload.len() == len && packet.header.len() == header_len)
}

type V = __m512i;

/// The two sums of GHASH, by lane, before reduction (see `key.rs`).
#[derive(Clone, Copy)]
struct Sums {
    r: V,
    f: V,
}

/// Powers by which a vector is multiplied.
#[derive(Clone, Copy)]
struct Weights {
    h: V,
    d: V,
}

/// Puts four states through all rounds but the last, with a step of other work behind some of the rounds. A macro,
/// because what is not inlined would pass every vector through memory.
macro_rules! rounds_with_steps {
    ($rounds:ident, $key:expr, $states:ident, $steps:literal, $step:ident => $work:block) => {
        unroll!(ROUND in [1 2 3 4 5 6 7 8 9 10 11 12 13] {
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
fn before_going_on(mut sums: Sums, [a, b, c, d]: &mut [V; 4], next: &mut V) -> Sums {
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
fn zero() -> Sums {
    Sums {
        r: _mm512_setzero_si512(),
        f: _mm512_setzero_si512(),
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn round_key(key: &Key, round: usize) -> V {
    let block = std::ptr::from_ref(&key.round_keys()[round]).cast();
    // SAFETY: `block` points to a round key of 16 bytes, aligned to 16.
    _mm512_broadcast_i32x4(unsafe { _mm_load_si128(block) })
}

/// The powers from element `first` of the table on, in descending order.
#[inline]
#[target_feature(enable = "avx512f")]
fn weights(key: &Key, first: usize) -> Weights {
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
fn reversed() -> V {
    _mm512_broadcast_i32x4(_mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f))
}

/// Adds the products of the blocks of `data`, as they are on the wire, with `weights`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq")]
fn hash(sums: Sums, data: V, weights: Weights) -> Sums {
    let data = _mm512_shuffle_epi8(data, reversed());
    multiply(sums, data, weights)
}

/// Adds the products of the elements of `data`, bytes already reversed, with `weights`.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn multiply(sums: Sums, data: V, Weights { h, d }: Weights) -> Sums {
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
fn reduce(Sums { r, f }: Sums) -> V {
    let constant = _mm512_set1_epi64(0xc2_u64.cast_signed() << 56);
    let folded = _mm512_clmulepi64_epi128::<0x00>(f, constant);
    let swapped = _mm512_shuffle_epi32::<0x4e>(f);
    _mm512_ternarylogic_epi64::<0x96>(r, swapped, folded)
}

/// The length block in lane 3, as on the wire.
#[inline]
#[target_feature(enable = "avx512f")]
fn lengths(header_len: usize, payload_len: usize) -> V {
    let bits = |len: usize| (len as u64 * 8).swap_bytes().cast_signed();
    let header = _mm512_maskz_set1_epi64(0x40, bits(header_len));
    _mm512_mask_set1_epi64(header, 0x80, bits(payload_len))
}

/// The bytes of a header from lane 0 on, in front of `others`.
#[inline]
#[target_feature(enable = "avx512bw,bmi2")]
fn load_header(header: &[u8], others: V) -> V {
    let mask = _bzhi_u64(u64::MAX, header.len() as u32);
    // SAFETY: bytes that are masked off are not read, and the others are those of `header`.
    unsafe { _mm512_mask_loadu_epi8(others, mask, header.as_ptr().cast()) }
}

/// The powers of that vector for a header of `header_len` bytes before a payload whose first block has element `first`:
/// lane 3 gets H^1. Lanes between header and length hold zeros, so their powers do not matter.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn header_weights(key: &Key, header_len: usize, first: usize) -> Weights {
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
fn nonce_vector(nonce: u128) -> V {
    let (mut low, mut high) = (
        (nonce as u64).cast_signed(),
        ((nonce >> 64) as u64).cast_signed(),
    );
    // The halves were just stored one by one. Read back as one, they would come only when everything before is done: no
    // packet would begin while another ends.
    // SAFETY: no instruction; the operands keep their values.
    unsafe {
        asm!("/* {0} {1} */", inout(reg) low, inout(reg) high, options(nomem, nostack, preserves_flags));
    }
    _mm512_mask_set1_epi64(_mm512_set1_epi64(low), 0xaa, high)
}

/// Counter 1 in all lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn counter_one() -> V {
    _mm512_broadcast_i32x4(_mm_set_epi32(1_i32.to_be(), 0, 0, 0))
}

/// Enciphers one vector, the first round key already in it.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn encrypt<const R: usize>(key: &Key, mut state: V) -> V {
    for round in 1..R {
        state = _mm512_aesenc_epi128(state, round_key(key, round));
    }
    _mm512_aesenclast_epi128(state, round_key(key, R))
}

/// A round of four vectors.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn round(s: [V; 4], key: V) -> [V; 4] {
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
fn last_round(s: [V; 4], key: V, data: [V; 4]) -> [V; 4] {
    [
        _mm512_aesenclast_epi128(s[0], _mm512_xor_si512(key, data[0])),
        _mm512_aesenclast_epi128(s[1], _mm512_xor_si512(key, data[1])),
        _mm512_aesenclast_epi128(s[2], _mm512_xor_si512(key, data[2])),
        _mm512_aesenclast_epi128(s[3], _mm512_xor_si512(key, data[3])),
    ]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor4(a: [V; 4], b: V) -> [V; 4] {
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
unsafe fn load4(from: [*mut u8; 4]) -> [V; 4] {
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
unsafe fn store4(to: [*mut u8; 4], data: [V; 4]) {
    // SAFETY: by contract.
    unsafe {
        _mm512_storeu_si512(to[0].cast(), data[0]);
        _mm512_storeu_si512(to[1].cast(), data[1]);
        _mm512_storeu_si512(to[2].cast(), data[2]);
        _mm512_storeu_si512(to[3].cast(), data[3]);
    }
}

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

/// Stores the first `len` bytes of a vector, 64 at most.
///
/// Not with one masked store: to the processor that touches all 64 bytes, the header of the next packet among them, and
/// whoever loads that has to wait until the store is done. A block that begins in a payload ends in its tag at the latest.
///
/// # Safety
/// They are writable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi2")]
unsafe fn store_front(to: *mut u8, len: usize, data: V) {
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
struct Pending {
    live: bool,
    sums: [Sums; 4],
    before: [V; 4],
    powers: Weights,
    /// Lane i: what masks the tag of packet i.
    masks: V,
}

impl Pending {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn nothing() -> Self {
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
    fn settle(&mut self) -> V {
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

/// Enciphers four packets that [`fit_together`], leaves the rest of their work in `pending`, and gives the tags of the
/// four that were there before, finished beside the first vectors.
#[inline(never)]
#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1,bmi2"
)]
fn quad<const R: usize, const SEAL: bool>(
    key: &Key,
    packets: &mut [&mut Packet<'_>; 4],
    pending: &mut Pending,
) -> V {
    let len = packets[0].payload.len();
    let (full, rest, blocks) = (len / 64, len % 64, len.div_ceil(16));
    let first_key = round_key(key, 0);
    let last_key = round_key(key, R);
    let [a, b, c, d] = packets;
    let nonces = xor4(
        [
            nonce_vector(a.nonce),
            nonce_vector(b.nonce),
            nonce_vector(c.nonce),
            nonce_vector(d.nonce),
        ],
        first_key,
    );
    let mut at = [
        a.payload.as_mut_ptr(),
        b.payload.as_mut_ptr(),
        c.payload.as_mut_ptr(),
        d.payload.as_mut_ptr(),
    ];

    let mut masks = _mm512_setzero_si512();
    if blocks.is_multiple_of(4) {
        // No lane is free for counter 1: those of the four packets share a vector.
        let s = _mm512_mask_blend_epi64(0x0c, nonces[0], nonces[1]);
        let s = _mm512_mask_blend_epi64(0x30, s, nonces[2]);
        let s = _mm512_mask_blend_epi64(0xc0, s, nonces[3]);
        masks = encrypt::<R>(key, _mm512_xor_si512(s, counter_one()));
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
        // SAFETY: the table is not empty.
        let counters = unsafe { _mm512_load_si512(COUNTERS.0.as_ptr().cast()) };
        let mut s = xor4(nonces, counters);
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
        // SAFETY: `index` is less than 27, the number of vectors of `COUNTERS`, because `blocks` is at most 107.
        let counters = unsafe { _mm512_load_si512(COUNTERS.0.as_ptr().add(4 * index).cast()) };
        let mut s = xor4(nonces, counters);
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
        // SAFETY: as above: a partial vector is one of the 27.
        let counters = unsafe { _mm512_load_si512(COUNTERS.0.as_ptr().add(4 * full).cast()) };
        let free = if blocks.is_multiple_of(4) { 0 } else { 0xc0 };
        let counters = _mm512_mask_mov_epi64(counters, free, counter_one());
        let mut s = xor4(nonces, counters);
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

/// Compares the tag of a packet with the right one, in constant time; zeroes the payload if they differ.
#[inline]
#[target_feature(enable = "sse4.1")]
fn check(packet: &mut Packet<'_>, right: __m128i) -> bool {
    // SAFETY: a tag has 16 bytes.
    let tag = unsafe { _mm_loadu_si128(packet.tag.as_ptr().cast()) };
    let difference = _mm_xor_si128(tag, right);
    let genuine = _mm_testz_si128(difference, difference) == 1;
    if !genuine {
        packet.payload.fill(0);
    }
    genuine
}

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
fn single<const R: usize, const SEAL: bool>(key: &Key, packet: &mut Packet<'_>) -> bool {
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
    while left > BLOCKS_MAX * 16 {
        const FIRST: usize = POWERS - STRETCH;
        let mut sums = multiply(zero(), hashed, weights(key, FIRST));
        // SAFETY: more than a stretch of the payload is left behind `at`.
        unsafe { groups::<R, SEAL>(key, nonce, counters, at, STRETCH / 16, FIRST, &mut sums) };
        hashed = fold(reduce(sums));
        counters = _mm512_add_epi32(counters, lane_step(STRETCH as i32));
        (at, left) = (at.wrapping_add(16 * STRETCH), left - 16 * STRETCH);
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
    unsafe { groups::<R, SEAL>(key, nonce, counters, at, whole, first, &mut sums) };

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
/// to the sums.
///
/// # Safety
/// 256 `count` bytes behind `at` are exclusively borrowed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq")]
unsafe fn groups<const R: usize, const SEAL: bool>(
    key: &Key,
    nonce: V,
    mut counters: V,
    at: *mut u8,
    count: usize,
    first: usize,
    sums: &mut Sums,
) {
    let last_key = round_key(key, R);
    let (mut before, mut element) = ([nonce; 4], first);
    for index in 0..count {
        let from = at.wrapping_add(256 * index);
        let from = [
            from,
            from.wrapping_add(64),
            from.wrapping_add(128),
            from.wrapping_add(192),
        ];
        let mut s = [
            state(nonce, counters),
            state(nonce, _mm512_add_epi32(counters, lane_step(4))),
            state(nonce, _mm512_add_epi32(counters, lane_step(8))),
            state(nonce, _mm512_add_epi32(counters, lane_step(12))),
        ];
        counters = _mm512_add_epi32(counters, lane_step(16));
        // SAFETY: by contract.
        let data = unsafe { load4(from) };
        if !SEAL {
            before = data;
            element = first.wrapping_add(16 * index);
        }
        if !SEAL || index > 0 {
            rounds_with_steps!(R, key, s, 4, step => {
                let added = hash(*sums, before[step], weights(key, element.wrapping_add(4 * step)));
                *sums = before_going_on(added, &mut s, &mut before[(step + 1) % 4]);
            });
        } else {
            rounds_with_steps!(R, key, s, 4, step => { });
        }
        element = first.wrapping_add(16 * index);
        before = last_round(s, last_key, data);
        // SAFETY: by contract.
        unsafe { store4(from, before) };
    }
    if SEAL && count > 0 {
        unroll!(I in [0 1 2 3] { *sums = hash(*sums, before[I], weights(key, first + 16 * (count - 1) + 4 * I)) });
    }
}
