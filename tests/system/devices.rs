//! Many devices against real key servers: sessions made offline, and every device follows a change of key.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::keyserver::{KeyServer, sender};
use crate::net::{Lan, can_run};
use crate::process::{Program, sealcast};
use crate::slaves::Slave;

/// Key times with a fetch window that leaves devices room for retries, and time to tune in before.
const TIMES: [&str; 8] = [
    "--lifetime",
    "12s",
    "--prepare-ahead",
    "6s",
    "--fetch-ahead",
    "5s",
    "--grace",
    "200ms",
];

/// A change of key is announced only where somebody sends.
fn sends(lan: &Lan, host: usize, folder: &Path, server: &KeyServer) -> Program {
    let group = ["udp://239.1.1.1:5000?ttl=4"];
    let input = ["--input", "gen:?rate=200k&seconds=900"];
    sender(lan, host, folder, "s", (server, 1), &group, &input)
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

/// SEC-09, MD-28 to MD-31: one of three slaves is killed in the middle of the fetch window; every device holds the next key before its 0.
fn switch_with_a_slave_killed(devices: u32, times: &[&str], within: &str, limit: Duration) {
    let (lan, folder) = (Lan::new(6), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let server = KeyServer::start(Some((&lan, 1)), folder, &["--start-wait", "300ms"]);
    server.admin(&[&["channel", "add", "1"], times].concat());
    let mut sender = sends(&lan, 6, folder, &server);
    let sessions = mint(&server, folder, devices);
    let mut slaves: Vec<_> = [(1, 2), (2, 3), (3, 4)]
        .map(|place| Slave::start(&lan, folder, &server, place, &[1]))
        .into();
    for slave in &slaves {
        slave.until(&lan, "sealcast_slave_leased", 1);
    }
    let doors = [2, 3, 4].map(|host| format!("10.77.0.{host}:8454"));
    let pid = slaves[0].pid().as_raw_nonzero();
    let kill = format!("kill -9 {pid}");
    let more = ["--scenario", "switch", "--within", within, "--exec", &kill];
    let fetch_ahead = times[5];
    let before = [&more[..], &["--exec-before", middle(fetch_ahead)]].concat();
    let mut load = load(&lan, 5, folder, &sessions, &doors, &before);
    let (good, report) = report(&mut load, limit);
    assert!(good, "{report:#}\n{}", load.errors());
    let of = |what| count(&report, what);
    assert_eq!(of("devices"), u64::from(devices));
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
        (&Value::from(devices), &Value::from(0)),
        "{held:?}"
    );
    slaves[0].kill();
    sender.stop();
}

/// Half of the fetch window is over.
fn middle(fetch_ahead: &str) -> &'static str {
    match fetch_ahead {
        "5s" => "3300ms",
        _ => "18s",
    }
}

#[test]
fn sec_09_a_slave_dies_in_the_fetch_window_and_every_device_holds_next() {
    if !can_run(&["ip"]) {
        return;
    }
    switch_with_a_slave_killed(3000, &TIMES, "1s", Duration::from_secs(45));
}

/// The same with a million devices.
#[test]
fn sec_09_a_million_devices_follow_a_change_while_a_slave_dies() {
    if !can_run(&["ip"]) || std::env::var_os("SEALCAST_LONG").is_none() {
        return;
    }
    let times = [
        "--lifetime",
        "90s",
        "--prepare-ahead",
        "35s",
        "--fetch-ahead",
        "30s",
        "--grace",
        "2s",
    ];
    switch_with_a_slave_killed(1_000_000, &times, "30s", Duration::from_secs(400));
}

/// SEC-08: honest devices get their keys beside attackers, and doors that were away answer again.
#[test]
fn sec_08_honest_devices_are_served_beside_attackers() {
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(3), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let server = KeyServer::start(Some((&lan, 1)), folder, &["--start-wait", "300ms"]);
    server.admin(&[&["channel", "add", "1"], &TIMES[..]].concat());
    let mut sender = sends(&lan, 3, folder, &server);
    sleep(Duration::from_secs(2));
    let sessions = mint(&server, folder, 500);
    let doors = ["10.77.0.1:8444".to_owned()];
    let hostile = [
        "--scenario",
        "hostile",
        "--devices",
        "499",
        "--rate",
        "500",
        "--duration",
        "3s",
        "--hostile-rate",
        "20k",
    ];
    let mut attacked = load(&lan, 2, folder, &sessions, &doors, &hostile);
    let (good, said) = report(&mut attacked, Duration::from_secs(30));
    assert!(good, "{said:#}");
    assert_eq!(count(&said, "keys"), 1500);
    let flood = said["tables"]["hostile"].as_array().unwrap();
    assert!(
        flood.iter().all(|row| row["sent"].as_u64() > Some(5000)),
        "{flood:?}"
    );
    let p99 = said["tables"]["latency"][0]["p99"].as_u64().unwrap();
    assert!(p99 < 1_000_000_000, "{p99} ns");
    // Nobody listens: it is said, and it ends.
    let nowhere = ["10.77.0.1:9".to_owned()];
    let steady = ["--scenario", "steady", "--rate", "50", "--duration", "1s"];
    let begun = Instant::now();
    let mut unheard = load(&lan, 2, folder, &sessions, &nowhere, &steady);
    let (good, said) = report(&mut unheard, Duration::from_secs(30));
    assert!(!good && begun.elapsed() < Duration::from_secs(20));
    assert_eq!((count(&said, "keys"), count(&said, "unanswered")), (0, 50));
    sender.stop();
}
