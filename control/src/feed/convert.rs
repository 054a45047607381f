//! Between the feed's messages and their protobuf form. What cannot be is refused; secrets are wiped from what they travelled in.

use sealcast_crypto::{EpochRoot, VerifyingKey};
use sealcast_proto::door::{TicketKey, Tickets};
use sealcast_proto::ids::{AccountId, ChannelId, Epoch, Remaining, SlaveId, Term, Time};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::feed::{
    Change, ChannelState, FeedPong, FromParent, Position, RootLeft, Seq, SlaveHello, SlaveKey,
    SlaveReport, ToParent,
};
use sealcast_proto::wire::link::{Frame, Ping};
use zeroize::Zeroize as _;

use super::pb;
use pb::change::Change as Kind;
use pb::from_parent::Message as From_;
use pb::to_parent::Message as To;

/// A message that cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a message of the feed cannot be read: {0}; are both sides of the same version?")]
pub(super) struct Unreadable(&'static str);

type Result<T> = std::result::Result<T, Unreadable>;

fn some<T>(value: Option<T>, what: &'static str) -> Result<T> {
    value.ok_or(Unreadable(what))
}

fn channel(id: u32) -> Result<ChannelId> {
    id.try_into()
        .map(ChannelId)
        .map_err(|_| Unreadable("channel"))
}

fn array<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| Unreadable(what))
}

/// A secret; wiped where it came from.
fn secret(mut bytes: Vec<u8>, what: &'static str) -> Result<[u8; 32]> {
    let secret = array(&bytes, what);
    bytes.zeroize();
    secret
}

fn term(term: Option<pb::Term>) -> Result<Term> {
    let term = some(term, "term")?;
    Ok(Term {
        number: term.number,
        instance: term.instance,
    })
}

fn from_term(term: Term) -> Option<pb::Term> {
    Some(pb::Term {
        number: term.number,
        instance: term.instance,
    })
}

fn position(at: pb::Position) -> Result<Position> {
    Ok(Position {
        term: term(at.term)?,
        seq: Seq(at.seq),
    })
}

fn from_position(at: Position) -> pb::Position {
    pb::Position {
        term: from_term(at.term),
        seq: at.seq.0,
    }
}

fn timing(channel: &pb::Channel) -> Result<Timing> {
    let ms = |ms: u32| std::time::Duration::from_millis(u64::from(ms));
    Timing::new(
        ms(channel.lifetime_ms),
        ms(channel.prepare_ahead_ms),
        ms(channel.fetch_ahead_ms),
        ms(channel.grace_ms),
    )
    .and_then(|timing| timing.with_hold_max(channel.hold_max_lifetimes))
    .map_err(|_| Unreadable("key times"))
}

fn root(root: pb::Root) -> Result<RootLeft> {
    Ok(RootLeft {
        epoch: Epoch(root.epoch),
        root: EpochRoot::from_bytes(secret(root.root, "root")?),
        left_ms: root.left_ms,
    })
}

fn from_root(left: RootLeft) -> pb::Root {
    pb::Root {
        epoch: left.epoch.0,
        root: left.root.as_bytes().to_vec(),
        left_ms: left.left_ms,
    }
}

fn state(state: pb::Channel) -> Result<ChannelState> {
    let key = |bytes: &[u8]| array(bytes, "key").map(VerifyingKey::from_bytes);
    Ok(ChannelState {
        channel: channel(state.channel)?,
        timing: timing(&state)?,
        authority: key(&state.authority)?,
        successor: match &*state.successor {
            [] => None,
            bytes => Some(key(bytes)?),
        },
        in_use: state.in_use.map(root).transpose()?,
        next: state.next.map(root).transpose()?,
        prepared: state.prepared.map(root).transpose()?,
        others: state.others.into_iter().map(root).collect::<Result<_>>()?,
        expected: state.expected.into_iter().map(Epoch).collect(),
    })
}

