//! The key log (like SSLKEYLOGFILE): whoever reads it can read the content, so it is off by default and warned about.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;

/// The open key log, shared by channels.
#[derive(Clone, Debug)]
pub struct KeyLog(Option<Arc<Mutex<File>>>);

impl KeyLog {
    /// Opens the file for appending, mode 0600; `None` is off.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self(None));
        };
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot open the key log {}", path.display()))?;
        tracing::warn!(path = %path.display(), "keys are being logged: whoever reads this file can read the content");
        Ok(Self(Some(Arc::new(Mutex::new(file)))))
    }

    /// Whether keys are logged.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Appends a line.
    pub fn write(&self, line: &str) {
        if let Some(file) = &self.0 {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = writeln!(file, "{line}") {
                tracing::error!(%error, "the key log cannot be written");
            }
        }
    }
}
