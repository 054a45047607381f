//! Totals of connections and of what was refused.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a connection was ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// The TLS handshake took too long.
    Handshake,
    /// No request was under way, or not all of its headers, for too long.
    Idle,
    /// Its answers were not taken.
    Stalled,
    /// It idled, and another needed its place.
    MadeRoom,
    /// There was no place, and nobody idled.
    Full,
}

impl Why {
    const ALL: [Self; 5] = [
        Self::Handshake,
        Self::Idle,
        Self::Stalled,
        Self::MadeRoom,
        Self::Full,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::MadeRoom => "made-room",
            Self::Full => "full",
        }
    }
}

/// Statuses of requests that are counted as refused by a bound.
const STATUSES: [u16; 4] = [408, 413, 429, 503];

/// Counters behind [`HttpStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    ended: [AtomicU64; Why::ALL.len()],
    refused: [AtomicU64; STATUSES.len()],
}

impl Counters {
    pub(super) fn ended(&self, why: Why, connections: usize) {
        self.ended[why as usize].fetch_add(connections as u64, Relaxed);
    }

    pub(super) fn answered(&self, status: u16) {
        let counted = STATUSES.iter().position(|counted| *counted == status);
        if let Some(index) = counted {
            self.refused[index].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn read(&self, open: Vec<(&'static str, u64)>) -> HttpStats {
        let ended = Why::ALL.into_iter().zip(&self.ended);
        let refused = STATUSES.into_iter().zip(&self.refused);
        HttpStats {
            open,
            ended: ended
                .map(|(why, count)| (why.name(), count.load(Relaxed)))
                .collect(),
            refused: refused
                .map(|(status, count)| (status, count.load(Relaxed)))
                .collect(),
        }
    }
}

/// Connections of the HTTP API, and what was refused.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HttpStats {
    /// Connections by class: `handshaking`, `anonymous`, `authenticated`.
    pub open: Vec<(&'static str, u64)>,
    /// Connections that the server ended, by why: `handshake`, `idle`, `stalled`, `made-room`, `full`.
    pub ended: Vec<(&'static str, u64)>,
    /// Requests that were refused, by status: 408 (slow body), 413 (large body), 429, 503.
    pub refused: Vec<(u16, u64)>,
}
