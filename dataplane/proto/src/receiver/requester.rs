//! When a device asks for keys: at the second preset (MD-13), on a Notice (MD-27), or at an unknown key id (MD-25).
//!
//! At most one request is outstanding per wanted key. A retry carries the same number, so it is counted once (SEC-08).

use std::time::Duration;

use rand_core::CryptoRng;

use crate::ids::{ChannelId, Epoch, Remaining, Time};
use crate::limits::{DEMAND_JITTER, REQUEST_BACKOFF_MAX, REQUEST_TIMEOUT};
use crate::wire::door::Wanted;

/// Requests outstanding at once; more than a device can ever need.
const PENDING_MAX: usize = 4;

/// Which occasions make a device ask (a setting per channel).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchOn {
    /// The countdown reaches the second preset.
    pub timer: bool,
    /// A Notice.
    pub notice: bool,
    /// A packet under an unknown key id.
    pub demand: bool,
}

impl Default for FetchOn {
    fn default() -> Self {
        Self {
            timer: true,
            notice: true,
            demand: true,
        }
    }
}

#[derive(Debug)]
struct Pending {
    wanted: Option<Epoch>,
    /// Random: one session asks for many channels, and over restarts. Drawn at the first try; 0 before.
    number: u64,
    /// When it is (re)sent.
    due: Time,
    tries: u32,
    /// A refusal said how long it rests.
    refused: bool,
    /// A packet under this key has brought it forward, which happens once.
    demanded: bool,
}

#[derive(Debug)]
pub(crate) struct Requester {
    channel: ChannelId,
    pending: Vec<Pending>,
}

fn random_below(limit: Duration, rng: &mut dyn CryptoRng) -> Duration {
    let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1);
    Duration::from_nanos(rng.next_u64() % nanos)
}

impl Requester {
    pub(crate) fn new(channel: ChannelId) -> Self {
        Self {
            channel,
            pending: Vec::new(),
        }
    }

    /// Plans a request for `wanted` (`None`: whatever is current, and next if announced) at `due`, unless one is under way.
    /// Returns whether it is new.
    pub(crate) fn plan(&mut self, wanted: Option<Epoch>, due: Time) -> bool {
        if let Some(pending) = self
            .pending
            .iter_mut()
            .find(|pending| pending.wanted == wanted)
        {
            if pending.tries == 0 {
                pending.due = pending.due.min(due);
            }
            return false;
        }
        if self.pending.len() == PENDING_MAX && !self.displace_older(wanted) {
            return false;
        }
        self.pending.push(Pending {
            wanted,
            number: 0,
            due,
            tries: 0,
            refused: false,
            demanded: false,
        });
        true
    }

    /// Drops the request for the oldest epoch if `wanted` is newer. After a long outage the answer to old ones is that they
    /// are over; they must not keep a device from asking for what is sent now.
    fn displace_older(&mut self, wanted: Option<Epoch>) -> bool {
        let named = self.pending.iter().enumerate();
        let oldest = named
            .filter_map(|(index, pending)| Some((pending.wanted?, index)))
            .min();
        match oldest.filter(|&(oldest, _)| wanted.is_none_or(|wanted| wanted > oldest)) {
            Some((_, index)) => {
                self.pending.swap_remove(index);
                true
            }
            None => false,
        }
    }

    /// Plans a request at an unknown key id, after a short random pause. Somebody sends under that key: one that was tried in
    /// vain is tried again now, once. Returns whether it is new.
    pub(crate) fn demand(&mut self, epoch: Epoch, now: Time, rng: &mut dyn CryptoRng) -> bool {
        let soon = |rng| now.after(random_below(DEMAND_JITTER, rng));
        let known = self
            .pending
            .iter_mut()
            .find(|pending| pending.wanted == Some(epoch));
        let Some(pending) = known else {
            return self.plan(Some(epoch), soon(rng));
        };
        if !std::mem::replace(&mut pending.demanded, true) && pending.tries > 0 && !pending.refused
        {
            pending.due = pending.due.min(soon(rng));
            pending.tries = 1;
        }
        false
    }

    /// A change is announced anew: a master is there. What was tried in vain is tried again at `due`, or soon if that has passed. Not at
    /// once: a Notice reaches all devices in one moment, and those that wait for a lost door would ask the others together.
    pub(crate) fn announced(&mut self, now: Time, due: Time, rng: &mut dyn CryptoRng) {
        let passed = due <= now;
        let unanswered = |pending: &&mut Pending| pending.tries > 0 && !pending.refused;
        for pending in self.pending.iter_mut().filter(unanswered) {
            let due = if passed {
                now.after(random_below(REQUEST_TIMEOUT, rng))
            } else {
                due
            };
            pending.due = pending.due.min(due);
            pending.tries = 1;
        }
    }

    /// Brings the request for whatever is current forward, after a short random pause.
    pub(crate) fn hasten(&mut self, now: Time, rng: &mut dyn CryptoRng) {
        let due = now.after(random_below(DEMAND_JITTER, rng));
        self.plan(None, due);
        for pending in self
            .pending
            .iter_mut()
            .filter(|pending| pending.wanted.is_none())
        {
            pending.due = pending.due.min(due);
        }
    }

    pub(crate) fn is_pending(&self, epoch: Epoch) -> bool {
        self.pending
            .iter()
            .any(|pending| pending.wanted == Some(epoch))
    }

    /// Whether the request with this number has been sent and not been answered.
    pub(crate) fn waits_for(&self, number: u64) -> bool {
        self.pending
            .iter()
            .any(|pending| pending.number == number && pending.tries > 0)
    }

    /// Whether a request for an epoch beyond `newest` is under way that nobody has refused: its answer brings what is current, too.
    pub(crate) fn is_pending_beyond(&self, newest: Epoch) -> bool {
        let beyond = |pending: &Pending| !pending.refused && pending.wanted > Some(newest);
        self.pending.iter().any(beyond)
    }

