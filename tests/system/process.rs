//! The programs under test: started on a host, watched by their JSON lines, stopped by their id.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const TICK: Duration = Duration::from_millis(50);

/// A running program.
pub struct Program {
    name: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// Starts `sealcast` with `args` on a host (`None`: here), output to files in `folder`.
pub fn sealcast(host: Option<&str>, folder: &Path, name: &str, args: &[&str]) -> Program {
    sealcast_reading(Stdio::null(), host, folder, name, args)
}

/// As [`sealcast`], with its wall clock shifted as faketime says it (`-5h`); the boot clock stays right.
pub fn sealcast_at(
    clock: Option<&str>,
    host: Option<&str>,
    folder: &Path,
    name: &str,
    args: &[&str],
) -> Program {
    let variables = clock.map_or(Vec::new(), shifted);
    sealcast_in(&variables, host, folder, name, args)
}

/// As [`sealcast`], with these variables (`NAME=VALUE`) in its environment.
pub fn sealcast_in(
    variables: &[String],
    host: Option<&str>,
    folder: &Path,
    name: &str,
    args: &[&str],
) -> Program {
    let wrapper: Vec<&str> = std::iter::once("env")
        .chain(variables.iter().map(String::as_str))
        .collect();
    start(&wrapper, Stdio::null(), host, folder, name, args)
}

/// Variables that shift a program's wall clock.
pub fn shifted(clock: &str) -> Vec<String> {
    vec![
        format!("LD_PRELOAD={}", faketime().display()),
        format!("FAKETIME={clock}"),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ]
}

/// The library of faketime; its command would stand between us and the program.
fn faketime() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("libraries");
    let libraries = folders.filter_map(|folder| {
        let library = folder.ok()?.path().join("faketime/libfaketime.so.1");
        library.exists().then_some(library)
    });
    libraries
        .last()
        .expect("libfaketime is there where faketime is")
}

/// As [`sealcast`], with `input` as its standard input.
pub fn sealcast_reading(
    input: Stdio,
    host: Option<&str>,
    folder: &Path,
    name: &str,
    args: &[&str],
) -> Program {
    start(&[], input, host, folder, name, args)
}

fn start(
    wrapper: &[&str],
    input: Stdio,
    host: Option<&str>,
    folder: &Path,
    name: &str,
    args: &[&str],
) -> Program {
    let namespace = host.map_or(Vec::new(), |host| vec!["ip", "netns", "exec", host]);
    let binary = env!("CARGO_BIN_EXE_sealcast");
    let words = [&namespace[..], wrapper, &[binary]].concat();
    let (program, rest) = words.split_first().expect("the binary at least");
    let mut command = Command::new(program);
    command.args(rest);
    let (out, err) = (
        folder.join(format!("{name}.out")),
        folder.join(format!("{name}.err")),
    );
    let child = command
        .args(args)
        .env("SEALCAST_LOG", "info")
        .stdin(input)
        .stdout(File::create(&out).expect("a file for output"))
        .stderr(File::create(&err).expect("a file for errors"))
        .spawn()
        .expect("the program starts");
    Program {
        name: name.to_owned(),
        child,
        out,
        err,
    }
}

impl Program {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process is there");
    }

    /// Its standard input, if it was piped.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("standard input is a pipe")
    }

    /// What it wrote to standard output.
    pub fn written(&self) -> Vec<u8> {
        fs::read(&self.out).unwrap_or_default()
    }

    /// What it said on standard error.
    pub fn errors(&self) -> String {
        fs::read_to_string(&self.err).unwrap_or_default()
    }

    /// The last JSON line, if there is one.
    pub fn status(&self) -> Option<Value> {
        let text = fs::read_to_string(&self.out).ok()?;
        text.lines()
            .rev()
            .find_map(|line| serde_json::from_str(line).ok())
    }

    /// Totals of a channel.
    pub fn channel(&self, id: u16) -> Value {
        self.status().map_or(Value::Null, |status| {
            status["channels"][id.to_string()].clone()
        })
    }

    /// Waits until `done` holds of a channel's totals; panics with what it said when that takes longer than `limit`.
    pub fn wait_until(
        &self,
        id: u16,
        limit: Duration,
        what: &str,
        done: impl Fn(&Value) -> bool,
    ) -> Value {
        let start = Instant::now();
        loop {
            let channel = self.channel(id);
            if done(&channel) {
                return channel;
            }
            assert!(
                start.elapsed() < limit,
                "{}: not {what} within {limit:?}: {channel}\n{}",
                self.name,
                self.errors()
            );
            sleep(TICK);
        }
    }

    /// Waits until a channel has a key.
    pub fn wait_for_key(&self, id: u16) {
        self.wait_until(
            id,
            Duration::from_secs(20),
            "in possession of a key",
            |channel| channel["keys"]["epoch"].is_u64(),
        );
    }

    /// Waits for its end by itself.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("waiting works") {
                return status;
            }
            assert!(
                start.elapsed() < limit,
                "{} has not ended within {limit:?}\n{}",
                self.name,
                self.errors()
            );
            sleep(TICK);
        }
    }

    /// Asks it to stop and waits; it must end well.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait(Duration::from_secs(10));
        assert!(
            status.success(),
            "{} ended with {status}\n{}",
            self.name,
            self.errors()
        );
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
