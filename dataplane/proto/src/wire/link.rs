//! Messages between a node (delivery server or receiver) and the authority, over a link that is reliable, ordered and
//! private. Every frame also carries when it was sent on the sender's clock, so that the remaining times inside can be
//! corrected by the offset that pings measure.
//!
//! Delivery servers say where they stand ([`Report`]) and the authority brings them up to date: nothing depends on one
//! message having arrived, so a link that breaks and comes back needs no special case (MD-40).

use sealcast_crypto::{EpochRoot, LaneSecret, VerifyingKey};

use super::codec::{Malformed, Wire, wire_code, wire_enum, wire_struct};
use super::door::{Granted, Refused, Wanted};
use crate::ids::{ChannelId, Epoch, GroupId, Lane, Remaining, RunId, ServerId, Term, Time};

/// One message and the instant of its sending on the sender's own clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame<M> {
    /// When it left, on the clock of whoever sent it; compared only through a ping offset.
    pub sent: Time,
    /// What it says.
    pub message: M,
}

impl<M: Wire> Wire for Frame<M> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.sent.0.encode(out);
        self.message.encode(out);
    }
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(Self {
            sent: Time(u64::decode(input)?),
            message: M::decode(input)?,
        })
    }
}

/// Where keys are generated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Mode A: at the delivery server, which deposits the decipher half (MD-08).
    DeliveryServer,
    /// Mode B: at the authority (MD-16).
    Authority,
}

wire_code!(Mode { DeliveryServer = 1, Authority = 2 });

/// Node to authority, once per link: who speaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The delivery server's number and signing key; `None` for a receiver, which is never given a cipher half.
    pub server: Option<ServerIdentity>,
    /// The highest term this node has seen.
    pub term: Term,
    /// Whether the node has a live link to another master.
    pub other_master: bool,
}

/// A delivery server as it presents itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerIdentity {
    /// Its number.
    pub server: ServerId,
    /// Its own verifying key, made at its start.
    pub key: VerifyingKey,
}

wire_struct!(ServerIdentity { server, key });
wire_struct!(Hello {
    server,
    term,
    other_master
});

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

wire_code!(Early { Limit = 1, Numbers = 2, Operator = 3 });

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

wire_struct!(Held {
    epoch,
    term,
    group,
    first_lane,
    remaining
});

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
    /// Datagram of the last Notice that verified, whole; it proves what a former master announced.
    pub notice: Option<Vec<u8>>,
    /// The first preset is reached, or the epoch should end early: a request for the next key (MD-19, MD-23).
    pub wants_next: bool,
    /// Why before its time.
    pub early: Option<Early>,
    /// The stripe group's numbers run out or the run is new: the next lanes must form a new group.
    pub new_group: bool,
}

wire_struct!(Report {
    channel,
    run,
    mode,
    lanes,
    current,
    next,
    notice,
    wants_next,
    early,
    new_group
});

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

wire_struct!(NumberWanted {
    channel,
    run,
    at_once
});

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

wire_struct!(Deposit {
    channel,
    run,
    epoch,
    root,
    remaining,
    at_once
});

/// Ping and its echo: gives the offset between the two clocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ping {
    /// The pinging side's clock at sending, echoed.
    pub echo: Time,
}

impl Wire for Ping {
    fn encode(&self, out: &mut Vec<u8>) {
        self.echo.0.encode(out);
    }
    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        u64::decode(input).map(|echo| Self { echo: Time(echo) })
    }
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
    /// A device's request.
    KeyRequest(Wanted),
}

wire_enum!(ToAuthority { 1 => Hello, 2 => Ping, 3 => Report, 4 => NumberWanted, 5 => Deposit, 6 => KeyRequest });

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

wire_struct!(Welcome {
    term,
    authority,
    successor
});

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

wire_struct!(CipherHalf {
    channel,
    run,
    epoch,
    lanes,
    remaining,
    at_once,
    certificate
});

/// Authority to delivery server: a freshly signed Notice to forward at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoticeRelay {
    /// The datagram.
    pub datagram: Vec<u8>,
}

wire_struct!(NoticeRelay { datagram });

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

wire_struct!(Number {
    channel,
    run,
    epoch,
    at_once
});

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

wire_struct!(Deposited {
    channel,
    run,
    epoch,
    certificate
});

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
    /// Keys for a device.
    Granted(Granted),
    /// No keys for a device.
    Refused(Refused),
}

wire_enum!(FromAuthority {
    1 => Welcome, 2 => Pong, 3 => CipherHalf, 4 => Notice, 5 => Number, 6 => Deposited, 7 => Granted, 8 => Refused
});
