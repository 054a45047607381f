//! The latency budget: packets gather until the tick, and what that adds is told.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::keyserver::{keys, sender};
use crate::net::{Lan, can_run};
use crate::operations::get;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 1, 1);
const DATAGRAMS: u32 = 2000;

/// Sends a datagram a millisecond through a sender with this budget; how many times packets came after a pause, and what the
/// sender says of itself: totals and metrics.
fn run(budget: &str) -> (usize, serde_json::Value, String) {
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    let keys = keys(&lan, folder.path());
    let more = [
        "--input",
        "udp://10.77.0.1:1234",
        "--budget",
        budget,
        "--metrics",
        "127.0.0.1:9100",
    ];
    let group = format!("udp://{GROUP}:5000?ttl=4");
    let mut sender = sender(&lan, 1, folder.path(), "s", (&keys, 1), &[&group], &more);
    sender.wait_for_key(1);
    let wire = lan.enter(2, || {
        let socket = UdpSocket::bind((GROUP, 5000)).unwrap();
        socket
            .join_multicast_v4(&GROUP, &Ipv4Addr::new(10, 77, 0, 2))
            .unwrap();
        socket
    });
    wire.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let watching = thread::spawn(move || {
        let (mut packets, mut pauses, mut last, mut buffer) = (0, 0, Instant::now(), [0; 2000]);
        while let Ok(length) = wire.recv(&mut buffer) {
            // Not the certificates and Notices between them.
            if length == 1316 + 28 {
                packets += 1;
                pauses += usize::from(last.elapsed() > Duration::from_micros(500));
                last = Instant::now();
            }
            if packets == DATAGRAMS {
                break;
            }
        }
        (packets, pauses)
    });
    let (feed, start) = (lan.socket(1), Instant::now());
    for number in 0..DATAGRAMS {
        let due = start + Duration::from_millis(number.into());
        thread::sleep(due.saturating_duration_since(Instant::now()));
        feed.send_to(&[7; 1316], "10.77.0.1:1234").unwrap();
    }
    let (packets, pauses) = watching.join().unwrap();
    assert_eq!(packets, DATAGRAMS, "{}", sender.channel(1));
    let metrics = lan.enter(1, || get(([127, 0, 0, 1], 9100).into(), "/metrics"));
    sender.stop();
    (pauses, sender.channel(1), metrics)
}

#[test]
fn packets_gather_within_the_budget_and_not_without() {
    if !can_run(&["ip"]) {
        return;
    }
    let (pauses, totals, metrics) = run("20ms");
    // 2 s have 100 ticks of 20 ms; a late one may be split.
    assert!(pauses < 200, "{pauses} bursts of {DATAGRAMS} packets");
    let latency = |name: &str| totals["latency"][name].as_u64().unwrap();
    assert!(latency("p50_us") > 10_000, "{totals}");
    assert!(latency("count") < 250, "{totals}");
    for name in ["latency", "pcr_jitter"] {
        let line = format!("sealcast_{name}_seconds_bucket{{le=\"0.02\",channel=\"1\"}} ");
        assert!(metrics.contains(&line), "{line} is missing in\n{metrics}");
    }
    let (pauses, totals, _) = run("0ms");
    assert!(pauses > 500, "{pauses} bursts of {DATAGRAMS} packets");
    assert!(
        totals["latency"]["p50_us"].as_u64().unwrap() < 5_000,
        "{totals}"
    );
}
