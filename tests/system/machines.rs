//! Key server, delivery servers and receivers as separate processes on separate hosts.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::keyserver::{Device, KeyServer};
use crate::net::{Lan, can_run};
use crate::process::{Program, sealcast, sealcast_at};
use crate::sample::{assert_same, assert_tail, ts};
use crate::streams::assert_clean;

/// Mode B on both delivery servers; mode A on the second.
const BOTH: u16 = 1;
const OWN: u16 = 2;

/// Starts a receiver of both channels; it writes NAME-1.ts and NAME-2.ts. `clock` shifts its wall clock, as faketime says it.
fn receive(lan: &Lan, host: usize, folder: &Path, device: &Device, clock: Option<&str>) -> Program {
    let name = device.file.file_stem().unwrap().to_str().unwrap();
    let channel = |id: u16| {
        let output = folder.join(format!("{name}-{id}.ts"));
        // Two servers send the one channel: the first is delivered, and the other does not take over at its end.
        let servers = if id == BOTH {
            "preferred_server = 1\nsource_timeout = \"10s\"\n"
        } else {
            ""
        };
        format!(
            "[[channel]]\nid = {id}\ngroups = [\"udp://239.1.1.{id}:5000\"]\noutput = \"{}\"\n{servers}",
            output.display()
        )
    };
    let config = folder.join(format!("{name}.toml"));
    let session = device.file.display();
    let text = format!("session = \"{session}\"\n{}{}", channel(BOTH), channel(OWN));
    fs::write(&config, text).unwrap();
    let args = ["receive", "--json", "--config", config.to_str().unwrap()];
    sealcast_at(clock, Some(lan.host(host)), folder, name, &args)
}

fn send(
    lan: &Lan,
    host: usize,
    folder: &Path,
    keys: &KeyServer,
    server: u32,
    channels: &[(u16, &str)],
) -> Program {
    let input = |id: u16| ts(if id == BOTH { 24 } else { 20 });
    let channel = |(id, mode): &(u16, &str)| {
        format!(
            "[[channel]]\nid = {id}\ngroups = [\"udp://239.1.1.{id}:5000?ttl=4\"]\ninput = \"{}\"\nmode = \"{mode}\"\n\
             start_delay = \"1500ms\"\n",
            input(*id).display()
        )
    };
    let channels: String = channels.iter().map(channel).collect();
    let config = folder.join(format!("send-{server}.toml"));
    let node = keys.node(server);
    fs::write(
        &config,
        format!("node = \"{}\"\n{channels}", node.display()),
    )
    .unwrap();
    let args = ["send", "--json", "--config", config.to_str().unwrap()];
    sealcast(
        Some(lan.host(host)),
        folder,
        &format!("send-{server}"),
        &args,
    )
}

fn epoch_of(channel: &Value) -> u64 {
    channel["keys"]["epoch"].as_u64().unwrap_or(0)
}

/// Every payload of `got` stands in `sent`, in order.
fn assert_in_order(name: &str, sent: &[u8], got: &[u8]) {
    let mut sent = sent.chunks(1316);
    for (index, payload) in got.chunks(1316).enumerate() {
        assert!(
            sent.any(|sent| sent == payload),
            "{name}: payload {index} was not sent, or not in this order"
        );
    }
}

