//! The data folder of a server: for one user, for one process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use super::OpenError;

/// File that is locked while a server uses the folder.
pub(super) const LOCK: &str = "lock";

/// Makes the folder if it does not exist, and keeps other servers out as long as the file lives.
pub(super) fn own(folder: &Path) -> Result<File, OpenError> {
    make_private_folder(folder).map_err(|why| OpenError::Folder {
        folder: folder.to_path_buf(),
        why,
    })?;
    lock(folder)
}

/// For this user alone.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let folder_error = |why| OpenError::Folder {
        folder: folder.to_path_buf(),
        why,
    };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = private(&mut options)
        .open(folder.join(LOCK))
        .map_err(folder_error)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = Some(pid.trim().to_owned()).filter(|pid| !pid.is_empty());
            return Err(OpenError::Locked {
                folder: folder.to_path_buf(),
                pid,
            });
        }
        Err(TryLockError::Error(error)) => return Err(folder_error(error)),
    }
    // For people only; a full disk is no reason not to start.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}
