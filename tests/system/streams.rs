//! One delivery server, several receivers, a key change every second.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::keyserver::{MID_EPOCH, keys, keys_of, receiver, sender};
use crate::net::{Lan, can_run};
use crate::process::Program;
use crate::sample::{assert_same, assert_tail, ts, tshark_drops};

/// What must not have happened at a receiver.
pub fn assert_clean(name: &str, channel: &Value) {
    assert_eq!(channel["lost"], 0, "{name}: {channel}");
    assert_eq!(channel["continuity_errors"], 0, "{name}: {channel}");
    for cause in ["bad_tag", "malformed", "replay", "bad_signature"] {
        assert_eq!(channel["discards"][cause], 0, "{name}: {cause}: {channel}");
    }
}

/// MD-01, MD-06, MD-07, MD-13, MD-15 to MD-17, MD-19 to MD-21, MD-40: 30 s of an ffmpeg-made TS over 1 s epochs; every
/// receiver writes what was sent, the late one its tail.
#[test]
fn a_ts_crosses_thirty_key_changes_byte_for_byte() {
    if !can_run(&["ip", "ffmpeg", "tshark"]) {
        return;
    }
    let (lan, folder) = (Lan::new(4), tempfile::tempdir().unwrap());
    let (folder, input) = (folder.path(), ts(30));
    let group = ["udp://239.1.1.1:5000?ttl=4"];
    let keys = keys(&lan, folder);
    let mut early: Vec<_> = (2..4)
        .map(|host| receiver(&lan, host, folder, &format!("r{host}"), &keys, &group, &[]))
        .collect();
    let input_path = input.display().to_string();
    let mut sender = sender(
        &lan,
        1,
        folder,
        "s",
        (&keys, 1),
        &group,
        &["--input", &input_path, "--start-delay", MID_EPOCH],
    );
    sleep(Duration::from_secs(12));
    let mut late = receiver(&lan, 4, folder, "late", &keys, &group, &[]);
    let status = sender.wait(Duration::from_secs(50));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(500));
    let sent = fs::read(&input).unwrap();
    early.iter_mut().chain([&mut late]).for_each(Program::stop);
    let switches = sender.channel(1)["switches"].as_u64().unwrap();
    assert!(switches >= 28, "{switches} switches");
    for (program, name) in early.iter().zip(["r2", "r3"]) {
        let file = folder.join(format!("{name}.ts"));
        assert_clean(name, &program.channel(1));
        assert_same(name, &sent, &fs::read(&file).unwrap());
        assert_eq!(
            program.channel(1)["switches"],
            switches,
            "{name} followed every change"
        );
        assert_eq!(
            tshark_drops(&file),
            0,
            "{name}: an independent reader finds no gap"
        );
    }
    assert_clean("late", &late.channel(1));
    assert_tail("late", &sent, &fs::read(folder.join("late.ts")).unwrap());
    assert_eq!(tshark_drops(&folder.join("late.ts")), 0);
}

/// MD-08 to MD-12: the same with keys made at the delivery server, which restarts in the middle: one new epoch at once.
#[test]
fn mode_a_goes_on_under_a_new_epoch_after_a_restart() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    let (folder, input) = (folder.path(), ts(8));
    let group = ["udp://239.1.1.1:5000?ttl=4"];
    let mode = ["--mode", "delivery-server"];
    let keys = keys_of(&lan, folder, &mode);
    let mut receiver = receiver(&lan, 2, folder, "r", &keys, &group, &[]);
    let input_path = input.display().to_string();
    let args = [
        &mode[..],
        &["--input", &input_path, "--start-delay", MID_EPOCH],
    ]
    .concat();
    for run in ["first", "second"] {
        let mut sender = sender(&lan, 1, folder, run, (&keys, 1), &group, &args);
        let status = sender.wait(Duration::from_secs(30));
        assert!(status.success(), "{run}: {}", sender.errors());
        assert!(
            sender.channel(1)["switches"].as_u64() >= Some(5),
            "{run}: {}",
            sender.channel(1)
        );
    }
    sleep(Duration::from_millis(500));
    receiver.stop();
    let sent = fs::read(&input).unwrap();
    // The file begins anew with the second run, so its continuity counters jump: once per PID.
    let channel = receiver.channel(1);
    assert_eq!(
        (&channel["lost"], &channel["discards"]["bad_tag"]),
        (&0.into(), &0.into()),
        "{channel}"
    );
    assert_same(
        "r",
        &[sent.as_slice(), &sent].concat(),
        &fs::read(folder.join("r.ts")).unwrap(),
    );
    assert_eq!(
        receiver.channel(1)["source_switches"],
        1,
        "the second run follows the first: {}",
        receiver.channel(1)
    );
}

