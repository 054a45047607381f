//! The programs as services: what systemd gives and is told, certificates that renew themselves, a disk that fills up while
//! a stream runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::keyserver::{KeyServer, receiver, sender};
use crate::net::{Lan, can_run};
use crate::operations::get;
use crate::operators::SmallDisk;
use crate::process::{Program, sealcast_at};
use crate::streams::assert_clean;

const GROUP: [&str; 1] = ["udp://239.1.1.1:5000?ttl=4"];

/// What a service says to systemd.
struct Notices(UnixDatagram);

impl Notices {
    fn bind(at: &Path) -> Self {
        let socket = UnixDatagram::bind(at).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        Self(socket)
    }

    /// The next one, at the latest after `limit`.
    fn next(&self, limit: Duration) -> Option<String> {
        let (start, mut buffer) = (Instant::now(), [0; 256]);
        while start.elapsed() < limit {
            if let Ok(length) = self.0.recv(&mut buffer) {
                return Some(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        }
        None
    }
}

/// The master key as a credential; READY when it runs, WATCHDOG while it works, STOPPING at its end (SEC-14).
#[test]
fn systemd_gives_the_master_key_and_is_told_how_the_server_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut server = KeyServer::start(None, path, &[]);
    server.channel(1, &[]);
    server.kill();
    let credentials = path.join("credentials");
    fs::create_dir(&credentials).unwrap();
    let key = credentials.join("master-key");
    fs::rename(server.data().join("master.key"), &key).unwrap();
    // As systemd lays it down.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o440)).unwrap();
    let at = path.join("notify");
    let notices = Notices::bind(&at);
    let variables = [
        format!("CREDENTIALS_DIRECTORY={}", credentials.display()),
        format!("NOTIFY_SOCKET={}", at.display()),
        "WATCHDOG_USEC=10000000".to_owned(),
    ];
    server.start_again_in(&variables);
    let long = Duration::from_secs(5);
    assert_eq!(notices.next(long).as_deref(), Some("READY=1\n"));
    assert_eq!(server.admin(&["channel", "list"])[0]["id"], 1);
    for _ in 0..2 {
        assert_eq!(notices.next(long).as_deref(), Some("WATCHDOG=1\n"));
    }
    server.program.stop();
    let last = std::iter::from_fn(|| notices.next(Duration::from_millis(200))).last();
    assert_eq!(last.as_deref(), Some("STOPPING=1\n"));
    assert!(!server.data().join("master.key").exists());
}

fn until(identity: &Path) -> String {
    let text = fs::read_to_string(identity).unwrap();
    let identity: Value = serde_json::from_str(&text).unwrap();
    identity["until"].as_str().unwrap().to_owned()
}

/// SEC-02: 65 days later delivery server and device renew their certificates by themselves and keep them; 35 days after that
/// the first ones would have expired, and everything works.
#[test]
fn certificates_renew_themselves() {
    if !can_run(&["ip", "faketime"]) {
        return;
    }
    let (lan, folder) = (Lan::new(3), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let mut server = KeyServer::start(Some((&lan, 1)), folder, &["--start-wait", "300ms"]);
    server.channel(1, &[]);
    let (node, device) = (server.node(1), server.device("r", &[1]).file);
    let first = [until(&node), until(&device)];
    let run = |clock, host, name: &str, words: &[&str]| -> Program {
        let args = [words, &["--json", "--channel", "1", "--group", GROUP[0]]].concat();
        sealcast_at(clock, Some(lan.host(host)), folder, name, &args)
    };
    let (node_file, device_file) = (node.display().to_string(), device.display().to_string());
    for (clock, renews) in [("+65d", true), ("+100d", false)] {
        server.kill();
        server.start_again_at(clock);
        let output = folder.join("r.ts").display().to_string();
        let receive = ["receive", "--session", &device_file, "--output", &output];
        let mut receiver = run(Some(clock), 2, &format!("r{clock}"), &receive);
        let input = "gen:?rate=1M&seconds=4&seed=3";
        let send = ["send", "--node", &node_file, "--input", input];
        let more = [&send[..], &["--start-delay", "1500ms"]].concat();
        let mut stream = run(Some(clock), 3, &format!("s{clock}"), &more);
        let status = stream.wait(Duration::from_secs(30));
        assert!(status.success(), "{clock}: {}", stream.errors());
        sleep(Duration::from_millis(500));
        receiver.stop();
        assert_clean(clock, &receiver.channel(1));
        let packets = |program: &Program| program.channel(1)["packets"].clone();
        assert_eq!(packets(&receiver), packets(&stream), "{clock}");
        for program in [&stream, &receiver] {
            let said = program.errors();
            assert_eq!(said.contains("certificate renewed"), renews, "{said}");
        }
    }
    let last = [until(&node), until(&device)];
    assert!(
        last[0] > first[0] && last[1] > first[1],
        "{first:?} {last:?}"
    );
}

/// A disk that fills up while a stream runs: keys do not change, delivery servers hold, nobody loses a packet, and it goes on by
/// itself once there is room (MD-39).
#[test]
fn a_disk_that_is_full_for_a_while_costs_no_packet() {
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(3), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let disk = SmallDisk::new(&folder.join("data"));
    let more = ["--start-wait", "300ms", "--metrics", "127.0.0.1:9100"];
    let server = KeyServer::start(Some((&lan, 1)), folder, &more);
    server.channel(1, &[]);
    let metric = |name: &str| {
        let text = lan.enter(1, || get(([127, 0, 0, 1], 9100).into(), "/metrics"));
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_default()
            .rsplit(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    let mut receiver = receiver(&lan, 2, folder, "r", &server, &GROUP, &[]);
    let input = [
        "--input",
        "gen:?rate=1M&seconds=20&seed=4",
        "--start-delay",
        "1s",
    ];
    let mut stream = sender(&lan, 3, folder, "s", (&server, 1), &GROUP, &input);
    let second = |seconds| Duration::from_secs(seconds);
    let epoch = |channel: &Value| channel["keys"]["epoch"].as_u64();
    stream.wait_until(1, second(10), "under its second epoch", |channel| {
        epoch(channel) >= Some(2)
    });
    let filler = folder.join("data/filler");
    let start = Instant::now();
    while metric("sealcast_store_fails") != "1" {
        // Until not a page more fits; the log of the store may have a few left.
        let _ = fs::write(&filler, vec![7; 4 << 20]);
        assert!(start.elapsed() < second(10), "{}", server.program.errors());
        sleep(Duration::from_millis(100));
    }
    assert!(server.program.errors().contains("ALARM"));
    let held = stream.wait_until(1, second(5), "holding", |channel| {
        channel["keys"]["remaining_ms"] == 0
    });
    sleep(second(2));
    assert_eq!(epoch(&stream.channel(1)), epoch(&held), "no key changes");
    fs::remove_file(&filler).unwrap();
    stream.wait_until(1, second(5), "under a later epoch", |channel| {
        epoch(channel) > epoch(&held).map(|epoch| epoch + 2)
    });
    assert_eq!(metric("sealcast_store_fails"), "0");
    let status = stream.wait(second(40));
    assert!(status.success(), "{}", stream.errors());
    sleep(Duration::from_millis(500));
    receiver.stop();
    assert_clean("r", &receiver.channel(1));
    assert_eq!(receiver.channel(1)["packets"], stream.channel(1)["packets"]);
    drop((server, disk));
}
