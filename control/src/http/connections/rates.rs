//! How often somebody may ask: a bucket for each, that fills at a steady rate and may be emptied at once (the generic cell rate algorithm).
//! In memory and of a fixed size, whoever comes and however many they are.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets of a kind. Those who fall into the same share it: nobody can choose with whom.
const BUCKETS: usize = 1 << 16;

/// How often somebody may ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Requests per second in the long run; 0: as many as he likes.
    pub per_second: u32,
    /// Requests at once, after a rest.
    pub burst: u32,
}

impl Rate {
    /// The time that a request takes of a bucket.
    fn each(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }

    /// The time in which an empty bucket is full again.
    pub(super) fn window(self) -> Duration {
        self.each() * self.burst
    }
}

/// As `10/100`: 10 per second, 100 at once; `0`: no limit.
impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!("{text:?} is no rate: write PER_SECOND/AT_ONCE, as 10/100, or 0 for no limit")
        };
        let (per_second, burst) = match text.split_once('/') {
            None if text == "0" => ("0", "1"),
            None => return Err(bad()),
            Some(parts) => parts,
        };
        let rate = Self {
            per_second: per_second.parse().map_err(|_| bad())?,
            burst: burst.parse().map_err(|_| bad())?,
        };
        if rate.burst == 0 || rate.per_second > 1_000_000 || rate.burst > 1_000_000 {
            return Err(format!(
                "{text:?}: at most 1000000 per second, and 1 to 1000000 at once"
            ));
        }
        Ok(rate)
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.per_second {
            0 => f.write_str("0"),
            per_second => write!(f, "{per_second}/{}", self.burst),
        }
    }
}

/// What is left of a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Left {
    /// Requests that may be made at once.
    pub(super) requests: u32,
    /// Until the bucket is full again.
    pub(super) full_in: Duration,
}

/// Buckets of one kind of callers.
#[derive(Debug)]
pub(super) struct Buckets {
    rate: Rate,
    hasher: RandomState,
    /// When each is full again, in nanoseconds of the caller's clock.
    full_at: Box<[AtomicU64]>,
}

impl Buckets {
    pub(super) fn new(rate: Rate) -> Self {
        let buckets = if rate.per_second == 0 { 0 } else { BUCKETS };
        Self {
            rate,
            hasher: RandomState::new(),
            full_at: (0..buckets).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// A request of `who`, `now` after the clock's start: what is left, or how long to wait. Nothing where there is no limit.
    pub(super) fn take(&self, now: Duration, who: impl Hash) -> Option<Result<Left, Duration>> {
        let bucket = self.bucket(who)?;
        let (now, each, most) = (
            nanos(now),
            nanos(self.rate.each()),
            nanos(self.rate.window()),
        );
        let mut left = Err(0);
        let _ = bucket.fetch_update(Relaxed, Relaxed, |full_at| {
            let full_in = full_at.saturating_sub(now) + each;
            if full_in > most {
                left = Err(full_in - most);
                return None;
            }
            left = Ok(full_in);
            Some(now + full_in)
        });
        Some(match left {
            Err(wait) => Err(Duration::from_nanos(wait)),
            Ok(full_in) => Ok(Left {
                requests: u32::try_from((most - full_in) / each).unwrap_or(u32::MAX),
                full_in: Duration::from_nanos(full_in),
            }),
        })
    }

    /// How long `who` has to wait, without a request.
    pub(super) fn wait(&self, now: Duration, who: impl Hash) -> Option<Duration> {
        let full_in = self.bucket(who)?.load(Relaxed).saturating_sub(nanos(now));
        let over = (full_in + nanos(self.rate.each())).checked_sub(nanos(self.rate.window()))?;
        (over > 0).then(|| Duration::from_nanos(over))
    }

    fn bucket(&self, who: impl Hash) -> Option<&AtomicU64> {
        let hash = self.hasher.hash_one(who) % BUCKETS as u64;
        self.full_at.get(usize::try_from(hash).ok()?)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 100,
    };

    #[test]
    fn whoever_asks_too_often_waits_and_others_do_not() {
        let buckets = Buckets::new(RATE);
        let start = Duration::from_secs(7);
        for left in (0..RATE.burst).rev() {
            let taken = buckets.take(start, "ada").unwrap().unwrap();
            assert_eq!(taken.requests, left);
        }
        let wait = buckets.take(start, "ada").unwrap().unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(
            buckets.wait(start, "ada"),
            Some(wait),
            "refusals cost nothing"
        );
        assert_eq!(buckets.wait(start, "bob"), None);
        assert_eq!(buckets.take(start, "bob").unwrap().unwrap().requests, 99);
        let later = start + wait;
        assert_eq!(buckets.wait(later, "ada"), None);
        assert_eq!(buckets.take(later, "ada").unwrap().unwrap().requests, 0);
        let rested = later + RATE.window();
        assert_eq!(buckets.take(rested, "ada").unwrap().unwrap().requests, 99);
    }

    #[test]
    fn in_the_long_run_it_is_the_rate() {
        let buckets = Buckets::new(RATE);
        let asked = (0..100_000).map(Duration::from_millis);
        let taken = asked.filter(|now| buckets.take(*now, 1).unwrap().is_ok());
        let taken = taken.count();
        assert!((1_090..=1_100).contains(&taken), "{taken} in 100 s");
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let buckets = Buckets::new("0".parse().unwrap());
        assert_eq!(buckets.take(Duration::ZERO, "ada"), None);
        assert_eq!(buckets.wait(Duration::ZERO, "ada"), None);
    }

    #[test]
    fn rates_are_read_as_they_are_written() {
        for text in ["0", "10/100", "1000000/1"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "10", "10/0", "-1/3", "1/2/3", "10000000/1", "a/b"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
