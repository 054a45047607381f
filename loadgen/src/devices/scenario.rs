//! What devices do when: a schedule that waits for nobody.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sealcast_net::{FileMap, FileMapError};
use sealcast_proto::receiver::FetchOn;
use sealcast_proto::records::{Cause, RecordError, RecordFile, RequestTrace};

use crate::records::mapped_records;
use crate::trace::replay::Speed;

/// Requests per second, at most.
pub const RATE_MAX: u64 = 10_000_000;
/// The longest trace that is read.
const FILE_MAX: u64 = 1 << 32;

/// A scenario.
#[derive(Clone, Debug)]
pub enum Scenario {
    /// Devices ask for the current key in turn, at a rate.
    Steady {
        /// Requests per second.
        rate: u64,
        /// How long.
        duration: Duration,
    },
    /// All devices tune in.
    Cold {
        /// Evenly within this.
        within: Duration,
    },
    /// All devices tune in, and then follow the next change of key.
    Switch {
        /// They tune in evenly within this.
        within: Duration,
    },
    /// Requests of a trace.
    Trace(Trace),
}

/// What one device does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Act {
    /// Nanoseconds since the start.
    pub at: u64,
    /// Which device.
    pub device: u32,
    /// The epoch it wants, counted from 1 at the start; `None`: what is current.
    pub wanted: Option<u64>,
}

impl Scenario {
    /// What makes devices ask by themselves.
    #[must_use]
    pub fn fetch_on(&self) -> FetchOn {
        let follows = matches!(self, Self::Switch { .. });
        FetchOn {
            timer: follows,
            notice: follows,
            demand: false,
        }
    }

    /// How long the schedule is.
    #[must_use]
    pub fn length(&self) -> Duration {
        match self {
            Self::Steady { duration, .. } => *duration,
            Self::Cold { within } | Self::Switch { within } => *within,
            Self::Trace(trace) => trace.length(),
        }
    }

    /// What so many devices do, in order of time.
    #[must_use]
    pub fn acts(&self, devices: u32) -> Acts {
        Acts {
            scenario: self.clone(),
            devices: devices.max(1),
            next: 0,
        }
    }
}

/// What devices do, in order of time.
#[derive(Clone, Debug)]
pub struct Acts {
    scenario: Scenario,
    devices: u32,
    next: u64,
}

/// The `number`-th of `count` moments that lie evenly in `nanos`.
fn evenly(number: u64, nanos: u128, count: u64) -> u64 {
    u64::try_from(u128::from(number) * nanos / u128::from(count.max(1))).unwrap_or(u64::MAX)
}

impl Iterator for Acts {
    type Item = Act;

    fn next(&mut self) -> Option<Act> {
        let (number, devices) = (self.next, u64::from(self.devices));
        self.next += 1;
        let in_turn = |at| Act {
            at,
            device: u32::try_from(number % devices).unwrap_or(0),
            wanted: None,
        };
        match &self.scenario {
            Scenario::Steady { rate, duration } => {
                let at = evenly(number, 1_000_000_000, *rate);
                (u128::from(at) < duration.as_nanos()).then(|| in_turn(at))
            }
            Scenario::Cold { within } | Scenario::Switch { within } => {
                (number < devices).then(|| in_turn(evenly(number, within.as_nanos(), devices)))
            }
            Scenario::Trace(trace) => trace.act(number, self.devices),
        }
    }
}

mapped_records!(Checked, RequestTrace);

/// Why a trace of key requests is not played.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// No file that can be read.
    #[error(transparent)]
    File(#[from] FileMapError),
    /// Not a whole trace of key requests of this version.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// Nothing in it.
    #[error("the trace holds no requests: make it again with `sealcast load make requests`")]
    Empty,
}

/// A trace of key requests. Clones share the file.
#[derive(Clone)]
pub struct Trace {
    file: Arc<Checked>,
    speed: Speed,
    length: Duration,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("requests", &self.requests())
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Trace {
    /// Opens and checks a trace, to be played `speed` times as fast.
    ///
    /// # Errors
    /// [`TraceError`] says what is wrong with it.
    pub fn open(path: &Path, speed: Speed) -> Result<Self, TraceError> {
        let file = FileMap::open(path, FILE_MAX)?;
        let file = Checked::try_new(file, |bytes| RecordFile::read(bytes))?;
        let last = file.borrow_dependent().records().last();
        let last = last.ok_or(TraceError::Empty)?;
        Ok(Self {
            length: Duration::from_nanos(speed.due(last.at.into())),
            file: Arc::new(file),
            speed,
        })
    }

    /// How many requests it holds.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.file.borrow_dependent().len()
    }

    fn length(&self) -> Duration {
        self.length
    }

    fn act(&self, number: u64, devices: u32) -> Option<Act> {
        let request = self
            .file
            .borrow_dependent()
            .get(usize::try_from(number).ok()?)?;
        let named = match request.cause {
            // By timer a device asks for what is current, and gets the next key beside it.
            Cause::Timer | Cause::Join => None,
            Cause::Notice | Cause::UnknownKey => Some(request.epoch),
        };
        Some(Act {
            at: self.speed.due(request.at.into()),
            device: request.device % devices,
            wanted: named.filter(|&epoch| epoch > 0),
        })
    }
}
