//! AES-GCM (NIST SP 800-38D) on vectors of one or two blocks: what `vaes256.rs` and `aesni.rs` have in common, for any
//! packet alone; four packets together are in `narrow_quad.rs`. Each of them defines the operations on its vectors and gets
//! its code from [`kernel!`]; a generic function would not do, because what is compiled for a set of instructions must be
//! named together with it.
//!
//! Eight vectors of one packet go through the rounds of AES at a time, which hides the latency of a round; between the
//! rounds, eight vectors of ciphertext are hashed: those being opened, or those sealed just before. Ciphertext is read
//! back from memory for that, since sixteen registers hold no more than the eight states. What is not a whole group of
//! eight vectors comes first, block by block, because the sums of GHASH commute (see `key.rs`).

/// Blocks of one stretch of a long payload: whole groups, whatever the width.
pub(super) const STRETCH: usize = 96;

/// A block that is not full, filled up with zeros. From registers: bytes that were just stored one by one could be read
/// back as a block only when everything before is done.
#[inline(always)]
pub(super) fn partial_block(bytes: &[u8]) -> u128 {
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        // Shifts of 64 bits only, in halves, because eight bytes leave nothing of the last: a shift of 128 bits by what
        // is not known takes ten instructions.
        let half = 4_usize.wrapping_mul(16_usize.wrapping_sub(len));
        let last = last.wrapping_shr(half as u32).wrapping_shr(half as u32);
        u128::from(last) << 64 | u128::from(first)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        u128::from(u64::from(first) | u64::from(last) << (8 * (len - 4)))
    } else {
        // One to three bytes: the first, the middle one and the last are all.
        let byte = |index: usize| u32::from(*bytes.get(index).unwrap_or(&0)) << (8 * index);
        u128::from(byte(0) | byte(len / 2) | byte(len.saturating_sub(1)))
    }
}

/// Stores the first bytes of a block, which [`partial_block`] made; without a call, which would spill all vectors.
#[inline(always)]
pub(super) fn store_partial(bytes: &mut [u8], block: u128) {
    let len = bytes.len();
    let (low, high) = (block as u64, (block >> 64) as u64);
    if let Some(first) = bytes.first_chunk_mut() {
        *first = low.to_le_bytes();
        if let Some(last) = bytes.last_chunk_mut() {
            let bits = 8_u32.wrapping_mul((len as u32).wrapping_sub(8));
            let high = (high << 1).wrapping_shl(63_u32.wrapping_sub(bits));
            *last = (low.wrapping_shr(bits) | high).to_le_bytes();
        }
    } else if let Some(first) = bytes.first_chunk_mut() {
        *first = (low as u32).to_le_bytes();
        if let Some(last) = bytes.last_chunk_mut() {
            *last = ((low >> (8 * (len - 4))) as u32).to_le_bytes();
        }
    } else {
        for (byte, value) in bytes.iter_mut().zip(low.to_le_bytes()) {
            *byte = value;
        }
    }
}

