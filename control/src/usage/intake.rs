//! Files that come while others are being counted are counted together: what they say of the same sessions and devices is looked up and written once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sealcast_domain::metering::Taken;
use sealcast_objects::problem::{Kind, Problem};
use tokio::sync::oneshot;

use super::Counted;

/// Records that are counted together, but for a file that has more: other commands wait meanwhile.
const RECORDS_MAX: usize = 1 << 16;

/// Files that wait until they are counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intake {
    queue: Arc<Mutex<Queue>>,
    /// One batch at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    counted: Counted,
    answer: oneshot::Sender<Taken>,
}

impl Queue {
    fn put(&mut self, waiting: Waiting) -> u64 {
        self.next += 1;
        self.waiting.insert(self.next, waiting);
        self.next
    }

    /// This one, if it still waits, and as many of the others as may be counted with it, the oldest first.
    fn batch(&mut self, own: u64) -> Option<Vec<Waiting>> {
        let own = self.waiting.remove(&own)?;
        let mut records = own.counted.len();
        let mut batch = vec![own];
        while let Some(oldest) = self.waiting.first_entry() {
            records += oldest.get().counted.len();
            if records > RECORDS_MAX {
                break;
            }
            batch.push(oldest.remove());
        }
        Some(batch)
    }
}

impl Intake {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a file, with others that wait. `count` counts files, and says what each came to; all fail together only where none was counted.
    pub(crate) async fn take<F>(
        &self,
        counted: Counted,
        count: impl FnOnce(Vec<Counted>) -> F + Send + 'static,
    ) -> Taken
    where
        F: Future<Output = Result<Vec<Taken>, Problem>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let own = self.queue().put(Waiting { counted, answer });
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let batch = self.queue().batch(own);
        if let Some(batch) = batch {
            // Whoever brought this file may go away; the others stay.
            tokio::spawn(async move {
                let (files, answers): (Vec<_>, Vec<_>) = batch
                    .into_iter()
                    .map(|waiting| (waiting.counted, waiting.answer))
                    .unzip();
                let taken = count(files).await;
                drop(turn);
                let taken = taken.unwrap_or_else(|why| vec![Err(why); answers.len()]);
                for (answer, taken) in answers.into_iter().zip(taken) {
                    // Nobody waits: it is brought again.
                    let _ = answer.send(taken);
                }
            });
        } else {
            drop(turn);
        }
        answered.await.unwrap_or_else(|_| {
            let detail = "the file was not counted: bring it again";
            Err(Problem::new(Kind::Unavailable, detail))
        })
    }
}
