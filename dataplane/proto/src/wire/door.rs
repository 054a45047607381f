//! The key door's messages (design: the NTS shape, RFC 8915): KeyRequest, KeyReply, Refusal.
//!
//! Outside: type, version, clear fields, a sealed part. Inside the sealed part: [`Wanted`], [`Granted`], [`Refused`].

use sealcast_crypto::{EpochRoot, VerifyingKey};

use super::codec::{Malformed, Wire, take, wire_code, wire_struct};
use super::control::{ControlType, VERSION};
use crate::ids::{ChannelId, Epoch, Remaining};
use crate::limits::{CONTROL_MAX, COOKIE_MAX, COOKIES_MAX};
use crate::timing::Timing;

/// Bytes of the nonces of all three sealed layers (AES-256-GCM-SIV, RFC 8452).
pub const NONCE_LEN: usize = 12;

/// What a message costs besides its plaintext: type, version, echo or kind, nonce, length, tag.
pub const REPLY_COST: usize = 2 + 1 + NONCE_LEN + NONCE_LEN + 2 + 16;

/// What a device asks for. A retry has the same number (MD-37, MD-40).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The request's number in its session.
    pub number: u64,
    /// The channel.
    pub channel: ChannelId,
    /// The epoch whose key is wanted; `None` (0 on the wire) is whichever is current.
    pub epoch: Option<Epoch>,
    /// Fresh cookies wanted.
    pub cookies: u8,
}

impl Wire for Wanted {
    fn encode(&self, out: &mut Vec<u8>) {
        self.number.encode(out);
        self.channel.encode(out);
        self.epoch.unwrap_or(Epoch(0)).encode(out);
        self.cookies.encode(out);
    }
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        let (number, channel) = (u64::decode(input)?, ChannelId::decode(input)?);
        let epoch = Some(Epoch::decode(input)?).filter(|epoch| epoch.0 != 0);
        Ok(Self {
            number,
            channel,
            epoch,
            cookies: u8::decode(input)?,
        })
    }
}

/// The decipher half of one epoch: the root and how long it stays in use (MD-05, MD-21). No cipher half is in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecipherHalf {
    /// The epoch.
    pub epoch: Epoch,
    /// Its root; every lane's opening key derives from it.
    pub root: EpochRoot,
    /// Until its end.
    pub remaining: Remaining,
}

wire_struct!(DecipherHalf {
    epoch,
    root,
    remaining
});

/// The answer to [`Wanted`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Granted {
    /// The request's number.
    pub number: u64,
    /// The channel.
    pub channel: ChannelId,
    /// The epoch in use (or the older one that was asked for).
    pub current: DecipherHalf,
    /// The one after it, once it is announced.
    pub next: Option<DecipherHalf>,
    /// How long before the end of a key this device should ask for the one after it is offset from the second preset:
    /// spreads the devices (SEC-09).
    pub fetch_offset: Remaining,
    /// The channel's authority key.
    pub authority: VerifyingKey,
    /// The key that will replace it, if one is chosen.
    pub successor: Option<VerifyingKey>,
    /// The channel's key times.
    pub timing: Timing,
    /// Fresh cookies, opaque.
    pub cookies: Vec<Cookie>,
}

wire_struct!(Granted {
    number,
    channel,
    current,
    next,
    fetch_offset,
    authority,
    successor,
    timing,
    cookies
});

/// An opaque piece of session state that only key doors can read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cookie(pub Vec<u8>);

