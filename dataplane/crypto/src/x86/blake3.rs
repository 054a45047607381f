//! BLAKE3 of sixteen short inputs at a time: each 32-bit lane of the vectors (a *way*) hashes an input of its own, so sixteen packets cost
//! little more than one. The inputs may have different lengths; ways that are through keep their value while others go on.
//!
//! An input of at most 1024 bytes is one chunk, whose last block has the flag ROOT; one of at most 2048 bytes is two chunks and the
//! parent node above them, which is the root (BLAKE3 paper, 2.1 and 2.4). Longer ones are not taken here.

use std::arch::x86_64::*;

use super::{unroll, word};

/// Inputs of one call.
pub(crate) const WAYS: usize = 16;
/// The longest input: two chunks.
pub(crate) const INPUT_MAX: usize = 2 * CHUNK;

/// What every lane of a vector belongs to: one way.
type V = __m512i;

const CHUNK: usize = 1024;
const BLOCK: usize = 64;

const CHUNK_START: i32 = 1;
const CHUNK_END: i32 = 1 << 1;
const PARENT: i32 = 1 << 2;
const ROOT: i32 = 1 << 3;

const IV: [u32; 8] = [
    0x6A09_E667,
    0xBB67_AE85,
    0x3C6E_F372,
    0xA54F_F53A,
    0x510E_527F,
    0x9B05_688C,
    0x1F83_D9AB,
    0x5BE0_CD19,
];

/// Which word of the block is used where, in each round: the permutation of the paper's table 2, applied again and again.
const SCHEDULE: [[usize; 16]; 7] = {
    const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
    let mut schedule = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]; 7];
    let mut round = 1;
    while round < 7 {
        let mut index = 0;
        while index < 16 {
            schedule[round][index] = schedule[round - 1][PERMUTATION[index]];
            index += 1;
        }
        round += 1;
    }
    schedule
};

/// The first 16 bytes of the BLAKE3 hash of each input.
///
/// # Panics
/// If an input is longer than [`INPUT_MAX`].
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn hash(inputs: &[&[u8]; WAYS]) -> [[u8; 16]; WAYS] {
    let lengths = inputs.map(|input| {
        assert!(input.len() <= INPUT_MAX, "{} bytes", input.len());
        word(input.len())
    });
    let lengths = of_array(lengths);
    let two_chunks = _mm512_cmpgt_epu32_mask(lengths, _mm512_set1_epi32(word(CHUNK)));
    let first = chunk(inputs, lengths, 0, !two_chunks);
    if two_chunks == 0 {
        return truncated(&first);
    }
    let second = chunk(inputs, lengths, 1, 0);
    let mut children = [_mm512_setzero_si512(); 16];
    children[..8].copy_from_slice(&first);
    children[8..].copy_from_slice(&second);
    let length = _mm512_set1_epi32(word(BLOCK));
    let flags = _mm512_set1_epi32(PARENT | ROOT);
    let parent = compress(&initial(), &children, 0, length, flags);
    truncated(&chosen(two_chunks, &parent, &first))
}

/// The chaining values of chunk `number` of each input. In the ways of `roots` it is the only chunk.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn chunk(inputs: &[&[u8]; WAYS], lengths: V, number: usize, roots: __mmask16) -> [V; 8] {
    let block_len = _mm512_set1_epi32(word(BLOCK));
    let chunk_len = _mm512_min_epu32(
        beyond(lengths, number * CHUNK),
        _mm512_set1_epi32(word(CHUNK)),
    );
    let mut value = initial();
    for block in 0..CHUNK / BLOCK {
        let offset = number * CHUNK + block * BLOCK;
        let rest = beyond(chunk_len, block * BLOCK);
        // An empty input has one block, too.
        let going_on = if offset == 0 {
            !0
        } else {
            _mm512_test_epi32_mask(rest, rest)
        };
        if going_on == 0 {
            break;
        }
        let last = _mm512_cmple_epu32_mask(rest, block_len);
        let start = _mm512_set1_epi32(if block == 0 { CHUNK_START } else { 0 });
        let end = _mm512_maskz_set1_epi32(last, CHUNK_END);
        let root = _mm512_maskz_set1_epi32(last & roots, ROOT);
        let flags = _mm512_or_si512(start, _mm512_or_si512(end, root));
        let words = transposed(load(
            inputs,
            offset,
            _mm512_cmplt_epu32_mask(rest, block_len) == 0,
        ));
        let next = compress(
            &value,
            &words,
            word(number),
            _mm512_min_epu32(rest, block_len),
            flags,
        );
        value = chosen(going_on, &next, &value);
    }
    value
}