/// MD-39: the authority is gone for several lifetimes and comes back; senders hold, nobody loses.
#[test]
fn the_authority_is_gone_for_three_lifetimes_and_nobody_loses() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    let (folder, input) = (folder.path(), ts(16));
    let group = ["udp://239.1.1.1:5000?ttl=4"];
    let mut keys = keys(&lan, folder);
    let mut receiver = receiver(&lan, 2, folder, "r", &keys, &group, &[]);
    let input_path = input.display().to_string();
    let mut sender = sender(
        &lan,
        1,
        folder,
        "s",
        (&keys, 1),
        &group,
        &["--input", &input_path, "--start-delay", MID_EPOCH],
    );
    sleep(Duration::from_secs(6));
    // kill -9, as a crash would.
    keys.kill();
    sender.wait_until(1, Duration::from_secs(6), "holding", |channel| {
        channel["holding"] == true
    });
    sleep(Duration::from_secs(2));
    keys.start_again();
    let status = sender.wait(Duration::from_secs(40));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(500));
    receiver.stop();
    let last = sender.channel(1);
    assert!(
        last["holds"].as_u64() >= Some(1) && last["holding"] == false,
        "changes go on afterwards: {last}"
    );
    assert_clean("r", &receiver.channel(1));
    assert_same(
        "r",
        &fs::read(&input).unwrap(),
        &fs::read(folder.join("r.ts")).unwrap(),
    );
}

/// MD-01, SEC-06: a channel on two cores: its packets come under two lanes' keys, and receivers write them in the order of the
/// payloads. All wait in io_uring here, and in epoll in the other tests.
#[test]
fn a_channel_on_two_cores_keeps_its_order() {
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    let (folder, group) = (folder.path(), ["udp://239.1.1.1:5000?ttl=4"]);
    let keys = keys(&lan, folder);
    let log = folder.join("keys.log");
    let keylog = ["--keylog", log.to_str().unwrap()];
    let ring = ["--executor", "io-uring"];
    let mut receiver = receiver(&lan, 2, folder, "r", &keys, &group, &ring);
    let more = [
        "--input",
        "gen:?rate=40M&seconds=5&seed=4",
        "--start-delay",
        MID_EPOCH,
        "--lanes",
        "2",
        "--cores",
        "0,1",
    ];
    let more = [&more[..], &keylog, &ring].concat();
    let mut sender = sender(&lan, 1, folder, "s", (&keys, 1), &group, &more);
    assert!(
        sender.wait(Duration::from_secs(30)).success(),
        "{}",
        sender.errors()
    );
    sleep(Duration::from_millis(500));
    receiver.stop();
    let (sent, got) = (sender.channel(1), receiver.channel(1));
    assert_clean("receiver", &got);
    assert_eq!(
        (&got["packets"], &got["switches"]),
        (&sent["packets"], &sent["switches"])
    );
    assert!(sent["packets"].as_u64() > Some(18_000), "{sent}");
    assert_eq!(got["gaps"], 0, "{got}");
    // Two lanes of every epoch.
    let lanes: std::collections::BTreeSet<_> = fs::read_to_string(log)
        .unwrap()
        .lines()
        .map(|line| line[..2].to_owned())
        .collect();
    assert_eq!(lanes.len(), 2, "{lanes:?}");
}
