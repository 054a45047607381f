//! Slows down whoever guesses: after some failures with a name it must wait, longer with each. In memory and of a fixed size; names that
//! nobody has are counted like all others, so nothing is learned from it.

use std::time::Duration;

use sealcast_objects::code::sha256;
use sealcast_objects::time::Timestamp;

/// Failures that cost nothing.
const FREE: u32 = 5;
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Failures are forgotten after this.
const FORGET: Duration = Duration::from_secs(3600);
/// Names that are remembered.
const SLOTS: usize = 16_384;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot {
    name: u64,
    failures: u32,
    last: Timestamp,
}

/// Who failed lately.
#[derive(Debug)]
pub(super) struct Throttle {
    slots: Vec<Slot>,
    /// Nobody can choose names that share a slot.
    key: [u8; 32],
}

impl Throttle {
    pub(super) fn new(key: [u8; 32]) -> Self {
        let empty = Slot {
            name: 0,
            failures: 0,
            last: Timestamp(0),
        };
        Self {
            slots: vec![empty; SLOTS],
            key,
        }
    }

    fn slot(&mut self, name: &str) -> (&mut Slot, u64) {
        let hash = sha256(&[&self.key[..], name.as_bytes()].concat());
        let [a, b, c, d, e, f, g, h, ..] = hash;
        let name = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let index = usize::try_from(name % SLOTS as u64).expect("below 16,384");
        (&mut self.slots[index], name)
    }

    /// How long to wait before the next attempt with this name.
    pub(super) fn wait(&mut self, now: Timestamp, name: &str) -> Option<Duration> {
        let (slot, name) = self.slot(name);
        let over = slot.failures.checked_sub(FREE)?;
        let since = now.since(slot.last);
        if slot.name != name || since >= FORGET {
            return None;
        }
        let wait = LONGEST.min(Duration::from_secs(1 << over.min(16)));
        wait.checked_sub(since).filter(|wait| !wait.is_zero())
    }

    /// An attempt that failed. Of two names that share a slot the later one is remembered.
    pub(super) fn failed(&mut self, now: Timestamp, name: &str) {
        let (slot, name) = self.slot(name);
        let goes_on = slot.name == name && now.since(slot.last) < FORGET;
        *slot = Slot {
            name,
            failures: if goes_on {
                slot.failures.saturating_add(1)
            } else {
                1
            },
            last: now,
        };
    }

    /// One that did not.
    pub(super) fn succeeded(&mut self, name: &str) {
        let (slot, name) = self.slot(name);
        if slot.name == name {
            slot.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_03_whoever_guesses_waits_longer_each_time() {
        let mut throttle = Throttle::new([1; 32]);
        let mut now = Timestamp(1_790_000_000_000);
        for _ in 0..FREE {
            assert_eq!(throttle.wait(now, "ada"), None);
            throttle.failed(now, "ada");
        }
        let mut attempts = 0;
        let end = now.after(Duration::from_secs(24 * 3600));
        while now < end {
            match throttle.wait(now, "ada") {
                Some(wait) => now = now.after(wait),
                None => {
                    attempts += 1;
                    throttle.failed(now, "ada");
                }
            }
        }
        assert!((90..130).contains(&attempts), "{attempts} guesses in a day");
        assert_eq!(throttle.wait(now, "bob"), None);
        throttle.succeeded("ada");
        assert_eq!(throttle.wait(now, "ada"), None);
        for _ in 0..=FREE {
            throttle.failed(now, "ada");
        }
        assert_eq!(throttle.wait(now, "ada"), Some(Duration::from_secs(2)));
        assert_eq!(throttle.wait(now.after(FORGET), "ada"), None);
    }
}
