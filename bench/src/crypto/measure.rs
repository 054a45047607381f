//! Rounds and runs.
//!
//! In a *pass*, a contender works through an arena that has just been restored. A *slice* is as many passes as fill its
//! time, and gives the median of them; right after it the core's clock is measured. In a *round*, each contender has a
//! slice, beginning with another one each round; ratios are taken within a round. A *run* gives the median of its rounds,
//! and is done in memory of its own. Several runs show how far such medians stray.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Arena, Calls, Contender, Op, Placement};
use crate::clock;
use crate::stats::{Spread, median};

/// How long is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Whole runs.
    pub runs: usize,
    /// Rounds of a run; one more comes before them and is forgotten.
    pub rounds: usize,
    /// Timed work of a slice.
    pub slice: Duration,
}

/// What was measured of one contender.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Its place in the list of contenders.
    pub contender: usize,
    /// Where packets began.
    pub placement: Placement,
    /// Packets that it got with one call.
    pub packets_per_call: usize,
    /// Nanoseconds of a packet, over runs.
    pub ns: Spread,
    /// Times as fast as the first contender with packets at the same place, over runs.
    pub ratio: Spread,
    /// Cycles of a packet, over runs.
    pub cycles: Option<Spread>,
    /// The clock it had, in GHz, over runs.
    pub ghz: Option<Spread>,
}

/// One contender at one place.
#[derive(Clone, Copy)]
struct Entry {
    contender: usize,
    placement: Placement,
}

/// What a slice gives.
#[derive(Clone, Copy)]
struct Slice {
    ns: f64,
    ghz: Option<f64>,
}

/// The values of a run, of one entry.
struct Medians {
    ns: f64,
    ratio: f64,
    cycles: Option<f64>,
    ghz: Option<f64>,
}

/// Measures every contender with packets of `size` bytes.
///
/// # Errors
/// If a contender takes genuine packets for forged ones.
pub fn measure(
    contenders: &mut [Contender],
    op: Op,
    size: usize,
    effort: Effort,
) -> Result<Vec<Measured>> {
    let entries = entries(contenders);
    let mut runs = Vec::new();
    let mut packets = 0;
    for _ in 0..effort.runs {
        let mut arenas = Placement::ALL.map(|placement| Arena::new(size, placement));
        if op == Op::Open {
            for arena in &mut arenas {
                contenders[0].pass(arena, Op::Seal);
                arena.keep();
            }
        }
        packets = arenas[0].spans().len();
        runs.push(run(contenders, &entries, &mut arenas, op, effort)?);
    }
    let measured = entries.iter().enumerate().map(|(index, entry)| {
        let over_runs = |value: &dyn Fn(&Medians) -> Option<f64>| {
            let values: Option<Vec<_>> = runs.iter().map(|run| value(&run[index])).collect();
            values.map(|values| Spread::of(&values))
        };
        Some(Measured {
            contender: entry.contender,
            placement: entry.placement,
            packets_per_call: match contenders[entry.contender].calls {
                Calls::Batch => packets,
                Calls::Single => 1,
            },
            ns: over_runs(&|medians| Some(medians.ns))?,
            ratio: over_runs(&|medians| Some(medians.ratio))?,
            cycles: over_runs(&|medians| medians.cycles),
            ghz: over_runs(&|medians| medians.ghz),
        })
    });
    Ok(measured.flatten().collect())
}

/// Each contender with both placements, but for single calls of ours, which show the cost of calls alone.
fn entries(contenders: &[Contender]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (contender, what) in contenders.iter().enumerate() {
        for placement in Placement::ALL {
            if !(what.ours && what.calls == Calls::Single && placement == Placement::Unaligned) {
                entries.push(Entry {
                    contender,
                    placement,
                });
            }
        }
    }
    entries
}

