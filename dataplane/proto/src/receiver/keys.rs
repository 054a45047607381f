//! The decipher halves a receiver holds, and the opening keys of the lanes derived from them.

use sealcast_crypto::{Commitment, EpochRoot, ManifestKey, OpenKey, Prk, VerifyingKey};

use crate::ids::{ChannelId, Epoch, GroupId, Kid, Remaining, ServerId, Time};
use crate::schedule::{Schedule, Slot};
use crate::timing::Timing;
use crate::wire::control::{AuthLevel, LaneCertificate};

/// The opening key of one lane in one epoch.
pub(crate) struct LaneKey {
    pub(crate) kid: Kid,
    pub(crate) epoch: Epoch,
    pub(crate) group: GroupId,
    pub(crate) server: ServerId,
    pub(crate) key: OpenKey,
    /// If its packets count only with manifests.
    pub(crate) vouching: Option<Vouching>,
}

/// What proves a manifest of a lane.
pub(crate) struct Vouching {
    pub(crate) key: ManifestKey,
    pub(crate) server: VerifyingKey,
    /// Lanes of the stripe group.
    pub(crate) lanes: u8,
}

/// A root, extracted.
pub(crate) struct Root {
    prk: Prk,
    commitment: Commitment,
    /// The highest term that was known when it came.
    term: u64,
}

impl Root {
    /// Of a channel and epoch, as it came under `term`.
    pub(crate) fn new(channel: ChannelId, epoch: Epoch, root: &EpochRoot, term: u64) -> Self {
        let prk = root.prk();
        Self {
            commitment: prk.commitment(channel.0, epoch.0),
            prk,
            term,
        }
    }

    /// What the authority commits to, if it is genuine.
    pub(crate) fn commitment(&self) -> Commitment {
        self.commitment
    }
}

pub(crate) struct KeyRing {
    timing: Timing,
    schedule: Schedule<Root>,
    lanes: Vec<LaneKey>,
    /// The current key's time is over and next is held: the timer may look beyond next.
    over: bool,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let epochs: Vec<_> = self.schedule.slots().map(|slot| slot.epoch).collect();
        f.debug_struct("KeyRing")
            .field("epochs", &epochs)
            .field("lanes", &self.lanes.len())
            .finish_non_exhaustive()
    }
}

impl KeyRing {
    pub(crate) fn new(timing: Timing) -> Self {
        Self {
            timing,
            schedule: Schedule::default(),
            lanes: Vec::new(),
            over: false,
        }
    }

    /// The channel's key times are these.
    pub(crate) fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// Takes a root in; false when it is held already or too old to be of use.
    pub(crate) fn install(&mut self, now: Time, epoch: Epoch, root: Root, end: Time) -> bool {
        if self.holds(epoch) {
            return false;
        }
        // Next is in use by now, whether packets came or not, if one after it exists.
        let beyond_next = self.schedule.next().is_some_and(|next| next.epoch < epoch);
        if beyond_next
            && self
                .schedule
                .current()
                .is_none_or(|current| current.end <= now)
        {
            self.schedule.promote(now);
        }
        let taken = self.schedule.install_older(
            Slot {
                epoch,
                key: root,
                end,
            },
            now,
        );
        self.forget_lanes();
        taken
    }

    pub(crate) fn holds(&self, epoch: Epoch) -> bool {
        self.schedule.get(epoch).is_some()
    }

    /// Whether the root of `epoch`, if held, is the one that was committed to.
    pub(crate) fn matches(&self, epoch: Epoch, commitment: &Commitment) -> bool {
        self.schedule
            .get(epoch)
            .is_none_or(|slot| slot.key.commitment == *commitment)
    }

    /// The highest term that was known when the root of `epoch` came.
    pub(crate) fn term_of(&self, epoch: Epoch) -> Option<u64> {
        self.schedule.get(epoch).map(|slot| slot.key.term)
    }

    pub(crate) fn drop_epoch(&mut self, epoch: Epoch) {
        self.schedule.drop_epoch(epoch);
        self.lanes.retain(|lane| lane.epoch != epoch);
    }

