//! A whole run, so that it can be kept: which command gave which numbers, where and when.

use std::fmt;
use std::time::SystemTime;

use serde::Serialize;

use crate::host::Host;

/// Where the numbers of a run come from.
#[derive(Clone, Debug, Serialize)]
pub struct Origin {
    /// The command line.
    pub command: String,
    /// When it began, UTC.
    pub date: String,
    /// What the process ran on.
    pub host: Host,
    /// Versions of what is measured, and what is missing.
    pub versions: Vec<String>,
}

impl Origin {
    /// This process, now.
    #[must_use]
    pub fn new(host: Host, versions: Vec<String>) -> Self {
        Self {
            command: std::env::args().collect::<Vec<_>>().join(" "),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            host,
            versions,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "- command: `{}`", self.command)?;
        writeln!(f, "- date: {}", self.date)?;
        write!(f, "{}", self.host)?;
        for version in &self.versions {
            writeln!(f, "- {version}")?;
        }
        Ok(())
    }
}

/// A run: its origin, and its rows.
#[derive(Debug, Serialize)]
pub struct Record<'a, Row> {
    /// Where the numbers come from.
    #[serde(flatten)]
    pub origin: &'a Origin,
    /// The numbers.
    pub rows: &'a [Row],
}

impl<Row: Serialize> Record<'_, Row> {
    /// The record as a JSON document of several lines.
    ///
    /// # Errors
    /// If a row cannot be written as JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}
