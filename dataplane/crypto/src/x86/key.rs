//! The expanded key that all widths share: the round keys of AES (FIPS 197) and the powers of the hash key.
//!
//! GHASH is computed as POLYVAL (RFC 8452 appendix A): with the bytes of every block reversed and the hash key multiplied
//! by x, no bits need reversing. The product of POLYVAL is `dot(a, b) = a * b / x^128` modulo x^128 + x^127 + x^126 +
//! x^121 + 1, and `H^k` below is the power under that product.
//!
//! For each power the table holds two values: `h` = H^k, and `d` = H^k / x^64, which is `swap(h) + h.lo * 0xc2 << 56`.
//! With both, a product is two halves that can be summed over any number of blocks before they are reduced:
//!
//! ```text
//! r = a.lo * d.hi + a.hi * h.hi
//! f = a.lo * d.lo + a.hi * h.lo
//! dot(a, h) = r + swap(f) + f.lo * 0xc2 << 56
//! ```
//!
//! This form is described in eprint 2025/2171; the crate `polyval` 0.7 computes it. Carry-less multiplication for GCM is
//! from Gueron and Kounavis, "Intel carry-less multiplication instruction and its usage for computing the GCM mode" (2010).
//!
//! The first round of AES is computed once for a packet, not for each block (counter-mode caching: Bernstein and Schwabe,
//! "New AES software speed records", 2008). Counters up to 255 change only the last byte of a block. The nonce does not
//! reach that byte, and what the first round makes of it is xored to what it makes of the others. So
//! `round 1 of block i = round 1 of the block with counter 0 ^ counters[i]`, where `counters` depends on the key alone.

use std::arch::x86_64::{
    __m128i, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_and_si128, _mm_clmulepi64_si128,
    _mm_load_si128, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi32, _mm_setzero_si128,
    _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_slli_epi64, _mm_slli_si128, _mm_srli_epi64,
    _mm_store_si128, _mm_sub_epi64, _mm_xor_si128,
};

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{COUNTERS_MAX, LONG, SHORT, counter};
use crate::aead::AesKey;

/// Powers of the hash key in the table: the header, the length, and a payload of 1712 bytes need no more.
pub(super) const POWERS: usize = 112;
/// Zero elements behind the powers, so that a vector may begin at the last power.
const PADDING: usize = 4;

/// Round keys, hash powers, first rounds of counters. About 6 KiB, in place, wiped when dropped.
#[repr(C, align(64))]
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Key {
    /// Element i: what the counter of block i, 2 + i, changes in the block after round 1.
    counters: [u128; COUNTERS_MAX],
    /// Element `POWERS - k` is H^k; zero behind H^1.
    h: [u128; POWERS + PADDING],
    /// Likewise, H^k / x^64.
    d: [u128; POWERS + PADDING],
    /// What counter 1 changes there.
    counter_one: u128,
    /// Round keys 0 to `rounds`.
    round_keys: [u128; LONG + 1],
    rounds: usize,
}

impl Key {
    /// Expands a key, in constant time: AES's substitution is that of the instruction, and no table is looked up.
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    pub(super) fn expand(key: &AesKey) -> Box<Self> {
        let mut expanded = Box::new(Self {
            h: [0; POWERS + PADDING],
            d: [0; POWERS + PADDING],
            counters: [0; COUNTERS_MAX],
            counter_one: 0,
            round_keys: [0; LONG + 1],
            rounds: match key {
                AesKey::Aes128(_) => SHORT,
                AesKey::Aes256(_) => LONG,
            },
        });
        match key {
            AesKey::Aes128(key) => expand_128(&mut expanded.round_keys, key),
            AesKey::Aes256(key) => expand_256(&mut expanded.round_keys, key),
        }
        expanded.fill_powers();
        expanded.fill_counters();
        expanded
    }

    /// 10 for AES-128, 14 for AES-256.
    pub(super) const fn rounds(&self) -> usize {
        self.rounds
    }

    /// Round keys 0 to `rounds`; each is a 16-byte aligned block.
    pub(super) const fn round_keys(&self) -> &[u128; LONG + 1] {
        &self.round_keys
    }

