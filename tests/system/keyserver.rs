//! The key server under test, and what an operator does with it: through `sealcast admin`, as a person would.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::net::Lan;
use crate::process::{Program, sealcast, sealcast_in, shifted};

/// Key times of the system tests: a change every second.
pub const FAST: [&str; 8] = [
    "--lifetime",
    "1s",
    "--prepare-ahead",
    "700ms",
    "--fetch-ahead",
    "400ms",
    "--grace",
    "200ms",
];

/// Sending begins with the channel's first epoch, so an input of whole seconds that starts this late ends in the middle of an
/// epoch: at a boundary, the sender's last switch might have no packet by which a receiver learns of it.
pub const MID_EPOCH: &str = "1500ms";

/// A running key server.
pub struct KeyServer {
    pub program: Program,
    host: Option<String>,
    folder: PathBuf,
    args: Vec<String>,
    starts: u32,
}

/// A device that has enrolled.
#[derive(Clone)]
pub struct Device {
    pub id: String,
    pub file: PathBuf,
}

impl KeyServer {
    /// Starts one on host `host` of a LAN, or on this one's loopback interface; its store is in `folder`.
    pub fn start(lan: Option<(&Lan, usize)>, folder: &Path, more: &[&str]) -> Self {
        let (host, ip) = match lan {
            Some((lan, host)) => (Some(lan.host(host).to_owned()), format!("10.77.0.{host}")),
            None => (None, "127.0.0.1".to_owned()),
        };
        // In a namespace of its own every port is free; elsewhere the kernel chooses.
        let (tcp, udp) = if host.is_some() { (8443, 8444) } else { (0, 0) };
        let data = folder.join("data").display().to_string();
        let args = [
            "serve",
            "--data",
            &data,
            "--listen",
            &format!("{ip}:{tcp}"),
            "--door",
            &format!("{ip}:{udp}"),
        ];
        let args: Vec<String> = args
            .iter()
            .chain(more)
            .map(|arg| (*arg).to_owned())
            .collect();
        let program = launch(&[], host.as_deref(), folder, &args, 0);
        let server = Self {
            program,
            host,
            folder: folder.to_path_buf(),
            args,
            starts: 1,
        };
        server.wait_until_it_runs();
        server
    }

