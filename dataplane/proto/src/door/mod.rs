//! The key door: what answers devices' datagrams, and the device's half of the same conversation (design: the NTS shape,
//! RFC 8915).
//!
//! A device gets a session over TLS: two AEAD keys and some cookies. From then on it asks by single datagrams. The door keeps
//! nothing per session: what it must know of one stands in the cookie, sealed under a ticket key that all doors share.
//!
//! | room | what |
//! |---|---|
//! | `ticket` | what a cookie holds, and the keys that seal it |
//! | `known` | what a door must know |
//! | `served` | what the devices of a channel may have (MD-05, MD-21, MD-25, MD-37) |
//! | `guard` | bounds in fixed memory: replays, requests per session, hints per source |
//! | `session` | the device's half |
//! | `meter` | what was given to whom, for usage files (MD-33, MD-34) |
//! | `route` | which of its doors a device asks |
//!
//! An answer is never longer than what asked for it, and nothing is asked of memory by what is not authenticated.

mod guard;
mod known;
mod meter;
mod route;
mod served;
mod session;
#[cfg(test)]
mod tests;
mod ticket;

use std::fmt;
use std::net::IpAddr;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::ids::{AccountId, ChannelId, Remaining, Time};
use crate::limits::{COOKIES_MAX, NOTICE_INTERVAL, REPORT_INTERVAL};
use crate::wire::Wire as _;
use crate::wire::door::{
    AnswerWriter, DoorMessage as _, Granted, KeyRequestView, NONCE_LEN, Reason, Refusal, Refused,
    Wanted,
};
use crate::wire::feed::SlaveKey;
use guard::Guard;
pub use known::Known;
pub use meter::{KeyMeter, KeysGiven};
pub use route::{ROUND, Route, UNANSWERED, Way};
pub use served::{Served, ServedKey};
pub use session::{Answer, Session, SessionGrant};
pub use ticket::{SessionKey, Ticket, TicketKey, Tickets};

/// Something that changes what a door answers.
#[derive(Clone, Debug)]
pub enum Update {
    /// The master leads, or a slave may answer; or not: then every request is refused as busy.
    Leads(bool),
    /// What the devices of a channel may have from here on.
    Channel(Box<Served>),
    /// The channel is no more.
    ChannelGone(ChannelId),
    /// The ticket keys: sessions of any other period are over.
    Tickets(Tickets),
    /// Cookies of this account count only from this rights version on (SEC-11).
    RightsFloor {
        /// Whose.
        account: AccountId,
        /// The lowest version that counts.
        version: u64,
    },
    /// The slaves that may be fed.
    Roster(Vec<SlaveKey>),
}

/// What became of a datagram; indexes a counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Outcome {
    /// Keys were given.
    Granted,
    /// Refused, sealed: rights have changed.
    RightsChanged,
    /// Refused, sealed: not a channel of this session.
    NotEntitled,
    /// Refused, sealed: no such channel.
    ChannelUnknown,
    /// Refused, sealed: no such epoch (yet, or any more).
    EpochUnavailable,
    /// Refused, sealed: too many requests of one session, or the server is starting.
    Busy,
    /// Refused in clear: the cookie does not open.
    CookieUnknown,
    /// Dropped: the cookie does not open, and its source has had its hints.
    CookieUnknownSilent,
    /// Dropped: no request.
    Malformed,
    /// Dropped: the cookie opens, the request does not.
    Forged,
    /// Dropped: this very datagram was answered before.
    Replayed,
    /// Dropped: the answer would be longer than the request.
    TooShort,
}

impl Outcome {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 12] = [
        Self::Granted,
        Self::RightsChanged,
        Self::NotEntitled,
        Self::ChannelUnknown,
        Self::EpochUnavailable,
        Self::Busy,
        Self::CookieUnknown,
        Self::CookieUnknownSilent,
        Self::Malformed,
        Self::Forged,
        Self::Replayed,
        Self::TooShort,
    ];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::RightsChanged => "rights_changed",
            Self::NotEntitled => "not_entitled",
            Self::ChannelUnknown => "channel_unknown",
            Self::EpochUnavailable => "epoch_unavailable",
            Self::Busy => "busy",
            Self::CookieUnknown => "cookie_unknown",
            Self::CookieUnknownSilent => "cookie_unknown_silent",
            Self::Malformed => "malformed",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
            Self::TooShort => "too_short",
        }
    }
}

