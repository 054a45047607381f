//! Sending at a set rate: a token bucket on an absolute schedule (the generic cell rate algorithm, ITU-T I.371 annex A). What a
//! late turn missed is made up for, so the rate is kept exactly as long as there is something to send; no more than a burst
//! ever leaves at once.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sealcast_proto::ids::Time;

use crate::endpoint::{EndpointError, bits_per_second};

/// Datagrams that may leave at once if nothing else is set: what hardware and decoders that expect a constant rate put up with.
pub const BURST_DEFAULT: u16 = 7;
/// Bytes that a burst counts for each of its datagrams: 7 TS packets.
const DATAGRAM: u64 = 1316;
/// The least rate, bits per second.
const RATE_MIN: u64 = 1_000;

/// Bits of payload per second, 1000 or more; written as 8M.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rate(u64);

impl Rate {
    /// Bits per second.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// How long so many bytes take.
    fn time_of(self, bytes: u64) -> Duration {
        let nanoseconds = u128::from(bytes) * 8 * 1_000_000_000 / u128::from(self.0);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

impl FromStr for Rate {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        bits_per_second(text, RATE_MIN).map(Self)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A rate and what may leave at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pacing {
    /// Of payloads.
    pub rate: Rate,
    /// Datagrams of 1316 bytes, 1 or more.
    pub burst: u16,
}

impl Pacing {
    /// How long a burst takes at the rate.
    #[must_use]
    pub fn burst_time(&self) -> Duration {
        self.rate.time_of(DATAGRAM * u64::from(self.burst))
    }
}

/// Decides when payloads may leave.
#[derive(Debug)]
pub struct Pacer {
    pacing: Pacing,
    /// When what has left would be through, had it left at the rate.
    through: Time,
    /// And so many parts of a nanosecond later, of which the rate has as many as bits.
    rest: u128,
}

impl Pacer {
    /// With a whole burst to spare at the beginning.
    #[must_use]
    pub fn new(pacing: Pacing) -> Self {
        assert!(pacing.burst > 0, "a burst has at least one datagram");
        Self {
            pacing,
            through: Time(0),
            rest: 0,
        }
    }

    /// Whether a payload of so many bytes may leave `now`; if not, from when on. Once it may it counts as gone.
    ///
    /// A payload that is longer than a burst may leave when all before it is through.
    ///
    /// # Errors
    /// The time from which on it may.
    pub fn admit(&mut self, now: Time, bytes: usize) -> Result<(), Time> {
        let cost = self.pacing.rate.time_of(bytes as u64);
        let ahead = self.pacing.burst_time().saturating_sub(cost);
        let from = Time(self.through.0.saturating_sub(nanoseconds(ahead)));
        if now < from {
            return Err(from);
        }
        if self.through < now {
            (self.through, self.rest) = (now, 0);
        }
        let rate = u128::from(self.pacing.rate.0);
        let parts = bytes as u128 * 8 * 1_000_000_000 + self.rest;
        self.rest = parts % rate;
        let passed = u64::try_from(parts / rate).unwrap_or(u64::MAX);
        self.through = Time(self.through.0.saturating_add(passed));
        Ok(())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pacer(rate: &str, burst: u16) -> Pacer {
        let rate = rate.parse().unwrap();
        Pacer::new(Pacing { rate, burst })
    }

    /// Sends payloads of these lengths as soon as each may leave, looking `late` nanoseconds late each time.
    fn times(pacer: &mut Pacer, lengths: &[usize], late: impl Fn(usize) -> u64) -> Vec<u64> {
        let mut now = Time(1_000_000_000);
        let mut times = Vec::new();
        for (index, &bytes) in lengths.iter().enumerate() {
            while let Err(from) = pacer.admit(now, bytes) {
                assert!(from > now, "it waits for what is to come");
                now = Time(from.0 + late(index));
            }
            times.push(now.0);
        }
        times
    }

    #[test]
    fn after_a_burst_the_rate_is_kept_to_the_nanosecond() {
        // 1316 bytes take 1,052,800 ns at 10 Mbit/s.
        let times = times(&mut pacer("10M", 7), &[1316; 1000], |_| 0);
        assert!(times[..7].iter().all(|&at| at == times[0]));
        for (index, at) in times.iter().enumerate().skip(7) {
            assert_eq!(
                at - times[0],
                (index as u64 - 6) * 1_052_800,
                "payload {index}"
            );
        }
    }

    #[test]
    fn what_a_late_turn_missed_is_made_up_for() {
        let late = |index| if index == 500 { 5_000_000 } else { 0 };
        let times = times(&mut pacer("10M", 7), &[1316; 1000], late);
        assert_eq!(times[999] - times[0], (999 - 6) * 1_052_800);
    }

    #[test]
    fn a_payload_longer_than_a_burst_leaves_all_the_same() {
        let times = times(&mut pacer("10M", 1), &[9000; 3], |_| 0);
        assert_eq!([times[1] - times[0], times[2] - times[1]], [7_200_000; 2]);
    }

    #[test]
    fn rates_are_written_with_units() {
        assert_eq!("8M".parse::<Rate>().unwrap().bits(), 8_000_000);
        for wrong in ["", "fast", "0", "999", "-8M"] {
            let error = wrong.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains("bits per second"), "{error}");
        }
    }

    proptest! {
        /// Between any two departures no more leaves than a burst and what the rate allows in the meantime.
        #[test]
        fn no_window_has_more_than_a_burst_and_the_rate(
            lengths in prop::collection::vec(1_usize..2000, 2..100),
            delays in prop::collection::vec(0_u64..3_000_000, 100),
            rate in 10_000_u64..10_000_000_000,
            burst in 2_u16..20,
        ) {
            let rate = Rate(rate);
            let mut pacer = Pacer::new(Pacing { rate, burst });
            let times = times(&mut pacer, &lengths, |index| delays[index]);
            for first in 0..lengths.len() {
                for last in first..lengths.len() {
                    let bytes: usize = lengths[first..=last].iter().sum();
                    let passed = u128::from(times[last] - times[first]) + 2;
                    let allowed = passed * u128::from(rate.0) / 8_000_000_000
                        + u128::from(burst) * u128::from(DATAGRAM);
                    prop_assert!(bytes as u128 <= allowed + 1, "{bytes} of {allowed} bytes in {passed} ns");
                }
            }
        }
    }
}
