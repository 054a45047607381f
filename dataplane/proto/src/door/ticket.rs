//! What a cookie holds, and the keys that seal it. Only masters make ticket keys; every door opens with them.

use std::fmt;
use std::sync::Arc;

use rand_core::CryptoRng;
use sealcast_crypto::SivKey;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::ids::{AccountId, ChannelId, DeviceId, SessionId};
use crate::limits::SESSION_CHANNELS_MAX;
use crate::wire::codec::{Malformed, Wire, take, wire_struct};
use crate::wire::door::{Cookie, NONCE_LEN};

/// Period and nonce stand before the ciphertext.
const CLEAR: usize = 4 + NONCE_LEN;

/// One of the two AEAD keys of a session, 32 random bytes.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// Takes 32 bytes, which must be random.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn siv(&self) -> SivKey {
        SivKey::new(self.0)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

impl Wire for SessionKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        let bytes = Zeroizing::new(take(input)?);
        Ok(Self(*bytes))
    }
}

/// What a door must know of a session; travels sealed, as a [`Cookie`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The session.
    pub session: SessionId,
    /// Seals requests.
    pub request_key: SessionKey,
    /// Seals replies.
    pub reply_key: SessionKey,
    /// Whose device.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
    /// Version of the account's rights when the session began.
    pub rights_version: u64,
    /// The ticket period in which the session began.
    pub period: u32,
    /// What it may have, at most [`SESSION_CHANNELS_MAX`].
    pub channels: Vec<ChannelId>,
}

wire_struct!(Ticket {
    session,
    request_key,
    reply_key,
    account,
    device,
    rights_version,
    period,
    channels
});

/// The key of one ticket period.
#[derive(Clone)]
pub struct TicketKey {
    period: u32,
    bytes: Zeroizing<[u8; 32]>,
    /// Expanded once: most of what a door does under hostile load is to open cookies in vain.
    key: Arc<SivKey>,
}

impl TicketKey {
    /// The key of `period`; `key` must be random.
    #[must_use]
    pub fn new(period: u32, key: [u8; 32]) -> Self {
        Self {
            period,
            bytes: Zeroizing::new(key),
            key: Arc::new(SivKey::new(key)),
        }
    }

    /// Its period.
    #[must_use]
    pub fn period(&self) -> u32 {
        self.period
    }

    /// The secret bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKey(period {}, ..)", self.period)
    }
}

/// The ticket keys in force: the current period's, and the one before it.
#[derive(Clone, Debug)]
pub struct Tickets {
    current: TicketKey,
    previous: Option<TicketKey>,
}

impl Tickets {
    /// These two.
    #[must_use]
    pub fn new(current: TicketKey, previous: Option<TicketKey>) -> Self {
        Self { current, previous }
    }

    /// The period in which sessions begin now.
    #[must_use]
    pub fn period(&self) -> u32 {
        self.current.period
    }

    /// The key that seals.
    #[must_use]
    pub fn current(&self) -> &TicketKey {
        &self.current
    }

    /// The key of the period before.
    #[must_use]
    pub fn previous(&self) -> Option<&TicketKey> {
        self.previous.as_ref()
    }

    pub(super) fn oldest(&self) -> u32 {
        self.previous
            .as_ref()
            .map_or(self.current.period, |key| key.period)
    }

    fn key(&self, period: u32) -> Option<&SivKey> {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| key.period == period)
            .map(|key| &*key.key)
    }

    /// Seals a ticket under the key of its own period; `None` when that one is over.
    #[must_use]
    pub fn seal(&self, ticket: &Ticket, rng: &mut dyn CryptoRng) -> Option<Cookie> {
        assert!(ticket.channels.len() <= SESSION_CHANNELS_MAX);
        let mut encoded = Zeroizing::new(Vec::with_capacity(256));
        ticket.encode(&mut encoded);
        let mut cookie = Vec::with_capacity(CLEAR + encoded.len() + SivKey::TAG_LEN);
        self.seal_encoded(ticket.period, &encoded, rng, &mut cookie)
            .then_some(Cookie(cookie))
    }

    /// Appends a cookie with the encoded ticket of `period` to `out`; false when that period is over.
    pub(super) fn seal_encoded(
        &self,
        period: u32,
        ticket: &[u8],
        rng: &mut dyn CryptoRng,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(key) = self.key(period) else {
            return false;
        };
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        period.encode(out);
        nonce.encode(out);
        let start = out.len();
        out.extend_from_slice(ticket);
        key.seal_tail(nonce, &aad(period), out, start);
        true
    }

    /// Opens a cookie in `space`, and says where in it the encoded ticket lies; `None` when no key in force sealed it.
    pub(super) fn open<'a>(
        &self,
        cookie: &[u8],
        space: &'a mut Vec<u8>,
    ) -> Option<(Ticket, &'a [u8])> {
        let mut input = cookie;
        let period = u32::decode(&mut input).ok()?;
        let nonce = take(&mut input).ok()?;
        let key = self.key(period)?;
        space.clear();
        space.extend_from_slice(input);
        let plain = key.open_in_place(nonce, &aad(period), space).ok()?;
        let ticket = Ticket::decode_all(plain).ok()?;
        (ticket.period == period).then_some((ticket, plain))
    }
}

fn aad(period: u32) -> [u8; 19] {
    let mut aad = *b"sealcast cookie....";
    aad[15..].copy_from_slice(&period.to_be_bytes());
    aad
}
