//! Usage: what key doors gave, on its way into the master's store; what delivery servers sent comes the same way (MD-33, MD-34,
//! INT-03).
//!
//! ```text
//! doors -> meter -> usage files in a folder -> courier -> the parent's folder -> ... -> the master's store, each file once
//! ```
//! A file leaves a folder when the next one up has it on disk, or the store has counted it. So a file is at most in two places, and
//! the store knows which it has counted: whatever dies in between, nothing is lost and nothing counts twice.
//!
//! | room | what |
//! |---|---|
//! | `meter` | [`Meter`]: counts what doors give, writes files |
//! | `spool` | [`Spool`]: the folder in which files wait |
//! | `courier` | [`Courier`]: carries them on |
//! | `read` | files as rows of the business |
//! | `intake` | counts files that come at the same time together |

mod courier;
mod intake;
mod meter;
mod read;
mod spool;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use courier::{Carrier, Courier, CourierStats, Undelivered};
pub(crate) use intake::Intake;
pub use meter::{INTERVAL, Meter, MeterConfig, MeterStats, Tap};
pub use read::Counted;
pub(crate) use read::of_key_server;
pub use spool::Spool;

/// Folder of usage files inside a key server's data folder.
pub const FOLDER: &str = "usage";
/// Longest usage file that is taken in: meters end theirs long before.
pub const FILE_MAX: usize = 24 << 20;

/// Meter and folder of a key server, before anything is carried away.
#[derive(Debug)]
pub struct Metering {
    meter: Meter,
    spool: Spool,
    courier: Courier,
}

/// Meter, folder and courier of a running key server.
#[derive(Debug)]
pub struct Running {
    meter: Meter,
    stop: watch::Sender<bool>,
    carrying: JoinHandle<()>,
}

/// Totals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UsageStats {
    /// Of the meter.
    pub meter: MeterStats,
    /// Of the courier.
    pub courier: CourierStats,
}

/// Reads the totals.
#[derive(Clone, Debug)]
pub struct UsageMonitor {
    tap: Tap,
    courier: Courier,
}

impl Metering {
    /// In a folder of the data folder of the slave of this number, or of a master (0).
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn start(data: &Path, slave: u32, interval: Duration) -> io::Result<Self> {
        let folder = data.join(FOLDER);
        let why = |error: io::Error| {
            let text = format!("usage cannot be written to {}: {error}", folder.display());
            io::Error::new(error.kind(), text)
        };
        let spool = Spool::open(&folder).map_err(why)?;
        let config = MeterConfig {
            folder: folder.clone(),
            slave,
            interval,
        };
        Ok(Self {
            meter: Meter::start(&config).map_err(why)?,
            courier: Courier::new(spool.clone()),
            spool,
        })
    }

    /// For doors.
    #[must_use]
    pub fn tap(&self) -> Tap {
        self.meter.tap()
    }

    /// The folder.
    #[must_use]
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// What reads the totals.
    #[must_use]
    pub fn monitor(&self) -> UsageMonitor {
        UsageMonitor {
            tap: self.tap(),
            courier: self.courier.clone(),
        }
    }

    /// Begins to carry files away. Inside a tokio runtime only.
    #[must_use]
    pub fn run(self, carrier: impl Carrier) -> Running {
        let (stop, stopped) = watch::channel(false);
        Running {
            meter: self.meter,
            stop,
            carrying: tokio::spawn(self.courier.run(carrier, stopped)),
        }
    }
}

impl Running {
    /// Writes what was counted, and tries for some seconds to carry it away. Doors must have ended.
    pub async fn stop(self) {
        let meter = self.meter;
        let _ = tokio::task::spawn_blocking(move || meter.finish()).await;
        let _ = self.stop.send(true);
        let _ = self.carrying.await;
    }
}

impl UsageMonitor {
    /// The totals.
    #[must_use]
    pub fn stats(&self) -> UsageStats {
        UsageStats {
            meter: self.tap.stats(),
            courier: self.courier.stats(),
        }
    }
}
