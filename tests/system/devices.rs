//! Many devices against real key servers: sessions made offline, and every device follows a change of key.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::keyserver::{KeyServer, receiver, sender};
use crate::net::{Lan, can_run};
use crate::process::{Program, sealcast};
use crate::slaves::Slave;
use crate::streams::assert_clean;

/// How many devices follow a change, and how long they have for it.
struct Crowd {
    devices: u32,
    /// Key times with a fetch window that leaves devices room for retries, and time to tune in before.
    times: [&'static str; 8],
    /// All tune in within this.
    within: &'static str,
    /// A slave is killed so long before the change.
    killed: &'static str,
    limit: Duration,
}

const SOME: Crowd = Crowd {
    devices: 3000,
    times: [
        "--lifetime",
        "12s",
        "--prepare-ahead",
        "6s",
        "--fetch-ahead",
        "5s",
        "--grace",
        "200ms",
    ],
    within: "1s",
    killed: "3300ms",
    limit: Duration::from_secs(45),
};

/// For two cores that devices, master and slaves share.
const MILLION: Crowd = Crowd {
    devices: 1_000_000,
    times: [
        "--lifetime",
        "260s",
        "--prepare-ahead",
        "125s",
        "--fetch-ahead",
        "120s",
        "--grace",
        "2s",
    ],
    within: "110s",
    killed: "80s",
    limit: Duration::from_secs(700),
};

const GROUP: &str = "udp://239.1.1.1:5000?ttl=4";

/// Resident memory of a slave, KiB.
fn resident(slave: &Slave) -> u64 {
    let file = format!("/proc/{}/status", slave.pid().as_raw_nonzero());
    let status = fs::read_to_string(file).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A change of key is announced only where somebody sends.
fn sends(lan: &Lan, host: usize, folder: &Path, server: &KeyServer) -> Program {
    let input = ["--input", "gen:?rate=200k&seconds=900"];
    sender(lan, host, folder, "s", (server, 1), &[GROUP], &input)
}

/// Makes sessions of so many devices beside the running server.
fn mint(server: &KeyServer, folder: &Path, devices: u32) -> String {
    let file = folder.join("sessions.bin").display().to_string();
    let store = folder.join("data").display().to_string();
    let mint = [
        "load",
        "keys",
        "mint",
        "--store",
        &store,
        "--devices",
        &devices.to_string(),
        "--out",
        &file,
    ];
    let (status, _, errors) = server.run(&mint);
    assert_eq!(status, 0, "{errors}");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    let (status, _, errors) = server.run(&mint);
    assert_eq!(status, 3, "what is there is not replaced: {errors}");
    file
}

/// Devices on host `host` against these doors.
fn load(
    lan: &Lan,
    host: usize,
    folder: &Path,
    sessions: &str,
    doors: &[String],
    more: &[&str],
) -> Program {
    let mut args = vec!["load", "keys", "run", "--json", "--sessions", sessions];
    doors.iter().for_each(|door| args.extend(["--door", door]));
    args.extend(more);
    sealcast(Some(lan.host(host)), folder, "devices", &args)
}

fn report(program: &mut Program, limit: Duration) -> (bool, Value) {
    let status = program.wait(limit);
    let text = program.written();
    let report = serde_json::from_slice(&text)
        .unwrap_or_else(|error| panic!("{error}: {}", program.errors()));
    (status.success(), report)
}

fn count(report: &Value, what: &str) -> u64 {
    let rows = report["tables"]["answers"].as_array().unwrap();
    let row = rows.iter().find(|row| row["what"] == what);
    row.map_or(0, |row| row["count"].as_u64().unwrap())
}

/// SEC-09, MD-28 to MD-31: one of three slaves is killed in the middle of the fetch window; every device holds the next key before its
/// 0. With `SEALCAST_LONG` there are a million, and no surviving slave has a peak above one and a half times its mean.
#[test]
fn sec_09_a_slave_dies_in_the_fetch_window_and_every_device_holds_next() {
    if !can_run(&["ip"]) {
        return;
    }
    let long = std::env::var_os("SEALCAST_LONG").is_some();
    let crowd = if long { MILLION } else { SOME };
    let (lan, folder) = (Lan::new(6), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let server = KeyServer::start(Some((&lan, 1)), folder, &["--start-wait", "300ms"]);
    server.admin(&[&["channel", "add", "1"], &crowd.times[..]].concat());
    let sessions = mint(&server, folder, crowd.devices);
    let mut slaves: Vec<_> = [(1, 2), (2, 3), (3, 4)]
        .map(|place| Slave::start(&lan, folder, &server, place, &[1]))
        .into();
    for slave in &slaves {
        slave.until(&lan, "sealcast_slave_leased", 1);
    }
    let mut sender = sends(&lan, 6, folder, &server);
    let doors = [2, 3, 4].map(|host| format!("10.77.0.{host}:8454"));
    let pid = slaves[0].pid().as_raw_nonzero();
    let kill = format!("kill -9 {pid}");
    let scenario = ["--scenario", "switch", "--within", crowd.within];
    let killed = ["--exec", &kill, "--exec-before", crowd.killed];
    let more = [scenario, killed].concat();
    let mut load = load(&lan, 5, folder, &sessions, &doors, &more);
    let (good, report) = report(&mut load, crowd.limit);
    if long {
        println!("{:#}", report["tables"]);
    }
    assert!(good, "{report:#}\n{}", load.errors());
    let of = |what| count(&report, what);
    assert_eq!(of("devices"), u64::from(crowd.devices));
    assert_eq!(
        (of("unanswered"), of("undecryptable"), of("other_root")),
        (0, 0, 0)
    );
    assert!(
        of("retries") > 0,
        "some asked the one that was killed: {report:#}"
    );
    let held = report["tables"]["held"].as_array().unwrap();
    let newest = held.last().unwrap();
    assert_eq!(
        (&newest["in_time"], &newest["late"]),
        (&Value::from(crowd.devices), &Value::from(0)),
        "{held:?}"
    );
    if long {
        let window = report["tables"]["window"].as_array().unwrap();
        let peaks = window[1..3].iter().map(|door| &door["peak_over_mean"]);
        let peaks: Vec<_> = peaks.map(|peak| peak.as_f64().unwrap()).collect();
        assert!(peaks.iter().all(|peak| *peak <= 1.5), "{peaks:?}");
    }
    slaves[0].kill();
    sender.stop();
}

/// SEC-08: honest devices get their keys of a slave beside attackers, and a receiver that asks only there loses no packet. With
/// `SEALCAST_LONG` for a minute, and the attackers send all they can.
#[test]
fn sec_08_honest_devices_are_served_by_a_slave_beside_attackers() {
    if !can_run(&["ip", "nft"]) {
        return;
    }
    let long = std::env::var_os("SEALCAST_LONG").is_some();
    let (lan, folder) = (Lan::new(5), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let server = KeyServer::start(Some((&lan, 1)), folder, &["--start-wait", "300ms"]);
    server.admin(&[&["channel", "add", "1"], &SOME.times[..]].concat());
    let slave = Slave::start(&lan, folder, &server, (1, 2), &[1]);
    slave.until(&lan, "sealcast_slave_leased", 1);
    let mut sender = sends(&lan, 4, folder, &server);
    lan.block_udp(5, 8444);
    let mut receiver = receiver(&lan, 5, folder, "r", &server, &[GROUP], &[]);
    receiver.wait_for_key(1);
    let sessions = mint(&server, folder, 500);
    let doors = ["10.77.0.2:8454".to_owned()];
    let hostile = ["--scenario", "hostile", "--devices", "499", "--rate", "500"];
    let how_much = match long {
        true => ["--duration", "60s"].to_vec(),
        false => ["--duration", "3s", "--hostile-rate", "20k"].to_vec(),
    };
    let before = resident(&slave);
    let hostile = [&hostile[..], &how_much].concat();
    let mut attacked = load(&lan, 3, folder, &sessions, &doors, &hostile);
    let (good, said) = report(&mut attacked, Duration::from_secs(90));
    assert!(good, "{said:#}");
    assert_eq!(count(&said, "keys"), if long { 30_000 } else { 1500 });
    let flood = said["tables"]["hostile"].as_array().unwrap();
    assert!(
        flood.iter().all(|row| row["sent"].as_u64() > Some(5000)),
        "{flood:?}"
    );
    let p99 = said["tables"]["latency"][0]["p99"].as_u64().unwrap();
    assert!(p99 < 1_000_000_000, "{p99} ns");
    let grown = resident(&slave).saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB more than before");
    if long {
        println!(
            "{:#}\nthe slave has {grown} KiB more than before",
            said["tables"]
        );
    }
    receiver.stop();
    let channel = receiver.channel(1);
    assert_clean("r", &channel);
    assert!(channel["packets"].as_u64() > Some(0), "{channel}");
    // Nobody listens: it is said, and it ends.
    let nowhere = ["10.77.0.1:9".to_owned()];
    let steady = ["--scenario", "steady", "--rate", "50", "--duration", "1s"];
    let begun = Instant::now();
    let mut unheard = load(&lan, 3, folder, &sessions, &nowhere, &steady);
    let (good, said) = report(&mut unheard, Duration::from_secs(30));
    assert!(!good && begun.elapsed() < Duration::from_secs(20));
    assert_eq!((count(&said, "keys"), count(&said, "unanswered")), (0, 50));
    sender.stop();
}

/// SEC-09, SEC-11: the key that devices already hold as the next one is replaced; they hear of it and hold the other one in time.
#[test]
fn sec_11_devices_follow_a_key_that_is_replaced() {
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(3), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let server = KeyServer::start(Some((&lan, 1)), folder, &["--start-wait", "300ms"]);
    server.admin(&[&["channel", "add", "1"], &SOME.times[..]].concat());
    let mut sender = sends(&lan, 3, folder, &server);
    let sessions = mint(&server, folder, 300);
    let doors = ["10.77.0.1:8444".to_owned()];
    let admin = server.data().join("admin.json");
    let replace = format!(
        "{} admin --identity {} epoch end 1 --immediate",
        env!("CARGO_BIN_EXE_sealcast"),
        admin.display()
    );
    let replaced = [
        "--scenario",
        "replaced",
        "--within",
        "1s",
        "--group",
        GROUP,
        "--exec",
        &replace,
        "--exec-before",
        "1500ms",
    ];
    let mut devices = load(&lan, 2, folder, &sessions, &doors, &replaced);
    let (good, said) = report(&mut devices, Duration::from_secs(45));
    assert!(good, "{said:#}\n{}", devices.errors());
    assert!(count(&said, "notices") > 0, "{said:#}");
    // First key, next key, and the other one in its place.
    let held = said["tables"]["held"].as_array().unwrap();
    let [.., given_up, newest] = &held[..] else {
        unreachable!("{held:?}");
    };
    for epoch in [given_up, newest] {
        assert_eq!(
            (&epoch["in_time"], &epoch["late"]),
            (&Value::from(300), &Value::from(0))
        );
    }
    assert_eq!(
        newest["epoch"].as_u64(),
        given_up["epoch"].as_u64().map(|epoch| epoch + 1)
    );
    sender.stop();
}

/// INT-16: the requests of a trace are asked at its times, and all are answered.
#[test]
fn int_16_the_requests_of_a_trace_are_played() {
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(3), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let server = KeyServer::start(Some((&lan, 1)), folder, &["--start-wait", "300ms"]);
    server.admin(&[&["channel", "add", "1"], &SOME.times[..]].concat());
    let mut sender = sends(&lan, 3, folder, &server);
    sleep(Duration::from_secs(2));
    let sessions = mint(&server, folder, 200);
    let trace = folder.join("requests.trace").display().to_string();
    let make = [
        "load",
        "make",
        "requests",
        "--devices",
        "200",
        "--output",
        &trace,
    ];
    let times = ["--lifetime", "60s", "--spread", "9s", "--duration", "50s"];
    let (status, _, errors) = server.run(&[&make[..], &times].concat());
    assert_eq!(status, 0, "{errors}");
    let doors = ["10.77.0.1:8444".to_owned()];
    let played = ["--scenario", "trace", "--trace", &trace, "--speed", "20"];
    let mut devices = load(&lan, 2, folder, &sessions, &doors, &played);
    let (good, said) = report(&mut devices, Duration::from_secs(30));
    assert!(good, "{said:#}\n{}", devices.errors());
    assert_eq!(
        (count(&said, "devices"), count(&said, "keys")),
        (200, 200),
        "{said:#}"
    );
    sender.stop();
}

/// SEC-09: devices renew their sessions at a rate; who has no right is told so.
#[test]
fn sec_09_sessions_are_renewed_at_a_rate() {
    let folder = tempfile::tempdir().unwrap();
    let server = KeyServer::start(None, folder.path(), &[]);
    server.channel(1, &[]);
    let (one, two) = (server.device("one", &[1]), server.device("two", &[1]));
    let none = server.device("none", &[]);
    let renew = |files: &[&Path], rate: &str| {
        let mut args = vec![
            "load",
            "keys",
            "renew",
            "--json",
            "--rate",
            rate,
            "--duration",
            "1s",
        ];
        for file in files {
            args.extend(["--identity", file.to_str().unwrap()]);
        }
        server.run(&args)
    };
    let (status, out, errors) = renew(&[&one.file, &two.file], "20");
    assert_eq!(status, 0, "{errors}");
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(count(&said, "renewed"), 20);
    assert_eq!(said["tables"]["latency"][0]["count"], 20);
    let (status, out, errors) = renew(&[&one.file, &none.file], "10");
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (status, count(&said, "renewed"), count(&said, "refused")),
        (1, 5, 5),
        "{said:#}"
    );
    assert!(
        errors.contains("5 of 10 sessions renewed, 5 refused or failed")
            && out.contains("no rights"),
        "{errors}{out}"
    );
    let (status, _, errors) = renew(&[&one.file], "1000000");
    assert!(
        status == 2 && errors.contains("1 to 100000 renewals"),
        "{errors}"
    );
}
