//! Carries usage files from a folder to the next one up, or into the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::spool::{Found, Spool};

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Files on their way at once: those that come together are counted together.
const AT_ONCE: usize = 8;
/// Pause after what cannot be delivered; doubled up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// What is written when a program stops is still carried, for so long.
const LAST: Duration = Duration::from_secs(3);

/// Who takes files.
pub trait Carrier: Send + Sync + 'static {
    /// Takes a whole file. When it returns, the file is as safe as it was.
    ///
    /// # Errors
    /// [`Undelivered`].
    fn carry(&self, file: Vec<u8>) -> impl Future<Output = Result<(), Undelivered>> + Send;
}

/// Why a file was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Undelivered {
    /// It is tried again.
    #[error("{0}")]
    Later(String),
    /// This file never will be.
    #[error("{0}")]
    Never(String),
}

/// Totals of a courier.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CourierStats {
    /// Files that wait.
    pub waiting: u64,
    /// Files that were taken.
    pub carried: u64,
    /// Files that nobody takes, put aside: an alarm.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Counters {
    waiting: AtomicU64,
    carried: AtomicU64,
    refused: AtomicU64,
}

/// What a look at the folder came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Round {
    /// Nothing waits that could be carried.
    Done,
    /// Something is to be tried again.
    Stuck,
}

/// Carries files, some at a time.
#[derive(Clone, Debug)]
pub struct Courier {
    spool: Spool,
    counters: Arc<Counters>,
}

impl Courier {
    /// Of this folder.
    #[must_use]
    pub fn new(spool: Spool) -> Self {
        Self {
            spool,
            counters: Arc::default(),
        }
    }

    /// Totals.
    #[must_use]
    pub fn stats(&self) -> CourierStats {
        CourierStats {
            waiting: self.counters.waiting.load(Ordering::Relaxed),
            carried: self.counters.carried.load(Ordering::Relaxed),
            refused: self.counters.refused.load(Ordering::Relaxed),
        }
    }

    /// Carries files to `carrier` until `stop`, and those that are there then for a few seconds more.
    pub async fn run(self, carrier: impl Carrier, mut stop: watch::Receiver<bool>) {
        let mut pause = PAUSE;
        while !*stop.borrow() {
            let wait = match self.round(&carrier).await {
                Round::Done => {
                    pause = PAUSE;
                    LOOK
                }
                Round::Stuck => {
                    let wait = pause;
                    pause = PAUSE_MAX.min(2 * pause);
                    wait
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                stopped = stop.wait_for(|stop| *stop) => drop(stopped),
            }
        }
        let _ = tokio::time::timeout(LAST, self.round(&carrier)).await;
    }

    pub(super) async fn round(&self, carrier: &impl Carrier) -> Round {
        let spool = self.spool.clone();
        let mut files = match blocking(move || spool.files()).await {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(%error, "the folder of usage files cannot be read");
                return Round::Stuck;
            }
        };
        let waiting = &self.counters.waiting;
        waiting.store(files.len() as u64, Ordering::Relaxed);
        // The first goes alone: where it cannot be handed over, the others need not be tried.
        let others = files.split_off(files.len().min(1));
        for (files, at_once) in [(files, 1), (others, AT_ONCE)] {
            let carry = |path: PathBuf| async move {
                let gone = self.one(carrier, &path).await;
                (path, gone)
            };
            let mut carried = stream::iter(files).map(carry).buffered(at_once);
            while let Some((path, gone)) = carried.next().await {
                match gone {
                    Ok(true) => {
                        waiting.fetch_sub(1, Ordering::Relaxed);
                    }
                    Ok(false) => {}
                    Err(why) => {
                        tracing::warn!(file = %path.display(), why, "usage files wait: they cannot be handed over now");
                        return Round::Stuck;
                    }
                }
            }
        }
        Round::Done
    }

    /// Whether the file is gone from the folder.
    ///
    /// # Errors
    /// Why it is tried again later.
    async fn one(&self, carrier: &impl Carrier, path: &Path) -> Result<bool, String> {
        let (spool, of) = (self.spool.clone(), path.to_owned());
        let found = blocking(move || spool.find(&of)).await;
        let why = match found.map_err(|error| error.to_string())? {
            Found::Written => return Ok(false),
            Found::Nothing => {
                self.away(path, Spool::remove).await?;
                return Ok(true);
            }
            Found::Whole(bytes) => match carrier.carry(bytes).await {
                Ok(()) => {
                    self.counters.carried.fetch_add(1, Ordering::Relaxed);
                    self.away(path, Spool::remove).await?;
                    return Ok(true);
                }
                Err(Undelivered::Later(why)) => return Err(why),
                Err(Undelivered::Never(why)) => why,
            },
            Found::Damaged(why) => why,
        };
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            file = %path.display(),
            why,
            "ALARM: a usage file is not taken in and is put aside (its name ends in .refused): what it counts is on no bill"
        );
        self.away(path, Spool::set_aside).await?;
        Ok(true)
    }

    async fn away(
        &self,
        path: &Path,
        how: fn(&Spool, &Path) -> std::io::Result<()>,
    ) -> Result<(), String> {
        let (spool, path) = (self.spool.clone(), path.to_owned());
        let gone = blocking(move || how(&spool, &path)).await;
        gone.map_err(|error| error.to_string())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
}
