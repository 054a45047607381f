//! The store: one writer thread that takes many commands into one transaction, readers on snapshots.
//!
//! A command is a function over a [`Tx`]; its answer comes when the transaction it went into is durable (group commit). A
//! command that fails is undone alone; a commit that fails fails every command in it, and nothing of it was done.

mod sqlite;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use sealcast_domain::{Error, Read, StoreError, Tx};
use sealcast_objects::time::Timestamp;
use tokio::sync::oneshot;

use sqlite::Snapshot;
pub use writer::WriteStats;
use writer::{Job, Writer};

/// File of the database inside the folder.
const DATABASE: &str = "store.db";
/// File that is locked while a server uses the folder.
const LOCK: &str = "lock";
/// Connections for readers that are kept open.
const READERS: usize = 4;

/// Why a store cannot be opened: what, why, what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made or written.
    #[error("cannot use the data folder {}: {why}; it must exist or be creatable, and be writable for this user", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// The system's word.
        why: std::io::Error,
    },
    /// Another server uses it.
    #[error(
        "the store in {} is in use by another process{}: stop that one, or choose another folder with --data", folder.display(),
        pid.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Locked {
        /// Which.
        folder: PathBuf,
        /// Who, if it said so.
        pid: Option<String>,
    },
    /// No sqlite database, or one that cannot be read.
    #[error("the store {} cannot be opened: {why}; restore a backup, or choose another folder with --data", file.display())]
    Damaged {
        /// Which.
        file: PathBuf,
        /// The driver's word.
        why: String,
    },
    /// Written by a later version of this program.
    #[error("the store {} cannot be brought up to date: {why}; was it written by a newer sealcast?", file.display())]
    Migration {
        /// Which.
        file: PathBuf,
        /// The driver's word.
        why: String,
    },
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    file: PathBuf,
    writer: Writer,
    readers: Arc<Mutex<Vec<Connection>>>,
    /// When it was last written before this start.
    written: Option<Timestamp>,
    // Released when the store is dropped, after the writer.
    _lock: File,
}

impl Store {
    /// Opens the store in `folder`, making both if they do not exist.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let folder_error = |why| OpenError::Folder {
            folder: folder.to_path_buf(),
            why,
        };
        make_private_folder(folder).map_err(folder_error)?;
        let lock = lock(folder)?;
        let file = folder.join(DATABASE);
        let mut connection = sqlite::open(&file)?;
        sqlite::migrate(&mut connection, &file)?;
        let damaged = |why: String| OpenError::Damaged {
            file: file.clone(),
            why,
        };
        let written = sqlite::written(&connection).map_err(damaged)?;
        let writer = Writer::start(connection).map_err(folder_error)?;
        Ok(Self {
            file,
            writer,
            readers: Arc::default(),
            written,
            _lock: lock,
        })
    }

    /// When it was last written before this start; `None` if never.
    #[must_use]
    pub fn written_before(&self) -> Option<Timestamp> {
        self.written
    }

    /// Totals of the writer.
    #[must_use]
    pub fn stats(&self) -> WriteStats {
        self.writer.stats()
    }

    /// Runs a command and waits until it is durable.
    ///
    /// # Errors
    /// The command's, or the store's: then nothing was changed.
    pub async fn write<T: Send + 'static>(
        &self,
        command: impl FnOnce(&mut dyn Tx) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.submit(command)?
            .await
            .unwrap_or(Err(StoreError::Closed.into()))
    }

    /// As [`Store::write`], on a thread that may block.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_blocking<T: Send + 'static>(
        &self,
        command: impl FnOnce(&mut dyn Tx) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.submit(command)?
            .blocking_recv()
            .unwrap_or(Err(StoreError::Closed.into()))
    }

    fn submit<T: Send + 'static>(
        &self,
        command: impl FnOnce(&mut dyn Tx) -> Result<T, Error> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, Error>>, Error> {
        let (answer, answered) = oneshot::channel();
        self.writer.submit(Job::new(command, answer))?;
        Ok(answered)
    }

    /// Reads one state of the store.
    ///
    /// # Errors
    /// The query's, or the store's.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut dyn Read) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (file, readers) = (self.file.clone(), Arc::clone(&self.readers));
        tokio::task::spawn_blocking(move || read(&file, &readers, query))
            .await
            .unwrap_or(Err(StoreError::Closed.into()))
    }

    /// As [`Store::read`], on a thread that may block.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_blocking<T>(
        &self,
        query: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
    ) -> Result<T, Error> {
        read(&self.file, &self.readers, query)
    }
}

fn read<T>(
    file: &Path,
    readers: &Mutex<Vec<Connection>>,
    query: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
) -> Result<T, Error> {
    let kept = || readers.lock().unwrap_or_else(PoisonError::into_inner);
    let connection = kept().pop();
    let connection = connection.map_or_else(|| sqlite::open_reader(file), Ok)?;
    let result = Snapshot::read(&connection, query);
    let mut kept = kept();
    if kept.len() < READERS {
        kept.push(connection);
    }
    result
}

/// Copies the store in `folder` to `to`, which must not exist, as it is at one moment; a server may be using it.
///
/// # Errors
/// When there is no store, or the copy cannot be written; the message says what to do.
pub fn backup(folder: &Path, to: &Path) -> Result<(), OpenError> {
    let file = database(folder)?;
    let folder_error = |why| OpenError::Folder {
        folder: to.to_path_buf(),
        why,
    };
    // Made first, so that nobody else may read it while it is written.
    let made = private(OpenOptions::new().write(true).create_new(true)).open(to);
    drop(made.map_err(folder_error)?);
    sqlite::copy(&file, to).map_err(|why| OpenError::Damaged { file, why })
}

/// The file of the store in `folder`.
fn database(folder: &Path) -> Result<PathBuf, OpenError> {
    let file = folder.join(DATABASE);
    if file.is_file() {
        return Ok(file);
    }
    let why = "there is none".to_owned();
    Err(OpenError::Damaged { file, why })
}

/// Reads one state of the store in `folder` and changes nothing; a server may be using it.
///
/// # Errors
/// When there is no store, or it cannot be opened; the query's are inside.
pub fn peek<T>(
    folder: &Path,
    query: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
) -> Result<Result<T, Error>, OpenError> {
    let file = database(folder)?;
    let connection = sqlite::open_reader(&file).map_err(|error| OpenError::Damaged {
        file,
        why: error.to_string(),
    })?;
    Ok(Snapshot::read(&connection, query))
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Keeps other servers out of the folder as long as the file lives.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let folder_error = |why| OpenError::Folder {
        folder: folder.to_path_buf(),
        why,
    };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = private(&mut options)
        .open(folder.join(LOCK))
        .map_err(folder_error)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = Some(pid.trim().to_owned()).filter(|pid| !pid.is_empty());
            return Err(OpenError::Locked {
                folder: folder.to_path_buf(),
                pid,
            });
        }
        Err(TryLockError::Error(error)) => return Err(folder_error(error)),
    }
    // For people only; a full disk is no reason not to start.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}
