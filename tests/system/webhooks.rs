//! Webhooks over HTTPS to a receiver of other software, whose authority the host knows, while the server is killed again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::keyserver::KeyServer;
use crate::net::can_run;

/// Kills of the server.
const KILLS: usize = 5;
/// Acts between two of them.
const ACTS: usize = 12;

struct Receiver {
    child: Child,
    port: u16,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A receiver with a certificate of an authority of its own, `ca.pem` in `folder`.
fn receiver(folder: &Path) -> Receiver {
    let (ca_key, key) = (
        rcgen::KeyPair::generate().unwrap(),
        rcgen::KeyPair::generate().unwrap(),
    );
    let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let file = |name: &str| folder.join(name);
    fs::write(file("ca.pem"), authority.pem()).unwrap();
    fs::write(file("receiver.pem"), certificate.pem()).unwrap();
    fs::write(file("receiver.key"), key.serialize_pem()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/receiver.py");
    let mut child = Command::new("python3")
        .arg(script)
        .args([file("receiver.pem"), file("receiver.key"), file("told")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    Receiver {
        child,
        port: line.trim().parse().unwrap(),
    }
}

/// What came: ids of events, and the events, in the order in which they were acknowledged.
fn told(folder: &Path) -> Vec<(String, Value)> {
    let text = fs::read_to_string(folder.join("told")).unwrap_or_default();
    let read = |line: &str| {
        let (id, event) = line.split_once(' ')?;
        Some((id.to_owned(), serde_json::from_str(event).ok()?))
    };
    text.lines().filter_map(read).collect()
}

#[test]
fn every_event_arrives_over_https_in_the_order_of_its_subject_however_often_the_server_is_killed() {
    if !can_run(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let receiver = receiver(path);
    let networks = ["--webhook-network", "127.0.0.0/8"];
    let mut server = KeyServer::start(None, path, &networks);
    let url = format!("https://127.0.0.1:{}/hooks", receiver.port);
    let made = server.admin(&["webhook", "add", &url, "--event", "account.*"]);
    let webhook = made["id"].as_str().unwrap().to_owned();
    // An authority that the host does not know vouches for nobody.
    let refused = server.try_admin(&["webhook", "test", &webhook]);
    let why = refused.unwrap_err();
    assert!(why.contains("certificate"), "{why}");
    server.kill();
    let trusted = [format!("SSL_CERT_FILE={}", path.join("ca.pem").display())];
    server.start_again_in(&trusted);
    let good = server.admin(&["webhook", "test", &webhook]);
    assert_eq!(good["good"], true, "{good}");

    let mut accounts = Vec::new();
    for round in 0..KILLS {
        for act in 0..ACTS {
            if act % 4 == 0 {
                let name = format!("account {round} {act}");
                let added = server.admin(&["account", "add", &name]);
                accounts.push(added["id"].as_str().unwrap().to_owned());
            } else {
                let standing = ["suspend", "resume"][act % 2];
                server.admin(&["account", standing, accounts.last().unwrap()]);
            }
        }
        server.kill();
        server.start_again_in(&trusted);
    }
    let log = server.admin(&["audit", "list", "--limit", "1000"]);
    let entries = log["entries"].as_array().unwrap().iter();
    let acts: BTreeMap<_, _> = entries
        .filter(|entry| entry["act"].as_str().unwrap().starts_with("account."))
        .map(|entry| (entry["number"].as_u64().unwrap(), entry["subject"].clone()))
        .collect();
    assert_eq!(acts.len(), KILLS * ACTS);
    let start = Instant::now();
    let missing = || {
        let came: BTreeSet<_> = told(path)
            .iter()
            .filter_map(|(_, event)| event["data"]["number"].as_u64())
            .collect();
        acts.keys().filter(|number| !came.contains(number)).count()
    };
    while missing() > 0 {
        let waited = start.elapsed();
        assert!(
            waited < Duration::from_secs(60),
            "{} are missing",
            missing()
        );
        sleep(Duration::from_millis(50));
    }
    // Each subject's events came in order, and an event has one name, however often it came.
    let (mut last, mut names) = (BTreeMap::new(), BTreeMap::new());
    for (id, event) in told(path) {
        let number = event["data"]["number"].as_u64().unwrap();
        let Some(subject) = acts.get(&number) else {
            continue;
        };
        assert_eq!(names.entry(number).or_insert_with(|| id.clone()), &id);
        let before = last.insert(subject.to_string(), number);
        assert!(
            before.is_none_or(|before| before <= number),
            "{number} after {before:?}"
        );
    }
}
