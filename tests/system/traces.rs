//! `sealcast load capture` and `make`: a real feed, live and as a capture, and traces that are made up.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sealcast_proto::records::{
    Cause, Content, Kind, PacketTrace, RecordFile, RequestTrace, TracedPacket,
};

use crate::net::{Lan, can_run};
use crate::process::sealcast;
use crate::sample::ts;

fn records<K: Kind>(path: &Path) -> Vec<K::Record> {
    let bytes = fs::read(path).unwrap();
    RecordFile::<K>::read(&bytes).unwrap().records().collect()
}

/// `sealcast load`: exit code and what it said.
fn load(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sealcast"))
        .arg("load")
        .args(args)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn sizes(packets: &[TracedPacket]) -> Vec<u16> {
    packets.iter().map(|packet| packet.length).collect()
}

/// INT-16: what ffmpeg sends, recorded live and by tshark: the same datagrams at the same times.
#[test]
fn int_16_a_live_feed_and_its_capture_give_the_same_trace() {
    if !can_run(&["ip", "ffmpeg", "tshark"]) {
        return;
    }
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    let [live, pcap, trace] = ["live", "feed.pcap", "pcap"].map(|name| folder.path().join(name));
    let feed = "udp://239.9.9.9:1234?iface=eth0";
    let output = live.display().to_string();
    let args = [
        "load",
        "capture",
        "--from",
        feed,
        "--seconds",
        "3",
        "--output",
        &output,
    ];
    let mut recording = sealcast(Some(lan.host(2)), folder.path(), "capture", &args);
    let in_host = |host: usize, program: &str| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", lan.host(host), program]);
        command
    };
    let mut tshark = in_host(2, "tshark")
        .args([
            "-q",
            "-i",
            "eth0",
            "-f",
            "udp",
            "-a",
            "duration:12",
            "-F",
            "pcap",
            "-w",
        ])
        .arg(&pcap)
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !pcap.exists() && start.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(50));
    }
    sleep(Duration::from_millis(1000));
    let sent = in_host(1, "ffmpeg")
        .args(["-v", "error", "-re", "-i"])
        .arg(ts(8))
        .args(["-t", "5", "-c", "copy", "-f", "mpegts"])
        .arg("udp://239.9.9.9:1234?pkt_size=1316&ttl=4")
        .status()
        .unwrap();
    assert!(sent.success());
    let status = recording.wait(Duration::from_secs(10));
    assert!(status.success(), "{}", recording.errors());
    assert!(tshark.wait().unwrap().success());
    let from = format!("pcap:{}?dst=239.9.9.9:1234", pcap.display());
    let (code, said) = load(&[
        "capture",
        "--from",
        &from,
        "--output",
        &trace.display().to_string(),
    ]);
    assert_eq!(code, Some(0), "{said}");
    let (live, pcap) = (
        records::<PacketTrace>(&live),
        records::<PacketTrace>(&trace),
    );
    assert!(live.len() > 500, "{} datagrams", live.len());
    assert_eq!(sizes(&live), sizes(&pcap[..live.len()]));
    for (live, pcap) in live.iter().zip(&pcap) {
        assert_eq!((live.content, live.channel), (Content::Ts, 1));
        assert!(live.at.abs_diff(pcap.at) < 100_000_000, "{live:?} {pcap:?}");
    }
    let length = live.last().map_or(0, |packet| packet.at);
    assert!(
        (2_500_000_000..3_100_000_000).contains(&length),
        "{length} ns"
    );
}

#[test]
fn int_16_traces_are_made_up_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (packets, requests) = (file("packets"), file("requests"));
    let output = packets.display().to_string();
    let flags = [
        "--rate",
        "20M",
        "--channels",
        "500",
        "--shape",
        "variable",
        "--output",
        &output,
    ];
    let (code, said) = load(&[&["make", "packets"], &flags[..]].concat());
    assert!(code == Some(0) && said.contains("500 channels"), "{said}");
    let made = records::<PacketTrace>(&packets);
    let bits: u64 = made.iter().map(|packet| u64::from(packet.length) * 8).sum();
    // 20.8 groups of pictures: the last one is not whole.
    assert!(
        bits.abs_diff(200_000_000) < 10_000_000,
        "{bits} bits in 10 s"
    );
    let output = requests.display().to_string();
    let flags = [
        "--devices",
        "100k",
        "--duration",
        "2m",
        "--fetch",
        "demand",
        "--output",
        &output,
    ];
    let (code, said) = load(&[&["make", "requests"], &flags[..]].concat());
    assert_eq!(code, Some(0), "{said}");
    let made = records::<RequestTrace>(&requests);
    let storm = made
        .iter()
        .filter(|request| request.cause == Cause::UnknownKey);
    assert_eq!((made.len(), storm.count()), (200_000, 100_000));
    let (code, said) = load(&[&["make", "requests", "--devices", "0"], &flags[2..]].concat());
    assert!(
        code == Some(2) && said.contains("choose 1 to 10000000"),
        "{said}"
    );
    let (code, said) = load(&["make", "packets", "--rate", "max", "--output", &output]);
    assert!(
        code == Some(2) && said.contains("a rate with a limit"),
        "{said}"
    );
    let unused = file("unused").display().to_string();
    let (code, said) = load(&[
        "capture",
        "--from",
        &format!("pcap:{output}"),
        "--output",
        &unused,
    ]);
    assert!(code == Some(3) && said.contains("no pcap"), "{said}");
    let (code, said) = load(&["capture", "--from", "gen:?rate=4M", "--output", &unused]);
    assert!(
        code == Some(2) && said.contains("cannot be recorded"),
        "{said}"
    );
    assert!(
        !file("unused").exists(),
        "what is refused leaves nothing behind"
    );
    let quiet = [
        "capture",
        "--from",
        "udp://127.0.0.1:47011",
        "--seconds",
        "1",
        "--output",
    ];
    let (code, said) = load(&[&quiet[..], &[&file("none").display().to_string()]].concat());
    assert!(code == Some(1) && said.contains("nothing came"), "{said}");
}