fn run(
    contenders: &mut [Contender],
    entries: &[Entry],
    arenas: &mut [Arena; 2],
    op: Op,
    effort: Effort,
) -> Result<Vec<Medians>> {
    let mut slices = vec![Vec::with_capacity(effort.rounds); entries.len()];
    for round in 0..=effort.rounds {
        for turn in 0..entries.len() {
            let index = (turn + round) % entries.len();
            let entry = entries[index];
            let arena = &mut arenas[usize::from(entry.placement == Placement::Unaligned)];
            let slice = slice(&mut contenders[entry.contender], arena, op, effort.slice)?;
            if round > 0 {
                slices[index].push(slice);
            }
        }
    }
    let first = |placement| {
        let mut all = entries.iter().zip(&slices);
        all.find(|(entry, _)| entry.contender == 0 && entry.placement == placement)
            .map(|(_, slices)| slices)
    };
    let medians = entries.iter().zip(&slices).map(|(entry, slices)| {
        let reference = first(entry.placement).unwrap_or(slices);
        medians(slices, reference)
    });
    Ok(medians.collect())
}

fn medians(slices: &[Slice], reference: &[Slice]) -> Medians {
    let ns: Vec<_> = slices.iter().map(|slice| slice.ns).collect();
    let ratios = reference.iter().zip(slices);
    let ratios: Vec<_> = ratios.map(|(other, slice)| other.ns / slice.ns).collect();
    let clocks: Option<Vec<_>> = slices.iter().map(|slice| slice.ghz).collect();
    let cycles: Option<Vec<_>> = slices
        .iter()
        .map(|slice| Some(slice.ns * slice.ghz?))
        .collect();
    Medians {
        ns: median(&ns),
        ratio: median(&ratios),
        cycles: cycles.map(|cycles| median(&cycles)),
        ghz: clocks.map(|clocks| median(&clocks)),
    }
}

fn slice(contender: &mut Contender, arena: &mut Arena, op: Op, time: Duration) -> Result<Slice> {
    let mut passes = Vec::new();
    let mut worked = Duration::ZERO;
    pass(contender, arena, op)?;
    while worked < time {
        let elapsed = pass(contender, arena, op)?;
        worked += elapsed;
        passes.push(elapsed.as_secs_f64() * 1e9 / arena.packets() as f64);
    }
    Ok(Slice {
        ns: median(&passes),
        ghz: clock::ghz(),
    })
}

fn pass(contender: &mut Contender, arena: &mut Arena, op: Op) -> Result<Duration> {
    arena.restore();
    let start = Instant::now();
    let genuine = contender.pass(arena, op);
    let elapsed = start.elapsed();
    ensure!(
        genuine == arena.packets(),
        "{} takes genuine packets for forged ones",
        contender.name
    );
    Ok(elapsed.max(Duration::from_nanos(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Field, Key, KeyBits, contenders};

    fn slices(ns: &[f64]) -> Vec<Slice> {
        let ghz = Some(2.0);
        ns.iter().map(|&ns| Slice { ns, ghz }).collect()
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        // The host ran at half its speed in the second round, for both.
        let medians = medians(&slices(&[10.0, 20.0, 11.0]), &slices(&[30.0, 60.0, 33.0]));
        assert_eq!((medians.ns, medians.ratio), (11.0, 3.0));
        assert_eq!((medians.cycles, medians.ghz), (Some(22.0), Some(2.0)));
    }

    #[test]
    fn everybody_is_measured_and_the_first_is_once_as_fast_as_itself() {
        let mut all = contenders(&Key::new(KeyBits::Aes256), &Field::find(None));
        let effort = Effort {
            runs: 2,
            rounds: 1,
            slice: Duration::from_micros(1),
        };
        for op in [Op::Seal, Op::Open] {
            let measured = measure(&mut all, op, 188, effort).unwrap();
            assert_eq!(measured.len(), entries(&all).len());
            assert!((0..all.len()).all(|index| measured.iter().any(|one| one.contender == index)));
            assert!(
                measured
                    .iter()
                    .all(|one| one.ns.min > 0.0 && one.ratio.min > 0.0)
            );
            assert_eq!(measured[0].ratio.median, 1.0);
        }
    }
}
