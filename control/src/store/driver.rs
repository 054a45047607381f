//! What a database has to do for the writer.

use std::time::Duration;

use sealcast_domain::{StoreError, Tx};
use sealcast_objects::time::Timestamp;

/// A connection that writes: one transaction at a time, and in it a savepoint for each command.
pub trait Driver: Tx + Send {
    /// Begins a transaction, which notes `now` as when the store was written.
    ///
    /// # Errors
    /// The driver's; there is no transaction then.
    fn begin(&mut self, now: Timestamp) -> Result<(), StoreError>;

    /// Before a command.
    ///
    /// # Errors
    /// The driver's; the transaction is to be rolled back.
    fn savepoint(&mut self) -> Result<(), StoreError>;

    /// After a command: `good` keeps what it did, else that alone is undone.
    ///
    /// # Errors
    /// As [`Driver::savepoint`], also when the command's own failure has ended the transaction.
    fn release(&mut self, good: bool) -> Result<(), StoreError>;

    /// Makes the transaction durable.
    ///
    /// # Errors
    /// The driver's; nothing of the transaction was done, but for [`StoreError::Unknown`].
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Undoes the transaction, if there is one.
    fn rollback(&mut self);

    /// How often a transaction is due, if only an empty one, to show that this writer is there.
    fn beat(&self) -> Option<Duration> {
        None
    }

    /// When the store was last written before it was opened; `None` if never.
    fn written(&self) -> Option<Timestamp>;
}