impl From<Reason> for Outcome {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::CookieUnknown => Self::CookieUnknown,
            Reason::NotEntitled => Self::NotEntitled,
            Reason::ChannelUnknown => Self::ChannelUnknown,
            Reason::EpochUnavailable => Self::EpochUnavailable,
            Reason::Busy => Self::Busy,
            Reason::RightsChanged => Self::RightsChanged,
        }
    }
}

/// One counter per outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcomes([u64; Outcome::ALL.len()]);

impl Outcomes {
    /// How many so far.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize]
    }

    /// Every outcome with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Outcome, u64)> + '_ {
        Outcome::ALL
            .into_iter()
            .map(|outcome| (outcome, self.of(outcome)))
    }
}

/// One key door. Several may share the work: they need the same updates, and nothing of each other.
#[derive(Debug)]
pub struct Door {
    leads: bool,
    known: Known,
    guard: Guard,
    outcomes: Outcomes,
    space: Space,
    given: Option<Vec<KeysGiven>>,
}

/// Where requests are opened: kept, so that answers ask nothing of memory.
#[derive(Default)]
struct Space {
    ticket: Zeroizing<Vec<u8>>,
    request: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Space(..)")
    }
}

/// A genuine request.
struct Asked<'a> {
    tickets: &'a Tickets,
    ticket: Ticket,
    /// The ticket as it is sealed in cookies.
    encoded: &'a [u8],
    request: &'a KeyRequestView<'a>,
    wanted: Wanted,
    /// Bytes that the answer may have.
    room: usize,
}

impl<'a> Asked<'a> {
    /// Opens cookie and request in `space`. The request is bound to the cookie beside it.
    ///
    /// # Errors
    /// That the cookie does not open, or what it stands beside does not.
    fn open(
        tickets: &'a Tickets,
        request: &'a KeyRequestView<'a>,
        room: usize,
        space: &'a mut Space,
    ) -> Result<Self, Outcome> {
        let (ticket, encoded) = tickets
            .open(request.cookie, &mut space.ticket)
            .ok_or(Outcome::CookieUnknown)?;
        space.request.clear();
        space.request.extend_from_slice(request.ciphertext);
        let key = ticket.request_key.siv();
        let plain = key
            .open_in_place(request.nonce, request.cookie, &mut space.request)
            .map_err(|_| Outcome::Forged)?;
        let mut input = &*plain;
        let wanted = Wanted::decode(&mut input).map_err(|_| Outcome::Forged)?;
        // The rest is padding, which makes room for the answer.
        if input.iter().fold(0, |all, byte| all | byte) != 0 {
            return Err(Outcome::Forged);
        }
        Ok(Self {
            tickets,
            ticket,
            encoded,
            request,
            wanted,
            room,
        })
    }
}

impl Asked<'_> {
    fn given(&self, granted: &Granted) -> KeysGiven {
        let Ticket {
            session,
            account,
            device,
            ..
        } = self.ticket;
        KeysGiven {
            session,
            account,
            device,
            channel: granted.channel,
            number: granted.number,
            current: granted.current.epoch,
            next: granted.next.as_ref().map(|next| next.epoch),
        }
    }
}

/// What a request came to, before it is sealed.
enum Verdict {
    Drop(Outcome),
    Refuse(Reason, Remaining),
}

impl From<(Reason, Remaining)> for Verdict {
    fn from((reason, retry_after): (Reason, Remaining)) -> Self {
        Self::Refuse(reason, retry_after)
    }
}

impl Door {
    /// A door that refuses everything until it is told more. `rng` seeds its tables.
    pub fn new(rng: &mut dyn CryptoRng) -> Self {
        Self {
            leads: false,
            known: Known::default(),
            guard: Guard::new(rng),
            outcomes: Outcomes::default(),
            space: Space::default(),
            given: None,
        }
    }

    /// Begins to note what is given: [`Door::given`] must be emptied from now on.
    pub fn note_given(&mut self) {
        self.given = Some(Vec::new());
    }

    /// Answers with keys since this was last emptied; nothing before [`Door::note_given`].
    pub fn given(&mut self) -> Option<&mut Vec<KeysGiven>> {
        self.given.as_mut()
    }

    /// Takes news in.
    pub fn update(&mut self, update: Update) {
        match update {
            Update::Leads(leads) => self.leads = leads,
            news => self.known.update(news),
        }
    }

    /// Totals.
    #[must_use]
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Answers one datagram of `source` into `reply`, which stays empty when there is no answer.
    pub fn answer(
        &mut self,
        now: Time,
        source: IpAddr,
        datagram: &[u8],
        rng: &mut dyn CryptoRng,
        reply: &mut Vec<u8>,
    ) -> Outcome {
        reply.clear();
        let outcome = self.try_answer(now, source, datagram, rng, reply);
        assert!(
            reply.len() <= datagram.len(),
            "an answer is never longer than what asked for it"
        );
        self.outcomes.0[outcome as usize] += 1;
        outcome
    }

