//! Databases in a PostgreSQL server that is there.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};

/// Makes a database on the server at `url`; its URL.
pub(super) fn database(url: &str) -> Result<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("bench_{}_{number}", std::process::id());
    let create = format!("CREATE DATABASE {name}");
    let psql = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", url, "--command", &create])
        .output()
        .context("no database can be made without psql (Debian: postgresql-client)")?;
    let said = String::from_utf8_lossy(&psql.stderr);
    ensure!(psql.status.success(), "{create}: {said}");
    let made = url.replacen("/postgres?", &format!("/{name}?"), 1);
    ensure!(
        made != url,
        "{url} does not name the database postgres: postgres://USER@/postgres?host=..."
    );
    Ok(made)
}
