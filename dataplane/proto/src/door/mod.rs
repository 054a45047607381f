//! The key door: what answers devices' datagrams, and the device's half of the same conversation (design: the NTS shape,
//! RFC 8915).
//!
//! A device gets a session over TLS: two AEAD keys and some cookies. From then on it asks by single datagrams. The door keeps
//! nothing per session: what it must know of one stands in the cookie, sealed under a ticket key that all doors share.
//!
//! | room | what |
//! |---|---|
//! | `ticket` | what a cookie holds, and the keys that seal it |
//! | `served` | what the devices of a channel may have (MD-05, MD-21, MD-25, MD-37) |
//! | `guard` | bounds in fixed memory: replays, requests per session, hints per source |
//! | `session` | the device's half |
//!
//! An answer is never longer than what asked for it, and nothing is asked of memory by what is not authenticated.

mod guard;
mod served;
mod session;
#[cfg(test)]
mod tests;
mod ticket;

use std::collections::BTreeMap;
use std::net::IpAddr;

use rand_core::CryptoRng;

use crate::ids::{AccountId, ChannelId, Remaining, Time};
use crate::limits::{COOKIES_MAX, NOTICE_INTERVAL, REPORT_INTERVAL};
use crate::wire::Wire;
use crate::wire::door::{
    DoorMessage as _, KeyReply, KeyRequest, NONCE_LEN, REPLY_COST, Reason, Refusal, Refused,
    Sealed, Wanted,
};
use guard::Guard;
pub use served::{Served, ServedKey};
pub use session::{Answer, Session, SessionGrant};
pub use ticket::{SessionKey, Ticket, TicketKey, Tickets};

