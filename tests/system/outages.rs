//! The key server killed, restored from an old copy, away for long.

use std::collections::HashSet;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use crate::keyserver::{KeyServer, keys, keys_of, receiver, sender};
use crate::net::{Lan, can_run};
use crate::operations::get;
use crate::process::Program;
use crate::sample::{assert_same, assert_tail, ts};
use crate::streams::assert_clean;

const GROUP: [&str; 1] = ["udp://239.1.1.1:5000?ttl=4"];

/// Everything that goes over the group: key id and packet number of every packet, each once.
struct Sniffer {
    stop: std::sync::Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<(HashSet<[u8; 12]>, u64)>>,
}

impl Sniffer {
    fn start(lan: &Lan, host: usize) -> Self {
        let socket = lan.enter(host, || {
            let socket = UdpSocket::bind("239.1.1.1:5000").unwrap();
            let group = [239, 1, 1, 1].into();
            socket
                .join_multicast_v4(&group, &[0, 0, 0, 0].into())
                .unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            socket
        });
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut seen, mut doubled, mut buffer) = (HashSet::new(), 0, [0; 2048]);
            while !stopped.load(Ordering::Relaxed) {
                // The header is key id and packet number.
                if let Ok(12..) = socket.recv(&mut buffer)
                    && buffer[0] == 0xDC
                    && !seen.insert(buffer[..12].try_into().unwrap())
                {
                    doubled += 1;
                }
            }
            (seen, doubled)
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// How many packets; none had the key id and number of another (SEC-06).
    fn assert_no_number_came_twice(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let (seen, doubled) = self.thread.take().unwrap().join().unwrap();
        assert_eq!(doubled, 0, "a key id and packet number came twice");
        seen.len()
    }
}

/// No key id stands in a key log with two keys.
fn assert_one_root_per_number(log: &Path) {
    let text = fs::read_to_string(log).unwrap();
    let mut known = std::collections::BTreeMap::new();
    for line in text.lines() {
        let (kid, root) = line.split_once(' ').expect("two fields");
        let before = known.insert(kid, root);
        assert!(
            before.is_none_or(|before| before == root),
            "{kid} has two roots"
        );
    }
    assert!(known.len() > 5, "{} keys", known.len());
}

/// SEC-14: no root of the key log stands in a file of the store, or in a usage file.
fn assert_sealed_at_rest(server: &KeyServer, log: &Path) {
    let folders = [server.data(), server.data().join("usage")];
    let files = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = files.map(|file| file.unwrap().path());
    let files: Vec<u8> = files
        .filter(|path| path.is_file())
        .flat_map(|path| fs::read(path).unwrap())
        .collect();
    assert!(files.len() > 50_000, "{} bytes", files.len());
    for line in fs::read_to_string(log).unwrap().lines() {
        let (_, hex) = line.split_once(' ').unwrap();
        let root: Vec<u8> = (0..32)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let clear = files.windows(32).any(|bytes| bytes == root);
        assert!(!clear, "a root stands in the store in clear: {hex}");
    }
}

/// Starts sender and receiver of a TS of `seconds`, the receiver with a key log.
fn stream(
    lan: &Lan,
    folder: &Path,
    keys: &KeyServer,
    seconds: u32,
) -> (Program, Program, std::path::PathBuf) {
    let log = folder.join("roots.log");
    let keylog = ["--keylog", log.to_str().unwrap()];
    let receiver = receiver(lan, 2, folder, "r", keys, &GROUP, &keylog);
    let input = ts(seconds).display().to_string();
    let more = ["--input", &input, "--start-delay", "1500ms"];
    let sender = sender(lan, 3, folder, "s", (keys, 1), &GROUP, &more);
    receiver.wait_for_key(1);
    (sender, receiver, log)
}

