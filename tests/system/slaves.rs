//! Slave key servers as real processes: they answer devices in the master's place, and each part may be lost.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::keyserver::{KeyServer, keys, receiver, sender};
use crate::net::{Lan, can_run, sh};
use crate::operations::get;
use crate::process::{Program, sealcast};
use crate::sample::{assert_same, ts};
use crate::streams::assert_clean;

const GROUP: [&str; 1] = ["udp://239.1.1.1:5000?ttl=4"];
/// Not the master's: a host may block one and not the other.
const DOOR: u16 = 8454;

/// Key times that leave a device room for two retries behind the latest moment at which it first asks.
pub const ROOM_FOR_RETRIES: [&str; 8] = [
    "--lifetime",
    "6s",
    "--prepare-ahead",
    "5500ms",
    "--fetch-ahead",
    "5s",
    "--grace",
    "200ms",
];

/// A slave on a host of its own.
pub struct Slave {
    pub program: Program,
    host: usize,
    name: String,
    folder: PathBuf,
    args: Vec<String>,
    starts: u32,
}

impl Slave {
    /// Enrols slave `number` and starts it on `host`, fed by one of `parents` (hosts), the master first if there is none.
    pub fn start(
        lan: &Lan,
        folder: &Path,
        keys: &KeyServer,
        (number, host): (u32, usize),
        parents: &[usize],
    ) -> Self {
        Self::start_with(lan, folder, keys, (number, host), parents, &[])
    }

    /// As [`Slave::start`], with more flags.
    pub fn start_with(
        lan: &Lan,
        folder: &Path,
        keys: &KeyServer,
        (number, host): (u32, usize),
        parents: &[usize],
        more: &[&str],
    ) -> Self {
        let address = format!("10.77.0.{host}");
        let code = keys.admin(&[
            "slave",
            "add",
            "--slave",
            &number.to_string(),
            "--host",
            &address,
        ]);
        let name = format!("slave-{number}");
        let file = folder.join(format!("{name}.json")).display().to_string();
        let code = code["code"].as_str().unwrap();
        let enrol = [
            "slave",
            "enrol",
            "--server",
            &keys.url(),
            "--code",
            code,
            "--out",
            &file,
        ];
        let (status, _, errors) = keys.run(&enrol);
        assert_eq!(status, 0, "{errors}");
        let data = folder.join(format!("{name}-data")).display().to_string();
        let mut args = ["slave", "serve", "--identity", &file, "--data", &data]
            .map(String::from)
            .to_vec();
        args.extend(["--listen".to_owned(), format!("{address}:8453")]);
        args.extend(["--door".to_owned(), format!("{address}:{DOOR}")]);
        args.extend(["--metrics".to_owned(), format!("{address}:9100")]);
        for parent in parents {
            let port = if *parent == 1 { 8443 } else { 8453 };
            args.extend([
                "--parent".to_owned(),
                format!("https://10.77.0.{parent}:{port}"),
            ]);
        }
        args.extend(more.iter().map(|flag| (*flag).to_owned()));
        let mut slave = Self {
            program: launch(lan, host, folder, &format!("{name}-0"), &args),
            host,
            name,
            folder: folder.to_path_buf(),
            args,
            starts: 0,
        };
        slave.starts += 1;
        slave
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.program.pid()
    }

    pub fn kill(&mut self) {
        self.program.signal(Signal::KILL);
        self.program.wait(Duration::from_secs(10));
    }

    pub fn start_again(&mut self, lan: &Lan) {
        let name = format!("{}-{}", self.name, self.starts);
        self.program = launch(lan, self.host, &self.folder, &name, &self.args);
        self.starts += 1;
    }

    /// One of its metrics; `None` while it does not answer.
    fn metric(&self, lan: &Lan, name: &str) -> Option<u64> {
        let at: SocketAddr = format!("10.77.0.{}:9100", self.host).parse().unwrap();
        let text = lan.enter(self.host, || {
            std::net::TcpStream::connect(at)
                .is_ok()
                .then(|| get(at, "/metrics"))
        })?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        value.parse().ok()
    }

    pub fn until(&self, lan: &Lan, metric: &str, value: u64) {
        let start = Instant::now();
        while self.metric(lan, metric) != Some(value) {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{}: {metric} is {:?}\n{}",
                self.name,
                self.metric(lan, metric),
                self.program.errors()
            );
            sleep(Duration::from_millis(20));
        }
    }

    pub fn granted(&self, lan: &Lan) -> u64 {
        let granted = "sealcast_door_requests_total{outcome=\"granted\"}";
        self.metric(lan, granted).unwrap_or(0)
    }
}

