use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sealcast_crypto::{EpochRoot, Span};

use super::lanes::LaneSet;
use super::*;
use crate::ids::{ChannelId, Ctr, GroupId, Lane, RunId, ServerId, Term};
use crate::limits::{CTR_FIRST, HEADER_LEN, LANE_PACKETS_HARD, LANE_PACKETS_SOFT};
use crate::wire::control::AuthLevel;
use crate::wire::header::PacketHeader;

fn config(lanes: u8) -> SenderConfig {
    let seconds = Duration::from_secs;
    SenderConfig {
        channel: ChannelId(3),
        server: ServerId(1),
        run: RunId(8),
        mode: Mode::Authority,
        lanes,
        timing: Timing::new(seconds(60), seconds(20), seconds(10), seconds(2)).unwrap(),
        hold: Hold::Hold,
        payload_max: 1316,
        keylog: false,
    }
}

fn set(lanes: u8) -> LaneSet {
    let certificate = LaneCertificate {
        channel: ChannelId(3),
        term: Term::NONE,
        group: GroupId(5),
        follows: None,
        server: ServerId(1),
        server_key: SigningKey::from_seed(&[9; 32]).verifying_key(),
        first_lane: Lane::new(1).unwrap(),
        lanes,
        first_epoch: Epoch(1),
        last_epoch: Epoch(1),
        auth: AuthLevel::Group,
    };
    let prk = EpochRoot::from_bytes([1; 32]).prk();
    let secrets: Vec<_> = (0..lanes)
        .map(|lane| prk.lane_secret(lane.into()))
        .collect();
    let signing = Arc::new(SigningKey::from_seed(&[9; 32]));
    LaneSet::new(Epoch(1), &secrets, certificate, Vec::new(), false, &signing).unwrap()
}

fn sender(lanes: u8, set: LaneSet) -> Sender {
    let mut sender = Sender::new(config(lanes), &[9; 32]);
    sender.link_up(Time(0));
    sender.install(Time(0), Epoch(1), set, Time(u64::MAX / 2), true);
    sender
}

/// Reserves a batch of `count` empty payloads: lane and number of each packet, as its header says.
fn reserve(sender: &mut Sender, lane: usize, count: usize) -> Result<Vec<(u8, u64)>, NotSending> {
    let mut buffer = vec![0; count * OVERHEAD];
    let span = |index| Span {
        offset: index * OVERHEAD,
        header_len: HEADER_LEN,
        payload_len: 0,
        ctr: 0,
    };
    let mut spans: Vec<_> = (0..count).map(span).collect();
    let reserved = sender.reserve(Time(2), lane, &mut buffer, &mut spans)?;
    reserved.seal(&mut buffer, &spans);
    let header = |span: &Span| {
        let header = PacketHeader::parse(&buffer[span.offset..]).unwrap();
        assert_eq!(header.ctr, Ctr(span.ctr));
        (header.kid.lane().number(), header.ctr.0 - CTR_FIRST)
    };
    Ok(spans.iter().map(header).collect())
}

/// SEC-06, MD-01: payloads dealt to lanes one by one have numbers in their order, each under its lane's key id, also when the lanes
/// get unequal shares or one may seal no more.
#[test]
fn sec_06_payloads_dealt_to_lanes_are_numbered_in_order() {
    let mut sender = sender(3, set(3));
    assert_eq!(sender.group_at(Time(1)), Some(GroupId(5)));
    // Seven payloads: the eighth is for lane 1.
    assert_eq!(reserve(&mut sender, 2, 2), Ok(vec![(3, 2), (3, 5)]));
    assert_eq!(reserve(&mut sender, 0, 3), Ok(vec![(1, 0), (1, 3), (1, 6)]));
    assert_eq!(reserve(&mut sender, 1, 2), Ok(vec![(2, 1), (2, 4)]));
    // Five more.
    assert_eq!(reserve(&mut sender, 1, 2), Ok(vec![(2, 7), (2, 10)]));
    assert_eq!(reserve(&mut sender, 2, 2), Ok(vec![(3, 8), (3, 11)]));
    assert_eq!(reserve(&mut sender, 0, 1), Ok(vec![(1, 9)]));
    // A lane that is used up keeps its place among the numbers.
    sender
        .schedule
        .current_mut()
        .unwrap()
        .key
        .set_used(1, LANE_PACKETS_HARD, 0);
    assert_eq!(reserve(&mut sender, 0, 1), Ok(vec![(1, 12)]));
    assert_eq!(reserve(&mut sender, 1, 1), Err(NotSending::Limit));
    sender.schedule.current_mut().unwrap().key.set_used(1, 0, 0);
    assert_eq!(reserve(&mut sender, 2, 1), Ok(vec![(3, 14)]));
    assert_eq!(reserve(&mut sender, 0, 1), Ok(vec![(1, 15)]));
    assert_eq!(reserve(&mut sender, 1, 1), Ok(vec![(2, 16)]));
    assert_eq!((sender.stats().packets, sender.stats().not_sent), (16, 1));
}

/// SEC-13: a lane that nears its limit asks for an early epoch, and the report says so at once.
#[test]
fn sec_13_a_lane_past_its_soft_limit_asks_for_an_early_epoch() {
    let mut set = set(1);
    // All but one packet.
    assert!(set.reserve(0, LANE_PACKETS_SOFT - 1, 0).is_some());
    let mut sender = sender(1, set);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    sender.poll(Time(1), &mut rng);
    let early = |sender: &mut Sender| {
        let outputs = std::iter::from_fn(|| sender.poll_output());
        let reports = outputs.filter_map(|output| match output {
            Output::Link(ToAuthority::Report(report)) => Some(report.early),
            _ => None,
        });
        reports.last().flatten()
    };
    assert_eq!(early(&mut sender), None);
    assert_eq!(
        reserve(&mut sender, 0, 1).map(|packets| packets.len()),
        Ok(1)
    );
    sender.poll(Time(3), &mut rng);
    assert_eq!(early(&mut sender), Some(Early::Limit));
}
