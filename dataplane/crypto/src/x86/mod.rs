//! AES-GCM on x86-64, in three widths of vector that share one expanded key (`key.rs`): `vaes512/`, `vaes256.rs`,
//! `aesni.rs`. This file chooses among them; a batch is dispatched once. Beside them, digests of packets: `blake3.rs`.
#![expect(
    unsafe_code,
    reason = "vector instructions, loads and stores of vectors"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "lengths within a payload, and words that are taken apart"
)]

mod aesni;
mod blake3;
mod key;
mod narrow;
mod narrow_quad;
mod vaes256;
mod vaes512;

use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_testz_si128, _mm_xor_si128};
use std::arch::{asm, is_x86_feature_detected};

use crate::aead::AesKey;
use crate::batch::{Packet, Packets, Verdicts};
use key::{Key, POWERS};

/// Rounds of AES-128.
const SHORT: usize = 10;
/// Rounds of AES-256.
const LONG: usize = 14;

/// The most payload blocks whose powers, with those of the longest header and of the length block, are in the table.
const BLOCKS_MAX: usize = POWERS - 5;
/// Counters in a table: those of so many blocks, filled up to whole vectors. All are less than 256 (see `key.rs`).
const COUNTERS_MAX: usize = 112;

/// A counter, big-endian in the last word of its block.
const fn counter(value: u32) -> u128 {
    (value.swap_bytes() as u128) << 96
}

/// The block of the lengths in bits, bytes reversed.
const fn lengths(header: usize, payload: usize) -> u128 {
    ((header as u128 * 8) << 64) | (payload as u128 * 8)
}

/// Low and high half, as vectors are made of.
const fn halves(block: u128) -> [i64; 2] {
    [
        (block as u64).cast_signed(),
        ((block >> 64) as u64).cast_signed(),
    ]
}

/// The halves of a block, which the compiler may not join again. The halves of a nonce were just stored one by one; read
/// back as a whole they would come only when everything before is done, and no packet would begin while another ends.
#[inline(always)]
fn halves_apart(block: u128) -> [i64; 2] {
    let [mut low, mut high] = halves(block);
    // SAFETY: no instruction; the operands keep their values.
    unsafe {
        asm!("/* {0} {1} */", inout(reg) low, inout(reg) high, options(nomem, nostack, preserves_flags));
    }
    [low, high]
}

/// Makes the compiler align the caller's stack to lines of the cache. It does not do so for the sake of vectors that find no
/// register, and half of those then lie across lines, which makes each store and load of them two.
#[inline(always)]
fn align_stack() {
    #[repr(align(64))]
    struct Line(#[expect(dead_code, reason = "only there to be aligned")] u8);
    let line = std::mem::MaybeUninit::<Line>::uninit();
    // SAFETY: no instruction; nothing behind the pointer is touched.
    unsafe {
        asm!("/* {0} */", in(reg) line.as_ptr().addr(), options(nomem, nostack, preserves_flags));
    }
}

/// A number as a word of a vector.
const fn word(value: usize) -> i32 {
    value as i32
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

/// Repeats a block for each literal, as a constant.
macro_rules! unroll {
    ($name:ident in [$($value:literal)*] $body:block) => {
        $({ const $name: usize = $value; $body })*
    };
}
use unroll;

/// The step of GHASH, of four or eight, that stands after a round; a greater number: none.
const fn step_after(rounds: usize, round: usize, steps: usize) -> usize {
    let spacing = rounds / 4;
    let (group, place) = (
        round.wrapping_sub(2) / spacing,
        round.wrapping_sub(2) % spacing,
    );
    let per_group = steps / 4;
    if place < per_group {
        group.saturating_mul(per_group).saturating_add(place)
    } else {
        usize::MAX
    }
}

/// The width of the vectors, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    W128,
    W256,
    W512,
}

impl Width {
    /// Whether the processor has, and the system lets it use, all that the implementation of this width is compiled for.
    pub(crate) fn runs_here(self) -> bool {
        let narrow = is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        let wide = is_x86_feature_detected!("vaes") && is_x86_feature_detected!("vpclmulqdq");
        match self {
            Self::W128 => narrow,
            Self::W256 => narrow && wide && is_x86_feature_detected!("avx2"),
            Self::W512 => {
                narrow
                    && wide
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        }
    }
}

/// An expanded key, and which implementation uses it.
pub(crate) struct Gcm {
    key: Box<Key>,
    width: Width,
}

impl Gcm {
    /// # Panics
    /// If the processor cannot run this width.
    pub(crate) fn new(key: &AesKey, width: Width) -> Self {
        assert!(width.runs_here(), "this processor has no {width:?}");
        // SAFETY: every width needs at least the features that `expand` is compiled for, and they are there.
        let key = unsafe { Key::expand(key) };
        Self { key, width }
    }

    pub(crate) const fn width(&self) -> Width {
        self.width
    }

    /// Encrypts the payloads and writes the tags.
    pub(crate) fn seal(&self, packets: &mut Packets<'_, '_>) {
        let _ = self.run::<true>(packets);
    }

    /// Checks the tags and decrypts the payloads; zeroes the payloads of forged packets.
    pub(crate) fn open(&self, packets: &mut Packets<'_, '_>) -> Verdicts {
        self.run::<false>(packets)
    }

    fn run<const SEAL: bool>(&self, packets: &mut Packets<'_, '_>) -> Verdicts {
        let key = &*self.key;
        // SAFETY: `new` saw that the processor has the features of `width`.
        unsafe {
            match (self.width, key.rounds()) {
                (Width::W512, SHORT) => vaes512::run::<SHORT, SEAL>(key, packets),
                (Width::W512, _) => vaes512::run::<LONG, SEAL>(key, packets),
                (Width::W256, SHORT) => vaes256::run::<SHORT, SEAL>(key, packets),
                (Width::W256, _) => vaes256::run::<LONG, SEAL>(key, packets),
                (Width::W128, SHORT) => aesni::run::<SHORT, SEAL>(key, packets),
                (Width::W128, _) => aesni::run::<LONG, SEAL>(key, packets),
            }
        }
    }
}

/// Shows that the processor can hash sixteen inputs at a time.
#[derive(Clone, Copy)]
pub(crate) struct Blake3Ways(());

impl Blake3Ways {
    /// Inputs of one call.
    pub(crate) const WAYS: usize = blake3::WAYS;
    /// The longest input.
    pub(crate) const INPUT_MAX: usize = blake3::INPUT_MAX;

    /// # Panics
    /// If the processor has no AVX-512.
    pub(crate) fn new() -> Self {
        assert!(Width::W512.runs_here(), "this processor has no AVX-512");
        Self(())
    }

    /// The first 16 bytes of the BLAKE3 hash of each input.
    ///
    /// # Panics
    /// If an input is longer than [`INPUT_MAX`](Self::INPUT_MAX).
    pub(crate) fn hash(self, inputs: &[&[u8]; blake3::WAYS]) -> [[u8; 16]; blake3::WAYS] {
        // SAFETY: `new` saw that the processor has AVX-512 (F, BW).
        unsafe { blake3::hash(inputs) }
    }
}