    /// Until it says so.
    pub fn wait_until_it_runs(&self) {
        let start = Instant::now();
        while !self.program.errors().contains("the key server runs") {
            assert!(
                start.elapsed() < Duration::from_secs(15),
                "the key server does not run: {}",
                self.program.errors()
            );
            sleep(Duration::from_millis(10));
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.program.signal(Signal::KILL);
        self.program.wait(Duration::from_secs(10));
    }

    /// Starts it again on the same folder; it must have ended.
    pub fn start_again(&mut self) {
        self.start_again_in(&[]);
    }

    /// As [`KeyServer::start_again`], with more flags.
    pub fn start_again_with(&mut self, more: &[&str]) {
        self.args.extend(more.iter().map(|arg| (*arg).to_owned()));
        self.start_again();
    }

    /// As [`KeyServer::start_again`], with its wall clock shifted.
    pub fn start_again_at(&mut self, clock: &str) {
        self.start_again_in(&shifted(clock));
    }

    /// As [`KeyServer::start_again`], with these variables (`NAME=VALUE`) in its environment.
    pub fn start_again_in(&mut self, variables: &[String]) {
        let host = self.host.as_deref();
        self.program = launch(variables, host, &self.folder, &self.args, self.starts);
        self.starts += 1;
        self.wait_until_it_runs();
    }

    /// The standby on host `host`, which has the address of this one by now: it starts with a copy of the store.
    pub fn stand_by(&self, lan: &Lan, host: usize, copy: &Path) -> Self {
        let data = self.folder.join("standby/data");
        std::fs::create_dir_all(&data).unwrap();
        std::fs::copy(copy, data.join("store.db")).unwrap();
        let server = self.beside(lan, host);
        server.wait_until_it_runs();
        server
    }

    /// A server with the secrets and the settings of this one on host `host`, with a data folder of its own.
    pub fn beside(&self, lan: &Lan, host: usize) -> Self {
        let folder = self.folder.join("standby");
        let data = folder.join("data");
        std::fs::create_dir_all(&data).unwrap();
        for secret in ["master.key", "admin.json"] {
            std::fs::copy(self.data().join(secret), data.join(secret)).unwrap();
        }
        let (host, former) = (lan.host(host), self.data().display().to_string());
        let args = self.args.iter();
        let args: Vec<_> = args
            .map(|arg| arg.replace(&former, &data.display().to_string()))
            .collect();
        Self {
            program: launch(&[], Some(host), &folder, &args, 0),
            host: Some(host.to_owned()),
            folder,
            args,
            starts: 1,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.program.pid().as_raw_nonzero().get()
    }

    /// Its folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Runs `sealcast` beside it; exit code, standard output, standard error.
    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        let binary = env!("CARGO_BIN_EXE_sealcast");
        let mut command = match &self.host {
            Some(host) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", host, binary]);
                command
            }
            None => Command::new(binary),
        };
        let output = command.args(args).output().expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (
            output.status.code().unwrap_or(-1),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// Runs `sealcast admin` and takes its JSON; panics when it is refused.
    pub fn admin(&self, args: &[&str]) -> Value {
        match self.try_admin(args) {
            Ok(value) => value,
            Err(why) => unreachable!("{args:?}: {why}\n{}", self.program.errors()),
        }
    }

    /// All accounts, page by page.
    pub fn accounts(&self) -> Vec<Value> {
        let (mut accounts, mut after) = (Vec::new(), None);
        loop {
            let mut args = vec!["account", "list", "--limit", "1000"];
            args.extend(after.iter().flat_map(|after: &String| ["--after", after]));
            let page = self.admin(&args);
            accounts.extend(page["accounts"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => return accounts,
            }
        }
    }

    /// The file of the first operator's identity.
    pub fn operator(&self) -> String {
        self.data().join("admin.json").display().to_string()
    }

    /// As [`KeyServer::admin`]; an error is what it said.
    pub fn try_admin(&self, args: &[&str]) -> Result<Value, String> {
        let identity = self.operator();
        let all = [&["admin", "--json", "--identity", &identity], args].concat();
        match self.run(&all) {
            (0, out, _) => serde_json::from_str(&out).map_err(|error| format!("{error}: {out}")),
            (_, _, errors) => Err(errors),
        }
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        let identity = std::fs::read_to_string(self.data().join("admin.json")).unwrap();
        let identity: Value = serde_json::from_str(&identity).unwrap();
        identity["server"].as_str().unwrap().to_owned()
    }

    /// Adds a channel with the key times of the tests.
    pub fn channel(&self, id: u16, more: &[&str]) {
        let id = id.to_string();
        self.admin(&[&["channel", "add", &id], &FAST[..], more].concat());
    }

    fn enrol(&self, what: &str, code: &str, name: &str) -> PathBuf {
        let file = self.folder.join(format!("{name}.json"));
        let out = file.display().to_string();
        let (status, _, errors) = self.run(&[
            what,
            "enrol",
            "--server",
            &self.url(),
            "--code",
            code,
            "--out",
            &out,
        ]);
        assert_eq!(status, 0, "{what} {name}: {errors}");
        file
    }

    /// Adds and enrols a delivery server, unless it is; its identity file.
    pub fn node(&self, server: u32) -> PathBuf {
        let name = format!("node-{server}");
        let file = self.folder.join(format!("{name}.json"));
        if file.exists() {
            return file;
        }
        let code = self.admin(&["node", "add", "--server", &server.to_string()]);
        self.enrol("node", code["code"].as_str().unwrap(), &name)
    }

    /// Adds and enrols a device with rights to these channels.
    pub fn device(&self, name: &str, channels: &[u16]) -> Device {
        let device = self.enrolled(name, &self.admin(&["device", "add", name]));
        for channel in channels {
            self.admin(&["right", "give", &device.id, &channel.to_string()]);
        }
        device
    }

    /// Enrols a device that was added.
    pub fn enrolled(&self, name: &str, code: &Value) -> Device {
        let id = code["subject"].as_str().unwrap().to_owned();
        let file = self.enrol(
            "device",
            code["code"].as_str().unwrap(),
            &format!("device-{name}"),
        );
        Device { id, file }
    }
}

fn launch(
    variables: &[String],
    host: Option<&str>,
    folder: &Path,
    args: &[String],
    start: u32,
) -> Program {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    sealcast_in(variables, host, folder, &format!("serve-{start}"), &args)
}

/// Starts a key server with channel 1 on host 1.
pub fn keys(lan: &Lan, folder: &Path) -> KeyServer {
    keys_of(lan, folder, &[])
}

/// As [`keys`], with more settings of the channel.
pub fn keys_of(lan: &Lan, folder: &Path, channel: &[&str]) -> KeyServer {
    let server = KeyServer::start(Some((lan, 1)), folder, &["--start-wait", "300ms"]);
    server.channel(1, channel);
    server
}

/// Starts a receiver of channel 1 that writes `NAME.ts`, as a device of its own.
pub fn receiver(
    lan: &Lan,
    host: usize,
    folder: &Path,
    name: &str,
    keys: &KeyServer,
    groups: &[&str],
    more: &[&str],
) -> Program {
    let device = keys.device(name, &[1]);
    receiver_as(lan, host, folder, name, &device, groups, more)
}

/// Starts a receiver of channel 1 as this device.
pub fn receiver_as(
    lan: &Lan,
    host: usize,
    folder: &Path,
    name: &str,
    device: &Device,
    groups: &[&str],
    more: &[&str],
) -> Program {
    let output = folder.join(format!("{name}.ts")).display().to_string();
    let session = device.file.display().to_string();
    let mut args = vec!["receive", "--json", "--session", &session];
    args.extend(["--channel", "1", "--output", &output]);
    groups
        .iter()
        .for_each(|group| args.extend(["--group", group]));
    args.extend(more);
    sealcast(Some(lan.host(host)), folder, name, &args)
}

/// Starts delivery server `server` of channel 1.
pub fn sender(
    lan: &Lan,
    host: usize,
    folder: &Path,
    name: &str,
    (keys, server): (&KeyServer, u32),
    groups: &[&str],
    more: &[&str],
) -> Program {
    let node = keys.node(server).display().to_string();
    let mut args = vec!["send", "--json", "--node", &node, "--channel", "1"];
    groups
        .iter()
        .for_each(|group| args.extend(["--group", group]));
    args.extend(more);
    sealcast(Some(lan.host(host)), folder, name, &args)
}