/// SEC-04, SEC-06, SEC-19, MD-40: kill -9 of the key server 20 times at random moments while operators add accounts: what was acknowledged is
/// there once, what got no answer is asked again and done once, the audit log is whole, nothing is used twice, the stream goes on.
#[test]
fn twenty_kills_lose_nothing_that_was_acknowledged() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let (lan, folder) = (Lan::new(4), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let mut server = keys(&lan, folder);
    let sniffer = Sniffer::start(&lan, 4);
    let (mut sender, mut receiver, log) = stream(&lan, folder, &server, 40);
    let seed = std::env::var("SEALCAST_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (acknowledged, unanswered) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let add = |server: &KeyServer, name: &str| {
        server.try_admin(&["--idempotency-key", name, "account", "add", name])
    };
    let taken = |account: &Value| {
        let id = account["id"].as_str().unwrap().to_owned();
        acknowledged.lock().unwrap().push(id);
    };
    let (status, head, errors) =
        server.run(&["admin", "--identity", &server.operator(), "audit", "head"]);
    assert_eq!(status, 0, "{errors}");
    let kept = folder.join("head.json");
    fs::write(&kept, head).unwrap();
    for kill in 0..20 {
        let done = AtomicBool::new(false);
        let pause = Duration::from_millis(rng.random_range(150..1200));
        std::thread::scope(|scope| {
            // Two operators at once, until the server dies under them.
            for operator in 0..2 {
                let (server, unanswered, done) = (&server, &unanswered, &done);
                let (add, taken) = (&add, &taken);
                scope.spawn(move || {
                    for number in 0..1000 {
                        let name = format!("{kill}-{operator}-{number}");
                        match add(server, &name) {
                            Ok(account) => taken(&account),
                            Err(_) => unanswered.lock().unwrap().push(name),
                        }
                        if done.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                });
            }
            sleep(pause);
            server.program.signal(rustix::process::Signal::KILL);
            done.store(true, Ordering::Relaxed);
        });
        server.program.wait(Duration::from_secs(10));
        server.start_again();
        for name in std::mem::take(&mut *unanswered.lock().unwrap()) {
            taken(&add(&server, &name).unwrap());
        }
        let there = server.accounts();
        let texts = |field: &str| -> HashSet<_> {
            let text = |account: &Value| account[field].as_str().unwrap().to_owned();
            there.iter().map(text).collect()
        };
        assert_eq!(
            texts("name").len(),
            there.len(),
            "kill {kill}: one was done twice"
        );
        let there = texts("id");
        let lost: Vec<_> = acknowledged
            .lock()
            .unwrap()
            .iter()
            .filter(|id| !there.contains(*id))
            .cloned()
            .collect();
        assert!(lost.is_empty(), "kill {kill}: {lost:?} are gone");
        assert!(
            !server.program.errors().contains("old copy"),
            "a crash is no old copy: {}",
            server.program.errors()
        );
    }
    let count = acknowledged.lock().unwrap().len();
    assert!(count > 40, "only {count} commands were acknowledged");
    // While the server runs: each account is one entry of the log, which goes on from the head of the beginning.
    let data = server.data().display().to_string();
    let head = kept.display().to_string();
    let (status, found, errors) =
        server.run(&["audit", "verify", "--data", &data, "--head", &head]);
    assert_eq!(status, 0, "{errors}");
    assert!(found.contains("kept heads in the log: 1"), "{found}");
    let export = folder.join("log.jsonl").display().to_string();
    let export_args = [
        "admin",
        "--identity",
        &server.operator(),
        "audit",
        "export",
        "--out",
        &export,
    ];
    assert_eq!(server.run(&export_args).0, 0);
    let lines = fs::read_to_string(&export).unwrap();
    let added = lines.matches("\"account.add\"").count();
    assert_eq!(added, acknowledged.lock().unwrap().len());
    let verify = ["audit", "verify", "--export", &export, "--head", &head];
    assert_eq!(server.run(&verify).0, 0);
    // One word of it is another one.
    fs::write(&export, lines.replacen("account.add", "account.axe", 1)).unwrap();
    let (status, _, errors) = server.run(&verify);
    assert_eq!(status, 1);
    assert!(errors.contains("was changed"), "{errors}");
    let status = sender.wait(Duration::from_secs(60));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(700));
    receiver.stop();
    assert_clean("r", &receiver.channel(1));
    let (sent, got) = (fs::read(ts(40)).unwrap(), folder.join("r.ts"));
    assert_same("r", &sent, &fs::read(got).unwrap());
    assert_eq!(sender.channel(1)["not_sent"], 0, "{}", sender.channel(1));
    assert_one_root_per_number(&log);
    assert_sealed_at_rest(&server, &log);
    let packets = sniffer.assert_no_number_came_twice();
    println!("{count} commands acknowledged, {packets} packets, 20 kills");
}

