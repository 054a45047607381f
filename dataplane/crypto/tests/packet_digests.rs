//! Digests of packets are standard BLAKE3: the function's own vectors, and the crate `blake3` as oracle, with every implementation that
//! this processor has.

mod common;

use common::{Hex, load};
use proptest::collection::vec;
use proptest::prelude::*;
use sealcast_crypto::{Backend, PACKET_DIGEST_LEN, PacketHasher};
use serde::Deserialize;

/// Longer than two chunks, which no vector code takes.
const LONG: usize = 2100;

#[derive(Deserialize)]
struct Case {
    input_len: usize,
    hash: Hex,
}

fn digests(hasher: &PacketHasher, packets: &[&[u8]]) -> Vec<[u8; PACKET_DIGEST_LEN]> {
    let mut all = Vec::new();
    hasher.digest(packets.iter().copied(), |digest| {
        all.push(*digest.as_bytes())
    });
    all
}

fn expected(packets: &[&[u8]]) -> Vec<[u8; PACKET_DIGEST_LEN]> {
    let truncated = |packet: &&[u8]| {
        *blake3::hash(packet)
            .as_bytes()
            .first_chunk()
            .expect("32 bytes")
    };
    packets.iter().map(truncated).collect()
}

fn hashers() -> impl Iterator<Item = PacketHasher> {
    Backend::available()
        .iter()
        .map(|&backend| PacketHasher::new(backend))
}

/// BLAKE3's test vectors: the bytes 0, 1, .., 250, again and again.
#[test]
fn sec_05_digests_are_the_standard_function() {
    let cases: Vec<Case> = load("blake3_hash.json", 13);
    let input: Vec<u8> = (0..=250).cycle().take(8000).collect();
    for hasher in hashers() {
        for case in &cases {
            // One alone, and in every place of a group.
            for count in [1, 3, 16, 17, 40] {
                let packets = vec![&input[..case.input_len]; count];
                let expected = case.hash.array::<32>()[..PACKET_DIGEST_LEN].to_vec();
                assert_eq!(
                    digests(&hasher, &packets).concat(),
                    expected.repeat(count),
                    "{hasher:?} {}",
                    case.input_len
                );
            }
        }
    }
}

#[test]
fn every_length_is_hashed_right() {
    let input: Vec<u8> = (0..LONG)
        .map(|index| (index * 31 % 253).to_le_bytes()[0])
        .collect();
    let packets: Vec<&[u8]> = (0..=LONG).map(|len| &input[LONG - len..]).collect();
    let expected = expected(&packets);
    for hasher in hashers() {
        assert_eq!(digests(&hasher, &packets), expected, "{hasher:?}");
    }
}

/// What lies beside a packet is no part of it, and is not even read: the packet ends where the memory does.
#[test]
fn nothing_but_the_packet_counts() {
    for hasher in hashers() {
        for len in [0, 1, 63, 64, 65, 1000, 1024, 1025, 1088, 1344, 2048] {
            let packets: Vec<Box<[u8]>> = (0..16)
                .map(|fill| vec![fill; len].into_boxed_slice())
                .collect();
            let packets: Vec<&[u8]> = packets.iter().map(|packet| &**packet).collect();
            assert_eq!(
                digests(&hasher, &packets),
                expected(&packets),
                "{hasher:?} {len}"
            );
        }
    }
}

proptest! {
    /// Packets of mixed lengths in one call, at any alignment.
    #[test]
    fn mixed_lengths_are_hashed_right(
        lengths in vec(prop_oneof![
            0..LONG,
            Just(0), Just(64), Just(1023), Just(1024), Just(1025), Just(1344), Just(2048), Just(2049), Just(9000),
        ], 0..50),
        seed in any::<u64>(),
    ) {
        let total = lengths.iter().sum::<usize>();
        let buffer: Vec<u8> = (0..total as u64)
            .map(|index| (index ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0])
            .collect();
        let mut rest = buffer.as_slice();
        let mut packets = Vec::new();
        for len in lengths {
            let (packet, tail) = rest.split_at(len);
            packets.push(packet);
            rest = tail;
        }
        for hasher in hashers() {
            prop_assert_eq!(digests(&hasher, &packets), expected(&packets));
        }
    }
}
