//! The tutorial, as it stands: its commands, in one shell, in an empty folder.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::net::{Lan, can_run};

const TUTORIAL: &str = include_str!("../../docs/tutorial.md");

/// The commands of all blocks, in order.
fn commands() -> String {
    let mut script = String::new();
    for block in TUTORIAL.split("```sh\n").skip(1) {
        script += block.split("```").next().unwrap();
    }
    script
}

/// The commands in a network of their own, where the ports that the tutorial names are free. A line that fails ends it, but those that begin with `!`,
/// which must fail.
#[test]
fn the_tutorial_goes_from_an_empty_folder_to_a_bill() {
    if !can_run(&["ip", "ffmpeg", "jq", "cmp"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let lan = Lan::new(1);
    let binary = Path::new(env!("CARGO_BIN_EXE_sealcast"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let expect_failures: String = commands()
        .lines()
        .map(|line| match line.strip_prefix("! ") {
            Some(fails) => {
                format!("if {fails}; then echo 'it should have failed: {line}'; exit 1; fi\n")
            }
            None => format!("{line}\n"),
        })
        .collect();
    let script =
        format!("set -eum\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{expect_failures}");
    fs::write(folder.path().join("script"), script).unwrap();
    let ran = Command::new("ip")
        .args([
            "netns",
            "exec",
            lan.host(1),
            "timeout",
            "120",
            "bash",
            "script",
        ])
        .current_dir(folder.path())
        .env("PATH", path)
        .env_remove("SEALCAST_SESSION")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, errors) = (text(&ran.stdout), text(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{errors}");
    for said in [
        "the film is as it was",
        "What the bill would be",
        "refunded",
        "bills come out the same again",
    ] {
        assert!(
            (out.clone() + &errors).contains(said),
            "{said:?} is missing:\n{out}\n{errors}"
        );
    }
    let news = fs::metadata(folder.path().join("news.ts")).unwrap().len();
    assert!(news > 100_000, "{news} bytes of news");
}
