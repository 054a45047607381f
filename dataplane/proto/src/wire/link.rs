//! Messages between a delivery server and the authority, over a link that is reliable, ordered and private. How they are
//! encoded is the link's business. Every frame also carries when it was sent on the sender's clock, so that the remaining
//! times inside can be corrected by the offset that pings measure.
//!
//! Delivery servers say where they stand ([`Report`]) and the authority brings them up to date: nothing depends on one
//! message having arrived, so a link that breaks and comes back needs no special case (MD-40).

use sealcast_crypto::{EpochRoot, LaneSecret, VerifyingKey};

use crate::ids::{ChannelId, Epoch, GroupId, Lane, Remaining, RunId, ServerId, Term, Time};
use crate::key_block::Plan;
use crate::timing::Timing;

/// One message and the instant of its sending on the sender's own clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame<M> {
    /// When it left, on the clock of whoever sent it; compared only through a ping offset.
    pub sent: Time,
    /// What it says.
    pub message: M,
}

/// Where keys are generated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Mode A: at the delivery server, which deposits the decipher half (MD-08).
    DeliveryServer,
    /// Mode B: at the authority (MD-16).
    Authority,
}

/// Delivery server to authority, once per link: who speaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The delivery server's number.
    pub server: ServerId,
    /// Its own verifying key, made at its start.
    pub key: VerifyingKey,
    /// The highest term this node has seen.
    pub term: Term,
    /// Whether the node has a live link to another master.
    pub other_master: bool,
}

/// Why a delivery server asks for an epoch before its time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Early {
    /// A lane reached its soft packet or byte limit (SEC-13).
    Limit,
    /// The stripe group's packet numbers run out.
    Numbers,
    /// The operator asked.
    Operator,
}

/// An epoch that a delivery server holds a cipher half of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// The epoch.
    pub epoch: Epoch,
    /// The term that handed the lanes out.
    pub term: Term,
    /// The stripe group.
    pub group: GroupId,
    /// Its lowest lane.
    pub first_lane: Lane,
    /// Until the end of the epoch, by the delivery server's own countdown (0 while it holds).
    pub remaining: Remaining,
}

/// Delivery server to authority: where it stands on one channel. Sent at every link start, every second, and at every change. It is request (MD-16, MD-19), acknowledgement, and report in one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The channel.
    pub channel: ChannelId,
    /// This run.
    pub run: RunId,
    /// Who generates.
    pub mode: Mode,
    /// Lanes (sending cores) this run wants, 1..=255.
    pub lanes: u8,
    /// What it sends under; `None` at start: a request for the current key.
    pub current: Option<Held>,
    /// What it holds for the next epoch: an acknowledgement.
    pub next: Option<Held>,
    /// What it holds for the epoch that may take the place of the announced next: an acknowledgement.
    pub spare: Option<Held>,
    /// Datagram of the last Notice that verified, whole; it proves what a former master announced.
    pub notice: Option<Vec<u8>>,
    /// The first preset is reached, or the epoch should end early: a request for the next key (MD-19, MD-23).
    pub wants_next: bool,
    /// Why before its time.
    pub early: Option<Early>,
    /// The stripe group's numbers run out or the run is new: the next lanes must form a new group.
    pub new_group: bool,
    /// What this run has sealed so far: the input of charging by volume (MD-33).
    pub sent: Sent,
}

/// What a run has sealed since its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// Packets.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
}

/// Mode A, delivery server to authority: which number has my next epoch? (`at_once`: my first, after a start.)
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NumberWanted {
    /// The channel.
    pub channel: ChannelId,
    /// This run.
    pub run: RunId,
    /// The epoch starts at once instead of after the current one.
    pub at_once: bool,
}

