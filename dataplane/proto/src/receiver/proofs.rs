//! Packets of lanes whose certificate asks for manifests (MD-03, SEC-05): which are proven, which wait for proof, which are forged.
//!
//! Whoever has the lane's key can seal packets of any number, so until a manifest decides nothing is believed: several packets may wait
//! under one number, and only a proven one moves the windows, the choice of source and the keys in use.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sealcast_crypto::{PACKET_DIGEST_LEN, PacketDigest};

use super::open::Origin;
use crate::discard::Discard;
use crate::ids::{Ctr, GroupId, Kid, Time};
use crate::limits::{
    MANIFEST_CHECKS_PER_SECOND, MANIFEST_WAIT, MANIFESTS_KEPT, PACKETS_PER_CHECK, UNVERIFIED_MAX,
};
use crate::wire::manifest::{DIGESTS_MAX, LISTS_MAX, Member, Statement};

/// What to do with packets before their manifest is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Verify {
    /// They wait, so nothing forged is ever delivered.
    #[default]
    ThenDeliver,
    /// They are delivered, and what turns out to be forged is an alarm.
    AfterDelivery,
}

/// What to do with packets whose manifests were all lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Missing {
    /// They are dropped.
    #[default]
    Drop,
    /// They are delivered all the same, with an alarm: whoever can keep manifests away can forge.
    Deliver,
}

/// How a receiver treats lanes whose certificate asks for manifests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifyConfig {
    /// Before or after delivery.
    pub verify: Verify,
    /// What to do without a manifest; with [`Verify::AfterDelivery`] there is nothing left to do but to tell.
    pub missing: Missing,
    /// How long a packet waits for its manifest.
    pub wait: Duration,
}

impl Default for VerifyConfig {
    fn default() -> Self {
        Self {
            verify: Verify::default(),
            missing: Missing::default(),
            wait: MANIFEST_WAIT,
        }
    }
}

/// Totals of lanes with manifests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VerifyCounts {
    /// Packets that a manifest listed.
    pub verified: u64,
    /// Packets that no manifest listed in time, delivered or not.
    pub unverified: u64,
    /// Packets that somebody else than their delivery server sealed, delivered or not.
    pub forged: u64,
    /// Of these, packets that had been delivered.
    pub alarmed: u64,
}

/// What becomes of a packet that a member sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Intake {
    /// To be accepted now.
    Deliver,
    /// It waits.
    Waits,
    /// It is dropped.
    Drop(Discard),
}

#[derive(Debug)]
struct Waiting {
    ctr: Ctr,
    digest: [u8; PACKET_DIGEST_LEN],
    arrived: Time,
    leg: usize,
    /// `None`: it was delivered.
    payload: Option<Vec<u8>>,
}

/// A packet whose waiting is over: to be accepted.
#[derive(Debug)]
pub(super) struct Released {
    pub(super) origin: Origin,
    pub(super) ctr: Ctr,
    pub(super) payload: Vec<u8>,
}

/// Packets of one lane in one epoch.
#[derive(Debug)]
struct LaneProofs {
    origin: Origin,
    /// Lanes of the stripe group: numbers of this one are so far apart.
    stride: u64,
    /// Where a number's first packet waits; what finds its place taken is in `aside`.
    places: Box<[Option<Waiting>]>,
    aside: BTreeMap<(Ctr, [u8; PACKET_DIGEST_LEN]), Waiting>,
    waiting: usize,
    /// When to look for packets that have waited long enough.
    due: Time,
    /// Lists that were proven, by their first number.
    proven: BTreeMap<u64, Box<[[u8; PACKET_DIGEST_LEN]]>>,
    /// One behind the highest number of them.
    proven_end: u64,
    /// The last statement whose signature held: other lists of it need no check.
    statement: Option<Statement>,
    budget: Budget,
}

/// What bounds signature checks, in parts of one check.
#[derive(Debug)]
struct Budget {
    parts: u64,
    at: Time,
}

impl Budget {
    const MOST: u64 = MANIFEST_CHECKS_PER_SECOND * PACKETS_PER_CHECK;

    fn refill(&mut self, now: Time) {
        let gained = now.since(self.at).as_nanos() * u128::from(Self::MOST) / 1_000_000_000;
        if gained > 0 {
            self.parts = Self::MOST.min(
                self.parts
                    .saturating_add(u64::try_from(gained).unwrap_or(Self::MOST)),
            );
            self.at = now;
        }
    }

