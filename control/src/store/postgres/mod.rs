//! PostgreSQL as the store, for servers that shall not depend on one machine: one server writes, others stand by.

mod leader;
mod place;
mod session;
#[cfg(test)]
mod tests;

use sealcast_domain::{Error, Read};

use super::{Kept, OpenError, READERS};
pub(super) use leader::Leader;
pub use place::{Postgres, PostgresError};
use session::{Session, Snapshot};

impl Postgres {
    /// Reads one state of the database and changes nothing.
    pub(super) fn peek<T>(
        &self,
        query: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
    ) -> Result<Result<T, Error>, OpenError> {
        let mut session = Session::connect(self).map_err(|error| self.away(&error))?;
        Ok(Snapshot::begin(&mut session)
            .map_err(Error::from)
            .and_then(|snapshot| snapshot.read(query)))
    }
}

/// Connections for readers.
#[derive(Debug)]
pub(super) struct Readers {
    at: Postgres,
    kept: Kept<Session>,
}

impl Readers {
    pub(super) fn new(at: Postgres) -> Self {
        let kept = Kept::default();
        Self { at, kept }
    }

    /// Runs `query` on one state.
    pub(super) fn read<T>(
        &self,
        query: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // The database may have gone away and come back since: then each of those that were kept is closed.
        for _ in 0..READERS {
            let Some(mut session) = self.kept.take() else {
                break;
            };
            if let Ok(snapshot) = Snapshot::begin(&mut session) {
                let result = snapshot.read(query);
                self.kept.give(session);
                return result;
            }
        }
        let mut session = Session::connect(&self.at)?;
        let result = Snapshot::begin(&mut session)?.read(query);
        self.kept.give(session);
        result
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        // Ending a connection waits, which may not be done where a server is dropped.
        let kept = std::mem::take(&mut self.kept);
        std::thread::spawn(move || drop(kept));
    }
}
