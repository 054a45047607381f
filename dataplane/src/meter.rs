//! The usage meter: what each channel sends or takes, by epoch and lane, in files that others can check (MD-33, SEC-34).
//!
//! ```text
//! channel's task: proto's Tally -> ChannelMeter, every interval -> mailbox -> one writer thread -> proto's UsageLog -> file, fsync
//! ```
//! The task of a channel counts alone and never waits for the writer: what finds no room in the mailbox stays counted. A disk
//! that is full or fails is told and tried again; meanwhile counts add up in memory. What was not on disk when a process was
//! killed is lost: at most the last interval and the moment that writing takes.

mod log;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sealcast_net::mailbox::{Receiver, SendError, Sender, mailbox};
use sealcast_net::{AppendFolder, clock, shard};
use sealcast_proto::ids::{ChannelId, Time};
use sealcast_proto::records::{Rotation, Source, Usage, UsageLog};
use sealcast_proto::tally::{Count, Tally};

use log::Counts;

/// Counts under way to the writer.
const UNDER_WAY: usize = 1 << 13;
/// Channels hand over within one [`crate::status::PUBLISH_INTERVAL`]; the writer waits this long for all of them, so that one
/// block takes them in.
const GATHER: Duration = Duration::from_millis(150);
/// Pause between two tries of a disk that fails.
const RETRY: Duration = Duration::from_millis(500);
/// Tries after the last channel has ended.
const LAST_TRIES: u32 = 10;

/// Settings of a meter.
#[derive(Clone, Debug)]
pub struct MeterConfig {
    /// Where files are written; made if it is not there.
    pub folder: PathBuf,
    /// Who counts.
    pub source: Source,
    /// How often channels hand over what they have counted.
    pub interval: Duration,
    /// When a file is ended and the next one begun.
    pub rotation: Rotation,
}

/// What should be told to people.
#[derive(Debug)]
pub enum MeterEvent {
    /// Counts cannot be written. They are kept, and it is tried again: told once until it succeeds.
    CannotWrite(io::Error),
    /// Writing succeeds again; nothing was lost.
    WritesAgain,
}

/// What could not be written to the end.
#[derive(Debug, thiserror::Error)]
#[error("usage of {packets} packets and {bytes} bytes could not be written: {error}")]
pub struct Unwritten {
    /// Packets that no file counts.
    pub packets: u64,
    /// Bytes of payload that no file counts.
    pub bytes: u64,
    /// The last error.
    pub error: io::Error,
}

/// The meter of a process.
#[derive(Debug)]
pub struct Meter {
    handle: MeterHandle,
    writer: thread::JoinHandle<Result<(), Unwritten>>,
}

/// Makes meters of channels, on any thread.
#[derive(Clone, Debug)]
pub struct MeterHandle {
    counts: Sender<Usage>,
    interval: Duration,
    failing: Arc<AtomicBool>,
}

impl Meter {
    /// Starts the writer; `tell` gets what people should know.
    ///
    /// # Errors
    /// When the folder cannot be made or written into, or the thread cannot be started.
    pub fn start(
        config: MeterConfig,
        tell: impl FnMut(MeterEvent) + Send + 'static,
    ) -> io::Result<Self> {
        let folder = AppendFolder::open(&config.folder)?;
        let log = Counts::new(UsageLog::new(config.source, config.rotation));
        let (counts, inbox) = mailbox(UNDER_WAY);
        let failing = Arc::new(AtomicBool::new(false));
        let shown = Arc::clone(&failing);
        let writer = thread::Builder::new()
            .name("usage-writer".into())
            .spawn(move || write(inbox, log, folder, &shown, tell))?;
        let handle = MeterHandle {
            counts,
            interval: config.interval,
            failing,
        };
        Ok(Self { handle, writer })
    }

    /// Makes meters of channels.
    #[must_use]
    pub fn handle(&self) -> MeterHandle {
        self.handle.clone()
    }

    /// Waits until everything is on disk. Channels and handles must be gone.
    ///
    /// # Errors
    /// [`Unwritten`], after some tries.
    pub fn finish(self) -> Result<(), Unwritten> {
        drop(self.handle);
        self.writer.join().unwrap_or_else(|_| {
            Err(Unwritten {
                packets: 0,
                bytes: 0,
                error: io::Error::other("the writer of usage files ended badly"),
            })
        })
    }
}

