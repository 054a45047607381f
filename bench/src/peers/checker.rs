//! What arrived, and when, against what was sent. Everything is counted in a *window* of numbers: packets sent before it
//! opened or after it closed do not count, whenever they arrive.

use std::ops::Range;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::payload::{Framing, check};

/// Longest delay that is told apart, in nanoseconds; what takes longer counts as this.
const DELAY_MAX: u64 = 60_000_000_000;
/// Digits of delays that are kept.
const DELAY_DIGITS: u8 = 3;

/// What arrived.
pub(super) struct Checker {
    framing: Framing,
    /// Times are nanoseconds since the stream began.
    first: Option<u64>,
    window: Option<Window>,
    genuine: u64,
    corrupt: u64,
}

/// What arrived of a range of numbers.
struct Window {
    numbers: Range<u64>,
    /// A bit for each number of the window so far.
    seen: Vec<u64>,
    highest: Option<u64>,
    distinct: u64,
    duplicated: u64,
    reordered: u64,
    delay: Histogram<u64>,
}

/// What became of the packets of a window.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Arrivals {
    pub(super) sent: u64,
    /// Each counted once.
    pub(super) delivered: u64,
    pub(super) lost: u64,
    /// Arrived more than once: how many too many.
    pub(super) duplicated: u64,
    /// Arrived after one with a higher number.
    pub(super) reordered: u64,
    pub(super) delay_median: Duration,
    pub(super) delay_p99: Duration,
}

impl Checker {
    pub(super) const fn new(framing: Framing) -> Self {
        Self {
            framing,
            first: None,
            window: None,
            genuine: 0,
            corrupt: 0,
        }
    }

    /// A datagram, `now`.
    pub(super) fn arrived(&mut self, datagram: &[u8], now: u64) {
        let Some(genuine) = check(self.framing, datagram) else {
            self.corrupt += 1;
            return;
        };
        self.genuine += 1;
        self.first.get_or_insert(now);
        if let Some(window) = &mut self.window {
            window.arrived(genuine.number, now.saturating_sub(genuine.sent));
        }
    }

    /// From here on, the next genuine packet is the first.
    pub(super) const fn forget_first(&mut self) {
        self.first = None;
    }

    /// When the first genuine packet arrived.
    pub(super) const fn first(&self) -> Option<u64> {
        self.first
    }

    /// Genuine packets, of the window or not.
    pub(super) const fn genuine(&self) -> u64 {
        self.genuine
    }

    /// Datagrams that were not what was sent, since the stream began.
    pub(super) const fn corrupt(&self) -> u64 {
        self.corrupt
    }

    /// Opens a window: what is sent from number `next` on counts.
    pub(super) fn open(&mut self, next: u64) -> Result<(), hdrhistogram::CreationError> {
        self.window = Some(Window {
            numbers: next..u64::MAX,
            seen: Vec::new(),
            highest: None,
            distinct: 0,
            duplicated: 0,
            reordered: 0,
            delay: Histogram::new_with_bounds(1, DELAY_MAX, DELAY_DIGITS)?,
        });
        Ok(())
    }

    /// What is sent from number `next` on does not count. What was sent before may still arrive.
    pub(super) fn close(&mut self, next: u64) {
        if let Some(window) = &mut self.window {
            window.numbers.end = next;
        }
    }

    /// The closed window; what has not arrived yet is lost. None if there is none.
    pub(super) fn take(&mut self) -> Option<Arrivals> {
        self.window.take().map(|window| window.arrivals())
    }
}

