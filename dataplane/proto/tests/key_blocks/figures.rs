//! What blocks of a million positions come to.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sealcast_crypto::SigningKey;
use sealcast_proto::ids::{Epoch, Term};
use sealcast_proto::key_block::{Plan, Seal, size};

use crate::world::{CHANNEL, MILLION, RATE, generation, root, scattered};

/// INT-05: size and time against the cover that theory gives, and what they take of a channel of 4 Mbit/s with epochs of 60 s.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how long it takes is of interest"
)]
fn int_05_blocks_of_a_million_positions_are_as_small_as_theory_says() {
    let clustered: BTreeSet<u32> = (400_000..410_000).collect();
    let cases = [
        ("none", BTreeSet::new()),
        ("100 scattered", scattered(100, 1)),
        ("10,000 scattered", scattered(10_000, 2)),
        ("10,000 clustered", clustered),
    ];
    println!("| gone | nodes | at most | bytes | time | one sending | with the default cap |");
    println!("|---|---|---|---|---|---|---|");
    for (name, gone) in cases {
        let generation = generation(&gone);
        let seal = Seal {
            channel: CHANNEL,
            term: Term {
                number: 1,
                instance: 1,
            },
            epoch: Epoch(2),
            root: &root(2),
            key: &SigningKey::from_seed(&[7; 32]),
        };
        let begin = Instant::now();
        let datagrams = seal.block(&generation);
        let time = begin.elapsed();
        let nodes = generation.cover().count();
        let bytes: usize = datagrams.iter().map(Vec::len).sum();
        assert_eq!(bytes as u64, size(nodes));
        // Naor, Naor, Lotspiech: r log2(N / r) nodes for r of N; the positions that nobody has yet count as one run more.
        let most = (gone.len() + 1) as f64 * (f64::from(1 << 20) / (gone.len() + 1) as f64).log2();
        assert!(
            nodes as f64 <= most.ceil(),
            "{name}: {nodes} nodes, at most {most}"
        );
        let life = Duration::from_secs(60);
        let plan = Plan::new(bytes as u64, RATE, life, 10);
        let share = |sent: f64| 100.0 * sent / (RATE * 60) as f64;
        println!(
            "| {name} of {MILLION} | {nodes} | {most:.0} | {bytes} | {time:.1?} | {:.3} % | {} |",
            share(bytes as f64),
            plan.map_or_else(
                || "off".to_owned(),
                |plan| format!(
                    "{} times ahead, {} after: {:.3} %",
                    plan.ahead,
                    plan.after,
                    share(bytes as f64 * f64::from(plan.ahead + plan.after))
                )
            )
        );
    }
}
