//! Reload, metrics, key log, mode of the socket.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::keyserver::{KeyServer, keys, receiver, sender};
use crate::net::{Lan, can_run};
use crate::process::sealcast;
use crate::sample::assert_same;

pub fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).expect("the endpoint answers");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A reload takes one channel away and adds another; the one that did not change loses nothing.
#[test]
fn reload_does_not_touch_running_channels() {
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let keys = KeyServer::start(Some((&lan, 1)), folder, &["--start-wait", "300ms"]);
    for id in 1..=3 {
        keys.channel(id, &[]);
    }
    let node = keys.node(1).display().to_string();
    let device = keys.device("r", &[1, 2, 3]).file.display().to_string();
    let port = free_port();
    let channel = |id: u16, kind: &str| {
        let io = if kind == "send" {
            "input = \"gen:?rate=2M&seconds=10&seed=5\"\nstart_delay = \"1s\"".to_owned()
        } else {
            format!("output = \"{}\"", folder.join(format!("{id}.ts")).display())
        };
        format!("[[channel]]\nid = {id}\ngroups = [\"udp://239.1.1.{id}:5000?ttl=4\"]\n{io}\n")
    };
    let file = |kind: &str, ids: &[u16]| {
        let identity = if kind == "receive" {
            format!("session = \"{device}\"\nmetrics = \"127.0.0.1:{port}\"\n")
        } else {
            format!("node = \"{node}\"\n")
        };
        let channels: String = ids.iter().map(|&id| channel(id, kind)).collect();
        let path = folder.join(format!("{kind}.toml"));
        fs::write(&path, format!("{identity}{channels}")).unwrap();
        path.display().to_string()
    };
    let config = file("receive", &[1, 2]);
    let mut receiver = sealcast(
        Some(lan.host(2)),
        folder,
        "r",
        &["receive", "--json", "--config", &config],
    );
    let config = file("send", &[1, 2]);
    let mut sender = sealcast(
        Some(lan.host(1)),
        folder,
        "s",
        &["send", "--json", "--config", &config],
    );
    receiver.wait_until(1, Duration::from_secs(20), "receiving", |channel| {
        channel["packets"].as_u64() > Some(50)
    });
    let metrics = lan.enter(2, || {
        get(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), "/metrics")
    });
    for line in [
        "sealcast_delivered_packets_total{channel=\"2\"}",
        "sealcast_discarded_total{channel=\"1\",cause=\"bad_tag\"} 0",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    let ready = lan.enter(2, || {
        get(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), "/readyz")
    });
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    // A wrong file changes nothing; then 2 goes and 3 comes, at both ends.
    fs::write(folder.join("receive.toml"), "unknown = 1").unwrap();
    receiver.signal(Signal::HUP);
    sleep(Duration::from_millis(300));
    assert!(
        receiver.errors().contains("reload refused"),
        "{}",
        receiver.errors()
    );
    file("receive", &[1, 3]);
    file("send", &[1, 3]);
    receiver.signal(Signal::HUP);
    sender.signal(Signal::HUP);
    receiver.wait_until(
        3,
        Duration::from_secs(10),
        "receiving the new channel",
        |channel| channel["packets"].as_u64() > Some(50),
    );
    sender.wait_until(1, Duration::from_secs(20), "at the end", |channel| {
        channel["finished"] == true
    });
    sleep(Duration::from_millis(500));
    receiver.stop();
    sender.stop();
    assert!(receiver.channel(2).is_null(), "channel 2 is gone");
    let one = receiver.channel(1);
    assert_eq!(
        (&one["lost"], &one["continuity_errors"]),
        (&0.into(), &0.into()),
        "{one}"
    );
    assert_eq!(
        fs::read(folder.join("1.ts")).unwrap().len(),
        usize::try_from(one["bytes"].as_u64().unwrap()).unwrap()
    );
    assert_eq!(
        one["bytes"],
        sender.channel(1)["bytes"],
        "all of it arrived"
    );
}

