//! Times as histograms with high dynamic range: three digits from a nanosecond to a minute.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longer times count as this one, nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// Times in nanoseconds.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds and digits are good"))
    }
}

/// What is told of times, nanoseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// The least.
    pub min: u64,
    /// Their mean.
    pub mean: f64,
    /// Half of them are not longer.
    pub p50: u64,
    /// 90 % of them are not longer.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
    /// 99.99 %.
    pub p99_99: u64,
    /// The greatest.
    pub max: u64,
}

/// A point of the curve: so large a share of the times is not longer.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Point {
    /// Share, 0 to 1.
    pub quantile: f64,
    /// Nanoseconds.
    pub ns: u64,
}

impl Times {
    /// Takes in a time.
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Takes in all of `other`.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// What is told of them; `None` if there are none.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        if self.0.is_empty() {
            return None;
        }
        let at = |quantile| self.0.value_at_quantile(quantile);
        Some(Summary {
            count: self.0.len(),
            min: self.0.min(),
            mean: self.0.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: self.0.max(),
        })
    }

    /// The curve, for plots: denser towards the greatest times.
    #[must_use]
    pub fn curve(&self) -> Vec<Point> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let steps = self.0.iter_quantiles(5);
        steps
            .map(|step| Point {
                quantile: step.quantile_iterated_to(),
                ns: step.value_iterated_to(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_times() {
        let mut times = Times::default();
        assert_eq!(times.summary(), None);
        assert!(times.curve().is_empty());
        (1..=10_000).for_each(|time| times.record(time * 1000));
        let summary = times.summary().unwrap();
        let near = |found: u64, expected: f64| (found as f64 / expected - 1.0).abs() < 0.002;
        assert!(
            near(summary.p50, 5e6) && near(summary.p99, 9.9e6) && near(summary.p99_99, 9.999e6),
            "{summary:?}"
        );
        assert!(near(summary.min, 1000.0) && near(summary.max, 1e7) && summary.count == 10_000);
        let curve = times.curve();
        assert!(curve.is_sorted_by_key(|point| point.ns) && curve.len() > 20);
        assert!(curve.last().unwrap().quantile > 0.9999);
    }

    #[test]
    fn times_add_up_and_the_longest_are_kept_in_bounds() {
        let (mut all, mut other) = (Times::default(), Times::default());
        all.record(0);
        other.record(u64::MAX);
        all.add(&other);
        let summary = all.summary().unwrap();
        assert_eq!((summary.count, summary.min), (2, 0));
        assert!(summary.max >= LONGEST && summary.max < LONGEST + LONGEST / 100);
    }
}