    fn try_answer(
        &mut self,
        now: Time,
        source: IpAddr,
        datagram: &[u8],
        rng: &mut dyn CryptoRng,
        reply: &mut Vec<u8>,
    ) -> Outcome {
        let Ok(request) = KeyRequestView::parse(datagram) else {
            return Outcome::Malformed;
        };
        // Lent for the time of the answer.
        let tickets = self.known.lend_tickets();
        let mut space = std::mem::take(&mut self.space);
        let asked = match &tickets {
            Some(tickets) => Asked::open(tickets, &request, datagram.len(), &mut space),
            None => Err(Outcome::CookieUnknown),
        };
        let outcome = match asked {
            Ok(asked) => self.answer_asked(now, &asked, rng, reply),
            Err(Outcome::CookieUnknown) => self.hint(now, source, request.nonce, reply),
            Err(outcome) => outcome,
        };
        self.known.give_back(tickets);
        self.space = space;
        outcome
    }

    /// Tells a source whose cookie does not open, if it has not been told lately.
    fn hint(
        &mut self,
        now: Time,
        source: IpAddr,
        request: [u8; NONCE_LEN],
        reply: &mut Vec<u8>,
    ) -> Outcome {
        if !self.guard.may_hint(now, source) {
            return Outcome::CookieUnknownSilent;
        }
        let reason = Reason::CookieUnknown;
        reply.extend_from_slice(&Refusal::Plain { request, reason }.to_datagram());
        reason.into()
    }

    /// Answers a request that is genuine.
    fn answer_asked(
        &mut self,
        now: Time,
        asked: &Asked<'_>,
        rng: &mut dyn CryptoRng,
        reply: &mut Vec<u8>,
    ) -> Outcome {
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let mut given = None;
        let (outcome, mut answer) = match self.grant(now, asked, rng) {
            Ok(granted) => {
                let mut answer = AnswerWriter::reply(reply, asked.request.nonce, nonce);
                answer.write(&granted);
                given = Some(asked.given(&granted));
                (Outcome::Granted, answer)
            }
            Err(Verdict::Drop(outcome)) => return outcome,
            Err(Verdict::Refuse(reason, retry_after)) => {
                let mut answer = AnswerWriter::refusal(reply, asked.request.nonce, nonce);
                answer.write(&Refused {
                    number: asked.wanted.number,
                    channel: asked.wanted.channel,
                    reason,
                    retry_after,
                });
                (reason.into(), answer)
            }
        };
        let Some(free) = asked.room.checked_sub(answer.datagram_len()) else {
            return Outcome::TooShort;
        };
        if outcome == Outcome::Granted {
            let fit = free / (2 + asked.request.cookie.len());
            let count = usize::from(asked.wanted.cookies).min(COOKIES_MAX).min(fit);
            let (period, ticket) = (asked.ticket.period, asked.encoded);
            answer.add_cookies(count, |out| {
                asked.tickets.seal_encoded(period, ticket, rng, out)
            });
        }
        answer.seal(&asked.ticket.reply_key.siv());
        if let (Some(noted), Some(given)) = (&mut self.given, given) {
            noted.push(given);
        }
        outcome
    }

    fn grant(
        &mut self,
        now: Time,
        asked: &Asked<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Granted, Verdict> {
        let (ticket, wanted) = (&asked.ticket, &asked.wanted);
        if !self.guard.is_new(&ticket.session, &asked.request.nonce) {
            return Err(Verdict::Drop(Outcome::Replayed));
        }
        if !self.guard.may_ask(now, &ticket.session) {
            return Err((Reason::Busy, Remaining::from(REPORT_INTERVAL)).into());
        }
        if !self.leads {
            return Err((Reason::Busy, Remaining::from(NOTICE_INTERVAL)).into());
        }
        if self.known.is_below_floor(ticket) {
            return Err((Reason::RightsChanged, Remaining::from(REPORT_INTERVAL)).into());
        }
        if !ticket.channels.contains(&wanted.channel) {
            return Err((Reason::NotEntitled, Remaining::from(10 * REPORT_INTERVAL)).into());
        }
        let served = self.known.channel(wanted.channel);
        let unknown = (Reason::ChannelUnknown, Remaining::from(REPORT_INTERVAL));
        Ok(served.ok_or(unknown)?.grant(now, wanted, rng)?)
    }
}
