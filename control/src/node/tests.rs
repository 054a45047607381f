//! Messages of the node link come back as they were; what cannot be is refused.

use prost::Message as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sealcast_crypto::{EpochRoot, LaneSecret, SigningKey};
use sealcast_proto::ids::{
    ChannelId, Epoch, GroupId, Lane, Remaining, RunId, ServerId, Term, Time,
};
use sealcast_proto::key_block::Plan;
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::link::{
    BlockPart, CipherHalf, Deposit, Deposited, Early, Frame, FromAuthority, Held, Hello, Mode,
    NoticeRelay, Number, NumberWanted, Ping, Report, Sent, Settings, ToAuthority, Welcome,
};

use super::{convert, pb};

const CHANNEL: ChannelId = ChannelId(65_535);
const RUN: RunId = RunId(u64::MAX - 3);
const TERM: Term = Term {
    number: 9,
    instance: u64::MAX,
};

fn held(epoch: u64) -> Held {
    Held {
        epoch: Epoch(epoch),
        term: TERM,
        group: GroupId(u64::MAX - 1),
        first_lane: Lane::new(255).unwrap(),
        remaining: Remaining(u32::MAX),
    }
}

fn report() -> Report {
    Report {
        channel: CHANNEL,
        run: RUN,
        mode: Mode::DeliveryServer,
        lanes: 255,
        current: Some(held(7)),
        next: Some(held(8)),
        spare: Some(held(9)),
        notice: Some(vec![1, 2, 3]),
        wants_next: true,
        early: Some(Early::Numbers),
        new_group: true,
        sent: Sent {
            packets: 1 << 50,
            bytes: 1 << 60,
        },
    }
}

fn to_authority() -> Vec<ToAuthority> {
    let empty = Report {
        current: None,
        next: None,
        spare: None,
        notice: None,
        early: None,
        ..report()
    };
    vec![
        ToAuthority::Hello(Hello {
            server: ServerId(u32::MAX),
            key: SigningKey::from_seed(&[3; 32]).verifying_key(),
            term: TERM,
            other_master: true,
        }),
        ToAuthority::Ping(Ping { echo: Time(5) }),
        ToAuthority::Report(report()),
        ToAuthority::Report(empty),
        ToAuthority::NumberWanted(NumberWanted {
            channel: CHANNEL,
            run: RUN,
            at_once: true,
        }),
        ToAuthority::Deposit(Deposit {
            channel: CHANNEL,
            run: RUN,
            epoch: Epoch(7),
            root: EpochRoot::from_bytes([9; 32]),
            remaining: Remaining(1),
            at_once: false,
        }),
    ]
}

fn from_authority() -> Vec<FromAuthority> {
    let key = SigningKey::from_seed(&[4; 32]).verifying_key();
    vec![
        FromAuthority::Welcome(Welcome {
            term: TERM,
            authority: key,
            successor: None,
        }),
        FromAuthority::Welcome(Welcome {
            term: TERM,
            authority: key,
            successor: Some(key),
        }),
        FromAuthority::Pong(Ping { echo: Time(5) }),
        FromAuthority::CipherHalf(CipherHalf {
            channel: CHANNEL,
            run: RUN,
            epoch: Epoch(7),
            lanes: vec![
                LaneSecret::from_parts([1; 32], [2; 12]),
                LaneSecret::from_parts([3; 32], [4; 12]),
            ],
            remaining: Remaining(9),
            at_once: true,
            certificate: vec![7; 200],
        }),
        FromAuthority::Notice(NoticeRelay {
            datagram: vec![1; 120],
        }),
        FromAuthority::Number(Number {
            channel: CHANNEL,
            run: RUN,
            epoch: Epoch(7),
            at_once: true,
        }),
        FromAuthority::Deposited(Deposited {
            channel: CHANNEL,
            run: RUN,
            epoch: Epoch(7),
            certificate: None,
        }),
        FromAuthority::Deposited(Deposited {
            channel: CHANNEL,
            run: RUN,
            epoch: Epoch(7),
            certificate: Some(vec![8; 200]),
        }),
        FromAuthority::Settings(Settings {
            channel: CHANNEL,
            mode: Mode::Authority,
            timing: Timing::default().with_hold_max(3).unwrap(),
        }),
        FromAuthority::BlockPart(BlockPart {
            channel: CHANNEL,
            epoch: Epoch(7),
            part: 1,
            parts: 2,
            plan: Plan { ahead: 3, after: 9 },
            datagrams: vec![vec![1; 1211], vec![2; 131]],
        }),
    ]
}

