//! Control datagrams that are multicast beside the packets: Notice and LaneCertificate, as [`super::key_block`] signed by the channel's
//! authority key (SEC-10); delivery servers sign [`super::manifest`]. Their first two bytes are type and version.
//!
//! A signature covers [`CONTEXT`] and the datagram without the signature, so nothing signed here can pass for anything
//! signed elsewhere. What has not been verified is [`Unverified`]; only [`Unverified::verify`] gives the content out for use.

use sealcast_crypto::{Commitment, Signature, SigningKey, VerifyingKey};

use super::codec::{Malformed, Wire, wire_code, wire_struct};
use crate::ids::{ChannelId, Epoch, GroupId, Lane, Remaining, ServerId, Term};

/// What every signature of this protocol begins with.
pub const CONTEXT: &[u8] = b"sealcast control\0";
/// Version of every control datagram.
pub const VERSION: u8 = 1;
const SIGNATURE_LEN: usize = 64;

/// Type byte of a control datagram, 0x01..=0x3F.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum ControlType {
    /// [`Notice`], multicast.
    Notice = 0x01,
    /// [`LaneCertificate`], multicast.
    LaneCertificate = 0x02,
    /// [`super::manifest`], multicast.
    Manifest = 0x03,
    /// [`super::key_block::KeyBlock`], multicast.
    KeyBlock = 0x04,
    /// [`super::door::KeyRequest`], unicast.
    KeyRequest = 0x10,
    /// [`super::door::KeyReply`], unicast.
    KeyReply = 0x11,
    /// [`super::door::Refusal`], unicast.
    Refusal = 0x12,
}

/// The key data change previous notice: from which epoch to which, and how long until then (MD-26).
///
/// A higher term wins, then a higher revision; the same revision may only shorten the remaining time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// The channel.
    pub channel: ChannelId,
    /// The master that announces.
    pub term: Term,
    /// The epoch that ends.
    pub current: Epoch,
    /// The epoch that begins.
    pub next: Epoch,
    /// Commitment of the current root; `None` when the master does not hold that root.
    pub current_commitment: Option<Commitment>,
    /// Commitment of the next root.
    pub next_commitment: Option<Commitment>,
    /// Rises when the announced change is replaced.
    pub revision: u32,
    /// From signing until the change.
    pub remaining: Remaining,
}

wire_struct!(Notice {
    channel,
    term,
    current,
    next,
    current_commitment,
    next_commitment,
    revision,
    remaining
});

/// What stands for a channel's packets besides the key that all members have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum AuthLevel {
    /// Nothing: whoever can open packets can make some (0).
    #[default]
    Group,
    /// Signed digests: members cannot forge (1; MD-03, SEC-05).
    Manifest,
}

wire_code!(AuthLevel {
    Group = 0,
    Manifest = 1
});

/// Which lanes belong to which stripe group, by which delivery server: a receiver derives keys of certified lanes only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaneCertificate {
    /// The channel.
    pub channel: ChannelId,
    /// The master that handed the lanes out.
    pub term: Term,
    /// The stripe group the lanes make up.
    pub group: GroupId,
    /// The group that this one takes over from: the same server's run before (restarted, or numbers used up).
    pub follows: Option<GroupId>,
    /// The delivery server.
    pub server: ServerId,
    /// The delivery server's own verifying key (MD-03, SEC-05: manifests are signed with it).
    pub server_key: VerifyingKey,
    /// The lowest lane of the group.
    pub first_lane: Lane,
    /// How many lanes, 1..=255.
    pub lanes: u8,
    /// First epoch in which these lanes are the group's.
    pub first_epoch: Epoch,
    /// Last such epoch.
    pub last_epoch: Epoch,
    /// Whether packets of these lanes count only if a manifest lists them.
    pub auth: AuthLevel,
}

wire_struct!(LaneCertificate {
    channel,
    term,
    group,
    follows,
    server,
    server_key,
    first_lane,
    lanes,
    first_epoch,
    last_epoch,
    auth
});

impl LaneCertificate {
    /// Whether `lane` in `epoch` belongs to this group.
    #[must_use]
    pub fn covers(&self, lane: Lane, epoch: Epoch) -> bool {
        let first = self.first_lane.number();
        (first..=first + (self.lanes - 1)).contains(&lane.number())
            && (self.first_epoch..=self.last_epoch).contains(&epoch)
    }

    fn plausible(&self) -> bool {
        let last_lane = u16::from(self.first_lane.number()) + u16::from(self.lanes);
        self.lanes > 0
            && last_lane <= 256
            && self.group.0 != 0
            && self.first_epoch.0 > 0
            && self.first_epoch <= self.last_epoch
    }
}

/// What the authority signs.
pub trait Signed: Wire {
    /// Its type byte.
    const TYPE: ControlType;
    /// The channel it is about.
    fn channel(&self) -> ChannelId;
    /// Whether its values can be, seen alone.
    fn plausible(&self) -> bool;
}

impl Signed for Notice {
    const TYPE: ControlType = ControlType::Notice;
    fn channel(&self) -> ChannelId {
        self.channel
    }
    fn plausible(&self) -> bool {
        self.current.0 > 0 && self.current < self.next
    }
}

impl Signed for LaneCertificate {
    const TYPE: ControlType = ControlType::LaneCertificate;
    fn channel(&self) -> ChannelId {
        self.channel
    }
    fn plausible(&self) -> bool {
        self.plausible()
    }
}

/// The datagram of `content`, signed by the authority.
#[must_use]
pub fn sign<T: Signed>(content: &T, key: &SigningKey) -> Vec<u8> {
    let mut message = CONTEXT.to_vec();
    message.extend_from_slice(&[T::TYPE as u8, VERSION]);
    content.encode(&mut message);
    let signature = key.sign(&message);
    let mut datagram = message.split_off(CONTEXT.len());
    signature.encode(&mut datagram);
    datagram
}

/// A signed datagram that parsed, before anybody looked at the signature. Its content may steer what is worth checking,
/// nothing else.
#[derive(Clone, Debug)]
pub struct Unverified<T> {
    content: T,
    message: Vec<u8>,
    signature: Signature,
}

impl<T: Signed> Unverified<T> {
    /// Parses a whole datagram.
    ///
    /// # Errors
    /// [`Malformed`] for another type or version, a wrong length, or values that cannot be.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let (body, signature) = datagram
            .split_last_chunk::<SIGNATURE_LEN>()
            .ok_or(Malformed)?;
        let content = match body {
            [kind, VERSION, content @ ..] if *kind == T::TYPE as u8 => T::decode_all(content)?,
            _ => return Err(Malformed),
        };
        if !content.plausible() {
            return Err(Malformed);
        }
        let message = [CONTEXT, body].concat();
        Ok(Self {
            content,
            message,
            signature: Signature::from_bytes(*signature),
        })
    }

    /// What it claims.
    #[must_use]
    pub fn claimed(&self) -> &T {
        &self.content
    }

    /// The content, if `key` signed it.
    ///
    /// # Errors
    /// Gives itself back when the signature does not hold.
    pub fn verify(self, key: &VerifyingKey) -> Result<T, Self> {
        match key.verify(&self.message, &self.signature) {
            Ok(()) => Ok(self.content),
            Err(_) => Err(self),
        }
    }
}
