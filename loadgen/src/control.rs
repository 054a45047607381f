//! What the shards of a run share: when it starts, whether it ends, why one could not be opened.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sealcast_net::{SocketError, shard};

/// How often a shard looks whether the run has started.
const LOOK: Duration = Duration::from_micros(500);

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A shard, or the host.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nothing is fragmented.
    #[error(
        "payloads of {len} bytes do not fit the path to {target}: choose a size up to {max}, a trace without longer ones, or a larger MTU"
    )]
    TooLong {
        /// As asked for.
        len: usize,
        /// What fits.
        max: usize,
        /// Where to.
        target: SocketAddr,
    },
}

/// Start and end of a run.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// Nanoseconds of the boot clock; 0: not yet.
    pub(crate) start: AtomicU64,
    /// To be ended now.
    pub(crate) stop: AtomicBool,
    /// Sinks may end: nothing comes any more.
    pub(crate) drained: AtomicBool,
}

impl Control {
    /// Waits for the start; `None` if there will be none.
    pub(crate) async fn started(&self) -> Option<u64> {
        loop {
            match self.start.load(Ordering::Acquire) {
                _ if self.stop.load(Ordering::Relaxed) => return None,
                0 => shard::sleep(LOOK).await,
                start => return Some(start),
            }
        }
    }
}
