//! What an operator can do wrong: each has a clear message, and nothing is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::keyserver::KeyServer;
use crate::net::{can_run, sh};
use crate::process::{Program, sealcast, sealcast_at};

fn refused(mut program: Program, code: i32, words: &[&str]) {
    let status = program.wait(Duration::from_secs(20));
    let errors = program.errors();
    assert_eq!(status.code(), Some(code), "{errors}");
    for word in words {
        assert!(errors.contains(word), "{word:?} is not in: {errors}");
    }
}

fn enrol(clock: Option<&str>, folder: &Path, url: &str, code: &str, out: &str) -> Program {
    let out = folder.join(out).display().to_string();
    let args = [
        "device", "enrol", "--server", url, "--code", code, "--out", &out,
    ];
    sealcast_at(clock, None, folder, "enrol", &args)
}

fn code_of(server: &KeyServer, name: &str) -> String {
    server.admin(&["device", "add", name])["code"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// SEC-02, SEC-04, SEC-15: codes and certificates that are wrong, and clocks that differ.
#[test]
fn wrong_codes_certificates_and_clocks_are_named() {
    if !can_run(&["faketime"]) {
        return;
    }
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, other_path) = (folder.path(), elsewhere.path());
    let server = KeyServer::start(None, path, &[]);
    let other = KeyServer::start(None, other_path, &[]);
    let url = server.url();
    let code = code_of(&server, "box");
    // Typed wrong; of another server; used already; expired.
    let typed = if code.ends_with('A') { "B" } else { "A" };
    let typed = format!("{}{typed}", &code[..code.len() - 1]);
    refused(
        enrol(None, path, &url, &typed, "x.json"),
        2,
        &["enrolment code"],
    );
    refused(
        enrol(None, path, &url, "hello", "x.json"),
        2,
        &["SC1-", "copy it whole"],
    );
    let foreign = code_of(&other, "box");
    let words = ["not accepted", "not of the CA", "new code"];
    refused(enrol(None, path, &url, &foreign, "x.json"), 3, &words);
    let mut first = enrol(None, path, &url, &code, "first.json");
    assert!(first.wait(Duration::from_secs(10)).success());
    refused(
        enrol(None, path, &url, &code, "x.json"),
        3,
        &["used already", "ask for a new one"],
    );
    refused(
        enrol(None, path, &url, &code, "first.json"),
        3,
        &["exists already"],
    );
    let short = server.admin(&["device", "add", "late", "--valid", "1ms"]);
    sleep(Duration::from_millis(20));
    let short = short["code"].as_str().unwrap();
    refused(
        enrol(None, path, &url, short, "x.json"),
        3,
        &["was good until", "server's clock"],
    );
    // A clock three days behind, or a year ahead: the certificate does not hold there, and the difference is said.
    let code = code_of(&server, "clock");
    let words = ["not valid yet", "72 h", "behind the server's", "NTP"];
    refused(enrol(Some("-3d"), path, &url, &code, "x.json"), 3, &words);
    let words = ["expired", "h 0 min ahead of the server's"];
    refused(enrol(Some("+365d"), path, &url, &code, "x.json"), 3, &words);
    // Five hours do no harm.
    let mut fine = enrol(Some("-5h"), path, &url, &code, "fine.json");
    assert!(
        fine.wait(Duration::from_secs(10)).success(),
        "{}",
        fine.errors()
    );
    // The identity of one server is nothing to another.
    let text = fs::read_to_string(path.join("first.json")).unwrap();
    let moved = path.join("moved.json");
    fs::write(&moved, text.replace(&url, &other.url())).unwrap();
    fs::set_permissions(&moved, fs::Permissions::from_mode(0o600)).unwrap();
    let receive = |session: &Path| {
        let session = session.display().to_string();
        let args = [
            "receive",
            "--session",
            &session,
            "--channel",
            "1",
            "--group",
            "udp://239.255.66.1:5001?iface=127.0.0.1",
            "--output",
            "/dev/null",
            "--duration",
            "2s",
        ];
        sealcast(None, path, "receive", &args)
    };
    refused(receive(&moved), 0, &["not of the CA"]);
    let exposed = path.join("exposed.json");
    fs::copy(path.join("first.json"), &exposed).unwrap();
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o644)).unwrap();
    refused(receive(&exposed), 3, &["others may read", "chmod 600"]);
    // No right: said with the reason.
    refused(
        receive(&path.join("first.json")),
        0,
        &["no right to this channel"],
    );
    assert!(
        !path.join("x.json").exists(),
        "a refused enrolment leaves no file"
    );
}

