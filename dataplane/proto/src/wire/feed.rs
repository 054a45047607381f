//! Messages between a slave key server and its parent: the master, or another slave. How they are encoded is the link's
//! business. Every frame also carries when it was sent on the sender's clock (see [`super::link::Frame`]).
//!
//! The parent tells all that a key door must know, numbered: first as a snapshot, then change by change. The slave tells where it
//! stands, and passes on what the slaves behind it tell.

use std::net::SocketAddr;
use std::time::Duration;

use sealcast_crypto::{EpochRoot, VerifyingKey};

use super::link::Ping;
use crate::door::{Served, ServedKey, Tickets, Update};
use crate::ids::{AccountId, ChannelId, Epoch, Remaining, SlaveId, Term, Time};
use crate::timing::Timing;

/// The number of a change within its term: the state after it is the sum of all changes up to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Seq(pub u64);

impl Seq {
    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// How far a slave's state goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Position {
    /// Under which term.
    pub term: Term,
    /// The last change in it.
    pub seq: Seq,
}

/// A slave that may be fed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlaveKey {
    /// Its number.
    pub slave: SlaveId,
    /// SHA-256 of its certificate's SubjectPublicKeyInfo.
    pub key: [u8; 32],
}

/// A root and how long it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RootLeft {
    /// Its epoch.
    pub epoch: Epoch,
    /// The root.
    pub root: EpochRoot,
    /// From the sending of the frame to the end of its time, milliseconds; negative when that is past.
    pub left_ms: i64,
}

impl RootLeft {
    fn of(key: &ServedKey, now: Time) -> Self {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self {
            epoch: key.epoch,
            root: key.root.clone(),
            left_ms: if key.end >= now {
                ms(key.end.since(now))
            } else {
                -ms(now.since(key.end))
            },
        }
    }

    fn received(self, spoken: Time) -> ServedKey {
        let span = Duration::from_millis(self.left_ms.unsigned_abs());
        ServedKey {
            epoch: self.epoch,
            root: self.root,
            end: if self.left_ms >= 0 {
                spoken.after(span)
            } else {
                spoken.before(span)
            },
        }
    }
}

/// [`Served`] as it travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelState {
    /// The channel.
    pub channel: ChannelId,
    /// Its key times.
    pub timing: Timing,
    /// Its authority key.
    pub authority: VerifyingKey,
    /// The key that will replace it.
    pub successor: Option<VerifyingKey>,
    /// The epoch in use.
    pub in_use: Option<RootLeft>,
    /// The epoch after it, announced.
    pub next: Option<RootLeft>,
    /// The epoch after it, not announced yet.
    pub prepared: Option<RootLeft>,
    /// Epochs that somebody may still send under.
    pub others: Vec<RootLeft>,
    /// Epochs that are known, but cannot be given (yet).
    pub expected: Vec<Epoch>,
}

/// One change of what a key door must know.
#[derive(Clone, Debug)]
pub enum Change {
    /// See [`Update::Channel`].
    Channel(Box<ChannelState>),
    /// See [`Update::ChannelGone`].
    ChannelGone(ChannelId),
    /// See [`Update::Tickets`].
    Tickets(Tickets),
    /// See [`Update::RightsFloor`].
    RightsFloor {
        /// Whose.
        account: AccountId,
        /// The lowest version that counts.
        version: u64,
    },
    /// See [`Update::Roster`].
    Roster(Vec<SlaveKey>),
}

impl Change {
    /// As it leaves `now`; `None` for what concerns the doors of this host only.
    #[must_use]
    pub fn of(update: &Update, now: Time) -> Option<Self> {
        Some(match update {
            Update::Leads(_) => return None,
            Update::Channel(served) => {
                let left = |key: &ServedKey| RootLeft::of(key, now);
                Self::Channel(Box::new(ChannelState {
                    channel: served.channel,
                    timing: served.timing,
                    authority: served.authority,
                    successor: served.successor,
                    in_use: served.in_use.as_ref().map(left),
                    next: served.next.as_ref().map(left),
                    prepared: served.prepared.as_ref().map(left),
                    others: served.others.iter().map(left).collect(),
                    expected: served.expected.clone(),
                }))
            }
            Update::ChannelGone(channel) => Self::ChannelGone(*channel),
            Update::Tickets(tickets) => Self::Tickets(tickets.clone()),
            Update::RightsFloor { account, version } => Self::RightsFloor {
                account: *account,
                version: *version,
            },
            Update::Roster(roster) => Self::Roster(roster.clone()),
        })
    }

    /// As it is to be taken in: `spoken` is when it left, on the receiving side's clock.
    #[must_use]
    pub fn into_update(self, spoken: Time) -> Update {
        match self {
            Self::Channel(state) => {
                let key = |left: RootLeft| left.received(spoken);
                Update::Channel(Box::new(Served {
                    channel: state.channel,
                    timing: state.timing,
                    authority: state.authority,
                    successor: state.successor,
                    in_use: state.in_use.map(key),
                    next: state.next.map(key),
                    prepared: state.prepared.map(key),
                    others: state.others.into_iter().map(key).collect(),
                    expected: state.expected,
                }))
            }
            Self::ChannelGone(channel) => Update::ChannelGone(channel),
            Self::Tickets(tickets) => Update::Tickets(tickets),
            Self::RightsFloor { account, version } => Update::RightsFloor { account, version },
            Self::Roster(roster) => Update::Roster(roster),
        }
    }
}

/// Slave to parent, once per link, after the clocks were compared: who speaks, and how far it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlaveHello {
    /// The highest term it has seen.
    pub term: Term,
    /// How far its state goes; `None`: it has none.
    pub at: Option<Position>,
}

/// Where a slave stands: an acknowledgement of what it holds. What changed since the last one on this link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlaveReport {
    /// Which.
    pub slave: SlaveId,
    /// Of which term its state is.
    pub term: Term,
    /// Who feeds it; `None`: the master.
    pub parent: Option<SlaveId>,
    /// Where its key doors are.
    pub doors: Vec<SocketAddr>,
    /// It holds a lease.
    pub leased: bool,
    /// The highest epoch held of each channel that changed, prepared ones among them; `None`: nothing of the channel any more.
    pub held: Vec<(ChannelId, Option<Epoch>)>,
}

/// Everything a slave says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToParent {
    /// Offset measurement, and a request for a lease.
    Ping(Ping),
    /// Who speaks.
    Hello(SlaveHello),
    /// Where it, or one behind it, stands.
    Report(SlaveReport),
    /// One behind it is gone.
    Gone(SlaveId),
}

/// Parent to slave: the echo of a ping, and what was left of the parent's lease when it answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedPong {
    /// The pinging side's clock at sending, echoed.
    pub echo: Time,
    /// The parent vouches this long that it knows all that the master has decided before the ping left. Zero: no lease.
    pub lease: Remaining,
    /// Links between the parent and the master.
    pub depth: u8,
}

/// Everything a parent says.
#[derive(Clone, Debug)]
pub enum FromParent {
    /// Echo of a ping, with a lease.
    Pong(FeedPong),
    /// A part of the state at a position. What was known before is replaced when the last part is there.
    Snapshot {
        /// Of which position.
        at: Position,
        /// What leads there from nothing.
        changes: Vec<Change>,
        /// No more parts follow.
        last: bool,
    },
    /// Changes in order.
    Tail {
        /// The position after them.
        at: Position,
        /// The changes.
        changes: Vec<Change>,
    },
}
