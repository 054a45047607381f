//! The writer thread: takes what waits, at most [`BATCH`] commands, into one transaction, and answers after the commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use sealcast_domain::{Error, Memo, Read, Row, StoreError, Tx, Value, flush};
use sealcast_objects::time::Timestamp;
use tokio::sync::{oneshot, watch};

use super::OpenError;
use super::driver::Driver;

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

/// What the writer tells of itself.
#[derive(Debug, Default)]
struct Told {
    commits: AtomicU64,
    commands: AtomicU64,
    failures: AtomicU64,
    /// The last transaction failed.
    fails: AtomicBool,
    taken_over: watch::Sender<bool>,
    /// Something was written.
    written: watch::Sender<()>,
}

impl Told {
    fn note(&self, committed: &Result<(), StoreError>, commands: usize) {
        let failed = committed.is_err();
        let failed_before = self.fails.swap(failed, Ordering::Relaxed);
        match committed {
            Ok(()) if failed_before => tracing::info!("the store is written again"),
            Ok(()) => {}
            // Said once, not at each beat.
            Err(StoreError::Away(_)) if failed_before && commands == 0 => {}
            Err(error) => {
                tracing::error!(%error, commands, "nothing of these commands was written");
            }
        }
        if matches!(committed, Err(StoreError::TakenOver)) {
            self.taken_over.send_replace(true);
        }
        if commands > 0 {
            let transactions = if failed {
                &self.failures
            } else {
                &self.commits
            };
            transactions.fetch_add(1, Ordering::Relaxed);
            self.commands.fetch_add(commands as u64, Ordering::Relaxed);
            if !failed {
                self.written.send_replace(());
            }
        }
    }
}

/// Tells a driver that the store is being closed.
pub(super) type Closing = Arc<AtomicBool>;

/// The writer. Dropping it waits until everything submitted is done.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Option<SyncSender<Job>>,
    told: Arc<Told>,
    closing: Closing,
    thread: Option<JoinHandle<()>>,
    written: Option<Timestamp>,
}

impl Writer {
    /// Starts the thread and returns when `open` has succeeded there.
    pub(super) fn start<D: Driver>(
        open: impl FnOnce(Closing) -> Result<D, OpenError> + Send + 'static,
    ) -> Result<Self, OpenError> {
        let (jobs, waiting) = sync_channel(QUEUE);
        let (opened_in, opened) = sync_channel(1);
        let (told, closing) = (Arc::new(Told::default()), Closing::default());
        let of_thread = (Arc::clone(&told), Arc::clone(&closing));
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                let (told, closing) = of_thread;
                match open(closing) {
                    Ok(mut driver) => {
                        let _ = opened_in.send(Ok(driver.written()));
                        run(&mut driver, &waiting, &told);
                    }
                    Err(error) => {
                        let _ = opened_in.send(Err(error));
                    }
                }
            })
            .map_err(OpenError::Thread)?;
        let died = |_| OpenError::Thread(std::io::Error::other("it died"));
        let written = opened.recv().map_err(died)??;
        Ok(Self {
            jobs: Some(jobs),
            told,
            closing,
            thread: Some(thread),
            written,
        })
    }

    pub(super) fn submit(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.try_send(job).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => StoreError::Busy,
            mpsc::TrySendError::Disconnected(_) => StoreError::Closed,
        })
    }

    pub(super) fn stats(&self) -> WriteStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriteStats {
            commits: read(&self.told.commits),
            commands: read(&self.told.commands),
            failures: read(&self.told.failures),
        }
    }

    /// When the store was last written before it was opened.
    pub(super) fn written(&self) -> Option<Timestamp> {
        self.written
    }

    /// Whether the last transaction failed.
    pub(super) fn fails(&self) -> bool {
        self.told.fails.load(Ordering::Relaxed)
    }

    /// Changes after each transaction in which something was written.
    pub(super) fn commits(&self) -> watch::Receiver<()> {
        self.told.written.subscribe()
    }

    /// Returns when another server has taken over the store.
    pub(super) async fn taken_over(&self) {
        let mut taken_over = self.told.taken_over.subscribe();
        // The sender lives as long as `self`.
        let _ = taken_over.wait_for(|taken_over| *taken_over).await;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The first of what waits; `None` within when the driver wants a transaction all the same.
fn first(waiting: &Receiver<Job>, driver: &impl Driver) -> Result<Option<Job>, RecvTimeoutError> {
    let Some(beat) = driver.beat() else {
        return Ok(Some(waiting.recv()?));
    };
    match waiting.recv_timeout(beat) {
        Err(RecvTimeoutError::Timeout) => Ok(None),
        job => job.map(Some),
    }
}

fn run(driver: &mut impl Driver, waiting: &Receiver<Job>, told: &Told) {
    let mut finishes = Vec::new();
    while let Ok(first) = first(waiting, driver) {
        let batch = first.into_iter().chain(waiting.try_iter()).take(BATCH);
        let committed = commit(driver, batch, &mut finishes);
        told.note(&committed, finishes.len());
        for finish in finishes.drain(..) {
            finish(committed.clone());
        }
    }
}

/// A transaction, as its commands see it.
struct Batch<'a, D> {
    driver: &'a mut D,
    memo: Memo,
}

impl<D: Driver> Read for Batch<'_, D> {
    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.driver.query(sql, params)
    }

    fn memo(&mut self) -> Option<&mut Memo> {
        Some(&mut self.memo)
    }
}

impl<D: Driver> Tx for Batch<'_, D> {
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, StoreError> {
        self.driver.execute(sql, params)
    }
}

impl<D: Driver> Batch<'_, D> {
    /// Runs one command; what a failed one did is undone alone. An error is one of the whole transaction.
    fn run(&mut self, job: Run, finishes: &mut Vec<Finish>) -> Result<(), StoreError> {
        let begun = self.driver.savepoint();
        self.memo.begin();
        let (good, finish) = job(match &begun {
            Ok(()) => Ok(self),
            Err(error) => Err(error.clone()),
        });
        finishes.push(finish);
        begun?;
        if !good {
            self.memo.undo();
        }
        self.driver.release(good)
    }

    /// What the commands left to be written.
    fn flush(&mut self) -> Result<(), StoreError> {
        flush(self).map_err(|error| match error {
            Error::Store(error) => error,
            Error::Refused(problem) => StoreError::Failed(problem.detail),
        })
    }
}

/// Runs a batch in one transaction. On an error the transaction is gone, and so is all that was done in it; jobs that were
/// not reached are answered all the same.
fn commit(
    driver: &mut impl Driver,
    jobs: impl Iterator<Item = Job>,
    finishes: &mut Vec<Finish>,
) -> Result<(), StoreError> {
    let mut outcome = driver.begin(Timestamp::from(SystemTime::now()));
    let memo = Memo::default();
    let mut batch = Batch { driver, memo };
    for Job(job) in jobs {
        match &outcome {
            Ok(()) => outcome = batch.run(job, finishes),
            Err(error) => finishes.push(job(Err(error.clone())).1),
        }
    }
    let outcome = outcome.and_then(|()| batch.flush());
    let driver = batch.driver;
    let outcome = outcome.and_then(|()| driver.commit());
    if outcome.is_err() {
        driver.rollback();
    }
    outcome
}