/// SEC-06: the store is replaced by an older copy: the start says so with the time, what came later is gone, epochs go on above,
/// the stream goes on.
#[test]
fn an_old_backup_is_noticed_and_repeats_nothing() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let long = std::env::var_os("SEALCAST_LONG").is_some();
    let (age, length) = if long {
        (Duration::from_secs(60), 85)
    } else {
        (Duration::from_secs(5), 24)
    };
    let (lan, folder) = (Lan::new(4), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let mut server = keys(&lan, folder);
    let sniffer = Sniffer::start(&lan, 4);
    let (mut sender, mut receiver, log) = stream(&lan, folder, &server, length);
    sender.wait_until(1, Duration::from_secs(10), "sending", |channel| {
        channel["packets"].as_u64() > Some(100)
    });
    server.admin(&["account", "add", "before"]);
    let copy = folder.join("copy.db").display().to_string();
    let data = server.data();
    let (status, _, errors) = server.run(&["backup", "--data", data.to_str().unwrap(), &copy]);
    assert_eq!(status, 0, "{errors}");
    sleep(age);
    server.admin(&["account", "add", "after"]);
    server.kill();
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(data.join(name));
    }
    fs::copy(&copy, data.join("store.db")).unwrap();
    server.start_again();
    let start = Instant::now();
    while !server.program.errors().contains("old copy") {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{}",
            server.program.errors()
        );
        sleep(Duration::from_millis(50));
    }
    let said = server.program.errors();
    assert!(
        said.contains("last written at 20") && said.contains("is gone: do it again"),
        "the time is named: {said}"
    );
    let accounts = server.admin(&["account", "list"]).to_string();
    assert!(
        accounts.contains("before") && !accounts.contains("\"after\""),
        "{accounts}"
    );
    let status = sender.wait(Duration::from_secs(120));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(700));
    receiver.stop();
    assert_clean("r", &receiver.channel(1));
    assert_same(
        "r",
        &fs::read(ts(length)).unwrap(),
        &fs::read(folder.join("r.ts")).unwrap(),
    );
    assert_one_root_per_number(&log);
    sniffer.assert_no_number_came_twice();
}

/// MD-39, MD-40: away for eight lives of a key: everybody who has keys keeps the picture, the change comes within one life after
/// the return. Who joins meanwhile waits.
#[test]
fn eight_epochs_without_a_key_server_cost_nobody_his_picture() {
    // Who joined without a session may have been turned away just before the return: he tries again within 12 s.
    const LENGTH: u32 = 36;
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let (lan, folder) = (Lan::new(4), tempfile::tempdir().unwrap());
    let folder = folder.path();
    // A slow machine takes its time to start it again; ten lives would be near.
    let mut server = keys_of(&lan, folder, &["--hold-max", "20"]);
    let (mut sender, mut receiver_one, _) = stream(&lan, folder, &server, LENGTH);
    let waits = server.device("waits", &[1]);
    sleep(Duration::from_secs(5));
    server.kill();
    sender.wait_until(1, Duration::from_secs(4), "holding", |channel| {
        channel["holding"] == true
    });
    let mut joined = crate::keyserver::receiver_as(&lan, 4, folder, "waits", &waits, &GROUP, &[]);
    sleep(Duration::from_millis(8200));
    assert_eq!(
        receiver_one.channel(1)["keys"]["linked"],
        false,
        "an alarm: no key door answers"
    );
    let before = sender.channel(1)["switches"].as_u64().unwrap();
    server.start_again();
    let said = |words: &str, times: u64, limit: Duration| {
        let start = Instant::now();
        while sender.errors().matches(words).count() as u64 <= times {
            assert!(
                start.elapsed() < limit,
                "not {words:?} within {limit:?}: {}",
                sender.errors()
            );
            sleep(Duration::from_millis(10));
        }
    };
    // It is tried every half second and a half of that; then the change is there within one life.
    said("linked to the key server", 1, Duration::from_millis(1000));
    said("switched", before, Duration::from_millis(1000));
    let status = sender.wait(Duration::from_secs(60));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(700));
    receiver_one.stop();
    joined.stop();
    let channel = sender.channel(1);
    assert_eq!(
        (&channel["not_sent"], &channel["holds"]),
        (&0.into(), &1.into()),
        "{channel}"
    );
    let sent = fs::read(ts(LENGTH)).unwrap();
    assert_clean("r", &receiver_one.channel(1));
    assert_same("r", &sent, &fs::read(folder.join("r.ts")).unwrap());
    assert_tail("waits", &sent, &fs::read(folder.join("waits.ts")).unwrap());
}

