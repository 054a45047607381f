//! What the programs that run for long share: settings, systemd, signals, memory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use sealcast_control::usage;

use crate::signals::Signals;

/// How often signals are looked for.
const TICK: Duration = Duration::from_millis(100);
/// How often systemd is told that the program works.
const ALIVE: Duration = Duration::from_secs(1);

/// The first list that says something.
pub(crate) fn first<T: Clone>(
    flags: &[T],
    file: Vec<T>,
    default: impl FnOnce() -> Vec<T>,
) -> Vec<T> {
    if !flags.is_empty() {
        flags.to_vec()
    } else if !file.is_empty() {
        file
    } else {
        default()
    }
}

/// Addresses of key doors, and what devices are told.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn check_doors(
    door: &[SocketAddr],
    advertise: &[SocketAddr],
    most: usize,
) -> Result<()> {
    ensure!(
        door.len() <= most,
        "{} addresses for key doors: at most {most}",
        door.len()
    );
    if let Some(any) = door.iter().find(|door| door.ip().is_unspecified()) {
        ensure!(
            !advertise.is_empty(),
            "door = {any}: devices cannot be sent there; name an address of this host, or give advertise = [\"ADDR:PORT\"] \
             besides"
        );
    }
    Ok(())
}

/// How often a key server's usage is written.
///
/// # Errors
/// It is too short or too long.
pub(crate) fn usage_interval(setting: Option<Duration>) -> Result<Duration> {
    let interval = setting.unwrap_or(usage::INTERVAL);
    ensure!(
        (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&interval),
        "usage_interval = {interval:?}: from 1s to 1h"
    );
    Ok(interval)
}

/// systemd's credential of this name, if there is one.
pub(crate) fn credential(name: &str) -> Option<PathBuf> {
    let file = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(name);
    file.exists().then_some(file)
}

/// Tells systemd that the program is ready, then that it works for as long as `is_alive` says so, until INT or TERM.
pub(crate) async fn run(signals: &Signals, is_alive: impl AsyncFn() -> bool) {
    notify(&[sd_notify::NotifyState::Ready]);
    let tell = async {
        loop {
            tokio::time::sleep(ALIVE).await;
            if is_alive().await {
                notify(&[sd_notify::NotifyState::Watchdog]);
            }
        }
    };
    tokio::select! {
        () = stopped(signals) => {}
        () = tell => {}
    }
    notify(&[sd_notify::NotifyState::Stopping]);
}

/// Returns at INT or TERM.
pub(crate) async fn stopped(signals: &Signals) {
    while !signals.stop() {
        tokio::time::sleep(TICK).await;
    }
}

fn notify(state: &[sd_notify::NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(state);
}

/// How many files this process may open: as many as the system allows it, from now on.
pub(crate) fn open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let open_files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays as it is");
            current
        }
    };
    open_files.unwrap_or(u64::MAX)
}

/// Keys stay out of core dumps, and out of the swap file where the system allows it (SEC-14).
pub(crate) fn protect_memory() {
    use rustix::mm::{MlockAllFlags, mlockall};
    use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior};
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core dumps cannot be switched off: they would hold keys");
    }
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    let locked = unlimited
        && mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
            .is_ok();
    if !locked {
        tracing::info!(
            "memory is not locked: keys may be swapped out; allow it with LimitMEMLOCK=infinity, or use no swap"
        );
    }
}