fn from_state(state: ChannelState) -> pb::Channel {
    let ms = |duration: std::time::Duration| {
        u32::try_from(duration.as_millis()).expect("checked when made")
    };
    let timing = state.timing;
    pb::Channel {
        channel: state.channel.0.into(),
        lifetime_ms: ms(timing.lifetime()),
        prepare_ahead_ms: ms(timing.prepare_ahead()),
        fetch_ahead_ms: ms(timing.fetch_ahead()),
        grace_ms: ms(timing.grace()),
        hold_max_lifetimes: timing.hold_lifetimes(),
        authority: state.authority.as_bytes().to_vec(),
        successor: state
            .successor
            .map_or_else(Vec::new, |key| key.as_bytes().to_vec()),
        in_use: state.in_use.map(from_root),
        next: state.next.map(from_root),
        prepared: state.prepared.map(from_root),
        others: state.others.into_iter().map(from_root).collect(),
        expected: state.expected.into_iter().map(|epoch| epoch.0).collect(),
    }
}

fn ticket_key(key: pb::TicketKey) -> Result<TicketKey> {
    Ok(TicketKey::new(key.period, secret(key.key, "ticket key")?))
}

fn from_ticket_key(key: &TicketKey) -> pb::TicketKey {
    pb::TicketKey {
        period: key.period(),
        key: key.as_bytes().to_vec(),
    }
}

fn change(change: pb::Change) -> Result<Change> {
    Ok(match some(change.change, "change")? {
        Kind::Channel(channel) => Change::Channel(Box::new(state(channel)?)),
        Kind::ChannelGone(id) => Change::ChannelGone(channel(id)?),
        Kind::Tickets(tickets) => {
            let current = ticket_key(some(tickets.current, "ticket key")?)?;
            let previous = tickets.previous.map(ticket_key).transpose()?;
            Change::Tickets(Tickets::new(current, previous))
        }
        Kind::RightsFloor(floor) => Change::RightsFloor {
            account: AccountId(array(&floor.account, "account")?),
            version: floor.version,
        },
        Kind::Roster(roster) => {
            let key = |slave: pb::SlaveKey| {
                Ok(SlaveKey {
                    slave: SlaveId(slave.slave),
                    key: array(&slave.key, "key")?,
                })
            };
            Change::Roster(roster.slaves.into_iter().map(key).collect::<Result<_>>()?)
        }
    })
}

fn from_change(change: Change) -> pb::Change {
    let kind = match change {
        Change::Channel(state) => Kind::Channel(from_state(*state)),
        Change::ChannelGone(channel) => Kind::ChannelGone(channel.0.into()),
        Change::Tickets(tickets) => Kind::Tickets(pb::Tickets {
            current: Some(from_ticket_key(tickets.current())),
            previous: tickets.previous().map(from_ticket_key),
        }),
        Change::RightsFloor { account, version } => Kind::RightsFloor(pb::RightsFloor {
            account: account.0.to_vec(),
            version,
        }),
        Change::Roster(roster) => Kind::Roster(pb::Roster {
            slaves: roster
                .into_iter()
                .map(|slave| pb::SlaveKey {
                    slave: slave.slave.0,
                    key: slave.key.to_vec(),
                })
                .collect(),
        }),
    };
    pb::Change { change: Some(kind) }
}

/// A part of a state: position, changes, whether it is the last.
pub(super) fn snapshot(snapshot: pb::Snapshot) -> Result<(Position, Vec<Change>, bool)> {
    let at = position(some(snapshot.at, "position")?)?;
    let changes = snapshot.changes.into_iter().map(change);
    Ok((at, changes.collect::<Result<_>>()?, snapshot.last))
}

pub(super) fn from_snapshot(at: Position, changes: Vec<Change>, last: bool) -> pb::Snapshot {
    pb::Snapshot {
        at: Some(from_position(at)),
        changes: changes.into_iter().map(from_change).collect(),
        last,
    }
}

/// What a kept state says of terms.
pub(super) fn kept_term(kept: &pb::Kept) -> Result<Term> {
    term(kept.term)
}

pub(super) fn from_kept_term(term: Term) -> Option<pb::Term> {
    from_term(term)
}

