//! What a channel sealed or took, by epoch and lane, until somebody fetches it for the usage files (MD-33).
//!
//! Counted by the one task that runs the channel: no lock, and no allocation as long as it is fetched now and then.

use crate::ids::{Epoch, Lane};

/// Lanes and epochs that are in use between two fetches, as a rule.
const USUAL: usize = 64;

/// Packets and payload bytes of one lane in one epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// Packets.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
}

/// Counts since they were fetched. Off until [`Tally::switch_on`]: what nobody fetches is not gathered.
#[derive(Debug, Default)]
pub struct Tally {
    on: bool,
    counts: Vec<Count>,
    /// Where the last one was counted: the next is likely of the same lane.
    last: usize,
}

impl Tally {
    /// Begins to count.
    pub fn switch_on(&mut self) {
        self.on = true;
        self.counts.reserve(USUAL);
    }

    /// Counts.
    pub fn add(&mut self, epoch: Epoch, lane: Lane, packets: u64, bytes: u64) {
        if !self.on {
            return;
        }
        let is_it = |count: &Count| count.epoch == epoch && count.lane == lane;
        if !self.counts.get(self.last).is_some_and(is_it) {
            // Packets are dealt to lanes in turn: the next one's place is the next.
            let all = self.counts.len();
            let mut places = (1..=all).map(|step| (self.last + step) % all);
            let found = places.find(|&place| is_it(&self.counts[place]));
            self.last = found.unwrap_or_else(|| {
                self.counts.push(Count {
                    epoch,
                    lane,
                    packets: 0,
                    bytes: 0,
                });
                self.counts.len() - 1
            });
        }
        let count = &mut self.counts[self.last];
        count.packets += packets;
        count.bytes += bytes;
    }

    /// Hands the counts to `take`, one after the other, until it refuses one. What it took is not counted again.
    pub fn fetch(&mut self, mut take: impl FnMut(Count) -> bool) {
        while let Some(&count) = self.counts.last() {
            if !take(count) {
                return;
            }
            self.counts.pop();
        }
    }

    /// Whether everything has been fetched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is fetched when, and whatever is refused: the sums are those of what was counted.
        #[test]
        fn md_33_nothing_is_lost_or_doubled(steps in prop::collection::vec((1_u64..4, 1_u8..4, 1_u64..48, any::<Option<u8>>()), 0..200)) {
            let (mut tally, mut counted, mut fetched) = (Tally::default(), BTreeMap::new(), BTreeMap::new());
            tally.switch_on();
            let mut take = |tally: &mut Tally, mut room: usize| tally.fetch(|count| {
                if room > 0 {
                    room -= 1;
                    let sum = fetched.entry((count.epoch, count.lane)).or_insert((0, 0));
                    *sum = (sum.0 + count.packets, sum.1 + count.bytes);
                    return true;
                }
                false
            });
            for (epoch, lane, packets, room) in steps {
                let (epoch, lane) = (Epoch(epoch), Lane::new(lane).unwrap());
                tally.add(epoch, lane, packets, packets * 1316);
                let sum = counted.entry((epoch, lane)).or_insert((0, 0));
                *sum = (sum.0 + packets, sum.1 + packets * 1316);
                if let Some(room) = room {
                    take(&mut tally, usize::from(room) % 5);
                }
            }
            take(&mut tally, usize::MAX);
            prop_assert!(tally.is_empty());
            prop_assert_eq!(counted, fetched);
        }
    }

    #[test]
    fn what_is_switched_off_gathers_nothing() {
        let mut tally = Tally::default();
        tally.add(Epoch(1), Lane::new(1).unwrap(), 1, 1);
        assert!(tally.is_empty());
    }
}
