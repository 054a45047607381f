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

use checks::{Device, TERM, encoded, key, read, written};
use mutate::{mutate, settings};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sealcast_crypto::{EpochRoot, PacketDigest, SigningKey};
use sealcast_proto::door::{SessionGrant, SessionKey, Ticket, TicketKey, Tickets};
use sealcast_proto::ids::{
    AccountId, ChannelId, Ctr, DeviceId, Epoch, GroupId, Kid, Lane, Remaining, RunId, ServerId,
    SessionId, Time,
};
use sealcast_proto::limits::CTR_FIRST;
use sealcast_proto::records::{
    Cause, Content, KeyUsage, KeyUsageFile, Kind, MintedSession, Origin, PacketTrace, RecordWriter,
    RequestTrace, SessionFile, SessionsIdentity, SourceKind, TraceIdentity, TracedPacket,
    TracedRequest, Usage, UsageFile, UsageIdentity,
};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::Wire as _;
use sealcast_proto::wire::control::{AuthLevel, LaneCertificate, Notice, Unverified, sign};
use sealcast_proto::wire::door::{
    Cookie, DecipherHalf, DoorMessage as _, Granted, KeyReply, KeyRequest, Reason, Refusal,
    Refused, Sealed, Wanted,
};
use sealcast_proto::wire::header::Header;
use sealcast_proto::wire::link::{
    Deposit, Early, Held, Hello, Mode, NumberWanted, Ping, Report, Sent, ToAuthority,
};
use sealcast_proto::wire::manifest::{self, List};

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
        auth: AuthLevel::Group,
    };
    sign(&certificate, &key())
}

fn manifest() -> Vec<u8> {
    let kid = Kid::new(Lane::new(2).unwrap(), ChannelId(7), Epoch(1));
    let mut list = List::new(kid, Ctr(CTR_FIRST + 5));
    (0..4).for_each(|byte| list.push(&PacketDigest::of(&[byte])));
    let secret = EpochRoot::from_bytes([1; 32])
        .prk()
        .lane_secret(kid.value());
    let other = List::new(kid, Ctr(CTR_FIRST + 20));
    manifest::sign(
        vec![list, other],
        GroupId(1),
        &key(),
        &secret.manifest_key(),
    )
    .remove(0)
}

fn to_authority() -> Vec<ToAuthority> {
    let held = Held {
        epoch: Epoch(4),
        term: TERM,
        group: GroupId(9),
        first_lane: Lane::new(2).unwrap(),
        remaining: Remaining(77),
    };
    let report = Report {
        channel: ChannelId(7),
        run: RunId(5),
        mode: Mode::Authority,
        lanes: 1,
        current: Some(held),
        next: None,
        spare: None,
        notice: Some(notice()),
        wants_next: true,
        early: Some(Early::Limit),
        new_group: false,
        sent: Sent {
            packets: 3,
            bytes: 4000,
        },
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
            server: ServerId(1),
            key: key().verifying_key(),
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
    ]
}

fn wanted() -> Wanted {
    Wanted {
        number: 1,
        channel: ChannelId(7),
        epoch: None,
        cookies: 2,
    }
}

fn refused() -> Refused {
    Refused {
        number: 1,
        channel: ChannelId(7),
        reason: Reason::Busy,
        retry_after: Remaining(5),
    }
}

fn session() -> SessionGrant {
    SessionGrant {
        session: SessionId([8; 16]),
        request_key: SessionKey::from_bytes([1; 32]),
        reply_key: SessionKey::from_bytes([2; 32]),
        cookies: vec![Cookie(vec![3; 40]); 3],
    }
}

fn granted() -> Granted {
    let half = |epoch| DecipherHalf {
        epoch: Epoch(epoch),
        root: EpochRoot::from_bytes([6; 32]),
        remaining: Remaining(77),
    };
    Granted {
        number: 1,
        channel: ChannelId(7),
        current: half(4),
        next: Some(half(5)),
        fetch_offset: Remaining(3),
        authority: key().verifying_key(),
        successor: Some(key().verifying_key()),
        timing: Timing::default(),
        cookies: vec![Cookie(vec![1, 2, 3])],
    }
}

