//! Once a channel runs, a packet costs no allocation: sealed, sent, received, opened, delivered, and counted at both ends.
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

use std::net::IpAddr;
use std::time::Duration;

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use futures_lite::future::block_on;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sealcast_crypto::{EpochRoot, SigningKey};
use sealcast_dataplane::batch::SealBatch;
use sealcast_net::shard::Placement;
use sealcast_net::{GroupOptions, RecvBatch, UdpReceiver, UdpSender, clock, shard};
use sealcast_proto::ids::{
    ChannelId, Epoch, GroupId, Kid, Lane, Remaining, RunId, ServerId, Term, Time,
};
use sealcast_proto::receiver::{ParkingBudget, Receiver, ReceiverConfig};
use sealcast_proto::sender::{Hold, Output, Sender, SenderConfig};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::control::{AuthLevel, LaneCertificate, sign};
use sealcast_proto::wire::door::{DecipherHalf, Granted};
use sealcast_proto::wire::link::{CipherHalf, Frame, FromAuthority, Mode, Welcome};

/// Aborts the test where memory is allocated or given back though it must not be.
#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;

const CHANNEL: ChannelId = ChannelId(3);
const EPOCH: Epoch = Epoch(1);
const SEED: [u8; 32] = [9; 32];
const PAYLOAD: [u8; 1316] = [0x47; 1316];
/// Before counting: buffers grow to their sizes.
const WARM_UP: usize = 50;
const ROUNDS: usize = 500;

fn now() -> Time {
    Time(clock::boottime())
}

/// A sender and a receiver that hold the key of epoch 1 for the next hours.
fn parties(rng: &mut ChaCha8Rng) -> (Sender, Receiver) {
    let hours = |hours: u64| Duration::from_secs(3600 * hours);
    let timing = Timing::new(hours(20), hours(8), hours(4), hours(1)).unwrap();
    let config = SenderConfig {
        channel: CHANNEL,
        server: ServerId(1),
        run: RunId(8),
        mode: Mode::Authority,
        lanes: 1,
        timing,
        hold: Hold::Hold,
        payload_max: PAYLOAD.len(),
        keylog: false,
    };
    let (mut sender, start) = (Sender::new(config, &SEED), now());
    let mut receiver = Receiver::new(
        ReceiverConfig::new(CHANNEL, timing),
        ParkingBudget::default(),
        start,
    );
    let (authority, root) = (
        SigningKey::from_seed(&[7; 32]),
        EpochRoot::from_bytes([1; 32]),
    );
    let term = Term {
        number: 1,
        instance: 1,
    };
    let (lane, remaining) = (Lane::new(1).unwrap(), Remaining(70_000_000));
    let certificate = LaneCertificate {
        channel: CHANNEL,
        term,
        group: GroupId(5),
        follows: None,
        server: ServerId(1),
        server_key: SigningKey::from_seed(&SEED).verifying_key(),
        first_lane: lane,
        lanes: 1,
        first_epoch: EPOCH,
        last_epoch: EPOCH,
        auth: AuthLevel::Group,
    };
    let mut certificate = sign(&certificate, &authority);
    let welcome = FromAuthority::Welcome(Welcome {
        term,
        authority: authority.verifying_key(),
        successor: None,
    });
    let half = FromAuthority::CipherHalf(CipherHalf {
        channel: CHANNEL,
        run: RunId(8),
        epoch: EPOCH,
        lanes: vec![
            root.prk()
                .lane_secret(Kid::new(lane, CHANNEL, EPOCH).value()),
        ],
        remaining,
        at_once: true,
        certificate: certificate.clone(),
    });
    sender.link_up(start);
    for message in [welcome, half] {
        let sent = start;
        sender.handle_link(start, Frame { sent, message }, rng);
    }
    let deliver = &mut |_: &[u8]| ();
    receiver.set_authority(authority.verifying_key(), None);
    receiver.poll(start, rng, deliver);
    let request = receiver.poll_request().expect("a device asks at its start");
    let granted = Granted {
        number: request.number,
        channel: CHANNEL,
        current: DecipherHalf {
            epoch: EPOCH,
            root,
            remaining,
        },
        next: None,
        fetch_offset: Remaining(300),
        authority: authority.verifying_key(),
        successor: None,
        timing: Timing::default(),
        cookies: Vec::new(),
    };
    receiver.handle_granted(start, start, granted, deliver);
    let length = certificate.len();
    let source = IpAddr::from([127, 0, 0, 1]);
    receiver.handle_batch(start, source, 0, &mut certificate, length, rng, deliver);
    while let Some(output) = sender.poll_output() {
        assert!(!matches!(output, Output::Event(_)) || sender.current(start).is_some());
    }
    (sender, receiver)
}

