//! What a receiver believes of the multicast control datagrams: certificates and Notices that the channel's authority
//! signed (SEC-10). Claims steer what is checked; only verified content is used.

use std::net::IpAddr;

use sealcast_crypto::{Commitment, VerifyingKey};

use super::budget::Budget;
use crate::discard::Discard;
use crate::ids::{ChannelId, Epoch, GroupId, Lane, Term, Time};
use crate::limits::CERTIFICATES_MAX;
use crate::notice::{Announced, Announcement, Worth};
use crate::wire::control::{ControlType, LaneCertificate, Notice, Signed, Unverified};
use crate::wire::key_block::KeyBlock;
use crate::wire::{Kind, kind};

/// News from a verified datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// More lanes are certified.
    Certificate,
    /// More lanes are certified, by a higher term than before for this epoch: its root is another one.
    Superseded(Epoch),
    /// The announced change is another, or earlier.
    Notice,
}

/// What the authority of one channel has said in band, verified. Any number of [`super::Follower`]s may go by one.
#[derive(Debug)]
pub struct Trust {
    channel: ChannelId,
    authority: Option<VerifyingKey>,
    successor: Option<VerifyingKey>,
    announcement: Announcement,
    /// Verified certificates and their datagrams: a repeated datagram costs a comparison.
    certificates: Vec<(LaneCertificate, Box<[u8]>)>,
    budget: Budget,
    checks: u64,
}

impl Trust {
    /// Nothing is known yet, not even the authority key.
    #[must_use]
    pub fn new(channel: ChannelId) -> Self {
        Self {
            channel,
            authority: None,
            successor: None,
            announcement: Announcement::default(),
            certificates: Vec::new(),
            budget: Budget::default(),
            checks: 0,
        }
    }

    /// The authority key and its successor, from a private channel (enrolment, KeyReply).
    pub fn set_authority(&mut self, authority: VerifyingKey, successor: Option<VerifyingKey>) {
        self.authority = Some(authority);
        self.successor = successor;
    }

    pub(crate) fn term(&self) -> Term {
        self.announcement.term()
    }

    pub(crate) fn announced(&self) -> Option<&Announced> {
        self.announcement.get()
    }

    /// Signatures checked so far.
    pub(crate) fn checks(&self) -> u64 {
        self.checks
    }

    /// What the root of `epoch` must be, if the term of now has said so.
    pub(super) fn committed(&self, epoch: Epoch) -> Option<Commitment> {
        let term = self.term();
        let announced = self
            .announced()
            .filter(|announced| announced.notice.term == term)?;
        let notice = &announced.notice;
        let named = [
            (notice.current, notice.current_commitment),
            (notice.next, notice.next_commitment),
        ];
        named
            .into_iter()
            .find(|&(named, _)| named == epoch)
            .and_then(|(_, commitment)| commitment)
    }

    /// The change that is announced: the epochs before and after it, and when it is due.
    #[must_use]
    pub fn change(&self) -> Option<(Epoch, Epoch, Time)> {
        let announced = self.announced()?;
        let notice = &announced.notice;
        Some((notice.current, notice.next, announced.boundary))
    }

    /// Takes a control datagram that came by multicast.
    ///
    /// # Errors
    /// Why it says nothing new, or cannot be believed.
    pub fn datagram(
        &mut self,
        now: Time,
        source: IpAddr,
        datagram: &[u8],
    ) -> Result<News, Discard> {
        match kind(datagram) {
            Kind::Control(kind) => self.handle(now, source, kind, datagram),
            Kind::Packet | Kind::Other => Err(Discard::Unexpected),
        }
    }

    /// As [`Trust::datagram`], of a kind that is known.
    pub(crate) fn handle(
        &mut self,
        now: Time,
        source: IpAddr,
        kind: u8,
        datagram: &[u8],
    ) -> Result<News, Discard> {
        const NOTICE: u8 = ControlType::Notice as u8;
        const CERTIFICATE: u8 = ControlType::LaneCertificate as u8;
        match kind {
            NOTICE => self.notice(now, source, datagram),
            CERTIFICATE => self.certificate(now, source, datagram),
            _ => Err(Discard::Unexpected),
        }
    }

    fn notice(&mut self, now: Time, source: IpAddr, datagram: &[u8]) -> Result<News, Discard> {
        let unverified = Unverified::<Notice>::parse(datagram).map_err(|_| Discard::Malformed)?;
        let boundary = now.after(unverified.claimed().remaining.duration());
        match self.announcement.worth(unverified.claimed(), boundary) {
            Worth::News => {}
            Worth::Known => return Err(Discard::Known),
            Worth::Stale => return Err(Discard::Stale),
        }
        let notice = self.verify(now, source, unverified)?;
        self.announcement.accept(notice, boundary);
        Ok(News::Notice)
    }

    /// A part of a key block that opens: only whoever has the node's key comes here, so checks are taken from the share of Notices.
    pub(crate) fn key_block(
        &mut self,
        now: Time,
        source: IpAddr,
        unverified: Unverified<KeyBlock>,
    ) -> Result<KeyBlock, Discard> {
        if !self.announcement.term().admits(unverified.claimed().term) {
            return Err(Discard::Stale);
        }
        self.verify_as(now, source, ControlType::Notice, unverified)
    }

    fn certificate(&mut self, now: Time, source: IpAddr, datagram: &[u8]) -> Result<News, Discard> {
        let unverified =
            Unverified::<LaneCertificate>::parse(datagram).map_err(|_| Discard::Malformed)?;
        if self
            .certificates
            .iter()
            .any(|(_, known)| **known == *datagram)
        {
            return Err(Discard::Known);
        }
        let certificate = self.verify(now, source, unverified)?;
        self.announcement.saw_term(certificate.term);
        self.insert(certificate, datagram.into())
    }

