//! Files that hold secrets, replaced whole: a crash leaves the former bytes or the new ones, and nobody but the owner can read either.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Puts `bytes` in the place of what `file` holds: first to `beside`, in the same folder, then by renaming. Mode 0600.
pub(crate) fn replace(file: &Path, beside: &Path, bytes: &[u8]) -> io::Result<()> {
    write(file, beside, bytes).inspect_err(|_| {
        let _ = fs::remove_file(beside);
    })
}

fn write(file: &Path, beside: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a crash left there may be readable by others.
    let _ = fs::remove_file(beside);
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut made = options.open(beside)?;
    made.write_all(bytes)?;
    made.sync_all()?;
    fs::rename(beside, file)?;
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
