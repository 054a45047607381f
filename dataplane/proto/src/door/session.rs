//! The device's half: seals requests with the session's cookies, takes answers.

use std::collections::VecDeque;

use rand_core::CryptoRng;

use super::ticket::SessionKey;
use crate::discard::Discard;
use crate::ids::{SessionId, Time};
use crate::limits::{CONTROL_MAX, COOKIES_MAX};
use crate::wire::Wire;
use crate::wire::codec::wire_struct;
use crate::wire::control::ControlType;
use crate::wire::door::{
    Cookie, DoorMessage as _, Granted, KeyReply, KeyRequest, NONCE_LEN, REPLY_COST, Reason,
    Refusal, Refused, Sealed, Wanted,
};
use crate::wire::{Kind, kind};

/// Requests that may be outstanding; the oldest is forgotten first.
const PENDING_MAX: usize = 128;
/// Longest plaintext of an answer without cookies: two halves, two authority keys, times.
const ANSWER_MAX: usize = 8 + 2 + 44 + 45 + 4 + 32 + 33 + 20 + 2;

/// What a device gets over TLS: a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionGrant {
    /// Its id.
    pub session: SessionId,
    /// Seals requests.
    pub request_key: SessionKey,
    /// Seals replies.
    pub reply_key: SessionKey,
    /// At least one.
    pub cookies: Vec<Cookie>,
}

wire_struct!(SessionGrant {
    session,
    request_key,
    reply_key,
    cookies
});

/// What a door answered.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
pub enum Answer {
    /// Keys.
    Granted {
        /// What was given.
        granted: Granted,
        /// When the request left that this answers: what remains of the keys counts from then (SEC-12).
        asked: Time,
    },
    /// None, and why.
    Refused(Refused),
    /// A hint that anybody could have sent: the cookie did not open.
    CookieUnknown,
}

#[derive(Debug)]
struct Pending {
    nonce: [u8; NONCE_LEN],
    number: u64,
    asked: Time,
}

/// A session with the key doors.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    request_key: SessionKey,
    reply_key: SessionKey,
    cookies: VecDeque<Cookie>,
    /// Cookies that it likes to have.
    stock: u8,
    pending: VecDeque<Pending>,
}

impl Session {
    /// The session that was granted; `None` without a cookie.
    #[must_use]
    pub fn new(grant: SessionGrant) -> Option<Self> {
        (!grant.cookies.is_empty()).then(|| Self {
            id: grant.session,
            request_key: grant.request_key,
            reply_key: grant.reply_key,
            cookies: grant.cookies.into(),
            stock: u8::try_from(COOKIES_MAX).expect("a few"),
            pending: VecDeque::new(),
        })
    }

    /// Keeps no more than `stock` cookies, 1 to [`COOKIES_MAX`] (the default): less memory for many sessions in one process. With 2
    /// it uses one cookie and asks for one each time, as a session does that has its full stock.
    #[must_use]
    pub fn with_stock(mut self, stock: u8) -> Self {
        self.stock = stock.clamp(1, u8::try_from(COOKIES_MAX).expect("a few"));
        self
    }

    /// The session as it stands, to be kept over a restart.
    #[must_use]
    pub fn grant(&self) -> SessionGrant {
        SessionGrant {
            session: self.id,
            request_key: self.request_key.clone(),
            reply_key: self.reply_key.clone(),
            cookies: self.cookies.iter().cloned().collect(),
        }
    }

    /// Cookies in stock.
    #[must_use]
    pub fn cookies(&self) -> usize {
        self.cookies.len()
    }

