//! Every kind of input and output, end to end: what goes in comes out, datagram by datagram.

use std::fs;
use std::io::Write as _;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use crate::keyserver::{KeyServer, keys};
use crate::net::{Lan, can_run, has};
use crate::process::{Program, sealcast, sealcast_reading};
use crate::sample::{assert_same, rtp_packets, ts};
use crate::servers::feed;
use crate::streams::assert_clean;

const GROUP: &str = "udp://239.1.1.1:5000?ttl=4";
const LENGTH: Duration = Duration::from_secs(2);

/// A channel from host 1 to host 2, up and in possession of a key.
struct Chain {
    lan: Lan,
    _folder: tempfile::TempDir,
    sender: Program,
    receiver: Program,
    _keys: KeyServer,
}

impl Chain {
    fn new(lan: Lan, stdin: Stdio, input: &str, output: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let keys = keys(&lan, path);
        let node = keys.node(1).display().to_string();
        let device = keys.device("r", &[1]).file.display().to_string();
        let common = ["--channel", "1", "--group", GROUP];
        let receiving = [
            &["receive", "--session", &device, "--output", output],
            &common[..],
        ]
        .concat();
        // Standard output is for the payloads if it is asked for.
        let json: &[&str] = if output.starts_with('-') {
            &[]
        } else {
            &["--json"]
        };
        let receiver = sealcast(Some(lan.host(2)), path, "r", &[&receiving, json].concat());
        let sending = [
            &["send", "--json", "--node", &node, "--input", input],
            &common[..],
            more,
        ]
        .concat();
        let sender = sealcast_reading(stdin, Some(lan.host(1)), path, "s", &sending);
        sender.wait_for_key(1);
        if !json.is_empty() {
            receiver.wait_for_key(1);
        }
        // By then the certificate has come again.
        sleep(Duration::from_millis(700));
        Self {
            lan,
            _folder: folder,
            sender,
            receiver,
            _keys: keys,
        }
    }

    fn live(input: &str, output: &str) -> Self {
        Self::new(Lan::new(2), Stdio::null(), input, output, &[])
    }

    /// Sends datagrams to the input.
    fn feed(&self, to: &str, datagrams: &[Vec<u8>]) {
        feed(&self.lan.socket(1), to, datagrams, LENGTH, || {});
    }

    /// Lets what is under way arrive, and stops the receiver.
    fn stop(&mut self) {
        sleep(Duration::from_millis(500));
        self.receiver.stop();
    }
}

/// Payloads of different lengths, each with its number.
fn datagrams(count: u16) -> Vec<Vec<u8>> {
    let datagram = |number: u16| {
        let length = 1 + usize::from(number % 7) * 188 + usize::from(number % 3);
        let mut bytes = vec![7; length + 2];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        bytes
    };
    (0..count).map(datagram).collect()
}

/// Collects datagrams until none comes for two seconds.
fn collect(socket: UdpSocket) -> JoinHandle<Vec<Vec<u8>>> {
    socket
        .set_read_timeout(Some(Duration::from_secs(12)))
        .unwrap();
    thread::spawn(move || {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 65_536]);
        while let Ok(length) = socket.recv(&mut buffer) {
            all.push(buffer[..length].to_vec());
            socket
                .set_read_timeout(Some(Duration::from_secs(2)))
                .unwrap();
        }
        all
    })
}

/// A socket on host 2 for an output, and its port.
fn sink(lan: &Lan) -> (UdpSocket, u16) {
    let socket = lan.socket(2);
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// MD-01, MD-07: any datagrams cross as they are, each in one piece, from a group as from an address.
#[test]
fn udp_in_and_udp_out() {
    if !can_run(&["ip"]) {
        return;
    }
    for input in ["239.9.9.9:1234", "10.77.0.1:1234"] {
        let lan = Lan::new(2);
        let (socket, port) = sink(&lan);
        let output = format!("udp://127.0.0.1:{port}");
        let mut chain = Chain::new(lan, Stdio::null(), &format!("udp://{input}"), &output, &[]);
        let collected = collect(socket);
        let sent = datagrams(600);
        chain.feed(input, &sent);
        chain.stop();
        let got = collected.join().unwrap();
        assert!(
            got == sent,
            "{input}: {} of {} datagrams",
            got.len(),
            sent.len()
        );
    }
}

/// What is no RTP gets a header on its way out to rtp://.
#[test]
fn udp_in_and_rtp_out() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let lan = Lan::new(2);
    let (socket, port) = sink(&lan);
    let output = format!("rtp://127.0.0.1:{port}");
    let mut chain = Chain::new(lan, Stdio::null(), "udp://239.9.9.9:1234", &output, &[]);
    let collected = collect(socket);
    let bytes = fs::read(ts(8)).unwrap();
    let payloads: Vec<_> = bytes.chunks(1316).take(700).map(<[u8]>::to_vec).collect();
    chain.feed("239.9.9.9:1234", &payloads);
    chain.stop();
    let got = collected.join().unwrap();
    assert_eq!(got.len(), payloads.len());
    let sequence = |packet: &[u8]| u16::from_be_bytes(*packet[2..].first_chunk().unwrap());
    for (packet, payload) in got.iter().zip(&payloads) {
        assert_eq!(&packet[..2], &[0x80, 33]);
        assert!(packet[12..] == payload[..]);
    }
    for pair in got.windows(2) {
        assert_eq!(sequence(&pair[1]), sequence(&pair[0]).wrapping_add(1));
        assert_eq!(pair[0][8..12], pair[1][8..12], "one source");
    }
}

