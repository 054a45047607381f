//! Durations by magnitude: fixed buckets, a few words, nothing allocated. One writer.

use std::time::Duration;

/// Upper bounds of the buckets but the last, in nanoseconds.
pub const BOUNDS: [u64; 12] = [
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    3_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
];

/// How often durations of which magnitude were seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Histogram {
    buckets: [u64; BOUNDS.len() + 1],
    sum: u64,
    max: u64,
}

impl Histogram {
    /// Counts a duration of `nanoseconds`.
    pub fn record(&mut self, nanoseconds: u64) {
        let bucket = BOUNDS.partition_point(|&bound| bound < nanoseconds);
        self.buckets[bucket] += 1;
        self.sum = self.sum.saturating_add(nanoseconds);
        self.max = self.max.max(nanoseconds);
    }

    /// Counts what `other` has counted as well.
    pub fn merge(&mut self, other: &Self) {
        let buckets = self.buckets.iter_mut().zip(other.buckets);
        buckets.for_each(|(own, other)| *own += other);
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// A duration that `percent` of them did not exceed: the upper bound of its bucket, or the longest where that is less. Zero
    /// if there were none.
    #[must_use]
    pub fn quantile(&self, percent: u8) -> Duration {
        let wanted = (self.count() * u64::from(percent)).div_ceil(100);
        let mut seen = 0;
        let bound = BOUNDS.into_iter().zip(self.buckets).find(|(_, bucket)| {
            seen += bucket;
            seen >= wanted
        });
        let bound = bound.map_or(self.max, |(bound, _)| bound);
        Duration::from_nanos(bound.min(self.max))
    }

    /// How many were in each bucket: up to the first of [`BOUNDS`], from there up to the second, and so on; in the last all above.
    #[must_use]
    pub fn buckets(&self) -> [u64; BOUNDS.len() + 1] {
        self.buckets
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn none_is_nothing() {
        let none = Histogram::default();
        assert_eq!((none.count(), none.quantile(99)), (0, Duration::ZERO));
    }

    proptest! {
        #[test]
        fn a_quantile_is_the_bound_above_the_exact_one(
            mut durations in prop::collection::vec(0_u64..200_000_000, 1..200),
            percent in 1_u8..=100,
        ) {
            let mut histogram = Histogram::default();
            let mut rest = Histogram::default();
            for (index, &duration) in durations.iter().enumerate() {
                if index % 2 == 0 { histogram.record(duration) } else { rest.record(duration) }
            }
            histogram.merge(&rest);
            durations.sort_unstable();
            let rank = (durations.len() * usize::from(percent)).div_ceil(100);
            let exact = durations[rank - 1];
            let max = durations[durations.len() - 1];
            let bound = BOUNDS.iter().copied().find(|&bound| bound >= exact).unwrap_or(max);
            prop_assert_eq!(histogram.quantile(percent), Duration::from_nanos(bound.min(max)));
            prop_assert_eq!(histogram.count(), durations.len() as u64);
            prop_assert_eq!(histogram.sum(), Duration::from_nanos(durations.iter().sum()));
            let mut below = 0;
            for (bound, bucket) in BOUNDS.into_iter().zip(histogram.buckets()) {
                below += bucket;
                prop_assert_eq!(below, durations.iter().filter(|&&it| it <= bound).count() as u64);
            }
        }
    }
}
