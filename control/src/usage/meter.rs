//! The meter of a key server: which keys its doors gave to whom, in usage files (MD-33, MD-34, INT-03).
//!
//! ```text
//! door: Vec<KeysGiven> -> mailbox -> one writer thread: KeyMeter, every interval -> UsageLog -> file, fsync
//! ```
//! Doors never wait for the writer. What finds no room in the mailbox waits in the door, up to a bound; what goes beyond it is given
//! all the same, and counted only as a number ([`MeterStats::uncounted`]): devices must not suffer from a slow disk. What was not on
//! disk when a process was killed is lost: at most the last interval and the moment that writing takes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rand::Rng as _;
use sealcast_net::mailbox::{Receiver, SendError, Sender, mailbox};
use sealcast_net::{AppendFolder, clock};
use sealcast_proto::door::{Door, KeyMeter, KeysGiven};
use sealcast_proto::ids::Time;
use sealcast_proto::records::{KeyUsageFile, Rotation, Source, SourceKind, UsageLog};

/// Handfuls of answers under way to the writer.
const UNDER_WAY: usize = 1 << 10;
/// Answers that a door hands over at once.
const HANDFUL: usize = 1 << 10;
/// Answers that wait in a door, at most: 11 MiB.
const WAITING_MAX: usize = 1 << 17;
/// Records that are gathered, at most: 128 MiB; then they are written before their time.
const GATHERED_MAX: usize = 1 << 20;
/// How often the writer looks into its mailbox while there is something to write.
const LOOK: Duration = Duration::from_millis(50);
/// Pause between two tries of a disk that fails.
const RETRY: Duration = Duration::from_millis(500);
/// Tries after the last door has ended.
const LAST_TRIES: u32 = 10;

/// How often key servers write their usage, unless a setting says otherwise.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// Settings of a meter.
#[derive(Clone, Debug)]
pub struct MeterConfig {
    /// Where files are written; made if it is not there.
    pub folder: PathBuf,
    /// The number of the slave; 0 for a master.
    pub slave: u32,
    /// How often files are written and ended, so that they can be shipped. Many requests of a device within it share a record.
    pub interval: Duration,
}

/// Totals of a meter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MeterStats {
    /// Answers that are in no file, because the writer could not keep up.
    pub uncounted: u64,
    /// Files cannot be written now: an alarm. Counts are kept in memory, and it is tried again.
    pub failing: bool,
}

#[derive(Debug, Default)]
struct Shared {
    uncounted: AtomicU64,
    failing: AtomicBool,
    stopping: AtomicBool,
}

/// The running meter.
#[derive(Debug)]
pub struct Meter {
    tap: Tap,
    writer: thread::JoinHandle<()>,
}

/// A door's way to the writer.
#[derive(Clone, Debug)]
pub struct Tap {
    handfuls: Sender<Vec<KeysGiven>>,
    shared: Arc<Shared>,
}

impl Meter {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the folder cannot be made or the thread cannot be started.
    pub fn start(config: &MeterConfig) -> io::Result<Self> {
        let folder = AppendFolder::open(&config.folder)?;
        let mut boot = [0; 16];
        crate::rng().fill_bytes(&mut boot);
        let source = Source::numbered(SourceKind::KeyServer, config.slave, boot);
        let rotation = Rotation {
            age: Duration::ZERO,
            ..Rotation::default()
        };
        let (handfuls, inbox) = mailbox(UNDER_WAY);
        let shared = Arc::<Shared>::default();
        let writer = Writer {
            inbox,
            log: UsageLog::new(source, rotation),
            folder,
            interval: config.interval,
            shared: Arc::clone(&shared),
            meter: KeyMeter::default(),
            under_way: 0,
        };
        let writer = thread::Builder::new()
            .name("usage-writer".into())
            .spawn(move || writer.run())?;
        let tap = Tap { handfuls, shared };
        Ok(Self { tap, writer })
    }

    /// A way to the writer.
    #[must_use]
    pub fn tap(&self) -> Tap {
        self.tap.clone()
    }

    /// Waits until everything that doors handed over is on disk, or the last tries have failed.
    pub fn finish(self) {
        self.tap.shared.stopping.store(true, Ordering::Release);
        // Wakes it.
        let _ = self.tap.handfuls.send_blocking(Vec::new());
        if self.writer.join().is_err() {
            tracing::error!("the writer of usage files ended badly");
        }
    }
}