fn launch(lan: &Lan, host: usize, folder: &Path, name: &str, args: &[String]) -> Program {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    sealcast(Some(lan.host(host)), folder, name, &args)
}

fn cut(lan: &Lan, host: usize, up: bool) {
    let state = if up { "up" } else { "down" };
    sh(&format!("ip -n {} link set eth0 {state}", lan.host(host)));
}

/// MD-28 to MD-32, MD-40: a master, slaves 1 and 2 in a chain and slave 3, a delivery server, and receivers of which one cannot
/// reach the master's door. While keys change each part is lost in turn; no packet is.
#[test]
fn each_part_is_lost_in_turn_and_no_packet_is() {
    if !can_run(&["ip", "ffmpeg", "nft"]) {
        return;
    }
    let (lan, folder) = (Lan::new(7), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let mut server = KeyServer::start(Some((&lan, 1)), folder, &["--start-wait", "300ms"]);
    server.admin(&[&["channel", "add", "1"], &ROOM_FOR_RETRIES[..]].concat());
    let mut one = Slave::start(&lan, folder, &server, (1, 2), &[1]);
    one.until(&lan, "sealcast_slave_leased", 1);
    // Its first parent is slave 1, its second the master.
    let mut two = Slave::start(&lan, folder, &server, (2, 3), &[2, 1]);
    let mut three = Slave::start(&lan, folder, &server, (3, 4), &[1]);
    for slave in [&one, &two, &three] {
        slave.until(&lan, "sealcast_slave_leased", 1);
    }
    assert_eq!(
        one.metric(&lan, "sealcast_slave_behind"),
        Some(1),
        "slave 2 is behind slave 1"
    );
    lan.block_udp(7, 8444);
    let mut near = receiver(&lan, 6, folder, "near", &server, &GROUP, &[]);
    let mut far = receiver(&lan, 7, folder, "far", &server, &GROUP, &[]);
    let input = ts(34).display().to_string();
    let more = ["--input", &input, "--start-delay", "1500ms"];
    let mut sender = sender(&lan, 5, folder, "s", (&server, 1), &GROUP, &more);
    near.wait_for_key(1);
    far.wait_for_key(1);
    sleep(Duration::from_secs(3));

    // Slave 1 dies: slave 2 takes the master.
    one.kill();
    sleep(Duration::from_secs(1));
    two.until(&lan, "sealcast_slave_leased", 1);
    one.start_again(&lan);
    one.until(&lan, "sealcast_slave_leased", 1);

    // Slave 3 is cut off for longer than a lease, and comes back with what it missed.
    cut(&lan, 4, false);
    sleep(Duration::from_secs(4));
    cut(&lan, 4, true);
    sh(&format!(
        "ip -n {} route add 239.0.0.0/8 dev eth0 || true",
        lan.host(4)
    ));
    three.until(&lan, "sealcast_slave_leased", 1);

    // The master is restarted, then everything at once: senders hold meanwhile.
    server.kill();
    sleep(Duration::from_secs(3));
    assert_eq!(one.metric(&lan, "sealcast_slave_leased"), Some(0));
    assert_eq!(one.metric(&lan, "sealcast_slave_serves"), Some(1));
    server.start_again();
    one.until(&lan, "sealcast_slave_leased", 1);
    two.until(&lan, "sealcast_slave_leased", 1);
    sleep(Duration::from_secs(2));
    // They count anew from here on; how many changes are left then depends on how fast the machine starts them.
    let granted = |slaves: [&Slave; 3]| slaves.map(|slave| slave.granted(&lan)).iter().sum::<u64>();
    let before = granted([&one, &two, &three]);
    one.kill();
    two.kill();
    three.kill();
    server.kill();
    sleep(Duration::from_millis(500));
    one.start_again(&lan);
    two.start_again(&lan);
    three.start_again(&lan);
    sleep(Duration::from_millis(500));
    server.start_again();
    for slave in [&one, &two, &three] {
        slave.until(&lan, "sealcast_slave_leased", 1);
    }

    let status = sender.wait(Duration::from_secs(60));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(700));
    let after = granted([&one, &two, &three]);
    near.stop();
    far.stop();
    for (name, receiver) in [("near", &near), ("far", &far)] {
        assert_clean(name, &receiver.channel(1));
        let (sent, got) = (fs::read(ts(34)).unwrap(), folder.join(format!("{name}.ts")));
        assert_same(name, &sent, &fs::read(got).unwrap());
    }
    assert!(
        before + after > 3 && after > 0,
        "slaves have answered {before} and {after} times"
    );
    assert_eq!(sender.channel(1)["not_sent"], 0, "{}", sender.channel(1));
}