/// Certificates that have expired are named on both sides of the link.
#[test]
fn an_expired_certificate_is_named_with_what_to_do() {
    if !can_run(&["faketime"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // The server's clock is 100 days ahead of everybody's when it comes again: what it issued before has expired.
    let mut server = KeyServer::start(None, path, &[]);
    let device = server.device("box", &[]);
    server.kill();
    server.start_again_at("+100d");
    let session = device.file.display().to_string();
    let args = [
        "receive",
        "--session",
        &session,
        "--channel",
        "1",
        "--group",
        "udp://239.255.66.1:5002?iface=127.0.0.1",
        "--output",
        "/dev/null",
        "--duration",
        "2s",
    ];
    let url = server.url();
    let text = fs::read_to_string(&device.file).unwrap();
    let old = serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let old = old["server"].as_str().unwrap();
    fs::write(&device.file, text.replace(old, &url)).unwrap();
    refused(
        sealcast(None, path, "r", &args),
        0,
        &["not valid yet", "behind the server's"],
    );
    // With the same clock on both sides only the device's own certificate is at fault.
    refused(
        sealcast_at(Some("+100d"), None, path, "r2", &args),
        0,
        &["certificate has expired", "enrol again"],
    );
}

/// SEC-14: the store's folder and the master key.
#[test]
fn a_store_in_use_and_a_master_key_that_is_wrong_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut server = KeyServer::start(None, path, &[]);
    server.channel(1, &[]);
    let data = server.data().display().to_string();
    let serve = |more: &[&str]| {
        let args = [
            "serve",
            "--data",
            &data,
            "--listen",
            "127.0.0.1:0",
            "--door",
            "127.0.0.1:0",
        ];
        sealcast(None, path, "second", &[&args[..], more].concat())
    };
    let words = ["in use by another process", "(process ", "--data"];
    refused(serve(&[]), 3, &words);
    server.kill();
    let key = server.data().join("master.key");
    let kept = path.join("kept.key");
    fs::rename(&key, &kept).unwrap();
    refused(serve(&[]), 3, &["is missing", "put it back"]);
    assert!(!key.exists(), "no new key is made over an old store");
    fs::write(&key, format!("{:064x}\n", 7)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    refused(
        serve(&[]),
        3,
        &["is not the master key", "nothing was changed"],
    );
    fs::write(&key, "hello\n").unwrap();
    refused(serve(&[]), 3, &["holds no master key", "64 hexadecimal"]);
    fs::copy(&kept, &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    refused(serve(&[]), 3, &["others may read", "chmod 600"]);
    fs::remove_file(&key).unwrap();
    refused(
        serve(&["--door", "0.0.0.0:0"]),
        2,
        &["0.0.0.0", "advertise"],
    );
    // With the right one, wherever it lies, everything is there.
    let kept = kept.display().to_string();
    server.start_again_with(&["--master-key", &kept]);
    assert_eq!(server.admin(&["channel", "list"])[0]["id"], 1);
    server.kill();
    // A file that is no database.
    fs::write(server.data().join("store.db"), [7; 9000]).unwrap();
    for name in ["store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(server.data().join(name));
    }
    refused(
        serve(&["--master-key", &kept]),
        3,
        &["store.db", "cannot be opened", "restore a backup"],
    );
}

/// A file system of its own, taken away at the end.
pub struct SmallDisk(String);

impl SmallDisk {
    pub fn new(at: &Path) -> Self {
        let at = at.display().to_string();
        sh(&format!(
            "mkdir -p {at} && mount -t tmpfs -o size=3m tmpfs {at}"
        ));
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .output();
    }
}

/// A full disk: said, nothing acknowledged is lost, and it goes on by itself once there is room.
#[test]
fn a_full_disk_is_named_and_passes() {
    if !can_run(&[]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let disk = SmallDisk::new(&path.join("data"));
    let mut server = KeyServer::start(None, path, &["--metrics", "127.0.0.1:0"]);
    server.admin(&["account", "add", "before"]);
    let filler = Path::new(&disk.0).join("filler");
    // Until not a page more fits.
    let _ = fs::write(&filler, vec![7; 4 << 20]);
    let mut refusal = None;
    for number in 0..2000 {
        match server.try_admin(&[
            "account",
            "add",
            &format!("filler {number} {}", "x".repeat(3000)),
        ]) {
            Ok(_) => {}
            Err(why) => {
                refusal = Some(why);
                break;
            }
        }
    }
    let why = refusal.expect("the disk is full at last");
    assert!(
        why.contains("disk of the store is full") && why.contains("nothing was changed"),
        "{why}"
    );
    let count = server.accounts().len();
    fs::remove_file(&filler).unwrap();
    server.admin(&["account", "add", "after"]);
    let there = server.accounts();
    assert_eq!(there.len(), count + 1);
    server.kill();
    server.start_again();
    let again = server.accounts();
    assert_eq!(again, there, "what was acknowledged is there");
    server.kill();
    drop(disk);
}