/// The functions of one width. In scope must be: `V`, `LANES` (blocks in a vector), and on vectors `load`, `store`, `both`
/// (one block in all lanes), `xor`, `round`, `last_round`, `clmul`, `shuffle`, `add` (of words), `lane_numbers` (0, 1, ... in
/// the last words), `fold` (the sum of the lanes), `pin`.
macro_rules! kernel {
    ($features:tt) => {
        /// Bytes of eight vectors.
        const GROUP: usize = 8 * 16 * LANES;

        /// The two sums of GHASH before reduction (see `key.rs`), by lane.
        #[derive(Clone, Copy)]
        struct Sums<T> {
            r: T,
            f: T,
        }

        #[target_feature(enable = $features)]
        fn single<const R: usize, const SEAL: bool>(key: &Key, packet: &mut Packet<'_>) -> bool {
            let [low, high] = super::halves_apart(packet.nonce);
            let nonce = _mm_xor_si128(_mm_set_epi64x(high, low), round_key(key, 0));
            let mask = encrypt_block::<R>(key, _mm_xor_si128(nonce, block(super::counter(1))));
            let (header_len, len) = (packet.header.len(), packet.payload.len());

            let mut sums = Sums { r: _mm_setzero_si128(), f: _mm_setzero_si128() };
            let mut done = 0;
            if len > BLOCKS_MAX * 16 {
                // Stretches are hashed one by one; the hash so far counts as if xored to the block that follows.
                hash_header(key, &mut sums, packet.header, POWERS - header_len.div_ceil(16));
                while len - done > BLOCKS_MAX * 16 {
                    const FIRST: usize = POWERS - STRETCH;
                    let before = reduce(sums);
                    let stretch = &mut packet.payload[done..done + 16 * STRETCH];
                    sums = fold_sums(groups::<R, SEAL, false>(key, nonce, done / 16, stretch, FIRST));
                    multiply_block(key, &mut sums, before, FIRST);
                    done += 16 * STRETCH;
                }
            }

            let rest = &mut packet.payload[done..];
            let first = POWERS - 1 - rest.len().div_ceil(16);
            if done == 0 {
                hash_header(key, &mut sums, packet.header, first - header_len.div_ceil(16));
            } else {
                let before = reduce(sums);
                sums = Sums { r: _mm_setzero_si128(), f: _mm_setzero_si128() };
                multiply_block(key, &mut sums, before, first);
            }
            let lengths = block(super::lengths(header_len, len));
            multiply_block(key, &mut sums, lengths, POWERS - 1);

            let (whole, head) = rest.split_at_mut(rest.len() / GROUP * GROUP);
            let skipped = whole.len() / 16;
            encrypt_head::<R, SEAL>(key, nonce, done / 16 + skipped, head, first + skipped, &mut sums);
            let wide = fold_sums(if done == 0 {
                groups::<R, SEAL, true>(key, nonce, 0, whole, first)
            } else {
                groups::<R, SEAL, false>(key, nonce, done / 16, whole, first)
            });
            let sums = Sums { r: _mm_xor_si128(sums.r, wide.r), f: _mm_xor_si128(sums.f, wide.f) };

            let tag = _mm_xor_si128(reverse_block(reduce(sums)), mask);
            if SEAL {
                // SAFETY: a tag has 16 bytes and is exclusively borrowed.
                unsafe { _mm_storeu_si128(packet.tag.as_mut_ptr().cast(), tag) };
                return true;
            }
            check(packet, tag)
        }

        /// Adds a header, whose first block has the power of element `first`.
        #[inline]
        #[target_feature(enable = $features)]
        fn hash_header(key: &Key, sums: &mut Sums<__m128i>, header: &[u8], first: usize) {
            let (full, rest) = header.as_chunks::<16>();
            for (index, bytes) in full.iter().enumerate() {
                let data = block(u128::from_le_bytes(*bytes));
                multiply_block(key, sums, reverse_block(data), first + index);
            }
            if !rest.is_empty() {
                let data = block(partial_block(rest));
                multiply_block(key, sums, reverse_block(data), first + full.len());
            }
        }

        /// Enciphers less than a group, which begins with block `start_block`, and adds it, its first block with the power
        /// of element `first`.
        #[inline]
        #[target_feature(enable = $features)]
        fn encrypt_head<const R: usize, const SEAL: bool>(
            key: &Key,
            nonce: __m128i,
            start_block: usize,
            head: &mut [u8],
            first: usize,
            sums: &mut Sums<__m128i>,
        ) {
            let blocks = head.len().div_ceil(16);
            let mut keystream = [0_u128; 8 * LANES];
            let (nonce, zeros) = (both(nonce), both(_mm_setzero_si128()));
            let numbers = first_counters(start_block);
            for start in (0..blocks).step_by(4) {
                let mut states = [zeros; 4 / LANES];
                for (index, state) in states.iter_mut().enumerate() {
                    *state = xor(nonce, counters_behind(numbers, start + index * LANES));
                }
                unroll!(ROUND in [1 2 3 4 5 6 7 8 9 10 11 12 13] {
                    if ROUND < R {
                        let key = both(round_key(key, ROUND));
                        for state in &mut states {
                            *state = round(*state, key);
                        }
                    }
                });
                let last = both(round_key(key, R));
                for (index, state) in states.iter().enumerate() {
                    let to = keystream.as_mut_ptr().wrapping_add(start + index * LANES);
                    // SAFETY: `start` is at most 12 with two lanes and 4 with one, so all vectors lie in `keystream`.
                    unsafe { store(to.cast(), last_round(*state, last)) }
                }
            }
            let (full, rest) = head.as_chunks_mut::<16>();
            for ((index, bytes), keystream) in full.iter_mut().enumerate().zip(&keystream) {
                // SAFETY: both are 16 bytes.
                let (data, keystream) = unsafe {
                    (_mm_loadu_si128(bytes.as_ptr().cast()), _mm_loadu_si128(std::ptr::from_ref(keystream).cast()))
                };
                let out = _mm_xor_si128(data, keystream);
                // SAFETY: these are 16 bytes, exclusively borrowed.
                unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), out) };
                multiply_block(key, sums, reverse_block(if SEAL { out } else { data }), first + index);
            }
            if !rest.is_empty() {
                let data = partial_block(rest);
                let out = (data ^ keystream[full.len()]) & ((1 << (8 * rest.len())) - 1);
                store_partial(rest, out);
                let hashed = block(if SEAL { out } else { data });
                multiply_block(key, sums, reverse_block(hashed), first + full.len());
            }
        }

        /// Enciphers whole groups, which begin with block `start_block` and whose first block has the power of element
        /// `first`, and gives their sums. `NEAR`: they are the first of the packet, so their counters are in the table.
        #[inline]
        #[target_feature(enable = $features)]
        fn groups<const R: usize, const SEAL: bool, const NEAR: bool>(
            key: &Key,
            nonce: __m128i,
            start_block: usize,
            payload: &mut [u8],
            first: usize,
        ) -> Sums<V> {
            let begun = both(_mm_aesenc_si128(nonce, round_key(key, 1)));
            let nonce = both(nonce);
            let zeros = both(_mm_setzero_si128());
            let mut sums = Sums { r: zeros, f: zeros };
            let mut numbers = first_counters(start_block);
            let count = payload.len() / GROUP;
            let at = payload.as_mut_ptr();
            for index in 0..count {
                let blocks = index.wrapping_mul(8 * LANES);
                let to = at.wrapping_add(16 * blocks);
                let mut s = [zeros; 8];
                if NEAR {
                    unroll!(I in [0 1 2 3 4 5 6 7] { s[I] = xor(begun, counters(key, blocks + I * LANES)) });
                } else {
                    unroll!(I in [0 1 2 3 4 5 6 7] { s[I] = xor(nonce, counters_behind(numbers, I * LANES)) });
                    s = round8(s, both(round_key(key, 1)));
                }
                numbers = add(numbers, both(last_word(8 * LANES)));
                // Which group is hashed: when sealing, the one before.
                let lag = if SEAL { 8 * LANES } else { 0 };
                let hashed = to.cast_const().wrapping_sub(16 * lag);
                let powers = first.wrapping_add(blocks).wrapping_sub(lag);
                if SEAL && index == 0 {
                    unroll!(ROUND in [2 3 4 5 6 7 8 9 10 11 12 13] {
                        if ROUND < R {
                            s = round8(s, both(round_key(key, ROUND)));
                        }
                    });
                } else {
                    unroll!(ROUND in [2 3 4 5 6 7 8 9 10 11 12 13] {
                        if ROUND < R {
                            s = round8(s, both(round_key(key, ROUND)));
                            let step = super::step_after(R, ROUND, 8);
                            if step < 8 {
                                let offset = step * LANES;
                                // SAFETY: the group hashed is this one or the one before it, in `payload`.
                                let data = unsafe { load(hashed.wrapping_add(16 * offset)) };
                                multiply(key, &mut sums, reverse(data), powers.wrapping_add(offset));
                                pin(&mut s, &mut sums.r, &mut sums.f);
                            }
                        }
                    });
                }
                let last = both(round_key(key, R));
                unroll!(I in [0 1 2 3 4 5 6 7] {
                    // SAFETY: group `index` of `payload`, which is exclusively borrowed.
                    unsafe {
                        let data = load(to.wrapping_add(16 * I * LANES));
                        store(to.wrapping_add(16 * I * LANES), last_round(s[I], xor(last, data)));
                    }
                });
            }
            if SEAL && count > 0 {
                let blocks = (count - 1) * 8 * LANES;
                unroll!(I in [0 1 2 3 4 5 6 7] {
                    let offset = blocks + I * LANES;
                    // SAFETY: the last group of `payload`.
                    let data = unsafe { load(at.cast_const().wrapping_add(16 * offset)) };
                    multiply(key, &mut sums, reverse(data), first + offset);
                });
            }
            sums
        }

        /// What the counters of a vector change after round 1.
        #[inline]
        #[target_feature(enable = $features)]
        fn counters(key: &Key, block: usize) -> V {
            debug_assert!(block + LANES <= COUNTERS_MAX);
            // SAFETY: callers ask for blocks of a payload of at most `BLOCKS_MAX`, filled up to pairs of vectors, which
            // the table exceeds.
            unsafe { load(key.counters().as_ptr().wrapping_add(block).cast()) }
        }

        /// What counter 1 changes after round 1.
        #[inline]
        #[target_feature(enable = $features)]
        fn counter_one(key: &Key) -> __m128i {
            // SAFETY: a block of 16 bytes, aligned to 16.
            unsafe { _mm_load_si128(std::ptr::from_ref(key.counter_one()).cast()) }
        }

        /// Counters of a block and those after it, little-endian in the last word of each lane.
        #[inline]
        #[target_feature(enable = $features)]
        fn first_counters(block: usize) -> V {
            add(both(last_word(2 + block)), lane_numbers())
        }

        /// `value` in the last word.
        #[inline]
        #[target_feature(enable = $features)]
        fn last_word(value: usize) -> __m128i {
            _mm_slli_si128::<12>(_mm_cvtsi32_si128(super::word(value)))
        }

        /// Counters `steps` further, as they stand in their blocks.
        #[inline]
        #[target_feature(enable = $features)]
        fn counters_behind(numbers: V, steps: usize) -> V {
            let order = _mm_set_epi32(0x0c0d_0e0f, -1, -1, -1);
            shuffle(add(numbers, both(last_word(steps))), both(order))
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn round8(s: [V; 8], key: V) -> [V; 8] {
            [
                round(s[0], key),
                round(s[1], key),
                round(s[2], key),
                round(s[3], key),
                round(s[4], key),
                round(s[5], key),
                round(s[6], key),
                round(s[7], key),
            ]
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn block(value: u128) -> __m128i {
            let [low, high] = super::halves(value);
            _mm_set_epi64x(high, low)
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn round_key(key: &Key, round: usize) -> __m128i {
            let block = std::ptr::from_ref(&key.round_keys()[round]).cast();
            // SAFETY: a round key of 16 bytes, aligned to 16.
            unsafe { _mm_load_si128(block) }
        }

        /// Enciphers one block, the first round key already in it.
        #[inline]
        #[target_feature(enable = $features)]
        fn encrypt_block<const R: usize>(key: &Key, mut state: __m128i) -> __m128i {
            for round in 1..R {
                state = _mm_aesenc_si128(state, round_key(key, round));
            }
            _mm_aesenclast_si128(state, round_key(key, R))
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn order() -> __m128i {
            _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f)
        }

        /// Reverses the bytes of a block.
        #[inline]
        #[target_feature(enable = $features)]
        fn reverse_block(data: __m128i) -> __m128i {
            _mm_shuffle_epi8(data, order())
        }

        /// Reverses the bytes of every block.
        #[inline]
        #[target_feature(enable = $features)]
        fn reverse(data: V) -> V {
            shuffle(data, both(order()))
        }

        /// Adds the product of a block, bytes already reversed, with the power of element `first`.
        #[inline]
        #[target_feature(enable = $features)]
        fn multiply_block(key: &Key, sums: &mut Sums<__m128i>, data: __m128i, first: usize) {
            // SAFETY: elements of the tables are 16 bytes, aligned to 16.
            let (h, d) = unsafe {
                (
                    _mm_load_si128(std::ptr::from_ref(&key.h()[first]).cast()),
                    _mm_load_si128(std::ptr::from_ref(&key.d()[first]).cast()),
                )
            };
            let low = _mm_clmulepi64_si128::<0x10>(data, d);
            let high = _mm_clmulepi64_si128::<0x11>(data, h);
            sums.r = _mm_xor_si128(sums.r, _mm_xor_si128(low, high));
            let low = _mm_clmulepi64_si128::<0x00>(data, d);
            let high = _mm_clmulepi64_si128::<0x01>(data, h);
            sums.f = _mm_xor_si128(sums.f, _mm_xor_si128(low, high));
        }

        /// Adds the products of the blocks of a vector, bytes already reversed, with the powers from element `first` on.
        #[inline]
        #[target_feature(enable = $features)]
        fn multiply(key: &Key, sums: &mut Sums<V>, data: V, first: usize) {
            debug_assert!(first + LANES <= POWERS + 4);
            // SAFETY: a payload's powers are elements below `POWERS`, behind which the tables have four more; a vector begins
            // at most three behind the last.
            let (h, d) = unsafe {
                (
                    load(key.h().as_ptr().wrapping_add(first).cast()),
                    load(key.d().as_ptr().wrapping_add(first).cast()),
                )
            };
            sums.r = xor(sums.r, xor(clmul::<0x10>(data, d), clmul::<0x11>(data, h)));
            sums.f = xor(sums.f, xor(clmul::<0x00>(data, d), clmul::<0x01>(data, h)));
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn fold_sums(sums: Sums<V>) -> Sums<__m128i> {
            Sums { r: fold(sums.r), f: fold(sums.f) }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn reduce(Sums { r, f }: Sums<__m128i>) -> __m128i {
            let constant = _mm_set_epi64x(0, 0xc2_u64.cast_signed() << 56);
            let folded = _mm_clmulepi64_si128::<0x00>(f, constant);
            _mm_xor_si128(_mm_xor_si128(r, folded), _mm_shuffle_epi32::<0x4e>(f))
        }
    };
}
pub(super) use kernel;
