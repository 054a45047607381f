//! Metering of a key service: what master and slaves gave and what a delivery server sent is in the store, once (MD-33, MD-34).

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::keyserver::{FAST, KeyServer, receiver, sender};
use crate::net::{Lan, can_run};
use crate::operations::get;
use crate::slaves::Slave;
use crate::streams::assert_clean;

const GROUP: [&str; 1] = ["udp://239.1.1.1:5000?ttl=4"];

/// Answers with keys that the master's doors have given.
fn granted(lan: &Lan) -> u64 {
    let at = "10.77.0.1:9100".parse().unwrap();
    let text = lan.enter(1, || get(at, "/metrics"));
    let name = "sealcast_door_requests_total{outcome=\"granted\"} ";
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.map_or(0, |value| value.parse().unwrap())
}

fn totals(keys: &KeyServer, more: &[&str]) -> Value {
    keys.admin(&[&["usage", "totals"], more].concat())
}

/// The totals, as soon as they say so many answers.
fn settled(keys: &KeyServer, answers: u64) -> Value {
    let start = Instant::now();
    loop {
        let totals = totals(keys, &[]);
        if totals["answers"] == answers {
            return totals;
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{answers} answers were given, {totals} are counted: {}",
            keys.admin(&["usage", "runs"])
        );
        sleep(Duration::from_millis(200));
    }
}

/// One line of JSON for each row; together they are the totals.
fn rows_hold_every_key(keys: &KeyServer, all: &Value) {
    let identity = keys.data().join("admin.json").display().to_string();
    let args = [
        "admin",
        "--json",
        "--identity",
        &identity,
        "usage",
        "rows",
        "--channel",
        "1",
    ];
    let (status, out, errors) = keys.run(&args);
    assert_eq!(status, 0, "{errors}");
    let rows: Vec<Value> = out
        .lines()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect();
    let sum = |of: &dyn Fn(&Value) -> u64| rows.iter().map(of).sum::<u64>();
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
    let keys = sum(&|row| number(row, "last_epoch") - number(row, "first_epoch") + 1);
    assert_eq!(all["keys"], keys, "{rows:?}");
    for name in ["requests", "answers", "bytes"] {
        assert_eq!(all[name], sum(&|row| number(row, name)), "{name}: {rows:?}");
    }
    assert!(rows.iter().any(|row| row["first_epoch"] == 1), "{rows:?}");
}

fn start(lan: &Lan, folder: &Path) -> KeyServer {
    let more = [
        "--start-wait",
        "300ms",
        "--metrics",
        "10.77.0.1:9100",
        "--usage-interval",
        "1s",
    ];
    let server = KeyServer::start(Some((lan, 1)), folder, &more);
    server.admin(&[&["channel", "add", "1"], &FAST[..]].concat());
    server
}

/// MD-33, MD-34, INT-03, INT-05: while nothing dies, every answer, key and byte is in the totals; what a slave had counted and not yet
/// carried when it was killed comes when it runs again, and nothing comes twice.
#[test]
fn md_33_md_34_what_the_key_service_gave_is_what_the_master_counts() {
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(6), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let mut server = start(&lan, folder);
    let interval = ["--usage-interval", "1s"];
    let one = Slave::start_with(&lan, folder, &server, (1, 2), &[1], &interval);
    // Behind slave 1 only: its counts must come through there.
    let mut two = Slave::start_with(&lan, folder, &server, (2, 3), &[2], &interval);
    for slave in [&one, &two] {
        slave.until(&lan, "sealcast_slave_leased", 1);
    }
    let mut receivers = [5, 6].map(|host| {
        let name = format!("r{host}");
        receiver(&lan, host, folder, &name, &server, &GROUP, &[])
    });
    let sent = folder.join("sent").display().to_string();
    let usage = [
        "--usage-dir",
        &sent,
        "--usage-ship",
        "--usage-interval",
        "1s",
    ];
    let input = [
        "--input",
        "gen:?rate=2M&seconds=9&seed=3",
        "--start-delay",
        "1500ms",
    ];
    let more = [&input[..], &usage].concat();
    let mut sender = sender(&lan, 4, folder, "s", (&server, 1), &GROUP, &more);
    let status = sender.wait(Duration::from_secs(40));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(700));
    for receiver in &mut receivers {
        receiver.stop();
        assert_clean("receiver", &receiver.channel(1));
    }
    let given = granted(&lan) + one.granted(&lan) + two.granted(&lan);
    let all = settled(&server, given);
    assert!(
        all["requests"].as_u64() <= Some(given) && all["requests"].as_u64() > Some(10),
        "{all}"
    );
    let bytes = sender.channel(1)["bytes"].as_u64().unwrap();
    assert_eq!(
        all["bytes"],
        2 * bytes,
        "each of two devices had every key: {all}"
    );
    assert_eq!(all["subscriptions"], 2, "{all}");
    rows_hold_every_key(&server, &all);
    let left = std::fs::read_dir(&sent).unwrap().count();
    assert_eq!(left, 0, "the delivery server's files are where they count");
    let none = totals(&server, &["--until", "2020-01-01T00:00:00Z"]);
    assert_eq!(none["requests"], 0, "{none}");

    // Slave 1 is away, so what slave 2 gives waits there; then slave 2 dies, and the master, too.
    one.program.signal(Signal::STOP);
    let before = two.granted(&lan);
    let mut late = receiver(&lan, 5, folder, "late", &server, &GROUP, &[]);
    let again = ["--input", "gen:?rate=2M&seconds=6&seed=4"];
    let mut sender = crate::keyserver::sender(&lan, 4, folder, "s2", (&server, 1), &GROUP, &again);
    sender.wait(Duration::from_secs(40));
    late.stop();
    let (given, by_two) = (granted(&lan), two.granted(&lan) - before);
    two.kill();
    one.program.signal(Signal::CONT);
    server.kill();
    two.start_again(&lan);
    server.start_again();
    for slave in [&one, &two] {
        slave.until(&lan, "sealcast_slave_leased", 1);
    }
    sleep(Duration::from_secs(4));
    let counted = totals(&server, &[])["answers"].as_u64().unwrap();
    let first = all["answers"].as_u64().unwrap();
    assert!(counted >= first, "what was counted stays counted");
    assert!(
        counted <= given + one.granted(&lan) + before + by_two,
        "{counted} of {given} + {before} + {by_two}"
    );
    for slave in ["slave-1", "slave-2"] {
        let waiting = folder.join(format!("{slave}-data/usage"));
        let waiting = std::fs::read_dir(waiting).unwrap().count();
        assert_eq!(
            waiting, 0,
            "{slave} has carried what the killed one had counted"
        );
    }
    let runs = server.admin(&["usage", "runs"]);
    let runs = runs.as_array().unwrap();
    assert!(runs.iter().all(|run| run["missing"] == 0), "{runs:?}");
}