/// What stands in the sealed parts.
fn inside() -> [Vec<u8>; 4] {
    [
        encoded(&wanted()),
        encoded(&granted()),
        encoded(&refused()),
        encoded(&session()),
    ]
}

fn door() -> [Vec<u8>; 4] {
    let sealed = || Sealed {
        nonce: [3; 12],
        ciphertext: vec![4; 60],
    };
    [
        KeyRequest {
            cookie: Cookie(vec![9; 100]),
            sealed: sealed(),
        }
        .to_datagram(),
        KeyReply {
            request: [5; 12],
            sealed: sealed(),
        }
        .to_datagram(),
        Refusal::Sealed {
            request: [5; 12],
            sealed: sealed(),
        }
        .to_datagram(),
        Refusal::Plain {
            request: [3; 12],
            reason: Reason::NotEntitled,
        }
        .to_datagram(),
    ]
}

fn parse_everything(bytes: &[u8]) {
    checks::header(bytes);
    checks::control(bytes);
    checks::door(bytes);
}

#[test]
fn every_message_comes_back_as_it_was() {
    for message in to_authority() {
        assert_eq!(read(&written(&message)), Some(message));
    }
    assert_eq!(Wanted::decode_all(&encoded(&wanted())), Ok(wanted()));
    assert_eq!(Granted::decode_all(&encoded(&granted())), Ok(granted()));
    assert_eq!(Refused::decode_all(&encoded(&refused())), Ok(refused()));
    let again = SessionGrant::decode_all(&encoded(&session()));
    assert_eq!(again, Ok(session()));
    let [request, reply, sealed, plain] = door();
    let request = KeyRequest::from_datagram(&request).map(|message| message.to_datagram());
    let reply_again = KeyReply::from_datagram(&reply).map(|message| message.to_datagram());
    assert_eq!((request, reply_again), (Ok(door()[0].clone()), Ok(reply)));
    for refusal in [sealed, plain] {
        let again = Refusal::from_datagram(&refusal).map(|message| message.to_datagram());
        assert_eq!(again, Ok(refusal));
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
    let mut corpus: Vec<_> = to_authority().iter().map(written).chain(inside()).collect();
    corpus.extend([notice(), certificate(), manifest()]);
    corpus.extend(checks::key_block(5, false));
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

/// A step of [`checks::receiver`], [`checks::authority`] and [`checks::doors`]: the pause is 2^pause ms, less one.
fn step(what: u8, pause: u8, data: &[u8]) -> Vec<u8> {
    let data = &data[..data.len().min(255)];
    [&[what, pause, u8::try_from(data.len()).unwrap()], data].concat()
}

/// One file of each kind.
fn record_files() -> [Vec<u8>; 5] {
    let trace = TraceIdentity {
        origin: Origin::Captured,
        seed: 0,
    };
    let usage = UsageIdentity {
        kind: SourceKind::Device,
        source: [1; 16],
        boot: [2; 16],
        sequence: 3,
        wall_minus_boot: 4,
    };
    let packet = TracedPacket {
        at: 1,
        channel: 1,
        length: 1316,
        content: Content::Ts,
    };
    let request = TracedRequest {
        at: 1,
        device: 2,
        channel: 3,
        epoch: 4,
        cause: Cause::Timer,
    };
    let counted = Usage {
        channel: 1,
        lane: 2,
        epoch: 3,
        packets: 4,
        bytes: 5,
        from: 6,
        until: 7,
    };
    let given = KeyUsage {
        session: [3; 16],
        account: [4; 16],
        device: [5; 16],
        channel: 1,
        number_base: 6,
        epoch_base: 7,
        current: [1; 16],
        next: [2; 16],
        answers: 8,
        from: 9,
        until: 10,
    };
    [
        record_file::<PacketTrace>(&trace, packet),
        record_file::<RequestTrace>(&trace, request),
        record_file::<UsageFile>(&usage, counted),
        record_file::<KeyUsageFile>(&usage, given),
        session_file(),
    ]
}

fn session_file() -> Vec<u8> {
    let ticket = Ticket {
        session: SessionId([1; 16]),
        request_key: SessionKey::from_bytes([2; 32]),
        reply_key: SessionKey::from_bytes([3; 32]),
        account: AccountId([4; 16]),
        device: DeviceId([5; 16]),
        rights_version: 6,
        period: 7,
        channels: vec![ChannelId(8)],
    };
    let tickets = Tickets::new(TicketKey::new(7, [9; 32]), None);
    let authority = (key().verifying_key(), None);
    let identity = SessionsIdentity::new(authority, &tickets, 10, &ticket.channels);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let minted = MintedSession::new(&ticket, &tickets, &mut rng).unwrap();
    record_file::<SessionFile>(&identity, minted)
}

fn record_file<K: Kind>(identity: &K::Identity, record: K::Record) -> Vec<u8> {
    let (mut writer, mut bytes) = RecordWriter::<K>::create(identity);
    bytes.extend(writer.block(&[record; 3]));
    bytes.extend(writer.block(&[record]));
    bytes.extend(writer.close());
    bytes
}

/// SEC-33: whatever stands in a record file, reading it ends in records or in an error.
#[test]
fn sec_33_mutated_record_files_are_survived() {
    let (seed, rounds) = settings(20_000);
    let files = record_files();
    let all = [
        checks::reads::<PacketTrace>(&files[0]),
        checks::reads::<RequestTrace>(&files[1]),
        checks::reads::<UsageFile>(&files[2]),
        checks::reads::<KeyUsageFile>(&files[3]),
        checks::reads::<SessionFile>(&files[4]),
    ];
    assert_eq!(all, [4; 5]);
    let mut pick = ChaCha8Rng::seed_from_u64(seed);
    let mut got_in = 0;
    for _ in 0..rounds {
        let mut choose = || usize::try_from(pick.next_u64() % 5).unwrap();
        let (mut bytes, other) = (files[choose()].clone(), &files[choose()]);
        assert_eq!(checks::put_right(&bytes).as_ref(), Some(&bytes));
        mutate(&mut bytes, other, &mut pick);
        checks::records(&bytes);
        let righted = checks::put_right(&bytes).unwrap_or_default();
        got_in += u64::from(checks::reads::<UsageFile>(&righted) > 0 && righted != files[2]);
    }
    assert!(got_in > rounds / 100, "only {got_in} got past the hashes");
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
    // Server 3's packets wait for somebody to vouch for them.
    let mut vouched = vec![
        step(2, 0, &[3, 1]),
        step(5, 10, &[1, 2]),
        step(3, 0, &[24, 1, 0, 1]),
    ];
    assert_eq!(checks::receiver(&vouched.concat()), 0);
    vouched.push(step(8, 0, &[1, 0, 7]));
    assert_eq!(
        checks::receiver(&vouched.concat()),
        2,
        "who has just joined begins with the oldest that waits"
    );
    // The key of the next epoch comes in a block to whoever may have it, and to nobody else.
    for (gone, delivered) in [(0, 2), (1, 1)] {
        let block = [
            step(2, 0, &[0, 1]),
            step(5, 10, &[1, 1]),
            step(3, 0, &[0, 1, 0]),
            step(2 | 8, 10, &[2, gone]),
            step(3, 0, &[0, 2, 9]),
        ];
        assert_eq!(checks::receiver(&block.concat()), delivered);
    }
    let report = step(8, 10, &[9, 9, 0, 0x40]); // five lanes wanted, none held
    let steps = [&[0][..], &step(8, 0, &[]), &report, &report, &report].concat();
    assert_eq!(checks::authority(&steps), 5);
    let asked = [
        step(1, 0, &[1, 0, 1]), // whatever is current
        step(1, 0, &[1, 2, 2]), // the one after it, too
        step(4, 0, &[0]),       // both answers come,
        step(4, 0, &[1]),
        step(4, 0, &[1]),        // one of them twice,
        step(3, 0, &[0, 20, 1]), // and one altered
        step(1, 0, &[5, 0, 3]),  // not this session's
        step(4, 0, &[2]),
    ];
    assert_eq!(checks::doors(&asked.concat()), 2);
}

/// Steps of hostile networks and nodes, made of messages that are nearly right.
#[test]
fn hostile_parties_are_survived() {
    let (seed, rounds) = settings(20_000);
    let messages: Vec<_> = to_authority()
        .iter()
        .map(written)
        .chain(inside())
        .chain(door())
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
        checks::doors(&bytes);
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