    /// Of two certificates for one lane of one epoch the one of the higher term holds; of one term, the first.
    fn insert(
        &mut self,
        certificate: LaneCertificate,
        datagram: Box<[u8]>,
    ) -> Result<News, Discard> {
        let clash = |known: &LaneCertificate| {
            let last = known.first_lane.number() + (known.lanes - 1);
            let epochs = known.first_epoch.max(certificate.first_epoch)
                <= known.last_epoch.min(certificate.last_epoch);
            let first = known
                .first_lane
                .number()
                .max(certificate.first_lane.number());
            epochs
                && first <= last.min(certificate.first_lane.number() + (certificate.lanes - 1))
                && known.group != certificate.group
        };
        if self
            .certificates
            .iter()
            .any(|(known, _)| clash(known) && known.term.number >= certificate.term.number)
        {
            return Err(Discard::Stale);
        }
        let clashed = self.certificates.iter().any(|(known, _)| clash(known));
        self.certificates.retain(|(known, _)| !clash(known));
        // Lanes of a root are handed out only by the term that generated it: another term's lanes are another root's.
        let epoch = certificate.first_epoch;
        let superseded = |known: &LaneCertificate| {
            known.group != certificate.group && known.term.number < certificate.term.number
        };
        let of_epoch =
            |known: &LaneCertificate| (known.first_epoch..=known.last_epoch).contains(&epoch);
        let replaced = self
            .certificates
            .iter()
            .any(|(known, _)| of_epoch(known) && superseded(known))
            || clashed;
        self.certificates
            .retain(|(known, _)| !(of_epoch(known) && superseded(known)));
        if self.certificates.len() == CERTIFICATES_MAX {
            self.certificates.remove(0);
        }
        self.certificates.push((certificate, datagram));
        Ok(if replaced {
            News::Superseded(epoch)
        } else {
            News::Certificate
        })
    }

    fn verify<T: Signed>(
        &mut self,
        now: Time,
        source: IpAddr,
        unverified: Unverified<T>,
    ) -> Result<T, Discard> {
        self.verify_as(now, source, T::TYPE, unverified)
    }

    /// With a check from the share of `kind`.
    fn verify_as<T: Signed>(
        &mut self,
        now: Time,
        source: IpAddr,
        kind: ControlType,
        unverified: Unverified<T>,
    ) -> Result<T, Discard> {
        if unverified.claimed().channel() != self.channel {
            return Err(Discard::OtherChannel);
        }
        let Some(authority) = self.authority else {
            return Err(Discard::Unexpected);
        };
        if !self.budget.take(now, kind, source) {
            return Err(Discard::SignatureBound);
        }
        self.checks += 1;
        let content = unverified
            .verify(&authority)
            .or_else(|unverified| match &self.successor {
                Some(successor) => unverified.verify(successor),
                None => Err(unverified),
            });
        let content = content.map_err(|_| Discard::BadSignature)?;
        self.budget.passed(source);
        Ok(content)
    }

    /// The certificate that covers `lane` in the epoch whose low bits are `epoch_low`, and that epoch in full.
    pub(crate) fn lookup(&self, lane: Lane, epoch_low: u32) -> Option<(&LaneCertificate, Epoch)> {
        self.certificates.iter().rev().find_map(|(certificate, _)| {
            let epoch = crate::ids::nearest_epoch(epoch_low, certificate.first_epoch)?;
            certificate
                .covers(lane, epoch)
                .then_some((certificate, epoch))
        })
    }

    /// Whether `group` follows `earlier`, directly or by a chain of certificates.
    pub(crate) fn follows(&self, group: GroupId, earlier: GroupId) -> bool {
        let before = |group: GroupId| {
            self.certificates
                .iter()
                .find(|(known, _)| known.group == group)
                .and_then(|(known, _)| known.follows)
        };
        let mut at = before(group);
        for _ in 0..16 {
            match at {
                Some(found) if found == earlier => return true,
                Some(found) => at = before(found),
                None => return false,
            }
        }
        false
    }

    /// Forgets certificates whose epochs are over.
    pub(crate) fn forget_below(&mut self, oldest: Epoch) {
        self.certificates
            .retain(|(certificate, _)| certificate.last_epoch >= oldest);
    }
}

#[cfg(test)]
mod tests {
    use sealcast_crypto::SigningKey;

    use super::*;
    use crate::ids::ServerId;
    use crate::wire::control::AuthLevel;

    /// SEC-10: members of the authority's own making are bounded, too; the oldest go.
    #[test]
    fn certificates_are_bounded_and_the_oldest_go_first() {
        let mut trust = Trust::new(ChannelId(1));
        let lane = Lane::new(1).expect("not zero");
        for epoch in 1..=CERTIFICATES_MAX as u64 + 10 {
            let certificate = LaneCertificate {
                channel: ChannelId(1),
                term: Term::NONE,
                group: GroupId(5),
                follows: None,
                server: ServerId(1),
                server_key: SigningKey::from_seed(&[9; 32]).verifying_key(),
                first_lane: lane,
                lanes: 1,
                first_epoch: Epoch(epoch),
                last_epoch: Epoch(epoch),
                auth: AuthLevel::Group,
            };
            let inserted = trust.insert(certificate, Box::default());
            assert_eq!(inserted, Ok(News::Certificate));
        }
        assert_eq!(trust.certificates.len(), CERTIFICATES_MAX);
        assert!(trust.lookup(lane, 10).is_none());
        assert!(trust.lookup(lane, 11).is_some());
    }
}
