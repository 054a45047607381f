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
                let file = self.begin(name)?;
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

    /// A file gets its name when it is locked: nobody finds it before, takes it for done, and removes it.
    fn begin(&self, name: &str) -> io::Result<File> {
        let (path, unnamed) = (
            self.path.join(name),
            self.path.join(format!(".{name}.begun")),
        );
        // Who watched what is for nobody else's eyes.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&unnamed)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("another process writes {}", path.display()),
            ),
        })?;
        if path.try_exists()? {
            fs::remove_file(&unnamed)?;
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is there already", path.display()),
            ));
        }
        fs::rename(&unnamed, &path)?;
        // The name must be as durable as what is in it.
        let durable = File::open(&self.path).and_then(|folder| folder.sync_all());
        durable.inspect_err(|_| drop(fs::remove_file(&path)))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

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
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        files.append("a", 8, b"end", true).unwrap();
        let refused = files.append("a", 0, b"", false).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        a.try_lock().unwrap();
        files.append("b", 0, b"next", false).unwrap();
        assert_eq!(fs::read(path.join("a")).unwrap(), b"headbodyend");
        assert_eq!(
            fs::read_dir(&path).unwrap().count(),
            2,
            "nothing is left over"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(AppendFolder::open(&file.path().join("under a file")).is_err());
    }

    /// Whoever looks for files that nobody writes never finds one that was only just begun.
    #[test]
    fn a_file_that_can_be_seen_is_locked() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = AppendFolder::open(folder.path()).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let entries = fs::read_dir(folder.path()).unwrap().flatten();
                    let named = entries.filter(|entry| entry.path().extension().is_none());
                    for file in named.filter_map(|entry| File::open(entry.path()).ok()) {
                        let locked = file.try_lock();
                        let empty = file.metadata().unwrap().len() == 0;
                        assert!(locked.is_err() || !empty, "found before it was locked");
                    }
                }
            });
            for number in 0..500 {
                files.append(&number.to_string(), 0, b"all", true).unwrap();
                fs::remove_file(folder.path().join(number.to_string())).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
