//! Payloads of a capture, with the recorded timing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Due, PayloadSource, SourceError, Warning};
use crate::pcap::{PcapCounts, PcapError, PcapReader};

#[derive(Debug)]
pub(super) struct Capture {
    path: PathBuf,
    dst: Option<SocketAddr>,
    repeat: bool,
    reader: PcapReader,
    /// The capture's time at which this round began.
    start: Option<u64>,
    /// When this round began, and when its last payload was due.
    began: u64,
    last: u64,
    /// Payloads of this round.
    count: u64,
    warning: Option<Warning>,
}

impl Capture {
    pub(super) fn open(
        path: &Path,
        dst: Option<SocketAddr>,
        repeat: bool,
    ) -> Result<Self, SourceError> {
        let reader = PcapReader::open(path, dst).map_err(|error| wrap(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            dst,
            repeat,
            reader,
            start: None,
            began: 0,
            last: 0,
            count: 0,
            warning: None,
        })
    }

    /// The first payload of a round is due one mean step after the last of the round before.
    fn begin_again(&mut self) -> Result<(), PcapError> {
        let steps = self.count.saturating_sub(1).max(1);
        self.began = self.last + (self.last - self.began) / steps;
        (self.start, self.count) = (None, 0);
        self.reader = PcapReader::open(&self.path, self.dst)?;
        Ok(())
    }

    fn try_next(&mut self, out: &mut Vec<u8>) -> Result<Option<Due>, PcapError> {
        let mut found = self.reader.next(out)?;
        if found.is_none() {
            self.warn();
            if !self.repeat {
                return Ok(None);
            }
            self.begin_again()?;
            found = self.reader.next(out)?;
        }
        Ok(found.map(|datagram| {
            let start = *self.start.get_or_insert(datagram.time);
            let due = self.began + datagram.time.saturating_sub(start);
            // The order is the capture's, though its clock may step back.
            self.last = self.last.max(due);
            self.count += 1;
            Due::At(self.last)
        }))
    }

    fn warn(&mut self) {
        let counts = self.reader.counts();
        let incomplete = PcapCounts {
            other: 0,
            elsewhere: 0,
            ..counts
        };
        if incomplete != PcapCounts::default() {
            self.warning = Some(Warning::Incomplete(counts));
        }
    }
}

fn wrap(path: &Path, error: PcapError) -> SourceError {
    let what = path.display().to_string();
    match error {
        PcapError::Io(source) => SourceError::Io { what, source },
        other => SourceError::Content {
            what,
            why: other.to_string(),
        },
    }
}

impl PayloadSource for Capture {
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Due>, SourceError> {
        self.try_next(out).map_err(|error| wrap(&self.path, error))
    }

    fn take_warning(&mut self) -> Option<Warning> {
        self.warning.take()
    }
}
