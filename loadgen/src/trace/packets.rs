//! A packet trace out of a file: checked once, then read where it lies by every core that replays it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use sealcast_net::{FileMap, FileMapError};
use sealcast_proto::records::{PacketTrace, RecordError, RecordFile, TracedPacket};

use super::Summary;
use crate::records::mapped_records;
use crate::schedule::{FLOWS_MAX, LENGTH_MAX};
use crate::stamp;

/// The longest trace that is read: some hundred million datagrams, and as much memory.
const FILE_MAX: u64 = 1 << 32;

/// Why a trace is not replayed.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// No file that can be read.
    #[error(transparent)]
    File(#[from] FileMapError),
    /// Not a whole packet trace of this version.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// Nothing in it.
    #[error("the trace holds no datagrams: capture or make it again")]
    Empty,
    /// Flows are told apart, and there are only so many.
    #[error(
        "the trace has {0} channels, at most {FLOWS_MAX} are replayed: capture fewer addresses, for example pcap:FILE?dst=ADDR:PORT"
    )]
    Channels(u16),
    /// Not as traces are written.
    #[error(
        "record {record} of the trace {what}: no version of sealcast writes that; make the trace again"
    )]
    Impossible {
        /// Its number, from 0.
        record: u64,
        /// What it does.
        what: &'static str,
    },
}

mapped_records!(Checked, PacketTrace);

/// A packet trace that can be replayed. Clones share the file.
#[derive(Clone)]
pub struct Packets {
    file: Arc<Checked>,
    outline: Outline,
    /// Which flows have datagrams.
    present: Arc<[bool]>,
}

/// What is known of a trace once all of it has been seen.
#[derive(Clone, Copy, Debug, Default)]
struct Outline {
    summary: Summary,
    /// Nanoseconds of the first datagram, and moments at which there are some.
    first: u64,
    moments: u64,
    longest: usize,
    raised: u64,
}

impl fmt::Debug for Packets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packets")
            .field("outline", &self.outline)
            .finish_non_exhaustive()
    }
}

impl Packets {
    /// Opens and checks a file.
    ///
    /// # Errors
    /// [`TraceError`] says what is wrong with it, and what to do.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let file = FileMap::open(path, FILE_MAX)?;
        let file = Checked::try_new(file, |bytes| RecordFile::read(bytes))?;
        let (mut outline, mut present) = (Outline::default(), Vec::new());
        for packet in file.borrow_dependent().records() {
            outline.add(packet)?;
            present.resize(outline.summary.channels.into(), false);
            present[usize::from(packet.channel) - 1] = true;
        }
        let channels = outline.summary.channels;
        if outline.summary.packets == 0 {
            return Err(TraceError::Empty);
        }
        if u32::from(channels) > FLOWS_MAX {
            return Err(TraceError::Channels(channels));
        }
        Ok(Self {
            file: Arc::new(file),
            outline,
            present: present.into(),
        })
    }

    /// What it holds.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.outline.summary
    }

    /// Flows: the channel c is the flow c - 1.
    #[must_use]
    pub fn flows(&self) -> u32 {
        self.outline.summary.channels.into()
    }

    /// Bytes of the longest payload, as it is sent.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.outline.longest
    }

    /// Datagrams that are shorter than a stamp, and are sent longer.
    #[must_use]
    pub fn raised(&self) -> u64 {
        self.outline.raised
    }

    /// Whether a flow has any datagrams.
    pub(super) fn has(&self, flow: u32) -> bool {
        let place = usize::try_from(flow).unwrap_or(usize::MAX);
        self.present.get(place).is_some_and(|&present| present)
    }

    pub(super) fn get(&self, index: usize) -> Option<TracedPacket> {
        self.file.borrow_dependent().get(index)
    }

    /// Nanoseconds of the first datagram.
    pub(super) fn first(&self) -> u64 {
        self.outline.first
    }

    /// Nanoseconds after which the trace can begin again: from its first to its last moment, and once more the mean distance of two
    /// moments. 0 if there is one moment only.
    pub(super) fn period(&self) -> u64 {
        let length = self.outline.summary.length - self.outline.first;
        let distance = length.checked_div(self.outline.moments - 1).unwrap_or(0);
        length.saturating_add(distance)
    }
}

impl Outline {
    fn add(&mut self, packet: TracedPacket) -> Result<(), TraceError> {
        let record = self.summary.packets;
        let impossible = |what| Err(TraceError::Impossible { record, what });
        if record > 0 && packet.at < self.summary.length {
            return impossible("goes back in time");
        }
        if packet.channel == 0 {
            return impossible("has the channel 0");
        }
        if usize::from(packet.length) > LENGTH_MAX {
            return impossible("is longer than a UDP datagram");
        }
        if record == 0 {
            self.first = packet.at;
        }
        if record == 0 || packet.at > self.summary.length {
            self.moments += 1;
        }
        self.summary.add(packet);
        self.longest = self.longest.max(length_sent(packet));
        self.raised += u64::from(length_sent(packet) > packet.length.into());
        Ok(())
    }
}

/// Bytes of payload with which a datagram is sent: its own, or what a stamp needs.
pub(super) fn length_sent(packet: TracedPacket) -> usize {
    let length = usize::from(packet.length);
    length.max(stamp::length_min(length))
}