    fn take(&mut self, now: Time) -> bool {
        self.refill(now);
        let left = self.parts.checked_sub(PACKETS_PER_CHECK);
        self.parts = left.unwrap_or(self.parts);
        left.is_some()
    }
}

impl LaneProofs {
    fn new(now: Time, origin: Origin, stride: u8) -> Self {
        Self {
            origin,
            stride: stride.into(),
            places: std::iter::repeat_with(|| None)
                .take(UNVERIFIED_MAX)
                .collect(),
            aside: BTreeMap::new(),
            waiting: 0,
            due: now,
            proven: BTreeMap::new(),
            proven_end: 0,
            statement: None,
            budget: Budget {
                parts: Budget::MOST,
                at: now,
            },
        }
    }

    fn place(&self, ctr: Ctr) -> usize {
        usize::try_from(ctr.0 / self.stride).unwrap_or(0) % UNVERIFIED_MAX
    }

    /// The digest of the genuine packet of this number, if its manifest is there.
    fn genuine(&self, ctr: Ctr) -> Option<&[u8; PACKET_DIGEST_LEN]> {
        if ctr.0 >= self.proven_end {
            return None;
        }
        let (&first, digests) = self.proven.range(..=ctr.0).next_back()?;
        let distance = ctr.0 - first;
        let index = usize::try_from(distance / self.stride).ok()?;
        distance
            .is_multiple_of(self.stride)
            .then(|| digests.get(index))
            .flatten()
    }

    /// Lets a packet wait, until `due` at least.
    fn wait(&mut self, due: Time, waiting: Waiting) -> Result<(), (Discard, Option<Vec<u8>>)> {
        let (key, leg) = ((waiting.ctr, waiting.digest), waiting.leg);
        let place = self.place(waiting.ctr);
        let known = match &self.places[place] {
            Some(there) if (there.ctr, there.digest) == key => Some(there.leg),
            _ => self.aside.get(&key).map(|there| there.leg),
        };
        if let Some(first) = known {
            let cause = if first == leg {
                Discard::Replay
            } else {
                Discard::Duplicate
            };
            return Err((cause, waiting.payload));
        }
        if self.waiting == 0 {
            self.due = due;
        }
        if self.places[place].is_none() {
            self.places[place] = Some(waiting);
        } else if self.aside.len() < UNVERIFIED_MAX {
            self.aside.insert(key, waiting);
        } else {
            return Err((Discard::Unverified, waiting.payload));
        }
        self.waiting += 1;
        Ok(())
    }

    /// Takes out all that waits under this number.
    fn settle(&mut self, ctr: Ctr, mut each: impl FnMut(Waiting)) {
        let place = self.place(ctr);
        if let Some(waiting) = self.places[place].take_if(|waiting| waiting.ctr == ctr) {
            self.waiting -= 1;
            each(waiting);
        }
        if self.aside.is_empty() {
            return;
        }
        let all = (ctr, [0; PACKET_DIGEST_LEN])..=(ctr, [0xff; PACKET_DIGEST_LEN]);
        for (_, waiting) in self.aside.extract_if(all, |_, _| true) {
            self.waiting -= 1;
            each(waiting);
        }
    }

    /// Takes out all that has waited for `wait`, in the order of numbers.
    fn expire(&mut self, now: Time, wait: Duration) -> Vec<Waiting> {
        let old = |waiting: &Waiting| waiting.arrived.after(wait) <= now;
        let placed = self
            .places
            .iter_mut()
            .filter_map(|place| place.take_if(|waiting| old(waiting)));
        let aside = self.aside.extract_if(.., |_, waiting| old(waiting));
        let mut expired: Vec<_> = placed.chain(aside.map(|(_, waiting)| waiting)).collect();
        self.waiting -= expired.len();
        expired.sort_by_key(|waiting| waiting.ctr);
        let rest = self.places.iter().flatten().chain(self.aside.values());
        let oldest = rest.map(|waiting| waiting.arrived).min();
        // Looking takes a while: not for each packet alone.
        let soonest = now.after(wait / 8);
        self.due = oldest.map_or(soonest, |oldest| soonest.max(oldest.after(wait)));
        expired
    }
}

/// The lanes with manifests of one channel.
#[derive(Debug)]
pub(super) struct Proofs {
    config: VerifyConfig,
    lanes: BTreeMap<Kid, LaneProofs>,
    released: VecDeque<Released>,
    pool: Vec<Vec<u8>>,
    counts: VerifyCounts,
}

