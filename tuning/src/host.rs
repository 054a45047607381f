//! The host as files and programs, all below one root folder: `/`, or a tree that a test made.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where programs are looked for, below the root. Not the PATH: the doctor runs as root.
const PROGRAM_FOLDERS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
];

/// A host.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

/// Why a program gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// It is not installed.
    #[error("{0} is not installed")]
    Missing(String),
    /// It ran and failed, or could not be run.
    #[error("{program} failed: {said}")]
    Failed {
        /// Its name.
        program: String,
        /// What it said.
        said: String,
    },
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn this() -> Self {
        Self::at("/")
    }

    /// What lies below a folder; programs are those in its `usr/sbin` and so on.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file's text without white space around it; nothing when it cannot be read.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<String> {
        self.try_read(path).ok()
    }

    /// A file's text without white space around it.
    ///
    /// # Errors
    /// As the system says; `NotFound` for what is not there.
    pub fn try_read(&self, path: &str) -> io::Result<String> {
        let bytes = fs::read(self.path(path))?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Names in a folder, ordered; nothing when it cannot be read.
    #[must_use]
    pub fn list(&self, folder: &str) -> Option<Vec<String>> {
        let mut names: Vec<_> = fs::read_dir(self.path(folder))
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort();
        Some(names)
    }

    /// The last part of what a symbolic link points to.
    #[must_use]
    pub fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// Writes to a file that exists, in one call, as /proc and /sys want it.
    ///
    /// # Errors
    /// As the system says.
    pub fn write(&self, path: &str, value: &str) -> io::Result<()> {
        let mut file = File::options()
            .write(true)
            .truncate(true)
            .open(self.path(path))?;
        file.write_all(value.as_bytes())
    }

    /// Runs a program to its end and gives what it printed.
    ///
    /// # Errors
    /// [`ProgramError`] when it is not there or does not succeed.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String, ProgramError> {
        let file = PROGRAM_FOLDERS
            .iter()
            .map(|folder| self.path(folder).join(program))
            .find(|file| Path::is_file(file))
            .ok_or_else(|| ProgramError::Missing(program.to_owned()))?;
        let failed = |said: String| ProgramError::Failed {
            program: format!("{program} {}", args.join(" ")),
            said,
        };
        let output = Command::new(file)
            .args(args)
            .env("LC_ALL", "C")
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        match said.trim() {
            "" => Err(failed(output.status.to_string())),
            said => Err(failed(said.to_owned())),
        }
    }
}
