//! Four packets of equal length, on vectors of one or two blocks: two vectors of each at a time. What a packet begins and
//! ends with - nonce, header, the block that masks the tag, the last reduction - is a chain of instructions that wait for
//! each other; with four packets side by side there are four chains.
//!
//! Sealing, what is hashed between the rounds is what was sealed just before, so the last vectors of four packets are
//! hashed beside the first of the next four. Opening, it is what is being opened.

/// The functions of one width; what `kernel!` needs and defines must be in scope, and on vectors `and`, `widen` (a block
/// in lane 0, the others zero), `join` (the lanes), `last_lane`, `with_last_lane`, `split` (into lanes).
macro_rules! quads {
    ($features:tt) => {
        /// Bytes of the two vectors that are taken of a packet at a time.
        const PAIR: usize = 2 * 16 * LANES;

        /// Four sealed packets whose last vectors are still to be hashed.
        struct Pending {
            /// Where the tags go; null if there are no packets.
            tags: [*mut [u8; TAG_LEN]; 4],
            sums: [Sums<V>; 4],
            last: [[V; 2]; 4],
            /// Element of the power of the first block in `last`.
            element: usize,
            masks: [__m128i; 4],
        }

        /// Seals or opens the packets; the verdicts mean nothing when sealing.
        #[target_feature(enable = $features)]
        pub(super) fn run<const R: usize, const SEAL: bool>(
            key: &Key,
            packets: &mut Packets<'_, '_>,
        ) -> Verdicts {
            // What cuts the packets off stays in registers if it is known, and taken out of its place.
            match packets {
                Packets::Spans(spans) => each::<R, SEAL>(key, spans.take()),
                Packets::Frames(frames) => each::<R, SEAL>(key, frames.take()),
                Packets::One(packet) => each::<R, SEAL>(key, packet.take().into_iter()),
            }
        }

        #[target_feature(enable = $features)]
        fn each<'a, const R: usize, const SEAL: bool>(
            key: &Key,
            packets: impl Iterator<Item = Packet<'a>>,
        ) -> Verdicts {
            let mut verdicts = Verdicts::NONE;
            if packets.size_hint().0 < 4 {
                for mut packet in packets {
                    verdicts.push(single::<R, SEAL>(key, &mut packet));
                }
                return verdicts;
            }
            let zeros = both(_mm_setzero_si128());
            let mut pending = Pending {
                tags: [std::ptr::null_mut(); 4],
                sums: [Sums { r: zeros, f: zeros }; 4],
                last: [[zeros; 2]; 4],
                element: 0,
                masks: [_mm_setzero_si128(); 4],
            };
            let mut slots = [const { None }; 4];
            let mut count = 0;
            for packet in packets {
                slots[count] = Some(packet);
                count += 1;
                if count < 4 {
                    continue;
                }
                count = 0;
                let [Some(a), Some(b), Some(c), Some(d)] = &mut slots else {
                    break;
                };
                let mut four = [a, b, c, d];
                if !fit_together(&four) {
                    for packet in four {
                        verdicts.push(single::<R, SEAL>(key, packet));
                    }
                } else if SEAL {
                    let tags = quad::<R, SEAL>(key, &mut four, &mut pending);
                    let places = four.map(|packet| std::ptr::from_mut(&mut *packet.tag));
                    deliver(std::mem::replace(&mut pending.tags, places), tags);
                } else {
                    let tags = quad::<R, SEAL>(key, &mut four, &mut pending);
                    for (packet, tag) in four.into_iter().zip(tags) {
                        verdicts.push(check(packet, tag));
                    }
                }
            }
            if SEAL && !pending.tags[0].is_null() {
                deliver(pending.tags, settle(key, &mut pending));
            }
            for packet in slots[..count].iter_mut().flatten() {
                verdicts.push(single::<R, SEAL>(key, packet));
            }
            verdicts
        }

        /// Whether [`quad()`] takes these packets.
        fn fit_together(packets: &[&mut Packet<'_>; 4]) -> bool {
            let len = packets[0].payload.len();
            let header_len = packets[0].header.len();
            (1..=BLOCKS_MAX * 16).contains(&len)
                && packets
                    .iter()
                    .all(|packet| packet.payload.len() == len && packet.header.len() == header_len)
        }

        /// Writes the tags of [`Pending`] packets, if there are any.
        #[inline]
        #[target_feature(enable = $features)]
        fn deliver(places: [*mut [u8; TAG_LEN]; 4], tags: [__m128i; 4]) {
            if places[0].is_null() {
                return;
            }
            for (place, tag) in places.into_iter().zip(tags) {
                // SAFETY: the tag of a packet that is borrowed while all of them are sealed, and has been forgotten.
                unsafe { _mm_storeu_si128(place.cast(), tag) };
            }
        }

        /// Hashes the last vectors, and gives the tags.
        #[target_feature(enable = $features)]
        fn settle(key: &Key, pending: &mut Pending) -> [__m128i; 4] {
            for (sums, last) in pending.sums.iter_mut().zip(pending.last) {
                multiply(key, sums, reverse(last[0]), pending.element);
                multiply(key, sums, reverse(last[1]), pending.element + LANES);
            }
            finish(&pending.sums, &pending.masks)
        }

        /// The tags of four packets.
        #[inline]
        #[target_feature(enable = $features)]
        fn finish(sums: &[Sums<V>; 4], masks: &[__m128i; 4]) -> [__m128i; 4] {
            let mut tags = *masks;
            for (tag, sums) in tags.iter_mut().zip(sums) {
                *tag = _mm_xor_si128(*tag, reverse_block(reduce(fold_sums(*sums))));
            }
            tags
        }

        /// Puts eight states through all rounds but the first and the last, and hashes between them two vectors behind
        /// each pointer, the first block of which has the power of an element. A macro, because what is not inlined
        /// would pass every vector through memory.
        macro_rules! rounds_and_hash {
            ($rounds:ident, $key:expr, $states:ident, $sums:ident, $from:expr, $element:expr) => {
                unroll!(ROUND in [2 3 4 5 6 7 8 9 10 11 12 13] {
                    if ROUND < $rounds {
                        $states = round8($states, both(round_key($key, ROUND)));
                        let step = crate::x86::step_after($rounds, ROUND, 8);
                        if step < 8 {
                            let (packet, offset) = (step / 2, step % 2 * LANES);
                            // SAFETY: the pointers are those of pairs of vectors.
                            let data = unsafe { load($from[packet].wrapping_add(16 * offset)) };
                            let sums = &mut $sums[packet];
                            multiply($key, sums, reverse(data), $element.wrapping_add(offset));
                            pin(&mut $states, &mut sums.r, &mut sums.f);
                        }
                    }
                });
            };
        }

        /// Enciphers four packets that `fit_together`. Opening, gives their tags. Sealing, leaves the rest of their work
        /// in `pending`, and gives the tags of the four that were there before.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn quad<const R: usize, const SEAL: bool>(
            key: &Key,
            packets: &mut [&mut Packet<'_>; 4],
            pending: &mut Pending,
        ) -> [__m128i; 4] {
            crate::x86::align_stack();
            let len = packets[0].payload.len();
            let (full, rest, blocks) = (len / PAIR, len % PAIR, len.div_ceil(16));
            let first = POWERS - 1 - blocks;
            // Whether counter 1 finds room behind the last block.
            let spare = !blocks.is_multiple_of(2 * LANES);
            let at = packets.each_mut().map(|packet| packet.payload.as_mut_ptr());

            let mut begun = [_mm_setzero_si128(); 4];
            for (begun, packet) in begun.iter_mut().zip(&*packets) {
                let [low, high] = crate::x86::halves_apart(packet.nonce);
                let state = _mm_xor_si128(_mm_set_epi64x(high, low), round_key(key, 0));
                *begun = _mm_aesenc_si128(state, round_key(key, 1));
            }
            let mut masks = if spare { begun } else { tag_masks::<R>(key, begun) };
            let zero = _mm_setzero_si128();

            // Here and not in a function, which would pass the sums through memory.
            let header_len = packets[0].header.len();
            let mut lengths = Sums { r: zero, f: zero };
            multiply_block(key, &mut lengths, block(crate::x86::lengths(header_len, len)), POWERS - 1);
            let mut header_sums = [lengths; 4];
            for index in 0..header_len.div_ceil(16) {
                let element = first - header_len.div_ceil(16) + index;
                unroll!(P in [0 1 2 3] {
                    let bytes = &packets[P].header[16 * index..];
                    let data = match bytes.first_chunk() {
                        Some(full) => u128::from_le_bytes(*full),
                        None => partial_block(bytes),
                    };
                    multiply_block(key, &mut header_sums[P], reverse_block(block(data)), element);
                });
            }
            let mut own = [Sums { r: both(zero), f: both(zero) }; 4];
            unroll!(P in [0 1 2 3] {
                own[P] = Sums { r: widen(header_sums[P].r), f: widen(header_sums[P].f) };
            });

            let mut tags = [zero; 4];
            let mut sums = if SEAL { pending.sums } else { own };
            let mut before = pending.last.each_ref().map(|last| last.as_ptr().cast::<u8>());
            let mut element = pending.element;
            for index in 0..full {
                let to = at.map(|at| at.wrapping_add(index * PAIR));
                let number = index * 2 * LANES;
                let counters = [counters(key, number), counters(key, number + LANES)];
                let mut s = states(begun, counters);
                if !SEAL {
                    (before, element) = (to.map(<*mut u8>::cast_const), first.wrapping_add(number));
                }
                rounds_and_hash!(R, key, s, sums, before, element);
                if SEAL {
                    if index == 0 {
                        tags = finish(&sums, &pending.masks);
                        sums = own;
                    }
                    (before, element) = (to.map(<*mut u8>::cast_const), first.wrapping_add(number));
                }
                let last = both(round_key(key, R));
                unroll!(I in [0 1 2 3 4 5 6 7] {
                    let to = to[I / 2].wrapping_add(I % 2 * 16 * LANES);
                    // SAFETY: pair `index` of this packet's payload, which is exclusively borrowed.
                    unsafe { store(to, last_round(s[I], xor(last, load(to)))) };
                });
            }
            if rest > 0 {
                let number = full * 2 * LANES;
                let mut counters = [counters(key, number), counters(key, number + LANES)];
                if spare {
                    counters[1] = with_last_lane(counters[1], counter_one(key));
                }
                let mut s = states(begun, counters);
                // Block by block, and in registers: blocks that were just stored could be read back as a vector only
                // when they are out of the processor's store queue.
                let (whole, part) = (rest / 16, rest % 16);
                let mut blocks = [[zero; 4]; 4];
                let mut parts = [zero; 4];
                if part > 0 {
                    unroll!(P in [0 1 2 3] {
                        parts[P] = block(partial_block(&packets[P].payload[len - part..]));
                    });
                }
                unroll!(B in [0 1 2 3] {
                    if B < whole {
                        unroll!(P in [0 1 2 3] {
                            let from = at[P].wrapping_add(full * PAIR + 16 * B);
                            // SAFETY: block `B` of those that follow the pairs, a whole one.
                            blocks[P][B] = unsafe { _mm_loadu_si128(from.cast()) };
                        });
                    } else if B == whole {
                        unroll!(P in [0 1 2 3] { blocks[P][B] = parts[P] });
                    }
                });
                let data = [join(blocks[0]), join(blocks[1]), join(blocks[2]), join(blocks[3])];
                if !SEAL {
                    before = data.each_ref().map(|data| data.as_ptr().cast());
                    element = first + number;
                }
                rounds_and_hash!(R, key, s, sums, before, element);
                if SEAL && full == 0 {
                    tags = finish(&sums, &pending.masks);
                    sums = own;
                }
                let last = both(round_key(key, R));
                let keep = [front_mask(rest), front_mask(rest.saturating_sub(16 * LANES))];
                unroll!(P in [0 1 2 3] {
                    let out = [
                        last_round(s[2 * P], xor(last, data[P][0])),
                        last_round(s[2 * P + 1], xor(last, data[P][1])),
                    ];
                    blocks[P] = split(out);
                    if spare {
                        masks[P] = last_lane(out[1]);
                    }
                    if SEAL {
                        pending.last[P] = [and(out[0], keep[0]), and(out[1], keep[1])];
                    }
                });
                unroll!(B in [0 1 2 3] {
                    if B < whole {
                        unroll!(P in [0 1 2 3] {
                            let to = at[P].wrapping_add(full * PAIR + 16 * B);
                            // SAFETY: block `B` of those that follow the pairs, a whole one, exclusively borrowed.
                            unsafe { _mm_storeu_si128(to.cast(), blocks[P][B]) };
                        });
                    } else if B == whole {
                        unroll!(P in [0 1 2 3] { parts[P] = blocks[P][B] });
                    }
                });
                if part > 0 {
                    unroll!(P in [0 1 2 3] {
                        let low = _mm_cvtsi128_si64(parts[P]).cast_unsigned();
                        let high = _mm_extract_epi64::<1>(parts[P]).cast_unsigned();
                        let value = u128::from(high) << 64 | u128::from(low);
                        store_partial(&mut packets[P].payload[len - part..], value);
                    });
                }
                element = first + number;
            } else if SEAL {
                for (last, before) in pending.last.iter_mut().zip(before) {
                    // SAFETY: the last pair of this packet's payload.
                    *last = unsafe { [load(before), load(before.wrapping_add(16 * LANES))] };
                }
            }
            if !SEAL {
                return finish(&sums, &masks);
            }
            (pending.sums, pending.element, pending.masks) = (sums, element, masks);
            tags
        }

        /// The blocks of counter 1 of four packets, the first round of which is `begun`.
        #[inline]
        #[target_feature(enable = $features)]
        fn tag_masks<const R: usize>(key: &Key, begun: [__m128i; 4]) -> [__m128i; 4] {
            let mut masks = begun;
            for mask in &mut masks {
                *mask = _mm_xor_si128(*mask, counter_one(key));
            }
            for round in 2..R {
                for mask in &mut masks {
                    *mask = _mm_aesenc_si128(*mask, round_key(key, round));
                }
            }
            for mask in &mut masks {
                *mask = _mm_aesenclast_si128(*mask, round_key(key, R));
            }
            masks
        }

        /// Two blocks' worth of vectors for each packet, after round 1.
        #[inline]
        #[target_feature(enable = $features)]
        fn states(begun: [__m128i; 4], counters: [V; 2]) -> [V; 8] {
            let begun = [both(begun[0]), both(begun[1]), both(begun[2]), both(begun[3])];
            [
                xor(begun[0], counters[0]),
                xor(begun[0], counters[1]),
                xor(begun[1], counters[0]),
                xor(begun[1], counters[1]),
                xor(begun[2], counters[0]),
                xor(begun[2], counters[1]),
                xor(begun[3], counters[0]),
                xor(begun[3], counters[1]),
            ]
        }

        /// Ones in the first `len` bytes, at most a vector's.
        #[inline]
        #[target_feature(enable = $features)]
        fn front_mask(len: usize) -> V {
            static ONES_THEN_ZEROS: [[u8; 32]; 2] = [[0xff; 32], [0; 32]];
            let from = ONES_THEN_ZEROS.as_ptr().cast::<u8>().wrapping_add(32 - len.min(16 * LANES));
            // SAFETY: at most a vector before the middle of the array, on either side of which lie 32 bytes.
            unsafe { load(from) }
        }
    };
}
pub(super) use quads;
