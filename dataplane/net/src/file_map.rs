//! Files as memory that nobody can take away or alter.
//!
//! A file that is mapped and then cut short by somebody else kills the process that reads on (SIGBUS). So a file is copied
//! into memory of its own, that memory is sealed by the kernel against any change, and mapped.
#![expect(unsafe_code, reason = "mapping memory")]

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::ops::Deref;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use memmap2::Mmap;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Why a file is not mapped.
#[derive(Debug, thiserror::Error)]
pub enum FileMapError {
    /// It cannot be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no file.
    #[error("it is {0}, wanted is a regular file")]
    NotAFile(&'static str),
    /// It has no bytes.
    #[error("the file is empty")]
    Empty,
    /// It is longer than asked for.
    #[error("the file has more than the {limit} bytes that are read at most: split it")]
    TooLong {
        /// Bytes.
        limit: u64,
    },
}

/// A file's bytes as they were when it was opened, beginning at a page. Whatever happens to the file afterwards, they stay.
pub struct FileMap(Mmap);

impl fmt::Debug for FileMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileMap({} bytes)", self.0.len())
    }
}

impl FileMap {
    /// Takes in a file of at most `limit` bytes. It costs as much memory as the file is long.
    ///
    /// # Errors
    /// [`FileMapError`]: what cannot be opened, is no regular file, empty, or too long.
    pub fn open(path: &Path, limit: u64) -> Result<Self, FileMapError> {
        // A FIFO without a writer would keep us waiting before we could see that it is one.
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        if let Some(other) = other_than_file(&file)? {
            return Err(FileMapError::NotAFile(other));
        }
        Self::copy(&mut file, limit)
    }

    /// The length that the file says is not believed: it may be growing or shrinking at this moment.
    fn copy(file: &mut File, limit: u64) -> Result<Self, FileMapError> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut memory = File::from(memfd_create("sealcast-file", flags).map_err(io::Error::from)?);
        let length = io::copy(&mut file.take(limit.saturating_add(1)), &mut memory)?;
        if length == 0 {
            return Err(FileMapError::Empty);
        }
        if length > limit {
            return Err(FileMapError::TooLong { limit });
        }
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        fcntl_add_seals(&memory, seals).map_err(io::Error::from)?;
        // SAFETY: the mapping is of a memory file of our own that the kernel keeps from being written, shortened or unsealed
        // from here on, so its bytes are there and do not change as long as the mapping lives.
        let map = unsafe { Mmap::map(&memory) }?;
        Ok(Self(map))
    }
}

impl Deref for FileMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

fn other_than_file(file: &File) -> io::Result<Option<&'static str>> {
    let kind = file.metadata()?.file_type();
    Ok(if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a folder")
    } else if kind.is_fifo() {
        Some("a FIFO")
    } else {
        Some("a device or socket")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn refused(path: &Path) -> String {
        FileMap::open(path, LIMIT).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_read_costs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        fs::write(&path, &content).unwrap();
        let map = FileMap::open(&path, LIMIT).unwrap();
        assert!(map.as_ptr().addr().is_multiple_of(4096));
        // A plain mapping would kill this process at the next read.
        let mut file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(10).unwrap();
        file.write_all(b"something else").unwrap();
        drop(file);
        fs::remove_file(&path).unwrap();
        assert!(*map == *content);
    }

    #[test]
    fn what_is_no_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            refused(folder.path()),
            "it is a folder, wanted is a regular file"
        );
        let fifo = folder.path().join("fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(refused(&fifo), "it is a FIFO, wanted is a regular file");
        assert_eq!(
            refused(Path::new("/dev/zero")),
            "it is a device or socket, wanted is a regular file"
        );
        assert!(refused(&folder.path().join("none")).contains("No such file"));
    }

    #[test]
    fn empty_and_endless_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, []).unwrap();
        assert_eq!(refused(&path), "the file is empty");
        let file = File::create(&path).unwrap();
        file.set_len(LIMIT).unwrap();
        assert_eq!(FileMap::open(&path, LIMIT).unwrap().len() as u64, LIMIT);
        file.set_len(LIMIT + 1).unwrap();
        assert!(refused(&path).contains("more than the 1048576 bytes"));
    }
}
