//! When packets leave: gathered within the latency budget, at a set rate; and what that adds is told.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::keyserver::{KeyServer, keys, sender};
use crate::net::{Lan, can_run};
use crate::operations::get;
use crate::process::{Program, sealcast};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 1, 1);
const INPUT: &str = "10.77.0.1:1234";
const LENGTH: usize = 1316;

/// A sender on host 1, and a socket on host 2 that sees what it sends.
struct Path {
    lan: Lan,
    _folder: tempfile::TempDir,
    _keys: KeyServer,
    sender: Program,
}

impl Path {
    fn new(input: &str, more: &[&str]) -> Self {
        let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
        let keys = keys(&lan, folder.path());
        let more = [&["--input", input, "--metrics", "127.0.0.1:9100"], more].concat();
        let group = format!("udp://{GROUP}:5000?ttl=4");
        let sender = sender(&lan, 1, folder.path(), "s", (&keys, 1), &[&group], &more);
        sender.wait_for_key(1);
        Self {
            lan,
            _folder: folder,
            _keys: keys,
            sender,
        }
    }

    /// When each of the next `packets` packets comes; fewer if none comes for two seconds, or half a minute is over.
    fn watch(&self, packets: usize) -> JoinHandle<Vec<Instant>> {
        let wire = self.lan.enter(2, || {
            let socket = UdpSocket::bind((GROUP, 5000)).unwrap();
            socket
                .join_multicast_v4(&GROUP, &Ipv4Addr::new(10, 77, 0, 2))
                .unwrap();
            socket
        });
        wire.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        thread::spawn(move || {
            let (mut times, mut buffer, start) = (Vec::new(), [0; 2000], Instant::now());
            // Notices and certificates go on for ever.
            while times.len() < packets
                && start.elapsed() < Duration::from_secs(30)
                && let Ok(length) = wire.recv(&mut buffer)
            {
                // Not the certificates and Notices between them.
                if length == LENGTH + 28 {
                    times.push(Instant::now());
                }
            }
            times
        })
    }

    /// What the sender says of itself at the end: totals and metrics.
    fn end(mut self) -> (Value, String) {
        let metrics = self
            .lan
            .enter(1, || get(([127, 0, 0, 1], 9100).into(), "/metrics"));
        self.sender.stop();
        (self.sender.channel(1), metrics)
    }
}

/// Sends a datagram a millisecond through a sender with this budget; how many times packets came after a pause, and what the
/// sender says of itself.
fn bursts(budget: &str) -> (usize, Value, String) {
    const DATAGRAMS: usize = 2000;
    let path = Path::new(&format!("udp://{INPUT}"), &["--budget", budget]);
    let watching = path.watch(DATAGRAMS);
    let (feed, mut due) = (path.lan.socket(1), Instant::now());
    for _ in 0..DATAGRAMS {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += Duration::from_millis(1);
        feed.send_to(&[7; LENGTH], INPUT).unwrap();
    }
    let times = watching.join().unwrap();
    let (totals, metrics) = path.end();
    assert_eq!(times.len(), DATAGRAMS, "{totals}");
    let pauses = times
        .windows(2)
        .filter(|pair| pair[1] - pair[0] > Duration::from_micros(500));
    (pauses.count(), totals, metrics)
}

#[test]
fn packets_gather_within_the_budget_and_not_without() {
    if !can_run(&["ip"]) {
        return;
    }
    let (pauses, totals, metrics) = bursts("20ms");
    // 2 s have 100 ticks of 20 ms; a late one may be split.
    assert!(pauses < 200, "{pauses} bursts");
    let latency = |name: &str| totals["latency"][name].as_u64().unwrap();
    assert!(latency("p50_us") > 10_000, "{totals}");
    assert!(latency("count") < 250, "{totals}");
    for name in ["latency", "pcr_jitter"] {
        let line = format!("sealcast_{name}_seconds_bucket{{le=\"0.02\",channel=\"1\"}} ");
        assert!(metrics.contains(&line), "{line} is missing in\n{metrics}");
    }
    let (pauses, totals, _) = bursts("0ms");
    assert!(pauses > 500, "{pauses} bursts");
    assert!(
        totals["latency"]["p50_us"].as_u64().unwrap() < 5_000,
        "{totals}"
    );
}

