//! Puts packets back into the order of their numbers: by CTR inside one stripe group, or by RTP sequence across servers.
//!
//! A packet that is next in order goes straight through, without a copy. One that is ahead waits in a pooled buffer until
//! the gap is filled or has lasted `wait`; then the gap is counted as lost and delivery goes on.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::Time;

/// How far ahead of the expected number a packet may wait; a packet further ahead ends the gap at once.
const AHEAD_MAX: u64 = 1 << 15;

/// Where a packet came to lie that was not delivered at once or held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// Its number is below what has been delivered.
    Late,
    /// A packet with this number is held already.
    Held,
}

/// What the order has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GapCount {
    /// Runs of missing numbers.
    pub gaps: u64,
    /// Numbers missing in them.
    pub lost: u64,
}

#[derive(Debug)]
struct Waiting {
    arrived: Time,
    payload: Vec<u8>,
}

/// The reorder buffer of one numbered stream.
#[derive(Debug)]
pub(crate) struct Order {
    wait: Duration,
    expected: Option<u64>,
    /// Slot i waits for number `expected + i`; slot 0 is always empty.
    ahead: VecDeque<Option<Waiting>>,
    blocked_since: Option<Time>,
    pool: Vec<Vec<u8>>,
    count: GapCount,
}

impl Order {
    pub(crate) fn new(wait: Duration) -> Self {
        Self {
            wait,
            expected: None,
            ahead: VecDeque::new(),
            blocked_since: None,
            pool: Vec::new(),
            count: GapCount::default(),
        }
    }

    pub(crate) fn count(&self) -> GapCount {
        self.count
    }

    /// Whether it is known which number is next.
    pub(crate) fn has_begun(&self) -> bool {
        self.expected.is_some()
    }

    /// The stream begins at `number`: what comes first may be ahead of it.
    pub(crate) fn expect(&mut self, number: u64) {
        debug_assert!(self.expected.is_none() && self.ahead.is_empty());
        self.expected = Some(number);
    }

    /// Takes packet `number`; calls `deliver` for it and for all that waited for it, if it is next in order.
    pub(crate) fn push(
        &mut self,
        now: Time,
        number: u64,
        payload: &[u8],
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Refused> {
        let expected = *self.expected.get_or_insert(number);
        if number < expected {
            return Err(Refused::Late);
        }
        if number > expected && (self.wait.is_zero() || number - expected >= AHEAD_MAX) {
            self.give_up_until(number, deliver);
        }
        let distance = number - self.expected.unwrap_or(number);
        if distance == 0 {
            deliver(payload);
            self.advance(deliver);
            return Ok(());
        }
        self.hold(
            now,
            usize::try_from(distance).unwrap_or(usize::MAX),
            payload,
        )
    }

    fn hold(&mut self, now: Time, index: usize, payload: &[u8]) -> Result<(), Refused> {
        if self.ahead.len() <= index {
            self.ahead.resize_with(index + 1, || None);
        }
        let slot = &mut self.ahead[index];
        if slot.is_some() {
            return Err(Refused::Held);
        }
        let mut buffer = self.pool.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(payload);
        *slot = Some(Waiting {
            arrived: now,
            payload: buffer,
        });
        self.blocked_since.get_or_insert(now);
        Ok(())
    }

    /// The expected number has been dealt with: goes on with the next, and with all that are there already.
    fn advance(&mut self, deliver: &mut dyn FnMut(&[u8])) {
        loop {
            self.expected = self.expected.map(|expected| expected + 1);
            self.ahead.pop_front();
            let Some(waiting) = self.ahead.front_mut().and_then(Option::take) else {
                break;
            };
            deliver(&waiting.payload);
            self.pool.push(waiting.payload);
        }
        self.blocked_since = self
            .ahead
            .iter()
            .flatten()
            .map(|waiting| waiting.arrived)
            .next();
    }

    /// Delivers everything below `number` and counts what is missing, so that `number` is next.
    fn give_up_until(&mut self, number: u64, deliver: &mut dyn FnMut(&[u8])) {
        while let Some(expected) = self.expected.filter(|&expected| expected < number) {
            let first_held = self.ahead.iter().position(Option::is_some);
            let missing = first_held.map_or(number - expected, |index| {
                (number - expected).min(index as u64)
            });
            self.count.gaps += 1;
            self.count.lost += missing;
            self.expected = Some(expected + missing);
            let drop = usize::try_from(missing)
                .unwrap_or(usize::MAX)
                .min(self.ahead.len());
            self.ahead.drain(..drop);
            let Some(waiting) = self.ahead.front_mut().and_then(Option::take) else {
                continue;
            };
            deliver(&waiting.payload);
            self.pool.push(waiting.payload);
            self.advance(deliver);
        }
    }

    /// Ends every gap that has lasted long enough.
    pub(crate) fn poll(&mut self, now: Time, deliver: &mut dyn FnMut(&[u8])) {
        while self.next_timeout().is_some_and(|due| due <= now) {
            let index = self
                .ahead
                .iter()
                .position(Option::is_some)
                .expect("blocked means that something waits");
            let number = self.expected.expect("something waits") + index as u64;
            self.give_up_until(number, deliver);
            self.release_head(deliver);
        }
    }

    fn release_head(&mut self, deliver: &mut dyn FnMut(&[u8])) {
        if let Some(waiting) = self.ahead.front_mut().and_then(Option::take) {
            deliver(&waiting.payload);
            self.pool.push(waiting.payload);
            self.advance(deliver);
        }
    }

    /// When the present gap has lasted long enough.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.blocked_since.map(|since| since.after(self.wait))
    }