/// The key server's own endpoints tell the truth, and TERM ends it well with everything kept.
#[test]
fn the_key_server_says_how_it_is_and_stops_well() {
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(2), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let more = ["--start-wait", "1500ms", "--metrics", "127.0.0.1:9100"];
    let mut server = KeyServer::start(Some((&lan, 1)), folder, &more);
    let ask = |path: &str| lan.enter(1, || get(([127, 0, 0, 1], 9100).into(), path));
    let early = ask("/readyz");
    assert!(
        early.starts_with("HTTP/1.1 503") && early.contains("collects reports"),
        "{early}"
    );
    assert!(ask("/livez").starts_with("HTTP/1.1 200"));
    server.channel(1, &[]);
    let input = "gen:?rate=1M&seconds=4&seed=1";
    let group = ["udp://239.1.1.1:5000?ttl=4"];
    let mut stream = sender(
        &lan,
        2,
        folder,
        "s",
        (&server, 1),
        &group,
        &["--input", input],
    );
    let status = stream.wait(Duration::from_secs(20));
    assert!(status.success(), "{}", stream.errors());
    assert!(
        ask("/readyz").starts_with("HTTP/1.1 200"),
        "{}",
        ask("/readyz")
    );
    let metrics = ask("/metrics");
    for line in [
        "sealcast_leading 1",
        "sealcast_store_fails 0",
        "sealcast_root_held{channel=\"1\"} 1",
        "sealcast_server_linked{channel=\"1\",server=\"1\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    // MD-33: the volume that a delivery server reports.
    let sent = stream.channel(1)["packets"].as_u64().unwrap();
    let status = server.admin(&["epoch", "status"]);
    let reported = &status["channels"][0]["servers"][0]["packets"];
    let reported = reported.as_u64().unwrap();
    assert!(
        reported <= sent && reported + sent / 2 > sent,
        "{reported} of {sent} packets are reported"
    );
    server.program.stop();
    assert!(
        server.program.errors().contains("stopped"),
        "{}",
        server.program.errors()
    );
    server.start_again();
    let channels = server.admin(&["channel", "list"]);
    assert_eq!(channels[0]["id"], 1, "{channels}");
    // A new life: what was in use was stored, and its number is not used again.
    let known = server.admin(&["status"]);
    assert!(known["store_written"].is_string(), "{known}");
}

/// SEC-07 and design 3: a capture is decrypted with an independent SFrame implementation and the key log.
#[test]
fn a_capture_opens_with_the_key_log_and_another_library() {
    use sframe::CipherSuite;
    use sframe::frame::EncryptedFrameView;
    use sframe::key::DecryptionKey;
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(3), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let group = ["udp://239.1.1.1:5000?ttl=4"];
    let keys = keys(&lan, folder);
    let log = folder.join("keys.log");
    let keylog = ["--keylog", log.to_str().unwrap()];
    let mut receiver = receiver(&lan, 2, folder, "r", &keys, &group, &keylog);
    let input = [
        "--input",
        "gen:?rate=2M&seconds=4&seed=9",
        "--start-delay",
        "1s",
    ];
    let capture = lan.enter(3, || {
        let socket = UdpSocket::bind("239.1.1.1:5000").unwrap();
        socket
            .join_multicast_v4(&Ipv4Addr::new(239, 1, 1, 1), &Ipv4Addr::UNSPECIFIED)
            .unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        socket
    });
    let mut sender = sender(&lan, 1, folder, "s", (&keys, 1), &group, &input);
    let mut packets = Vec::new();
    let (mut buffer, start) = ([0; 2048], Instant::now());
    let mut status = None;
    while status.is_none() && start.elapsed() < Duration::from_secs(30) {
        while let Ok(length) = capture.recv(&mut buffer) {
            if buffer[0] == 0xDC {
                packets.push(buffer[..length].to_vec());
            }
        }
        status = (sender.channel(1)["finished"] == true).then_some(());
    }
    assert!(
        sender.wait(Duration::from_secs(10)).success(),
        "{}",
        sender.errors()
    );
    sleep(Duration::from_millis(300));
    receiver.stop();
    let text = fs::read_to_string(&log).unwrap();
    let roots: Vec<(u64, Vec<u8>)> = text
        .lines()
        .map(|line| {
            let (kid, root) = line.split_once(' ').expect("two fields");
            assert_eq!((kid.len(), root.len()), (10, 64), "{line}");
            let bytes = (0..32)
                .map(|at| u8::from_str_radix(&root[2 * at..2 * at + 2], 16).unwrap())
                .collect();
            (u64::from_str_radix(kid, 16).unwrap(), bytes)
        })
        .collect();
    assert!(roots.len() >= 4, "{text}");
    let mut content = Vec::new();
    for packet in &packets {
        let kid = packet[1..7]
            .iter()
            .fold(0_u64, |kid, &byte| kid << 8 | u64::from(byte));
        let (_, root) = roots
            .iter()
            .find(|(low, _)| *low == kid & 0xFF_FFFF_FFFF)
            .expect("the key is in the log");
        let key = DecryptionKey::derive_from(CipherSuite::AesGcm256Sha512, kid, root).unwrap();
        let frame = EncryptedFrameView::try_new(packet.as_slice()).unwrap();
        content.extend_from_slice(frame.decrypt(&key).unwrap().payload());
    }
    assert_same("capture", &fs::read(folder.join("r.ts")).unwrap(), &content);
}