impl Proofs {
    pub(super) fn new(config: VerifyConfig) -> Self {
        Self {
            config,
            lanes: BTreeMap::new(),
            released: VecDeque::new(),
            pool: Vec::new(),
            counts: VerifyCounts::default(),
        }
    }

    pub(super) fn counts(&self) -> VerifyCounts {
        self.counts
    }

    fn lane(&mut self, now: Time, kid: Kid, origin: Origin, stride: u8) -> &mut LaneProofs {
        self.lanes
            .entry(kid)
            .or_insert_with(|| LaneProofs::new(now, origin, stride))
    }

    /// A packet that a member sealed. What is to be delivered at once, and is not proven yet, must be [noted](Self::delivered).
    pub(super) fn packet(
        &mut self,
        now: Time,
        (kid, origin, stride): (Kid, Origin, u8),
        ctr: Ctr,
        digest: &PacketDigest,
        payload: &[u8],
    ) -> Intake {
        let config = self.config;
        let mut buffer = self.pool.pop().unwrap_or_default();
        let lane = self.lane(now, kid, origin, stride);
        lane.budget.parts = Budget::MOST.min(lane.budget.parts + 1);
        let intake = match lane.genuine(ctr) {
            Some(genuine) if genuine == digest.as_bytes() => {
                self.counts.verified += 1;
                Intake::Deliver
            }
            Some(_) => {
                self.counts.forged += 1;
                Intake::Drop(Discard::Forged)
            }
            None if config.verify == Verify::AfterDelivery => Intake::Deliver,
            None => {
                buffer.clear();
                buffer.extend_from_slice(payload);
                let waiting = Waiting {
                    ctr,
                    digest: *digest.as_bytes(),
                    arrived: now,
                    leg: origin.leg,
                    payload: Some(buffer),
                };
                match lane.wait(now.after(config.wait), waiting) {
                    Ok(()) => return Intake::Waits,
                    Err((cause, back)) => {
                        buffer = back.unwrap_or_default();
                        self.counts.unverified += u64::from(cause == Discard::Unverified);
                        Intake::Drop(cause)
                    }
                }
            }
        };
        self.pool.push(buffer);
        intake
    }

    /// Where a stream begins whose first proven packet is `ctr`: lanes are proven one after the other, so what waits on another lane may come before
    /// it. Whoever plants such packets delays the beginning, by as long as order waits for what is missing.
    pub(super) fn beginning(&self, group: GroupId, ctr: Ctr) -> Ctr {
        let lanes = self
            .lanes
            .values()
            .filter(|lane| lane.origin.group == group);
        let lowest = lanes.filter_map(|lane| {
            let reach = lane.stride * (LISTS_MAX * DIGESTS_MAX) as u64;
            let waiting = lane.places.iter().flatten();
            let waiting = waiting.filter(|it| it.payload.is_some() && it.ctr.0 + reach >= ctr.0);
            waiting.map(|it| it.ctr).min()
        });
        lowest.min().map_or(ctr, |lowest| lowest.min(ctr))
    }

    /// A packet was delivered before anything proved it.
    pub(super) fn delivered(
        &mut self,
        now: Time,
        kid: Kid,
        ctr: Ctr,
        digest: &PacketDigest,
        leg: usize,
    ) {
        let Some(lane) = self.lanes.get_mut(&kid) else {
            return;
        };
        if self.config.verify == Verify::AfterDelivery && lane.genuine(ctr).is_none() {
            let waiting = Waiting {
                ctr,
                digest: *digest.as_bytes(),
                arrived: now,
                leg,
                payload: None,
            };
            if lane.wait(now.after(self.config.wait), waiting).is_err() {
                self.counts.unverified += 1;
            }
        }
    }

    /// Whether this list was proven before: most second copies need no more than a look.
    pub(super) fn knows(&self, kid: Kid, first: Ctr, digests: &[[u8; PACKET_DIGEST_LEN]]) -> bool {
        let lane = self.lanes.get(&kid);
        let known = lane.and_then(|lane| lane.proven.get(&first.0));
        known.is_some_and(|known| **known == *digests)
    }

