//! Generators and sinks over real sockets on loopback, also through a relay that spoils some datagrams.
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use sealcast_loadgen::outcome::Outcome;
use sealcast_loadgen::report::{of_stream, to_text};
use sealcast_loadgen::run::{Plan, run};
use sealcast_loadgen::schedule::{Rate, Shape, Traffic};
use sealcast_loadgen::source::Source;
use sealcast_net::shard::Placement;
use sealcast_net::{GroupOptions, Interface};

fn traffic(packets: u64, milliseconds: u64) -> Traffic {
    Traffic {
        shape: Shape::Constant,
        rate: Rate::Packets(packets),
        len: 1316,
        flows: 1,
        duration: Duration::from_millis(milliseconds),
        seed: 1,
    }
}

fn plan(traffic: Traffic, target: SocketAddr, sink: SocketAddr) -> Plan {
    Plan {
        source: Some(Source::Shape(traffic)),
        targets: vec![GroupOptions::new(target)],
        sinks: vec![GroupOptions::new(sink)],
        shards: vec![Placement::default()],
        sink_shards: vec![Placement::default()],
        busy: false,
        variation: false,
        limit: None,
    }
}

/// An address that nobody has, as far as is known.
fn free() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn runs(plan: &Plan) -> Outcome {
    run(plan, &mut |_| true).unwrap()
}

fn group(last: u8) -> GroupOptions {
    let mut options = GroupOptions::new(SocketAddr::from((
        [239, 255, 91, last],
        20_000 + u16::from(last),
    )));
    options.iface = Some(Interface::resolve("lo").unwrap());
    options
}

#[test]
fn five_seconds_of_several_flows_come_whole() {
    let traffic = Traffic {
        flows: 8,
        ..traffic(4000, 5000)
    };
    let mut plan = plan(traffic, free(), free());
    let groups: Vec<_> = (1..=4).map(group).collect();
    (plan.targets, plan.sinks) = (groups.clone(), groups);
    let two = vec![Placement::default(); 2];
    (plan.shards, plan.sink_shards) = (two.clone(), two);
    let outcome = runs(&plan);
    let (sent, received) = (
        outcome.sent.as_ref().unwrap(),
        outcome.received.as_ref().unwrap(),
    );
    let report = to_text(&of_stream(Vec::new(), &outcome));
    assert_eq!(
        (sent.now.packets, received.counts.received),
        (20_000, 20_000),
        "{report}"
    );
    assert!(received.counts.is_whole(), "{report}");
    assert_eq!(sent.flows, [2500; 8]);
    assert!(
        received
            .sinks
            .iter()
            .all(|sink| sink.counts.received == 5000),
        "{report}"
    );
    let times = received.times.summary().unwrap();
    assert!(times.count == 20_000 && times.p50 < 100_000_000, "{report}");
    // Where it stood was noted all along.
    assert!(
        outcome.series.len() > 30 && outcome.series.is_sorted_by(|a, b| a.received <= b.received)
    );
}

/// What a relay does to every so many datagrams, by their number.
fn relay(spoil: impl Fn(u64, &mut Vec<Vec<u8>>) + Send + 'static) -> Relay {
    let input = UdpSocket::bind("127.0.0.1:0").unwrap();
    input
        .set_read_timeout(Some(Duration::from_millis(10)))
        .unwrap();
    let (from, to) = (input.local_addr().unwrap(), free());
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        let (mut buffer, mut number) = ([0; 2000], 0);
        while !stopped.load(Ordering::Relaxed) {
            let Ok(length) = input.recv(&mut buffer) else {
                continue;
            };
            let mut out = vec![buffer[..length].to_vec()];
            // The last word of a flow is shorter.
            if length == 1316 {
                spoil(number, &mut out);
                number += 1;
            }
            for datagram in out {
                input.send_to(&datagram, to).unwrap();
            }
        }
    });
    Relay {
        from,
        to,
        stop,
        thread: Some(thread),
    }
}

