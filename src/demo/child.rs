//! One process of the demo: this very program with other arguments.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A process that is asked to stop does so within this.
const STOP: Duration = Duration::from_secs(10);

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Child {
    name: String,
    child: std::process::Child,
    out: PathBuf,
    err: PathBuf,
    ended: bool,
}

impl Child {
    /// Starts this program with `args`; what it says goes to files in `folder`.
    pub(super) fn start(folder: &Path, name: &str, args: &[&str]) -> Result<Self> {
        let (out, err) = (
            folder.join(format!("{name}.out")),
            folder.join(format!("{name}.err")),
        );
        let child = Command::new(std::env::current_exe()?)
            .args(args)
            .env("SEALCAST_LOG", "info,refinery_core=warn")
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            out,
            err,
            ended: false,
        })
    }

    /// What it said on standard error.
    pub(super) fn errors(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap_or_default()
    }

    /// The totals of its one channel, as it printed them last.
    pub(super) fn status(&self) -> Value {
        let text = std::fs::read_to_string(&self.out).unwrap_or_default();
        let last = text
            .lines()
            .rev()
            .find_map(|line| serde_json::from_str::<Value>(line).ok());
        let channels = last.and_then(|last| last["channels"].as_object().cloned());
        channels
            .and_then(|channels| channels.into_iter().next())
            .map_or(Value::Null, |(_, channel)| channel)
    }

    /// Whether it goes on; an error when it failed.
    pub(super) fn is_running(&mut self) -> Result<bool> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(true);
        };
        self.ended = true;
        ensure!(
            status.success(),
            "{} failed ({status}):\n{}",
            self.name,
            self.errors()
        );
        Ok(false)
    }

    /// Whether it was stopped, or has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Asks it to stop and waits; it must end well.
    pub(super) fn stop(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let start = Instant::now();
        while self.is_running()? {
            ensure!(
                start.elapsed() < STOP,
                "{} does not stop:\n{}",
                self.name,
                self.errors()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// SIGKILL, as a crash would end it.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.ended = true;
    }

    /// Waits until it has said `words`.
    pub(super) fn wait_for(&mut self, words: &str, limit: Duration) -> Result<()> {
        let start = Instant::now();
        while !self.errors().contains(words) {
            ensure!(
                self.is_running()? && start.elapsed() < limit,
                "{} does not get there:\n{}",
                self.name,
                self.errors()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}