impl Wire for Cookie {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        let bytes = Vec::<u8>::decode(input)?;
        if bytes.len() > COOKIE_MAX {
            Err(Malformed)
        } else {
            Ok(Self(bytes))
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// The cookie is of an unknown session or a period that is over.
    CookieUnknown,
    /// The session may not have this channel (any more).
    NotEntitled,
    /// No such channel here.
    ChannelUnknown,
    /// The epoch is not served: gone, not announced, or held by another master only.
    EpochUnavailable,
    /// Too many requests, or the server is still starting: try again later.
    Busy,
    /// The account's rights have changed since the session began: renew it.
    RightsChanged,
}

wire_code!(Reason { CookieUnknown = 1, NotEntitled = 2, ChannelUnknown = 3, EpochUnavailable = 4, Busy = 5, RightsChanged = 6 });

/// A refusal of [`Wanted`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The request's number.
    pub number: u64,
    /// The channel.
    pub channel: ChannelId,
    /// Why.
    pub reason: Reason,
    /// Not to be asked again before this.
    pub retry_after: Remaining,
}

wire_struct!(Refused {
    number,
    channel,
    reason,
    retry_after
});

/// Bytes sealed with AES-256-GCM-SIV under a session key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// Random nonce.
    pub nonce: [u8; NONCE_LEN],
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

wire_struct!(Sealed { nonce, ciphertext });

/// Device to key door: a cookie, and [`Wanted`] sealed under the session's first key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRequest {
    /// Spent cookie.
    pub cookie: Cookie,
    /// Sealed [`Wanted`] and padding; its nonce ties the reply to this request.
    pub sealed: Sealed,
}

wire_struct!(KeyRequest { cookie, sealed });

/// Key door to device: [`Granted`] sealed under the session's second key, with the request's nonce as associated data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyReply {
    /// Echo of the request's nonce: which request this answers.
    pub request: [u8; NONCE_LEN],
    /// Sealed [`Granted`].
    pub sealed: Sealed,
}

wire_struct!(KeyReply { request, sealed });

/// Key door to device: no. Sealed if the cookie opened; a plain one is a hint that anybody could have sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// [`Refused`], sealed as in a [`KeyReply`].
    Sealed {
        /// Echo of the request's nonce.
        request: [u8; NONCE_LEN],
        /// Sealed [`Refused`].
        sealed: Sealed,
    },
    /// A reason.
    Plain {
        /// Echo of the request's nonce.
        request: [u8; NONCE_LEN],
        /// Why.
        reason: Reason,
    },
}

impl Wire for Refusal {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Sealed { request, sealed } => {
                out.push(1);
                request.encode(out);
                sealed.encode(out);
            }
            Self::Plain { request, reason } => {
                out.push(0);
                request.encode(out);
                reason.encode(out);
            }
        }
    }
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        match u8::decode(input)? {
            0 => Ok(Self::Plain {
                request: take(input)?,
                reason: Reason::decode(input)?,
            }),
            1 => Ok(Self::Sealed {
                request: take(input)?,
                sealed: Sealed::decode(input)?,
            }),
            _ => Err(Malformed),
        }
    }
}

/// A unicast control datagram.
pub trait DoorMessage: Wire {
    /// Its type byte.
    const TYPE: ControlType;

    /// The datagram.
    #[must_use]
    fn to_datagram(&self) -> Vec<u8> {
        let mut out = vec![Self::TYPE as u8, VERSION];
        self.encode(&mut out);
        out
    }

    /// Parses a whole datagram.
    ///
    /// # Errors
    /// [`Malformed`] for another type or version, a wrong length, or values that cannot be.
    fn from_datagram(datagram: &[u8]) -> Result<Self, Malformed> {
        match datagram {
            [kind, VERSION, body @ ..]
                if *kind == Self::TYPE as u8 && datagram.len() <= CONTROL_MAX =>
            {
                Self::decode_all(body)
            }
            _ => Err(Malformed),
        }
    }
}

impl DoorMessage for KeyRequest {
    const TYPE: ControlType = ControlType::KeyRequest;
}
impl DoorMessage for KeyReply {
    const TYPE: ControlType = ControlType::KeyReply;
}
impl DoorMessage for Refusal {
    const TYPE: ControlType = ControlType::Refusal;
}

const _: () = assert!(
    COOKIES_MAX * COOKIE_MAX > CONTROL_MAX,
    "a full set of long cookies is refused by the datagram's limit"
);
