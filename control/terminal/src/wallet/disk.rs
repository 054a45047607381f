//! Where a wallet lies: one process at a time has it, and a crash leaves the former bytes or the new ones.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::format::Unreadable;
use crate::replace::replace;

/// A longer file is no wallet: bytes.
const LENGTH_MAX: u64 = 64 << 20;

/// Why a wallet cannot be used: what, why, what to do. Nothing was written where there is one.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The system says no.
    #[error("cannot {what} {}: {why}", file.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Which file.
        file: PathBuf,
        /// The system's word.
        why: io::Error,
    },
    /// Another process has it.
    #[error("another program uses the wallet {}: wait until it is done", .0.display())]
    InUse(PathBuf),
    /// There is none.
    #[error("there is no wallet {}: `sealcast device sync` makes one", .0.display())]
    Missing(PathBuf),
    /// There is one.
    #[error("there is a wallet already: {}", .0.display())]
    Exists(PathBuf),
    /// What is there cannot be opened.
    #[error("{}: {why}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        why: Unreadable,
    },
    /// The identity is no device's, or its key is none.
    #[error("the identity cannot have a wallet: {0}")]
    Identity(String),
}

/// So long it is waited for another program that has it: most have it for a moment only, and a process that is being started holds what its parent
/// holds until it runs.
const PATIENCE: Duration = Duration::from_secs(1);

/// A file of a wallet, locked.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// Not the wallet itself, which another file takes the place of at each change.
    _lock: File,
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

impl Disk {
    /// Takes it for this process; waits a second at most until it is free.
    pub(super) fn lock(path: &Path) -> Result<Self, WalletError> {
        let lock = beside(path, ".lock");
        let failed = |why| WalletError::Io {
            what: "open",
            file: lock.clone(),
            why,
        };
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&lock).map_err(failed)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(PATIENCE / 50),
                Err(TryLockError::WouldBlock) => {
                    return Err(WalletError::InUse(path.to_path_buf()));
                }
                Err(TryLockError::Error(why)) => return Err(failed(why)),
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            _lock: file,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, what: &'static str) -> impl Fn(io::Error) -> WalletError {
        let file = self.path.clone();
        move |why| WalletError::Io {
            what,
            file: file.clone(),
            why,
        }
    }

    pub(super) fn unreadable(&self, why: Unreadable) -> WalletError {
        WalletError::Unreadable {
            file: self.path.clone(),
            why,
        }
    }

    /// What is there, if anything.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>, WalletError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("open")(error)),
        };
        let mut bytes = Vec::new();
        let read = file.take(LENGTH_MAX + 1).read_to_end(&mut bytes);
        read.map_err(self.failed("read"))?;
        if bytes.len() as u64 > LENGTH_MAX {
            return Err(self.unreadable(Unreadable::NotOne));
        }
        Ok(Some(bytes))
    }

    /// Puts `bytes` in the place of what is there: first beside it, then by renaming.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), WalletError> {
        let new = beside(&self.path, ".new");
        replace(&self.path, &new, bytes).map_err(self.failed("write"))
    }
}
