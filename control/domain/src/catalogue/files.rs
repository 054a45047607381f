//! Files of versions: begun under a name that nothing else has, in use once complete, removed otherwise.

use sealcast_objects::ContentId;
use sealcast_objects::api::ContentVersion;
use sealcast_objects::id::Id as _;
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use super::versions;
use crate::{Read, Result, StoreError, Tx, params, refuse};

/// Names a file in the storage.
pub type FileName = [u8; 16];

/// A file that is complete and durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Complete {
    /// Bytes of the plaintext.
    pub length: u64,
    /// Bytes of the file.
    pub sealed_length: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Its key, sealed.
    pub sealed_key: Vec<u8>,
}

/// A file of a version that is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InUse {
    /// Its name.
    pub name: FileName,
    /// Its bytes.
    pub sealed_length: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

/// A file is about to be written. Several may be for one version: the first that is complete is its file.
///
/// # Errors
/// Conflict: the version has its file. Suspended: the provider. Not found; the store's.
pub fn begin(
    tx: &mut dyn Tx,
    now: Timestamp,
    (content, version): (ContentId, u32),
    name: FileName,
) -> Result<()> {
    versions::uploading(tx, content, version)?;
    tx.execute(
        "INSERT INTO content_file (name, content, version, begun, state) VALUES ($1, $2, $3, $4, 1)",
        params![name, content.to_bytes(), version, now.0],
    )?;
    Ok(())
}

/// A file is complete: its version is ready.
///
/// # Errors
/// Conflict: the version got another file meanwhile, or took too long. Suspended: the provider. Not found: it was removed; the store's.
pub fn finish(
    tx: &mut dyn Tx,
    now: Timestamp,
    name: FileName,
    complete: &Complete,
) -> Result<ContentVersion> {
    let row = tx.first(
        "SELECT content, version FROM content_file WHERE name = $1 AND state = 1",
        params![name],
    )?;
    let Some(row) = row else {
        let detail = "the upload took too long, or its version was removed: begin again";
        return refuse(Kind::Conflict, detail);
    };
    let (content, version) = (ContentId(row.get(0)?), row.get::<u32>(1)?);
    versions::uploading(tx, content, version)?;
    tx.execute(
        "UPDATE content_version SET length = $1, sealed_length = $2, sha256 = $3, sealed_key = $4, file = $5, ready = $6 \
         WHERE content = $7 AND version = $8",
        params![
            complete.length,
            complete.sealed_length,
            complete.sha256,
            complete.sealed_key.as_slice(),
            name,
            now.0,
            content.to_bytes(),
            version
        ],
    )?;
    tx.execute(
        "UPDATE content_file SET state = 2 WHERE name = $1",
        params![name],
    )?;
    tx.execute(
        "UPDATE content SET version = $1, revision = revision + 1 WHERE id = $2",
        params![version, content.to_bytes()],
    )?;
    versions::get(tx, content, version)
}

/// A file is not to be: what there is of it is to be removed.
///
/// # Errors
/// The store's.
pub fn abandon(tx: &mut dyn Tx, name: FileName) -> Result<()> {
    tx.execute(
        "UPDATE content_file SET state = 3 WHERE name = $1 AND state = 1",
        params![name],
    )?;
    Ok(())
}

/// No upload is under way any more, as when a server has just started: what there is of any is to be removed.
///
/// # Errors
/// The store's.
pub fn abandon_all(tx: &mut dyn Tx) -> Result<()> {
    tx.execute("UPDATE content_file SET state = 3 WHERE state = 1", &[])?;
    Ok(())
}

/// Some files that are to be removed.
///
/// # Errors
/// The store's.
pub fn to_remove(store: &mut dyn Read, most: u32) -> Result<Vec<FileName>> {
    let rows = store.query(
        "SELECT name FROM content_file WHERE state = 3 ORDER BY begun LIMIT $1",
        params![most],
    )?;
    Ok(rows
        .iter()
        .map(|row| row.get(0))
        .collect::<std::result::Result<_, StoreError>>()?)
}

/// A file is gone.
///
/// # Errors
/// The store's.
pub fn removed(tx: &mut dyn Tx, name: FileName) -> Result<()> {
    tx.execute(
        "DELETE FROM content_file WHERE name = $1 AND state = 3",
        params![name],
    )?;
    Ok(())
}

/// The file of a version.
///
/// # Errors
/// Conflict: it has none yet. Not found; the store's.
pub fn in_use(store: &mut dyn Read, content: ContentId, version: u32) -> Result<InUse> {
    versions::get(store, content, version)?;
    let row = store.first(
        "SELECT file, sealed_length, sha256 FROM content_version WHERE content = $1 AND version = $2 AND ready IS NOT NULL",
        params![content.to_bytes(), version],
    )?;
    match row {
        Some(row) => Ok(InUse {
            name: row.get(0)?,
            sealed_length: row.get(1)?,
            sha256: row.get(2)?,
        }),
        None => {
            let detail = format!("version {version} waits for its file still");
            refuse(Kind::Conflict, detail)
        }
    }
}

/// The sealed key of a version's file, and the file's name.
///
/// # Errors
/// Conflict: it has none yet. Not found; the store's.
pub fn sealed_key(
    store: &mut dyn Read,
    content: ContentId,
    version: u32,
) -> Result<(FileName, Vec<u8>)> {
    let file = in_use(store, content, version)?;
    let row = store.first(
        "SELECT sealed_key FROM content_version WHERE content = $1 AND version = $2",
        params![content.to_bytes(), version],
    )?;
    let missing = || StoreError::Damaged("a version without its key".to_owned());
    Ok((file.name, row.ok_or_else(missing)?.get(0)?))
}
