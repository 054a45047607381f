//! The folder in which usage files wait until the next one up has them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sealcast_proto::records::{
    End, KeyUsageFile, Kind, RecordError, RecordFile, RecordWriter, UsageFile, UsageIdentity,
};

use super::FILE_MAX;

const ENDING: &str = "usage";

/// A folder of usage files.
#[derive(Clone, Debug)]
pub struct Spool {
    folder: PathBuf,
    /// Names of files that are not carried begin otherwise.
    prefix: String,
}

/// What was found in a folder.
#[derive(Debug)]
pub(super) enum Found {
    /// A whole file: its bytes.
    Whole(Vec<u8>),
    /// It is being written.
    Written,
    /// It holds nothing yet that was durable when its writer was killed.
    Nothing,
    /// It cannot be read as what it should be.
    Damaged(String),
}

impl Spool {
    /// The folder, which is made if it is not there, with the files of everybody in it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            prefix: String::new(),
        })
    }

    /// Only with the files of the source of this name ([`SourceKind::source_name`]): others have theirs in the same folder.
    ///
    /// [`SourceKind::source_name`]: sealcast_proto::records::SourceKind::source_name
    #[must_use]
    pub fn of(self, source: &str) -> Self {
        Self {
            prefix: format!("{source}-"),
            ..self
        }
    }

    /// Its usage files, in the order of their names: each run's in the order in which they were written.
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let (name, path) = (entry.file_name(), entry.path());
            let is_carried = name.as_encoded_bytes().starts_with(self.prefix.as_bytes());
            if is_carried && path.extension().is_some_and(|ending| ending == ENDING) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Reads a file. One whose writer is gone without having ended it is ended where it is whole.
    pub(super) fn find(&self, path: &Path) -> io::Result<Found> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        // Whoever writes it holds the lock; who gets it knows that nobody does.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Found::Written),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut bytes = Vec::new();
        (&mut file)
            .take(FILE_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() > FILE_MAX {
            return Ok(Found::Damaged(format!("longer than {FILE_MAX} bytes")));
        }
        match ended::<KeyUsageFile>(&mut file, &mut bytes)? {
            Err(RecordError::OtherKind { .. }) => {}
            other => return Ok(found(bytes, other)),
        }
        let ended = ended::<UsageFile>(&mut file, &mut bytes)?;
        Ok(found(bytes, ended))
    }

    /// Puts a file of another spool here, durable. The same one may come again.
    ///
    /// # Errors
    /// As the file system says.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let under_way = self.folder.join(format!("{name}.part"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&under_way)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&under_way, self.folder.join(name))?;
        File::open(&self.folder)?.sync_all()
    }

    /// Keeps a whole file, unless one of this name is there: what was counted first stays.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn keep(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.folder.join(name).try_exists()? {
            return Ok(());
        }
        self.put(name, bytes)
    }

    /// Takes a file away: others have it.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Puts a file aside that nobody takes, for people.
    pub(super) fn set_aside(&self, path: &Path) -> io::Result<()> {
        fs::rename(path, path.with_extension("refused"))
    }
}

fn found(bytes: Vec<u8>, ended: Result<(), RecordError>) -> Found {
    match ended {
        Ok(()) => Found::Whole(bytes),
        // Killed before the first write was durable.
        Err(RecordError::Truncated { at: 0 } | RecordError::Foreign)
            if bytes.iter().all(|byte| *byte == 0) =>
        {
            Found::Nothing
        }
        Err(RecordError::Truncated { at: 0 }) => Found::Nothing,
        Err(error) => Found::Damaged(error.to_string()),
    }
}

/// Reads a file, and ends it if its writer did not.
fn ended<K: Kind<Identity = UsageIdentity>>(
    file: &mut File,
    bytes: &mut Vec<u8>,
) -> io::Result<Result<(), RecordError>> {
    let (whole, end) = match RecordFile::<K>::read(bytes) {
        Err(error) => return Ok(Err(error)),
        Ok(read) if read.end() == End::Closed => return Ok(Ok(())),
        Ok(read) => (read.whole(), RecordWriter::resume(&read).close()),
    };
    bytes.truncate(whole);
    bytes.extend(&end);
    file.set_len(whole as u64)?;
    file.seek(SeekFrom::Start(whole as u64))?;
    file.write_all(&end)?;
    file.sync_all()?;
    Ok(Ok(()))
}