/// RTP headers are taken off before sealing; what is no RTP is counted; standard output has the payloads and nothing else.
#[test]
fn rtp_in_without_headers_and_standard_output() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let mut chain = Chain::live("rtp://239.9.9.9:1234?header=strip", "-");
    let bytes = fs::read(ts(8)).unwrap();
    let bytes = &bytes[..1316 * 700];
    let mut packets = rtp_packets(bytes, 5);
    packets.insert(3, b"no rtp".to_vec());
    chain.feed("239.9.9.9:1234", &packets);
    chain.stop();
    assert_same("standard output", bytes, &chain.receiver.written());
    let malformed = |channel: &serde_json::Value| channel["input_malformed"] == 1;
    chain
        .sender
        .wait_until(1, Duration::from_secs(2), "counting", malformed);
}

/// RTP headers cross the channel and are taken off at a file.
#[test]
fn a_capture_in_and_a_file_without_headers() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(ts(8)).unwrap();
    let bytes = &bytes[..1316 * 700];
    let (capture, out) = (folder.path().join("in.pcap"), folder.path().join("out.ts"));
    let mut packets = rtp_packets(bytes, 5);
    // Of another port: not taken.
    packets.insert(100, b"other".to_vec());
    fs::write(&capture, pcap(&packets)).unwrap();
    let input = format!("pcap:{}?dst=239.9.9.9:1234", capture.display());
    let output = format!("file:{}?header=strip", out.display());
    let more = ["--start-delay", "1500ms"];
    let mut chain = Chain::new(Lan::new(2), Stdio::null(), &input, &output, &more);
    assert!(
        chain.sender.wait(Duration::from_secs(20)).success(),
        "{}",
        chain.sender.errors()
    );
    chain.stop();
    assert_clean("r", &chain.receiver.channel(1));
    assert_same("out.ts", bytes, &fs::read(&out).unwrap());
}

/// A capture of raw IP: the packets, 2 ms apart, to 239.9.9.9:1234; those of 5 bytes to another port.
fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let mut file = words(&[0xA1B2_C3D4, 0x0004_0002, 0, 0, 65_535, 101]);
    for (packet, index) in packets.iter().zip(0_u32..) {
        let length = u16::try_from(packet.len()).unwrap();
        let [total, udp] = [length + 28, length + 8].map(u16::to_be_bytes);
        let port = if packet.len() == 5 { 1235_u16 } else { 1234 };
        let ip = [
            &[0x45, 0][..],
            &total,
            &[0, 0, 0, 0, 9, 17, 0, 0, 10, 0, 0, 1, 239, 9, 9, 9],
        ]
        .concat();
        let frame = [&ip[..], &[0, 9], &port.to_be_bytes(), &udp, &[0, 0], packet].concat();
        let captured = u32::try_from(frame.len()).unwrap();
        file.extend(words(&[
            100 + index / 500,
            index % 500 * 2000,
            captured,
            captured,
        ]));
        file.extend(frame);
    }
    file
}

/// A pipe from another program: its end is the channel's.
#[test]
fn standard_input_in_and_a_file_out() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.ts").display().to_string();
    let mut chain = Chain::new(Lan::new(2), Stdio::piped(), "-", &out, &[]);
    let bytes = fs::read(ts(8)).unwrap();
    let bytes = &bytes[..1316 * 700 + 500];
    let mut stdin = chain.sender.stdin();
    for payload in bytes.chunks(4000) {
        stdin.write_all(payload).unwrap();
        sleep(Duration::from_millis(5));
    }
    drop(stdin);
    assert!(
        chain.sender.wait(Duration::from_secs(10)).success(),
        "{}",
        chain.sender.errors()
    );
    chain.stop();
    assert_same("out.ts", bytes, &fs::read(&out).unwrap());
}

/// A payload that is longer than the path takes is told once, counted and dropped; everything else goes on.
#[test]
fn a_payload_over_the_mtu_is_told_and_the_rest_goes_on() {
    if !can_run(&["ip"]) {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("out").display().to_string();
    let mut chain = Chain::live("udp://10.77.0.1:1234", &out);
    // 1500 bytes less IPv4 and UDP (28) and ours (28).
    let (fits, long) = (vec![1; 1444], vec![2; 1445]);
    let sent = [fits.clone(), long.clone(), fits, long];
    chain.feed("10.77.0.1:1234", &sent);
    let counted = |channel: &serde_json::Value| channel["oversize"] == 2;
    chain
        .sender
        .wait_until(1, Duration::from_secs(5), "counting", counted);
    chain.stop();
    assert_eq!(fs::read(&out).unwrap(), [1; 2 * 1444]);
    let errors = chain.sender.errors();
    assert_eq!(errors.matches("1444").count(), 1, "told once: {errors}");
    assert!(
        errors.contains("1445") && errors.contains("MTU"),
        "{errors}"
    );
}

/// The demo proves itself, and nothing in it needs a privilege.
#[test]
fn the_demo_runs_without_root() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let binary = folder.path().join("sealcast");
    fs::copy(env!("CARGO_BIN_EXE_sealcast"), &binary).unwrap();
    let mut command = Command::new(&binary);
    if rustix::process::getuid().is_root() {
        assert!(has("setpriv"), "setpriv is missing (Debian: util-linux)");
        command = Command::new("setpriv");
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--",
        ]);
        command.arg(&binary);
    }
    let output = command
        .arg("demo")
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("PROVED"),
        "{text}\n{errors}"
    );
}