    /// A manifest whose MAC holds, and that is not [known](Self::knows); `holds` checks a signature. Releases what it proves, and returns how many packets that waited
    /// are forged.
    pub(super) fn manifest(
        &mut self,
        now: Time,
        (kid, origin, stride): (Kid, Origin, u8),
        member: &Member<'_>,
        holds: impl FnOnce(&Statement) -> bool,
    ) -> Result<u64, Discard> {
        let lane = self.lane(now, kid, origin, stride);
        let first = member.first();
        let lowest = lane.proven.first_key_value().map(|(&lowest, _)| lowest);
        if lane.proven.len() == MANIFESTS_KEPT && lowest.is_some_and(|lowest| first.0 < lowest) {
            return Err(Discard::Stale);
        }
        let statement = member.statement();
        if lane.statement != Some(statement) {
            if !lane.budget.take(now) {
                return Err(Discard::SignatureBound);
            }
            if !holds(&statement) {
                return Err(Discard::BadSignature);
            }
            lane.statement = Some(statement);
        }
        Ok(self.prove(kid, first, member.digests()))
    }

    fn prove(&mut self, kid: Kid, first: Ctr, digests: &[[u8; PACKET_DIGEST_LEN]]) -> u64 {
        let Some(lane) = self.lanes.get_mut(&kid) else {
            return 0;
        };
        let (counts, pool, released) = (&mut self.counts, &mut self.pool, &mut self.released);
        let mut forged = 0;
        for (ctr, genuine) in (first.0..)
            .step_by(usize::try_from(lane.stride).unwrap_or(1))
            .map(Ctr)
            .zip(digests)
        {
            let origin = lane.origin;
            lane.settle(ctr, |waiting| {
                let is_genuine = waiting.digest == *genuine;
                counts.verified += u64::from(is_genuine);
                counts.forged += u64::from(!is_genuine);
                match waiting.payload {
                    Some(payload) if is_genuine => {
                        let origin = Origin {
                            leg: waiting.leg,
                            ..origin
                        };
                        released.push_back(Released {
                            origin,
                            ctr,
                            payload,
                        });
                    }
                    Some(payload) => {
                        forged += 1;
                        pool.push(payload);
                    }
                    None => counts.alarmed += u64::from(!is_genuine),
                }
            });
        }
        if lane.proven.len() == MANIFESTS_KEPT {
            lane.proven.pop_first();
        }
        lane.proven_end = lane
            .proven_end
            .max(first.0 + digests.len() as u64 * lane.stride);
        lane.proven.insert(first.0, digests.into());
        forged
    }

    /// Lets time pass: what has waited too long is dropped or released. Returns how many are dropped.
    pub(super) fn poll(&mut self, now: Time) -> u64 {
        self.expire(now, self.config.wait)
    }

    /// The stream ends: nothing waits any longer.
    pub(super) fn finish(&mut self, now: Time) -> u64 {
        self.lanes.values_mut().for_each(|lane| lane.due = now);
        self.expire(now, Duration::ZERO)
    }

    fn expire(&mut self, now: Time, wait: Duration) -> u64 {
        let mut dropped = 0;
        for lane in self.lanes.values_mut() {
            if lane.waiting == 0 || lane.due > now {
                continue;
            }
            for waiting in lane.expire(now, wait) {
                self.counts.unverified += 1;
                match (waiting.payload, self.config.missing) {
                    (None, _) => {}
                    (Some(payload), Missing::Drop) => {
                        dropped += 1;
                        self.pool.push(payload);
                    }
                    (Some(payload), Missing::Deliver) => {
                        let origin = Origin {
                            leg: waiting.leg,
                            ..lane.origin
                        };
                        let ctr = waiting.ctr;
                        self.released.push_back(Released {
                            origin,
                            ctr,
                            payload,
                        });
                    }
                }
            }
        }
        dropped
    }

    /// Forgets lanes whose keys are held no longer, if nothing of them waits.
    pub(super) fn retain(&mut self, is_held: impl Fn(Kid) -> bool) {
        self.lanes
            .retain(|&kid, lane| lane.waiting > 0 || is_held(kid));
    }

    /// When [`Proofs::poll`] has something to do.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        let waiting = self.lanes.values().filter(|lane| lane.waiting > 0);
        waiting.map(|lane| lane.due).min()
    }

    /// The next packet to be accepted.
    pub(super) fn next_released(&mut self) -> Option<Released> {
        self.released.pop_front()
    }

    /// Gives a released packet's buffer back.
    pub(super) fn recycle(&mut self, buffer: Vec<u8>) {
        self.pool.push(buffer);
    }
}
