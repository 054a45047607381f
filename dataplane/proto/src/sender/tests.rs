use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sealcast_crypto::EpochRoot;

use super::lanes::LaneSet;
use super::*;
use crate::ids::{ChannelId, GroupId, Lane, RunId, ServerId, Term};
use crate::limits::LANE_PACKETS_SOFT;

/// SEC-13: a lane that nears its limit asks for an early epoch, and the report says so at once.
#[test]
fn sec_13_a_lane_past_its_soft_limit_asks_for_an_early_epoch() {
    let seconds = Duration::from_secs;
    let timing = Timing::new(seconds(60), seconds(20), seconds(10), seconds(2)).unwrap();
    let config = SenderConfig {
        channel: ChannelId(3),
        server: ServerId(1),
        run: RunId(8),
        mode: Mode::Authority,
        lanes: 1,
        timing,
        hold: Hold::Hold,
        payload_max: 1316,
        keylog: false,
    };
    let certificate = LaneCertificate {
        channel: ChannelId(3),
        term: Term::NONE,
        group: GroupId(5),
        follows: None,
        server: ServerId(1),
        server_key: SigningKey::from_seed(&[9; 32]).verifying_key(),
        first_lane: Lane::new(1).unwrap(),
        lanes: 1,
        first_epoch: Epoch(1),
        last_epoch: Epoch(1),
    };
    let secret = EpochRoot::from_bytes([1; 32]).prk().lane_secret(7);
    let mut set = LaneSet::new(Epoch(1), &[secret], certificate, Vec::new(), false).unwrap();
    // All but one packet.
    assert!(set.reserve(0, LANE_PACKETS_SOFT - 1, 0).is_some());
    let mut sender = Sender::new(config, &[9; 32]);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    sender.link_up(Time(0));
    sender.install(Time(0), Epoch(1), set, Time(u64::MAX / 2), true);
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
    let mut buffer = [0; OVERHEAD];
    let mut spans = [Span {
        offset: 0,
        header_len: HEADER_LEN,
        payload_len: 0,
        ctr: 0,
    }];
    sender.seal(Time(2), 0, &mut buffer, &mut spans).unwrap();
    sender.poll(Time(3), &mut rng);
    assert_eq!(early(&mut sender), Some(Early::Limit));
}
