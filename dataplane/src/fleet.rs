//! The shards of a process and the channels that run on them: channels come and go while others go on.

use std::future::Future;
use std::io;
use std::pin::Pin;

use sealcast_net::mailbox::{Receiver, Sender, mailbox};
use sealcast_net::shard::{self, Placement, ShardHandle};

/// Channels that may be waiting to be started on one shard.
const STARTS: usize = 1024;

type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Pinned shards.
#[derive(Debug)]
pub struct Fleet {
    shards: Vec<(Sender<JobBox>, ShardHandle<()>)>,
}

/// A job that knows nothing of `Debug`.
struct JobBox(Job);

impl std::fmt::Debug for JobBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JobBox(..)")
    }
}

/// A running channel. Dropping it stops the channel without waiting.
#[derive(Debug)]
pub struct Running<T> {
    stop: Sender<()>,
    done: Receiver<T>,
}

impl Fleet {
    /// Starts one shard for each of `placements`.
    ///
    /// # Errors
    /// As [`shard::start`].
    pub fn start(placements: &[Placement]) -> io::Result<Self> {
        let start = |(index, &placement): (usize, &Placement)| {
            let (jobs_in, mut jobs) = mailbox::<JobBox>(STARTS);
            let main = move || async move {
                while let Some(JobBox(job)) = jobs.recv().await {
                    shard::spawn(job());
                }
            };
            shard::start(&format!("shard-{index}"), placement, main).map(|handle| (jobs_in, handle))
        };
        Ok(Self {
            shards: placements
                .iter()
                .enumerate()
                .map(start)
                .collect::<io::Result<_>>()?,
        })
    }

    /// How many shards.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// Starts a channel on shard `index` (modulo their number). `make` runs there and gets the stop mailbox.
    pub fn spawn<T, F>(
        &self,
        index: usize,
        make: impl FnOnce(Receiver<()>) -> F + Send + 'static,
    ) -> Running<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (stop, stopped) = mailbox(1);
        let (done_in, done) = mailbox(1);
        let job: Job = Box::new(move || {
            Box::pin(async move {
                let result = make(stopped).await;
                let _ = done_in.try_send(result);
            })
        });
        let (jobs, _) = &self.shards[index % self.shards.len()];
        let _ = jobs.send_blocking(JobBox(job));
        Running { stop, done }
    }

    /// Waits for the shards to end; channels must have been stopped.
    ///
    /// # Errors
    /// When a shard panicked.
    pub fn join(self) -> io::Result<()> {
        for (jobs, handle) in self.shards {
            drop(jobs);
            handle.join()?;
        }
        Ok(())
    }
}

impl<T> Running<T> {
    /// Asks the channel to stop.
    pub fn stop(&self) {
        let _ = self.stop.try_send(());
    }

    /// The channel's result, if it has ended.
    pub fn try_result(&mut self) -> Option<T> {
        self.done.try_recv()
    }

    /// Waits for the channel's end; `None` when its shard failed.
    pub fn wait(mut self) -> Option<T> {
        self.done.recv_blocking()
    }

    /// Stops the channel and waits for its end; `None` when its shard failed.
    pub fn stop_and_wait(self) -> Option<T> {
        self.stop();
        self.wait()
    }
}