    /// Whether a request for whatever is current is under way.
    pub(crate) fn is_pending_any(&self) -> bool {
        self.pending.iter().any(|pending| pending.wanted.is_none())
    }

    /// The requests that are due.
    pub(crate) fn poll(
        &mut self,
        now: Time,
        rng: &mut dyn CryptoRng,
        mut send: impl FnMut(Wanted),
    ) {
        for pending in self.pending.iter_mut().filter(|pending| pending.due <= now) {
            if pending.tries == 0 {
                pending.number = rng.next_u64().max(1);
            }
            let pause = (REQUEST_TIMEOUT * 2_u32.saturating_pow(pending.tries.min(16)))
                .min(REQUEST_BACKOFF_MAX);
            pending.due = now.after(pause + random_below(pause / 4, rng));
            pending.tries += 1;
            pending.refused = false;
            send(Wanted {
                number: pending.number,
                channel: self.channel,
                epoch: pending.wanted,
                cookies: 0,
            });
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.pending.iter().map(|pending| pending.due).min()
    }

    /// An answer came: the request is done. False when nobody waits for that number.
    pub(crate) fn answered(&mut self, number: u64) -> bool {
        let waiting = self.pending.len();
        self.pending
            .retain(|pending| pending.number != number || pending.tries == 0);
        self.pending.len() < waiting
    }

    /// The key of `epoch` is held: nobody needs to ask for it.
    pub(crate) fn satisfied(&mut self, epoch: Epoch) {
        self.pending.retain(|pending| pending.wanted != Some(epoch));
    }

    /// A refusal came: the request rests, at least `retry_after` (a negative cache, SEC-08). False for an unknown number.
    pub(crate) fn refused(
        &mut self,
        number: u64,
        retry_after: Remaining,
        now: Time,
        rng: &mut dyn CryptoRng,
    ) -> bool {
        let Some(pending) = self
            .pending
            .iter_mut()
            .find(|pending| pending.number == number && pending.tries > 0)
        else {
            return false;
        };
        let pause = retry_after.duration().max(REQUEST_TIMEOUT);
        pending.due = now.after(pause + random_below(pause / 4, rng));
        pending.refused = true;
        true
    }

    /// What was tried before is tried again soon.
    pub(crate) fn retry(&mut self, now: Time, rng: &mut dyn CryptoRng) {
        for pending in self.pending.iter_mut().filter(|pending| pending.tries > 0) {
            let soon = now.after(random_below(DEMAND_JITTER, rng));
            pending.due = pending.due.min(soon);
            pending.tries = 1;
            pending.refused = false;
        }
    }

    /// A request that rests forgets an epoch nobody sends any more.
    pub(crate) fn forget_below(&mut self, oldest: Epoch) {
        self.pending
            .retain(|pending| pending.wanted.is_none_or(|wanted| wanted >= oldest));
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    fn sent(requester: &mut Requester, now: Time, rng: &mut ChaCha8Rng) -> Vec<Wanted> {
        let mut out = Vec::new();
        requester.poll(now, rng, |wanted| out.push(wanted));
        out
    }

    #[test]
    fn sec_08_one_request_per_key_and_retries_keep_their_number() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut requester = Requester::new(ChannelId(1));
        assert!(requester.demand(Epoch(7), Time(0), &mut rng));
        for _ in 0..1000 {
            assert!(
                !requester.demand(Epoch(7), Time(0), &mut rng),
                "a flood of packets plans one request"
            );
        }
        let mut numbers = Vec::new();
        let mut times = Vec::new();
        let second = 1_000_000_000;
        for step in 0..6_000 {
            for wanted in sent(&mut requester, Time(step * second / 100), &mut rng) {
                assert_eq!(
                    wanted.epoch,
                    Some(Epoch(7)),
                    "MD-37: the wanted epoch is in the request"
                );
                numbers.push(wanted.number);
                times.push(step / 100);
            }
        }
        assert!(
            numbers.iter().all(|&number| number == numbers[0]),
            "MD-40: a retry is the same request"
        );
        assert!(
            (12..=20).contains(&numbers.len()),
            "backs off to 5 s: {} tries in a minute",
            numbers.len()
        );
    }

    #[test]
    fn a_newer_epoch_displaces_the_oldest_request_and_an_older_one_does_not() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut requester = Requester::new(ChannelId(1));
        requester.plan(None, Time(0));
        for epoch in 10..20 {
            assert!(requester.demand(Epoch(epoch), Time(0), &mut rng));
        }
        assert!(!requester.demand(Epoch(9), Time(0), &mut rng));
        let mut wanted: Vec<_> = sent(&mut requester, Time(1 << 40), &mut rng)
            .into_iter()
            .map(|wanted| wanted.epoch)
            .collect();
        wanted.sort();
        assert_eq!(
            wanted,
            [None, Some(Epoch(17)), Some(Epoch(18)), Some(Epoch(19))]
        );
    }

    #[test]
    fn a_refusal_silences_the_request_for_as_long_as_it_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut requester = Requester::new(ChannelId(1));
        requester.plan(None, Time(0));
        let number = sent(&mut requester, Time(0), &mut rng)[0].number;
        assert!(requester.refused(number, Remaining(10_000), Time(0), &mut rng));
        assert!(sent(&mut requester, Time(9_999_999_999), &mut rng).is_empty());
        assert_eq!(
            sent(&mut requester, Time(12_600_000_000), &mut rng).len(),
            1
        );
        assert!(requester.answered(number));
        assert!(
            !requester.answered(number),
            "the same answer twice counts once"
        );
        assert_eq!(requester.next_timeout(), None);
    }
}
