//! A TS as it comes: standard input.

use std::io::Read;

use super::cut::{PAYLOAD, read_full};
use super::{Due, PayloadSource, SourceError};

/// Payloads of 7 TS packets, due at once; the last may be shorter.
#[derive(Debug)]
pub(super) struct Pipe<R> {
    name: &'static str,
    input: R,
    ended: bool,
}

impl<R: Read + Send> Pipe<R> {
    pub(super) fn new(name: &'static str, input: R) -> Self {
        Self {
            name,
            input,
            ended: false,
        }
    }
}

impl<R: Read + Send> PayloadSource for Pipe<R> {
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Due>, SourceError> {
        if self.ended {
            return Ok(None);
        }
        let start = out.len();
        out.resize(start + PAYLOAD, 0);
        let length =
            read_full(&mut self.input, &mut out[start..]).map_err(|source| SourceError::Io {
                what: self.name.to_owned(),
                source,
            })?;
        out.truncate(start + length);
        self.ended = length < PAYLOAD;
        Ok((length > 0).then_some(Due::Now))
    }
}
