//! How a device follows the keys of one channel: when it asks for which epoch, what it holds, what an answer or a Notice changes.
//!
//! The receiver of a stream is this and what opens packets; a device of a load generator is this and a session. Both ask by the
//! same rules, because they are here once.

use rand_core::CryptoRng;
use sealcast_crypto::EpochRoot;

use super::keys::{KeyRing, Root};
use super::requester::{FetchOn, Requester};
use super::trust::Trust;
use crate::discard::Discard;
use crate::ids::{ChannelId, Epoch, Remaining, Time};
use crate::timing::Timing;
use crate::wire::door::{DecipherHalf, Granted, Refused, Wanted};

/// What an answer or a Notice has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A root came and is held.
    Held(Epoch),
    /// A root came that is held already, or is too old to be of use.
    Known(Epoch),
    /// A root is not the one that the authority has committed to (MD-10): it is not used, or not any more.
    Mismatch(Epoch),
    /// A higher term put another root under this number: the one that was held is dropped.
    Replaced(Epoch),
}

/// At most one change for each of the two roots that an answer or a Notice names.
pub type Changes = [Option<Change>; 2];

/// One device's keys of one channel, and its requests for them.
#[derive(Debug)]
pub struct Follower {
    channel: ChannelId,
    timing: Timing,
    fetch_on: FetchOn,
    pub(super) keys: KeyRing,
    pub(super) requester: Requester,
    fetch_offset: Remaining,
    /// The timer asks no sooner than this: the last answer had nothing new.
    fetch_rest: Time,
}