impl Window {
    fn arrived(&mut self, number: u64, delay: u64) {
        if !self.numbers.contains(&number) {
            return;
        }
        let index = number - self.numbers.start;
        // Numbers come with a checksum that was right, so they are ours, and the range is what was sent in some seconds.
        let (Ok(word), bit) = (usize::try_from(index / 64), 1 << (index % 64)) else {
            return;
        };
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.duplicated += 1;
            return;
        }
        self.seen[word] |= bit;
        self.distinct += 1;
        match self.highest {
            Some(highest) if number < highest => self.reordered += 1,
            _ => self.highest = Some(number),
        }
        self.delay.saturating_record(delay);
    }

    fn arrivals(&self) -> Arrivals {
        let sent = self.numbers.end - self.numbers.start;
        let quantile = |share| Duration::from_nanos(self.delay.value_at_quantile(share));
        Arrivals {
            sent,
            delivered: self.distinct,
            lost: sent.saturating_sub(self.distinct),
            duplicated: self.duplicated,
            reordered: self.reordered,
            delay_median: quantile(0.5),
            delay_p99: quantile(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::Maker;
    use super::*;

    /// Lets packets arrive, each with its number, sent and arrival times in nanoseconds.
    fn arrive(checker: &mut Checker, packets: &[(u64, u64, u64)]) {
        let mut maker = Maker::new(Framing::Bare);
        for &(number, sent, now) in packets {
            checker.arrived(maker.make(number, sent), now);
        }
    }

    fn window(from: u64, to: u64, numbers: &[u64]) -> Arrivals {
        let mut checker = Checker::new(Framing::Bare);
        checker.open(from).unwrap();
        let packets: Vec<_> = numbers.iter().map(|&number| (number, 0, 100)).collect();
        arrive(&mut checker, &packets);
        checker.close(to);
        checker.take().unwrap()
    }

    #[test]
    fn all_in_order_is_nothing_lost() {
        let numbers: Vec<_> = (990..1200).collect();
        let arrivals = window(1000, 1200, &numbers);
        assert_eq!((arrivals.sent, arrivals.delivered), (200, 200));
        assert_eq!(
            (arrivals.lost, arrivals.duplicated, arrivals.reordered),
            (0, 0, 0)
        );
    }

    #[test]
    fn lost_duplicated_and_reordered_are_told_apart() {
        let arrivals = window(10, 20, &[10, 11, 13, 12, 12, 15, 18, 17, 17, 17]);
        assert_eq!(arrivals.delivered, 7);
        assert_eq!(arrivals.lost, 3, "14, 16 and 19");
        assert_eq!(arrivals.duplicated, 3);
        assert_eq!(arrivals.reordered, 2, "12 and 17");
    }

    #[test]
    fn what_is_late_counts_until_the_window_is_taken_and_what_is_new_does_not() {
        let mut checker = Checker::new(Framing::Bare);
        checker.open(0).unwrap();
        arrive(&mut checker, &[(0, 0, 1)]);
        checker.close(3);
        arrive(&mut checker, &[(1, 0, 2), (3, 0, 3)]);
        let arrivals = checker.take().unwrap();
        assert_eq!((arrivals.delivered, arrivals.lost), (2, 1));
        assert_eq!(checker.genuine(), 3);
        assert!(checker.take().is_none());
    }

    #[test]
    fn a_corrupt_packet_is_counted_and_is_not_delivered() {
        let mut checker = Checker::new(Framing::Bare);
        checker.open(0).unwrap();
        let mut bad = Maker::new(Framing::Bare).make(0, 0).to_vec();
        bad[700] ^= 4;
        checker.arrived(&bad, 5);
        checker.arrived(b"", 6);
        checker.close(1);
        assert_eq!(checker.corrupt(), 2);
        assert_eq!(checker.first(), None);
        let arrivals = checker.take().unwrap();
        assert_eq!((arrivals.delivered, arrivals.lost), (0, 1));
    }

    #[test]
    fn delays_are_from_sent_to_arrived() {
        let mut checker = Checker::new(Framing::Bare);
        checker.open(0).unwrap();
        let packets: Vec<_> = (0..100)
            .map(|number| {
                let delay = if number < 98 { 2_000_000 } else { 50_000_000 };
                (number, number * 1000, number * 1000 + delay)
            })
            .collect();
        arrive(&mut checker, &packets);
        checker.close(100);
        let arrivals = checker.take().unwrap();
        let ms = |delay: Duration| delay.as_secs_f64() * 1e3;
        assert!((1.99..2.01).contains(&ms(arrivals.delay_median)));
        assert!((49.9..50.1).contains(&ms(arrivals.delay_p99)));
    }

    #[test]
    fn the_first_packet_after_a_join_is_timed() {
        let mut checker = Checker::new(Framing::Bare);
        arrive(&mut checker, &[(0, 0, 70), (1, 0, 80)]);
        assert_eq!(checker.first(), Some(70));
        checker.forget_first();
        assert_eq!(checker.first(), None);
        arrive(&mut checker, &[(2, 0, 90)]);
        assert_eq!(checker.first(), Some(90));
    }
}
