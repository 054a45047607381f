//! Files of contents: where they are kept, and how they get there. What is in one stands in [`sealcast_objects::content`].
//!
//! A file is written once, under a random name, and seen under that name only when it is complete and durable; the row that makes a version
//! ready comes after it. So nothing half is ever downloaded, and nothing finished is ever overwritten.

mod place;
mod storage;
#[cfg(test)]
mod tests;
mod upload;

use std::path::PathBuf;
use std::time::Duration;

use sealcast_domain::catalogue::files::FileName;
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::{ContentId, content::SealError};

pub use place::{ContentPlace, S3Place};
pub(crate) use storage::Storage;
pub(crate) use upload::{Stored, seal_into};

/// The longest plaintext of an upload, in bytes, unless a setting says otherwise.
pub const MAX: u64 = 64 << 30;

/// Settings of the files of contents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContentsConfig {
    /// Where they are kept.
    pub place: ContentPlace,
    /// The longest plaintext of an upload, in bytes.
    pub max: u64,
}

impl Default for ContentsConfig {
    fn default() -> Self {
        Self {
            place: ContentPlace::Folder,
            max: MAX,
        }
    }
}

/// Why files of contents cannot be kept or read: what, why, what to do.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// A setting.
    #[error("[contents] {setting}: {why}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A file of a setting, or the folder.
    #[error("cannot {what} {}: {why}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// What it was tried with.
        path: PathBuf,
        /// The system's word.
        why: std::io::Error,
    },
    /// No room.
    #[error("the disk of the contents is full: make room, and begin again; nothing was changed")]
    Full,
    /// A file that the store names is not in the storage.
    #[error("a file of a content is missing from the storage: restore it from a backup")]
    Missing,
    /// Anything else, in the storage's words.
    #[error("the storage of the contents fails: {0}")]
    Storage(String),
}

/// Why an upload came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// Nothing came for too long.
    #[error("nothing of the upload came for {0:?}: begin again")]
    Silent(Duration),
    /// The body broke off.
    #[error("the body of the upload broke off ({0}): begin again")]
    Body(String),
    /// It is longer or shorter than was said.
    #[error("the body is not what Content-Length says: {0}")]
    Seal(#[from] SealError),
    /// The storage.
    #[error(transparent)]
    Storage(#[from] ContentsError),
}

impl From<ContentsError> for Problem {
    fn from(error: ContentsError) -> Self {
        tracing::error!(%error, "files of contents");
        match error {
            ContentsError::Full => Self::new(Kind::Unavailable, error.to_string()),
            ContentsError::Missing => Self::new(Kind::Internal, error.to_string()),
            _ => Self::new(
                Kind::Unavailable,
                "the storage of the contents fails; nothing was changed; the server's log says how",
            ),
        }
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Storage(error) => error.into(),
            error @ UploadError::Silent(_) => Self::new(Kind::Timeout, error.to_string()),
            error => Self::new(Kind::Invalid, error.to_string()),
        }
    }
}

/// What the key of a file is sealed as.
pub(crate) fn key_name(content: ContentId, version: u32, file: FileName) -> String {
    let file = u128::from_be_bytes(file);
    format!(
        "content key {} version {version} file {file:032x}",
        Text(content)
    )
}
