//! Sets of numbers as what lies in them without gaps: requests that were counted, keys that a device has.

use sealcast_objects::time::Timestamp;

/// Numbers as first and last of each run of them, ascending, with gaps between.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Numbers(Vec<(u64, u64)>);

impl Numbers {
    /// What [`Numbers::to_bytes`] gave; anything else is no set.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<8>() else {
            return None;
        };
        let (pairs, []) = numbers.as_chunks::<2>() else {
            return None;
        };
        let pair =
            |[first, last]: &[[u8; 8]; 2]| (u64::from_be_bytes(*first), u64::from_be_bytes(*last));
        Some(Self(pairs.iter().map(pair).collect()))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let pair = |(first, last): &(u64, u64)| [first.to_be_bytes(), last.to_be_bytes()].concat();
        self.0.iter().flat_map(pair).collect()
    }

    /// Adds a number; whether it is new.
    pub(super) fn add(&mut self, number: u64) -> bool {
        // The first run that does not end before it.
        let at = self.0.partition_point(|(_, last)| *last < number);
        if self.0.get(at).is_some_and(|(first, _)| *first <= number) {
            return false;
        }
        let ends_before = at > 0 && self.0[at - 1].1.checked_add(1) == Some(number);
        let begins_after = number
            .checked_add(1)
            .is_some_and(|after| self.0.get(at).is_some_and(|run| run.0 == after));
        match (ends_before, begins_after) {
            (true, true) => {
                let (_, last) = self.0.remove(at);
                self.0[at - 1].1 = last;
            }
            (true, false) => self.0[at - 1].1 = number,
            (false, true) => self.0[at].0 = number,
            (false, false) => self.0.insert(at, (number, number)),
        }
        true
    }
}

/// Keys that a device got of a channel, without gaps, on one day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Interval {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Requests that were counted.
    pub(super) requests: u64,
    /// Answers, to requests asked again, too.
    pub(super) answers: u64,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

impl Interval {
    fn joins(&self, next: &Self) -> bool {
        self.last.checked_add(1) == Some(next.first) && self.since.day() == next.since.day()
    }

    fn join(&mut self, next: &Self) {
        self.last = next.last;
        self.requests += next.requests;
        self.answers += next.answers;
        self.since = self.since.min(next.since);
        self.until = self.until.max(next.until);
    }
}

/// Intervals of one device and channel; they never overlap, in the order of their epochs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Intervals(pub(super) Vec<Interval>);

impl Intervals {
    /// Counts a key, given between `since` and `until`; what else came with it is counted where the key is.
    pub(super) fn add(
        &mut self,
        epoch: u64,
        requests: u64,
        answers: u64,
        since: Timestamp,
        until: Timestamp,
    ) {
        let at = self.0.partition_point(|interval| interval.last < epoch);
        if let Some(held) = self.0.get_mut(at).filter(|held| held.first <= epoch) {
            // Given before, that day or another: it counts once, with its first day.
            held.requests += requests;
            held.answers += answers;
            if since.day() == held.since.day() {
                held.since = held.since.min(since);
                held.until = held.until.max(until);
            }
            return;
        }
        let new = Interval {
            first: epoch,
            last: epoch,
            requests,
            answers,
            since,
            until,
        };
        self.0.insert(at, new);
        for at in [at + 1, at] {
            if at > 0 && at < self.0.len() && self.0[at - 1].joins(&self.0[at]) {
                let next = self.0.remove(at);
                self.0[at - 1].join(&next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand_chacha::ChaCha8Rng;
    use rand_core::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn numbers_are_a_set_whatever_their_order() {
        for seed in 0..200 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (mut numbers, mut model) = (Numbers::default(), BTreeSet::new());
            let base = if seed % 2 == 0 { 0 } else { u64::MAX - 63 };
            for _ in 0..rng.next_u32() % 100 {
                let number = base + u64::from(rng.next_u32() % 64);
                assert_eq!(numbers.add(number), model.insert(number), "seed {seed}");
                assert_eq!(
                    Numbers::from_bytes(&numbers.to_bytes()),
                    Some(numbers.clone())
                );
            }
            let apart = numbers
                .0
                .array_windows()
                .all(|[run, next]| run.1 + 1 < next.0);
            let held = numbers.0.iter().flat_map(|(first, last)| *first..=*last);
            assert!(apart && held.eq(model), "seed {seed}");
        }
        assert_eq!(Numbers::from_bytes(&[0; 15]), None);
    }

    /// However keys come: each epoch is in one interval, requests and answers are all there, and no interval spans two days.
    #[test]
    fn intervals_hold_every_key_once() {
        for seed in 0..300 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (mut intervals, mut epochs, mut sums) =
                (Intervals::default(), BTreeSet::new(), (0, 0));
            for _ in 0..rng.next_u32() % 80 {
                let epoch = 1 + u64::from(rng.next_u32() % 40);
                let (requests, answers) =
                    (u64::from(rng.next_u32() % 2), u64::from(rng.next_u32() % 3));
                let since = Timestamp(i64::from(rng.next_u32() % 3) * 86_400_000 + 5);
                intervals.add(
                    epoch,
                    requests,
                    answers,
                    since,
                    since.after(std::time::Duration::from_secs(1)),
                );
                epochs.insert(epoch);
                sums = (sums.0 + requests, sums.1 + answers);
            }
            let all = &intervals.0;
            let held = all
                .iter()
                .flat_map(|interval| interval.first..=interval.last);
            assert!(held.eq(epochs), "seed {seed}");
            let sum = |of: fn(&Interval) -> u64| all.iter().map(of).sum::<u64>();
            assert_eq!(
                (sum(|i| i.requests), sum(|i| i.answers)),
                sums,
                "seed {seed}"
            );
            let joined = all.array_windows().any(|[one, next]| one.joins(next));
            assert!(!joined, "seed {seed}: what could be one is two");
            assert!(
                all.iter()
                    .all(|interval| interval.since.day() == interval.until.day())
            );
        }
    }
}
