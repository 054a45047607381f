//! A bad network: loss, reordering, duplicates, lost and forged control datagrams, through the seeded relay.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use crate::keyserver::{MID_EPOCH, keys, receiver, sender};
use crate::net::{Lan, can_run};
use crate::relay::{Impairment, Relay, Sockets};
use crate::sample::ts;

const FROM: Ipv4Addr = Ipv4Addr::new(239, 1, 1, 1);
const TO: Ipv4Addr = Ipv4Addr::new(239, 2, 2, 2);

/// MD-36, MD-40, SEC-08, SEC-10: 5 % loss, reordering, duplicates, half of the Notices lost and 50 forged ones a second: what
/// the network lost is missing, nothing else; every key change is followed.
#[test]
fn a_bad_network_costs_only_the_packets_it_loses() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let (lan, folder) = (Lan::new(3), tempfile::tempdir().unwrap());
    let (folder, input) = (folder.path(), ts(12));
    let impairment = Impairment {
        seed: 7,
        packet_loss: 50,
        notice_loss: 500,
        certificate_loss: 100,
        duplicates: 100,
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(10),
        forged: 50,
    };
    println!("seed {}", impairment.seed);
    let relay = Relay::start(
        lan.enter(2, || Sockets::open((FROM, 5000), (TO, 5000))),
        impairment,
    );
    let keys = keys(&lan, folder);
    let mut receiver = receiver(&lan, 3, folder, "r", &keys, &["udp://239.2.2.2:5000"], &[]);
    let input_path = input.display().to_string();
    let more = ["--input", &input_path, "--start-delay", MID_EPOCH];
    let mut sender = sender(
        &lan,
        1,
        folder,
        "s",
        (&keys, 1),
        &["udp://239.1.1.1:5000?ttl=4"],
        &more,
    );
    assert!(
        sender.wait(Duration::from_secs(40)).success(),
        "{}",
        sender.errors()
    );
    sleep(Duration::from_millis(500));
    receiver.stop();
    let (channel, done) = (receiver.channel(1), relay.done());
    let [packets, lost, duplicated, forged] =
        [&done.packets, &done.lost, &done.duplicated, &done.forged]
            .map(|counter| counter.load(Ordering::Relaxed));
    assert!(
        lost > packets / 40 && duplicated > packets / 20 && forged > 100,
        "{done:?}"
    );
    let count = |name: &str| channel[name].as_u64().unwrap();
    let discarded = |cause: &str| channel["discards"][cause].as_u64().unwrap();
    assert_eq!(
        discarded("bad_tag") + discarded("malformed"),
        0,
        "{channel}"
    );
    assert!(
        discarded("bad_signature") + discarded("signature_bound") > 50,
        "forgeries were met: {channel}"
    );
    assert_eq!(
        count("switches"),
        sender.channel(1)["switches"].as_u64().unwrap(),
        "every change was followed"
    );
    // Only the first packets of all may come in the wrong order for one who joins with them.
    assert!(discarded("late") <= 5, "{channel}");
    // Content: the input's payloads in order, each once, without those that the relay lost.
    let (sent, got) = (
        fs::read(&input).unwrap(),
        fs::read(folder.join("r.ts")).unwrap(),
    );
    let mut expected = sent.chunks(1316);
    for (index, payload) in got.chunks(1316).enumerate() {
        assert!(
            expected.any(|sent| sent == payload),
            "payload {index} is not in the input, or not in order"
        );
    }
    let missing = sent.chunks(1316).count() as u64 - count("packets");
    assert!(
        missing <= lost + discarded("late"),
        "{missing} payloads are missing, the relay lost {lost}: {channel}"
    );
    assert!(count("lost") <= missing, "{channel}");
}
