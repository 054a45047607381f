//! Files by name, in a folder or in a bucket.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use axum::body::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt as _,
};
use sealcast_crypto::Sha256;
use sealcast_domain::catalogue::files::FileName;
use tokio_stream::{Stream, StreamExt as _};

use super::{ContentPlace, ContentsConfig, ContentsError};
use crate::causes::{behind, causes};

/// The folder in the server's data.
const FOLDER: &str = "contents";
/// What is written at once, in bytes: to a folder, and to a bucket, which takes no smaller parts than 5 MiB.
const PART: [usize; 2] = [1 << 20, 8 << 20];
/// Parts of a file in a bucket, at most; the protocol allows 10,000.
const PARTS: u64 = 9_000;

/// Where files of contents are.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    /// Where it is a folder.
    folder: Option<PathBuf>,
}

/// What a file came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Written {
    pub(crate) length: u64,
    pub(crate) sha256: [u8; 32],
}

/// A file that is being written. Nobody sees it before it is finished.
#[derive(Debug)]
pub(crate) struct Writer {
    upload: Box<dyn MultipartUpload>,
    part: Vec<u8>,
    part_size: usize,
    length: u64,
    sha256: Sha256,
}

fn failed(error: Error) -> ContentsError {
    if matches!(error, Error::NotFound { .. }) {
        return ContentsError::Missing;
    }
    let full = behind(&error).any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(
            kind,
            Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        )
    });
    if full {
        return ContentsError::Full;
    }
    ContentsError::Storage(causes(&error))
}

impl Storage {
    /// Opens the storage; a folder is made in `data` if it is not there. A bucket is not asked anything yet.
    pub(crate) fn open(config: &ContentsConfig, data: &FsPath) -> Result<Self, ContentsError> {
        match &config.place {
            ContentPlace::Folder => {
                let folder = data.join(FOLDER);
                let made = DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&folder);
                let real = made.and_then(|()| fs::canonicalize(&folder));
                let real = real.map_err(|why| ContentsError::Io {
                    what: "make",
                    path: folder,
                    why,
                })?;
                let store = LocalFileSystem::new_with_prefix(&real).map_err(failed)?;
                Ok(Self {
                    store: Arc::new(store.with_fsync(true)),
                    prefix: String::new(),
                    folder: Some(real),
                })
            }
            ContentPlace::S3(place) => Ok(Self {
                store: Arc::new(place.open()?),
                prefix: place.prefix().to_owned(),
                folder: None,
            }),
        }
    }

    fn path(&self, name: FileName) -> Path {
        let name = format!("{:032x}", u128::from_be_bytes(name));
        match self.prefix.as_str() {
            "" => Path::from(name),
            prefix => Path::from(format!("{prefix}/{name}")),
        }
    }

    /// Begins a file of `length` bytes.
    pub(crate) async fn write(&self, name: FileName, length: u64) -> Result<Writer, ContentsError> {
        let [folder, bucket] = PART;
        let part_size = match self.folder {
            Some(_) => folder,
            // All parts but the last are of one length.
            None => {
                let least = usize::try_from(length.div_ceil(PARTS)).unwrap_or(usize::MAX);
                bucket.max(least)
            }
        };
        let upload = self.store.put_multipart(&self.path(name)).await;
        Ok(Writer {
            upload: upload.map_err(failed)?,
            part: Vec::new(),
            part_size,
            length: 0,
            sha256: Sha256::default(),
        })
    }

    /// Reads a part of a file, piece by piece.
    pub(crate) async fn read(
        &self,
        name: FileName,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes, ContentsError>> + Send + use<>, ContentsError>
    {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let found = self.store.get_opts(&self.path(name), options).await;
        let pieces = found.map_err(failed)?.into_stream();
        Ok(pieces.map(|piece| piece.map_err(failed)))
    }

    /// Removes a file, or what there is of it.
    pub(crate) async fn remove(&self, name: FileName) -> Result<(), ContentsError> {
        let path = self.path(name);
        if let Some(folder) = &self.folder {
            // The library's name for a file that is being written: the first under this name, as names are used once.
            let unfinished = folder.join(format!("{path}#1"));
            let removed = tokio::task::spawn_blocking(move || {
                fs::remove_file(&unfinished).map_err(|why| (unfinished, why))
            });
            match removed.await {
                Ok(Err((path, why))) if why.kind() != ErrorKind::NotFound => {
                    return Err(ContentsError::Io {
                        what: "remove",
                        path,
                        why,
                    });
                }
                _ => {}
            }
        }
        match self.store.delete(&path).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

impl Writer {
    /// Takes what comes next.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), ContentsError> {
        self.sha256.update(bytes);
        self.length += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = self.part_size - self.part.len();
            let (front, rest) = bytes.split_at(room.min(bytes.len()));
            self.part.extend_from_slice(front);
            bytes = rest;
            if self.part.len() == self.part_size {
                self.put().await?;
            }
        }
        Ok(())
    }

    async fn put(&mut self) -> Result<(), ContentsError> {
        let part = std::mem::take(&mut self.part);
        self.upload.put_part(part.into()).await.map_err(failed)
    }

    /// Puts the file in its place, durably.
    pub(crate) async fn finish(mut self) -> Result<Written, ContentsError> {
        let mut done = Ok(());
        if !self.part.is_empty() {
            done = self.put().await;
        }
        if done.is_ok() {
            done = self.upload.complete().await.map(drop).map_err(failed);
        }
        match done {
            Ok(()) => Ok(Written {
                length: self.length,
                sha256: self.sha256.finish(),
            }),
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    /// Throws it away.
    pub(crate) async fn abort(mut self) {
        if let Err(error) = self.upload.abort().await {
            tracing::debug!(%error, "an upload could not be thrown away; it is removed later");
        }
    }
}