struct Relay {
    from: SocketAddr,
    to: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn what_a_relay_spoils_is_counted_under_its_cause() {
    let relay = relay(|number, out| match number % 100 {
        10 => out.clear(),
        20 => out[0][500] ^= 1,
        30 => out.push(out[0].clone()),
        40 => out.push(vec![7; 300]),
        _ => {}
    });
    let outcome = runs(&plan(traffic(400, 1500), relay.from, relay.to));
    let received = outcome.received.as_ref().unwrap();
    let report = to_text(&of_stream(Vec::new(), &outcome));
    let counts = received.counts;
    assert_eq!((counts.received, counts.lost), (588, 12), "{report}");
    assert_eq!(
        (counts.corrupt, counts.duplicated, counts.foreign),
        (6, 6, 6),
        "{report}"
    );
    let loss = received.loss;
    assert_eq!(
        (loss.corrupt, loss.path_min, loss.path_max, loss.refused),
        (6, 6, 6, 0),
        "{report}"
    );
}

#[test]
fn what_is_lost_at_the_end_is_lost_and_what_is_late_is_reordered() {
    let held = std::sync::Mutex::new(None);
    let relay = relay(move |number, out| match number {
        50 => *held.lock().unwrap() = out.pop(),
        60 => out.extend(held.lock().unwrap().take()),
        190.. => out.clear(),
        _ => {}
    });
    let outcome = runs(&plan(traffic(400, 500), relay.from, relay.to));
    let counts = outcome.received.unwrap().counts;
    assert_eq!(
        (counts.received, counts.lost, counts.reordered),
        (190, 10, 1)
    );
}

#[test]
fn a_flow_of_which_nothing_comes_is_lost() {
    let traffic = Traffic {
        flows: 2,
        ..traffic(200, 200)
    };
    let mut plan = plan(traffic, free(), group(9).group);
    (plan.targets, plan.sinks) = (vec![group(9), group(10)], vec![group(9)]);
    let counts = runs(&plan).received.unwrap().counts;
    assert_eq!((counts.received, counts.lost), (20, 20));
}

#[test]
fn a_sink_alone_ends_with_the_flow() {
    let sink = free();
    let mut alone = plan(traffic(1, 1), sink, sink);
    alone.source = None;
    alone.limit = Some(Duration::from_secs(60));
    let generator = std::thread::spawn(move || {
        let mut only = plan(traffic(500, 600), sink, sink);
        only.sinks.clear();
        // The sink is there soon after, in the middle of the flow.
        runs(&only)
    });
    std::thread::sleep(Duration::from_millis(200));
    let begin = std::time::Instant::now();
    let received = runs(&alone).received.unwrap();
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "the end of the flow ends it"
    );
    let sent = generator.join().unwrap().sent.unwrap();
    assert_eq!(sent.now.packets, 300);
    assert!(
        received.counts.is_whole() && received.counts.received < 300,
        "{:?}",
        received.counts
    );
    assert!(received.sinks[0].join_ns.is_some());
    // Same host, same clock.
    assert_eq!(
        received.times.summary().unwrap().count,
        received.counts.received
    );
}

#[test]
fn what_does_not_fit_the_path_is_told_before_anything_is_sent() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut too_long = plan(traffic(10, 100), free(), taken.local_addr().unwrap());
    let said = run(&too_long, &mut |_| true).unwrap_err().to_string();
    assert!(said.contains("in use"), "{said}");
    too_long.sinks.clear();
    // Loopback takes all that UDP does, but for headers of IPv6.
    too_long.targets = vec![GroupOptions::new("[::1]:4000".parse().unwrap())];
    too_long.source = Some(Source::Shape(Traffic {
        len: 65_500,
        ..traffic(10, 100)
    }));
    let said = run(&too_long, &mut |_| true).unwrap_err().to_string();
    assert!(said.contains("choose a size up to 65488"), "{said}");
}

/// Coordinated omission, with a real generator: what it cannot send in time is late from when it was due.
#[test]
fn a_generator_that_is_too_slow_shows_in_latency_and_says_what_it_left_out() {
    let sink = free();
    let traffic = Traffic {
        len: 64,
        ..traffic(100_000_000, 100)
    };
    let outcome = runs(&plan(traffic, sink, sink));
    let (sent, received) = (
        outcome.sent.as_ref().unwrap(),
        outcome.received.as_ref().unwrap(),
    );
    assert!(sent.unsent > 0, "{:?}", sent.now);
    let (late, took) = (
        sent.lateness.summary().unwrap(),
        received.times.summary().unwrap(),
    );
    // It went on for a second after its end, with what was due within the first tenth.
    assert!(
        late.max > 900_000_000 && took.max > 900_000_000,
        "{late:?} {took:?}"
    );
    assert!(took.p50 > 200_000_000, "{took:?}");
    let report = of_stream(Vec::new(), &outcome);
    assert!(
        !report.good && report.notes.iter().any(|note| note.contains("too slow")),
        "{report:?}"
    );
}
