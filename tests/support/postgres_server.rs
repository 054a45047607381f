//! A PostgreSQL server of its own for a test, by `tests/postgres`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running server; it ends with this value or with the process.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    // Its end is the server's.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    url: String,
}

fn script() -> PathBuf {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut scripts = above.map(|folder| folder.join("tests/postgres"));
    scripts.find(|script| script.is_file()).unwrap()
}

impl Server {
    /// Starts one with these settings (`name=value`).
    pub(crate) fn start(settings: &[&str]) -> Self {
        let mut child = Command::new(script())
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut server = Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            url: String::new(),
            child,
        };
        server.url = server.line();
        server
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "tests/postgres ended");
        line.trim_end().to_owned()
    }

    /// `kill`, `stop` or `start`.
    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{command}").unwrap();
        assert_eq!(self.line(), "done");
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
