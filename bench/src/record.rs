//! A whole run, so that it can be kept: which command gave which numbers, where and when.

use std::fmt;
use std::path::Path;
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
            command: command(std::env::args()),
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

/// The command that repeats a run, wherever the program lies here.
fn command(mut args: impl Iterator<Item = String>) -> String {
    let program = args.next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default();
    let profile = if cfg!(debug_assertions) {
        "" // and numbers that mean nothing
    } else {
        " --release"
    };
    let name = name.to_string_lossy();
    let mut command = format!("cargo run{profile} -p sealcast-bench --bin {name}");
    for (index, arg) in args.enumerate() {
        command += if index == 0 { " -- " } else { " " };
        command += &quoted(arg);
    }
    command
}

/// A word as a shell takes it, if it has nothing stranger in it than spaces.
fn quoted(word: String) -> String {
    if word.contains(char::is_whitespace) {
        format!("'{word}'")
    } else {
        word
    }
}

/// A run: its origin, and its rows.
#[derive(Debug, Serialize)]
struct Record<'a, Row> {
    #[serde(flatten)]
    origin: &'a Origin,
    rows: &'a [Row],
}

/// A run as it is printed: as a JSON document of several lines, or for people, whom `text` tells of the rows.
///
/// # Errors
/// If a row cannot be written as JSON.
pub fn printed<Row: Serialize>(
    json: bool,
    origin: &Origin,
    rows: &[Row],
    text: impl FnOnce(&[Row]) -> String,
) -> serde_json::Result<String> {
    if json {
        return Ok(serde_json::to_string_pretty(&Record { origin, rows })? + "\n");
    }
    Ok(format!("{origin}\n{}", text(rows)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_given_elsewhere() {
        let args = |words: &[&str]| command(words.iter().map(|&word| word.to_owned()));
        assert!(
            args(&["/here/target/release/crypto"]).ends_with(" -p sealcast-bench --bin crypto")
        );
        assert!(args(&["crypto", "--runs", "5"]).ends_with(" --bin crypto -- --runs 5"));
        assert!(args(&["peers", "--flags", "--a b"]).ends_with(" -- --flags '--a b'"));
    }

    #[test]
    fn a_record_is_one_document() {
        let origin = Origin::new(Host::pinned(None).unwrap(), vec!["ring: 1".to_owned()]);
        let text = |rows: &[i32]| format!("{} rows", rows.len());
        let print = |json| printed(json, &origin, &[7, 8], text).unwrap();
        let json: serde_json::Value = serde_json::from_str(&print(true)).unwrap();
        assert_eq!(json["rows"][1], 8);
        assert_eq!(json["versions"][0], "ring: 1");
        assert!(json["host"]["kernel"].is_string() && json["date"].is_string());
        assert!(print(false).ends_with("- ring: 1\n\n2 rows"));
    }
}
