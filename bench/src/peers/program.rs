//! One program of a turn: started on a host and cores, watched, stopped. What it says goes to files.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::interrupt::Interrupt;
use crate::lab::{Lab, Side};

/// From TERM to KILL. ffmpeg ends only when another datagram comes.
const PATIENCE: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(10);
/// Of what a failed program said, the last so many lines.
const LAST_LINES: usize = 12;

/// A command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct CommandLine(Vec<String>);

impl CommandLine {
    /// `program` and its arguments.
    pub(super) fn new<'a>(program: &'a str, args: impl IntoIterator<Item = &'a str>) -> Self {
        let words = std::iter::once(program).chain(args);
        Self(words.map(str::to_owned).collect())
    }

    /// A command line whose words have no spaces in them.
    pub(super) fn split(line: &str) -> Self {
        Self(line.split_whitespace().map(str::to_owned).collect())
    }

    /// With the words of another line behind it.
    pub(super) fn and(mut self, more: &str) -> Self {
        self.0.extend(Self::split(more).0);
        self
    }

    /// With one more word, which may have spaces in it.
    pub(super) fn and_word(mut self, word: &str) -> Self {
        self.0.push(word.to_owned());
        self
    }

    /// As a command that has not been started.
    pub(super) fn command(&self) -> Command {
        let mut words = self.0.iter();
        let mut command = Command::new(words.next().map_or("", String::as_str));
        command.args(words);
        command
    }
}

/// A running program. It is killed when dropped.
pub(super) struct Program {
    name: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
    /// When it was started.
    pub(super) start: Instant,
}

impl Program {
    /// Starts it on a host and these cores; what it says goes to files in `folder`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start(
        lab: &Lab,
        (side, cores): (Side, &[usize]),
        folder: &Path,
        name: &str,
        line: &CommandLine,
    ) -> Result<Self> {
        let (out, err) = (
            folder.join(format!("{name}.out")),
            folder.join(format!("{name}.err")),
        );
        let mut command = line.command();
        command
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            // Ctrl-C is for the bench, which then stops everything in order.
            .process_group(0);
        let (child, start) = lab
            .on(side, cores, || {
                let start = Instant::now();
                Ok((command.spawn()?, start))
            })
            .with_context(|| format!("starting {name}: {line:?}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            out,
            err,
            start,
        })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard output.
    pub(super) fn output(&self) -> String {
        read(&self.out)
    }

    /// What it wrote to standard error.
    pub(super) fn errors(&self) -> String {
        read(&self.err)
    }

    /// The last lines of both.
    pub(super) fn last_words(&self) -> String {
        let all = self.output() + &self.errors();
        let lines: Vec<_> = all.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// That it runs still.
    ///
    /// # Errors
    /// If it has ended, with its last words.
    pub(super) fn must_run(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} has ended ({status}): {}", self.name, self.last_words());
        }
        Ok(())
    }

    /// Waits until `done`, which is asked again and again.
    ///
    /// # Errors
    /// If it ends before, that takes longer than `limit`, the bench is interrupted, or `done` fails.
    pub(super) fn wait_until(
        &mut self,
        limit: Duration,
        interrupt: &Interrupt,
        what: &str,
        mut done: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < limit {
            self.must_run()?;
            if done(self)? {
                return Ok(());
            }
            interrupt.sleep(TICK)?;
        }
        bail!(
            "{}: not \"{what}\" within {limit:?}: {}",
            self.name,
            self.last_words()
        )
    }

    /// Waits for its end by itself.
    ///
    /// # Errors
    /// If that takes longer than `limit`.
    pub(super) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            sleep(TICK);
        }
        bail!("{} has not ended within {limit:?}", self.name)
    }

    /// Asks it to end, and makes it if it does not.
    pub(super) fn stop(mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // Not yet waited for, so the id is still its own.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.wait(PATIENCE);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program may write anything; what it wrote last may be half a line.
fn read(file: &Path) -> String {
    let bytes = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\r', "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::tests::lab;

    fn start(folder: &Path, line: &CommandLine) -> Option<Program> {
        let lab = lab()?;
        Some(Program::start(&lab, (Side::Sender, &[0]), folder, "it", line).unwrap())
    }

    #[test]
    fn a_program_that_ends_too_early_is_told_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let words = CommandLine::new("sh", ["-c", "echo one; echo two >&2; exit 3"]);
        let Some(mut program) = start(folder.path(), &words) else {
            return;
        };
        program.wait(Duration::from_secs(10)).unwrap();
        let why = program.must_run().unwrap_err().to_string();
        assert!(
            why.contains("exit status: 3") && why.ends_with("one\ntwo"),
            "{why}"
        );
    }

    #[test]
    fn a_program_that_does_not_heed_term_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let words = CommandLine::new(
            "sh",
            ["-c", "trap '' TERM; echo ready; while :; do sleep 1; done"],
        );
        let Some(mut program) = start(folder.path(), &words) else {
            return;
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !program.output().contains("ready") && Instant::now() < deadline {
            sleep(TICK);
        }
        program.must_run().unwrap();
        let pid = Pid::from_raw(program.pid().cast_signed()).unwrap();
        program.stop();
        assert!(rustix::process::test_kill_process(pid).is_err());
    }
}