/// Mode A, delivery server to authority: the decipher half of an epoch it generated (MD-08, MD-09, MD-12).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deposit {
    /// The channel.
    pub channel: ChannelId,
    /// This run.
    pub run: RunId,
    /// The epoch, numbered by the authority.
    pub epoch: Epoch,
    /// The root.
    pub root: EpochRoot,
    /// Until its end.
    pub remaining: Remaining,
    /// As in [`NumberWanted`].
    pub at_once: bool,
}

/// Ping and its echo: gives the offset between the two clocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ping {
    /// The pinging side's clock at sending, echoed.
    pub echo: Time,
}

/// Everything a node says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToAuthority {
    /// Who speaks.
    Hello(Hello),
    /// Offset measurement.
    Ping(Ping),
    /// Where a delivery server stands.
    Report(Report),
    /// Mode A: a number for an epoch.
    NumberWanted(NumberWanted),
    /// Mode A: a decipher half.
    Deposit(Deposit),
}

/// Authority to node: under which term it speaks, and the key that signs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// The term.
    pub term: Term,
    /// The authority key.
    pub authority: VerifyingKey,
    /// The key that will replace it, if one is chosen.
    pub successor: Option<VerifyingKey>,
}

/// Mode B, authority to delivery server: the cipher half of one epoch (MD-17, MD-18, MD-20). Reveals neither the root nor another lane's key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CipherHalf {
    /// The channel.
    pub channel: ChannelId,
    /// The run it is for.
    pub run: RunId,
    /// The epoch.
    pub epoch: Epoch,
    /// Key and salt of each lane, lowest lane first.
    pub lanes: Vec<LaneSecret>,
    /// Until the end of the epoch.
    pub remaining: Remaining,
    /// It is the epoch in use: send under it at once, no Notice is needed (first start, or a restart within the epoch).
    pub at_once: bool,
    /// Datagram of the lane certificate; it names the lanes and the group.
    pub certificate: Vec<u8>,
}

/// Authority to delivery server: a freshly signed Notice to forward at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoticeRelay {
    /// The datagram.
    pub datagram: Vec<u8>,
}

/// Mode A, authority to delivery server: the number asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Number {
    /// The channel.
    pub channel: ChannelId,
    /// The run that asked.
    pub run: RunId,
    /// The number.
    pub epoch: Epoch,
    /// As in [`NumberWanted`].
    pub at_once: bool,
}

/// Mode A, authority to delivery server: the deposit is durable; its lanes are certified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deposited {
    /// The channel.
    pub channel: ChannelId,
    /// The run it is for.
    pub run: RunId,
    /// The epoch.
    pub epoch: Epoch,
    /// Datagram of the lane certificate; `None` when another root was deposited first under this number: not to be used.
    pub certificate: Option<Vec<u8>>,
}

/// Authority to delivery server: some datagrams of the key block of an epoch, to be multicast as planned (INT-05).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockPart {
    /// The channel.
    pub channel: ChannelId,
    /// The epoch whose root it holds.
    pub epoch: Epoch,
    /// Which part this is, from 0. They come in order; the first begins the block anew.
    pub part: u16,
    /// How many there are.
    pub parts: u16,
    /// How often all of it is sent.
    pub plan: Plan,
    /// Whole datagrams, each of use by itself.
    pub datagrams: Vec<Vec<u8>>,
}

/// Authority to delivery server, before anything else about a channel and whenever it changes: what the channel is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The channel.
    pub channel: ChannelId,
    /// Who generates its keys.
    pub mode: Mode,
    /// Its key times.
    pub timing: Timing,
}

/// Everything the authority says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FromAuthority {
    /// Term and key.
    Welcome(Welcome),
    /// Echo of a ping.
    Pong(Ping),
    /// Mode B: a cipher half.
    CipherHalf(CipherHalf),
    /// A Notice to forward.
    Notice(NoticeRelay),
    /// Mode A: a number.
    Number(Number),
    /// Mode A: acknowledgement of a deposit.
    Deposited(Deposited),
    /// What the channel is.
    Settings(Settings),
    /// Of a key block.
    BlockPart(BlockPart),
}