    /// H^k at element `POWERS - k`, zero in the elements behind H^1.
    pub(super) const fn h(&self) -> &[u128; POWERS + PADDING] {
        &self.h
    }

    /// H^k / x^64, laid out like [`h`](Self::h).
    pub(super) const fn d(&self) -> &[u128; POWERS + PADDING] {
        &self.d
    }

    /// What the counter of block i changes in the block after round 1; aligned like the key.
    pub(super) const fn counters(&self) -> &[u128; COUNTERS_MAX] {
        &self.counters
    }

    /// What counter 1 changes there.
    pub(super) const fn counter_one(&self) -> &u128 {
        &self.counter_one
    }

    #[target_feature(enable = "aes")]
    fn fill_counters(&mut self) {
        let first_key = load(&self.round_keys[0]);
        let round = |counter| {
            let state = _mm_xor_si128(first_key, load(&counter));
            _mm_aesenc_si128(state, _mm_setzero_si128())
        };
        let zero = round(0);
        store(
            &mut self.counter_one,
            _mm_xor_si128(round(counter(1)), zero),
        );
        for (value, element) in (2..).zip(&mut self.counters) {
            store(element, _mm_xor_si128(round(counter(value)), zero));
        }
    }

    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    fn fill_powers(&mut self) {
        let first = times_x(reverse(self.encrypt_zero()));
        self.set_power(1, first);
        // H^(m + i) = H^m * H^i with m the power of two below: few products depend on the one before.
        for k in 2..=POWERS {
            let m = (k - 1).next_power_of_two() / if (k - 1).is_power_of_two() { 1 } else { 2 };
            let (h, d) = (load(&self.h[POWERS - m]), load(&self.d[POWERS - m]));
            let power = dot(load(&self.h[POWERS - (k - m)]), h, d);
            self.set_power(k, power);
        }
    }

    #[target_feature(enable = "pclmulqdq,ssse3")]
    fn set_power(&mut self, k: usize, h: __m128i) {
        let d = _mm_xor_si128(
            _mm_shuffle_epi32::<0x4e>(h),
            _mm_clmulepi64_si128::<0x00>(h, reduction()),
        );
        store(&mut self.h[POWERS - k], h);
        store(&mut self.d[POWERS - k], d);
    }

    #[target_feature(enable = "aes")]
    fn encrypt_zero(&self) -> __m128i {
        let mut state = load(&self.round_keys[0]);
        for key in &self.round_keys[1..self.rounds] {
            state = _mm_aesenc_si128(state, load(key));
        }
        _mm_aesenclast_si128(state, load(&self.round_keys[self.rounds]))
    }
}

fn load(block: &u128) -> __m128i {
    // SAFETY: a `u128` is 16 readable bytes, aligned to 16.
    unsafe { _mm_load_si128(std::ptr::from_ref(block).cast()) }
}

fn store(block: &mut u128, value: __m128i) {
    // SAFETY: a `u128` is 16 writable bytes, aligned to 16.
    unsafe { _mm_store_si128(std::ptr::from_mut(block).cast(), value) }
}

/// FIPS 197 section 5.2 for 4 words of key.
#[target_feature(enable = "aes,ssse3")]
fn expand_128(round_keys: &mut [u128; LONG + 1], key: &[u8; 16]) {
    let mut last = load(&u128::from_le_bytes(*key));
    store(&mut round_keys[0], last);
    let constants = [1, 2, 4, 8, 16, 32, 64, 128, 0x1b, 0x36];
    for (round_key, constant) in round_keys[1..].iter_mut().zip(constants) {
        last = next_round_key(last, rotate_and_substitute(last, constant));
        store(round_key, last);
    }
}

/// FIPS 197 section 5.2 for 8 words of key.
#[target_feature(enable = "aes,ssse3")]
fn expand_256(round_keys: &mut [u128; LONG + 1], key: &[u8; 32]) {
    let (low, high) = key.split_at(16);
    let block = |half: &[u8]| u128::from_le_bytes(half.try_into().expect("16 bytes"));
    let (mut before, mut last) = (load(&block(low)), load(&block(high)));
    store(&mut round_keys[0], before);
    store(&mut round_keys[1], last);
    for (round_key, index) in round_keys[2..].iter_mut().zip(2_usize..) {
        let mixed = if index.is_multiple_of(2) {
            rotate_and_substitute(last, 1 << (index / 2 - 1))
        } else {
            substitute(last)
        };
        (before, last) = (last, next_round_key(before, mixed));
        store(round_key, last);
    }
}