    /// The datagram that asks for `wanted`. A cookie is used once, but for the last one (RFC 8915 5.7).
    pub fn request(&mut self, now: Time, wanted: &Wanted, rng: &mut dyn CryptoRng) -> Vec<u8> {
        let cookie = match self.cookies.len() {
            0 | 1 => self.cookies.front().cloned(),
            _ => self.cookies.pop_front(),
        };
        let cookie = cookie.expect("the last cookie stays");
        // Cookies wanted, as many as the answer has room for.
        let each = cookie.0.len() + 2;
        let room = CONTROL_MAX.saturating_sub(ANSWER_MAX + REPLY_COST);
        let missing = usize::from(self.stock)
            .saturating_sub(self.cookies.len())
            .min(room / each);
        let wanted = Wanted {
            cookies: u8::try_from(missing).expect("a few"),
            ..wanted.clone()
        };
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let mut plain = Vec::with_capacity(CONTROL_MAX);
        wanted.encode(&mut plain);
        // Padded, so that the answer is not longer than the request.
        let answer = ANSWER_MAX + REPLY_COST + missing * each;
        let cost = 2 + 2 + cookie.0.len() + NONCE_LEN + 2 + 16;
        plain.resize(plain.len().max(answer.saturating_sub(cost)), 0);
        self.request_key
            .siv()
            .seal_in_place(nonce, &cookie.0, &mut plain);
        if self.pending.len() == PENDING_MAX {
            self.pending.pop_front();
        }
        self.pending.push_back(Pending {
            nonce,
            number: wanted.number,
            asked: now,
        });
        let sealed = Sealed {
            nonce,
            ciphertext: plain,
        };
        KeyRequest { cookie, sealed }.to_datagram()
    }

    /// Takes a datagram of a door.
    ///
    /// # Errors
    /// Why it is no answer to anything that was asked.
    pub fn handle(&mut self, datagram: &[u8]) -> Result<Answer, Discard> {
        const REPLY: u8 = ControlType::KeyReply as u8;
        const REFUSAL: u8 = ControlType::Refusal as u8;
        match kind(datagram) {
            Kind::Control(REPLY) => {
                let reply = KeyReply::from_datagram(datagram).map_err(|_| Discard::Malformed)?;
                let number = |granted: &Granted| granted.number;
                let (granted, asked) = self.open(reply.request, reply.sealed, number)?;
                let stock = usize::from(self.stock).saturating_sub(self.cookies.len());
                self.cookies
                    .extend(granted.cookies.iter().take(stock).cloned());
                Ok(Answer::Granted { granted, asked })
            }
            Kind::Control(REFUSAL) => {
                match Refusal::from_datagram(datagram).map_err(|_| Discard::Malformed)? {
                    Refusal::Sealed { request, sealed } => self
                        .open(request, sealed, |refused: &Refused| refused.number)
                        .map(|(refused, _)| Answer::Refused(refused)),
                    Refusal::Plain { request, reason } => {
                        self.position(&request)?;
                        match reason {
                            Reason::CookieUnknown => Ok(Answer::CookieUnknown),
                            _ => Err(Discard::Unexpected),
                        }
                    }
                }
            }
            _ => Err(Discard::Unexpected),
        }
    }

    fn position(&self, nonce: &[u8; NONCE_LEN]) -> Result<usize, Discard> {
        let position = self
            .pending
            .iter()
            .position(|pending| pending.nonce == *nonce);
        position.ok_or(Discard::Known)
    }

    /// Opens an answer to the request with this nonce, once; also says when that one left.
    fn open<T: Wire>(
        &mut self,
        nonce: [u8; NONCE_LEN],
        mut sealed: Sealed,
        number: impl FnOnce(&T) -> u64,
    ) -> Result<(T, Time), Discard> {
        let index = self.position(&nonce)?;
        let key = self.reply_key.siv();
        let plain = key
            .open_in_place(sealed.nonce, &nonce, &mut sealed.ciphertext)
            .map_err(|_| Discard::BadTag)?;
        let content = T::decode_all(plain).map_err(|_| Discard::Malformed)?;
        if self.pending[index].number != number(&content) {
            return Err(Discard::Unexpected);
        }
        let asked = self.pending[index].asked;
        self.pending.remove(index);
        Ok((content, asked))
    }
}
