//! Devices' requests: who asks for a key gets the root, what remains of it, and the next one once it is announced
//! (MD-05, MD-21, MD-25, MD-37).

use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_crypto::VerifyingKey;

use super::channel::{Channel, EpochKey};
use crate::ids::{Epoch, Remaining, Time};
use crate::wire::door::{DecipherHalf, Granted, Reason, Wanted};

/// Devices spread their requests over this share (percent) of the second preset (SEC-09).
const SPREAD: u32 = 70;

impl Channel {
    /// The keys for `wanted`: the epoch in use, or an older one that is asked for and still served, and the one after it if
    /// announced.
    pub(super) fn grant(
        &self,
        now: Time,
        wanted: &Wanted,
        authority: VerifyingKey,
        successor: Option<VerifyingKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Granted, Reason> {
        let in_use = self.current.as_ref().filter(|key| key.root.is_some());
        let asked = match wanted.epoch {
            Some(epoch) => Some(
                self.served()
                    .find(|key| key.epoch == epoch)
                    .ok_or(Reason::EpochUnavailable)?,
            ),
            None => None,
        };
        let is_next = |key: &EpochKey| {
            self.next
                .as_ref()
                .is_some_and(|next| next.epoch == key.epoch)
        };
        let first = match (asked, in_use) {
            (Some(asked), Some(in_use)) if is_next(asked) => in_use,
            (Some(asked), _) => asked,
            (None, in_use) => in_use.ok_or(Reason::EpochUnavailable)?,
        };
        // What was opened by a former term beyond the epoch in use comes after nothing.
        let follows = |key: &&EpochKey| {
            let in_line = in_use.is_none_or(|in_use| key.epoch <= in_use.epoch || is_next(key));
            key.epoch > first.epoch && in_line
        };
        let second = self.served().filter(follows).min_by_key(|key| key.epoch);
        let half = |key: &EpochKey| {
            let root = key.root.clone()?;
            Some(DecipherHalf {
                epoch: key.epoch,
                root,
                remaining: key.end.remaining(now),
            })
        };
        Ok(Granted {
            number: wanted.number,
            channel: wanted.channel,
            current: half(first).ok_or(Reason::EpochUnavailable)?,
            next: second.and_then(half),
            fetch_offset: self.fetch_offset(rng),
            authority,
            successor,
            cookies: Vec::new(),
        })
    }

    /// Everything that devices may have: never what is only prepared.
    fn served(&self) -> impl Iterator<Item = &EpochKey> {
        let others = self.others.iter().map(|served| &served.key);
        let next = self.next.iter().filter(|_| self.announcement.is_some());
        others
            .chain(&self.current)
            .chain(next)
            .filter(|key| key.root.is_some())
    }

    /// Whether an epoch is known here, though it cannot be given (yet).
    pub(super) fn is_expected(&self, epoch: Epoch) -> bool {
        [&self.current, &self.next]
            .into_iter()
            .flatten()
            .any(|key| key.epoch == epoch)
    }

    fn fetch_offset(&self, rng: &mut dyn CryptoRng) -> Remaining {
        let spread: Duration = self.config.timing.fetch_ahead() * SPREAD / 100;
        let ms = Remaining::from(spread).0;
        Remaining(u32::try_from(rng.next_u64() % u64::from(ms.max(1))).expect("below a u32"))
    }
}