/// Something that changes what a door answers.
#[derive(Clone, Debug)]
pub enum Update {
    /// The master leads, or does not: then every request is refused as busy.
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
    tickets: Option<Tickets>,
    channels: BTreeMap<ChannelId, Served>,
    /// With the ticket period in which each was set: two periods later no cookie is below it.
    floors: BTreeMap<AccountId, (u64, u32)>,
    guard: Guard,
    outcomes: Outcomes,
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
            tickets: None,
            channels: BTreeMap::new(),
            floors: BTreeMap::new(),
            guard: Guard::new(rng),
            outcomes: Outcomes::default(),
        }
    }

    /// Takes news in.
    pub fn update(&mut self, update: Update) {
        match update {
            Update::Leads(leads) => self.leads = leads,
            Update::Channel(served) => {
                self.channels.insert(served.channel, *served);
            }
            Update::ChannelGone(channel) => {
                self.channels.remove(&channel);
            }
            Update::Tickets(tickets) => {
                let (oldest, current) = (tickets.oldest(), tickets.period());
                self.floors.retain(|_, (_, period)| {
                    // One that came before any ticket key counts from now.
                    *period = (*period).min(current);
                    *period >= oldest
                });
                self.tickets = Some(tickets);
            }
            Update::RightsFloor { account, version } => {
                let period = self.tickets.as_ref().map_or(u32::MAX, Tickets::period);
                let floor = self.floors.entry(account).or_insert((version, period));
                *floor = (floor.0.max(version), period);
            }
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
        let Ok(mut request) = KeyRequest::from_datagram(datagram) else {
            return Outcome::Malformed;
        };
        let nonce = request.sealed.nonce;
        let opened = self
            .tickets
            .as_ref()
            .and_then(|tickets| tickets.open(&request.cookie));
        let Some(ticket) = opened else {
            if !self.guard.may_hint(now, source) {
                return Outcome::CookieUnknownSilent;
            }
            let reason = Reason::CookieUnknown;
            let refusal = Refusal::Plain {
                request: nonce,
                reason,
            };
            reply.extend_from_slice(&refusal.to_datagram());
            return reason.into();
        };
        let Some(wanted) = open_request(&ticket, &mut request) else {
            return Outcome::Forged;
        };
        match self.grant(now, &ticket, &request, &wanted, datagram.len(), rng) {
            Ok(granted) => {
                reply.extend_from_slice(&granted.to_datagram());
                Outcome::Granted
            }
            Err(Verdict::Drop(outcome)) => outcome,
            Err(Verdict::Refuse(reason, retry_after)) => {
                let refused = Refused {
                    number: wanted.number,
                    channel: wanted.channel,
                    reason,
                    retry_after,
                };
                let refusal = Refusal::Sealed {
                    request: nonce,
                    sealed: seal(&ticket.reply_key, &nonce, &refused, rng),
                };
                let datagram_out = refusal.to_datagram();
                if datagram_out.len() > datagram.len() {
                    return Outcome::TooShort;
                }
                reply.extend_from_slice(&datagram_out);
                reason.into()
            }
        }
    }

    fn grant(
        &mut self,
        now: Time,
        ticket: &Ticket,
        request: &KeyRequest,
        wanted: &Wanted,
        room: usize,
        rng: &mut dyn CryptoRng,
    ) -> Result<KeyReply, Verdict> {
        let nonce = request.sealed.nonce;
        if !self.guard.is_new(&ticket.session, &nonce) {
            return Err(Verdict::Drop(Outcome::Replayed));
        }
        if !self.guard.may_ask(now, &ticket.session) {
            return Err((Reason::Busy, Remaining::from(REPORT_INTERVAL)).into());
        }
        if !self.leads {
            return Err((Reason::Busy, Remaining::from(NOTICE_INTERVAL)).into());
        }
        let floor = self.floors.get(&ticket.account);
        if floor.is_some_and(|&(version, _)| ticket.rights_version < version) {
            return Err((Reason::RightsChanged, Remaining::from(REPORT_INTERVAL)).into());
        }
        if !ticket.channels.contains(&wanted.channel) {
            return Err((Reason::NotEntitled, Remaining::from(10 * REPORT_INTERVAL)).into());
        }
        let served = self.channels.get(&wanted.channel);
        let unknown = (Reason::ChannelUnknown, Remaining::from(REPORT_INTERVAL));
        let mut granted = served.ok_or(unknown)?.grant(now, wanted, rng)?;
        let mut plain = Vec::with_capacity(room);
        granted.encode(&mut plain);
        let free = room
            .checked_sub(plain.len() + REPLY_COST)
            .ok_or(Verdict::Drop(Outcome::TooShort))?;
        let fit = free / (2 + request.cookie.0.len().max(1));
        let cookies = usize::from(wanted.cookies).min(COOKIES_MAX).min(fit);
        let tickets = self.tickets.as_ref();
        granted.cookies = (0..cookies)
            .filter_map(|_| tickets.and_then(|tickets| tickets.seal(ticket, rng)))
            .collect();
        Ok(KeyReply {
            request: nonce,
            sealed: seal(&ticket.reply_key, &nonce, &granted, rng),
        })
    }
}

/// What the sealed part of a request is bound to: the cookie beside it.
fn open_request(ticket: &Ticket, request: &mut KeyRequest) -> Option<Wanted> {
    let key = ticket.request_key.siv();
    let plain = key
        .open_in_place(
            request.sealed.nonce,
            &request.cookie.0,
            &mut request.sealed.ciphertext,
        )
        .ok()?;
    let mut input = &*plain;
    let wanted = Wanted::decode(&mut input).ok()?;
    // The rest is padding, which makes room for the answer.
    input.iter().all(|&byte| byte == 0).then_some(wanted)
}

/// Seals `content` under `key` with a random nonce; `aad` is what it belongs to.
fn seal(key: &SessionKey, aad: &[u8], content: &impl Wire, rng: &mut dyn CryptoRng) -> Sealed {
    let mut nonce = [0; NONCE_LEN];
    rng.fill_bytes(&mut nonce);
    let mut ciphertext = Vec::new();
    content.encode(&mut ciphertext);
    key.siv().seal_in_place(nonce, aad, &mut ciphertext);
    Sealed { nonce, ciphertext }
}
