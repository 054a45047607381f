//! Traces over real sockets on loopback: every datagram with its length, in order, about when it is due.
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

use sealcast_loadgen::report::{of_stream, to_text};
use sealcast_loadgen::run::{Plan, run};
use sealcast_loadgen::scenario::{Scenario, Setup};
use sealcast_loadgen::source::Source;
use sealcast_loadgen::trace::replay::{Replay, Until};
use sealcast_loadgen::trace::{Packets, TraceFile};
use sealcast_net::GroupOptions;
use sealcast_net::shard::Placement;
use sealcast_proto::records::{Content, Origin, PacketTrace, TraceIdentity, TracedPacket};

const LENGTHS: [u16; 5] = [1316, 20, 700, 188, 1472];
const COUNT: u64 = 500;

/// A datagram every 2 ms, of two channels in turn, with lengths that change.
fn write(path: &Path) -> Vec<TracedPacket> {
    let packets: Vec<_> = (0..COUNT)
        .map(|number| TracedPacket {
            at: number * 2_000_000,
            channel: if number % 2 == 0 { 1 } else { 2 },
            length: LENGTHS[usize::try_from(number).unwrap() % LENGTHS.len()],
            content: Content::Opaque,
        })
        .collect();
    let identity = TraceIdentity {
        origin: Origin::Captured,
        seed: 0,
    };
    let out = std::fs::File::create(path).unwrap();
    let mut file = TraceFile::<PacketTrace, _>::create(out, &identity).unwrap();
    packets
        .iter()
        .for_each(|&packet| file.push(packet).unwrap());
    file.finish().unwrap();
    packets
}

fn plan(folder: &Path, rounds: u32, targets: &[SocketAddr], cores: usize) -> Plan {
    let packets = Packets::open(&folder.join("trace")).unwrap();
    let until = Until::Rounds(NonZeroU32::new(rounds).unwrap());
    let replay = Replay::new(packets, "2".parse().unwrap(), until).unwrap();
    Plan {
        source: Some(Source::Trace(replay)),
        targets: targets.iter().copied().map(GroupOptions::new).collect(),
        sinks: Vec::new(),
        shards: vec![Placement::default(); cores],
        sink_shards: vec![Placement::default()],
        busy: false,
        variation: false,
        limit: None,
    }
}

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let wait = Some(Duration::from_millis(2000));
    socket.set_read_timeout(wait).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

/// Lengths of so many datagrams, and how long they took to come.
fn lengths(socket: &UdpSocket, count: usize) -> (Vec<u16>, Duration) {
    let (mut buffer, mut start) = ([0; 2000], None);
    let lengths = (0..count)
        .map(|_| {
            let length = socket.recv(&mut buffer).unwrap();
            start.get_or_insert_with(Instant::now);
            u16::try_from(length).unwrap()
        })
        .collect();
    (
        lengths,
        start.map_or(Duration::ZERO, |start| start.elapsed()),
    )
}

#[test]
fn two_cores_replay_a_trace_twice_at_twice_its_speed() {
    let folder = tempfile::tempdir().unwrap();
    let packets = write(&folder.path().join("trace"));
    let ((one, to_one), (two, to_two)) = (socket(), socket());
    let plan = plan(folder.path(), 2, &[to_one, to_two], 2);
    let running = std::thread::spawn(move || run(&plan, &mut |_| true).unwrap());
    let count = usize::try_from(COUNT).unwrap();
    let one = std::thread::spawn(move || lengths(&one, count));
    let (of_two, took) = lengths(&two, count);
    let (of_one, _) = one.join().unwrap();
    let sent = running.join().unwrap().sent.unwrap();
    assert_eq!((sent.now.packets, sent.unsent), (2 * COUNT, 0));
    assert_eq!(sent.flows, [COUNT; 2]);
    for (channel, got) in [(1, of_one), (2, of_two)] {
        let round = packets.iter().filter(|packet| packet.channel == channel);
        // What is too short for a stamp has the length of one.
        let round: Vec<_> = round.map(|packet| packet.length.max(48)).collect();
        assert_eq!(got, [round.clone(), round].concat(), "channel {channel}");
    }
    // Two rounds of one second, twice as fast.
    let took = took.as_secs_f64();
    assert!((0.9..1.5).contains(&took), "{took} s");
}

#[test]
fn a_replayed_trace_is_verified_by_a_sink() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("trace"));
    let (_, free) = socket();
    let mut plan = plan(folder.path(), 1, &[free], 2);
    plan.sinks = vec![GroupOptions::new(free)];
    let outcome = run(&plan, &mut |_| true).unwrap();
    let counts = outcome.received.as_ref().unwrap().counts;
    let report = of_stream(Vec::new(), &outcome);
    assert_eq!(counts.received, COUNT, "{}", to_text(&report));
    assert!(report.good && counts.is_whole(), "{}", to_text(&report));
}

#[test]
fn scenarios_say_that_they_take_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("trace"));
    let (_, free) = socket();
    let mut plan = plan(folder.path(), 1, &[free], 1);
    plan.sinks = vec![GroupOptions::new(free)];
    let setup = Setup {
        plan,
        trial: Duration::from_millis(100),
        repeats: 1,
        sizes: vec![188],
        command: None,
    };
    let said = Scenario::Latency.run(&setup, &mut |_, _| true).unwrap_err();
    assert!(said.to_string().contains("leave the trace out"), "{said}");
}
