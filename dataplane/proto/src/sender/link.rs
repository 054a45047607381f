//! A sender's side of the link: what it says of itself, and what it takes from the authority.

use rand_core::CryptoRng;

use super::lanes::LaneSet;
use super::{Event, Output, Rejection, Sender, certificate_fits};
use crate::ids::Time;
use crate::limits::{NOTICE_AGE_MAX, REPORT_INTERVAL};
use crate::notice::Worth;
use crate::schedule::Slot;
use crate::wire::control::{LaneCertificate, Notice, Signed, Unverified};
use crate::wire::link::{
    CipherHalf, Early, Frame, FromAuthority, Held, Hello, Report, Sent, Settings, ToAuthority,
    Welcome,
};

impl Sender {
    /// The link is up (again): says who this is and where it stands.
    pub fn link_up(&mut self, now: Time) {
        (self.linked, self.announced_at) = (true, None);
        self.offset.reset();
        self.out.retain(|output| !matches!(output, Output::Link(_)));
        let hello = Hello {
            server: self.config.server,
            key: self.signing.verifying_key(),
            term: self.announcement.term(),
            other_master: false,
        };
        self.out.push_back(Output::Link(ToAuthority::Hello(hello)));
        (self.due.ping, self.due.report) = (now, now);
        self.redeposit(now);
    }

    /// The link is down: goes on by the hold rule, whatever the link does.
    pub fn link_down(&mut self) {
        (self.linked, self.announced_at) = (false, None);
    }