/// What each length goes beyond `offset`.
#[inline]
#[target_feature(enable = "avx512f")]
fn beyond(lengths: V, offset: usize) -> V {
    let offset = _mm512_set1_epi32(word(offset));
    _mm512_sub_epi32(_mm512_max_epu32(lengths, offset), offset)
}

/// The block at `offset` of each input, filled up with zeros; `whole`: all have all of it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(inputs: &[&[u8]; WAYS], offset: usize, whole: bool) -> [V; WAYS] {
    let mut blocks = [_mm512_setzero_si512(); WAYS];
    for (block, input) in blocks.iter_mut().zip(inputs) {
        let at = input.as_ptr().wrapping_add(offset).cast();
        let there = input.len().saturating_sub(offset);
        *block = if whole {
            // SAFETY: the caller says that the input has the 64 bytes from `offset` on.
            unsafe { _mm512_loadu_si512(at) }
        } else {
            let mask = if there < BLOCK { (1 << there) - 1 } else { !0 };
            // SAFETY: only the bytes of the mask are read, and the input has as many from `offset` on.
            unsafe { _mm512_maskz_loadu_epi8(mask, at.cast()) }
        };
    }
    blocks
}

/// From sixteen words of each way to sixteen ways of each word.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(rows: [V; 16]) -> [V; 16] {
    let mut pairs = rows;
    unroll!(I in [0 1 2 3 4 5 6 7] {
        pairs[2 * I] = _mm512_unpacklo_epi32(rows[2 * I], rows[2 * I + 1]);
        pairs[2 * I + 1] = _mm512_unpackhi_epi32(rows[2 * I], rows[2 * I + 1]);
    });
    // Four ways each: quads[4 * g + w] has word w, w + 4, w + 8, w + 12 of ways 4 g to 4 g + 3.
    let mut quads = rows;
    unroll!(G in [0 1 2 3] {
        quads[4 * G] = _mm512_unpacklo_epi64(pairs[4 * G], pairs[4 * G + 2]);
        quads[4 * G + 1] = _mm512_unpackhi_epi64(pairs[4 * G], pairs[4 * G + 2]);
        quads[4 * G + 2] = _mm512_unpacklo_epi64(pairs[4 * G + 1], pairs[4 * G + 3]);
        quads[4 * G + 3] = _mm512_unpackhi_epi64(pairs[4 * G + 1], pairs[4 * G + 3]);
    });
    let mut words = rows;
    unroll!(W in [0 1 2 3] {
        let low_01 = _mm512_shuffle_i32x4::<0x44>(quads[W], quads[4 + W]);
        let high_01 = _mm512_shuffle_i32x4::<0xee>(quads[W], quads[4 + W]);
        let low_23 = _mm512_shuffle_i32x4::<0x44>(quads[8 + W], quads[12 + W]);
        let high_23 = _mm512_shuffle_i32x4::<0xee>(quads[8 + W], quads[12 + W]);
        words[W] = _mm512_shuffle_i32x4::<0x88>(low_01, low_23);
        words[W + 4] = _mm512_shuffle_i32x4::<0xdd>(low_01, low_23);
        words[W + 8] = _mm512_shuffle_i32x4::<0x88>(high_01, high_23);
        words[W + 12] = _mm512_shuffle_i32x4::<0xdd>(high_01, high_23);
    });
    words
}

