//! Zero-copy sends of the program, where the kernel copies all the same: a wire between namespaces is memory.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::keyserver::{MID_EPOCH, keys, receiver, sender};
use crate::net::{Lan, can_run, sh};
use crate::process::Program;
use crate::sample::{assert_same, ts};
use crate::streams::assert_clean;

const GROUP: [&str; 1] = ["udp://239.1.1.1:5000?ttl=4"];

/// What it says when it gives them up.
fn times_told(sender: &Program) -> usize {
    sender
        .errors()
        .matches("the kernel copies what goes to 239.1.1.1:5000 all the same")
        .count()
}

#[test]
fn a_ts_sent_without_copies_is_the_same_and_where_that_is_useless_it_is_said_once() {
    if !can_run(&["ip", "tc", "ffmpeg"]) {
        return;
    }
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    // As the other tests have it; at 20 Mbit/s it takes 6 s.
    let (folder, input) = (folder.path(), ts(30));
    // What is sent lies in its buffer for a while before the wire takes it.
    sh(&format!(
        "tc -n {} qdisc add dev eth0 root tbf rate 30mbit burst 70000 limit 1000000",
        lan.host(1)
    ));
    let keys = keys(&lan, folder);
    let mut receiver = receiver(&lan, 2, folder, "r", &keys, &GROUP, &[]);
    let input_path = input.display().to_string();
    let more = [
        "--input",
        &input_path,
        "--start-delay",
        MID_EPOCH,
        "--zero-copy",
    ];
    // Batches that are worth it.
    let more = [
        &more[..],
        &["--rate", "20M", "--burst", "50", "--budget", "20ms"],
    ]
    .concat();
    let mut sender = sender(&lan, 1, folder, "s", (&keys, 1), &GROUP, &more);
    let status = sender.wait(Duration::from_secs(30));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(500));
    receiver.stop();
    let (sent, got) = (sender.channel(1), receiver.channel(1));
    assert_clean("receiver", &got);
    assert_same(
        "receiver",
        &fs::read(&input).unwrap(),
        &fs::read(folder.join("r.ts")).unwrap(),
    );
    assert!(sent["switches"].as_u64() >= Some(5), "{sent}");
    assert_eq!(got["switches"], sent["switches"]);
    assert_eq!(sent["zero_copy"]["direct"], 0, "{sent}");
    assert!(sent["zero_copy"]["copied"].as_u64() >= Some(64), "{sent}");
    assert_eq!(times_told(&sender), 1, "{}", sender.errors());
}

#[test]
fn lanes_send_without_copies_in_order() {
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let keys = keys(&lan, folder);
    let mut receiver = receiver(&lan, 2, folder, "r", &keys, &GROUP, &[]);
    let more = [
        "--input",
        "gen:?rate=60M&seconds=3&seed=4",
        "--start-delay",
        MID_EPOCH,
        "--lanes",
        "2",
        "--cores",
        "0,1",
        "--zero-copy",
        "--budget",
        "10ms",
    ];
    let mut sender = sender(&lan, 1, folder, "s", (&keys, 1), &GROUP, &more);
    let status = sender.wait(Duration::from_secs(30));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(500));
    receiver.stop();
    let (sent, got) = (sender.channel(1), receiver.channel(1));
    assert_clean("receiver", &got);
    assert_eq!(
        (&got["packets"], &got["gaps"]),
        (&sent["packets"], &0.into())
    );
    // Each lane has a ring, and each tries.
    assert!(sent["zero_copy"]["copied"].as_u64() >= Some(128), "{sent}");
    assert_eq!(times_told(&sender), 1, "{}", sender.errors());
}