/// MD-39: with hold_max of three lives senders stop at that moment with an alarm, and go on by themselves after the return.
#[test]
fn after_hold_max_senders_stop_and_resume_by_themselves() {
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(3), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let mut server = keys_of(&lan, folder, &["--hold-max", "3"]);
    let input = "gen:?rate=2M&seconds=18&seed=3";
    let more = [
        "--input",
        input,
        "--start-delay",
        "1s",
        "--metrics",
        "127.0.0.1:9101",
    ];
    let mut sender = sender(&lan, 3, folder, "s", (&server, 1), &GROUP, &more);
    let mut receiver = receiver(&lan, 2, folder, "r", &server, &GROUP, &[]);
    sender.wait_until(1, Duration::from_secs(10), "sending", |channel| {
        channel["packets"].as_u64() > Some(300)
    });
    server.kill();
    let moment = |words: &str, limit: Duration| {
        let start = Instant::now();
        while !sender.errors().contains(words) {
            assert!(start.elapsed() < limit, "{words}: {}", sender.errors());
            sleep(Duration::from_millis(2));
        }
        Instant::now()
    };
    let holds = moment("ALARM: holding", Duration::from_secs(3));
    let stops = moment("ALARM: stopped sending", Duration::from_secs(6));
    let metrics = || lan.enter(3, || get(([127, 0, 0, 1], 9101).into(), "/metrics"));
    // If a change was announced before, its key comes last, which ends a life later.
    let said = sender.errors();
    let (_, since) = said.split_once("ALARM: holding").unwrap();
    let lives = if since.contains("switched") { 4 } else { 3 };
    let held = (stops - holds).as_millis();
    assert!(
        (lives * 1000 - 150..lives * 1000 + 250).contains(&held),
        "{lives} lives of a second: {held} ms"
    );
    sleep(Duration::from_millis(1500));
    let stopped = sender.channel(1);
    assert!(stopped["not_sent"].as_u64() > Some(0), "{stopped}");
    let told = metrics();
    for line in [
        "sealcast_holding{channel=\"1\"} 1",
        &format!("sealcast_holds_total{{channel=\"1\"}} {}", lives - 2),
        "sealcast_linked{channel=\"1\"} 0",
    ] {
        assert!(told.contains(line), "{line} is missing in\n{told}");
    }
    let switches = stopped["switches"].as_u64();
    server.start_again();
    sender.wait_until(1, Duration::from_secs(5), "sending again", |channel| {
        channel["switches"].as_u64() > switches && channel["holding"] == false
    });
    let status = sender.wait(Duration::from_secs(40));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(700));
    receiver.stop();
    let (sent, got) = (sender.channel(1), receiver.channel(1));
    assert_eq!(sent["holding"], false, "{sent}");
    // The first packets after the return are still under the key that had expired at the receiver: it fetches it again.
    let missing = sent["packets"].as_u64().unwrap() - got["packets"].as_u64().unwrap();
    assert!(missing <= 5, "{missing} packets: {sent} {got}");
    assert_eq!(got["discards"]["bad_tag"], 0, "{got}");
}
