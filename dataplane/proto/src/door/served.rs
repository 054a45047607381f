//! What the devices of a channel may have: the epoch in use, those still in use somewhere, and the next one once it is
//! announced (MD-05, MD-21, MD-25, MD-37).

use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_crypto::{EpochRoot, VerifyingKey};

use crate::ids::{ChannelId, Epoch, Remaining, Time};
use crate::limits::{NOTICE_INTERVAL, REPORT_INTERVAL};
use crate::timing::Timing;
use crate::wire::door::{DecipherHalf, Granted, Reason, Wanted};

/// Devices spread their requests over this share (percent) of the second preset (SEC-09).
const SPREAD: u32 = 70;

/// One root that devices may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServedKey {
    /// Its epoch.
    pub epoch: Epoch,
    /// The root.
    pub root: EpochRoot,
    /// When its time is over, by the clock of this host.
    pub end: Time,
}

/// What the devices of one channel may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Served {
    /// The channel.
    pub channel: ChannelId,
    /// Its key times.
    pub timing: Timing,
    /// Its authority key.
    pub authority: VerifyingKey,
    /// The key that will replace it, if one is chosen.
    pub successor: Option<VerifyingKey>,
    /// The epoch in use, if its root is held.
    pub in_use: Option<ServedKey>,
    /// The epoch after it; never before it is announced.
    pub next: Option<ServedKey>,
    /// The epoch after it before it is announced: never given, but held by slaves, so that the announcement finds them ready.
    pub prepared: Option<ServedKey>,
    /// Epochs that somebody may still send under.
    pub others: Vec<ServedKey>,
    /// Epochs that are known, but cannot be given (yet).
    pub expected: Vec<Epoch>,
}

impl Served {
    /// Every root that may be given.
    pub(super) fn all(&self) -> impl Iterator<Item = &ServedKey> {
        self.others.iter().chain(&self.in_use).chain(&self.next)
    }

    /// The keys for `wanted`: the epoch in use, or an older one that is asked for and still served, and the one after it if
    /// announced.
    ///
    /// # Errors
    /// Why not, and when to ask again.
    pub fn grant(
        &self,
        now: Time,
        wanted: &Wanted,
        rng: &mut dyn CryptoRng,
    ) -> Result<Granted, (Reason, Remaining)> {
        let unavailable = || {
            let expected = wanted
                .epoch
                .is_some_and(|epoch| self.expected.contains(&epoch));
            let pause = if expected {
                NOTICE_INTERVAL
            } else {
                REPORT_INTERVAL
            };
            (Reason::EpochUnavailable, Remaining::from(pause))
        };
        let (first, second) = self.choose(wanted.epoch).ok_or_else(unavailable)?;
        let half = |key: &ServedKey| DecipherHalf {
            epoch: key.epoch,
            root: key.root.clone(),
            remaining: key.end.remaining(now),
        };
        Ok(Granted {
            number: wanted.number,
            channel: self.channel,
            current: half(first),
            next: second.map(half),
            fetch_offset: self.fetch_offset(rng),
            authority: self.authority,
            successor: self.successor,
            timing: self.timing,
            cookies: Vec::new(),
        })
    }

    fn choose(&self, wanted: Option<Epoch>) -> Option<(&ServedKey, Option<&ServedKey>)> {
        let in_use = self.in_use.as_ref();
        let is_next = |key: &ServedKey| {
            self.next
                .as_ref()
                .is_some_and(|next| next.epoch == key.epoch)
        };
        let first = match wanted {
            None => in_use?,
            Some(epoch) => {
                let asked = self.all().find(|key| key.epoch == epoch)?;
                // Whoever asks for next gets it behind the one in use.
                in_use.filter(|_| is_next(asked)).unwrap_or(asked)
            }
        };
        // What was opened by a former term beyond the epoch in use comes after nothing.
        let follows = |key: &&ServedKey| {
            let in_line = in_use.is_none_or(|in_use| key.epoch <= in_use.epoch || is_next(key));
            key.epoch > first.epoch && in_line
        };
        Some((
            first,
            self.all().filter(follows).min_by_key(|key| key.epoch),
        ))
    }

    fn fetch_offset(&self, rng: &mut dyn CryptoRng) -> Remaining {
        let spread: Duration = self.timing.fetch_ahead() * SPREAD / 100;
        let ms = Remaining::from(spread).0;
        Remaining(u32::try_from(rng.next_u64() % u64::from(ms.max(1))).expect("below a u32"))
    }
}
