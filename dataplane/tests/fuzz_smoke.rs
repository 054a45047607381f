//! Hostile bytes: captures, URLs, TS and RTP take thousands of mutations without a panic.
//!
//! The seed is fixed; `SEALCAST_FUZZ_SEED` and `SEALCAST_FUZZ_ROUNDS` try others. The checks stand in `fuzz/checks.rs`; the
//! workspace's `fuzz/` runs the same ones with cargo-fuzz, guided by coverage (CONTRIBUTING.md).
#![expect(clippy::print_stdout, reason = "says which seed was used")]
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

#[expect(unreachable_pub, reason = "fuzz/ makes a library of it")]
#[path = "fuzz/checks.rs"]
mod checks;
#[path = "../proto/tests/fuzz/mutate.rs"]
mod mutate;

use mutate::{mutate, settings};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sealcast_dataplane::rtp::RtpWriter;
use sealcast_dataplane::ts::packet::PACKET;

fn survived(check: fn(&[u8]), corpus: &[Vec<u8>], rounds: u64) {
    let (seed, rounds) = settings(rounds);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    corpus.iter().for_each(|bytes| check(bytes));
    for _ in 0..rounds {
        let mut choose = || usize::try_from(rng.next_u64() % corpus.len() as u64).unwrap();
        let (mut bytes, other) = (corpus[choose()].clone(), corpus[choose()].clone());
        mutate(&mut bytes, &other, &mut rng);
        check(&bytes);
    }
}

/// A UDP datagram in IPv4.
fn datagram() -> Vec<u8> {
    [
        &[0x45, 0, 0, 32, 0, 0, 0, 0, 9, 17, 0, 0][..], // 32 bytes, UDP
        &[10, 0, 0, 1, 239, 1, 1, 1],
        &[0, 9, 0x13, 0x88, 0, 12, 0, 0, 1, 2, 3, 4],
    ]
    .concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn mutated_captures_are_survived() {
    let ethernet = [&[0; 12][..], &[8, 0], &datagram()].concat();
    let pcap = |link: u32, frame: &[u8]| {
        let length = u32::try_from(frame.len()).unwrap();
        let mut file = words(&[0xA1B2_C3D4, 0x0004_0002, 0, 0, 65_535, link]);
        for seconds in 0..3 {
            file.extend(words(&[seconds, 5, length, length]));
            file.extend(frame);
        }
        file
    };
    let pcapng = [
        words(&[0x0A0D_0D0A, 28, 0x1A2B_3C4D, 1, u32::MAX, u32::MAX, 28]),
        words(&[1, 20, 101, 65_535, 20]), // interface: raw IP
        words(&[6, 64, 0, 0, 9, 32, 32]),
        datagram(),
        words(&[64]),
    ]
    .concat();
    let corpus = [pcap(1, &ethernet), pcap(101, &datagram()), pcapng];
    survived(checks::pcap, &corpus, 3_000);
}

#[test]
fn mutated_urls_are_survived() {
    let corpus = [
        "udp://239.1.1.1:5000?iface=eth0&ttl=4&source=10.0.0.5&dscp=34&loop=1&buffer=8M",
        "udp://@[ff15::1]:5000?iface=::1&source=fe80::5",
        "rtp://239.1.1.1:5000?header=strip",
        "file:/a/b.ts?repeat=1",
        "file:///a.ts",
        "/a/b?c.ts",
        "pcap:x.pcap?dst=[ff15::1%252]:5000",
        "gen:?rate=4M&seconds=3&seed=9",
        "-",
    ];
    survived(
        checks::endpoint,
        &corpus.map(|text| text.as_bytes().to_vec()),
        50_000,
    );
}

#[test]
fn mutated_streams_are_survived() {
    let payload = |pcr: u8| {
        let mut packet = [0xFF; PACKET];
        packet[..12].copy_from_slice(&[0x47, 1, 0, 0x35, 7, 0x10, 0, 0, pcr, 0, 0x7E, 5]);
        [&[4][..], &packet].concat()
    };
    let rtp = [&[7][..], &RtpWriter::new(9).header(5), &[0x47; PACKET]].concat();
    let stream = (0..5).flat_map(|pcr| payload(pcr * 3)).collect();
    survived(checks::ts, &[payload(1), rtp, stream], 20_000);
}
