//! One flow at one sink: which numbers came, which are missing, which came twice or late.

use sealcast_proto::discard::Discard;
use sealcast_proto::ids::Ctr;
use sealcast_proto::replay::Replay;

/// How a datagram stands to those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// The next one, or one after a gap.
    InOrder,
    /// It fills a gap: one with a higher number came before it (RFC 4737 3.3).
    Reordered,
    /// It was here before.
    Duplicate,
    /// So far behind that it cannot be known whether it was here before.
    TooLate,
}

/// What came of a flow.
#[derive(Debug)]
pub struct FlowOrder {
    seen: Replay,
    /// The lowest number that is expected.
    first: u64,
    /// One past the highest number that came.
    next: u64,
    /// Different numbers that came.
    unique: u64,
    /// How many were sent, if it is known.
    sent: Option<u64>,
}

impl FlowOrder {
    /// A flow of which `first` is the first number expected: 0 if the sink was there before the flow began.
    #[must_use]
    pub fn new(first: u64) -> Self {
        Self {
            seen: Replay::default(),
            first,
            next: first,
            unique: 0,
            sent: None,
        }
    }

    /// Takes in a datagram.
    pub fn take(&mut self, sequence: u64) -> Arrival {
        match self.seen.check(Ctr(sequence), 0) {
            Ok(()) => self.seen.accept(Ctr(sequence), 0),
            Err(Discard::Late) => return Arrival::TooLate,
            Err(_) => return Arrival::Duplicate,
        }
        self.unique += 1;
        self.first = self.first.min(sequence);
        if sequence < self.next {
            return Arrival::Reordered;
        }
        self.next = sequence.saturating_add(1);
        Arrival::InOrder
    }

    /// The flow has ended after so many.
    pub fn ended(&mut self, sent: u64) {
        self.sent = Some(self.sent.map_or(sent, |known| known.max(sent)));
    }

    /// Whether its end is known.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.sent.is_some()
    }

    /// How many are missing between the first and the last that is known of.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let end = self.sent.unwrap_or(0).max(self.next);
        (end - self.first.min(end)).saturating_sub(self.unique)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(first: u64, sequences: &[u64]) -> (FlowOrder, Vec<Arrival>) {
        let mut flow = FlowOrder::new(first);
        let arrivals = sequences
            .iter()
            .map(|&sequence| flow.take(sequence))
            .collect();
        (flow, arrivals)
    }

    #[test]
    fn gaps_count_until_they_are_filled() {
        use Arrival::{Duplicate, InOrder, Reordered};
        let (mut flow, arrivals) = of(0, &[0, 3, 1, 1, 3]);
        assert_eq!(
            arrivals,
            [InOrder, InOrder, Reordered, Duplicate, Duplicate]
        );
        assert_eq!(flow.lost(), 1);
        flow.take(2);
        assert_eq!(flow.lost(), 0);
    }

    #[test]
    fn what_is_missing_at_the_ends_is_lost_if_it_is_known() {
        assert_eq!(of(0, &[5]).0.lost(), 5, "the sink was there from the start");
        assert_eq!(of(5, &[5]).0.lost(), 0, "it came later");
        assert_eq!(of(5, &[5, 3]).0.lost(), 1, "number 4, between the two");
        let (mut flow, _) = of(0, &[0, 1]);
        assert!(!flow.has_ended());
        flow.ended(10);
        assert_eq!((flow.has_ended(), flow.lost()), (true, 8));
        let mut none = FlowOrder::new(0);
        none.ended(7);
        assert_eq!(none.lost(), 7);
    }

    #[test]
    fn what_is_too_far_behind_is_not_judged() {
        let (flow, arrivals) = of(0, &[100_000, 1]);
        assert_eq!(arrivals[1], Arrival::TooLate);
        assert_eq!(flow.lost(), 100_000);
    }

    proptest! {
        #[test]
        fn lost_is_what_did_not_come(mut came in prop::collection::vec(0_u64..500, 1..300)) {
            let (flow, arrivals) = of(0, &came);
            let highest = came.iter().copied().max().unwrap();
            let all = came.len();
            came.sort_unstable();
            came.dedup();
            prop_assert_eq!(flow.lost(), highest + 1 - came.len() as u64);
            let twice = arrivals.iter().filter(|&&arrival| arrival == Arrival::Duplicate).count();
            prop_assert_eq!(twice, all - came.len());
        }
    }
}