    /// Whether the link is up.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.linked
    }

    pub(super) fn report(&mut self, now: Time) {
        self.due.report = now.after(REPORT_INTERVAL);
        let held = |slot: &Slot<LaneSet>| Held {
            epoch: slot.epoch,
            term: slot.key.term(),
            group: slot.key.group(),
            first_lane: slot.key.first_lane(),
            remaining: slot.end.remaining(now),
        };
        let report = Report {
            channel: self.config.channel,
            run: self.config.run,
            mode: self.config.mode,
            lanes: self.config.lanes,
            current: self.schedule.current().map(held),
            next: self
                .schedule
                .next()
                .or(self.generation.waiting.as_ref())
                .map(held),
            spare: self.spare.as_ref().map(held),
            notice: self.notice.clone(),
            wants_next: self.wants_next(now),
            early: self.early,
            new_group: self.early == Some(Early::Numbers),
            sent: Sent {
                packets: self.stats.packets,
                bytes: self.stats.bytes,
            },
        };
        self.out
            .push_back(Output::Link(ToAuthority::Report(report)));
    }

    fn reject(&mut self, why: Rejection) {
        self.out.push_back(Output::Event(Event::Rejected { why }));
    }

    /// Takes a message of the authority.
    pub fn handle_link(&mut self, now: Time, frame: Frame<FromAuthority>, rng: &mut dyn CryptoRng) {
        let age = self.offset.age(frame.sent, now);
        // What was counted down at the authority when it spoke has gone on since.
        let spoken = now.before(age);
        match frame.message {
            FromAuthority::Welcome(welcome) => self.welcome(now, &welcome),
            FromAuthority::Pong(ping) => self.offset.pong(ping.echo, frame.sent, now),
            FromAuthority::CipherHalf(half) => self.cipher_half(now, spoken, half),
            FromAuthority::Notice(relay) if age > NOTICE_AGE_MAX => {
                drop(relay);
                self.reject(Rejection::OldNotice);
                // It was under way for long, or a clock stepped: a ping tells.
                self.due.ping = now;
            }
            FromAuthority::Notice(relay) => self.notice(now, spoken, relay.datagram),
            FromAuthority::Number(number) => self.numbered(now, &number, rng),
            FromAuthority::Deposited(deposited) => self.deposited(now, deposited),
            FromAuthority::Settings(settings) => self.settings(&settings),
            FromAuthority::BlockPart(part) => {
                if part.channel == self.config.channel {
                    self.carousel.take(part);
                    self.send_blocks(now);
                }
            }
        }
    }

    fn settings(&mut self, settings: &Settings) {
        if settings.channel != self.config.channel {
            return;
        }
        if settings.mode != self.config.mode {
            return self.reject(Rejection::Mode);
        }
        self.config.timing = settings.timing;
    }

    fn welcome(&mut self, now: Time, welcome: &Welcome) {
        if !self.announcement.term().admits(welcome.term) {
            return self.reject(Rejection::Term);
        }
        self.announcement.saw_term(welcome.term);
        self.authority = Some(welcome.authority);
        self.successor = welcome.successor;
        self.due.report = now;
    }

    /// Mode B: a cipher half (MD-17, MD-20).
    fn cipher_half(&mut self, now: Time, spoken: Time, half: CipherHalf) {
        if half.channel != self.config.channel || half.run != self.config.run {
            return;
        }
        let Some(certificate) = self.verify_certificate(&half.certificate) else {
            return;
        };
        if !self.announcement.term().admits(certificate.term) {
            return self.reject(Rejection::Term);
        }
        if !certificate_fits(
            &certificate,
            &self.config,
            &self.signing.verifying_key(),
            half.epoch,
        ) {
            return self.reject(Rejection::Certificate);
        }
        let end = spoken.after(half.remaining.duration());
        match LaneSet::new(
            half.epoch,
            &half.lanes,
            certificate,
            half.certificate,
            self.config.keylog,
            &self.signing,
        ) {
            Some(set) => self.install(now, half.epoch, set, end, half.at_once),
            None => self.reject(Rejection::Certificate),
        }
    }

    /// Content that the authority or its successor signed.
    fn verify<T: Signed>(&self, datagram: &[u8]) -> Option<T> {
        let unverified = Unverified::<T>::parse(datagram).ok()?;
        match unverified.verify(&self.authority?) {
            Ok(content) => Some(content),
            Err(unverified) => unverified.verify(&self.successor?).ok(),
        }
    }

    pub(super) fn verify_certificate(&mut self, datagram: &[u8]) -> Option<LaneCertificate> {
        let verified = self.verify::<LaneCertificate>(datagram);
        if verified.is_none() {
            self.reject(Rejection::Certificate);
        }
        verified
    }

    /// A fresh Notice: forwarded at once, and obeyed (MD-26).
    fn notice(&mut self, now: Time, spoken: Time, datagram: Vec<u8>) {
        let verified = self.verify::<Notice>(&datagram);
        let Some(notice) = verified.filter(|notice| notice.channel == self.config.channel) else {
            return self.reject(Rejection::Certificate);
        };
        if !self.announcement.term().admits(notice.term) {
            return self.reject(Rejection::Term);
        }
        self.out.push_back(Output::Multicast(datagram.clone()));
        let boundary = spoken.after(notice.remaining.duration());
        self.notice = Some(datagram);
        match self.announcement.worth(&notice, boundary) {
            Worth::Stale => return,
            Worth::Known => {
                self.announced_at = Some(now);
                return self.advance(now);
            }
            Worth::News => self.announced_at = Some(now),
        }
        let (current, next) = (notice.current, notice.next);
        self.announcement.accept(notice, boundary);
        // A change away from what is in use: the spare takes the place of next. Else it is still to come after next.
        let in_use = self.schedule.current().map(|slot| slot.epoch);
        let replaces = in_use == Some(current);
        if let Some(spare) = self.spare.take_if(|spare| replaces && spare.epoch == next) {
            self.schedule.install(spare);
        }
        let lifetime = self.config.timing.lifetime();
        self.schedule.put_off_next(next, boundary, lifetime);
        if let Some(slot) = self
            .schedule
            .current_mut()
            .filter(|slot| slot.epoch >= current && slot.epoch < next)
        {
            slot.end = boundary;
            if boundary > now {
                (self.holding, self.stopped) = (false, false);
            }
        }
        self.advance(now);
    }
}
