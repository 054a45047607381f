//! How often somebody may ask: so many requests in a minute, at once or spread.

use std::collections::BTreeMap;
use std::time::Duration;

use sealcast_proto::ids::Time;

const MINUTE: Duration = Duration::from_secs(60);
/// Names that are remembered before those with nothing owing are forgotten.
const NAMES: usize = 1024;

/// Counts requests by name. A name that is counted has proved itself, so there are as many as packagers.
#[derive(Debug)]
pub(super) struct Limiter {
    /// What one request takes of the minute.
    share: Duration,
    /// Until when what was admitted has used up its time (GCRA).
    busy: BTreeMap<String, Time>,
}

impl Limiter {
    /// So many requests in a minute; at least one.
    pub(super) fn new(requests: u32) -> Self {
        Self {
            share: MINUTE / requests.max(1),
            busy: BTreeMap::new(),
        }
    }

    /// Counts a request, or says how long to wait.
    pub(super) fn admit(&mut self, name: &str, now: Time) -> Result<(), Duration> {
        let busy = self.busy.get(name).copied().unwrap_or(now).max(now);
        let then = busy.after(self.share);
        let owing = then.since(now);
        if owing > MINUTE {
            return Err(owing - MINUTE);
        }
        if self.busy.len() >= NAMES {
            self.busy.retain(|_, busy| *busy > now);
        }
        self.busy.insert(name.to_owned(), then);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_one_by_one() {
        let mut limiter = Limiter::new(6);
        let start = Time(1_000_000_000_000);
        for _ in 0..6 {
            limiter.admit("a", start).unwrap();
        }
        assert_eq!(limiter.admit("a", start), Err(Duration::from_secs(10)));
        limiter.admit("b", start).unwrap();
        let later = start.after(Duration::from_secs(10));
        limiter.admit("a", later).unwrap();
        assert!(limiter.admit("a", later).is_err(), "no credit beyond that");
        let rested = start.after(Duration::from_secs(3600));
        for _ in 0..6 {
            limiter.admit("a", rested).unwrap();
        }
        assert!(limiter.admit("a", rested).is_err(), "rest is not saved up");
    }

    #[test]
    fn names_that_owe_nothing_are_forgotten() {
        let mut limiter = Limiter::new(60);
        for number in 0..5000_u64 {
            let now = Time(1_000_000_000_000).after(Duration::from_secs(2 * number));
            limiter.admit(&number.to_string(), now).unwrap();
            assert!(limiter.busy.len() <= NAMES);
        }
    }
}
