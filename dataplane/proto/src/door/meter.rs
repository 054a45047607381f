//! What doors gave, for usage files (MD-33, MD-34): noted by the door, gathered by session and channel until it is written.
//!
//! A request that is asked again has its number again: it stands in the records of every door that answered it, and whoever adds
//! them up counts session and number once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::ids::{AccountId, ChannelId, DeviceId, Epoch, SessionId, Time};
use crate::records::{KeyUsage, REQUESTS};

/// Epochs below the first one seen that fit into a record, too.
const EPOCHS_BELOW: u64 = 8;
/// An epoch so far after the one in use is counted in a record of its own.
const FAR: u64 = 200;

/// One answer with keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeysGiven {
    /// The session.
    pub session: SessionId,
    /// Whose device.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
    /// The channel.
    pub channel: ChannelId,
    /// The request's number, the same when it is asked again.
    pub number: u64,
    /// The epoch that was asked for, or is in use.
    pub current: Epoch,
    /// The one after it, if announced.
    pub next: Option<Epoch>,
}

impl KeysGiven {
    /// A record with nothing but this answer.
    fn record(&self, now: Time) -> KeyUsage {
        let mut record = KeyUsage {
            session: self.session.0,
            account: self.account.0,
            device: self.device.0,
            channel: self.channel.0,
            number_base: self.number,
            epoch_base: self.current.0.saturating_sub(EPOCHS_BELOW),
            current: [0; REQUESTS],
            next: [0; REQUESTS],
            answers: 0,
            from: now.0,
            until: now.0,
        };
        let is_in = record.take(self, now);
        assert!(is_in, "a new record has room for what it was made for");
        record
    }

    /// Without an epoch after it that is too far ahead for the same record, and that one apart. Epochs jump when a master was
    /// away; by so much hardly ever.
    fn split(self) -> (Self, Option<Self>) {
        let (near, far) = match self.next {
            Some(next) if next.0.saturating_sub(self.current.0) > FAR => (None, Some(next)),
            near => (near, None),
        };
        let apart = far.map(|current| Self {
            current,
            next: None,
            ..self
        });
        (Self { next: near, ..self }, apart)
    }
}

impl KeyUsage {
    /// Adds an answer; false if it does not fit.
    fn take(&mut self, given: &KeysGiven, now: Time) -> bool {
        let place = given.number.checked_sub(self.number_base);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let distance = |epoch: Epoch| {
            let distance = epoch.0.checked_sub(self.epoch_base)?;
            u8::try_from(distance).ok()?.checked_add(1)
        };
        let (Some(place @ 0..REQUESTS), Some(current), Some(next)) = (
            place,
            distance(given.current),
            given.next.map_or(Some(0), distance),
        ) else {
            return false;
        };
        let before = (self.current[place], self.next[place]);
        if before != (0, 0) && before != (current, next) {
            return false;
        }
        (self.current[place], self.next[place]) = (current, next);
        self.answers = self.answers.saturating_add(1);
        self.until = now.0;
        true
    }

    /// The answers that it counts: number, epoch, and the one after it. Whoever wrote it chose the bytes: numbers that cannot be
    /// are left out.
    pub fn given(&self) -> impl Iterator<Item = (u64, Epoch, Option<Epoch>)> + '_ {
        let epoch = |distance: u8| {
            let distance = u64::from(distance.checked_sub(1)?);
            self.epoch_base.checked_add(distance).map(Epoch)
        };
        (0..REQUESTS).filter_map(move |place| {
            let number = self.number_base.checked_add(place as u64)?;
            let next = epoch(self.next[place]);
            epoch(self.current[place]).map(|current| (number, current, next))
        })
    }
}

/// Gathers what doors gave.
#[derive(Debug, Default)]
pub struct KeyMeter {
    open: HashMap<(SessionId, ChannelId), KeyUsage>,
    full: Vec<KeyUsage>,
}

impl KeyMeter {
    /// Counts an answer, given about `now`.
    pub fn add(&mut self, given: KeysGiven, now: Time) {
        let (given, apart) = given.split();
        // The same answer, which counts once.
        let apart = apart.map(|apart| KeyUsage {
            answers: 0,
            ..apart.record(now)
        });
        self.full.extend(apart);
        self.take(&given, now);
    }

    fn take(&mut self, given: &KeysGiven, now: Time) {
        match self.open.entry((given.session, given.channel)) {
            Entry::Vacant(vacant) => drop(vacant.insert(given.record(now))),
            Entry::Occupied(mut record) => {
                if !record.get_mut().take(given, now) {
                    self.full.push(record.insert(given.record(now)));
                }
            }
        }
    }

    /// Records so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len() + self.full.len()
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all records out.
    pub fn fetch(&mut self) -> Vec<KeyUsage> {
        let mut records = std::mem::take(&mut self.full);
        records.extend(self.open.drain().map(|(_, record)| record));
        records
    }
}
