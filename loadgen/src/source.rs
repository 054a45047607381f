//! What a run sends: a shape that is made up, or a trace.

use std::time::Duration;

use crate::schedule::{Part, Schedule, Traffic};
use crate::trace::replay::Replay;

/// Where the schedule of a run comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Made up.
    Shape(Traffic),
    /// Replayed.
    Trace(Replay),
}

impl Source {
    /// Streams with numbers of their own.
    #[must_use]
    pub fn flows(&self) -> u32 {
        match self {
            Self::Shape(traffic) => traffic.flows,
            Self::Trace(replay) => replay.packets().flows(),
        }
    }

    /// Bytes of the longest payload.
    #[must_use]
    pub fn longest(&self) -> usize {
        match self {
            Self::Shape(traffic) => traffic.len,
            Self::Trace(replay) => replay.packets().longest(),
        }
    }

    /// How long it takes.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self {
            Self::Shape(traffic) => traffic.duration,
            Self::Trace(replay) => replay.duration(),
        }
    }

    /// The schedule of a part of the flows: those whose number leaves `part.index` when divided by `part.of`.
    #[must_use]
    pub fn schedule(&self, part: Part) -> Box<dyn Schedule> {
        match self {
            Self::Shape(traffic) => traffic.schedule(part),
            Self::Trace(replay) => replay.schedule(part),
        }
    }
}
