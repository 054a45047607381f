//! Traces hold what was asked for, and come back out of their files.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use sealcast_proto::records::{Cause, Content, Kind, RecordFile, RequestTrace, TracedRequest};

use super::requests::{Fetch, Population};
use super::*;
use crate::schedule::Shape;

const SECOND: u64 = 1_000_000_000;

fn records<K: Kind>(bytes: &[u8]) -> Vec<K::Record> {
    RecordFile::<K>::read(bytes).unwrap().records().collect()
}

fn traffic(shape: Shape) -> Traffic {
    Traffic {
        shape,
        rate: Rate::Bits(8_000_000),
        len: 1316,
        flows: 20,
        duration: Duration::from_secs(3),
        seed: 5,
    }
}

#[test]
fn int_16_made_up_traffic_comes_back_out_of_its_file() {
    for shape in [Shape::Constant, Shape::Variable, Shape::Bursts(7)] {
        let (traffic, mut bytes) = (traffic(shape), Vec::new());
        let summary = make(&traffic, &mut bytes).unwrap();
        let packets = records::<PacketTrace>(&bytes);
        let slots = traffic.schedule(Part { index: 0, of: 1 });
        assert!(packets.iter().copied().eq(slots.map(packet)), "{shape:?}");
        assert!(packets.is_sorted_by_key(|packet| packet.at), "{shape:?}");
        let rate = summary.bytes as f64 * 8.0 / 3.0;
        assert!((7.8e6..=8.2e6).contains(&rate), "{shape:?}: {rate}");
        let channels: BTreeSet<_> = packets.iter().map(|packet| packet.channel).collect();
        assert!(channels.into_iter().eq(1..=20), "{shape:?}");
        assert!(
            packets
                .iter()
                .all(|packet| (packet.length, packet.content) == (1316, Content::Ts))
        );
        let mut again = Vec::new();
        make(&traffic, &mut again).unwrap();
        assert!(bytes == again, "one seed, one trace");
    }
}

#[test]
fn a_trace_needs_times() {
    let endless = Traffic {
        rate: Rate::Unlimited,
        ..traffic(Shape::Constant)
    };
    let why = make(&endless, Vec::new()).unwrap_err();
    assert_eq!(why.to_string(), "a trace needs a rate with a limit");
}

#[test]
fn every_address_is_a_channel_and_content_is_told() {
    let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
    let (one, two) = (addr("239.1.1.1:5000"), addr("239.1.1.1:5001"));
    let ts = [0x47; 376];
    let rtp = [&[0x80, 33, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9][..], &ts].concat();
    let mut recorder = Recorder::default();
    let mut record = |time, dst, payload: &[u8]| {
        let packet = recorder.record(time, dst, payload).unwrap();
        (packet.at, packet.channel, packet.length, packet.content)
    };
    assert_eq!(record(1000, one, &ts), (0, 1, 376, Content::Ts));
    assert_eq!(record(1500, two, &rtp), (500, 2, 388, Content::RtpTs));
    assert_eq!(
        record(1400, one, &[0x47; 187]),
        (500, 1, 187, Content::Opaque),
        "time goes on"
    );
    assert_eq!(record(1700, one, &[]), (700, 1, 0, Content::Opaque));
    let summary = recorder.summary();
    assert_eq!(
        (summary.packets, summary.channels, summary.length),
        (4, 2, 700)
    );
}

#[test]
fn addresses_run_out_with_a_clear_error() {
    let mut recorder = Recorder::default();
    for port in 1..=u16::MAX {
        recorder
            .record(0, SocketAddr::from(([10, 0, 0, 1], port)), &[])
            .unwrap();
    }
    let one_more = SocketAddr::from(([10, 0, 0, 2], 1));
    assert_eq!(recorder.record(0, one_more, &[]), Err(TooManyChannels));
    assert!(
        recorder
            .record(0, SocketAddr::from(([10, 0, 0, 1], 9)), &[])
            .is_ok()
    );
}

fn population() -> Population {
    Population {
        devices: 1000,
        channels: 7,
        lifetime: Duration::from_secs(10),
        fetch_ahead: Duration::from_secs(4),
        fetch: Fetch::Timer,
        spread: Duration::from_secs(2),
        joins: 0,
        duration: Duration::from_secs(35),
        seed: 1,
    }
}

