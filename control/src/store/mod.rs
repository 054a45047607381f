//! The store: one writer thread that takes many commands into one transaction, readers on snapshots.
//!
//! A command is a function over a [`Tx`]; its answer comes when the transaction it went into is durable (group commit). A
//! command that fails is undone alone; a commit that fails fails every command in it, and nothing of it was done.

mod driver;
mod folder;
mod postgres;
#[cfg(test)]
mod rows;
mod sqlite;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use refinery::{Migration, Runner};
use sealcast_domain::schema::MIGRATIONS;
use sealcast_domain::{Error, Read, StoreError, Tx};
use sealcast_objects::time::Timestamp;
use tokio::sync::{oneshot, watch};

use self::postgres::Leader;
pub use self::postgres::{Postgres, PostgresError};
pub use driver::Driver;
use sqlite::Sqlite;
pub use writer::WriteStats;
use writer::{Closing, Job, Writer};

/// File of the database inside the folder.
const DATABASE: &str = "store.db";
/// Connections for readers that are kept open.
const READERS: usize = 4;

/// Which database holds the rows.
#[derive(Clone, Debug, Default)]
pub enum Location {
    /// One of its own, in the data folder.
    #[default]
    Folder,
    /// A PostgreSQL server.
    Postgres(Postgres),
}

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
    /// No database, or one that cannot be read.
    #[error(
        "the store {place} cannot be opened: {why}; restore a backup, or choose another folder with --data"
    )]
    Damaged {
        /// Which.
        place: String,
        /// The driver's word.
        why: String,
    },
    /// Written by a later version of this program.
    #[error(
        "the store {place} cannot be brought up to date: {why}; was it written by a newer sealcast?"
    )]
    Migration {
        /// Which.
        place: String,
        /// The driver's word.
        why: String,
    },
    /// The database server does not answer, or does not let this server in.
    #[error(
        "the store {place} cannot be reached: {why}; is it running, and may this user write there?"
    )]
    Away {
        /// Which.
        place: String,
        /// The driver's word.
        why: String,
    },
    /// The writer's thread.
    #[error("cannot start the thread of the store: {0}")]
    Thread(std::io::Error),
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    writer: Writer,
    readers: Arc<Readers>,
    // Released when the store is dropped, after the writer.
    _lock: File,
}

#[derive(Debug)]
enum Readers {
    Sqlite(sqlite::Readers),
    Postgres(postgres::Readers),
}

impl Store {
    /// Opens the store of the server that lives in `folder`, which is made if it does not exist. In a PostgreSQL database one server
    /// writes; this returns when it is this one: at once, or when the other has stopped or has been silent for its lease.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(folder: &Path, location: &Location) -> Result<Self, OpenError> {
        let lock = folder::own(folder)?;
        let (writer, readers) = match location {
            Location::Folder => {
                let file = folder.join(DATABASE);
                let readers = sqlite::Readers::new(file.clone());
                let writer = Writer::start(move |_| Sqlite::open(&file))?;
                (writer, Readers::Sqlite(readers))
            }
            Location::Postgres(at) => {
                let readers = postgres::Readers::new(at.clone());
                let at = at.clone();
                let writer = Writer::start(move |closing| Leader::open(at, closing))?;
                (writer, Readers::Postgres(readers))
            }
        };
        Ok(Self {
            writer,
            readers: Arc::new(readers),
            _lock: lock,
        })
    }

    /// When it was last written before this start; `None` if never.
    #[must_use]
    pub fn written_before(&self) -> Option<Timestamp> {
        self.writer.written()
    }

    /// Whether the last transaction failed: the disk is full, or the database is away.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.writer.fails()
    }

    /// Returns when another server has taken over the store. Nothing can be written here any more.
    pub async fn taken_over(&self) {
        self.writer.taken_over().await;
    }

    /// Changes after each transaction in which something was written.
    pub(crate) fn commits(&self) -> watch::Receiver<()> {
        self.writer.commits()
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
        let readers = Arc::clone(&self.readers);
        tokio::task::spawn_blocking(move || readers.read(query))
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
        self.readers.read(query)
    }
}

impl Readers {
    fn read<T>(&self, query: impl FnOnce(&mut dyn Read) -> Result<T, Error>) -> Result<T, Error> {
        match self {
            Self::Sqlite(readers) => readers.read(query),
            Self::Postgres(readers) => readers.read(query),
        }
    }
}

/// Some connections that nobody uses now.
#[derive(Debug)]
struct Kept<C>(Mutex<Vec<C>>);

impl<C> Default for Kept<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<C> Kept<C> {
    fn take(&self) -> Option<C> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give(&self, connection: C) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < READERS {
            kept.push(connection);
        }
    }
}

/// The steps that bring the tables up to date, in the words of a database.
fn migrations(translate: impl Fn(&str) -> String) -> Result<Runner, refinery::Error> {
    let steps = MIGRATIONS
        .iter()
        .map(|step| Migration::unapplied(step.name, &translate(step.sql)))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Runner::new(&steps).set_abort_missing(true))
}

/// One writing connection without a thread or batches: for tests of the rules, which run on each database.
///
/// # Errors
/// As [`Store::open`].
pub fn driver(folder: &Path, location: &Location) -> Result<Box<dyn Driver>, OpenError> {
    Ok(match location {
        Location::Folder => Box::new(Sqlite::open(&folder.join(DATABASE))?),
        Location::Postgres(at) => Box::new(Leader::open(at.clone(), Closing::default())?),
    })
}

/// Copies the store in `folder` to `to`, which must not exist, as it is at one moment; a server may be using it.
///
/// # Errors
/// When there is no store, or the copy cannot be written; the message says what to do.
pub fn backup(folder: &Path, to: &Path) -> Result<(), OpenError> {
    let file = database(
        folder,
        "there is none; of a store in PostgreSQL, pg_dump makes a copy",
    )?;
    let folder_error = |why| OpenError::Folder {
        folder: to.to_path_buf(),
        why,
    };
    // Made first, so that nobody else may read it while it is written.
    let made = folder::private(OpenOptions::new().write(true).create_new(true)).open(to);
    drop(made.map_err(folder_error)?);
    sqlite::copy(&file, to).map_err(|why| OpenError::Damaged {
        place: file.display().to_string(),
        why,
    })
}

/// The file of the store in `folder`.
fn database(folder: &Path, missing: &str) -> Result<PathBuf, OpenError> {
    let file = folder.join(DATABASE);
    if file.is_file() {
        return Ok(file);
    }
    Err(OpenError::Damaged {
        place: file.display().to_string(),
        why: missing.to_owned(),
    })
}

/// Reads one state of the store of the server that lives in `folder` and changes nothing; the server may be using it.
///
/// # Errors
/// When there is no store, or it cannot be opened; the query's are inside.
pub fn peek<T>(
    folder: &Path,
    location: &Location,
    query: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
) -> Result<Result<T, Error>, OpenError> {
    match location {
        Location::Folder => sqlite::peek(&database(folder, "there is none")?, query),
        Location::Postgres(at) => at.peek(query),
    }
}
