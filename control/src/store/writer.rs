//! The writer thread: takes what waits, at most [`BATCH`] commands, into one transaction, and answers after the commit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use rusqlite::Connection;
use sealcast_domain::{Error, StoreError, Tx};
use sealcast_objects::time::Timestamp;
use tokio::sync::oneshot;

use super::sqlite::{Command, note_written, step, store_error};

/// Commands of one transaction.
const BATCH: usize = 4096;
/// Commands that may wait; more are refused.
const QUEUE: usize = 16_384;

/// What a command's answer becomes once the fate of its transaction is known.
type Finish = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Runs a command, unless there is no transaction for it; says whether it is good, and what ends it.
type Run = Box<dyn FnOnce(Result<&mut dyn Tx, StoreError>) -> (bool, Finish) + Send>;

/// A command on its way.
pub(super) struct Job(Run);

impl Job {
    pub(super) fn new<T: Send + 'static>(
        command: impl FnOnce(&mut dyn Tx) -> Result<T, Error> + Send + 'static,
        answer: oneshot::Sender<Result<T, Error>>,
    ) -> Self {
        Self(Box::new(move |tx| {
            let result = tx.map_err(Error::from).and_then(command);
            let good = result.is_ok();
            let finish: Finish = Box::new(move |committed| {
                // Whoever asked may have gone away.
                let _ = answer.send(match committed {
                    Ok(()) => result,
                    Err(error) => Err(error.into()),
                });
            });
            (good, finish)
        }))
    }
}

/// Totals of the writer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WriteStats {
    /// Transactions committed.
    pub commits: u64,
    /// Commands in them.
    pub commands: u64,
    /// Transactions that failed; nothing of them was done.
    pub failures: u64,
}

#[derive(Debug, Default)]
struct Counters {
    commits: AtomicU64,
    commands: AtomicU64,
    failures: AtomicU64,
}

/// The writer. Dropping it waits until everything submitted is done.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Option<SyncSender<Job>>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel(QUEUE);
        let counters = Arc::new(Counters::default());
        let thread = {
            let counters = Arc::clone(&counters);
            thread::Builder::new()
                .name("store".into())
                .spawn(move || run(&connection, &waiting, &counters))?
        };
        Ok(Self {
            jobs: Some(jobs),
            counters,
            thread: Some(thread),
        })
    }

    pub(super) fn submit(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.try_send(job).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => StoreError::Failed("too many commands wait".to_owned()),
            mpsc::TrySendError::Disconnected(_) => StoreError::Closed,
        })
    }

    pub(super) fn stats(&self) -> WriteStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriteStats {
            commits: read(&self.counters.commits),
            commands: read(&self.counters.commands),
            failures: read(&self.counters.failures),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, waiting: &Receiver<Job>, counters: &Counters) {
    let mut finishes = Vec::new();
    while let Ok(first) = waiting.recv() {
        let batch = std::iter::once(first).chain(waiting.try_iter().take(BATCH - 1));
        let committed = commit(connection, batch, &mut finishes);
        let counter = match &committed {
            Ok(()) => &counters.commits,
            Err(error) => {
                tracing::error!(%error, commands = finishes.len(), "nothing of these commands was written");
                &counters.failures
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        counters
            .commands
            .fetch_add(finishes.len() as u64, Ordering::Relaxed);
        for finish in finishes.drain(..) {
            finish(committed.clone());
        }
    }
}

/// Runs a batch in one transaction. On an error the transaction is gone, and so is all that was done in it; jobs that were
/// not reached are answered all the same.
fn commit(
    connection: &Connection,
    batch: impl Iterator<Item = Job>,
    finishes: &mut Vec<Finish>,
) -> Result<(), StoreError> {
    let mut outcome = connection
        .execute_batch("BEGIN IMMEDIATE")
        .map_err(store_error);
    for Job(job) in batch {
        match &outcome {
            Ok(()) => outcome = in_savepoint(connection, job, finishes),
            Err(error) => finishes.push(job(Err(error.clone())).1),
        }
    }
    let now = Timestamp::from(SystemTime::now());
    let outcome = outcome
        .and_then(|()| note_written(connection, now).map_err(store_error))
        .and_then(|()| connection.execute_batch("COMMIT").map_err(store_error));
    if outcome.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    outcome
}

/// Runs one command; what a failed one did is undone alone. An error is one of the whole transaction.
fn in_savepoint(
    connection: &Connection,
    job: Run,
    finishes: &mut Vec<Finish>,
) -> Result<(), StoreError> {
    let begun = step(connection, "SAVEPOINT command");
    let mut command = Command(connection);
    let (good, finish) = job(match &begun {
        Ok(()) => Ok(&mut command),
        Err(error) => Err(error.clone()),
    });
    finishes.push(finish);
    begun?;
    // A full disk or an IO error may have ended the transaction under the command.
    if connection.is_autocommit() {
        return Err(StoreError::Full);
    }
    if !good {
        step(connection, "ROLLBACK TO command")?;
    }
    step(connection, "RELEASE command")
}
