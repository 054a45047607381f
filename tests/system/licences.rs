//! Licences for a channel that end, each in another way, while a stream runs.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use crate::keyserver::{Device, keys, receiver_as, sender};
use crate::net::{Lan, can_run};
use crate::rights::epoch_in_use;
use crate::sample::{assert_same, ts};
use crate::streams::assert_clean;
use crate::wallet::Box;

const GROUP: [&str; 1] = ["udp://239.1.1.1:5000?ttl=4"];

/// INT-05, SEC-11, PC-19: a licence whose period ends, one that is suspended, one that is ended and one that is refunded: each device stops at the
/// first epoch that is announced afterwards. Another account does not notice, neither does another device of the same one.
#[test]
fn int_05_sec_11_a_licence_that_ends_in_any_way_opens_no_later_epoch() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let (lan, folder) = (Lan::new(8), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let server = keys(&lan, folder);
    // Time for a new session between what a device asks for and the boundary.
    let times = [
        "--lifetime",
        "4s",
        "--prepare-ahead",
        "3s",
        "--fetch-ahead",
        "2500ms",
    ];
    server.admin(&[&["channel", "set", "1"], &times[..]].concat());
    let of = |name: &str| Box::new(&server, folder, name);
    let [stays, ends, suspended, ended, refunded] =
        ["stays", "ends", "suspended", "ended", "refunded"].map(of);
    let beside = {
        let account = suspended.account();
        let code = server.admin(&["device", "add", "beside", "--account", &account]);
        server.enrolled("beside", &code)
    };
    let give = |device: &Device, more: &[&str]| {
        let given = server.admin(&[&["licence", "give", &device.id, "1"], more].concat());
        given["id"].as_str().unwrap().to_owned()
    };
    give(&stays.device, &[]);
    give(&beside, &[]);
    let [to_suspend, to_end] = [&suspended, &ended].map(|of| give(&of.device, &[]));
    let offer = [
        "offer",
        "add",
        "A season",
        "1",
        "--price",
        "499",
        "--currency",
        "EUR",
    ];
    let offer = server.admin(&offer);
    refunded.pay_in("499");
    let bought = refunded
        .run("buy", &[offer["id"].as_str().unwrap()])
        .unwrap();
    let purchase = bought[0]["purchase"].as_str().unwrap();
    let until = SystemTime::now() + Duration::from_secs(12);
    let until = humantime::format_rfc3339_millis(until).to_string();
    give(&ends.device, &["--until", &until]);

    let all = [
        (2, "stays", &stays.device),
        (3, "beside", &beside),
        (4, "ends", &ends.device),
        (5, "suspended", &suspended.device),
        (6, "ended", &ended.device),
        (7, "refunded", &refunded.device),
    ];
    let start = |(host, name, device)| receiver_as(&lan, host, folder, name, device, &GROUP, &[]);
    let mut receivers = all.map(start);
    let input = ts(24).display().to_string();
    let more = ["--input", &input, "--start-delay", "3s"];
    let mut stream = sender(&lan, 8, folder, "s", (&server, 1), &GROUP, &more);
    for program in &receivers {
        program.wait_for_key(1);
    }
    stream.wait_until(1, Duration::from_secs(10), "sending", |channel| {
        channel["packets"].as_u64() > Some(100)
    });
    server.admin(&["licence", "suspend", &to_suspend]);
    server.admin(&["licence", "end", &to_end, "--why", "lost"]);
    server.admin(&["purchase", "refund", purchase, "asked for"]);
    let by_hand = epoch_in_use(&server.admin(&["status"]));
    let mut by_period = by_hand;
    while SystemTime::now() < humantime::parse_rfc3339(&until).unwrap() + Duration::from_secs(1) {
        sleep(Duration::from_millis(100));
        by_period = epoch_in_use(&server.admin(&["status"]));
    }
    let status = stream.wait(Duration::from_secs(60));
    assert!(status.success(), "{}", stream.errors());
    sleep(Duration::from_millis(700));
    for program in &mut receivers {
        program.stop();
    }
    let sent = fs::read(ts(24)).unwrap();
    let got = |name: &str| fs::read(folder.join(format!("{name}.ts"))).unwrap();
    let channels = receivers.map(|program| program.channel(1));
    let last = epoch_in_use(&server.admin(&["status"]));
    assert!(
        by_period + 2 < last,
        "{by_period} of {last}: the stream ended too soon"
    );
    for ((_, name, _), channel) in all.into_iter().zip(&channels) {
        let ended_in = match name {
            "stays" | "beside" => {
                assert_clean(name, channel);
                assert_same(name, &sent, &got(name));
                continue;
            }
            "ends" => by_period,
            _ => by_hand,
        };
        let cut = got(name);
        assert!(
            sent.starts_with(&cut) && cut.len() < sent.len(),
            "{name}: {} of {} bytes",
            cut.len(),
            sent.len()
        );
        // The change that was announced before may have been known.
        assert!(
            channel["keys"]["epoch"].as_u64() <= Some(ended_in + 1),
            "{name} ended in {ended_in}: {channel}"
        );
    }
}
