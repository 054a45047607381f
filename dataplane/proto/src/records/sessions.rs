//! Sessions made in advance, for load generators. Such a file is as secret as what is in it: whoever has it has these sessions.
#![expect(
    missing_debug_implementations,
    reason = "rkyv makes types for archiving that nobody names"
)]

use std::fmt;

use sealcast_crypto::VerifyingKey;
use zeroize::{DefaultIsZeroes, Zeroize as _};

use super::format::KindNumber;
use super::kinds::Kind;
use super::layout::{self, LaidOut, record};
use crate::door::{SessionGrant, SessionKey, Ticket, Tickets};
use crate::ids::{ChannelId, SessionId};
use crate::wire::door::Cookie;

/// Bytes that a record has for a cookie.
const COOKIE_ROOM: usize = 172;
/// Channels of a session, so that its cookie has room in a record.
pub const SESSION_FILE_CHANNELS: usize = 7;

/// Sessions with their keys and one cookie each, sealed under the ticket keys of one key server.
#[derive(Clone, Copy, Debug)]
pub enum SessionFile {}

impl Kind for SessionFile {
    type Identity = SessionsIdentity;
    type Record = MintedSession;
    const NUMBER: KindNumber = KindNumber::Sessions;
    const OPEN_ENDED: bool = false;
}

macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident, $archived:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
        pub struct $name([u8; $len]);

        impl Default for $name {
            fn default() -> Self {
                Self([0; $len])
            }
        }

        impl DefaultIsZeroes for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }

        impl fmt::Debug for $archived {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }

        impl LaidOut for $name {
            const LAYOUT: u64 = layout::number(layout::name(layout::START, stringify!($name)), size_of::<$name>() as u64);
        }
    };
}

opaque! {
    /// A key of a session, or a public key.
    KeyBytes, ArchivedKeyBytes, 32
}
opaque! {
    /// Room for a cookie.
    CookieBytes, ArchivedCookieBytes, COOKIE_ROOM
}
opaque! {
    /// Numbers of channels, big endian; 0 is none.
    ChannelNumbers, ArchivedChannelNumbers, 2 * SESSION_FILE_CHANNELS
}

record! {
    /// Of which key server the sessions are, and what for.
    SessionsIdentity {
        /// The authority key of its channels.
        authority: KeyBytes,
        /// The key that will replace it; zeros if there is none.
        successor: KeyBytes,
        /// The ticket period of the sessions.
        period: u32,
        /// Wall clock when they were made, milliseconds since 1970: for people only.
        made: u64,
        /// What each session may have.
        channels: ChannelNumbers,
    }
}

record! {
    /// One session.
    MintedSession {
        /// Its id.
        session: [u8; 16],
        /// Seals requests.
        request_key: KeyBytes,
        /// Seals replies.
        reply_key: KeyBytes,
        /// A cookie.
        cookie: CookieBytes,
        /// Bytes of it.
        cookie_len: u16,
    }
}

impl SessionsIdentity {
    /// Sessions for `channels`, at most [`SESSION_FILE_CHANNELS`] of them; `made` in milliseconds since 1970.
    #[must_use]
    pub fn new(
        (authority, successor): (VerifyingKey, Option<VerifyingKey>),
        tickets: &Tickets,
        made: u64,
        channels: &[ChannelId],
    ) -> Self {
        let mut numbers = ChannelNumbers::default();
        for (place, channel) in numbers.0.chunks_exact_mut(2).zip(channels) {
            place.copy_from_slice(&channel.0.to_be_bytes());
        }
        let bytes = |key: &VerifyingKey| KeyBytes(*key.as_bytes());
        Self {
            authority: bytes(&authority),
            successor: successor.as_ref().map(bytes).unwrap_or_default(),
            period: tickets.period(),
            made,
            channels: numbers,
        }
    }

    /// The authority key and its successor.
    #[must_use]
    pub fn authority(&self) -> (VerifyingKey, Option<VerifyingKey>) {
        let successor = Some(self.successor).filter(|key| *key != KeyBytes::default());
        let key = |bytes: KeyBytes| VerifyingKey::from_bytes(bytes.0);
        (key(self.authority), successor.map(key))
    }