impl MeterHandle {
    /// Whether counts cannot be written now; they are kept.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// The meter of a channel, whose `tally` begins to count.
    pub fn channel(&self, channel: ChannelId, tally: &mut Tally) -> ChannelMeter {
        tally.switch_on();
        let now = Time(clock::boottime());
        ChannelMeter {
            channel,
            interval: self.interval,
            since: now,
            due: due(now, self.interval),
            counts: self.counts.clone(),
        }
    }
}

/// The same moments for all channels, so that a block takes in all of them.
fn due(now: Time, interval: Duration) -> Time {
    let interval = u64::try_from(interval.as_nanos())
        .unwrap_or(u64::MAX)
        .max(1);
    Time(
        (now.0 / interval)
            .saturating_add(1)
            .saturating_mul(interval),
    )
}

/// A channel's way to the writer. Belongs to the channel's task.
#[derive(Debug)]
pub struct ChannelMeter {
    channel: ChannelId,
    interval: Duration,
    since: Time,
    due: Time,
    counts: Sender<Usage>,
}

impl ChannelMeter {
    /// Hands over what was counted, if it is time. Never waits.
    pub fn tick(&mut self, now: Time, tally: &mut Tally) {
        if self.due <= now {
            self.due = due(now, self.interval);
            self.hand_over(now, tally);
        }
    }

    /// Hands over everything, for the channel's end; waits while the writer is behind.
    pub async fn finish(&mut self, tally: &mut Tally) {
        while !tally.is_empty() {
            match self.hand_over(Time(clock::boottime()), tally) {
                Handed::All => return,
                Handed::Closed => return,
                Handed::Full => shard::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    fn hand_over(&mut self, now: Time, tally: &mut Tally) -> Handed {
        let mut handed = Handed::All;
        tally.fetch(|count| {
            match self
                .counts
                .try_send(usage(self.channel, count, self.since, now))
            {
                Ok(()) => return true,
                Err(SendError::Full(_)) => handed = Handed::Full,
                Err(SendError::Closed(_)) => handed = Handed::Closed,
            }
            false
        });
        if handed == Handed::All {
            self.since = now;
        }
        handed
    }
}

/// How handing over went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handed {
    All,
    Full,
    Closed,
}

fn usage(channel: ChannelId, count: Count, since: Time, now: Time) -> Usage {
    Usage {
        channel: channel.0,
        lane: count.lane.number(),
        epoch: count.epoch.0,
        packets: count.packets,
        bytes: count.bytes,
        from: since.0,
        until: now.0,
    }
}

/// The writer's thread: until all channels and handles are gone and everything is written, or the last tries have failed.
fn write(
    mut inbox: Receiver<Usage>,
    mut log: Counts,
    mut folder: AppendFolder,
    shown: &AtomicBool,
    mut tell: impl FnMut(MeterEvent),
) -> Result<(), Unwritten> {
    let mut failing = false;
    while let Some(usage) = inbox.recv_blocking() {
        log.add(usage);
        thread::sleep(if failing { RETRY } else { GATHER });
        while let Some(usage) = inbox.try_recv() {
            log.add(usage);
        }
        match log.flush(
            Time(clock::boottime()),
            clock::wall_minus_boot(),
            &mut folder,
        ) {
            Ok(()) if failing => {
                failing = false;
                tell(MeterEvent::WritesAgain);
            }
            Err(error) if !failing => {
                failing = true;
                tell(MeterEvent::CannotWrite(error));
            }
            Ok(()) | Err(_) => {}
        }
        shown.store(failing, Ordering::Relaxed);
    }
    let mut close = |log: &mut Counts| {
        log.close(
            Time(clock::boottime()),
            clock::wall_minus_boot(),
            &mut folder,
        )
    };
    for _ in 1..LAST_TRIES {
        if close(&mut log).is_ok() {
            return Ok(());
        }
        thread::sleep(RETRY);
    }
    close(&mut log).map_err(|error| {
        let (packets, bytes) = log.unwritten();
        Unwritten {
            packets,
            bytes,
            error,
        }
    })
}

#[cfg(test)]
mod tests;
