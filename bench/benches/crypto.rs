//! Seal and open of every implementation that sealcast has here, for comparing a commit with the one before:
//! `cargo bench -p sealcast-bench --bench crypto`. For comparing with other libraries there is the program `crypto`.
//!
//! An iteration is one pass through an arena, which is restored before it. A sample counts its passes as if each had taken
//! as long as their median: else a host that others use, too, shows regressions that are theirs.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{
    Bencher, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use sealcast_bench::crypto::{
    Arena, Calls, Contender, Field, Key, KeyBits, Op, Placement, SIZES, contenders,
};
use sealcast_bench::host::Host;
use sealcast_bench::stats::median;
use sealcast_crypto::{Backend, PacketHasher};

fn benches(criterion: &mut Criterion) {
    // A run that wanders between cores is only noisier.
    let _ = Host::pinned(None);
    for bits in [KeyBits::Aes256, KeyBits::Aes128] {
        let mut ours = contenders(&Key::new(bits), &Field::none());
        ours.retain(|one| one.ours && one.calls == Calls::Batch);
        for op in [Op::Seal, Op::Open] {
            if !ours.is_empty() {
                group(
                    &mut criterion.benchmark_group(format!("{bits} {op}")),
                    &mut ours,
                    op,
                );
            }
        }
    }
}

fn group(group: &mut BenchmarkGroup<'_, WallTime>, ours: &mut [Contender], op: Op) {
    group
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    for size in SIZES {
        for contender in &mut *ours {
            let mut arena = Arena::new(size, Placement::Aligned);
            if op == Op::Open {
                contender.pass(&mut arena, Op::Seal);
                arena.keep();
            }
            group.throughput(Throughput::Bytes(arena.payload_bytes() as u64));
            let id = BenchmarkId::new(contender.name.clone(), size);
            group.bench_function(id, |bencher| passes(bencher, contender, &mut arena, op));
        }
    }
}

fn passes(bencher: &mut Bencher<'_>, contender: &mut Contender, arena: &mut Arena, op: Op) {
    bencher.iter_custom(|iterations| {
        let pass = |_| {
            arena.restore();
            let start = Instant::now();
            contender.pass(arena, op);
            start.elapsed().as_secs_f64()
        };
        let passes: Vec<_> = (0..iterations).map(pass).collect();
        Duration::from_secs_f64(median(&passes) * iterations as f64)
    });
}

/// Digests of packets, as manifests list them: what the processor allows, and the portable way.
fn digests(criterion: &mut Criterion) {
    const PACKETS: usize = 48;
    const LEN: usize = 1344;
    let packets = vec![7; PACKETS * LEN];
    let mut group = criterion.benchmark_group("packet digests");
    group.throughput(Throughput::Elements(PACKETS as u64));
    for backend in [Backend::detect(), Backend::Portable] {
        let hasher = PacketHasher::new(backend);
        let id = BenchmarkId::new(backend.name(), LEN);
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                hasher.digest(black_box(&packets).chunks(LEN), |digest| {
                    black_box(digest);
                });
            });
        });
    }
}

criterion_group!(crypto, benches, digests);
criterion_main!(crypto);
