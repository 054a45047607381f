//! Rights that end, are suspended and come back; the way to the key door that is blocked; the authority key succeeded; all
//! while a stream runs.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::keyserver::{KeyServer, keys, receiver_as, sender};
use crate::net::{Lan, can_run};
use crate::sample::{assert_same, assert_tail, ts};
use crate::streams::assert_clean;

const GROUP: [&str; 1] = ["udp://239.1.1.1:5000?ttl=4"];

pub fn epoch_in_use(status: &Value) -> u64 {
    status["channels"][0]["current"].as_u64().expect("an epoch")
}

/// INT-01, SEC-11, SEC-15, MD-40: one receiver's right ends by its period, another's is suspended and resumed, a third cannot
/// reach the door by UDP, and the authority key is succeeded: everybody gets exactly what is his.
#[test]
fn rights_end_and_come_back_while_the_authority_key_changes() {
    if !can_run(&["ip", "ffmpeg", "nft"]) {
        return;
    }
    let (lan, folder) = (Lan::new(6), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let server = keys(&lan, folder);
    let [plain, ends, pauses, blocked] =
        ["plain", "ends", "pauses", "blocked"].map(|name| server.device(name, &[1]));
    lan.block_udp(5, 8444);
    let start =
        |host, name: &str, device| receiver_as(&lan, host, folder, name, device, &GROUP, &[]);
    let mut all = [
        start(2, "plain", &plain),
        start(3, "ends", &ends),
        start(4, "pauses", &pauses),
        start(5, "blocked", &blocked),
    ];
    let input = ts(24).display().to_string();
    // By HTTPS it takes three requests in vain before.
    let more = ["--input", &input, "--start-delay", "4s"];
    let mut stream = sender(&lan, 6, folder, "s", (&server, 1), &GROUP, &more);
    for program in &all {
        program.wait_for_key(1);
    }
    stream.wait_until(1, Duration::from_secs(10), "sending", |channel| {
        channel["packets"].as_u64() > Some(100)
    });
    let until = SystemTime::now() + Duration::from_secs(3);
    let until = humantime::format_rfc3339_millis(until).to_string();
    server.admin(&["right", "give", &ends.id, "1", "--until", &until]);
    server.admin(&["right", "suspend", &pauses.id, "1"]);
    server.admin(&["keys", "prepare"]);
    let early = server.try_admin(&["keys", "promote"]).unwrap_err();
    assert!(early.contains("too lately"), "{early}");
    sleep(Duration::from_millis(3200));
    let ended_in = epoch_in_use(&server.admin(&["status"]));
    server.admin(&["keys", "promote"]);
    server.admin(&["right", "resume", &pauses.id, "1"]);
    let keys_now = server.admin(&["keys", "list"]);
    let stages: Vec<_> = keys_now
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["stage"])
        .collect();
    assert_eq!(stages, ["retiring", "current"]);
    let another = server.try_admin(&["keys", "prepare"]).unwrap_err();
    assert!(another.contains("still under way"), "{another}");
    let status = stream.wait(Duration::from_secs(60));
    assert!(status.success(), "{}", stream.errors());
    sleep(Duration::from_millis(700));
    let sent = fs::read(ts(24)).unwrap();
    let got = |name: &str| fs::read(folder.join(format!("{name}.ts"))).unwrap();
    for program in &mut all {
        program.stop();
    }
    let [plain, ends, pauses, blocked] = all.map(|program| program.channel(1));
    assert_clean("plain", &plain);
    assert_same("plain", &sent, &got("plain"));
    assert_clean("blocked", &blocked);
    assert_same("blocked", &sent, &got("blocked"));
    let cut = got("ends");
    assert!(
        sent.starts_with(&cut) && cut.len() < sent.len() / 2,
        "ends: {} of {} bytes",
        cut.len(),
        sent.len()
    );
    // The change that was announced when the period ended may have been known.
    assert!(
        ends["keys"]["epoch"].as_u64() <= Some(ended_in + 1),
        "ended in {ended_in}: {ends}"
    );
    assert!(
        pauses["discards"]["unknown_key"].as_u64() > Some(100),
        "it was without a key for a while: {pauses}"
    );
    let back = got("pauses");
    assert_tail(
        "pauses",
        &sent,
        &back[back.len() - back.len() / 1316 / 4 * 1316..],
    );
    assert_eq!(
        server.admin(&["right", "list"])["rights"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    // 12 lives of a key after the promotion nothing that the former key signed is in use.
    let log = server.admin(&["audit", "list"]).to_string();
    assert!(log.contains("\"authority-key.retire\""), "{log}");
    let keys = server.admin(&["keys", "list"]);
    assert_eq!(keys[0]["stage"], "retired", "{keys}");
    server.admin(&["keys", "prepare"]);
}

/// Design 5: sessions are renewed in time while ticket keys come and go; nobody notices.
#[test]
fn sessions_are_renewed_while_ticket_keys_come_and_go() {
    if !can_run(&["ip"]) {
        return;
    }
    let (lan, folder) = (Lan::new(3), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let more = ["--start-wait", "300ms", "--ticket-period", "2s"];
    let server = KeyServer::start(Some((&lan, 1)), folder, &more);
    server.channel(1, &[]);
    let device = server.device("r", &[1]);
    let mut receiver = receiver_as(&lan, 2, folder, "r", &device, &GROUP, &[]);
    let more = [
        "--input",
        "gen:?rate=1M&seconds=14&seed=2",
        "--start-delay",
        "1s",
    ];
    let mut stream = sender(&lan, 3, folder, "s", (&server, 1), &GROUP, &more);
    let status = stream.wait(Duration::from_secs(40));
    assert!(status.success(), "{}", stream.errors());
    sleep(Duration::from_millis(700));
    receiver.stop();
    assert_clean("r", &receiver.channel(1));
    assert_eq!(
        receiver.channel(1)["packets"],
        stream.channel(1)["packets"],
        "nothing is missing"
    );
    let opened = receiver.errors().matches("session opened").count();
    assert!(
        (4..=12).contains(&opened),
        "{opened} sessions in about 16 s, each good for 2.5 to 3.5 s: {}",
        receiver.errors()
    );
    let log = server.admin(&["audit", "list"]).to_string();
    assert!(log.contains("\"ticket-key.add\""), "{log}");
}
