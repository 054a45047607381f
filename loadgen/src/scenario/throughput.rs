//! The highest rate at which nothing is lost, by bisection (RFC 3918, RFC 2544 26.1).

use super::{ScenarioError, Setup, Watch, is_clean};
use crate::report::{Axes, Cell, Plot, Report, Table, scaled};
use crate::schedule::{Rate, Shape, Traffic};
use crate::source::Source;

/// The search ends when the rate is known to one part in so many.
const RESOLUTION: u64 = 50;
/// Rates tried for one size, at most.
const STEPS_MAX: u32 = 16;

const ABOUT: &str = "Aggregated multicast throughput after RFC 3918: the highest rate at which every datagram that was due came at \
    every sink, found by bisection between nothing and what the generator can send at most, to 2 %. A rate counts when all of \
    its trials passed. RFC 2544 asks for 60 s; these are as long as the parameters say. Sizes are of UDP payloads.";

/// Bisection between a rate that passed and one that did not.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    passed: u64,
    failed: Option<u64>,
    ceiling: u64,
    steps: u32,
}

impl Search {
    /// A search up to `ceiling`, which is tried first.
    #[must_use]
    pub fn new(ceiling: u64) -> Self {
        Self {
            passed: 0,
            failed: None,
            ceiling,
            steps: 0,
        }
    }

    /// The rate to try next; `None` when it is known.
    #[must_use]
    pub fn rate_to_try(&self) -> Option<u64> {
        let Some(failed) = self.failed else {
            return (self.passed < self.ceiling).then_some(self.ceiling);
        };
        let step = (failed - self.passed) / 2;
        let near = step == 0 || failed - self.passed <= self.passed / RESOLUTION;
        (!near && self.steps < STEPS_MAX).then_some(self.passed + step)
    }

    /// How a rate that was tried went.
    pub fn tell(&mut self, rate: u64, passed: bool) {
        self.steps += 1;
        if passed {
            self.passed = rate;
        } else {
            self.failed = Some(rate);
        }
    }

    /// The highest rate that passed; `None` if none did.
    #[must_use]
    pub fn result(&self) -> Option<u64> {
        (self.passed > 0).then_some(self.passed)
    }
}

pub(super) fn run(setup: &Setup, watch: Watch<'_>) -> Result<Report, ScenarioError> {
    let mut rows = Vec::new();
    let mut curve = Vec::new();
    let mut best: Option<(usize, u64)> = None;
    for &size in &setup.sizes {
        let (ceiling, found) = search(setup, size, watch)?;
        let bits = |rate: u64| rate as f64 * size as f64 * 8.0;
        rows.push(vec![
            Cell::count(size as u64),
            found.map_or_else(Cell::none, Cell::count),
            found.map_or_else(Cell::none, |rate| Cell::rate(bits(rate))),
            Cell::count(ceiling),
        ]);
        curve.push((size as f64, found.map_or(0.0, bits) / 1e9));
        best = best.max_by_bits(size, found);
    }
    Ok(Report {
        title: "aggregated-throughput".to_owned(),
        about: ABOUT.to_owned(),
        parameters: setup.facts(),
        result: best.map_or_else(
            || "no rate without loss was found".to_owned(),
            |(size, rate)| {
                let bits = scaled(rate as f64 * size as f64 * 8.0);
                format!("without loss: up to {bits}bit/s, with {size} bytes ({rate} datagrams/s)")
            },
        ),
        good: best.is_some(),
        tables: vec![Table {
            key: "throughput",
            title: "Highest rates without loss".to_owned(),
            columns: [
                ("size", "bytes"),
                ("per_second", "datagrams/s"),
                ("bits_per_second", "rate"),
                ("generator_per_second", "generator's most"),
            ]
            .map(|(key, name)| (key, name.to_owned()))
            .to_vec(),
            rows,
        }],
        plots: vec![Plot {
            key: "throughput",
            title: "Throughput without loss".to_owned(),
            axes: Axes::Steps("bytes of payload"),
            y: "Gbit/s".to_owned(),
            lines: vec![("without loss".to_owned(), curve)],
        }],
        notes: Vec::new(),
    })
}

trait Best {
    fn max_by_bits(self, size: usize, rate: Option<u64>) -> Self;
}

impl Best for Option<(usize, u64)> {
    fn max_by_bits(self, size: usize, rate: Option<u64>) -> Self {
        let bits = |&(size, rate): &(usize, u64)| size as u64 * rate;
        self.into_iter()
            .chain(rate.map(|rate| (size, rate)))
            .max_by_key(bits)
    }
}

/// What the generator can send at most, and the highest rate without loss, datagrams per second.
fn search(
    setup: &Setup,
    size: usize,
    watch: Watch<'_>,
) -> Result<(u64, Option<u64>), ScenarioError> {
    let mut plan = setup.plan.clone();
    let traffic = Traffic {
        shape: Shape::Constant,
        rate: Rate::Unlimited,
        ..setup.traffic(size)?
    };
    plan.source = Some(Source::Shape(traffic.clone()));
    let most = Setup::trial(&plan, &format!("{size} bytes, all that can be sent"), watch)?;
    let ceiling = most.sent.map_or(0, |sent| {
        u64::try_from(u128::from(sent.now.packets) * 1_000_000_000 / u128::from(sent.took.max(1)))
            .unwrap_or(0)
    });
    let mut search = Search::new(ceiling);
    while let Some(rate) = search.rate_to_try() {
        plan.source = Some(Source::Shape(Traffic {
            rate: Rate::Packets(rate),
            ..traffic.clone()
        }));
        let mut passed = true;
        for _ in 0..setup.repeats {
            let outcome = Setup::trial(&plan, &format!("{size} bytes, {rate} datagrams/s"), watch)?;
            passed = is_clean(&outcome, setup.trial);
            if !passed {
                break;
            }
        }
        search.tell(rate, passed);
    }
    Ok((ceiling, search.result()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(ceiling: u64, limit: u64) -> (Option<u64>, u32) {
        let mut search = Search::new(ceiling);
        while let Some(rate) = search.rate_to_try() {
            search.tell(rate, rate <= limit);
        }
        (search.result(), search.steps)
    }

    #[test]
    fn the_ceiling_may_pass_and_nothing_may() {
        assert_eq!(found(1000, 5000), (Some(1000), 1));
        assert_eq!(found(1000, 0), (None, 10));
        assert_eq!(found(0, 5), (None, 0));
    }

    proptest! {
        #[test]
        fn the_limit_is_found_to_two_percent(ceiling in 1000_u64..20_000_000, percent in 1_u64..100) {
            let limit = ceiling * percent / 100;
            let (rate, steps) = found(ceiling, limit);
            let rate = rate.unwrap();
            prop_assert!(rate <= limit && limit - rate <= limit / RESOLUTION + 1, "{rate} of {limit}");
            prop_assert!(steps <= STEPS_MAX);
        }
    }
}
