//! How far the parent's clock is from ours, from timestamped pings: what corrects the remaining times that travel (SEC-12).

use std::time::Duration;

use crate::ids::Time;

/// Samples kept; the one with the shortest round trip counts.
const SAMPLES: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Sample {
    round_trip: Duration,
    /// Parent's clock minus ours, nanoseconds.
    offset: i128,
}

/// The offset to one parent.
#[derive(Debug, Default)]
pub(crate) struct ClockOffset {
    samples: Vec<Sample>,
    next: usize,
}

impl ClockOffset {
    /// A pong: `sent` and `now` on our clock, `parent` on the parent's clock when it answered.
    pub(crate) fn pong(&mut self, sent: Time, parent: Time, now: Time) {
        if now < sent {
            return;
        }
        let middle = (i128::from(sent.0) + i128::from(now.0)) / 2;
        let sample = Sample {
            round_trip: now.since(sent),
            offset: i128::from(parent.0) - middle,
        };
        // Each sample is right within half its round trip. One that the new one contradicts was taken before a clock stepped.
        self.samples.retain(|old| {
            let apart = (old.offset - sample.offset).unsigned_abs();
            apart <= (old.round_trip + sample.round_trip).as_nanos() / 2 + 1
        });
        if self.samples.len() < SAMPLES {
            self.samples.push(sample);
        } else {
            self.samples[self.next % SAMPLES] = sample;
            self.next += 1;
        }
    }

    /// How long ago the parent sent something, by its clock; zero while the offset is unknown.
    pub(crate) fn age(&self, sent: Time, now: Time) -> Duration {
        let Some(best) = self.samples.iter().min_by_key(|sample| sample.round_trip) else {
            return Duration::ZERO;
        };
        let age = i128::from(now.0) + best.offset - i128::from(sent.0);
        Duration::from_nanos(u64::try_from(age.max(0)).unwrap_or(u64::MAX))
    }

    /// Forgets everything: another parent, or its clock started anew.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_12_ages_are_right_across_clocks_that_do_not_agree() {
        let mut offset = ClockOffset::default();
        assert_eq!(offset.age(Time(5), Time(1000)), Duration::ZERO);
        // The parent's clock is 1,000,000 ahead; the second ping was slow on the way back.
        offset.pong(Time(0), Time(1_000_010), Time(20));
        offset.pong(Time(100), Time(1_000_110), Time(900));
        assert_eq!(
            offset.age(Time(1_001_000), Time(1_500)),
            Duration::from_nanos(500)
        );
        assert_eq!(
            offset.age(Time(9_000_000), Time(1_500)),
            Duration::ZERO,
            "never in the future"
        );
    }

    #[test]
    fn sec_12_a_clock_that_steps_is_noticed_with_the_next_ping() {
        let mut offset = ClockOffset::default();
        for sent in [0, 1_000, 2_000] {
            offset.pong(Time(sent), Time(sent + 1_000_010), Time(sent + 20));
        }
        // Ours jumps ahead by 500,000; this ping is slower than all before.
        offset.pong(Time(503_000), Time(1_003_030), Time(503_060));
        let age = offset.age(Time(1_003_030), Time(503_060));
        assert_eq!(age, Duration::from_nanos(30));
    }
}