impl Tap {
    /// Takes what a door gave when it is a handful, or else when it `must`.
    pub fn take_from(&self, door: &mut Door, must: bool) {
        if let Some(given) = door.given() {
            self.take(given, must);
        }
    }

    fn take(&self, given: &mut Vec<KeysGiven>, must: bool) {
        if given.is_empty() || given.len() < HANDFUL && !must {
            return;
        }
        // The next one will be as long; one answer of a door for HTTPS must not cost room for a thousand.
        let room = Vec::with_capacity(given.len().min(HANDFUL));
        let handful = std::mem::replace(given, room);
        let Err(SendError::Full(mut handful) | SendError::Closed(mut handful)) =
            self.handfuls.try_send(handful)
        else {
            return;
        };
        if handful.len() > WAITING_MAX {
            let over = handful.len() - WAITING_MAX;
            handful.truncate(WAITING_MAX);
            self.shared
                .uncounted
                .fetch_add(over as u64, Ordering::Relaxed);
        }
        *given = handful;
    }

    /// Totals.
    #[must_use]
    pub fn stats(&self) -> MeterStats {
        MeterStats {
            uncounted: self.shared.uncounted.load(Ordering::Relaxed),
            failing: self.shared.failing.load(Ordering::Relaxed),
        }
    }
}

/// The writer's thread.
struct Writer {
    inbox: Receiver<Vec<KeysGiven>>,
    log: UsageLog<KeyUsageFile>,
    folder: AppendFolder,
    interval: Duration,
    shared: Arc<Shared>,
    meter: KeyMeter,
    /// Records that were fetched and may not be on disk.
    under_way: usize,
}

fn now() -> Time {
    Time(clock::boottime())
}

impl Writer {
    /// Until it is told to stop and everything is written, or the last tries have failed.
    fn run(mut self) {
        let mut due = now().after(self.interval);
        while !self.shared.stopping.load(Ordering::Acquire) {
            self.gather();
            if due <= now() || self.meter.len() >= GATHERED_MAX {
                let pause = if self.flush() { self.interval } else { RETRY };
                due = now().after(pause);
            }
        }
        for _ in 0..LAST_TRIES {
            if self.flush_all() {
                return;
            }
            thread::sleep(RETRY);
        }
        tracing::error!(
            records = self.meter.len() + self.under_way,
            "usage could not be written: what the key doors gave last is in no file"
        );
    }

    /// Writes everything that doors handed over, which may be more than is gathered at once; false if the disk fails.
    fn flush_all(&mut self) -> bool {
        loop {
            self.drain();
            if self.meter.is_empty() && self.log.next().is_none() {
                return true;
            }
            if !self.flush() {
                return false;
            }
        }
    }

    /// Takes in what doors gave; waits for it where nothing is due before something comes.
    fn gather(&mut self) {
        if self.meter.is_empty() && self.log.next().is_none() {
            match self.inbox.recv_blocking() {
                Some(handful) => self.add(&handful),
                // Whoever could hand something over, or tell it to stop, is gone.
                None => self.shared.stopping.store(true, Ordering::Release),
            }
        } else {
            thread::sleep(LOOK);
        }
        self.drain();
    }

    fn drain(&mut self) {
        while self.meter.len() < GATHERED_MAX
            && let Some(handful) = self.inbox.try_recv()
        {
            self.add(&handful);
        }
    }

    fn add(&mut self, handful: &[KeysGiven]) {
        let now = now();
        for given in handful {
            self.meter.add(*given, now);
        }
    }

    /// Writes what was gathered; false if the disk fails. What is under way then is tried again before anything else.
    fn flush(&mut self) -> bool {
        let mut written = self.settle();
        if written.is_ok() {
            let records = self.meter.fetch();
            self.under_way = records.len();
            self.log.add(now(), clock::wall_minus_boot(), &records);
            written = self.settle();
        }
        if written.is_ok() {
            self.under_way = 0;
        }
        let fails = written.is_err();
        let failed = self.shared.failing.swap(fails, Ordering::Relaxed);
        match written {
            Ok(()) if failed => tracing::info!("usage is written again, nothing was lost"),
            Err(error) if !failed => tracing::error!(
                %error,
                "ALARM: usage cannot be written; counts are kept in memory and tried again: make room, or put the folder right"
            ),
            Ok(()) | Err(_) => {}
        }
        !fails
    }

    fn settle(&mut self) -> io::Result<()> {
        while let Some(append) = self.log.next() {
            self.folder
                .append(&append.name, append.at, &append.bytes, append.last)?;
            self.log.written();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