    /// Delivers all that waits, in order, and starts anew with whatever comes next.
    pub(crate) fn flush(&mut self, deliver: &mut dyn FnMut(&[u8])) {
        while let Some(index) = self.ahead.iter().position(Option::is_some) {
            let number = self.expected.expect("something waits") + index as u64;
            self.give_up_until(number, deliver);
            self.release_head(deliver);
        }
        self.expected = None;
        self.blocked_since = None;
        self.ahead.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WAIT: Duration = Duration::from_nanos(100);

    fn run(steps: &[(u64, u64)]) -> (Vec<u8>, Order) {
        let mut order = Order::new(WAIT);
        let mut out = Vec::new();
        for &(now, number) in steps {
            order.poll(Time(now), &mut |payload| out.extend_from_slice(payload));
            let byte = [u8::try_from(number).unwrap()];
            let _ = order.push(Time(now), number, &byte, &mut |payload| {
                out.extend_from_slice(payload)
            });
        }
        (out, order)
    }

    #[test]
    fn out_of_order_comes_out_in_order() {
        let (out, order) = run(&[(0, 1), (1, 3), (2, 4), (3, 2), (4, 5)]);
        assert_eq!(out, [1, 2, 3, 4, 5]);
        assert_eq!(order.count(), GapCount::default());
        assert_eq!(order.next_timeout(), None);
    }

    #[test]
    fn a_gap_ends_after_the_wait_and_is_counted() {
        let (out, order) = run(&[(0, 1), (1, 3), (50, 6), (102, 7), (200, 8)]);
        assert_eq!(out, [1, 3, 6, 7, 8]);
        assert_eq!(order.count(), GapCount { gaps: 2, lost: 3 });
    }

    #[test]
    fn without_a_wait_nothing_is_held() {
        let mut order = Order::new(Duration::ZERO);
        let mut out = Vec::new();
        for number in [1_u8, 4, 2, 5] {
            let _ = order.push(Time(0), u64::from(number), &[number], &mut |payload| {
                out.extend_from_slice(payload)
            });
        }
        assert_eq!(out, [1, 4, 5]);
        assert_eq!(order.count(), GapCount { gaps: 1, lost: 2 });
    }

    #[test]
    fn a_far_jump_ends_the_gap_at_once() {
        let mut order = Order::new(WAIT);
        let mut out = Vec::new();
        let mut deliver = |payload: &[u8]| out.push(payload.len());
        order.push(Time(0), 0, &[0; 1], &mut deliver).unwrap();
        order.push(Time(0), 2, &[0; 2], &mut deliver).unwrap();
        order
            .push(Time(0), AHEAD_MAX + 10, &[0; 3], &mut deliver)
            .unwrap();
        assert_eq!(out, [1, 2, 3]);
        assert_eq!(order.count().lost, AHEAD_MAX + 10 - 2);
    }

    proptest! {
        #[test]
        fn every_number_is_delivered_once_in_order_or_counted(
            steps in prop::collection::vec((0_u64..60, 0_u64..200), 1..300), wait in 0_u64..200,
        ) {
            let mut order = Order::new(Duration::from_nanos(wait));
            let mut out: Vec<u64> = Vec::new();
            let (mut now, mut first) = (0, None);
            let mut deliver = |payload: &[u8]| out.push(u64::from_be_bytes(payload.try_into().unwrap()));
            for (pause, number) in steps {
                now += pause;
                order.poll(Time(now), &mut deliver);
                if order.push(Time(now), number, &number.to_be_bytes(), &mut deliver).is_ok() {
                    first.get_or_insert(number);
                }
            }
            order.flush(&mut deliver);
            prop_assert!(out.is_sorted_by(|before, after| before < after));
            let span = out.last().unwrap() - first.unwrap() + 1;
            prop_assert_eq!(span, out.len() as u64 + order.count().lost);
        }
    }
}
