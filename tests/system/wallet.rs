//! A device's wallet through the real programs: bought, downloaded, played, received, and refused with the reason.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::Value;

use crate::keyserver::{Device, KeyServer};
use crate::net::can_run;
use crate::process::sealcast;
use crate::sample::{assert_same, ts};

const LIMIT: Duration = Duration::from_secs(30);

/// A device beside its key server.
pub struct Box<'a> {
    server: &'a KeyServer,
    folder: &'a Path,
    pub device: Device,
    identity: String,
}

impl<'a> Box<'a> {
    /// Adds and enrols it.
    pub fn new(server: &'a KeyServer, folder: &'a Path, name: &str) -> Self {
        let device = server.device(name, &[]);
        Self {
            server,
            folder,
            identity: device.file.display().to_string(),
            device,
        }
    }

    /// `sealcast device ...` with its JSON, or the exit code and what it said.
    pub fn run(&self, command: &str, args: &[&str]) -> Result<Value, (i32, String)> {
        let start = ["device", command, "--json", "--identity", &self.identity];
        match self.server.run(&[&start[..], args].concat()) {
            (0, out, _) => serde_json::from_str(&out).map_err(|error| (0, error.to_string())),
            (code, _, errors) => Err((code, errors)),
        }
    }

    /// Plays to standard output: what came, exit code, what it said.
    fn play(&self, content: &str, more: &[&str]) -> (Vec<u8>, Option<i32>, String) {
        let args = ["device", "play", "--identity", &self.identity, content];
        let mut program = sealcast(None, self.folder, "play", &[&args[..], more].concat());
        let status = program.wait(LIMIT);
        (program.written(), status.code(), program.errors())
    }

    /// It is refused with this word, and not a byte of it comes.
    fn refused(&self, content: &str, word: &str) {
        let (played, code, said) = self.play(content, &[]);
        assert_eq!((played.len(), code), (0, Some(1)), "{said}");
        assert!(said.contains(word), "{word}: {said}");
    }

    /// Its account.
    pub fn account(&self) -> String {
        let shown = self.server.admin(&["device", "show", &self.device.id]);
        shown["account"].as_str().unwrap().to_owned()
    }

    /// Its account has paid this much before it buys.
    pub fn pay_in(&self, amount: &str) {
        let account = self.account();
        self.server
            .admin(&["money", "pay-in", &account, amount, "EUR"]);
    }

    fn balance(&self) -> String {
        let money = self.server.admin(&["money", "show", &self.account()]);
        money["money"][0]["balance"].to_string()
    }
}

/// A film on the server; its id.
fn add_film(server: &KeyServer, film: &Path) -> String {
    let provider = server.admin(&["provider", "add", "Northern Films"]);
    let (operator, film) = (server.operator(), film.display().to_string());
    let mut add = vec!["content", "--json", "--identity", &operator, "add", &film];
    add.extend(["--provider", provider["id"].as_str().unwrap()]);
    add.extend(["--title", "A film", "--kind", "video", "--format", "mpegts"]);
    let (code, out, errors) = server.run(&add);
    assert_eq!(code, 0, "{errors}");
    let ready: Value = serde_json::from_str(&out).unwrap();
    ready["content"].as_str().unwrap().to_owned()
}

