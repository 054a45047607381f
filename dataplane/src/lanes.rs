//! One channel on several cores: payloads are dealt to lanes one by one, and each lane seals and sends its batches on a shard of
//! its own. The channel's shard takes the input, decides on keys and numbers, and works on lane 0 itself.

use std::io;

use futures_lite::future::or;
use sealcast_net::mailbox::{Receiver, Sender, mailbox};
use sealcast_net::{ClosedBuffer, UdpSender, ZeroCopyCounts, clock, shard};
use sealcast_proto::ids::Time;
use sealcast_proto::sender::{ManifestConfig, ManifestCounts, Reserved};

use crate::batch::SealBatch;
use crate::scratch;
use crate::vouch::Vouching;

/// Batches of a lane: one is filled while others are on their way.
const BATCHES: usize = 4;

/// A batch for another shard, and the key that it gets there.
#[derive(Debug)]
struct Job {
    batch: SealBatch,
    reserved: Reserved,
}

/// An empty batch for one that was sent, what went wrong on each leg, and totals so far.
#[derive(Debug)]
struct Done {
    batch: SealBatch,
    failed: [Option<io::Error>; 2],
    zero_copy: ZeroCopyCounts,
    manifests: ManifestCounts,
}

/// The channel's end of a lane on another shard.
#[derive(Debug)]
pub struct Lane {
    jobs: Sender<Job>,
    done: Receiver<Done>,
    free: Vec<SealBatch>,
    under_way: usize,
    zero_copy: ZeroCopyCounts,
    manifests: ManifestCounts,
}

/// The other end.
#[derive(Debug)]
pub struct LaneWork {
    jobs: Receiver<Job>,
    done: Sender<Done>,
}

/// A lane: what the channel has of it, and what runs on the other shard.
#[must_use]
pub fn lane() -> (Lane, LaneWork) {
    let (jobs_in, jobs) = mailbox(BATCHES);
    let (done_in, done) = mailbox(BATCHES);
    let lane = Lane {
        jobs: jobs_in,
        done,
        free: std::iter::repeat_with(SealBatch::default)
            .take(BATCHES)
            .collect(),
        under_way: 0,
        zero_copy: ZeroCopyCounts::default(),
        manifests: ManifestCounts::default(),
    };
    (
        lane,
        LaneWork {
            jobs,
            done: done_in,
        },
    )
}

impl Lane {
    /// An empty batch; waits for one to come back if all are on their way. `None` when the other shard has failed.
    pub(crate) async fn batch(
        &mut self,
        note: &mut impl FnMut(usize, io::Error),
    ) -> Option<SealBatch> {
        while let Some(done) = self.done.try_recv() {
            self.take_back(done, note);
        }
        if self.free.is_empty() {
            let done = self.done.recv().await?;
            self.take_back(done, note);
        }
        self.free.pop()
    }

    /// Gives a batch back that was not needed.
    pub(crate) fn put_back(&mut self, mut batch: SealBatch) {
        batch.clear();
        self.free.push(batch);
    }

    /// Hands a batch over.
    pub(crate) fn send(&mut self, batch: SealBatch, reserved: Reserved) {
        // There is room for as many as there are, unless the other shard has failed: then the next call says so.
        if self.jobs.try_send(Job { batch, reserved }).is_ok() {
            self.under_way += 1;
        }
    }

    /// Waits until everything is sent.
    pub(crate) async fn finish(&mut self, note: &mut impl FnMut(usize, io::Error)) {
        while self.under_way > 0 {
            let Some(done) = self.done.recv().await else {
                return;
            };
            self.take_back(done, note);
        }
    }

    /// What became of its zero-copy sends.
    pub(crate) fn zero_copy(&self) -> ZeroCopyCounts {
        self.zero_copy
    }

    /// Totals of its manifests.
    pub(crate) fn manifests(&self) -> ManifestCounts {
        self.manifests
    }

