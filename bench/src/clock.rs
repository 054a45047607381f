//! The processor's clock, measured. Virtual machines have no hardware counters, and the time stamp counter does not count
//! cycles; but a chain of multiplications, each of which needs the result of the one before, takes three cycles for each on
//! all x86-64 cores of Intel since Nehalem and of AMD since Zen.

use std::hint::black_box;
use std::time::Instant;

/// Multiplications of one chain: about 30 µs, seldom interrupted.
const LINKS: u32 = 40_000;
/// Cycles that a multiplication of 64-bit registers takes until its result can be used.
const CYCLES_PER_LINK: f64 = 3.0;
/// Chains of a measurement. An interrupt makes a chain longer, nothing makes it shorter.
const CHAINS: usize = 3;

/// The clock of the core this thread runs on, now, in GHz. None on processors whose multiplication is not known.
#[must_use]
pub fn ghz() -> Option<f64> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let fastest = (0..CHAINS).map(|_| chain_ns()).min_by(f64::total_cmp)?;
    Some(f64::from(LINKS) * CYCLES_PER_LINK / fastest)
}

/// Nanoseconds of one chain.
fn chain_ns() -> f64 {
    let start = Instant::now();
    // Squares: a product with a constant could be reassociated, and the chain were shorter than it looks.
    let mut value = black_box(3_u64);
    for _ in 0..LINKS / 8 {
        for _ in 0..8 {
            value = value.wrapping_mul(value);
        }
    }
    black_box(value);
    start.elapsed().as_secs_f64() * 1e9
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_one_that_processors_have() {
        let ghz = ghz().expect("x86-64");
        assert!((0.5..8.0).contains(&ghz), "{ghz} GHz");
    }
}
