//! Ctrl-C: the bench stops what it started and removes what it made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

const TICK: Duration = Duration::from_millis(10);

/// Whether INT or TERM has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Starts listening.
    ///
    /// # Errors
    /// When handlers cannot be installed.
    pub(crate) fn listen() -> Result<Self> {
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupt.0))?;
        }
        Ok(interrupt)
    }

    /// Whether one has come.
    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// If one has come.
    pub(crate) fn check(&self) -> Result<()> {
        if self.came() {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Sleeps so long.
    ///
    /// # Errors
    /// As soon as one has come.
    pub(crate) fn sleep(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            sleep(left.min(TICK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_ends_when_a_signal_comes() {
        let interrupt = Interrupt::default();
        let start = Instant::now();
        interrupt.sleep(Duration::from_millis(30)).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(30));
        interrupt.0.store(true, Ordering::Relaxed);
        let start = Instant::now();
        assert!(interrupt.sleep(Duration::from_secs(60)).is_err());
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
