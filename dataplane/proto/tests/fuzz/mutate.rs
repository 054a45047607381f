//! Seeded mutations, for the smoke tests of this package and of the data plane.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;

/// Seed and rounds: fixed, or as the environment says.
pub(crate) fn settings(rounds: u64) -> (u64, u64) {
    let setting = |name: &str, default| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let settings = (
        setting("SEALCAST_FUZZ_SEED", 1),
        setting("SEALCAST_FUZZ_ROUNDS", rounds),
    );
    println!("seed {}, {} rounds", settings.0, settings.1);
    settings
}

/// Flips, cuts, splices, repeats.
pub(crate) fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut ChaCha8Rng) {
    let mut below = |limit: usize| usize::try_from(rng.next_u64() % limit.max(1) as u64).unwrap();
    for _ in 0..1 + below(4) {
        let (at, with) = (below(bytes.len()), u8::try_from(below(256)).unwrap());
        match below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << (with % 8),
            1 if !bytes.is_empty() => bytes[at] = with,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, with),
            4 => bytes.extend_from_slice(&other[below(other.len())..]),
            _ => bytes.extend(std::iter::repeat_n(with, below(40))),
        }
    }
}
