//! Between the link's messages and their protobuf form. What cannot be is refused; secrets are wiped from what they travelled
//! in.

use sealcast_crypto::{EpochRoot, LaneSecret, VerifyingKey};
use sealcast_proto::ids::{
    ChannelId, Epoch, GroupId, Lane, Remaining, RunId, ServerId, Term, Time,
};
use sealcast_proto::key_block::Plan;
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::link::{
    BlockPart, CipherHalf, Deposit, Deposited, Early, Frame, FromAuthority, Held, Hello, Mode,
    NoticeRelay, Number, NumberWanted, Ping, Report, Sent, Settings, ToAuthority, Welcome,
};
use zeroize::{Zeroize as _, Zeroizing};

use super::pb;
use pb::from_authority::Message as From_;
use pb::to_authority::Message as To;

/// A message that cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a message of the node link cannot be read: {0}; are both sides of the same version?")]
pub struct Unreadable(&'static str);

type Result<T> = std::result::Result<T, Unreadable>;

fn some<T>(value: Option<T>, what: &'static str) -> Result<T> {
    value.ok_or(Unreadable(what))
}

fn channel(id: u32) -> Result<ChannelId> {
    id.try_into()
        .map(ChannelId)
        .map_err(|_| Unreadable("channel"))
}

fn small(number: u32, what: &'static str) -> Result<u8> {
    number.try_into().map_err(|_| Unreadable(what))
}

fn array<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| Unreadable(what))
}

