//! Whether opening takes a time that depends on secrets, tested by statistics in the manner of dudect (Reparaz, Balasch,
//! Verbauwhede, "Dude, is my code constant time?", DATE 2017): two classes of input in random order, the time of each
//! call, and Welch's t-test between the classes, after the slowest measurements were cropped at several percentiles.
//!
//! Two questions are put to every backend:
//! - `tag`: forged packets whose tag is wrong in its first byte against forged packets whose tag is wrong in its last
//!   byte. A comparison that ends at the first difference would show. (Genuine against forged is no question: whether a
//!   packet was genuine is public, and the payload of a forged one is zeroed.)
//! - `key`: packets sealed and opened under one fixed key against packets under keys that change.
//!
//! A |t| above 4.5 that stays or grows when the run is longer says that times differ; below 10 it may still be the
//! machine. Nothing here proves that they do not.
//!
//! ```text
//! cargo run --release -p sealcast-crypto --example constant_time [seconds for each question, 3 by default]
//! ```
#![expect(clippy::print_stdout, reason = "this is a tool")]
#![expect(
    clippy::cast_precision_loss,
    reason = "statistics of some thousand numbers"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sealcast_crypto::{AesKey, Backend, OpenKey, SealKey, Span, TAG_LEN};

const SALT: [u8; 12] = [7; 12];
const SPAN: Span = Span {
    offset: 52,
    header_len: 12,
    payload_len: 188,
    ctr: 1,
};
/// Calls measured as one, because one is shorter than what a clock resolves.
const CALLS: usize = 16;

/// Measurements of the two classes, in nanoseconds.
#[derive(Default)]
struct Classes([Vec<f64>; 2]);

impl Classes {
    /// The greatest |t| over the percentiles at which the measurements are cropped, and how many there are.
    fn worst(&self) -> (f64, usize) {
        let mut all: Vec<f64> = self.0.iter().flatten().copied().collect();
        all.sort_by(f64::total_cmp);
        let crops =
            [50, 75, 90, 95, 99, 100].map(|percent| all[(all.len() * percent / 100).max(1) - 1]);
        let worst = crops
            .into_iter()
            .map(|limit| self.t(limit).abs())
            .fold(0.0, f64::max);
        (worst, all.len())
    }

    /// Welch's t of the measurements up to `limit`.
    fn t(&self, limit: f64) -> f64 {
        let [a, b] = [0, 1].map(|class| {
            let kept: Vec<f64> = self.0[class]
                .iter()
                .copied()
                .filter(|&time| time <= limit)
                .collect();
            let count = kept.len().max(2) as f64;
            let mean = kept.iter().sum::<f64>() / count;
            let variance =
                kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
            (mean, variance / count)
        });
        (a.0 - b.0) / (a.1 + b.1).sqrt().max(f64::MIN_POSITIVE)
    }
}

/// Measures until the time is up: `prepare` gives the keys and packets of a class. Both classes go the same way through
/// the same memory, because where things lie shows in their time.
fn measure(
    budget: Duration,
    rng: &mut ChaCha8Rng,
    mut prepare: impl FnMut(&mut ChaCha8Rng, usize) -> Vec<(OpenKey, Vec<u8>)>,
) -> Classes {
    let mut classes = Classes::default();
    let end = Instant::now() + budget;
    while Instant::now() < end {
        let class = usize::from(rng.next_u32() & 1 == 1);
        let mut calls = prepare(rng, class);
        let start = Instant::now();
        for (key, packet) in &mut calls {
            let _ = black_box(key.open(packet, &[SPAN]));
        }
        classes.0[class].push(start.elapsed().as_nanos() as f64);
    }
    classes
}

/// A key to open, and a packet that was sealed under it.
fn sealed(key: &AesKey, backend: Backend) -> (OpenKey, Vec<u8>) {
    let mut packet = vec![0x33; SPAN.end()];
    SealKey::from_parts(key, &SALT, backend).seal(&mut packet, &[SPAN]);
    (OpenKey::from_parts(key, &SALT, backend), packet)
}

fn tag(backend: Backend, budget: Duration, rng: &mut ChaCha8Rng) -> Classes {
    measure(budget, rng, |_, class| {
        let calls = (0..CALLS).map(|_| {
            let (key, mut packet) = sealed(&AesKey::Aes256([1; 32]), backend);
            packet[SPAN.end() - TAG_LEN + class * (TAG_LEN - 1)] ^= 0x80;
            (key, packet)
        });
        calls.collect()
    })
}

fn key(backend: Backend, budget: Duration, rng: &mut ChaCha8Rng) -> Classes {
    measure(budget, rng, |rng, class| {
        let calls = (0..CALLS).map(|_| {
            let mut bytes = [[1; 32]; 2];
            rng.fill_bytes(&mut bytes[1]);
            sealed(&AesKey::Aes256(bytes[class]), backend)
        });
        calls.collect()
    })
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let budget = Duration::from_secs(seconds.unwrap_or(3));
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    println!("backend   question  measurements  max |t|");
    for &backend in Backend::available() {
        for (question, run) in [
            (
                "tag",
                tag as fn(Backend, Duration, &mut ChaCha8Rng) -> Classes,
            ),
            ("key", key),
        ] {
            let (worst, count) = run(backend, budget, rng).worst();
            let verdict = if worst > 10.0 { "  times differ" } else { "" };
            println!(
                "{:<9} {question:<9} {count:>12}  {worst:>7.2}{verdict}",
                backend.name()
            );
        }
    }
}