/// MV-05, MV-25, MV-28, PC-26, PC-27, SEC-21: from the offer to the picture, and no further than what was paid for.
#[test]
fn mv_25_mv_28_pc_26_a_film_is_bought_downloaded_played_and_refused_after_a_refund() {
    if !can_run(&["ffmpeg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = KeyServer::start(None, folder.path(), &[]);
    let film = ts(5);
    let content = add_film(&server, &film);
    let offer = ["offer", "add", "The film", &content];
    let price = ["--price", "499", "--currency", "EUR"];
    let offer = server.admin(&[&offer[..], &price].concat());
    let offer = offer["id"].as_str().unwrap();
    let device = Box::new(&server, folder.path(), "box");

    // Without a wallet nothing is played; it is made by the first that needs it.
    let (code, said) = device.run("licences", &[]).unwrap_err();
    assert!(code == 3 && said.contains("device sync"), "{said}");
    let sold = device.run("offers", &[]).unwrap();
    assert_eq!(sold[0]["id"], offer);
    let (code, said) = device.run("buy", &[offer]).unwrap_err();
    assert!(code == 1 && said.contains("came to nothing"), "{said}");
    device.pay_in("1000");
    let bought = device.run("buy", &[offer]).unwrap();
    assert_eq!(bought[0]["stage"], "done", "{bought}");
    let purchase = bought[0]["purchase"].as_str().unwrap();
    let balance = device.balance();
    assert_eq!(balance, "501", "paid once");

    let (_, code, said) = device.play(&content, &[]);
    assert!(
        code == Some(1) && said.contains("device download"),
        "{said}"
    );
    let out = folder.path().join("film.sealed").display().to_string();
    let fetched = device.run("download", &[&content, "--out", &out]).unwrap();
    assert_eq!(fetched["file"], out.as_str());
    let again = device.run("download", &[&content]).unwrap();
    assert_eq!(again, fetched, "it is here");
    let plain = fs::read(&film).unwrap();
    let sealed = fs::read(&out).unwrap();
    assert!(!sealed.windows(188).any(|window| window == &plain[..188]));
    let (played, code, said) = device.play(&content, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert_same("played", &plain, &played);
    // What is damaged is found out, and fetched anew.
    let mut damaged = sealed.clone();
    damaged[1_000_000] ^= 1;
    fs::write(&out, &damaged).unwrap();
    let (played, code, said) = device.play(&content, &[]);
    assert!(
        code == Some(1) && said.contains("device download"),
        "{said}"
    );
    assert!(plain.starts_with(&played) && played.len() < plain.len());
    device.run("download", &[&content]).unwrap();
    assert!(fs::read(&out).unwrap() == sealed);
    // What is somebody else's stays, however often it is asked for.
    fs::write(&out, "mine").unwrap();
    for _ in 0..2 {
        let (code, said) = device.run("download", &[&content]).unwrap_err();
        assert!(code == 3 && said.contains("film.sealed"), "{said}");
    }
    assert_eq!(fs::read(&out).unwrap(), b"mine");
    fs::write(&out, &sealed).unwrap();
    device.run("download", &[&content]).unwrap();
    let to = folder.path().join("player.ts").display().to_string();
    let (_, code, said) = device.play(&content, &["--player", &format!("cat > {to}")]);
    assert_eq!(code, Some(0), "{said}");
    assert_same("by a player", &plain, &fs::read(&to).unwrap());
    let (_, code, said) = device.play(&content, &["--player", "head -c 1000 >/dev/null"]);
    assert_eq!(code, Some(0), "a player may have enough: {said}");

    // Another device has the file, and no licence for it.
    let other = Box::new(&server, folder.path(), "other");
    let copy = folder.path().join("copy.sealed").display().to_string();
    other.run("download", &[&content, "--out", &copy]).unwrap();
    other.refused(&content, "there is no licence");

    server.admin(&["purchase", "refund", purchase, "asked for"]);
    device.run("sync", &[]).unwrap();
    device.refused(&content, "refunded");
    let licences = device.run("licences", &[]).unwrap();
    assert_eq!(licences[0]["refusal"]["reason"], "invalid", "{licences}");

    // One that an operator gives is fetched by itself; suspended, it says so.
    let version = format!("{content}:1");
    let given = server.admin(&["licence", "give", &device.device.id, &version]);
    let synced = device.run("sync", &[]).unwrap();
    assert_eq!(synced["new"][0], given["id"], "{synced}");
    let (played, _, said) = device.play(&content, &[]);
    assert_eq!(played.len(), plain.len(), "{said}");
    let id = given["id"].as_str().unwrap();
    server.admin(&["licence", "suspend", id]);
    device.run("sync", &[]).unwrap();
    device.refused(&content, "is suspended");
    let certificates = device.run("certificates", &[]).unwrap();
    assert_eq!(certificates.as_array().unwrap().len(), 2, "{certificates}");
    let stages = [&certificates[0]["stage"], &certificates[1]["stage"]];
    assert_eq!(stages, ["failed", "done"]);
}

/// MV-28, INT-01: a receiver that goes by its wallet says before it asks for keys why it gets none; without a wallet the key server says it.
#[test]
fn int_01_a_channel_is_received_under_a_licence_and_refused_with_the_reason() {
    if !can_run(&[]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = KeyServer::start(None, folder.path(), &[]);
    server.channel(1, &[]);
    let device = Box::new(&server, folder.path(), "box");
    let secret = folder.path().join("passphrase");
    fs::write(&secret, "correct horse battery\n").unwrap();
    let secret = secret.display().to_string();
    let locked = ["--passphrase-file", &secret];
    device.run("sync", &locked).unwrap();
    let (code, said) = device.run("licences", &[]).unwrap_err();
    assert!(code == 3 && said.contains("passphrase"), "{said}");
    let wallet = Path::new(&device.identity).with_extension("wallet");
    let wallet = wallet.display().to_string();
    // A port that the kernel has free.
    let free = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let group = format!("udp://239.1.1.1:{}?iface=lo", free.port());
    let receive = |by_wallet: bool| {
        let out = folder.path().join("out.ts").display().to_string();
        let mut args = vec!["receive", "--session", &device.identity, "--channel", "1"];
        args.extend(["--group", &group, "--output", &out]);
        args.extend(["--duration", "2s"]);
        if by_wallet {
            args.extend(["--wallet", &wallet, locked[0], locked[1]]);
        }
        let mut program = sealcast(None, folder.path(), "receive", &args);
        let status = program.wait(LIMIT);
        (status.code(), program.errors())
    };
    let (code, said) = receive(true);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("there is no licence for channel 1"), "{said}");
    let (_, said) = receive(false);
    assert!(said.contains("no right"), "the key server's word: {said}");

    let given = server.admin(&["licence", "give", &device.device.id, "1"]);
    let (code, said) = receive(true);
    assert!(said.contains("a licence allows it"), "{said}");
    assert_eq!(code, Some(0), "{said}");
    let id = given["id"].as_str().unwrap();
    server.admin(&["licence", "end", id, "--why", "lost"]);
    let (code, said) = receive(true);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("does not count since") && said.contains("lost"),
        "{said}"
    );
    let (_, said) = receive(false);
    assert!(said.contains("lost"), "the key server's word: {said}");
}

/// PC-26, PC-30: a program that is killed while it buys, wherever that is, has bought once when it is asked again.
#[test]
fn pc_30_a_buyer_that_is_killed_has_bought_once_when_it_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = KeyServer::start(None, folder.path(), &[]);
    server.channel(1, &[]);
    let price = ["--price", "10", "--currency", "EUR"];
    let offer = server.admin(&[&["offer", "add", "A day", "1"][..], &price].concat());
    let offer = offer["id"].as_str().unwrap();
    let device = Box::new(&server, folder.path(), "box");
    device.pay_in("1000");
    device.run("sync", &[]).unwrap();
    let done = || {
        let all = device.run("certificates", &[]).unwrap();
        let all = all.as_array().unwrap();
        all.iter().filter(|of| of["stage"] == "done").count()
    };
    let seed = std::env::var("SEALCAST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    let start = Instant::now();
    device.run("buy", &[offer]).unwrap();
    let whole = start.elapsed();
    let mut killed = 0;
    for round in 2..=9 {
        let args = ["device", "buy", "--identity", &device.identity, offer];
        let mut buyer = sealcast(None, folder.path(), "buyer", &args);
        sleep(rng.random_range(Duration::ZERO..whole));
        buyer.signal(Signal::KILL);
        killed += u32::from(!buyer.wait(LIMIT).success());
        if done() < round {
            device.run("buy", &[offer]).unwrap();
        }
        assert_eq!(done(), round, "seed {seed}");
    }
    assert!(killed > 0, "seed {seed}: each was done before");
    let bought = server.admin(&["purchase", "list", "--device", &device.device.id]);
    let bought = bought["purchases"].as_array().unwrap();
    assert_eq!(bought.len(), 9, "seed {seed}: {bought:?}");
    assert!(
        bought.iter().all(|of| of["state"] == "settled"),
        "{bought:?}"
    );
    let licences = device.run("licences", &[]).unwrap();
    let licences = licences.as_array().unwrap();
    assert_eq!(licences.len(), 9, "seed {seed}");
    let good = |of: &Value| of["usable"] == true && of["acknowledged"] == true;
    assert!(licences.iter().all(good), "seed {seed}: {licences:?}");
}
