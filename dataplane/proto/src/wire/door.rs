//! The key door's messages (design: the NTS shape, RFC 8915): KeyRequest, KeyReply, Refusal.
//!
//! Outside: type, version, clear fields, a sealed part. Inside the sealed part: [`Wanted`], [`Granted`], [`Refused`].

use sealcast_crypto::{EpochRoot, SivKey, VerifyingKey};

use zeroize::Zeroize as _;

use super::codec::{Malformed, Wire, take, take_bytes, wire_code, wire_struct};
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

/// A [`KeyRequest`] where it lies in its datagram.
#[derive(Clone, Copy, Debug)]
pub struct KeyRequestView<'a> {
    /// The cookie's bytes, at most [`COOKIE_MAX`].
    pub cookie: &'a [u8],
    /// The nonce of the sealed part.
    pub nonce: [u8; NONCE_LEN],
    /// Its ciphertext and tag.
    pub ciphertext: &'a [u8],
}

impl<'a> KeyRequestView<'a> {
    /// Parses a whole datagram.
    ///
    /// # Errors
    /// As [`DoorMessage::from_datagram`] of a [`KeyRequest`].
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let mut input = KeyRequest::body(datagram)?;
        let view = Self {
            cookie: take_bytes(&mut input)?,
            nonce: take(&mut input)?,
            ciphertext: take_bytes(&mut input)?,
        };
        if input.is_empty() && view.cookie.len() <= COOKIE_MAX {
            Ok(view)
        } else {
            Err(Malformed)
        }
    }
}

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

/// Writes an answer into its datagram, to be sealed there: a [`KeyReply`] or a [`Refusal::Sealed`]. One that is not sealed leaves
/// nothing.
#[derive(Debug)]
pub struct AnswerWriter<'a> {
    out: &'a mut Vec<u8>,
    request: [u8; NONCE_LEN],
    nonce: [u8; NONCE_LEN],
    start: usize,
    sealed: bool,
}

impl<'a> AnswerWriter<'a> {
    /// A [`KeyReply`] to the request with this nonce, in `out`; `nonce` is random.
    pub fn reply(out: &'a mut Vec<u8>, request: [u8; NONCE_LEN], nonce: [u8; NONCE_LEN]) -> Self {
        Self::new(out, &[KeyReply::TYPE as u8, VERSION], request, nonce)
    }

    /// A [`Refusal::Sealed`] of it.
    pub fn refusal(out: &'a mut Vec<u8>, request: [u8; NONCE_LEN], nonce: [u8; NONCE_LEN]) -> Self {
        Self::new(out, &[Refusal::TYPE as u8, VERSION, 1], request, nonce)
    }

    fn new(
        out: &'a mut Vec<u8>,
        head: &[u8],
        request: [u8; NONCE_LEN],
        nonce: [u8; NONCE_LEN],
    ) -> Self {
        out.clear();
        out.extend_from_slice(head);
        request.encode(out);
        nonce.encode(out);
        0_u16.encode(out);
        let start = out.len();
        Self {
            out,
            request,
            nonce,
            start,
            sealed: false,
        }
    }

    /// How long the datagram will be with what has been written.
    #[must_use]
    pub fn datagram_len(&self) -> usize {
        self.out.len() + SivKey::TAG_LEN
    }

    /// Appends `content`.
    pub fn write(&mut self, content: &impl Wire) {
        content.encode(self.out);
    }

    /// Appends to the cookies of a [`Granted`], which stand last in it: `seal` writes one.
    pub fn add_cookies(&mut self, count: usize, mut seal: impl FnMut(&mut Vec<u8>) -> bool) {
        let counted = self.out.len() - 2;
        let mut sealed: u16 = 0;
        for _ in 0..count {
            let start = self.out.len();
            0_u16.encode(self.out);
            if !seal(self.out) {
                self.out.truncate(start);
                break;
            }
            set_len(self.out, start);
            sealed += 1;
        }
        self.out[counted..counted + 2].copy_from_slice(&sealed.to_be_bytes());
    }

