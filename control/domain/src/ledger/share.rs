//! Rates and splits: whole numbers only, and nothing is lost.

/// A rate: so many of so many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    of: u64,
    parts: u64,
}

impl Rate {
    /// `of` parts of `parts`; `None` without parts.
    #[must_use]
    pub fn new(of: u64, parts: u64) -> Option<Self> {
        (parts > 0).then_some(Self { of, parts })
    }

    /// That much of an amount, rounded to the nearest, and from the middle to the even one; `None` beyond 64 bits.
    #[must_use]
    pub fn apply(self, amount: u64) -> Option<u64> {
        let (whole, parts) = (
            u128::from(amount) * u128::from(self.of),
            u128::from(self.parts),
        );
        let (down, twice) = (whole / parts, 2 * (whole % parts));
        let up = twice > parts || twice == parts && down % 2 == 1;
        u64::try_from(down + u128::from(up)).ok()
    }
}

/// Splits an amount by weights: each part is its exact share rounded down, and what is left goes one by one to those who lost most
/// by that (largest remainder), of equals to the first. The parts sum to the amount; `None` if there is no weight.
#[must_use]
pub fn split(amount: u64, weights: &[u64]) -> Option<Vec<u64>> {
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if total == 0 {
        return None;
    }
    let exact = |weight: &u64| u128::from(amount) * u128::from(*weight);
    let down = |weight| u64::try_from(exact(weight) / total).ok();
    let mut parts: Vec<u64> = weights.iter().map(down).collect::<Option<_>>()?;
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(exact(&weights[index]) % total), index));
    let left = amount - parts.iter().sum::<u64>();
    // Fewer than there are parts with a remainder.
    for &index in order.iter().take(usize::try_from(left).ok()?) {
        parts[index] += 1;
    }
    Some(parts)
}
