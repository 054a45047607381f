//! Hostile files and URLs: thousands of mutations without a panic. The seed is fixed; `SEALCAST_FUZZ_SEED` and
//! `SEALCAST_FUZZ_ROUNDS` try others. The checks are those of the fuzz targets (`fuzz/`).
#![expect(clippy::print_stdout, reason = "says which seed was used")]
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

#[path = "fuzz/checks.rs"]
mod checks;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sealcast_dataplane::ts::generate::TsGenerator;

const URLS: [&str; 5] = [
    "udp://239.1.1.1:5000?iface=eth0&ttl=4&source=10.0.0.5&dscp=34&loop=1&buffer=8M",
    "rtp://@[ff15::1]:5000?header=strip",
    "file:///a%20b.ts?loop=1",
    "pcap:x.pcap?dst=239.1.1.1:5000&loop=1",
    "gen:?rate=1.5M&seconds=3&seed=9",
];

/// Raw IP: one datagram.
fn capture() -> Vec<u8> {
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let packet = [
        &[
            0x45, 0, 0, 32, 0, 0, 0, 0, 9, 17, 0, 0, 10, 0, 0, 1, 239, 1, 1, 1,
        ][..],
        &[15, 160, 19, 136, 0, 12, 0, 0, 1, 2, 3, 4],
    ]
    .concat();
    let head = words(&[0xA1B2_C3D4, 0x0004_0002, 0, 0, 65_535, 101, 7, 5, 32, 32]);
    [head, packet].concat()
}

fn mutated(bytes: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut below = |limit: usize| usize::try_from(rng.next_u64() % limit.max(1) as u64).unwrap();
    for _ in 0..1 + below(4) {
        let (at, with) = (below(bytes.len()), u8::try_from(below(256)).unwrap());
        match below(4) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << (with % 8),
            1 if !bytes.is_empty() => bytes[at] = with,
            2 => bytes.truncate(at),
            _ => bytes.insert(at, with),
        }
    }
    bytes
}

#[test]
fn mutated_files_and_urls_are_survived() {
    let setting = |name: &str, default| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (seed, rounds) = (
        setting("SEALCAST_FUZZ_SEED", 1),
        setting("SEALCAST_FUZZ_ROUNDS", 5_000),
    );
    println!("seed {seed}, {rounds} rounds");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut generator, mut ts) = (TsGenerator::new(4_000_000, seed), Vec::new());
    (0..4).for_each(|_| generator.next_payload(&mut ts));
    for round in 0..rounds {
        let url = URLS[usize::try_from(round).unwrap() % URLS.len()];
        checks::endpoint(&mutated(url.as_bytes(), &mut rng));
        checks::pcap(&mutated(&capture(), &mut rng));
        checks::ts(&mutated(&ts, &mut rng));
    }
}
