//! A folder of files that are only appended to, each by one process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Writes files one after the other. The one that is being written is locked, so that others on the host can tell it from those
/// that are done (`flock`).
#[derive(Debug)]
pub struct AppendFolder {
    path: PathBuf,
    current: Option<(String, File)>,
}

impl AppendFolder {
    /// The folder, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self {
            path: path.to_owned(),
            current: None,
        })
    }

    /// Makes the file `name` end after `at` bytes, appends, and makes that durable; a file of which nothing was written before
    /// (`at` is 0) is made. After the `last` bytes it is done.
    ///
    /// # Errors
    /// As the file system says; how much was written is not known then. The same call may be made again.
    pub fn append(&mut self, name: &str, at: u64, bytes: &[u8], last: bool) -> io::Result<()> {
        let (_, file) = match self.current.take() {
            Some(current) if current.0 == name => self.current.insert(current),
            _ => {
                let file = self.file(name)?;
                self.current.insert((name.to_owned(), file))
            }
        };
        file.set_len(at)?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)?;
        file.sync_data()?;
        if last {
            self.current = None;
        }
        Ok(())
    }

    fn file(&self, name: &str) -> io::Result<File> {
        let path = self.path.join(name);
        // Who watched what is for nobody else's eyes.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("another process writes {}", path.display()),
            ),
        })?;
        // The name must be as durable as what is in it.
        File::open(&self.path)?.sync_all()?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_written_over_and_what_is_written_is_locked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made");
        let mut files = AppendFolder::open(&path).unwrap();
        files.append("a", 0, b"head", false).unwrap();
        files.append("a", 4, b"lost?", false).unwrap();
        files.append("a", 4, b"body", false).unwrap();
        let a = File::open(path.join("a")).unwrap();
        assert!(matches!(a.try_lock(), Err(TryLockError::WouldBlock)));
        let mut others = AppendFolder::open(&path).unwrap();
        let refused = others.append("a", 0, b"", false).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
        files.append("a", 8, b"end", true).unwrap();
        a.try_lock().unwrap();
        files.append("b", 0, b"next", false).unwrap();
        assert_eq!(fs::read(path.join("a")).unwrap(), b"headbodyend");
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(AppendFolder::open(&file.path().join("under a file")).is_err());
    }
}
