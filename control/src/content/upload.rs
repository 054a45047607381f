//! From the body of a request to a sealed file: a segment and a part of the storage's are in memory, no more.

use std::time::Duration;

use axum::body::Bytes;
use sealcast_objects::content::{ContentKey, Header, Sealer};
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt as _};

use super::storage::{Writer, Written};
use super::{Storage, UploadError};
use sealcast_domain::catalogue::files::FileName;

/// A file that is complete.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) length: u64,
    pub(crate) sealed_length: u64,
    pub(crate) sha256: [u8; 32],
}

/// Seals what comes under `key` into the file `name`. When it fails, nothing is seen under that name. It is over when nothing comes
/// for `silence`.
pub(crate) async fn seal_into<E: std::fmt::Display>(
    storage: &Storage,
    name: FileName,
    (key, header): (&ContentKey, Header),
    plain: impl Stream<Item = Result<Bytes, E>> + Unpin,
    silence: Duration,
) -> Result<Stored, UploadError> {
    let mut writer = storage.write(name, header.sealed_length()).await?;
    match seal(&mut writer, (key, header), plain, silence).await {
        Ok(()) => {
            let Written { length, sha256 } = writer.finish().await?;
            Ok(Stored {
                length: header.length(),
                sealed_length: length,
                sha256,
            })
        }
        Err(error) => {
            writer.abort().await;
            Err(error)
        }
    }
}

async fn seal<E: std::fmt::Display>(
    writer: &mut Writer,
    (key, header): (&ContentKey, Header),
    mut plain: impl Stream<Item = Result<Bytes, E>> + Unpin,
    silence: Duration,
) -> Result<(), UploadError> {
    let mut sealer = Sealer::new(key, header);
    writer.write(&header.to_bytes()).await?;
    loop {
        let piece = timeout(silence, plain.next()).await;
        let piece = match piece.map_err(|_| UploadError::Silent(silence))? {
            Some(piece) => piece.map_err(|error| UploadError::Body(error.to_string()))?,
            None => break,
        };
        push(&mut sealer, writer, &piece).await?;
    }
    // The one segment of an empty content.
    push(&mut sealer, writer, &[]).await?;
    Ok(sealer.finish()?)
}

async fn push(
    sealer: &mut Sealer,
    writer: &mut Writer,
    mut piece: &[u8],
) -> Result<(), UploadError> {
    while let Some(segment) = sealer.push(&mut piece)? {
        writer.write(&segment).await?;
    }
    Ok(())
}