    /// What each session may have.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelId> {
        let numbers = self.channels.0.chunks_exact(2);
        numbers
            .filter_map(|pair| pair.try_into().ok())
            .map(|pair| ChannelId(u16::from_be_bytes(pair)))
            .filter(|channel| channel.0 != 0)
            .collect()
    }
}

impl MintedSession {
    /// A session with this ticket; `None` if the ticket's period is over, or its cookie has no room.
    #[must_use]
    pub fn new(
        ticket: &Ticket,
        tickets: &Tickets,
        rng: &mut dyn rand_core::CryptoRng,
    ) -> Option<Self> {
        let cookie = tickets.seal(ticket, rng)?.0;
        let mut room = CookieBytes::default();
        room.0.get_mut(..cookie.len())?.copy_from_slice(&cookie);
        Some(Self {
            session: ticket.session.0,
            request_key: KeyBytes(*ticket.request_key.as_bytes()),
            reply_key: KeyBytes(*ticket.reply_key.as_bytes()),
            cookie: room,
            cookie_len: u16::try_from(cookie.len()).ok()?,
        })
    }

    /// What a device of this session begins with.
    #[must_use]
    pub fn grant(&self) -> SessionGrant {
        let len = usize::from(self.cookie_len).min(COOKIE_ROOM);
        SessionGrant {
            session: SessionId(self.session),
            request_key: SessionKey::from_bytes(self.request_key.0),
            reply_key: SessionKey::from_bytes(self.reply_key.0),
            cookies: vec![Cookie(self.cookie.0[..len].to_vec())],
        }
    }

    /// Overwrites its keys.
    pub fn wipe(&mut self) {
        self.request_key.zeroize();
        self.reply_key.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;
    use sealcast_crypto::SigningKey;

    use super::super::{RecordFile, RecordWriter};
    use super::*;
    use crate::door::{Session, TicketKey};
    use crate::ids::{AccountId, DeviceId};

    fn ticket(channels: usize) -> Ticket {
        Ticket {
            session: SessionId([1; 16]),
            request_key: SessionKey::from_bytes([0xA7; 32]),
            reply_key: SessionKey::from_bytes([0xA8; 32]),
            account: AccountId([3; 16]),
            device: DeviceId([4; 16]),
            rights_version: 1,
            period: 9,
            channels: (1..).take(channels).map(ChannelId).collect(),
        }
    }

    #[test]
    fn sessions_come_out_as_they_went_in_and_are_not_shown() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let tickets = Tickets::new(TicketKey::new(9, [7; 32]), None);
        let keys = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]).verifying_key());
        let channels = [ChannelId(3), ChannelId(65_535)];
        let identity = SessionsIdentity::new((keys[0], Some(keys[1])), &tickets, 5, &channels);
        let mut minted =
            MintedSession::new(&ticket(SESSION_FILE_CHANNELS), &tickets, &mut rng).unwrap();
        let (mut writer, mut bytes) = RecordWriter::<SessionFile>::create(&identity);
        bytes.extend(writer.block(&[minted; 3]));
        bytes.extend(writer.close());
        let file = RecordFile::<SessionFile>::read(&bytes).unwrap();
        assert_eq!(file.identity().authority(), (keys[0], Some(keys[1])));
        assert_eq!(file.identity().channels(), channels);
        assert_eq!(file.identity().period, 9);
        assert_eq!(file.len(), 3);
        for record in file.records() {
            assert_eq!(record, minted);
            assert!(Session::new(record.grant()).is_some());
        }
        let shown = format!("{minted:?} {identity:?}");
        assert!(!shown.contains("167") && !shown.contains("168"), "{shown}");
        minted.wipe();
        assert_eq!(minted.request_key, KeyBytes::default());
        assert_eq!(minted.reply_key, KeyBytes::default());
    }

    #[test]
    fn a_cookie_without_room_and_a_period_that_is_over_make_no_session() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let tickets = |period| Tickets::new(TicketKey::new(period, [7; 32]), None);
        let mut minted = |channels, period| {
            MintedSession::new(&ticket(channels), &tickets(period), &mut rng).is_some()
        };
        assert!(minted(SESSION_FILE_CHANNELS, 9));
        assert!(!minted(SESSION_FILE_CHANNELS + 1, 9));
        assert!(!minted(1, 11));
    }
}
