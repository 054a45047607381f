//! Manifests at a receiver: what they prove is accepted, what they disprove is dropped or an alarm (MD-03, SEC-05).

use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_crypto::PacketDigest;

use super::open::Origin;
use super::proofs::{Intake, VerifyCounts};
use super::{Event, Receiver};
use crate::discard::Discard;
use crate::ids::{Ctr, Kid, Time};
use crate::wire::manifest::Unproven;

/// At least so long between two words about forged packets, or about missing manifests.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// What people were told.
#[derive(Debug, Default)]
pub(super) struct Told {
    counts: VerifyCounts,
    next: Time,
}

impl Receiver {
    /// A packet that a member sealed, of a lane with manifests.
    pub(super) fn examine(
        &mut self,
        now: Time,
        (kid, origin, lanes): (Kid, Origin, u8),
        ctr: Ctr,
        digest: &PacketDigest,
        payload: &[u8],
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        match self
            .proofs
            .packet(now, (kid, origin, lanes), ctr, digest, payload)
        {
            Intake::Deliver => {
                if self.accept(now, origin, ctr, payload, deliver) {
                    self.proofs.delivered(now, kid, ctr, digest, origin.leg);
                }
            }
            Intake::Waits => {}
            Intake::Drop(cause) => self.discards.count(cause),
        }
    }

    /// A manifest came.
    pub(super) fn manifest(
        &mut self,
        now: Time,
        leg: usize,
        datagram: &[u8],
        rng: &mut dyn CryptoRng,
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        let Ok(unproven) = Unproven::parse(datagram) else {
            return self.discards.count(Discard::Malformed);
        };
        let kid = unproven.kid;
        if kid.channel() != self.config.channel {
            return self.discards.count(Discard::OtherChannel);
        }
        let lane = match self.follower.keys.lane(kid) {
            Some(lane) => Ok(lane),
            None => self.derive(now, leg, kid, datagram, rng),
        };
        match lane {
            Ok(lane) => self.prove(now, leg, lane, unproven, deliver),
            Err(Some(cause)) => self.discards.count(cause),
            Err(None) => {}
        }
    }

    /// Checks a manifest of a lane whose key is there.
    pub(super) fn prove(
        &mut self,
        now: Time,
        leg: usize,
        lane: usize,
        unproven: Unproven<'_>,
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        let lane = self.follower.keys.lane_at(lane);
        let Some(vouching) = &lane.vouching else {
            return self.discards.count(Discard::Unexpected);
        };
        if self
            .proofs
            .knows(lane.kid, unproven.first, unproven.claimed())
        {
            return self.discards.count(Discard::Known);
        }
        let Some(member) = unproven.of_member(&vouching.key) else {
            return self.discards.count(Discard::BadMac);
        };
        let origin = Origin {
            epoch: lane.epoch,
            lane: lane.kid.lane(),
            group: lane.group,
            server: lane.server,
            leg,
        };
        let checks = &mut self.stats.signature_checks;
        let proven = self.proofs.manifest(
            now,
            (lane.kid, origin, vouching.lanes),
            &member,
            |statement| {
                *checks += 1;
                statement.holds(lane.group, &vouching.server)
            },
        );
        match proven {
            Ok(forged) => self.discards.add(Discard::Forged, forged),
            Err(cause) => return self.discards.count(cause),
        }
        self.release(now, deliver);
    }

    /// Accepts what waited for its manifest.
    fn release(&mut self, now: Time, deliver: &mut dyn FnMut(&[u8])) {
        while let Some(released) = self.proofs.next_released() {
            let (origin, ctr) = (released.origin, released.ctr);
            self.accept(now, origin, ctr, &released.payload, deliver);
            self.proofs.recycle(released.payload);
        }
    }

    /// Lets time pass for packets that wait for their manifests.
    pub(super) fn poll_proofs(&mut self, now: Time, deliver: &mut dyn FnMut(&[u8])) {
        let dropped = self.proofs.poll(now);
        self.discards.add(Discard::Unverified, dropped);
        self.release(now, deliver);
        let keys = &self.follower.keys;
        self.proofs.retain(|kid| keys.lane(kid).is_some());
        self.tell_of_proofs(now);
    }

    /// The stream ends: what waits is treated as if its manifests were lost.
    pub(super) fn finish_proofs(&mut self, deliver: &mut dyn FnMut(&[u8])) {
        let now = Time(u64::MAX);
        let dropped = self.proofs.finish(now);
        self.discards.add(Discard::Unverified, dropped);
        self.release(now, deliver);
    }

    /// Says how many packets were forged or could not be verified, not too often.
    fn tell_of_proofs(&mut self, now: Time) {
        let (counts, told) = (self.proofs.counts(), &mut self.told);
        if now < told.next || counts == told.counts {
            return;
        }
        let since = |count: u64, before: u64| (count > before).then_some(count - before);
        if let Some(packets) = since(counts.forged, told.counts.forged) {
            let delivered = counts.alarmed - told.counts.alarmed;
            self.events.push_back(Event::Forged { packets, delivered });
            told.next = now.after(TELL_INTERVAL);
        }
        if let Some(packets) = since(counts.unverified, told.counts.unverified) {
            self.events.push_back(Event::Unverified { packets });
            told.next = now.after(TELL_INTERVAL);
        }
        told.counts = counts;
    }
}
