//! What devices may have of a channel, for the key doors (MD-05, MD-21, MD-25), and what slaves must hold besides: the epoch that
//! is only prepared.

use super::Keys;
use super::channel::{Channel, EpochKey};
use crate::door::{Served, ServedKey};
use crate::ids::{Epoch, Time};

/// What tells two states apart, without roots: every epoch that is served or expected, its end, and whether it is served.
pub(super) type Fingerprint = Vec<(Epoch, Time, bool)>;

impl Channel {
    /// What the doors serve, if it changed since the last call.
    pub(super) fn take_served(&mut self, keys: &Keys) -> Option<Served> {
        let fingerprint = self.fingerprint();
        if self.served.as_ref() == Some(&fingerprint) {
            return None;
        }
        self.served = Some(fingerprint);
        let next = self.next.as_ref().and_then(served);
        let (next, prepared) = match self.announcement {
            Some(_) => (next, self.replacement.as_ref().and_then(served)),
            None => (None, next),
        };
        let known = [&self.current, &self.next, &self.replacement];
        Some(Served {
            channel: self.config.channel,
            timing: self.config.timing,
            authority: keys.authority,
            successor: keys.successor,
            in_use: self.current.as_ref().and_then(served),
            next,
            prepared,
            others: self
                .others
                .iter()
                .filter_map(|other| served(&other.key))
                .collect(),
            expected: known.into_iter().flatten().map(|key| key.epoch).collect(),
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        let entry = |key: &EpochKey, given: bool| (key.epoch, key.end, given && key.root.is_some());
        let others = self.others.iter().map(|other| entry(&other.key, true));
        let current = self.current.iter().map(|key| entry(key, true));
        let next = self
            .next
            .iter()
            .map(|key| entry(key, self.announcement.is_some()));
        let replacement = self.replacement.iter().map(|key| entry(key, false));
        // One in use and one among the others are not the same.
        let mark = (Epoch(0), Time(0), false);
        others
            .chain([mark])
            .chain(current)
            .chain([mark])
            .chain(next)
            .chain([mark])
            .chain(replacement)
            .collect()
    }
}

fn served(key: &EpochKey) -> Option<ServedKey> {
    Some(ServedKey {
        epoch: key.epoch,
        root: key.root.clone()?,
        end: key.end,
    })
}