/// No packet leaves earlier than a burst and the rate allow; all leave. Live input waits in the socket's buffer.
#[test]
fn a_set_rate_is_kept() {
    if !can_run(&["ip"]) {
        return;
    }
    // 1316 bytes take 1.0528 ms at 10 Mbit/s.
    let each = Duration::from_nanos(1_052_800);
    let early = |times: &[Instant], burst: u32| {
        let at_least =
            |index: usize| each * u32::try_from(index + 1).unwrap().saturating_sub(burst);
        let leads = times
            .iter()
            .enumerate()
            .map(|(index, &time)| at_least(index).saturating_sub(time - times[0]));
        leads.max().unwrap()
    };
    // A packet that the witness sees late makes those after it look early: on a busy host by tens of milliseconds. Without pacing it
    // would be half a second.
    let slack = Duration::from_millis(150);
    for (budget, burst) in [("2ms", 7), ("20ms", 4)] {
        let more = [
            "--rate",
            "10M",
            "--burst",
            &burst.to_string(),
            "--budget",
            budget,
        ];
        let path = Path::new(&format!("udp://{INPUT}"), &more);
        let (watching, feed) = (path.watch(500), path.lan.socket(1));
        for _ in 0..500 {
            feed.send_to(&[7; LENGTH], INPUT).unwrap();
        }
        let times = watching.join().unwrap();
        let (totals, _) = path.end();
        assert_eq!(
            (times.len(), &totals["input_drops"]),
            (500, &0.into()),
            "{totals}"
        );
        assert!(
            early(&times, burst) < slack,
            "{:?} early",
            early(&times, burst)
        );
        let length = times[499] - times[0];
        assert!(
            length < Duration::from_secs(3),
            "500 packets took {length:?}"
        );
    }
    // A source of 1 Mbit/s, sent at ten times its rate. The witness must be there first, on a busy host too.
    let more = ["--rate", "10M", "--start-delay", "3s"];
    let path = Path::new("gen:?rate=1M&seconds=5&seed=1", &more);
    let times = path.watch(usize::MAX).join().unwrap();
    assert!(times.len() > 460, "{} packets", times.len());
    assert!(early(&times, 7) < slack, "{:?} early", early(&times, 7));
    let length = times[times.len() - 1] - times[0];
    assert!(
        length < Duration::from_secs(3),
        "5 s at ten times the rate took {length:?}"
    );
}

/// What a sender gathers, an output spaces again as the encoder did: half of the clock references leave within 1 ms of their
/// places.
#[test]
fn outputs_leave_in_even_time() {
    if !can_run(&["ip"]) {
        return;
    }
    let jitter = |smooth: u32| {
        let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
        let folder = folder.path();
        let (keys, group) = (keys(&lan, folder), format!("udp://{GROUP}:5000?ttl=4"));
        let output = format!("udp://10.77.0.2:6000?smooth={smooth}");
        let device = keys.device("r", &[1]).file.display().to_string();
        let receive = [
            "receive",
            "--session",
            &device,
            "--output",
            &output,
            "--channel",
            "1",
            "--group",
            &group,
            "--json",
        ];
        let mut receiver = sealcast(Some(lan.host(2)), folder, "r", &receive);
        let input = [
            "--input",
            "gen:?rate=8M&seconds=5&seed=2",
            "--start-delay",
            "1s",
            "--budget",
            "33ms",
        ];
        let mut sender = sender(&lan, 1, folder, "s", (&keys, 1), &[&group], &input);
        receiver.wait_for_key(1);
        assert!(
            sender.wait(Duration::from_secs(20)).success(),
            "{}",
            sender.errors()
        );
        thread::sleep(Duration::from_millis(300));
        receiver.stop();
        let channel = receiver.channel(1);
        assert_eq!(channel["continuity_errors"], 0, "{channel}");
        assert!(
            channel["pcr_jitter"]["count"].as_u64() > Some(100),
            "{channel}"
        );
        channel["pcr_jitter"]["p50_us"].as_u64().unwrap()
    };
    // References come every 40 ms, so that ticks of 33 ms make them 7 ms early and 26 ms late.
    let gathered = jitter(0);
    assert!(gathered >= 3000, "{gathered} us");
    // A host that stands still spoils a run, and never makes one better than it is.
    let mut smoothed = (0..3).map(|_| jitter(50));
    assert!(
        smoothed.any(|jitter| jitter <= 1000),
        "three times more than 1 ms; not smoothed it is {gathered} us"
    );
}
