//! TS from a file (paced by its PCR) and from standard input (as it comes), 7 packets of 188 bytes a payload.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::{Due, PayloadSource, SourceError};
use crate::ts::pace::PcrPacer;
use crate::ts::packet::{PACKET, PER_PAYLOAD, SYNC};

const PAYLOAD: usize = PACKET * PER_PAYLOAD;
/// Rate of a TS without a clock.
const FALLBACK: u64 = 4_000_000;

/// Reads until `buffer` is full or the input ends; returns how much.
fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A TS file.
#[derive(Debug)]
pub(super) struct TsFile {
    path: PathBuf,
    file: BufReader<File>,
    repeat: bool,
    pacer: PcrPacer,
    /// Read, but not due-timed yet.
    read: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    ended: bool,
}

impl TsFile {
    pub(super) fn open(path: &Path, repeat: bool) -> Result<Self, SourceError> {
        let what = || path.display().to_string();
        let io = |source| SourceError::Io {
            what: what(),
            source,
        };
        let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(io)?);
        let mut first = [0];
        if read_full(&mut file, &mut first).map_err(io)? == 0 {
            return Err(SourceError::Content {
                what: what(),
                why: "the file is empty".into(),
            });
        }
        if first != [SYNC] {
            let why = "the file does not begin with a TS packet (0x47): is it an MPEG transport stream? ffmpeg -i FILE -c copy -f mpegts OUT.ts makes one";
            return Err(SourceError::Content {
                what: what(),
                why: why.into(),
            });
        }
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let pacer = PcrPacer::new(FALLBACK);
        Ok(Self {
            path: path.to_owned(),
            file,
            repeat,
            pacer,
            read: VecDeque::new(),
            spare: Vec::new(),
            ended: false,
        })
    }

    fn read_payload(&mut self) -> io::Result<()> {
        let mut payload = self.spare.pop().unwrap_or_default();
        payload.resize(PAYLOAD, 0);
        let mut length = read_full(&mut self.file, &mut payload)?;
        if length == 0 && self.repeat {
            self.file.seek(SeekFrom::Start(0))?;
            length = read_full(&mut self.file, &mut payload)?;
        }
        payload.truncate(length);
        if length == 0 {
            self.ended = true;
            self.pacer.finish();
        } else {
            self.pacer.push(&payload);
            self.read.push_back(payload);
        }
        Ok(())
    }
}

impl PayloadSource for TsFile {
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Due>, SourceError> {
        loop {
            if let Some(due) = self.pacer.pop()
                && let Some(payload) = self.read.pop_front()
            {
                out.extend_from_slice(&payload);
                self.spare.push(payload);
                return Ok(Some(Due::At(due)));
            }
            if self.ended {
                return Ok(None);
            }
            self.read_payload().map_err(|source| SourceError::Io {
                what: self.path.display().to_string(),
                source,
            })?;
        }
    }
}

/// Standard input.
#[derive(Debug, Default)]
pub(super) struct Stdin {
    ended: bool,
}

impl PayloadSource for Stdin {
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Due>, SourceError> {
        if self.ended {
            return Ok(None);
        }
        let start = out.len();
        out.resize(start + PAYLOAD, 0);
        let length = read_full(&mut io::stdin().lock(), &mut out[start..]).map_err(|source| {
            SourceError::Io {
                what: "standard input".into(),
                source,
            }
        })?;
        out.truncate(start + length);
        self.ended = length < PAYLOAD;
        Ok((length > 0).then_some(Due::Now))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::ts::generate::TsGenerator;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_file_comes_out_as_it_is_with_rising_times() {
        let (mut generator, mut bytes) = (TsGenerator::new(4_000_000, 3), Vec::new());
        (0..500).for_each(|_| generator.next_payload(&mut bytes));
        bytes.truncate(bytes.len() - 3 * PACKET - 100); // a short tail
        let file = file(&bytes);
        let mut source = TsFile::open(file.path(), false).unwrap();
        let (mut out, mut last) = (Vec::new(), 0);
        while let Some(Due::At(due)) = source.next(&mut out).unwrap() {
            assert!(due >= last);
            last = due;
        }
        assert!(out == bytes);
        let expected = 499 * 1316 * 8 * 250;
        assert!(
            last.abs_diff(expected) < 5_000_000,
            "{last} instead of {expected}"
        );
    }

    #[test]
    fn what_is_no_ts_is_refused() {
        let error = TsFile::open(file(b"hello").path(), false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("transport stream"), "{error}");
        assert!(
            TsFile::open(file(b"").path(), false)
                .unwrap_err()
                .to_string()
                .contains("empty")
        );
        assert!(
            TsFile::open(Path::new("/nowhere"), false)
                .unwrap_err()
                .to_string()
                .contains("/nowhere")
        );
    }

    #[test]
    fn a_file_can_repeat() {
        let (mut generator, mut bytes) = (TsGenerator::new(4_000_000, 3), Vec::new());
        (0..50).for_each(|_| generator.next_payload(&mut bytes));
        let file = file(&bytes);
        let mut source = TsFile::open(file.path(), true).unwrap();
        let mut out = Vec::new();
        (0..120).for_each(|_| assert!(source.next(&mut out).unwrap().is_some()));
        assert!(out[..bytes.len()] == bytes && out[bytes.len()..2 * bytes.len()] == bytes);
    }
}
