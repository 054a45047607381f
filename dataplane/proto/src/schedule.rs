//! Previous, current and next key of one channel: the same three slots at the sender and at the receiver.
//!
//! The two sides differ in what moves a key on. A sender switches at its countdown ([`Schedule::promote`] when the
//! boundary is due and the change is announced, MD-15). A receiver promotes on the first packet accepted under next or at
//! the countdown, whichever is first (MD-35), and keeps the previous key for a grace time (MD-36).

use std::time::Duration;

use crate::ids::{Epoch, Time};

/// One key, its epoch, and the instant at which its remaining time is 0.
#[derive(Clone, Debug)]
pub struct Slot<K> {
    /// Which epoch.
    pub epoch: Epoch,
    /// The key.
    pub key: K,
    /// When its remaining time is 0 on this host's clock (MD-10).
    pub end: Time,
}

/// Three slots in rising order of epochs.
#[derive(Debug)]
pub struct Schedule<K> {
    previous: Option<(Slot<K>, Time)>,
    current: Option<Slot<K>>,
    next: Option<Slot<K>>,
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self {
            previous: None,
            current: None,
            next: None,
        }
    }
}

impl<K> Schedule<K> {
    /// The key in use.
    #[must_use]
    pub fn current(&self) -> Option<&Slot<K>> {
        self.current.as_ref()
    }

    /// The key in use.
    pub fn current_mut(&mut self) -> Option<&mut Slot<K>> {
        self.current.as_mut()
    }

    /// The key after it.
    #[must_use]
    pub fn next(&self) -> Option<&Slot<K>> {
        self.next.as_ref()
    }

    /// The key after it.
    pub fn next_mut(&mut self) -> Option<&mut Slot<K>> {
        self.next.as_mut()
    }

    /// The change to next is due at `boundary`: if it was put off, so is the end of next, which lasts `lifetime`.
    pub(crate) fn put_off_next(&mut self, epoch: Epoch, boundary: Time, lifetime: Duration) {
        if let Some(next) = self.next.as_mut().filter(|next| next.epoch == epoch) {
            next.end = next.end.max(boundary.after(lifetime));
        }
    }

    /// The key before it, within its grace.
    #[must_use]
    pub fn previous(&self) -> Option<&Slot<K>> {
        self.previous.as_ref().map(|(slot, _)| slot)
    }

    /// All keys held, oldest first.
    pub fn slots(&self) -> impl Iterator<Item = &Slot<K>> {
        self.previous()
            .into_iter()
            .chain(self.current.as_ref())
            .chain(self.next.as_ref())
    }

    /// The key of `epoch`, if held (MD-07: exactly that one).
    #[must_use]
    pub fn get(&self, epoch: Epoch) -> Option<&Slot<K>> {
        self.slots().find(|slot| slot.epoch == epoch)
    }

    /// Puts a key where its epoch belongs. A key of an epoch held already is replaced; a newer next replaces an older next;
    /// one older than all that is held is not taken (returns false).
    pub fn install(&mut self, slot: Slot<K>) -> bool {
        let held = [&mut self.current, &mut self.next]
            .into_iter()
            .flatten()
            .find(|held| held.epoch == slot.epoch);
        if let Some(held) = held {
            *held = slot;
            return true;
        }
        match &self.current {
            None => {
                if self
                    .next
                    .as_ref()
                    .is_some_and(|next| next.epoch < slot.epoch)
                {
                    self.current = self.next.replace(slot);
                } else {
                    self.current = Some(slot);
                }
                true
            }
            Some(current) if slot.epoch < current.epoch => false,
            Some(_)
                if self
                    .next
                    .as_ref()
                    .is_some_and(|next| slot.epoch < next.epoch) =>
            {
                false
            }
            Some(_) => {
                self.next = Some(slot);
                true
            }
        }
    }

    /// Like [`Schedule::install`], and also takes a key older than the current one as the previous one, with grace from `now`:
    /// what a receiver asks for when a sender still holds.
    pub fn install_older(&mut self, slot: Slot<K>, now: Time) -> bool {
        let older = self
            .current
            .as_ref()
            .is_some_and(|current| slot.epoch < current.epoch);
        let newer_than_previous = self
            .previous
            .as_ref()
            .is_none_or(|(previous, _)| previous.epoch <= slot.epoch);
        if older && newer_than_previous {
            self.previous = Some((slot, now));
            return true;
        }
        !older && self.install(slot)
    }

    /// Next becomes current, current becomes previous. Returns whether there was a next.
    pub fn promote(&mut self, now: Time) -> bool {
        let Some(next) = self.next.take() else {
            return false;
        };
        self.previous = self.current.replace(next).map(|slot| (slot, now));
        true
    }

