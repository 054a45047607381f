//! Bad input: each case one clear message and its exit code; other channels go on.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::keyserver::KeyServer;
use crate::process::{sealcast, sealcast_in};

/// Runs to the end (at most a few seconds) and gives exit code and standard error.
fn run(folder: &Path, args: &[&str]) -> (i32, String) {
    let mut program = sealcast(None, folder, "run", args);
    let status = program.wait(Duration::from_secs(10));
    (status.code().unwrap_or(-1), program.errors())
}

fn assert_refused(folder: &Path, args: &[&str], code: i32, words: &[&str]) {
    let (got, errors) = run(folder, args);
    assert_eq!(got, code, "{args:?}: {errors}");
    for word in words {
        assert!(
            errors.contains(word),
            "{args:?}: {word:?} is not in: {errors}"
        );
    }
}

const SEND: [&str; 7] = [
    "send",
    "--node",
    "/nowhere.json",
    "--channel",
    "1",
    "--input",
    "gen:?rate=1M",
];

/// MD-14.
#[test]
fn md_14_a_second_preset_that_is_not_smaller_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let keys = KeyServer::start(None, folder.path(), &[]);
    let add = |times: &[&str]| {
        keys.try_admin(&[&["channel", "add", "1"], times].concat())
            .unwrap_err()
    };
    let said = add(&["--prepare-ahead", "5s", "--fetch-ahead", "5s"]);
    for word in [
        "channel 1",
        "second preset",
        "must be smaller",
        "fetch_ahead",
    ] {
        assert!(said.contains(word), "{said}");
    }
    let said = add(&["--lifetime", "3s"]);
    assert!(
        said.contains("lifetime") && said.contains("prepare_ahead"),
        "{said}"
    );
    let said = add(&["--hold-max", "0"]);
    assert!(said.contains("hold_max"), "{said}");
    assert_eq!(keys.admin(&["channel", "list"]), serde_json::json!([]));
}

#[test]
fn wrong_settings_are_refused_with_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("send.toml");
    let path = config.display().to_string();
    let with = |text: &str| fs::write(&config, text).unwrap();
    with("node = \"/x.json\"\nlifetme = 3\n");
    assert_refused(
        folder.path(),
        &["send", "--config", &path],
        2,
        &["send.toml", "lifetme", "unknown field"],
    );
    with(
        "node = \"/x.json\"\n[[channel]]\nid = 1\nlanes = 256\ninput = \"-\"\ngroups = [\"udp://239.1.1.1:5000\"]\n",
    );
    assert_refused(
        folder.path(),
        &["send", "--config", &path],
        2,
        &["channel 1", "lanes = 256", "255"],
    );
    with(
        "node = \"/x.json\"\n[[channel]]\nid = 1\ninput = \"-\"\ngroups = [\"udp://10.1.1.1:5000\"]\n",
    );
    assert_refused(
        folder.path(),
        &["send", "--config", &path],
        2,
        &["10.1.1.1", "multicast"],
    );
    with(
        "node = \"/x.json\"\n[[channel]]\nid = 1\ninput = \"-\"\ngroups = [\"udp://239.1.1.1:5000?colour=red\"]\n",
    );
    assert_refused(
        folder.path(),
        &["send", "--config", &path],
        2,
        &["colour", "iface"],
    );
    assert_refused(
        folder.path(),
        &["send", "--config", "/nowhere.toml"],
        2,
        &["/nowhere.toml", "No such file"],
    );
    assert_refused(folder.path(), &SEND[..5], 2, &["no multicast group"]);
}

#[test]
fn wrong_settings_of_usage_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let group = ["--group", "udp://239.1.1.1:5000"];
    let refused = |more: &[&str], words: &[&str]| {
        let send = [&SEND[..], &group, more].concat();
        assert_refused(folder.path(), &send, 2, words);
    };
    refused(&["--usage-ship"], &["usage_ship", "--usage-dir FOLDER"]);
    let dir = folder.path().join("usage").display().to_string();
    for interval in ["1ms", "2m"] {
        let metered = ["--usage-dir", &dir, "--usage-interval", interval];
        refused(&metered, &["usage_interval", "from"]);
    }
    let config = folder.path().join("receive.toml");
    let receive = ["receive", "--config", config.to_str().unwrap()];
    let text = format!(
        "session = \"/x.json\"\nusage_dir = \"{dir}\"\nusage_ship = true\n[[channel]]\nid = 1\noutput = \"-\"\n\
         groups = [\"udp://239.1.1.1:5000\"]\n"
    );
    fs::write(&config, text).unwrap();
    assert_refused(
        folder.path(),
        &receive,
        2,
        &["usage_ship", "not of devices"],
    );
    for (command, interval) in [("serve", "0s"), ("serve", "2h"), ("slave", "999ms")] {
        let serve = ["serve", "--data", &dir, "--usage-interval", interval];
        let slave = [
            "slave",
            "serve",
            "--identity",
            "/x.json",
            "--usage-interval",
            interval,
        ];
        let args = if command == "serve" {
            &serve[..]
        } else {
            &slave[..]
        };
        assert_refused(folder.path(), args, 2, &["usage_interval", "from 1s to 1h"]);
    }
}

