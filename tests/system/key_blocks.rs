//! Channels with key blocks, as operators have them.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::keyserver::{keys_of, receiver_as, sender};
use crate::net::{Lan, can_run};
use crate::sample::{assert_same, ts};
use crate::streams::assert_clean;

const GROUP: [&str; 1] = ["udp://239.1.1.1:5000?ttl=4"];

/// INT-05, SEC-11: on the air, over thirty switches, devices with key blocks ask for no key but their first ones; one that loses its right gets no later
/// epoch, in a block or from a key door, and the others lose nothing.
#[test]
fn int_05_sec_11_switches_on_the_air_cost_no_request() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let (lan, folder) = (Lan::new(4), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let blocks = ["--key-block", "on", "--key-block-cap", "100"];
    let server = keys_of(&lan, folder, &blocks);
    assert_eq!(
        server.admin(&["channel", "show", "1"])["key_block_permille"],
        100
    );
    let wrong = server.try_admin(&["channel", "set", "1", "--key-block-cap", "1001"]);
    assert!(wrong.unwrap_err().contains("1001 is not in 1..=1000"));
    let (stays, goes) = (server.device("stays", &[1]), server.device("goes", &[1]));
    let mut staying = receiver_as(&lan, 2, folder, "stays", &stays, &GROUP, &[]);
    let mut going = receiver_as(&lan, 3, folder, "goes", &goes, &GROUP, &[]);
    let input = ts(30).display().to_string();
    let more = ["--input", &input, "--start-delay", "2s"];
    let mut stream = sender(&lan, 4, folder, "s", (&server, 1), &GROUP, &more);
    let switched = |program: &crate::process::Program, count: u64| {
        let what = format!("{count} switches");
        let limit = Duration::from_secs(40);
        program.wait_until(1, limit, &what, |channel| {
            channel["switches"].as_u64() >= Some(count)
        })
    };
    let requests = |channel: &serde_json::Value| channel["requests"].as_u64().unwrap();
    // What came before the first block, and before it was known how much the channel sends.
    let early = switched(&staying, 4);
    let late = switched(&staying, 14);
    assert_eq!(requests(&late), requests(&early), "{early} {late}");
    assert!(late["key_blocks"].as_u64() >= Some(10), "{late}");
    server.admin(&["right", "revoke", &goes.id, "1"]);
    let delivered = || going.channel(1)["packets"].as_u64().unwrap();
    // What was announced before stays open to it: two lives of a key, and the time to announce.
    sleep(Duration::from_millis(3000));
    let before = delivered();
    sleep(Duration::from_millis(3000));
    assert_eq!(delivered(), before, "nothing of a later epoch");
    let last = switched(&staying, 26);
    assert_eq!(requests(&last), requests(&early), "not one more: {last}");
    let status = stream.wait(Duration::from_secs(60));
    assert!(status.success(), "{}", stream.errors());
    sleep(Duration::from_millis(700));
    going.stop();
    staying.stop();
    let channel = staying.channel(1);
    assert_clean("stays", &channel);
    let sent = fs::read(ts(30)).unwrap();
    assert_same("stays", &sent, &fs::read(folder.join("stays.ts")).unwrap());
    let tree = &server.admin(&["channel", "key-trees", "1"])[0];
    assert_eq!((&tree["given"], &tree["gone"]), (&2.into(), &1.into()));
}
