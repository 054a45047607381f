//! Key servers that are taken away in order: a standby in the master's place, restarts one after the other.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::keyserver::{KeyServer, MID_EPOCH, receiver, sender};
use crate::net::{Lan, can_run, sh};
use crate::postgres;
use crate::postgres_server::Server;
use crate::process::{Program, sealcast};
use crate::sample::{assert_same, ts};
use crate::slaves::{ROOM_FOR_RETRIES, Slave};
use crate::streams::assert_clean;

const GROUP: &str = "udp://239.1.1.1:5000?ttl=4";

/// As the protocol of routers does that moves an address: from now on it is on another host.
fn move_address(lan: &Lan, from: usize, to: usize, hosts: usize) {
    sh(&format!(
        "ip -n {} addr add 10.77.0.{from}/24 dev eth0",
        lan.host(to)
    ));
    for host in (1..=hosts).filter(|host| *host != from) {
        sh(&format!("ip -n {} neigh flush dev eth0", lan.host(host)));
    }
}

/// MD-40, SEC-06, SEC-07: the master is cut off (it runs on), and a standby with a backup that is some keys old takes its address: its
/// term is above what nodes report, so is its next epoch, and nobody loses a packet.
#[test]
fn md_40_a_standby_takes_the_place_of_a_master_that_is_cut_off() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let (lan, folder) = (Lan::new(5), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let server = KeyServer::start(Some((&lan, 1)), folder, &["--start-wait", "300ms"]);
    server.admin(&[&["channel", "add", "1"], &ROOM_FOR_RETRIES[..]].concat());
    let slave = Slave::start(&lan, folder, &server, (1, 3), &[1]);
    slave.until(&lan, "sealcast_slave_leased", 1);
    let mut receiver = receiver(&lan, 5, folder, "r", &server, &[GROUP], &[]);
    let input = ts(34);
    let input_path = input.display().to_string();
    let more = ["--input", &input_path, "--start-delay", MID_EPOCH];
    let mut sender = sender(&lan, 4, folder, "s", (&server, 1), &[GROUP], &more);
    let copy = folder.join("copy.db");
    let data = server.data().display().to_string();
    let (status, _, errors) = server.run(&["backup", "--data", &data, copy.to_str().unwrap()]);
    assert_eq!(status, 0, "{errors}");
    sender.wait_until(
        1,
        Duration::from_secs(30),
        "two changes after the copy",
        |channel| channel["switches"].as_u64() > Some(1),
    );
    let before = sender.channel(1)["switches"].as_u64().unwrap();
    sh(&format!("ip -n {} link set eth0 down", lan.host(1)));
    sleep(Duration::from_secs(2));
    move_address(&lan, 1, 2, 5);
    let standby = server.stand_by(&lan, 2, &copy);
    let start = Instant::now();
    while sender.channel(1)["switches"].as_u64() <= Some(before + 1) {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "keys do not change again: {}\n{}",
            sender.channel(1),
            standby.program.errors()
        );
        sleep(Duration::from_millis(50));
    }
    assert!(
        standby.program.errors().contains("old copy"),
        "{}",
        standby.program.errors()
    );
    slave.until(&lan, "sealcast_slave_leased", 1);
    let status = standby.admin(&["epoch", "status"]);
    let current = &status["channels"][0]["current"];
    assert!(current.as_u64() > Some(before + 1), "{status}");
    // What is ordered at the standby holds.
    standby.admin(&["account", "add", "after"]);
    let status = sender.wait(Duration::from_secs(60));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(700));
    receiver.stop();
    assert_clean("r", &receiver.channel(1));
    assert_same(
        "r",
        &fs::read(&input).unwrap(),
        &fs::read(folder.join("r.ts")).unwrap(),
    );
    assert_eq!(sender.channel(1)["not_sent"], 0, "{}", sender.channel(1));
}

/// The lease of servers on one database, in their configuration.
const LEASE: Duration = Duration::from_secs(2);