    fn take_back(&mut self, done: Done, note: &mut impl FnMut(usize, io::Error)) {
        self.under_way -= 1;
        self.zero_copy = done.zero_copy;
        self.manifests = done.manifests;
        for (leg, error) in done.failed.into_iter().enumerate() {
            if let Some(error) = error {
                note(leg, error);
            }
        }
        self.put_back(done.batch);
    }
}

impl LaneWork {
    /// Seals and sends until the channel ends; manifests as `manifests` says, if the channel asks for them. Sockets that could not be
    /// opened fail every batch. Batches come back in buffers of this shard's ring, if its sockets use one.
    pub async fn run(mut self, legs: Result<Vec<UdpSender>, String>, manifests: ManifestConfig) {
        let (mut legs, refused) = match legs {
            Ok(legs) => (legs, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let mut vouching = Vouching::new(manifests);
        // What goes wrong with manifests is told with the next batch.
        let mut failed = [None, None];
        while let Some(woken) = or(self.next_job(), pause_until(vouching.next_timeout())).await {
            let Some(Job {
                mut batch,
                reserved,
            }) = woken
            else {
                failed = vouching.send(now(), &mut legs).await;
                continue;
            };
            vouching.seal(now(), reserved, &mut batch);
            let batch = batch.close();
            if let Some(why) = &refused {
                failed[0] = Some(io::Error::other(why.clone()));
            }
            for (leg, failed) in legs.iter_mut().zip(&mut failed) {
                *failed = send_runs(leg, &batch).await.err().or_else(|| failed.take());
            }
            scratch::put_sent(batch);
            let later = vouching.send(now(), &mut legs).await;
            let done = Done {
                batch: scratch::take_sealed(&legs).await,
                failed: std::mem::replace(&mut failed, later),
                zero_copy: zero_copy_counts(&legs),
                manifests: vouching.counts(),
            };
            if self.done.try_send(done).is_err() {
                break;
            }
            shard::yield_if_needed().await;
        }
        vouching.finish(now());
        vouching.send(now(), &mut legs).await;
    }

    /// The next batch; `None` when the channel has ended.
    async fn next_job(&mut self) -> Option<Option<Job>> {
        self.jobs.recv().await.map(Some)
    }
}

/// Ends at this time, if it is one, with no batch.
async fn pause_until(due: Option<Time>) -> Option<Option<Job>> {
    match due {
        Some(due) => shard::sleep_until(due.0).await,
        None => std::future::pending().await,
    }
    Some(None)
}

fn now() -> Time {
    Time(clock::boottime())
}

/// Sends a sealed batch. One run that fails does not stop the others.
pub(crate) async fn send_runs(
    leg: &mut UdpSender,
    batch: &SealBatch<ClosedBuffer>,
) -> io::Result<()> {
    let mut result = Ok(());
    for (range, segment) in batch.ranges() {
        let sent = leg.send_closed(batch.buffer(), range, segment).await;
        result = result.and(sent);
    }
    result
}

/// What became of the zero-copy sends of all legs.
pub(crate) fn zero_copy_counts(legs: &[UdpSender]) -> ZeroCopyCounts {
    let counts = legs.iter().filter_map(UdpSender::zero_copy_counts);
    counts.fold(ZeroCopyCounts::default(), ZeroCopyCounts::plus)
}

/// Batches of all lanes being filled: the next payload goes to the next lane.
#[derive(Debug, Default)]
pub struct Hand {
    /// Lane 0 first.
    pub(crate) batches: Vec<SealBatch>,
    /// The lane that the next payload is for.
    pub(crate) next: usize,
}

impl Hand {
    /// Whether the next payload, of so many bytes, fits in.
    #[must_use]
    pub fn has_room(&self, len: usize) -> bool {
        self.batches[self.next].has_room(len)
    }

    /// Copies the next payload in, for which there is room.
    pub fn push(&mut self, payload: &[u8]) {
        self.batches[self.next].push(payload);
        self.next = (self.next + 1) % self.batches.len();
    }

    /// Whether there is no payload.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.iter().all(SealBatch::is_empty)
    }
}