/// The compression function (BLAKE3 paper, 2.2) in every way: the next chaining values.
#[inline]
#[target_feature(enable = "avx512f")]
fn compress(value: &[V; 8], words: &[V; 16], counter: i32, length: V, flags: V) -> [V; 8] {
    let iv = initial();
    let mut s = [
        value[0],
        value[1],
        value[2],
        value[3],
        value[4],
        value[5],
        value[6],
        value[7],
        iv[0],
        iv[1],
        iv[2],
        iv[3],
        _mm512_set1_epi32(counter),
        _mm512_setzero_si512(),
        length,
        flags,
    ];
    /// One step of the quarter-rounds of four columns or diagonals, side by side: none waits for another.
    macro_rules! quarters {
        ($round:ident, $base:literal: $([$a:literal $b:literal $c:literal $d:literal])*; $($place:literal)*) => {
            $(s[$a] = _mm512_add_epi32(s[$a], words[SCHEDULE[$round][$base + 2 * $place]]);)*
            $(s[$a] = _mm512_add_epi32(s[$a], s[$b]);)*
            $(s[$d] = _mm512_ror_epi32::<16>(_mm512_xor_si512(s[$d], s[$a]));)*
            $(s[$c] = _mm512_add_epi32(s[$c], s[$d]);)*
            $(s[$b] = _mm512_ror_epi32::<12>(_mm512_xor_si512(s[$b], s[$c]));)*
            $(s[$a] = _mm512_add_epi32(s[$a], words[SCHEDULE[$round][$base + 1 + 2 * $place]]);)*
            $(s[$a] = _mm512_add_epi32(s[$a], s[$b]);)*
            $(s[$d] = _mm512_ror_epi32::<8>(_mm512_xor_si512(s[$d], s[$a]));)*
            $(s[$c] = _mm512_add_epi32(s[$c], s[$d]);)*
            $(s[$b] = _mm512_ror_epi32::<7>(_mm512_xor_si512(s[$b], s[$c]));)*
        };
    }
    unroll!(ROUND in [0 1 2 3 4 5 6] {
        quarters!(ROUND, 0: [0 4 8 12] [1 5 9 13] [2 6 10 14] [3 7 11 15]; 0 1 2 3);
        quarters!(ROUND, 8: [0 5 10 15] [1 6 11 12] [2 7 8 13] [3 4 9 14]; 0 1 2 3);
    });
    let mut next = iv;
    unroll!(I in [0 1 2 3 4 5 6 7] {
        next[I] = _mm512_xor_si512(s[I], s[I + 8]);
    });
    next
}

/// The initial chaining value, in every way.
#[inline]
#[target_feature(enable = "avx512f")]
fn initial() -> [V; 8] {
    let mut value = [_mm512_setzero_si512(); 8];
    for (vector, constant) in value.iter_mut().zip(IV) {
        *vector = _mm512_set1_epi32(constant.cast_signed());
    }
    value
}

/// `yes` in the ways of the mask, `no` in the others.
#[inline]
#[target_feature(enable = "avx512f")]
fn chosen(mask: __mmask16, yes: &[V; 8], no: &[V; 8]) -> [V; 8] {
    let mut value = *no;
    unroll!(I in [0 1 2 3 4 5 6 7] {
        value[I] = _mm512_mask_mov_epi32(no[I], mask, yes[I]);
    });
    value
}

/// The first four words of each way.
#[inline]
#[target_feature(enable = "avx512f")]
fn truncated(value: &[V; 8]) -> [[u8; 16]; WAYS] {
    let low_01 = _mm512_unpacklo_epi32(value[0], value[1]);
    let high_01 = _mm512_unpackhi_epi32(value[0], value[1]);
    let low_23 = _mm512_unpacklo_epi32(value[2], value[3]);
    let high_23 = _mm512_unpackhi_epi32(value[2], value[3]);
    // Vector i has ways i, i + 4, i + 8, i + 12.
    let vectors = [
        _mm512_unpacklo_epi64(low_01, low_23),
        _mm512_unpackhi_epi64(low_01, low_23),
        _mm512_unpacklo_epi64(high_01, high_23),
        _mm512_unpackhi_epi64(high_01, high_23),
    ];
    let mut all = [[0; 16]; WAYS];
    for (index, vector) in vectors.into_iter().enumerate() {
        let mut four = [[0; 16]; 4];
        // SAFETY: `four` has 64 bytes and is exclusively borrowed.
        unsafe { _mm512_storeu_si512(four.as_mut_ptr().cast(), vector) };
        for (group, digest) in four.into_iter().enumerate() {
            all[4 * group + index] = digest;
        }
    }
    all
}

#[inline]
#[target_feature(enable = "avx512f")]
fn of_array(words: [i32; WAYS]) -> V {
    // SAFETY: the array has 64 bytes.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}
