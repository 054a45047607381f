//! Hostile bytes: every parser takes thousands of mutated messages without a panic, and what it takes it writes back the same.
//!
//! The seed is fixed; `SEALCAST_FUZZ_SEED` and `SEALCAST_FUZZ_ROUNDS` try others. The checks stand in `fuzz/checks.rs`; the
//! workspace's `fuzz/` runs the same ones with cargo-fuzz, guided by coverage (CONTRIBUTING.md).
#![expect(clippy::print_stdout, reason = "says which seed was used")]
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

#[expect(unreachable_pub, reason = "fuzz/ makes a library of it")]
#[path = "fuzz/checks.rs"]
mod checks;
#[path = "fuzz/mutate.rs"]
mod mutate;

use std::time::Duration;

use checks::{Device, TERM, encoded, key};
use mutate::{mutate, settings};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sealcast_crypto::{EpochRoot, LaneSecret, SigningKey};
use sealcast_proto::ids::{ChannelId, Epoch, GroupId, Lane, Remaining, RunId, ServerId, Time};
use sealcast_proto::wire::Wire as _;
use sealcast_proto::wire::control::{LaneCertificate, Notice, Unverified, sign};
use sealcast_proto::wire::door::{
    Cookie, DecipherHalf, DoorMessage as _, Granted, KeyReply, KeyRequest, Reason, Refusal,
    Refused, Sealed, Wanted,
};
use sealcast_proto::wire::header::Header;
use sealcast_proto::wire::link::{
    CipherHalf, Deposit, Deposited, FromAuthority, Hello, Mode, NoticeRelay, Number, NumberWanted,
    Ping, Report, ServerIdentity, ToAuthority, Welcome,
};

fn notice() -> Vec<u8> {
    let notice = Notice {
        channel: ChannelId(7),
        term: TERM,
        current: Epoch(4),
        next: Epoch(5),
        current_commitment: None,
        next_commitment: Some(EpochRoot::from_bytes([5; 32]).prk().commitment(7, 5)),
        revision: 2,
        remaining: Remaining(1234),
    };
    sign(&notice, &key())
}

fn certificate() -> Vec<u8> {
    let certificate = LaneCertificate {
        channel: ChannelId(7),
        term: TERM,
        group: GroupId(9),
        follows: Some(GroupId(8)),
        server: ServerId(1),
        server_key: key().verifying_key(),
        first_lane: Lane::new(2).unwrap(),
        lanes: 3,
        first_epoch: Epoch(4),
        last_epoch: Epoch(5),
    };
    sign(&certificate, &key())
}

fn to_authority() -> Vec<ToAuthority> {
    let identity = ServerIdentity {
        server: ServerId(1),
        key: key().verifying_key(),
    };
    let report = Report {
        channel: ChannelId(7),
        run: RunId(5),
        mode: Mode::Authority,
        lanes: 1,
        current: None,
        next: None,
        notice: Some(notice()),
        wants_next: true,
        early: None,
        new_group: false,
    };
    let deposit = Deposit {
        channel: ChannelId(7),
        run: RunId(5),
        epoch: Epoch(6),
        root: EpochRoot::from_bytes([6; 32]),
        remaining: Remaining(9),
        at_once: true,
    };
    vec![
        ToAuthority::Hello(Hello {
            server: Some(identity),
            term: TERM,
            other_master: false,
        }),
        ToAuthority::Ping(Ping { echo: Time(5) }),
        ToAuthority::Report(report),
        ToAuthority::NumberWanted(NumberWanted {
            channel: ChannelId(7),
            run: RunId(5),
            at_once: false,
        }),
        ToAuthority::Deposit(deposit),
        ToAuthority::KeyRequest(Wanted {
            number: 1,
            channel: ChannelId(7),
            epoch: None,
            cookies: 2,
        }),
    ]
}

fn from_authority() -> Vec<FromAuthority> {
    let half = |epoch| DecipherHalf {
        epoch: Epoch(epoch),
        root: EpochRoot::from_bytes([6; 32]),
        remaining: Remaining(77),
    };
    let granted = Granted {
        number: 1,
        channel: ChannelId(7),
        current: half(4),
        next: Some(half(5)),
        fetch_offset: Remaining(3),
        authority: key().verifying_key(),
        successor: Some(key().verifying_key()),
        cookies: vec![Cookie(vec![1, 2, 3])],
    };
    let cipher = CipherHalf {
        channel: ChannelId(7),
        run: RunId(5),
        epoch: Epoch(4),
        lanes: vec![LaneSecret::from_parts([1; 32], [2; 12]); 3],
        remaining: Remaining(5),
        at_once: false,
        certificate: certificate(),
    };
    vec![
        FromAuthority::Welcome(Welcome {
            term: TERM,
            authority: key().verifying_key(),
            successor: None,
        }),
        FromAuthority::Pong(Ping { echo: Time(5) }),
        FromAuthority::CipherHalf(cipher),
        FromAuthority::Notice(NoticeRelay { datagram: notice() }),
        FromAuthority::Number(Number {
            channel: ChannelId(7),
            run: RunId(5),
            epoch: Epoch(6),
            at_once: true,
        }),
        FromAuthority::Deposited(Deposited {
            channel: ChannelId(7),
            run: RunId(5),
            epoch: Epoch(6),
            certificate: None,
        }),
        FromAuthority::Granted(granted),
        FromAuthority::Refused(Refused {
            number: 1,
            channel: ChannelId(7),
            reason: Reason::Busy,
            retry_after: Remaining(5),
        }),
    ]
}

