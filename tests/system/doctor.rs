//! The doctor on this host, and in a network namespace whose settings it puts right and back.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::net::{Lan, can_run, sh};

/// Runs `sealcast doctor` (on a host of a LAN, or here) and gives exit code, standard output, standard error.
fn doctor(host: Option<&str>, args: &[&str]) -> (i32, String, String) {
    let binary = env!("CARGO_BIN_EXE_sealcast");
    let mut command = match host {
        None => Command::new(binary),
        Some(host) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", host, binary]);
            command
        }
    };
    let output = command.arg("doctor").args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

#[test]
fn the_doctor_tells_of_any_host() {
    for profile in ["sender", "receiver", "key-server", "lab"] {
        let (code, out, errors) = doctor(None, &["--profile", profile, "--json"]);
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{errors}"));
        assert_eq!(
            (&report["format"], &report["profile"]),
            (&1.into(), &profile.into())
        );
        let worst = report["worst"].as_str().unwrap();
        let expected = i32::from(["warning", "error"].contains(&worst));
        assert_eq!(code, expected, "{out}{errors}");
        let findings = report["findings"].as_array().unwrap();
        assert!(findings.len() > 10, "{out}");
        for finding in findings {
            for key in ["rule", "severity", "what", "why"] {
                assert!(finding[key].is_string(), "{finding}");
            }
            assert!(finding["fixes"].is_array(), "{finding}");
        }
    }
    let (_, text, _) = doctor(None, &[]);
    assert!(
        text.contains("io-uring") && text.contains(" ok\n"),
        "{text}"
    );
    // What it reads off the processor is what the packet crypto finds there.
    let fastest = sealcast_crypto::Backend::available()[0];
    assert!(text.contains(&format!("backend {fastest} suits")), "{text}");
}

#[test]
fn the_doctor_refuses_what_it_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("own.toml");
    fs::write(&profile, "grups = 3\n").unwrap();
    let own = profile.display().to_string();
    let cases = [
        (vec!["--profile", &own], 2, "grups"),
        (vec!["--profile", "/nowhere.toml"], 2, "key-server"),
        (vec!["--interface", "nosuch0"], 3, "lo"),
        (vec!["--cores", "a"], 2, "0-3,8"),
        (vec!["--dry-run"], 2, "--fix"),
        (vec!["--fix", "--undo"], 2, "--undo"),
    ];
    for (args, code, word) in cases {
        let (got, _, errors) = doctor(None, &args);
        assert_eq!(got, code, "{args:?}: {errors}");
        assert!(errors.contains(word), "{args:?}: {errors}");
    }
}

/// Only settings of the namespace are judged, so this host's own stay as they are.
const PROFILE: &str = r#"
groups = 50
rp_filter = "loose"
tx_queue_len = 500
features = ["generic-receive-offload", "rx-udp-gro-forwarding"]
skip = ["io-uring", "socket-buffers", "backlog", "clock-source", "governor", "interrupts"]
"#;

#[test]
fn the_doctor_fixes_a_namespace_and_takes_it_back() {
    if !can_run(&["ip", "ethtool", "sysctl"]) {
        return;
    }
    let (lan, folder) = (Lan::new(1), tempfile::tempdir().unwrap());
    let host = lan.host(1);
    let (profile, journal) = (
        folder.path().join("own.toml"),
        folder.path().join("undo.json"),
    );
    fs::write(&profile, PROFILE).unwrap();
    let (profile, file) = (profile.display().to_string(), journal.display().to_string());
    let run = |flags: &[&str]| {
        let common = [
            "--profile",
            &profile,
            "--interface",
            "eth0",
            "--journal",
            &file,
        ];
        doctor(Some(host), &[&common, flags].concat())
    };
    let value = |command: &str| {
        let words = ["netns", "exec", host, "sh", "-c", command];
        let output = Command::new("ip").args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let values = || {
        [
            value("sysctl -n net.ipv4.igmp_max_memberships"),
            value("sysctl -n net.ipv4.conf.eth0.rp_filter"),
            value("cat /sys/class/net/eth0/tx_queue_len"),
            value("ethtool -k eth0 | sed -n 's/^generic-receive-offload: //p'"),
            value("ethtool -k eth0 | sed -n 's/^rx-udp-gro-forwarding: //p'"),
        ]
    };
    sh(&format!(
        "ip netns exec {host} sysctl -qw net.ipv4.igmp_max_memberships=7 net.ipv4.conf.eth0.rp_filter=1 && \
         ip -n {host} link set eth0 txqueuelen 100 && ip netns exec {host} tc qdisc replace dev eth0 root pfifo && \
         ip netns exec {host} ethtool -K eth0 gro off"
    ));
    let (bad, good) = (
        ["7", "1", "100", "off", "off"],
        ["50", "2", "500", "on", "on"],
    );
    assert_eq!(values(), bad);

    let (code, out, errors) = run(&[]);
    assert_eq!(code, 1, "{out}{errors}");
    assert!(errors.contains("--fix"), "{errors}");
    let (code, out, _) = run(&["--fix", "--dry-run"]);
    assert!(
        code == 0 && out.contains("sysctl -w net.ipv4.conf.eth0.rp_filter=2   (was 1)"),
        "{out}"
    );
    assert_eq!(values(), bad, "a dry run and a look change nothing");

    let (code, out, errors) = run(&["--fix", "--json"]);
    assert_eq!(code, 0, "{out}{errors}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let steps = report["steps"].as_array().unwrap();
    assert!(
        steps.len() == 5 && steps.iter().all(|step| step["outcome"] == "done"),
        "{out}"
    );
    assert_eq!(values(), good);
    let (code, out, errors) = run(&["--fix"]);
    assert!(
        code == 0 && out.starts_with("nothing to change"),
        "{out}{errors}"
    );

    let elsewhere = ["--undo", "--journal", &file];
    let (code, _, errors) = doctor(None, &elsewhere);
    assert!(
        code == 3 && errors.contains("network namespace"),
        "{errors}"
    );
    let (code, out, errors) = run(&["--undo"]);
    assert_eq!(code, 0, "{out}{errors}");
    assert_eq!(values(), bad);
    assert!(!journal.exists());
    let (code, _, errors) = run(&["--undo"]);
    assert!(code == 0 && errors.contains("no undo journal"), "{errors}");
}