fn report(report: pb::Report) -> Result<SlaveReport> {
    let held = |held: pb::Held| {
        let epoch = (held.epoch != 0).then_some(Epoch(held.epoch));
        Ok((channel(held.channel)?, epoch))
    };
    let door = |door: String| door.parse().map_err(|_| Unreadable("address"));
    Ok(SlaveReport {
        slave: SlaveId(report.slave),
        term: term(report.term)?,
        parent: (report.parent != 0).then_some(SlaveId(report.parent)),
        doors: report.doors.into_iter().map(door).collect::<Result<_>>()?,
        leased: report.leased,
        held: report.held.into_iter().map(held).collect::<Result<_>>()?,
    })
}

fn from_report(report: SlaveReport) -> pb::Report {
    let held = |(channel, epoch): (ChannelId, Option<Epoch>)| pb::Held {
        channel: channel.0.into(),
        epoch: epoch.map_or(0, |epoch| epoch.0),
    };
    pb::Report {
        slave: report.slave.0,
        term: from_term(report.term),
        parent: report.parent.map_or(0, |slave| slave.0),
        doors: report.doors.iter().map(ToString::to_string).collect(),
        leased: report.leased,
        held: report.held.into_iter().map(held).collect(),
    }
}

/// What a slave says.
///
/// # Errors
/// [`Unreadable`].
pub(super) fn to_parent(message: pb::ToParent) -> Result<Frame<ToParent>> {
    let sent = Time(message.sent_ns);
    let message = match some(message.message, "message")? {
        To::Ping(ping) => ToParent::Ping(Ping {
            echo: Time(ping.echo_ns),
        }),
        To::Hello(hello) => ToParent::Hello(SlaveHello {
            term: term(hello.term)?,
            at: hello.at.map(position).transpose()?,
        }),
        To::Report(said) => ToParent::Report(report(said)?),
        To::Gone(slave) => ToParent::Gone(SlaveId(slave)),
    };
    Ok(Frame { sent, message })
}

/// What a slave says, as it travels.
pub(super) fn from_to_parent(frame: Frame<ToParent>) -> pb::ToParent {
    let message = match frame.message {
        ToParent::Ping(ping) => To::Ping(pb::Ping {
            echo_ns: ping.echo.0,
        }),
        ToParent::Hello(hello) => To::Hello(pb::Hello {
            term: from_term(hello.term),
            at: hello.at.map(from_position),
        }),
        ToParent::Report(report) => To::Report(from_report(report)),
        ToParent::Gone(slave) => To::Gone(slave.0),
    };
    pb::ToParent {
        sent_ns: frame.sent.0,
        message: Some(message),
    }
}

/// What a parent says.
///
/// # Errors
/// [`Unreadable`].
pub(super) fn from_parent(message: pb::FromParent) -> Result<Frame<FromParent>> {
    let sent = Time(message.sent_ns);
    let message = match some(message.message, "message")? {
        From_::Pong(pong) => FromParent::Pong(FeedPong {
            echo: Time(pong.echo_ns),
            lease: Remaining(pong.lease_ms),
            depth: pong.depth.try_into().unwrap_or(u8::MAX),
        }),
        From_::Snapshot(part) => {
            let (at, changes, last) = snapshot(part)?;
            FromParent::Snapshot { at, changes, last }
        }
        From_::Tail(tail) => FromParent::Tail {
            at: position(some(tail.at, "position")?)?,
            changes: tail
                .changes
                .into_iter()
                .map(change)
                .collect::<Result<_>>()?,
        },
    };
    Ok(Frame { sent, message })
}

/// What a parent says, as it travels.
pub(super) fn from_from_parent(frame: Frame<FromParent>) -> pb::FromParent {
    let message = match frame.message {
        FromParent::Pong(pong) => From_::Pong(pb::Pong {
            echo_ns: pong.echo.0,
            lease_ms: pong.lease.0,
            depth: pong.depth.into(),
        }),
        FromParent::Snapshot { at, changes, last } => {
            From_::Snapshot(from_snapshot(at, changes, last))
        }
        FromParent::Tail { at, changes } => From_::Tail(pb::Tail {
            at: Some(from_position(at)),
            changes: changes.into_iter().map(from_change).collect(),
        }),
    };
    pb::FromParent {
        sent_ns: frame.sent.0,
        message: Some(message),
    }
}
