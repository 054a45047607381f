//! What a channel tells the outside: a copy of its totals, published by the channel's task ten times a second and read by
//! whoever serves metrics. The writer never waits: if a reader is looking, it publishes at the next tick.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sealcast_net::ZeroCopyCounts;
use sealcast_proto::discard::Discards;
use sealcast_proto::ids::{Epoch, Remaining};
use sealcast_proto::receiver::{GapCount, ReceiverStats};
use sealcast_proto::sender::{ManifestCounts, SenderStats};

use crate::histogram::Histogram;

/// How often totals are published.
pub const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);

/// One writer's latest value.
#[derive(Debug, Default)]
pub struct Published<T>(Arc<Mutex<T>>);

impl<T> Clone for Published<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + Default> Published<T> {
    /// Replaces the value, unless somebody reads it at this moment.
    pub fn publish(&self, value: T) {
        if let Ok(mut held) = self.0.try_lock() {
            *held = value;
        }
    }

    /// Replaces the value, waiting for readers: for the last word of a channel.
    pub fn publish_last(&self, value: T) {
        *self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = value;
    }

    /// The latest value.
    #[must_use]
    pub fn read(&self) -> T {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

/// Key state of a channel at either side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeyStatus {
    /// The epoch in use, and what remains of it.
    pub current: Option<(Epoch, Remaining)>,
    /// The epoch held for after it.
    pub next: Option<Epoch>,
    /// Whether the link to the authority is up.
    pub linked: bool,
}

/// Totals of one sending channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SendStatus {
    /// The protocol's totals.
    pub stats: SenderStats,
    /// Key state.
    pub keys: KeyStatus,
    /// The key's time is over and it is used on: an alarm.
    pub holding: bool,
    /// Payloads longer than the path takes: dropped.
    pub oversize: u64,
    /// Input datagrams that the kernel dropped for want of buffer space.
    pub input_drops: u64,
    /// Input packets that were not what the input's URL promises (no RTP).
    pub input_malformed: u64,
    /// Batches that could not be sent, per leg.
    pub leg_errors: [u64; 2],
    /// What became of zero-copy sends, all legs and lanes together.
    pub zero_copy: ZeroCopyCounts,
    /// Manifests, all lanes together.
    pub manifests: ManifestCounts,
    /// From the arrival of a payload (or when it was due) to its sending: of the oldest of each batch.
    pub latency: Histogram,
    /// How far PCRs were from their places when they were sent.
    pub pcr_jitter: Histogram,
    /// The input has ended and everything is sent.
    pub finished: bool,
}

/// Totals of one receiving channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReceiveStatus {
    /// The protocol's totals.
    pub stats: ReceiverStats,
    /// Dropped datagrams by cause.
    pub discards: Discards,
    /// Gaps in what was delivered.
    pub gaps: GapCount,
    /// Key state.
    pub keys: KeyStatus,
    /// Datagrams that the kernel dropped for want of buffer space (a GRO buffer counts as one).
    pub kernel_drops: u64,
    /// Continuity errors in the delivered TS (ISO/IEC 13818-1 2.4.3.3).
    pub continuity_errors: u64,
    /// Payloads that the output did not take.
    pub output_errors: u64,
    /// Nanoseconds from the start to the first delivered payload.
    pub first_packet_ns: Option<u64>,
    /// From the arrival of packets to the output of their payloads: of the oldest of each turn.
    pub latency: Histogram,
    /// How far PCRs were from their places when they were put out.
    pub pcr_jitter: Histogram,
}