/// Requests of one cause and epoch: how many devices, from when to when (seconds).
fn storm(requests: &[TracedRequest], cause: Cause, epoch: u64) -> (usize, f64, f64) {
    let of = requests
        .iter()
        .filter(|request| (request.cause, request.epoch) == (cause, epoch));
    let devices: BTreeSet<_> = of.clone().map(|request| request.device).collect();
    assert_eq!(devices.len(), of.clone().count(), "each device asks once");
    let second = |at: Option<u64>| at.unwrap_or(0) as f64 / SECOND as f64;
    let times = of.map(|request| request.at);
    (
        devices.len(),
        second(times.clone().min()),
        second(times.max()),
    )
}

#[test]
fn every_device_asks_before_every_change() {
    let requests: Vec<_> = population().requests().unwrap().collect();
    assert_eq!(
        requests.len(),
        1000 + 3 * 1000,
        "four lives, of which the last ends before its requests"
    );
    let (joined, from, to) = storm(&requests, Cause::Join, 0);
    assert!(
        joined == 1000 && from < 0.1 && (1.9..2.0).contains(&to),
        "{from} {to}"
    );
    for epoch in 2..=4 {
        let (asked, from, to) = storm(&requests, Cause::Timer, epoch);
        let due = (epoch - 1) as f64 * 10.0 - 4.0;
        assert!(
            asked == 1000 && (due..due + 0.1).contains(&from) && to < due + 2.0,
            "{epoch}: {from} {to}"
        );
    }
}

#[test]
fn without_spread_a_population_asks_in_one_instant() {
    let population = Population {
        fetch: Fetch::Demand,
        spread: Duration::ZERO,
        ..population()
    };
    let requests: Vec<_> = population.requests().unwrap().collect();
    assert_eq!(storm(&requests, Cause::UnknownKey, 2), (1000, 10.0, 10.0));
    assert_eq!(storm(&requests, Cause::UnknownKey, 4), (1000, 30.0, 30.0));
}

proptest! {
    #[test]
    fn int_16_requests_are_in_order_for_what_is_watched_and_come_back(
        devices in 1_u32..200, channels in 1_u16..20, joins in 0_u32..50, seed: u64, fetch in 0..3, spread in 0_u64..3999,
    ) {
        let fetch = [Fetch::Timer, Fetch::Notice, Fetch::Demand][usize::try_from(fetch).unwrap()];
        let spread = Duration::from_millis(spread);
        let population = Population { devices, channels, joins, seed, fetch, spread, ..population() };
        let mut bytes = Vec::new();
        let count = population.write(&mut bytes).unwrap();
        let requests = records::<RequestTrace>(&bytes);
        prop_assert_eq!(requests.len() as u64, count);
        prop_assert!(requests.iter().copied().eq(population.requests().unwrap()));
        prop_assert!(requests.is_sorted_by_key(|request| request.at));
        prop_assert!(requests.iter().all(|request| request.at < 35 * SECOND && request.device < devices));
        let mut watched = vec![0; usize::try_from(devices).unwrap()];
        for request in &requests {
            let watched = &mut watched[usize::try_from(request.device).unwrap()];
            if request.cause == Cause::Join {
                *watched = request.channel;
            }
            prop_assert_eq!(*watched, request.channel);
            prop_assert!((1..=channels).contains(&request.channel));
        }
    }
}

#[test]
fn populations_that_cannot_be_are_refused_with_what_to_choose() {
    let refused = |population: Population| population.check().unwrap_err().to_string();
    let none = Population {
        devices: 0,
        ..population()
    };
    assert_eq!(refused(none), "0 devices: choose 1 to 10000000");
    let none = Population {
        channels: 0,
        ..population()
    };
    assert_eq!(refused(none), "no channels: choose 1 to 65535");
    let short = Population {
        lifetime: Duration::from_secs(4),
        ..population()
    };
    assert!(refused(short).contains("the lifetime must be longer"));
    let wide = Population {
        spread: Duration::from_secs(4),
        ..population()
    };
    assert_eq!(refused(wide), "a spread of 4s: choose less than 4s");
    let many = Population {
        joins: 2_000_000,
        ..population()
    };
    assert!(refused(many).contains("at most 1000000"));
    let never = Population {
        duration: Duration::ZERO,
        ..population()
    };
    assert!(refused(never).contains("at most a day"));
    assert!(
        Population {
            duration: Duration::ZERO,
            ..population()
        }
        .write(Vec::new())
        .is_err()
    );
}
