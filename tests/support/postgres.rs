//! Databases in a PostgreSQL server that is there.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Makes a database on the server at `url`; its URL.
pub(crate) fn database(url: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("test_{}_{number}", std::process::id());
    run(url, &format!("CREATE DATABASE {name}"));
    url.replacen("/postgres?", &format!("/{name}?"), 1)
}

/// Runs a statement at `url`; what it returns, a line for each row.
pub(crate) fn run(url: &str, sql: &str) -> String {
    let psql = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
        .args([url, "--command", sql])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&psql.stderr);
    assert!(psql.status.success(), "{sql}: {said}");
    String::from_utf8(psql.stdout).unwrap().trim().to_owned()
}
