//! Payloads of a capture, with the recorded timing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Due, PayloadSource, SourceError};
use crate::pcap::{PcapError, PcapReader};

#[derive(Debug)]
pub(super) struct Capture {
    path: PathBuf,
    reader: PcapReader,
    start: Option<u64>,
}

impl Capture {
    pub(super) fn open(path: &Path, dst: Option<SocketAddr>) -> Result<Self, SourceError> {
        let reader = PcapReader::open(path, dst).map_err(|error| wrap(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            reader,
            start: None,
        })
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
        let time = self
            .reader
            .next(out)
            .map_err(|error| wrap(&self.path, error))?;
        Ok(time.map(|time| {
            let start = *self.start.get_or_insert(time);
            Due::At(time.saturating_sub(start))
        }))
    }
}