fn door() -> Vec<Vec<u8>> {
    let sealed = || Sealed {
        nonce: [3; 12],
        ciphertext: vec![4; 60],
    };
    vec![
        KeyRequest {
            cookie: Cookie(vec![9; 100]),
            sealed: sealed(),
        }
        .to_datagram(),
        KeyReply { sealed: sealed() }.to_datagram(),
        Refusal::Sealed(sealed()).to_datagram(),
        Refusal::Plain {
            nonce: [3; 12],
            reason: Reason::NotEntitled,
        }
        .to_datagram(),
    ]
}

fn parse_everything(bytes: &[u8]) {
    checks::header(bytes);
    checks::control(bytes);
    checks::door(bytes);
    checks::link(bytes);
}

#[test]
fn every_message_comes_back_as_it_was() {
    for message in to_authority() {
        assert_eq!(ToAuthority::decode_all(&encoded(&message)), Ok(message));
    }
    for message in from_authority() {
        assert_eq!(FromAuthority::decode_all(&encoded(&message)), Ok(message));
    }
    assert!(
        Unverified::<Notice>::parse(&notice())
            .unwrap()
            .verify(&key().verifying_key())
            .is_ok()
    );
    assert!(
        Unverified::<LaneCertificate>::parse(&certificate())
            .unwrap()
            .verify(&key().verifying_key())
            .is_ok()
    );
    let other = SigningKey::from_seed(&[2; 32]).verifying_key();
    assert!(
        Unverified::<Notice>::parse(&notice())
            .unwrap()
            .verify(&other)
            .is_err()
    );
    assert!(
        Unverified::<Notice>::parse(&certificate()).is_err(),
        "one type does not pass for another"
    );
}

#[test]
fn mutated_messages_are_survived() {
    let (seed, rounds) = settings(20_000);
    let mut corpus: Vec<_> = to_authority()
        .iter()
        .map(encoded)
        .chain(from_authority().iter().map(encoded))
        .collect();
    corpus.extend([notice(), certificate()]);
    corpus.extend(door());
    let mut device = Device::new(seed);
    let mut pick = ChaCha8Rng::seed_from_u64(seed + 1);
    for _ in 0..rounds {
        let mut choose = || usize::try_from(pick.next_u64() % corpus.len() as u64).unwrap();
        let (mut bytes, other) = (corpus[choose()].clone(), corpus[choose()].clone());
        mutate(&mut bytes, &other, &mut pick);
        parse_everything(&bytes);
        let segment = 1 + usize::try_from(pick.next_u64() % 300).unwrap();
        device.wait(Duration::from_millis(1));
        device.batch(0, segment, bytes);
    }
}

/// A step of [`checks::receiver`] and [`checks::authority`]: the pause is 2^pause ms, less one.
fn step(what: u8, pause: u8, data: &[u8]) -> Vec<u8> {
    let data = &data[..data.len().min(255)];
    [&[what, pause, u8::try_from(data.len()).unwrap()], data].concat()
}

#[test]
fn the_checks_get_to_where_harm_could_be_done() {
    let honest = [
        step(2, 0, &[0, 1]),       // a certificate
        step(5, 10, &[1, 2]),      // epochs 1 and 2 are granted
        step(3, 0, &[0, 1, 0, 1]), // lane 1 sends two packets
        step(4, 10, &[0, 1, 0]),   // and again
        step(3, 10, &[1, 2, 9]),
    ];
    assert_eq!(checks::receiver(&honest.concat()), 3);
    let report = step(8, 10, &[9, 9, 0, 0x40]); // five lanes wanted, none held
    let steps = [&[0][..], &step(8, 0, &[]), &report, &report, &report].concat();
    assert_eq!(checks::authority(&steps), 5);
}

/// Steps of hostile networks and nodes, made of messages that are nearly right.
#[test]
fn hostile_parties_are_survived() {
    let (seed, rounds) = settings(20_000);
    let messages: Vec<_> = to_authority()
        .iter()
        .map(encoded)
        .chain(from_authority().iter().map(encoded))
        .chain((1..9).map(|epoch| vec![epoch, epoch + 1, 1, 2, 3]))
        .collect();
    let mut pick = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..rounds / 100 {
        let mut bytes = Vec::new();
        for _ in 0..pick.next_u64() % 64 {
            let index = pick.next_u64() % messages.len() as u64;
            let [what, pause, ..] = pick.next_u64().to_le_bytes();
            let message = &messages[usize::try_from(index).unwrap()];
            bytes.extend(step(what, pause % 14, message));
        }
        checks::receiver(&bytes);
        checks::authority(&bytes);
    }
}

proptest! {
    /// RFC 9605 4.3: any numbers, in their one form.
    #[test]
    fn headers_of_any_numbers_come_back(kid: u64, ctr: u64, kid_bits in 0_u32..64, ctr_bits in 0_u32..64, tail: u8) {
        let header = Header { kid: kid >> kid_bits, ctr: ctr >> ctr_bits };
        let mut out = [tail; 17];
        let length = header.write(&mut out);
        prop_assert_eq!(Header::parse(&out), Ok((header, length)));
        for cut in 0..length {
            prop_assert!(Header::parse(&out[..cut]).is_err(), "cut short it is no header");
        }
    }

    /// Two forms of one header would be two AADs: a longer one is refused.
    #[test]
    fn numbers_that_are_longer_than_they_need_to_be_are_refused(value: u64, bits in 0_u32..64, longer in 1_usize..8) {
        let value = value >> bits;
        let needed = if value < 8 { 0 } else { 8 - usize::try_from(value.leading_zeros() / 8).unwrap() };
        let length = (needed + longer).min(8);
        prop_assume!(length > needed);
        let mut bytes = vec![0x80 | u8::try_from(length - 1).unwrap() << 4];
        bytes.extend(&value.to_be_bytes()[8 - length..]);
        prop_assert!(Header::parse(&bytes).is_err());
    }

    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        parse_everything(&bytes);
    }
}
