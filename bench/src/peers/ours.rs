//! sealcast's own part: a key server, a channel with a key each second, a delivery server and a device, enrolled as in
//! operation. The key server runs only while sealcast has its turn.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::contender::{Contender, Keys};
use super::options::Options;
use super::payload::Framing;
use super::program::{CommandLine, Program};
use super::traffic::{INPUT, OUTPUT};
use crate::interrupt::Interrupt;
use crate::lab::{INTERFACE, Lab, Side};

/// What the key server says when it runs.
const RUNS: &str = "the key server runs";
/// It runs within this.
const START: Duration = Duration::from_secs(20);
/// Times of the channel's keys.
const TIMES: &str = "--lifetime 1s --prepare-ahead 700ms --fetch-ahead 400ms --grace 200ms";
const GROUP: &str = "239.1.1.1";
const PORT: u16 = 8001;

/// sealcast, enrolled.
#[derive(Debug)]
pub(super) struct Sealcast {
    binary: PathBuf,
    folder: PathBuf,
    send_args: String,
    receive_args: String,
    smooth: u16,
}

impl Sealcast {
    /// Starts a key server on the sender's host and core `core`, enrols everybody, and stops it.
    ///
    /// # Errors
    /// If there is no such program, or it refuses something.
    pub(super) fn enrol(
        lab: &Lab,
        core: usize,
        folder: &Path,
        options: &Options,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let ours = Self {
            binary: binary(options)?,
            folder: folder.to_path_buf(),
            send_args: options.sealcast_send_args.clone(),
            receive_args: options.sealcast_receive_args.clone(),
            smooth: options.sealcast_smooth,
        };
        let (line, runs) = ours.key_server();
        let mut server = Program::start(lab, (Side::Sender, &[core]), folder, "enrolment", &line)?;
        server.wait_until(START, interrupt, runs, |server| {
            Ok(server.errors().contains(runs))
        })?;
        ours.admin(lab, &format!("channel add 1 {TIMES}"))?;
        let node = ours.admin(lab, "node add --server 1")?;
        ours.enrol_one(lab, "node", &node)?;
        let device = ours.admin(lab, "device add peers")?;
        let id = device["subject"].as_str().context("a device's id")?;
        ours.admin(lab, &format!("right give {id} 1"))?;
        ours.enrol_one(lab, "device", &device)?;
        server.stop();
        Ok(ours)
    }

    fn enrol_one(&self, lab: &Lab, kind: &str, answer: &Value) -> Result<()> {
        let code = answer["code"].as_str().context("an enrolment code")?;
        let out = self.file(&format!("{kind}.json"));
        let url = format!("https://{}:8443", Side::Sender.ip());
        let args = format!("{kind} enrol --server {url} --code {code} --out");
        self.run(lab, &self.line(&args).and_word(&out))?;
        Ok(())
    }

    fn admin(&self, lab: &Lab, args: &str) -> Result<Value> {
        let identity = self.file("data/admin.json");
        let line = self.line("admin --json --identity").and_word(&identity);
        let output = self.run(lab, &line.and(args))?;
        serde_json::from_str(&output).with_context(|| format!("sealcast admin {args}: {output}"))
    }

    /// Runs one of its commands on the sender's host; what it says on standard output.
    fn run(&self, lab: &Lab, line: &CommandLine) -> Result<String> {
        let output = lab.on(Side::Sender, &[], || Ok(line.command().output()?))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("{line:?}: {}: {}", output.status, errors.trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn line(&self, args: &str) -> CommandLine {
        CommandLine::new(&self.binary.display().to_string(), []).and(args)
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn key_server(&self) -> (CommandLine, &'static str) {
        let ip = Side::Sender.ip();
        let args = format!("--listen {ip}:8443 --door {ip}:8444 --start-wait 300ms");
        let line = self.line("serve --data").and_word(&self.file("data"));
        (line.and(&args), RUNS)
    }

    /// Ready to run.
    pub(super) fn contender(&self) -> Contender {
        let group = format!("--json --channel 1 --group udp://{GROUP}:{PORT}?iface={INTERFACE}");
        let (node, device) = (self.file("node.json"), self.file("device.json"));
        let sender = self.line("send --node").and_word(&node);
        let sender = sender.and(&format!("{group}&ttl=4 --input udp://{INPUT}"));
        let receiver = self.line("receive --session").and_word(&device);
        let receiver = receiver.and(&format!(
            "{group} --output udp://{OUTPUT}?smooth={}",
            self.smooth
        ));
        Contender {
            cipher: "AES-256-GCM",
            addressing: "multicast",
            framing: Framing::Bare,
            keys: Keys::Told,
            any_core: false,
            port: PORT,
            server: Some(self.key_server()),
            sender: sender.and(&self.send_args),
            receiver: receiver.and(&self.receive_args),
        }
    }

    /// Its version, and what it is run with.
    pub(super) fn version(&self) -> Result<String> {
        let output = self.line("--version").command().output()?;
        let version = String::from_utf8(output.stdout)?;
        let mut text = version.trim().to_owned();
        for (kind, args) in [("send", &self.send_args), ("receive", &self.receive_args)] {
            if !args.is_empty() {
                text += &format!(", {kind} {args}");
            }
        }
        Ok(text)
    }
}

/// Where sealcast is: as asked, or beside this program.
fn binary(options: &Options) -> Result<PathBuf> {
    let beside = || Ok::<_, anyhow::Error>(std::env::current_exe()?.with_file_name("sealcast"));
    let binary = options.sealcast.clone().map_or_else(beside, Ok)?;
    ensure!(
        binary.is_file(),
        "{}: no such file; build it (cargo build --release), say where it is (--sealcast FILE), \
         or name others (--only)",
        binary.display()
    );
    Ok(binary)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn flags_for_sealcast_reach_its_command_lines() {
        let ours = Sealcast {
            binary: "/somewhere/with space/sealcast".into(),
            folder: "/else where".into(),
            send_args: "--budget 2ms".to_owned(),
            receive_args: "--skew 10ms".to_owned(),
            smooth: 25,
        };
        let contender = ours.contender();
        let words = |line: &CommandLine| {
            let command = line.command();
            let args = command.get_args().map(|word| word.display().to_string());
            args.collect::<Vec<_>>()
        };
        assert!(words(&contender.sender).ends_with(&["--budget".to_owned(), "2ms".to_owned()]));
        assert!(words(&contender.receiver).contains(&"/else where/device.json".to_owned()));
        let output = format!("udp://{OUTPUT}?smooth=25");
        assert!(words(&contender.receiver).contains(&output));
        assert!(words(&contender.receiver).ends_with(&["--skew".to_owned(), "10ms".to_owned()]));
    }

    #[test]
    fn a_program_that_is_not_there_is_told_with_what_to_do() {
        let options = Options::parse_from(["peers", "--sealcast", "/no/such/file"]);
        let why = binary(&options).unwrap_err().to_string();
        assert!(why.contains("/no/such/file") && why.contains("cargo build --release"));
    }
}
