//! Channels of auth level 1, as operators have them.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::keyserver::{keys_of, receiver, sender};
use crate::net::{Lan, can_run};
use crate::sample::{assert_same, ts};
use crate::streams::assert_clean;

const GROUP: [&str; 1] = ["udp://239.1.1.1:5000?ttl=4"];

/// MD-03, SEC-05: a channel is told to ask for manifests, and told otherwise, while it is on the air: receivers check what is to be checked, and nobody
/// loses a packet.
#[test]
fn md_03_sec_05_the_auth_level_of_a_channel_on_the_air_is_changed_and_nothing_is_lost() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let (lan, folder) = (Lan::new(4), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let server = keys_of(&lan, folder, &["--auth-level", "1"]);
    assert_eq!(server.admin(&["channel", "show", "1"])["auth_level"], 1);
    let wrong = server.try_admin(&["channel", "set", "1", "--auth-level", "2"]);
    assert!(wrong.unwrap_err().contains("2 is not in 0..=1"));
    let later = ["--verify", "deliver-then-alarm"];
    let mut waits = receiver(&lan, 2, folder, "waits", &server, &GROUP, &[]);
    let mut alarms = receiver(&lan, 3, folder, "alarms", &server, &GROUP, &later);
    let input = ts(20).display().to_string();
    let more = ["--input", &input, "--start-delay", "2s"];
    let mut stream = sender(&lan, 4, folder, "s", (&server, 1), &GROUP, &more);
    let verified = |packets: u64| {
        let what = format!("{packets} packets verified");
        let limit = Duration::from_secs(30);
        let channel = waits.wait_until(1, limit, &what, |channel| {
            channel["verified"].as_u64() >= Some(packets)
        });
        channel["verified"].as_u64().unwrap()
    };
    verified(1000);
    server.admin(&["channel", "set", "1", "--auth-level", "0"]);
    // Two lives of a key: then no lane is left that was certified before.
    sleep(Duration::from_millis(2500));
    let before = verified(0);
    sleep(Duration::from_millis(1500));
    assert_eq!(verified(0), before, "no manifests at level 0");
    server.admin(&["channel", "set", "1", "--auth-level", "1"]);
    verified(before + 1000);
    let status = stream.wait(Duration::from_secs(60));
    assert!(status.success(), "{}", stream.errors());
    sleep(Duration::from_millis(700));
    let sent = fs::read(ts(20)).unwrap();
    for (name, program) in [("waits", &mut waits), ("alarms", &mut alarms)] {
        program.stop();
        let channel = program.channel(1);
        assert_clean(name, &channel);
        assert_same(
            name,
            &sent,
            &fs::read(folder.join(format!("{name}.ts"))).unwrap(),
        );
        for count in ["forged", "alarmed", "unverified"] {
            assert_eq!(channel[count], 0, "{name}: {channel}");
        }
    }
}