#[test]
fn what_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let keys = KeyServer::start(None, folder.path(), &[]);
    let node = keys.node(1).display().to_string();
    let send = ["send", "--node", &node, "--channel", "1"];
    let generated = ["--input", "gen:?rate=1M"];
    let nowhere = ["--group", "udp://239.1.1.1:5000?iface=nosuch0"];
    let nowhere = [&send[..], &generated, &nowhere].concat();
    assert_refused(folder.path(), &nowhere, 3, &["nosuch0", "lo"]);
    let group = ["--group", "udp://239.1.1.1:5000?iface=127.0.0.1"];
    let file = [&send[..], &["--input", "/nowhere.ts"], &group].concat();
    assert_refused(folder.path(), &file, 3, &["/nowhere.ts", "No such file"]);
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let input = format!("udp://127.0.0.1:{}", taken.local_addr().unwrap().port());
    let port = [&send[..], &["--input", &input], &group].concat();
    assert_refused(folder.path(), &port, 3, &["in use", "another port"]);
    let identity = [&SEND[..], &group].concat();
    let words = ["/nowhere.json", "No such file", "sealcast node enrol"];
    assert_refused(folder.path(), &identity, 3, &words);
    let device = keys.device("box", &[]).file.display().to_string();
    let other = ["send", "--node", &device, "--channel", "1"];
    let other = [&other[..], &generated, &group].concat();
    assert_refused(
        folder.path(),
        &other,
        3,
        &["is the identity of a device", "node"],
    );
}

/// One channel that cannot be opened does not stop the others.
#[test]
fn other_channels_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let keys = KeyServer::start(None, folder.path(), &["--start-wait", "300ms"]);
    keys.channel(1, &[]);
    keys.channel(2, &[]);
    let node = keys.node(1).display().to_string();
    let config = folder.path().join("send.toml");
    let channel = |id: u16, input: &str| {
        format!(
            "[[channel]]\nid = {id}\ninput = \"{input}\"\ngroups = [\"udp://239.255.77.{id}:{}?iface=127.0.0.1\"]\n",
            20000 + std::process::id() % 20000
        )
    };
    let text = format!(
        "node = \"{node}\"\n{}{}",
        channel(1, "/nowhere.ts"),
        channel(2, "gen:?rate=1M&seconds=1")
    );
    fs::write(&config, text).unwrap();
    let mut sender = sealcast(
        None,
        folder.path(),
        "s",
        &["send", "--json", "--config", config.to_str().unwrap()],
    );
    let status = sender.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(3), "{}", sender.errors());
    assert!(
        sender.errors().contains("/nowhere.ts"),
        "{}",
        sender.errors()
    );
    assert!(
        sender.channel(2)["packets"].as_u64() > Some(50),
        "{:?}",
        sender.status()
    );
}

#[test]
fn help_is_a_page_and_flags_are_checked() {
    let help = Command::new(env!("CARGO_BIN_EXE_sealcast"))
        .arg("--help")
        .output()
        .unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(
        help.status.success() && text.contains("demo") && text.lines().count() < 40,
        "{text}"
    );
    let folder = tempfile::tempdir().unwrap();
    let variable = ["SEALCAST_CRYPTO_BACKEND=fastest".to_owned()];
    let mut named = sealcast_in(&variable, None, folder.path(), "named", &SEND);
    assert_eq!(named.wait(Duration::from_secs(5)).code(), Some(2));
    let said = named.errors();
    assert!(
        said.contains("SEALCAST_CRYPTO_BACKEND") && said.contains("portable"),
        "{said}"
    );
    assert_refused(folder.path(), &["send", "--nonsense"], 2, &["--nonsense"]);
    assert_refused(
        folder.path(),
        &["send", "--channel", "70000"],
        2,
        &["70000"],
    );
}

#[test]
fn wrong_times_of_sales_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("serve.toml");
    for (sales, words) in [
        ("receive = \"0s\"", "sales.receive"),
        (
            "receive = \"2h\"\nsettle = \"1h\"",
            "must have arrived before",
        ),
        ("grant = \"91days\"", "sales.grant"),
    ] {
        fs::write(&file, format!("[sales]\n{sales}\n")).unwrap();
        let config = file.display().to_string();
        assert_refused(folder.path(), &["serve", "--config", &config], 2, &[words]);
    }
}