    /// Seals it: the datagram is whole.
    pub fn seal(mut self, key: &SivKey) {
        key.seal_tail(self.nonce, &self.request, self.out, self.start);
        set_len(self.out, self.start - 2);
        self.sealed = true;
    }
}

impl Drop for AnswerWriter<'_> {
    fn drop(&mut self) {
        if !self.sealed {
            self.out.zeroize();
        }
    }
}

/// Writes at `at` how many bytes follow there.
fn set_len(out: &mut [u8], at: usize) {
    let len = u16::try_from(out.len() - at - 2).expect("a datagram is short");
    out[at..at + 2].copy_from_slice(&len.to_be_bytes());
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
        Self::body(datagram).and_then(Self::decode_all)
    }

    /// What follows type and version.
    ///
    /// # Errors
    /// [`Malformed`] for another type or version, or a datagram that is too long.
    fn body(datagram: &[u8]) -> Result<&[u8], Malformed> {
        match datagram {
            [kind, VERSION, body @ ..]
                if *kind == Self::TYPE as u8 && datagram.len() <= CONTROL_MAX =>
            {
                Ok(body)
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

#[cfg(test)]
mod tests {
    use sealcast_crypto::SigningKey;

    use super::*;

    const REQUEST: [u8; NONCE_LEN] = [1; NONCE_LEN];
    const NONCE: [u8; NONCE_LEN] = [2; NONCE_LEN];

    fn granted(cookies: Vec<Cookie>) -> Granted {
        Granted {
            number: 3,
            channel: ChannelId(4),
            current: DecipherHalf {
                epoch: Epoch(5),
                root: EpochRoot::from_bytes([6; 32]),
                remaining: Remaining(7),
            },
            next: None,
            fetch_offset: Remaining(8),
            authority: SigningKey::from_seed(&[9; 32]).verifying_key(),
            successor: None,
            timing: Timing::default(),
            cookies,
        }
    }

    fn sealed(content: &impl Wire) -> Sealed {
        let mut ciphertext = Vec::new();
        content.encode(&mut ciphertext);
        SivKey::new([7; 32]).seal_in_place(NONCE, &REQUEST, &mut ciphertext);
        Sealed {
            nonce: NONCE,
            ciphertext,
        }
    }

    #[test]
    fn an_answer_that_is_written_is_the_message_that_is_encoded() {
        let mut out = b"what was there".to_vec();
        let mut answer = AnswerWriter::reply(&mut out, REQUEST, NONCE);
        answer.write(&granted(Vec::new()));
        let mut tried = 0;
        answer.add_cookies(4, |out| {
            out.extend_from_slice(b"cookie");
            tried += 1;
            // The third cannot be sealed.
            tried < 3
        });
        let len = answer.datagram_len();
        answer.seal(&SivKey::new([7; 32]));
        let cookies = vec![Cookie(b"cookie".to_vec()); 2];
        let reply = KeyReply {
            request: REQUEST,
            sealed: sealed(&granted(cookies)),
        };
        assert_eq!(out, reply.to_datagram());
        assert_eq!(out.len(), len);

        let refused = Refused {
            number: 3,
            channel: ChannelId(4),
            reason: Reason::Busy,
            retry_after: Remaining(5),
        };
        let mut answer = AnswerWriter::refusal(&mut out, REQUEST, NONCE);
        answer.write(&refused);
        answer.seal(&SivKey::new([7; 32]));
        let refusal = Refusal::Sealed {
            request: REQUEST,
            sealed: sealed(&refused),
        };
        assert_eq!(out, refusal.to_datagram());
    }

    /// Keys never leave in clear.
    #[test]
    fn an_answer_that_is_not_sealed_leaves_nothing() {
        let mut out = Vec::new();
        let mut answer = AnswerWriter::reply(&mut out, REQUEST, NONCE);
        answer.write(&granted(Vec::new()));
        drop(answer);
        assert!(out.is_empty());
    }
}
