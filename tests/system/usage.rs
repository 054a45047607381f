//! The usage meter: files agree with the totals, with each other, and after a kill with what was sent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::keyserver::{keys, receiver, sender};
use crate::net::{Lan, can_run, sh};
use crate::operations::get;

const GROUP: [&str; 1] = ["udp://239.1.1.1:5000?ttl=4"];

/// `sealcast usage show`: exit code and what it said.
fn show(file: &Path, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sealcast"))
        .args(["usage", "show", &file.display().to_string()])
        .args(more)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What the one file of a folder counts.
fn counted(folder: &Path) -> Value {
    let files = files(folder);
    assert_eq!(files.len(), 1, "{files:?}");
    let (code, said) = show(&files[0], &["--json"]);
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&said).unwrap()
}

/// Packets and bytes by epoch and lane, without the times.
fn rows(counted: &Value) -> Vec<[u64; 4]> {
    let rows = counted["usage"].as_array().unwrap().iter();
    rows.map(|row| ["epoch", "lane", "packets", "bytes"].map(|name| row[name].as_u64().unwrap()))
        .collect()
}

/// MD-33, SEC-34: what was sent is what is counted, to the byte, at both ends, over several epochs.
#[test]
fn md_33_usage_agrees_with_the_totals_at_both_ends() {
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let keys = keys(&lan, folder);
    let [sent_in, taken_in] = ["sent", "taken"].map(|name| folder.join(name));
    let dirs = [&sent_in, &taken_in].map(|dir| dir.display().to_string());
    let metered = ["--usage-dir", &dirs[1], "--usage-interval", "500ms"];
    let mut receiver = receiver(&lan, 2, folder, "r", &keys, &GROUP, &metered);
    let input = [
        "--input",
        "gen:?rate=4M&seconds=6&seed=5",
        "--start-delay",
        "1500ms",
    ];
    let lanes = ["--lanes", "2", "--cores", "0,1"];
    let args = [&input[..], &lanes, &["--usage-dir", &dirs[0]]].concat();
    let mut sender = sender(&lan, 1, folder, "s", (&keys, 1), &GROUP, &args);
    let status = sender.wait(Duration::from_secs(30));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(500));
    receiver.stop();
    let (sent, taken) = (counted(&sent_in), counted(&taken_in));
    for (counted, totals) in [(&sent, sender.channel(1)), (&taken, receiver.channel(1))] {
        assert_eq!(counted["packets"], totals["packets"], "{counted} {totals}");
        assert_eq!(counted["bytes"], totals["bytes"], "{counted} {totals}");
        assert_eq!(counted["end"], "closed", "{counted}");
    }
    assert_eq!(sent["source"], "server-1");
    assert!(
        taken["source"].as_str().unwrap().starts_with("dev_"),
        "{taken}"
    );
    assert!(
        rows(&sent).len() >= 10,
        "two lanes of an epoch each second: {sent}"
    );
    assert_eq!(rows(&sent), rows(&taken));
    let (code, table) = show(&files(&sent_in)[0], &[]);
    let packets = sent["packets"].to_string();
    assert!(
        code == Some(0) && table.contains(&packets) && table.contains("whole"),
        "{table}"
    );
    damaged_files_are_refused(&files(&sent_in)[0], folder);
}

fn damaged_files_are_refused(file: &Path, folder: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = folder.join("damaged.usage");
    fs::write(&damaged, &bytes).unwrap();
    let (code, said) = show(&damaged, &[]);
    assert!(
        code == Some(1) && said.contains("damaged.usage: the file is damaged"),
        "{said}"
    );
    let (code, said) = show(&folder.join("r.ts"), &[]);
    assert!(
        code == Some(1) && said.contains("no record file of sealcast"),
        "{said}"
    );
    let (code, said) = show(folder, &[]);
    assert!(code == Some(3) && said.contains("it is a folder"), "{said}");
}

/// MD-33, SEC-34: kill -9 in the middle: the file is read, and counts all but what came since the last interval.
#[test]
fn md_33_sec_34_a_kill_costs_no_more_than_the_last_interval() {
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(1), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let keys = keys(&lan, folder);
    let dir = folder.join("usage");
    let text = dir.display().to_string();
    let args = [
        "--input",
        "gen:?rate=4M&seconds=60&seed=5",
        "--usage-dir",
        &text,
    ];
    let args = [&args[..], &["--usage-interval", "1s"]].concat();
    let mut sender = sender(&lan, 1, folder, "s", (&keys, 1), &GROUP, &args);
    let many = |channel: &Value| channel["packets"].as_u64() >= Some(1500);
    let before = sender.wait_until(1, Duration::from_secs(30), "sending", many);
    sender.signal(Signal::KILL);
    sender.wait(Duration::from_secs(10));
    let counted = counted(&dir);
    let packets = counted["packets"].as_u64().unwrap();
    // 380 packets a second; the last line of totals may be more than a second old.
    let told = before["packets"].as_u64().unwrap();
    assert!(
        packets <= told + 800 && packets + 800 >= told,
        "{packets} counted, {told} told"
    );
    assert_eq!(counted["bytes"].as_u64(), Some(packets * 1316));
    assert_eq!(counted["end"], "open", "{counted}");
}

/// MD-33: a full disk is told; once there is room, everything that was sent meanwhile is counted.
#[test]
fn md_33_a_full_disk_is_told_and_no_count_is_lost() {
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(1), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let keys = keys(&lan, folder);
    let dir = folder.join("usage");
    fs::create_dir(&dir).unwrap();
    let text = dir.display().to_string();
    sh(&format!("mount -t tmpfs -o size=64k tmpfs {text}"));
    let unmount = Unmount(text.clone());
    let filler = dir.join("filler");
    sh(&format!(
        "dd if=/dev/zero of={text}/filler bs=4k 2>/dev/null || true"
    ));
    let args = [
        "--input",
        "gen:?rate=4M&seconds=6&seed=5",
        "--usage-dir",
        &text,
        "--metrics",
        "127.0.0.1:9101",
    ];
    let args = [&args[..], &["--usage-interval", "200ms"]].concat();
    let failing = || lan.enter(1, || get(([127, 0, 0, 1], 9101).into(), "/metrics"));
    let mut sender = sender(&lan, 1, folder, "s", (&keys, 1), &GROUP, &args);
    let many = |channel: &Value| channel["packets"].as_u64() >= Some(800);
    sender.wait_until(1, Duration::from_secs(30), "sending", many);
    assert!(
        sender.errors().contains("usage cannot be written"),
        "{}",
        sender.errors()
    );
    assert!(failing().contains("sealcast_usage_failing 1"));
    fs::remove_file(&filler).unwrap();
    let start = Instant::now();
    while failing().contains("sealcast_usage_failing 1") {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "it is told for ever"
        );
        sleep(Duration::from_millis(100));
    }
    let status = sender.wait(Duration::from_secs(30));
    assert!(status.success(), "{}", sender.errors());
    assert!(
        sender.errors().contains("usage is written again"),
        "{}",
        sender.errors()
    );
    let counted = counted(&dir);
    assert_eq!(
        counted["packets"],
        sender.channel(1)["packets"],
        "{counted}"
    );
    assert_eq!(counted["end"], "closed");
    drop(unmount);
}

/// Takes a file system off again, whatever happens.
struct Unmount(String);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}