/// MD-40, SEC-06, SEC-07: two key servers on one PostgreSQL database. One stands still, the other takes over when the lease is over; the
/// first one moves again and ends. Nobody loses a packet, and the standby knows all that was ordered.
#[test]
fn md_40_a_standby_on_the_same_database_takes_over_and_the_former_server_ends() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let database = Server::start(&[]);
    let url = postgres::database(database.url());
    let (lan, folder) = (Lan::new(4), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let config = folder.join("serve.toml");
    let text = format!("[postgres]\nurl = {url:?}\nlease = \"{LEASE:?}\"\n");
    fs::write(&config, text).unwrap();
    let more = [
        "--config",
        config.to_str().unwrap(),
        "--start-wait",
        "300ms",
    ];
    let mut server = KeyServer::start(Some((&lan, 1)), folder, &more);
    server.admin(&[&["channel", "add", "1"], &ROOM_FOR_RETRIES[..]].concat());
    let mut receiver = receiver(&lan, 4, folder, "r", &server, &[GROUP], &[]);
    let input = ts(34);
    let input_path = input.display().to_string();
    let more = ["--input", &input_path, "--start-delay", MID_EPOCH];
    let mut sender = sender(&lan, 3, folder, "s", (&server, 1), &[GROUP], &more);
    let standby = server.beside(&lan, 2);
    let switches = |channel: &serde_json::Value| channel["switches"].as_u64();
    let change = |channel: &serde_json::Value| switches(channel) > Some(0);
    sender.wait_until(1, Duration::from_secs(30), "a change", change);
    server.admin(&["account", "add", "before"]);
    assert!(standby.program.errors().contains("standing by"));

    server.program.signal(Signal::STOP);
    let before = switches(&sender.channel(1)).unwrap();
    sh(&format!("ip -n {} link set eth0 down", lan.host(1)));
    move_address(&lan, 1, 2, 4);
    let start = Instant::now();
    standby.wait_until_it_runs();
    assert!(start.elapsed() >= LEASE, "{:?}", start.elapsed());
    let accounts = standby.admin(&["account", "list"]);
    assert!(accounts.to_string().contains("before"), "{accounts}");
    standby.admin(&["account", "add", "after"]);
    sender.wait_until(
        1,
        Duration::from_secs(30),
        "changes after the takeover",
        |channel| switches(channel) > Some(before + 1),
    );
    server.program.signal(Signal::CONT);
    let status = server.program.wait(Duration::from_secs(10));
    assert_eq!(status.code(), Some(4), "{}", server.program.errors());
    let said = server.program.errors();
    assert!(said.contains("another key server has taken over"), "{said}");

    let status = sender.wait(Duration::from_secs(60));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(700));
    receiver.stop();
    assert_clean("r", &receiver.channel(1));
    let received = fs::read(folder.join("r.ts")).unwrap();
    assert_same("r", &fs::read(&input).unwrap(), &received);
    assert_eq!(sender.channel(1)["not_sent"], 0, "{}", sender.channel(1));
}

/// A receiver that fetches keys on this occasion only.
fn receiver_on(lan: &Lan, host: usize, folder: &Path, keys: &KeyServer, occasion: &str) -> Program {
    let device = keys.device(occasion, &[1]);
    let (config, output) = (
        folder.join(format!("{occasion}.toml")),
        folder.join(format!("{occasion}.ts")),
    );
    let text = format!(
        "session = {:?}\n[[channel]]\nid = 1\ngroups = [{GROUP:?}]\noutput = {output:?}\nfetch_on = [{occasion:?}]\n",
        device.file
    );
    fs::write(&config, text).unwrap();
    let args = ["receive", "--json", "--config", config.to_str().unwrap()];
    sealcast(Some(lan.host(host)), folder, occasion, &args)
}

/// MD-08 to MD-12, MD-20, MD-28 to MD-32, MD-40: keys made at the delivery server, a chain of slaves, receivers that fetch by timer, on
/// the Notice, and on demand. Every key server is stopped and started in its turn, as for an update; no packet is lost.
#[test]
fn md_40_a_rolling_restart_costs_nobody_a_packet_however_keys_are_made_and_fetched() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let (lan, folder) = (Lan::new(7), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let mode = ["--mode", "delivery-server"];
    let mut server = KeyServer::start(Some((&lan, 1)), folder, &["--start-wait", "300ms"]);
    server.admin(&[&["channel", "add", "1"], &mode[..], &ROOM_FOR_RETRIES].concat());
    let mut one = Slave::start(&lan, folder, &server, (1, 2), &[1]);
    let mut two = Slave::start(&lan, folder, &server, (2, 3), &[2, 1]);
    for slave in [&one, &two] {
        slave.until(&lan, "sealcast_slave_leased", 1);
    }
    let occasions = ["timer", "notice", "demand"];
    let mut receivers: Vec<_> = (5..)
        .zip(occasions)
        .map(|(host, occasion)| receiver_on(&lan, host, folder, &server, occasion))
        .collect();
    let input = ts(34);
    let input_path = input.display().to_string();
    let more = [
        &mode[..],
        &["--input", &input_path, "--start-delay", MID_EPOCH],
    ]
    .concat();
    let mut sender = sender(&lan, 4, folder, "s", (&server, 1), &[GROUP], &more);
    for receiver in &receivers {
        receiver.wait_for_key(1);
    }
    for _ in 0..2 {
        for slave in [&mut two, &mut one] {
            slave.program.stop();
            slave.start_again(&lan);
            slave.until(&lan, "sealcast_slave_leased", 1);
            sleep(Duration::from_millis(500));
        }
        server.program.stop();
        server.start_again();
        for slave in [&one, &two] {
            slave.until(&lan, "sealcast_slave_leased", 1);
        }
        sleep(Duration::from_secs(1));
    }
    let status = sender.wait(Duration::from_secs(60));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(700));
    let served = one.granted(&lan) + two.granted(&lan);
    let sent = fs::read(&input).unwrap();
    for (receiver, occasion) in receivers.iter_mut().zip(occasions) {
        receiver.stop();
        assert_clean(occasion, &receiver.channel(1));
        let got = fs::read(folder.join(format!("{occasion}.ts"))).unwrap();
        assert_same(occasion, &sent, &got);
        assert!(
            receiver.channel(1)["switches"].as_u64() >= Some(4),
            "{}",
            receiver.channel(1)
        );
    }
    assert!(served > 0, "slaves have answered");
    assert_eq!(sender.channel(1)["not_sent"], 0, "{}", sender.channel(1));
    assert!(
        sender.channel(1)["switches"].as_u64() >= Some(4),
        "{}",
        sender.channel(1)
    );
}