#[test]
fn every_message_comes_back_as_it_was() {
    for message in to_authority() {
        let frame = Frame {
            sent: Time(u64::MAX),
            message,
        };
        let bytes = convert::from_to_authority(frame.clone()).encode_to_vec();
        let decoded = pb::ToAuthority::decode(bytes.as_slice()).unwrap();
        assert_eq!(convert::to_authority(decoded), Ok(frame));
    }
    for message in from_authority() {
        let frame = Frame {
            sent: Time(1),
            message,
        };
        let bytes = convert::from_from_authority(frame.clone()).encode_to_vec();
        let decoded = pb::FromAuthority::decode(bytes.as_slice()).unwrap();
        assert_eq!(convert::from_authority(decoded), Ok(frame));
    }
}

fn reported(change: impl FnOnce(&mut pb::Report)) -> bool {
    let frame = Frame {
        sent: Time(1),
        message: ToAuthority::Report(report()),
    };
    let mut message = convert::from_to_authority(frame);
    match &mut message.message {
        Some(pb::to_authority::Message::Report(report)) => change(report),
        other => unreachable!("{other:?}"),
    }
    convert::to_authority(message).is_ok()
}

#[test]
fn values_that_cannot_be_are_refused() {
    assert!(reported(|_| {}));
    assert!(!reported(|report| report.channel = 65_536));
    assert!(!reported(|report| report.lanes = 256));
    assert!(!reported(|report| report.mode = 0));
    assert!(!reported(|report| report.mode = 77));
    assert!(!reported(|report| report.early = 9));
    let held = |change: fn(&mut pb::Held)| {
        reported(|report| change(report.current.as_mut().expect("it is there")))
    };
    assert!(!held(|held| held.first_lane = 0));
    assert!(!held(|held| held.first_lane = 256));
    assert!(!held(|held| held.term = None));
    let nothing = pb::ToAuthority {
        sent_ns: 1,
        message: None,
    };
    assert!(convert::to_authority(nothing).is_err());
    let settings = pb::Settings {
        channel: 1,
        mode: 2,
        lifetime_ms: 1000,
        prepare_ahead_ms: 500,
        // MD-14 holds here, too.
        fetch_ahead_ms: 500,
        grace_ms: 1,
        hold_max_lifetimes: 1,
    };
    let settings = pb::FromAuthority {
        sent_ns: 1,
        message: Some(pb::from_authority::Message::Settings(settings)),
    };
    assert!(convert::from_authority(settings).is_err());
}

/// A node that is taken over can say anything: it ends in an error or a message, never in a panic.
#[test]
fn mutated_messages_are_survived() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let seeds: Vec<Vec<u8>> = to_authority()
        .into_iter()
        .map(|message| {
            let frame = Frame {
                sent: Time(5),
                message,
            };
            convert::from_to_authority(frame).encode_to_vec()
        })
        .collect();
    let (mut read, mut refused) = (0, 0);
    for round in 0..50_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..1 + rng.next_u32() % 4 {
            let at = rng.next_u32() as usize % bytes.len();
            bytes[at] = rng.next_u32().to_le_bytes()[0];
        }
        let decoded = pb::ToAuthority::decode(bytes.as_slice());
        match decoded.map(convert::to_authority) {
            Ok(Ok(_)) => read += 1,
            _ => refused += 1,
        }
    }
    assert!(
        read > 1000 && refused > 1000,
        "{read} read, {refused} refused"
    );
}