/// MD-04, MD-05, MD-08 to MD-12, MD-16 to MD-22, MD-40, INT-01, INT-17, SEC-11, SEC-12: one key server, two delivery servers
/// (a channel in mode B on both, one in mode A on one), six receivers: the right keys to the right ones.
#[test]
fn the_right_keys_reach_the_right_ones_across_nine_hosts() {
    if !can_run(&["ip", "ffmpeg", "faketime"]) {
        return;
    }
    let (lan, folder) = (Lan::new(9), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let keys = KeyServer::start(Some((&lan, 1)), folder, &["--start-wait", "300ms"]);
    keys.channel(BOTH, &[]);
    keys.channel(OWN, &["--mode", "delivery-server"]);
    let [plain, other, revoked, late, asleep, clock] =
        ["plain", "other", "revoked", "late", "asleep", "clock"]
            .map(|name| keys.device(name, &[BOTH, OWN]));
    let mut plain = receive(&lan, 4, folder, &plain, None);
    let mut other = receive(&lan, 5, folder, &other, None);
    let mut denied = receive(&lan, 6, folder, &revoked, None);
    let mut sleeper = receive(&lan, 8, folder, &asleep, None);
    // Five hours behind: certificates are backdated, and keys count remaining times.
    let mut behind = receive(&lan, 9, folder, &clock, Some("-5h"));
    let mut one = send(&lan, 2, folder, &keys, 1, &[(BOTH, "authority")]);
    let channels = [(BOTH, "authority"), (OWN, "delivery-server")];
    let mut two = send(&lan, 3, folder, &keys, 2, &channels);
    for program in [&plain, &other, &denied, &sleeper, &behind] {
        program.wait_for_key(BOTH);
        program.wait_for_key(OWN);
    }
    sleep(Duration::from_secs(5));
    sleeper.signal(Signal::STOP);
    sleep(Duration::from_secs(2));
    keys.admin(&["device", "revoke", &revoked.id]);
    // What was announced by now may be known to the device already.
    let status = keys.admin(&["epoch", "status"]);
    let last_of = |id: u16| {
        let channels = status["channels"].as_array().unwrap();
        let channel = channels.iter().find(|channel| channel["channel"] == id);
        let channel = channel.expect("the channel is there");
        let announced = channel["announced"] == true;
        let epoch = &channel[if announced { "next" } else { "current" }];
        epoch.as_u64().expect("an epoch")
    };
    let last = [BOTH, OWN].map(last_of);
    sleep(Duration::from_millis(1500));
    sleeper.signal(Signal::CONT);
    let mut joined = receive(&lan, 7, folder, &late, None);
    for program in [&mut one, &mut two] {
        let status = program.wait(Duration::from_secs(60));
        assert!(status.success(), "{}", program.errors());
    }
    sleep(Duration::from_millis(700));
    let all = [
        ("device-plain", &mut plain),
        ("device-other", &mut other),
        ("device-revoked", &mut denied),
        ("device-asleep", &mut sleeper),
        ("device-clock", &mut behind),
        ("device-late", &mut joined),
    ];
    for (name, program) in all {
        program.stop();
        for (index, id) in [BOTH, OWN].into_iter().enumerate() {
            let sent = fs::read(ts(if id == BOTH { 24 } else { 20 })).unwrap();
            let got = fs::read(folder.join(format!("{name}-{id}.ts"))).unwrap();
            let channel = program.channel(id);
            let name = format!("{name}, channel {id}");
            match name.as_str() {
                name if name.contains("revoked") => {
                    assert!(
                        sent.starts_with(&got) && !got.is_empty() && got.len() < sent.len() * 3 / 4,
                        "{name}: {} of {} bytes",
                        got.len(),
                        sent.len()
                    );
                    assert!(
                        epoch_of(&channel) <= last[index],
                        "{name}: holds epoch {}, revoked in {}",
                        epoch_of(&channel),
                        last[index]
                    );
                    let unknown = &channel["discards"]["unknown_key"];
                    assert!(unknown.as_u64() > Some(500), "{name}: {channel}");
                }
                name if name.contains("asleep") => {
                    assert_in_order(name, &sent, &got);
                    let tail = got.len() / 4;
                    assert_tail(name, &sent, &got[got.len() - tail / 1316 * 1316..]);
                    assert_eq!(channel["discards"]["bad_tag"], 0, "{name}: {channel}");
                }
                name if name.contains("late") => {
                    assert_clean(name, &channel);
                    assert_tail(name, &sent, &got);
                }
                name => {
                    assert_clean(name, &channel);
                    assert_same(name, &sent, &got);
                }
            }
        }
    }
    let said = denied.errors();
    assert!(
        said.contains("rights have changed") && said.contains("is revoked"),
        "it is told why: {said}"
    );
}