/// SEC-11: a device that has the announced key already loses the stream at the next change all the same.
#[test]
fn sec_11_an_immediate_revocation_replaces_what_was_announced() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let (lan, folder) = (Lan::new(5), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let server = KeyServer::start(Some((&lan, 1)), folder, &["--start-wait", "300ms"]);
    server.admin(&[&["channel", "add", "1"], &ROOM_FOR_RETRIES[..]].concat());
    let slave = Slave::start(&lan, folder, &server, (1, 2), &[1]);
    slave.until(&lan, "sealcast_slave_leased", 1);
    let device = server.device("lost", &[1]);
    let mut lost = crate::keyserver::receiver_as(&lan, 3, folder, "lost", &device, &GROUP, &[]);
    let mut stays = receiver(&lan, 5, folder, "stays", &server, &GROUP, &[]);
    let input = ts(24).display().to_string();
    let more = ["--input", &input, "--start-delay", "1500ms"];
    let mut sender = sender(&lan, 4, folder, "s", (&server, 1), &GROUP, &more);
    // Both hold what is announced, and there is time to replace it: devices fetch at a random moment.
    let epoch_with_next = |receiver: &Program| {
        let keys = receiver.channel(1)["keys"].clone();
        let epoch = keys["epoch"].as_u64()?;
        let is_time = keys["remaining_ms"].as_u64() > Some(2000);
        (is_time && keys["next_epoch"].as_u64() == Some(epoch + 1)).then_some(epoch)
    };
    let start = Instant::now();
    let epoch = loop {
        let both = (epoch_with_next(&lost), epoch_with_next(&stays));
        if let (Some(one), Some(other)) = both
            && one == other
        {
            break one;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{both:?}");
        sleep(Duration::from_millis(20));
    };
    server.admin(&["right", "revoke", &device.id, "1", "--immediate"]);
    stays.wait_until(
        1,
        Duration::from_secs(15),
        "the change to the other key",
        |channel| channel["keys"]["epoch"].as_u64() >= Some(epoch + 2),
    );
    sleep(Duration::from_secs(2));
    let channel = lost.channel(1);
    assert!(
        channel["keys"]["epoch"].as_u64() < Some(epoch + 2),
        "{channel}"
    );
    assert!(
        channel["discards"]["unknown_key"].as_u64() > Some(0),
        "{channel}"
    );
    let status = sender.wait(Duration::from_secs(60));
    assert!(status.success(), "{}", sender.errors());
    sleep(Duration::from_millis(700));
    lost.stop();
    stays.stop();
    assert_clean("stays", &stays.channel(1));
    let (sent, got) = (fs::read(ts(24)).unwrap(), folder.join("stays.ts"));
    assert_same("stays", &sent, &fs::read(got).unwrap());
    assert!(
        server.program.errors().contains("Replaced"),
        "{}",
        server.program.errors()
    );
}

/// INT-05, SEC-11: a right that is revoked counts no more at a slave, within the bound that the docs give.
#[test]
fn int_05_a_revoked_device_gets_no_key_from_any_slave() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let (lan, folder) = (Lan::new(4), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let server = keys(&lan, folder);
    let slave = Slave::start(&lan, folder, &server, (1, 2), &[1]);
    slave.until(&lan, "sealcast_slave_leased", 1);
    let device = server.device("tv", &[1]);
    let mut tv = crate::keyserver::receiver_as(&lan, 3, folder, "tv", &device, &GROUP, &[]);
    let input = ts(20).display().to_string();
    let more = ["--input", &input, "--start-delay", "1500ms"];
    let mut sender = sender(&lan, 4, folder, "s", (&server, 1), &GROUP, &more);
    tv.wait_for_key(1);
    sleep(Duration::from_secs(3));
    server.admin(&["right", "revoke", &device.id, "1"]);
    // It keeps the key in use and one that was announced; keys change every second.
    sleep(Duration::from_secs(4));
    let before = tv.channel(1)["packets"].as_u64().unwrap();
    assert!(before > 0);
    sleep(Duration::from_secs(3));
    assert_eq!(
        tv.channel(1)["packets"].as_u64().unwrap(),
        before,
        "{}",
        tv.channel(1)
    );
    let refused = "sealcast_door_requests_total{outcome=\"rights_changed\"}";
    let granted = slave.granted(&lan);
    sleep(Duration::from_secs(2));
    assert_eq!(
        slave.granted(&lan),
        granted,
        "rights_changed: {:?}",
        slave.metric(&lan, refused)
    );
    tv.stop();
    sender.stop();
}
