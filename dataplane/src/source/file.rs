//! TS from a file, paced by its PCR, 7 packets of 188 bytes a payload.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::cut::{Cut, Cutter, is_synced};
use super::{Due, PayloadSource, SourceError, Warning};
use crate::ts::pace::PcrPacer;
use crate::ts::packet::{PACKET, SYNC};

/// Rate of a TS without a clock.
const FALLBACK: u64 = 4_000_000;
/// Packets of Blu-ray discs and some recorders: four bytes of time before each.
const TIMED_PACKET: usize = PACKET + 4;

/// A TS file.
#[derive(Debug)]
pub(super) struct TsFile {
    path: PathBuf,
    cutter: Cutter<File>,
    repeat: bool,
    pacer: PcrPacer,
    /// Read, but not due-timed yet.
    read: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    ended: bool,
    /// Bytes given out by the cutter so far.
    position: u64,
    sync: SyncLosses,
    unclocked_told: bool,
    warnings: VecDeque<Warning>,
}

/// Places where something else than packets begins.
#[derive(Debug, Default)]
struct SyncLosses {
    first: Option<u64>,
    places: u64,
    lost: bool,
}

impl TsFile {
    pub(super) fn open(path: &Path, repeat: bool) -> Result<Self, SourceError> {
        let what = || path.display().to_string();
        let io = |source| SourceError::Io {
            what: what(),
            source,
        };
        let mut cutter = Cutter::new(File::open(path).map_err(io)?);
        if let Some(why) = refusal(cutter.peek().map_err(io)?) {
            return Err(SourceError::Content {
                what: what(),
                why: why.into(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            cutter,
            repeat,
            pacer: PcrPacer::new(FALLBACK),
            read: VecDeque::new(),
            spare: Vec::new(),
            ended: false,
            position: 0,
            sync: SyncLosses::default(),
            unclocked_told: false,
            warnings: VecDeque::new(),
        })
    }

    fn read_payload(&mut self) -> io::Result<()> {
        let mut payload = self.spare.pop().unwrap_or_default();
        payload.clear();
        let mut cut = self.cutter.next(&mut payload)?;
        if cut.is_none() && self.repeat {
            self.cutter.restart().seek(SeekFrom::Start(0))?;
            self.pacer.restart();
            cut = self.cutter.next(&mut payload)?;
        }
        let Some(cut) = cut else {
            self.ended = true;
            self.pacer.finish();
            self.spare.push(payload);
            return Ok(());
        };
        self.look(cut);
        self.position += payload.len() as u64;
        self.pacer.push(&payload);
        self.read.push_back(payload);
        Ok(())
    }

    /// Notes what people should know of a payload.
    fn look(&mut self, cut: Cut) {
        let lost = cut == Cut::Unsynced;
        if let Cut::Partial(bytes) = cut {
            self.warnings.push_back(Warning::PartialPacket { bytes });
        }
        if lost && !self.sync.lost {
            self.sync.places += 1;
            if self.sync.first.is_none() {
                self.sync.first = Some(self.position);
                let (at, places) = (self.position, 1);
                self.warnings.push_back(Warning::SyncLost { at, places });
            }
        }
        self.sync.lost = lost;
    }

    /// At the end: how many places there were.
    fn sum_up(&mut self) {
        if let (Some(at), places @ 2..) = (self.sync.first, self.sync.places) {
            self.warnings.push_back(Warning::SyncLost { at, places });
            self.sync.places = 0;
        }
    }
}

/// Why a file that begins so is no TS, if it is none.
fn refusal(begin: &[u8]) -> Option<&'static str> {
    if begin.is_empty() {
        return Some("the file is empty");
    }
    let timed = begin.get(4..).unwrap_or_default();
    if is_synced(begin) {
        None
    } else if timed.len() > 2 * TIMED_PACKET
        && timed
            .iter()
            .step_by(TIMED_PACKET)
            .take(3)
            .all(|&byte| byte == SYNC)
    {
        Some(
            "its packets have 192 bytes (a time before each, as on Blu-ray discs): ffmpeg -i FILE -c copy -f mpegts OUT.ts makes 188 of them",
        )
    } else {
        Some(
            "the file does not begin with TS packets (0x47 every 188 bytes): is it an MPEG transport stream? ffmpeg -i FILE -c copy -f mpegts OUT.ts makes one",
        )
    }
}

impl PayloadSource for TsFile {
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Due>, SourceError> {
        loop {
            if let Some(due) = self.pacer.pop()
                && let Some(payload) = self.read.pop_front()
            {
                if self.pacer.is_unclocked() && !std::mem::replace(&mut self.unclocked_told, true) {
                    self.warnings
                        .push_back(Warning::Unclocked { rate: FALLBACK });
                }
                out.extend_from_slice(&payload);
                self.spare.push(payload);
                return Ok(Some(Due::At(due)));
            }
            if self.ended {
                self.sum_up();
                return Ok(None);
            }
            self.read_payload().map_err(|source| SourceError::Io {
                what: self.path.display().to_string(),
                source,
            })?;
        }
    }

    fn take_warning(&mut self) -> Option<Warning> {
        self.warnings.pop_front()
    }
}