#[test]
fn a_packet_costs_no_allocation() {
    check(false);
}

/// As long as the ring has a buffer free: to wait for one is the executor's.
#[test]
fn a_zero_copy_packet_costs_no_allocation() {
    check(true);
}

fn check(zero_copy: bool) {
    let run = shard::start("test", Placement::default(), move || async move {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut sender, mut receiver) = parties(&mut rng);
        sender.tally().switch_on();
        receiver.tally().switch_on();
        let mut input =
            UdpReceiver::bind(&GroupOptions::new("127.0.0.1:0".parse().unwrap())).unwrap();
        let mut leg = UdpSender::connect(&GroupOptions::new(input.local_addr().unwrap())).unwrap();
        let ring = zero_copy.then(|| sealcast_dataplane::zero_copy().unwrap());
        let (plain, mut kept) = SealBatch::default().into_parts();
        let (mut plain, mut received) = (Some(plain), RecvBatch::new(8, 12));
        let mut delivered = 0;
        let mut round = |leg: &mut UdpSender| {
            let buffer = match &ring {
                Some(ring) => block_on(ring.take()).expect("the kernel has read all"),
                None => plain.take().unwrap(),
            };
            let mut sealed = SealBatch::over(buffer, std::mem::take(&mut kept));
            while sealed.push(&PAYLOAD) {}
            let (buffer, spans) = sealed.parts();
            sender.seal(now(), 0, buffer, spans).unwrap();
            let sent = sealed.close();
            for (range, segment) in sent.ranges() {
                block_on(leg.send_closed(sent.buffer(), range, segment)).unwrap();
            }
            let (buffer, spans) = sent.into_parts();
            (plain, kept) = (buffer.reopen(), spans);
            while input.recv(&mut received).unwrap() > 0 {
                for found in received.iter_mut() {
                    let deliver =
                        &mut |payload: &[u8]| delivered += usize::from(payload == PAYLOAD);
                    receiver.handle_batch(
                        now(),
                        found.source.ip(),
                        0,
                        found.data,
                        found.segment,
                        &mut rng,
                        deliver,
                    );
                }
            }
        };
        (0..WARM_UP).for_each(|_| round(&mut leg));
        if let Some(ring) = &ring {
            // Only now: over loopback the kernel copies, so the first 64 sends are the only ones.
            leg.use_zero_copy(ring);
        }
        assert_no_alloc(|| (0..ROUNDS).for_each(|_| round(&mut leg)));
        let counts = leg.zero_copy_counts().map_or(0, |counts| counts.copied);
        assert_eq!(counts >= 64, zero_copy);
        let (mut sealed, mut opened) = (0, 0);
        sender.tally().fetch(|count| {
            sealed += count.packets;
            true
        });
        receiver.tally().fetch(|count| {
            opened += count.packets;
            true
        });
        assert_eq!(
            (sealed, opened),
            (sender.stats().packets, sender.stats().packets),
            "MD-33: metered"
        );
        (delivered, sender.stats().packets, *receiver.discards())
    });
    let (delivered, sent, discards) = run.unwrap().join().unwrap();
    assert!(
        sent >= 40 * (WARM_UP + ROUNDS) as u64,
        "full batches: {sent}"
    );
    assert_eq!(delivered as u64, sent, "{discards:?}");
}