fn key(bytes: &[u8]) -> Result<VerifyingKey> {
    array(bytes, "key").map(VerifyingKey::from_bytes)
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

fn mode(mode: i32) -> Result<Mode> {
    match pb::Mode::try_from(mode) {
        Ok(pb::Mode::DeliveryServer) => Ok(Mode::DeliveryServer),
        Ok(pb::Mode::Authority) => Ok(Mode::Authority),
        _ => Err(Unreadable("mode")),
    }
}

fn from_mode(mode: Mode) -> i32 {
    match mode {
        Mode::DeliveryServer => pb::Mode::DeliveryServer,
        Mode::Authority => pb::Mode::Authority,
    }
    .into()
}

fn early(early: i32) -> Result<Option<Early>> {
    match pb::Early::try_from(early) {
        Ok(pb::Early::None) => Ok(None),
        Ok(pb::Early::Limit) => Ok(Some(Early::Limit)),
        Ok(pb::Early::Numbers) => Ok(Some(Early::Numbers)),
        Ok(pb::Early::Operator) => Ok(Some(Early::Operator)),
        Err(_) => Err(Unreadable("early")),
    }
}

fn from_early(early: Option<Early>) -> i32 {
    match early {
        None => pb::Early::None,
        Some(Early::Limit) => pb::Early::Limit,
        Some(Early::Numbers) => pb::Early::Numbers,
        Some(Early::Operator) => pb::Early::Operator,
    }
    .into()
}

fn held(held: pb::Held) -> Result<Held> {
    Ok(Held {
        epoch: Epoch(held.epoch),
        term: term(held.term)?,
        group: GroupId(held.group),
        first_lane: some(Lane::new(small(held.first_lane, "lane")?), "lane")?,
        remaining: Remaining(held.remaining_ms),
    })
}

fn from_held(held: Held) -> pb::Held {
    pb::Held {
        epoch: held.epoch.0,
        term: from_term(held.term),
        group: held.group.0,
        first_lane: held.first_lane.number().into(),
        remaining_ms: held.remaining.0,
    }
}

/// No bytes is nothing.
fn optional(bytes: Vec<u8>) -> Option<Vec<u8>> {
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

fn report(report: pb::Report) -> Result<Report> {
    Ok(Report {
        channel: channel(report.channel)?,
        run: RunId(report.run),
        mode: mode(report.mode)?,
        lanes: small(report.lanes, "lanes")?,
        current: report.current.map(held).transpose()?,
        next: report.next.map(held).transpose()?,
        spare: report.spare.map(held).transpose()?,
        notice: optional(report.notice),
        wants_next: report.wants_next,
        early: early(report.early)?,
        new_group: report.new_group,
        sent: Sent {
            packets: report.packets,
            bytes: report.bytes,
        },
    })
}

fn from_report(report: Report) -> pb::Report {
    pb::Report {
        channel: report.channel.0.into(),
        run: report.run.0,
        mode: from_mode(report.mode),
        lanes: report.lanes.into(),
        current: report.current.map(from_held),
        next: report.next.map(from_held),
        spare: report.spare.map(from_held),
        notice: report.notice.unwrap_or_default(),
        wants_next: report.wants_next,
        early: from_early(report.early),
        new_group: report.new_group,
        packets: report.sent.packets,
        bytes: report.sent.bytes,
    }
}

/// A message of a node.
pub(super) fn to_authority(frame: pb::ToAuthority) -> Result<Frame<ToAuthority>> {
    let message = match some(frame.message, "nothing in it")? {
        To::Hello(hello) => ToAuthority::Hello(Hello {
            server: ServerId(hello.server),
            key: key(&hello.key)?,
            term: term(hello.term)?,
            other_master: hello.other_master,
        }),
        To::Ping(ping) => ToAuthority::Ping(Ping {
            echo: Time(ping.echo_ns),
        }),
        To::Report(message) => ToAuthority::Report(report(message)?),
        To::NumberWanted(wanted) => ToAuthority::NumberWanted(NumberWanted {
            channel: channel(wanted.channel)?,
            run: RunId(wanted.run),
            at_once: wanted.at_once,
        }),
        To::Deposit(mut deposit) => {
            let root = Zeroizing::new(array(&deposit.root, "root")?);
            deposit.root.zeroize();
            ToAuthority::Deposit(Deposit {
                channel: channel(deposit.channel)?,
                run: RunId(deposit.run),
                epoch: Epoch(deposit.epoch),
                root: EpochRoot::from_bytes(*root),
                remaining: Remaining(deposit.remaining_ms),
                at_once: deposit.at_once,
            })
        }
    };
    Ok(Frame {
        sent: Time(frame.sent_ns),
        message,
    })
}

pub(super) fn from_to_authority(frame: Frame<ToAuthority>) -> pb::ToAuthority {
    let message = match frame.message {
        ToAuthority::Hello(hello) => To::Hello(pb::Hello {
            server: hello.server.0,
            key: hello.key.as_bytes().to_vec(),
            term: from_term(hello.term),
            other_master: hello.other_master,
        }),
        ToAuthority::Ping(ping) => To::Ping(pb::Ping {
            echo_ns: ping.echo.0,
        }),
        ToAuthority::Report(report) => To::Report(from_report(report)),
        ToAuthority::NumberWanted(wanted) => To::NumberWanted(pb::NumberWanted {
            channel: wanted.channel.0.into(),
            run: wanted.run.0,
            at_once: wanted.at_once,
        }),
        ToAuthority::Deposit(deposit) => To::Deposit(pb::Deposit {
            channel: deposit.channel.0.into(),
            run: deposit.run.0,
            epoch: deposit.epoch.0,
            root: deposit.root.as_bytes().to_vec(),
            remaining_ms: deposit.remaining.0,
            at_once: deposit.at_once,
        }),
    };
    pb::ToAuthority {
        sent_ns: frame.sent.0,
        message: Some(message),
    }
}

fn block_part(part: pb::BlockPart) -> Result<BlockPart> {
    let count = |number: u32, what| u16::try_from(number).map_err(|_| Unreadable(what));
    Ok(BlockPart {
        channel: channel(part.channel)?,
        epoch: Epoch(part.epoch),
        part: count(part.part, "part of a key block")?,
        parts: count(part.parts, "parts of a key block")?,
        plan: Plan {
            ahead: count(part.ahead, "repeats of a key block")?,
            after: count(part.after, "repeats of a key block")?,
        },
        datagrams: part.datagrams,
    })
}

fn cipher_half(half: pb::CipherHalf) -> Result<CipherHalf> {
    let lane = |mut lane: pb::LaneSecret| {
        let key = Zeroizing::new(array(&lane.key, "lane key")?);
        let salt = Zeroizing::new(array(&lane.salt, "lane salt")?);
        lane.key.zeroize();
        lane.salt.zeroize();
        Ok(LaneSecret::from_parts(*key, *salt))
    };
    Ok(CipherHalf {
        channel: channel(half.channel)?,
        run: RunId(half.run),
        epoch: Epoch(half.epoch),
        lanes: half.lanes.into_iter().map(lane).collect::<Result<_>>()?,
        remaining: Remaining(half.remaining_ms),
        at_once: half.at_once,
        certificate: half.certificate,
    })
}

fn settings(settings: pb::Settings) -> Result<Settings> {
    let ms = |ms: u32| std::time::Duration::from_millis(ms.into());
    let timing = Timing::new(
        ms(settings.lifetime_ms),
        ms(settings.prepare_ahead_ms),
        ms(settings.fetch_ahead_ms),
        ms(settings.grace_ms),
    );
    let timing = timing.and_then(|timing| timing.with_hold_max(settings.hold_max_lifetimes));
    Ok(Settings {
        channel: channel(settings.channel)?,
        mode: mode(settings.mode)?,
        timing: timing.map_err(|_| Unreadable("key times"))?,
    })
}

fn from_settings(settings: Settings) -> pb::Settings {
    let ms = |duration: std::time::Duration| Remaining::from(duration).0;
    let timing = settings.timing;
    pb::Settings {
        channel: settings.channel.0.into(),
        mode: from_mode(settings.mode),
        lifetime_ms: ms(timing.lifetime()),
        prepare_ahead_ms: ms(timing.prepare_ahead()),
        fetch_ahead_ms: ms(timing.fetch_ahead()),
        grace_ms: ms(timing.grace()),
        hold_max_lifetimes: timing.hold_lifetimes(),
    }
}

/// A message of the authority.
pub(super) fn from_authority(frame: pb::FromAuthority) -> Result<Frame<FromAuthority>> {
    let message = match some(frame.message, "nothing in it")? {
        From_::Welcome(welcome) => FromAuthority::Welcome(Welcome {
            term: term(welcome.term)?,
            authority: key(&welcome.authority)?,
            successor: optional(welcome.successor)
                .map(|successor| key(&successor))
                .transpose()?,
        }),
        From_::Pong(ping) => FromAuthority::Pong(Ping {
            echo: Time(ping.echo_ns),
        }),
        From_::CipherHalf(half) => FromAuthority::CipherHalf(cipher_half(half)?),
        From_::Notice(relay) => FromAuthority::Notice(NoticeRelay {
            datagram: relay.datagram,
        }),
        From_::Number(number) => FromAuthority::Number(Number {
            channel: channel(number.channel)?,
            run: RunId(number.run),
            epoch: Epoch(number.epoch),
            at_once: number.at_once,
        }),
        From_::Deposited(deposited) => FromAuthority::Deposited(Deposited {
            channel: channel(deposited.channel)?,
            run: RunId(deposited.run),
            epoch: Epoch(deposited.epoch),
            certificate: optional(deposited.certificate),
        }),
        From_::Settings(message) => FromAuthority::Settings(settings(message)?),
        From_::BlockPart(part) => FromAuthority::BlockPart(block_part(part)?),
    };
    Ok(Frame {
        sent: Time(frame.sent_ns),
        message,
    })
}

pub(super) fn from_from_authority(frame: Frame<FromAuthority>) -> pb::FromAuthority {
    let message = match frame.message {
        FromAuthority::Welcome(welcome) => From_::Welcome(pb::Welcome {
            term: from_term(welcome.term),
            authority: welcome.authority.as_bytes().to_vec(),
            successor: welcome
                .successor
                .map(|key| key.as_bytes().to_vec())
                .unwrap_or_default(),
        }),
        FromAuthority::Pong(ping) => From_::Pong(pb::Ping {
            echo_ns: ping.echo.0,
        }),
        FromAuthority::CipherHalf(half) => From_::CipherHalf(pb::CipherHalf {
            channel: half.channel.0.into(),
            run: half.run.0,
            epoch: half.epoch.0,
            lanes: half
                .lanes
                .iter()
                .map(|lane| pb::LaneSecret {
                    key: lane.key().to_vec(),
                    salt: lane.salt().to_vec(),
                })
                .collect(),
            remaining_ms: half.remaining.0,
            at_once: half.at_once,
            certificate: half.certificate,
        }),
        FromAuthority::Notice(relay) => From_::Notice(pb::NoticeRelay {
            datagram: relay.datagram,
        }),
        FromAuthority::Number(number) => From_::Number(pb::Number {
            channel: number.channel.0.into(),
            run: number.run.0,
            epoch: number.epoch.0,
            at_once: number.at_once,
        }),
        FromAuthority::Deposited(deposited) => From_::Deposited(pb::Deposited {
            channel: deposited.channel.0.into(),
            run: deposited.run.0,
            epoch: deposited.epoch.0,
            certificate: deposited.certificate.unwrap_or_default(),
        }),
        FromAuthority::Settings(settings) => From_::Settings(from_settings(settings)),
        FromAuthority::BlockPart(part) => From_::BlockPart(pb::BlockPart {
            channel: part.channel.0.into(),
            epoch: part.epoch.0,
            part: part.part.into(),
            parts: part.parts.into(),
            ahead: part.plan.ahead.into(),
            after: part.plan.after.into(),
            datagrams: part.datagrams,
        }),
    };
    pb::FromAuthority {
        sent_ns: frame.sent.0,
        message: Some(message),
    }
}