/// The running xor of the words of `before`, xor `mixed`.
#[target_feature(enable = "sse2")]
fn next_round_key(before: __m128i, mixed: __m128i) -> __m128i {
    let key = _mm_xor_si128(before, _mm_slli_si128::<4>(before));
    let key = _mm_xor_si128(key, _mm_slli_si128::<8>(key));
    _mm_xor_si128(key, mixed)
}

/// In every word, SubWord(RotWord(last word)) xor the round constant. With four equal columns, AES's ShiftRows changes
/// nothing, so its last round is SubWord.
#[target_feature(enable = "aes,ssse3")]
fn rotate_and_substitute(key: __m128i, constant: i32) -> __m128i {
    let words = _mm_shuffle_epi8(key, _mm_set1_epi32(0x0c0f_0e0d));
    _mm_aesenclast_si128(words, _mm_set1_epi32(constant))
}

/// In every word, SubWord(last word).
#[target_feature(enable = "aes")]
fn substitute(key: __m128i) -> __m128i {
    _mm_aesenclast_si128(_mm_shuffle_epi32::<0xff>(key), _mm_setzero_si128())
}

/// 0xc2 << 56 in the low half: what the modulus does to 64 bits that fall off.
#[target_feature(enable = "sse2")]
fn reduction() -> __m128i {
    _mm_set_epi64x(0, 0xc2_u64.cast_signed() << 56)
}

/// Reverses the bytes.
#[target_feature(enable = "ssse3")]
fn reverse(block: __m128i) -> __m128i {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    _mm_shuffle_epi8(block, order)
}

/// Multiplies by x.
#[target_feature(enable = "sse2")]
fn times_x(block: __m128i) -> __m128i {
    let tops = _mm_srli_epi64::<63>(block);
    let shifted = _mm_or_si128(_mm_slli_epi64::<1>(block), _mm_slli_si128::<8>(tops));
    let overflow = _mm_sub_epi64(_mm_setzero_si128(), _mm_shuffle_epi32::<0xee>(tops));
    let modulus = _mm_set_epi64x(0xc2_u64.cast_signed() << 56, 1);
    _mm_xor_si128(shifted, _mm_and_si128(overflow, modulus))
}

/// The product described at the top.
#[target_feature(enable = "pclmulqdq")]
fn dot(a: __m128i, h: __m128i, d: __m128i) -> __m128i {
    let r = _mm_xor_si128(
        _mm_clmulepi64_si128::<0x10>(a, d),
        _mm_clmulepi64_si128::<0x11>(a, h),
    );
    let f = _mm_xor_si128(
        _mm_clmulepi64_si128::<0x00>(a, d),
        _mm_clmulepi64_si128::<0x01>(a, h),
    );
    let folded = _mm_clmulepi64_si128::<0x00>(f, reduction());
    _mm_xor_si128(_mm_xor_si128(r, folded), _mm_shuffle_epi32::<0x4e>(f))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// H^k * H = H^(k + 1) all along the table, and behind H^1 there is nothing.
    #[test]
    fn powers_follow_one_another() {
        if !crate::x86::Width::W128.runs_here() {
            return;
        }
        for key in [AesKey::Aes128([3; 16]), AesKey::Aes256([5; 32])] {
            // SAFETY: the processor has the features.
            unsafe {
                let key = Key::expand(&key);
                let (h, d) = (load(&key.h[POWERS - 1]), load(&key.d[POWERS - 1]));
                for k in 1..POWERS {
                    let mut next = 0;
                    store(&mut next, dot(load(&key.h[POWERS - k]), h, d));
                    assert_eq!(next, key.h[POWERS - k - 1], "H^{}", k + 1);
                }
                assert_eq!(key.h[POWERS..], [0; PADDING]);
                assert_eq!(key.d[POWERS..], [0; PADDING]);
            }
        }
    }

    #[test]
    fn the_key_wipes_itself() {
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<Key>();
    }
}
