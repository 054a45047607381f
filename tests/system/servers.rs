//! Two delivery servers, two legs.

use std::fs;
use std::net::UdpSocket;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::keyserver::{MID_EPOCH, keys, receiver, sender};
use crate::net::{Lan, can_run};
use crate::sample::{assert_same, rtp_packets, ts};
use crate::streams::assert_clean;

/// Sends packets to `to`, evenly over `length`; calls `at_half` when half of them are gone.
pub fn feed(
    socket: &UdpSocket,
    to: &str,
    packets: &[Vec<u8>],
    length: Duration,
    at_half: impl FnOnce(),
) {
    let start = Instant::now();
    let mut at_half = Some(at_half);
    for (packet, index) in packets.iter().zip(0_u32..) {
        let due = length * index / u32::try_from(packets.len()).unwrap();
        sleep(due.saturating_sub(start.elapsed()));
        socket.send_to(packet, to).unwrap();
        if index as usize == packets.len() / 2
            && let Some(act) = at_half.take()
        {
            act();
        }
    }
}

/// MD-22 to MD-24, MD-38, SEC-06: two delivery servers with one RTP input. With merge=rtp every receiver's output is the input once,
/// though one server is killed in the middle of a change; without merge one server at a time is delivered.
#[test]
fn two_servers_one_is_killed_at_a_switch_nothing_is_lost() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let (lan, folder) = (Lan::new(5), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let group = ["udp://239.1.1.1:5000?ttl=4"];
    let keys = keys(&lan, folder);
    let input = ["--input", "rtp://239.9.9.9:1234?header=keep"];
    let one = sender(&lan, 1, folder, "s1", (&keys, 1), &group, &input);
    let mut two = sender(&lan, 2, folder, "s2", (&keys, 2), &group, &input);
    let mut merged: Vec<_> = (3..5)
        .map(|host| {
            receiver(
                &lan,
                host,
                folder,
                &format!("r{host}"),
                &keys,
                &group,
                &["--merge", "rtp"],
            )
        })
        .collect();
    let mut single = receiver(
        &lan,
        5,
        folder,
        "single",
        &keys,
        &group,
        &["--preferred-server", "2"],
    );
    for program in merged.iter().chain([&one, &two, &single]) {
        program.wait_for_key(1);
    }
    let bytes = fs::read(ts(8)).unwrap();
    let packets = rtp_packets(&bytes, 77);
    // A first packet lets every receiver have its certificates and keys before what counts.
    let warm_up = rtp_packets(&bytes[..1316 * 50], 76);
    let socket = lan.socket(1);
    feed(
        &socket,
        "239.9.9.9:1234",
        &warm_up,
        Duration::from_secs(1),
        || {},
    );
    sleep(Duration::from_millis(300));
    feed(
        &socket,
        "239.9.9.9:1234",
        &packets,
        Duration::from_secs(8),
        || {
            // The killing hits a moment just before a change.
            let changes = || one.errors().matches("switched").count();
            let (before, start) = (changes(), Instant::now());
            while changes() == before && start.elapsed() < Duration::from_secs(3) {
                sleep(Duration::from_millis(5));
            }
            sleep(Duration::from_millis(950));
            one.signal(Signal::KILL);
        },
    );
    sleep(Duration::from_millis(800));
    two.stop();
    single.stop();
    let expected: Vec<u8> = warm_up.iter().chain(&packets).flatten().copied().collect();
    for (program, name) in merged.iter_mut().zip(["r3", "r4"]) {
        program.stop();
        let channel = program.channel(1);
        assert_eq!(channel["lost"], 0, "{name}: {channel}");
        assert!(channel["switches"].as_u64() >= Some(6), "{name}: {channel}");
        let got = fs::read(folder.join(format!("{name}.ts"))).unwrap();
        // The first packets come while keys are still being fetched.
        assert!(
            got.len() > packets.iter().map(Vec::len).sum(),
            "{name}: only {} bytes",
            got.len()
        );
        assert_same(name, &expected[expected.len() - got.len()..], &got);
    }
    let got = fs::read(folder.join("single.ts")).unwrap();
    assert!(
        got.len() > packets.iter().map(Vec::len).sum(),
        "the preferred server was not killed: {} bytes",
        got.len()
    );
    assert_same("single", &expected[expected.len() - got.len()..], &got);
    assert!(
        single.channel(1)["discards"]["source_not_chosen"].as_u64() > Some(0),
        "{}",
        single.channel(1)
    );
}

/// Two legs with 2 % loss each, never of the same packet: nothing is lost. One leg then falls silent altogether.
#[test]
fn two_legs_with_two_percent_loss_each_lose_nothing() {
    if !can_run(&["ip", "ffmpeg", "nft"]) {
        return;
    }
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    let (folder, input) = (folder.path(), ts(8));
    let groups = ["udp://239.1.1.1:5000?ttl=4", "udp://239.1.2.1:5000?ttl=4"];
    lan.lose(2, "239.1.1.1", 50, 10);
    lan.lose(2, "239.1.2.1", 50, 35);
    let keys = keys(&lan, folder);
    let mut receiver = receiver(&lan, 2, folder, "r", &keys, &groups, &[]);
    let input_path = input.display().to_string();
    let mut sender = sender(
        &lan,
        1,
        folder,
        "s",
        (&keys, 1),
        &groups,
        &["--input", &input_path, "--start-delay", MID_EPOCH],
    );
    assert!(
        sender.wait(Duration::from_secs(30)).success(),
        "{}",
        sender.errors()
    );
    sleep(Duration::from_millis(500));
    receiver.stop();
    let channel = receiver.channel(1);
    assert_clean("r", &channel);
    let (packets, duplicates) = (
        channel["packets"].as_u64().unwrap(),
        channel["discards"]["duplicate"].as_u64().unwrap(),
    );
    assert!(
        duplicates < packets && duplicates > packets * 9 / 10,
        "both legs were lossy and used: {channel}"
    );
    assert_same(
        "r",
        &fs::read(&input).unwrap(),
        &fs::read(folder.join("r.ts")).unwrap(),
    );
}
