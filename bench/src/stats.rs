//! Medians and spreads. Times are disturbed in one direction only and now and then by much: means say little.

use serde::Serialize;

/// The median; of an even number of values, the mean of the two in the middle.
///
/// # Panics
/// If there are no values.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    Spread::of(values).median
}

/// The least, the median and the greatest of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The median.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        assert!(!values.is_empty(), "no values, no median");
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
        Self {
            min: sorted[0],
            median: f64::midpoint(sorted[low], sorted[high]),
            max: sorted[sorted.len() - 1],
        }
    }

    /// The median, and the ends behind it.
    #[must_use]
    pub fn words(&self, digits: usize) -> String {
        let Self { min, median, max } = self;
        format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
    }

    /// The same of shares, in percent.
    #[must_use]
    pub fn percent(&self) -> String {
        let [min, median, max] = [self.min, self.median, self.max].map(|share| share * 100.0);
        format!("{median:.0} % ({min:.0}–{max:.0})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_of_values_in_any_order() {
        assert_eq!(median(&[7.0]), 7.0);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[5.0, 5.0, 5.0, 1e9]), 5.0);
    }

    #[test]
    fn a_spread_keeps_the_ends() {
        let spread = Spread::of(&[3.0, -1.0, 8.0, 2.0, 2.0]);
        assert_eq!(
            spread,
            Spread {
                min: -1.0,
                median: 2.0,
                max: 8.0
            }
        );
        let one = Spread::of(&[4.0]);
        assert_eq!((one.min, one.median, one.max), (4.0, 4.0, 4.0));
    }

    #[test]
    #[should_panic(expected = "no values")]
    fn nothing_has_no_median() {
        let _ = median(&[]);
    }
}
