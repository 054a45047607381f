//! Usage files of one run: one after the other, each a chain of blocks that is only appended to.
//!
//! A block that could not be written is written again at the same place, with the same bytes: whatever reached the disk
//! before, it counts once.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sealcast_net::clock;
use sealcast_proto::ids::Time;
use sealcast_proto::records::{RecordWriter, SourceKind, Usage, UsageFile, UsageIdentity};

/// Who counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// At which side.
    pub kind: SourceKind,
    /// As in [`UsageIdentity::source`].
    pub id: [u8; 16],
    /// What file names begin with.
    pub label: String,
    /// This run: random.
    pub boot: [u8; 16],
}

/// When a file is ended and the next one begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// At this many bytes.
    pub size: u64,
    /// At this age.
    pub age: Duration,
}

impl Default for Rotation {
    /// 16 MiB (some 300,000 records) or an hour.
    fn default() -> Self {
        Self {
            size: 16 << 20,
            age: Duration::from_secs(3600),
        }
    }
}

/// Where usage files are kept.
pub trait Storage {
    /// One file.
    type File: StorageFile;

    /// Makes a file that is not there yet.
    ///
    /// # Errors
    /// As the file system says.
    fn create(&mut self, name: &str) -> io::Result<Self::File>;
}

/// A file that is appended to.
pub trait StorageFile {
    /// Makes the file end after `length` bytes, then appends, then makes it durable.
    ///
    /// # Errors
    /// As the file system says; how much was written is not known then.
    fn append_at(&mut self, length: u64, bytes: &[u8]) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Storage for Folder {
    type File = File;

    fn create(&mut self, name: &str) -> io::Result<File> {
        let path = self.0.join(name);
        // Who watched what is for nobody else's eyes.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        // The name must be as durable as what is in it. If it is not, the next try makes it anew.
        File::open(&self.0)
            .and_then(|folder| folder.sync_all())
            .inspect_err(|_| drop(fs::remove_file(&path)))?;
        Ok(file)
    }
}

impl StorageFile for File {
    fn append_at(&mut self, length: u64, bytes: &[u8]) -> io::Result<()> {
        use std::io::Seek as _;
        self.set_len(length)?;
        self.seek(io::SeekFrom::Start(length))?;
        self.write_all(bytes)?;
        self.sync_data()
    }
}

/// A file that is being written.
struct Current<F> {
    file: F,
    /// `None`: its end is under way.
    writer: Option<RecordWriter<UsageFile>>,
    began: Time,
    /// Bytes that are durable.
    length: u64,
}

/// What waits to be written, and the file it goes into.
pub struct UsageLog<S: Storage> {
    storage: S,
    source: Source,
    rotation: Rotation,
    sequence: u64,
    current: Option<Current<S::File>>,
    /// The bytes that come next in the file, and the packets and bytes they count.
    under_way: Vec<u8>,
    under_way_counts: (u64, u64),
    /// Counts that are in no block yet, added up: bounded by the lanes in use, however long the disk fails.
    waiting: BTreeMap<(u16, u64, u8), Usage>,
}

impl<S: Storage> std::fmt::Debug for UsageLog<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UsageLog")
            .field("source", &self.source)
            .field("sequence", &self.sequence)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl<S: Storage> UsageLog<S> {
    /// Nothing is written before there is something to count.
    #[must_use]
    pub fn new(storage: S, source: Source, rotation: Rotation) -> Self {
        Self {
            storage,
            source,
            rotation,
            sequence: 0,
            current: None,
            under_way: Vec::new(),
            under_way_counts: (0, 0),
            waiting: BTreeMap::new(),
        }
    }

    /// Takes in a count.
    pub fn add(&mut self, usage: Usage) {
        let key = (usage.channel, usage.epoch, usage.lane);
        let sum = self.waiting.entry(key).or_insert(Usage {
            packets: 0,
            bytes: 0,
            ..usage
        });
        sum.packets += usage.packets;
        sum.bytes += usage.bytes;
        sum.from = sum.from.min(usage.from);
        sum.until = sum.until.max(usage.until);
    }

    /// Packets and bytes that are not durable yet.
    #[must_use]
    pub fn unwritten(&self) -> (u64, u64) {
        let sum = |(packets, bytes), usage: &Usage| (packets + usage.packets, bytes + usage.bytes);
        self.waiting.values().fold(self.under_way_counts, sum)
    }

    /// Writes what waits, as one block, and makes it durable; ends the file if it is long or old enough.
    ///
    /// # Errors
    /// As the file system says. Nothing is lost: the next flush tries again.
    pub fn flush(&mut self, now: Time) -> io::Result<()> {
        self.settle()?;
        if !self.waiting.is_empty() {
            self.begin(now)?;
            let (counts, records) = (self.unwritten(), self.waiting.values().copied());
            let records: Vec<_> = records.collect();
            if let Some(writer) = self
                .current
                .as_mut()
                .and_then(|current| current.writer.as_mut())
            {
                self.under_way.extend(writer.block(&records));
                (self.under_way_counts, self.waiting) = (counts, BTreeMap::new());
            }
            self.settle()?;
        }
        let over = self.current.as_ref().is_some_and(|current| {
            current.length >= self.rotation.size || now.since(current.began) >= self.rotation.age
        });
        if over { self.end() } else { Ok(()) }
    }

    /// Writes what waits and ends the file.
    ///
    /// # Errors
    /// As [`UsageLog::flush`]; it may be tried again.
    pub fn close(&mut self) -> io::Result<()> {
        self.flush(Time(clock::boottime()))?;
        self.end()
    }

    /// A file to write into.
    fn begin(&mut self, now: Time) -> io::Result<()> {
        if self.current.is_some() {
            return Ok(());
        }
        let Source {
            kind,
            id,
            label,
            boot,
        } = &self.source;
        let run = u128::from_be_bytes(*boot);
        let name = format!("{label}-{run:032x}-{:06}.usage", self.sequence);
        let file = self.storage.create(&name)?;
        let (writer, header) = RecordWriter::create(&UsageIdentity {
            kind: *kind,
            source: *id,
            boot: *boot,
            sequence: self.sequence,
            wall_minus_boot: wall_minus_boot(),
        });
        self.under_way = header;
        self.current = Some(Current {
            file,
            writer: Some(writer),
            began: now,
            length: 0,
        });
        Ok(())
    }

    /// Makes durable what is under way.
    fn settle(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        if !self.under_way.is_empty() {
            current.file.append_at(current.length, &self.under_way)?;
            current.length += self.under_way.len() as u64;
            self.under_way.clear();
            self.under_way_counts = (0, 0);
        }
        if current.writer.is_none() {
            self.current = None;
            self.sequence += 1;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some(writer) = self
            .current
            .as_mut()
            .and_then(|current| current.writer.take())
        {
            self.under_way.extend(writer.close());
        }
        self.settle()
    }
}

fn wall_minus_boot() -> i64 {
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let wall = i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX);
    wall.saturating_sub_unsigned(clock::boottime())
}
