//! A sealed content that is played: opened piece by piece, never in clear on a disk.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sealcast_objects::ContentId;
use sealcast_objects::content::{ContentKey, Header, HeaderError, OpenError, Opener};
use sealcast_objects::id::{LicenceId, Text};
use zeroize::Zeroizing;

/// Why a content that may be played cannot be: what, why, what to do.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The sealed file.
    #[error("cannot read {}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's word.
        why: io::Error,
    },
    /// It is no sealed content.
    #[error("{}: {why}", path.display())]
    Header {
        /// Which.
        path: PathBuf,
        /// Why.
        why: HeaderError,
    },
    /// It is another content, or not all of it.
    #[error("{} is not the file of this content, or not all of it: fetch it again with `sealcast device download`", .0.display())]
    OtherFile(PathBuf),
    /// A piece of it is not genuine. What was played before is.
    #[error("{why}: fetch it again with `sealcast device download`")]
    Forged {
        /// Which piece, and why.
        why: OpenError,
    },
    /// Whoever takes the plaintext takes no more.
    #[error("cannot write what is played: {0}")]
    Out(io::Error),
}

/// A content while it is played.
#[derive(Debug)]
pub struct Playing {
    /// Under which licence.
    pub licence: Text<LicenceId>,
    path: PathBuf,
    file: File,
    opener: Opener,
    next: u64,
    piece: Zeroizing<Vec<u8>>,
}

impl Playing {
    /// Opens the sealed file of a version of a content, and its first piece, to see that it is genuine.
    pub(super) fn open(
        path: &Path,
        licence: LicenceId,
        (content, version): (ContentId, u32),
        key: &ContentKey,
    ) -> Result<Self, PlayError> {
        let failed = |why| PlayError::File {
            path: path.to_path_buf(),
            why,
        };
        let mut file = File::open(path).map_err(failed)?;
        let mut head = [0; Header::LEN];
        file.read_exact(&mut head).map_err(failed)?;
        let header = Header::read(&head).map_err(|why| PlayError::Header {
            path: path.to_path_buf(),
            why,
        })?;
        let length = file.metadata().map_err(failed)?.len();
        if (header.content(), header.version()) != (content, version)
            || header.sealed_length() != length
        {
            return Err(PlayError::OtherFile(path.to_path_buf()));
        }
        let mut playing = Self {
            licence: Text(licence),
            path: path.to_path_buf(),
            file,
            opener: Opener::new(key, header),
            next: 0,
            piece: Zeroizing::default(),
        };
        playing.piece()?;
        playing.next = 0;
        Ok(playing)
    }

    /// Length of the plaintext in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.opener.header().length()
    }

    /// The next piece of the plaintext, at most 64 KiB; nothing after the last.
    ///
    /// # Errors
    /// [`PlayError`].
    pub fn piece(&mut self) -> Result<Option<&[u8]>, PlayError> {
        let Some(place) = self.opener.header().segment(self.next) else {
            return Ok(None);
        };
        let length = usize::try_from(place.sealed.end - place.sealed.start).unwrap_or(0);
        self.piece.resize(length, 0);
        let sought = self.file.seek(SeekFrom::Start(place.sealed.start));
        let read = sought.and_then(|_| self.file.read_exact(&mut self.piece));
        read.map_err(|why| PlayError::File {
            path: self.path.clone(),
            why,
        })?;
        let opened = self.opener.open(self.next, &mut self.piece);
        let plain = opened.map_err(|why| PlayError::Forged { why })?;
        self.next += 1;
        Ok(Some(plain))
    }

    /// Writes the plaintext, from where it stands to its end; how many bytes.
    ///
    /// # Errors
    /// [`PlayError`]; what was written before is genuine.
    pub fn write_to(&mut self, out: &mut impl Write) -> Result<u64, PlayError> {
        let mut written = 0;
        while let Some(plain) = self.piece()? {
            out.write_all(plain).map_err(PlayError::Out)?;
            written += plain.len() as u64;
        }
        out.flush().map_err(PlayError::Out)?;
        Ok(written)
    }
}