    /// A packet was accepted under the previous key: its grace starts anew (MD-36).
    pub fn touch_previous(&mut self, now: Time) {
        if let Some((_, last)) = &mut self.previous {
            *last = now.max(*last);
        }
    }

    /// Drops the previous key when `grace` has passed since the last packet accepted under it, and any key when `expiry` has
    /// passed since its end (SEC-11).
    pub fn expire(&mut self, now: Time, grace: Duration, expiry: Duration) {
        let over = |slot: &Slot<K>| now >= slot.end.after(expiry);
        if self
            .previous
            .as_ref()
            .is_some_and(|(slot, last)| now >= last.after(grace) || over(slot))
        {
            self.previous = None;
        }
        if self.current.as_ref().is_some_and(over) {
            self.current = None;
        }
        if self.next.as_ref().is_some_and(over) {
            self.next = None;
        }
    }

    /// When [`Schedule::expire`] would drop something.
    #[must_use]
    pub fn next_expiry(&self, grace: Duration, expiry: Duration) -> Option<Time> {
        let previous = self
            .previous
            .as_ref()
            .map(|(slot, last)| last.after(grace).min(slot.end.after(expiry)));
        let others = self
            .current
            .iter()
            .chain(&self.next)
            .map(|slot| slot.end.after(expiry));
        previous.into_iter().chain(others).min()
    }

    /// Drops the key of `epoch` (a higher term committed to another root under this number).
    pub fn drop_epoch(&mut self, epoch: Epoch) {
        if self.previous().is_some_and(|slot| slot.epoch == epoch) {
            self.previous = None;
        }
        for slot in [&mut self.current, &mut self.next] {
            if slot.as_ref().is_some_and(|slot| slot.epoch == epoch) {
                *slot = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(epoch: u64) -> Slot<u64> {
        Slot {
            epoch: Epoch(epoch),
            key: epoch * 10,
            end: Time(epoch * 100),
        }
    }

    fn held(schedule: &Schedule<u64>) -> Vec<u64> {
        schedule.slots().map(|slot| slot.epoch.0).collect()
    }

    #[test]
    fn md_35_current_and_next_are_held_at_once_and_next_is_promoted() {
        let mut schedule = Schedule::default();
        assert!(schedule.install(slot(1)) && schedule.install(slot(2)));
        assert_eq!(
            (
                schedule.current().unwrap().epoch,
                schedule.next().unwrap().epoch
            ),
            (Epoch(1), Epoch(2))
        );
        assert!(schedule.promote(Time(5)));
        assert_eq!(held(&schedule), [1, 2]);
        assert_eq!(schedule.current().unwrap().key, 20);
        assert!(!schedule.promote(Time(6)), "there is no further next");
    }

    #[test]
    fn md_36_the_previous_key_lives_for_its_grace_after_the_last_packet() {
        let grace = Duration::from_nanos(10);
        let expiry = Duration::from_nanos(1000);
        let mut schedule = Schedule::default();
        schedule.install(slot(1));
        schedule.install(slot(2));
        schedule.promote(Time(100));
        schedule.touch_previous(Time(105));
        assert_eq!(schedule.next_expiry(grace, expiry), Some(Time(115)));
        schedule.expire(Time(114), grace, expiry);
        assert_eq!(held(&schedule), [1, 2]);
        schedule.expire(Time(115), grace, expiry);
        assert_eq!(held(&schedule), [2]);
    }

    #[test]
    fn any_key_expires() {
        let mut schedule = Schedule::default();
        schedule.install(slot(1));
        schedule.install(slot(2));
        schedule.expire(
            Time(150),
            Duration::from_nanos(10),
            Duration::from_nanos(50),
        );
        assert_eq!(held(&schedule), [2]);
        assert!(
            schedule.current().is_none(),
            "next is not promoted by the current one's expiry"
        );
        schedule.install(slot(3));
        assert_eq!(
            (
                schedule.current().unwrap().epoch,
                schedule.next().unwrap().epoch
            ),
            (Epoch(2), Epoch(3))
        );
    }

    #[test]
    fn epochs_only_rise_and_a_newer_next_replaces_an_older() {
        let mut schedule = Schedule::default();
        schedule.install(slot(5));
        assert!(!schedule.install(slot(4)));
        assert!(schedule.install(slot(6)) && schedule.install(slot(8)));
        assert!(!schedule.install(slot(7)));
        assert_eq!(held(&schedule), [5, 8]);
        assert!(schedule.install_older(slot(4), Time(0)));
        assert_eq!(held(&schedule), [4, 5, 8]);
        schedule.drop_epoch(Epoch(5));
        assert_eq!(held(&schedule), [4, 8]);
    }
}