impl Follower {
    /// One that holds nothing yet and asks for the current key at `now`. `timing` counts until a key door says the channel's.
    #[must_use]
    pub fn new(channel: ChannelId, timing: Timing, fetch_on: FetchOn, now: Time) -> Self {
        let mut requester = Requester::new(channel);
        requester.plan(None, now);
        Self {
            channel,
            timing,
            fetch_on,
            keys: KeyRing::new(timing),
            requester,
            fetch_offset: Remaining(0),
            fetch_rest: Time(0),
        }
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> ChannelId {
        self.channel
    }

    /// Asks at `due`, whatever is held: for `wanted`, or for what is current then. False if that is asked already.
    pub fn ask(&mut self, wanted: Option<Epoch>, due: Time) -> bool {
        self.requester.plan(wanted, due)
    }

    /// A key door gave keys; `asked` is when the request left that this answers.
    ///
    /// # Errors
    /// [`Discard::OtherChannel`], and [`Discard::Known`] when nobody waits for this answer (any more).
    pub fn granted(
        &mut self,
        now: Time,
        asked: Time,
        granted: &Granted,
        trust: &Trust,
    ) -> Result<Changes, Discard> {
        if granted.channel != self.channel {
            return Err(Discard::OtherChannel);
        }
        if !self.requester.answered(granted.number) {
            return Err(Discard::Known);
        }
        self.fetch_offset = granted.fetch_offset;
        self.timing = granted.timing;
        self.keys.set_timing(granted.timing);
        let newest = self.keys.newest();
        let next = granted.next.as_ref();
        let mut install = |half: &DecipherHalf| {
            // Counted from when it was asked for, so that fetching is never late (SEC-12).
            let end = asked.after(half.remaining.duration());
            self.install(now, end, half.epoch, &half.root, trust)
        };
        let changes = [Some(&granted.current), next].map(|half| half.map(&mut install));
        if self.keys.newest() == newest {
            // The next key is late. A Notice will tell; without one, it is not asked for at the speed of the network.
            let quarter = self.timing.fetch_ahead() / 4;
            self.fetch_rest = now.after(quarter + self.fetch_offset.duration().min(quarter));
        }
        Ok(changes)
    }

    /// The root of an epoch came in band, in a key block that the authority has signed.
    pub fn opened(&mut self, now: Time, epoch: Epoch, root: &EpochRoot, trust: &Trust) -> Change {
        let lifetime = self.timing.lifetime();
        // A block says nothing of times: the Notice does, or will.
        let end = match trust.change() {
            Some((current, _, boundary)) if epoch == current => boundary,
            Some((_, next, boundary)) if epoch == next => boundary.after(lifetime),
            _ => now.after(lifetime),
        };
        self.install(now, end, epoch, root, trust)
    }

    /// Takes in a root that ends at `end`, unless the authority has signed that it must be another one.
    fn install(
        &mut self,
        now: Time,
        end: Time,
        epoch: Epoch,
        root: &EpochRoot,
        trust: &Trust,
    ) -> Change {
        let committed = trust.committed(epoch);
        if committed.is_none() && self.keys.holds(epoch) {
            self.requester.satisfied(epoch);
            return Change::Known(epoch);
        }
        let root = Root::new(self.channel, epoch, root, trust.term().number);
        if committed.is_some_and(|committed| root.commitment() != committed) {
            return Change::Mismatch(epoch);
        }
        let taken = self.keys.install(now, epoch, root, end);
        self.requester.satisfied(epoch);
        if taken {
            Change::Held(epoch)
        } else {
            Change::Known(epoch)
        }
    }

    /// A Notice says when the change is and what the roots must be.
    pub fn noticed(&mut self, now: Time, trust: &Trust, rng: &mut dyn CryptoRng) -> Changes {
        let Some(announced) = trust.announced() else {
            return [None; 2];
        };
        let (notice, boundary) = (&announced.notice, announced.boundary);
        self.keys
            .set_boundary(notice.current, notice.next, boundary);
        let named = [
            (notice.current, notice.current_commitment),
            (notice.next, notice.next_commitment),
        ];
        let changes = named.map(|(epoch, commitment)| {
            let commitment = commitment?;
            if self.keys.matches(epoch, &commitment) {
                return None;
            }
            let replaced = self.keys.term_of(epoch) < Some(notice.term.number);
            self.keys.drop_epoch(epoch);
            self.requester.plan(Some(epoch), now);
            Some(if replaced {
                Change::Replaced(epoch)
            } else {
                Change::Mismatch(epoch)
            })
        });
        let wanted = !self.keys.holds(notice.next)
            && self.keys.newest().is_none_or(|newest| newest < notice.next);
        let due = self.fetch_time(boundary).max(now);
        self.requester.announced(now, due, rng);
        if self.fetch_on.notice && wanted {
            self.requester.plan(Some(notice.next), due);
        }
        changes
    }

    /// A higher term put another root under this number: what is held of it is dropped, and the other one fetched.
    pub fn superseded(&mut self, now: Time, epoch: Epoch) -> Option<Change> {
        self.keys.holds(epoch).then(|| {
            self.keys.drop_epoch(epoch);
            self.requester.plan(Some(epoch), now);
            Change::Replaced(epoch)
        })
    }

    /// A key door refused. False for an answer that nobody waits for.
    pub fn refused(&mut self, now: Time, refused: &Refused, rng: &mut dyn CryptoRng) -> bool {
        refused.channel == self.channel
            && self
                .requester
                .refused(refused.number, refused.retry_after, now, rng)
    }

    /// The session with the key doors is a new one: what was refused is asked again.
    pub fn session_renewed(&mut self, now: Time, rng: &mut dyn CryptoRng) {
        self.requester.retry(now, rng);
    }

    /// Lets time pass: keys expire; `send` gets the requests that are due.
    pub fn poll(&mut self, now: Time, rng: &mut dyn CryptoRng, send: impl FnMut(Wanted)) {
        self.keys.expire(now);
        if let Some(oldest) = self.keys.oldest() {
            self.requester.forget_below(oldest);
        }
        if self.fetch_due().is_some_and(|due| due <= now) {
            self.requester.plan(None, now);
        }
        self.requester.poll(now, rng, send);
    }

    /// When this device asks for the key after one that ends at `end`: at the second preset, offset as the server said.
    fn fetch_time(&self, end: Time) -> Time {
        let offset = self
            .fetch_offset
            .duration()
            .min(self.timing.fetch_ahead() * 7 / 10);
        end.before(self.timing.fetch_ahead()).after(offset)
    }

    /// When the timer makes this device ask for the key after the newest one it holds.
    fn fetch_due(&self) -> Option<Time> {
        let newest = self.keys.newest();
        // A Notice and the timer make a device ask for the same: once is enough.
        if self.requester.is_pending_any()
            || newest.is_some_and(|newest| self.requester.is_pending_beyond(newest))
        {
            return None;
        }
        match self.keys.newest_end() {
            // Whoever holds nothing asks, whatever the settings: he may not even know the authority key of now.
            None => Some(self.fetch_rest),
            Some(_) if !self.fetch_on.timer => None,
            // Next is held: the one after it is nobody's concern before the switch.
            Some(_) if self.keys.next_epoch().is_some() && !self.keys.current_is_over() => None,
            Some(end) => Some(self.fetch_time(end).max(self.fetch_rest)),
        }
    }

    /// When the timer may look beyond next, which is held: no packet need come to tell.
    fn over_at(&self) -> Option<Time> {
        let waits = self.keys.next_epoch().is_some() && !self.keys.current_is_over();
        self.keys
            .current_end()
            .filter(|_| waits && self.fetch_on.timer)
    }

    /// When [`Follower::poll`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        let all = [
            self.over_at(),
            self.keys.next_expiry(),
            self.requester.next_timeout(),
            self.fetch_due(),
        ];
        all.into_iter().flatten().min()
    }

    /// Whether the key of `epoch` is held.
    #[must_use]
    pub fn holds(&self, epoch: Epoch) -> bool {
        self.keys.holds(epoch)
    }

    /// The epoch in use and what remains of it.
    #[must_use]
    pub fn current(&self, now: Time) -> Option<(Epoch, Remaining)> {
        self.keys.current(now)
    }

    /// The epoch held for after it.
    #[must_use]
    pub fn next_epoch(&self) -> Option<Epoch> {
        self.keys.next_epoch()
    }

    /// The newest epoch that is held.
    #[must_use]
    pub fn newest(&self) -> Option<Epoch> {
        self.keys.newest()
    }

    /// When that one ends.
    #[must_use]
    pub fn newest_end(&self) -> Option<Time> {
        self.keys.newest_end()
    }

    /// Whether an answer to the request with this number is still of use.
    #[must_use]
    pub fn waits_for(&self, number: u64) -> bool {
        self.requester.waits_for(number)
    }

    /// The channel's key times, as far as they are known.
    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.timing
    }
}