    /// The change from `epoch` to `next` is due at `boundary`.
    pub(crate) fn set_boundary(&mut self, epoch: Epoch, next: Epoch, boundary: Time) {
        let lifetime = self.timing.lifetime();
        self.schedule.put_off_next(next, boundary, lifetime);
        if let Some(current) = self
            .schedule
            .current_mut()
            .filter(|current| current.epoch == epoch)
        {
            current.end = boundary;
        }
    }

    /// The derived key of `kid`, if it has been derived.
    pub(crate) fn lane(&self, kid: Kid) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.kid == kid)
    }

    pub(crate) fn lane_at(&self, index: usize) -> &LaneKey {
        &self.lanes[index]
    }

    /// Derives the key of a certified lane, if the root is held.
    pub(crate) fn derive(
        &mut self,
        kid: Kid,
        epoch: Epoch,
        certificate: &LaneCertificate,
    ) -> Option<usize> {
        let secret = self.schedule.get(epoch)?.key.prk.lane_secret(kid.value());
        let vouching = || Vouching {
            key: secret.manifest_key(),
            server: certificate.server_key,
            lanes: certificate.lanes,
        };
        self.lanes.push(LaneKey {
            kid,
            epoch,
            group: certificate.group,
            server: certificate.server,
            key: OpenKey::new(&secret),
            vouching: (certificate.auth == AuthLevel::Manifest).then(vouching),
        });
        Some(self.lanes.len() - 1)
    }

    /// A packet of `epoch` was accepted. True when that promoted next (MD-35).
    pub(crate) fn accepted(&mut self, now: Time, epoch: Epoch) -> bool {
        if self
            .schedule
            .current()
            .is_some_and(|current| current.epoch == epoch)
        {
            return false;
        }
        if self.schedule.next().is_some_and(|next| next.epoch == epoch) {
            return self.schedule.promote(now);
        }
        self.schedule.touch_previous(now);
        false
    }

    pub(crate) fn expire(&mut self, now: Time) {
        self.schedule
            .expire(now, self.timing.grace(), self.timing.expiry());
        self.over = self
            .schedule
            .current()
            .is_none_or(|current| current.end <= now);
        self.forget_lanes();
    }

    fn forget_lanes(&mut self) {
        let schedule = &self.schedule;
        self.lanes.retain(|lane| schedule.get(lane.epoch).is_some());
    }

    pub(crate) fn next_expiry(&self) -> Option<Time> {
        self.schedule
            .next_expiry(self.timing.grace(), self.timing.expiry())
    }

    pub(crate) fn oldest(&self) -> Option<Epoch> {
        self.schedule.slots().next().map(|slot| slot.epoch)
    }

    pub(crate) fn newest(&self) -> Option<Epoch> {
        self.schedule.slots().last().map(|slot| slot.epoch)
    }

    pub(crate) fn newest_end(&self) -> Option<Time> {
        self.schedule.slots().last().map(|slot| slot.end)
    }

    pub(crate) fn current_epoch(&self) -> Option<Epoch> {
        self.schedule.current().map(|slot| slot.epoch)
    }

    pub(crate) fn next_epoch(&self) -> Option<Epoch> {
        self.schedule.next().map(|slot| slot.epoch)
    }

    pub(crate) fn current_end(&self) -> Option<Time> {
        self.schedule.current().map(|slot| slot.end)
    }

    pub(crate) fn current_is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn current(&self, now: Time) -> Option<(Epoch, Remaining)> {
        self.schedule
            .current()
            .map(|slot| (slot.epoch, slot.end.remaining(now)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// MD-39: a sender that holds to the last, and hears of a change then, goes on until that change: `prepare_ahead` at most.
    #[test]
    fn md_39_a_key_is_kept_for_as_long_as_a_sender_may_use_it() {
        let (timing, channel, epoch) = (Timing::default(), ChannelId(1), Epoch(1));
        let mut keys = KeyRing::new(timing);
        let root = Root::new(channel, epoch, &EpochRoot::from_bytes([1; 32]), 1);
        let end = Time(0).after(timing.lifetime());
        assert!(keys.install(Time(0), epoch, root, end));
        let last = end
            .after(timing.hold_max())
            .after(timing.prepare_ahead())
            .after(timing.grace());
        keys.expire(last.before(Duration::from_millis(1)));
        assert!(keys.holds(epoch));
        keys.expire(last);
        assert!(!keys.holds(epoch));
    }
}
