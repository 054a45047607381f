//! Versions of contents.

use std::time::Duration;

use sealcast_objects::ContentId;
use sealcast_objects::api::{ContentVersion, VersionState};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use super::{FORMAT, check_text, contents, providers};
use crate::{Read, Result, Row, StoreError, Tx, params, read_rows, refuse};

/// A version waits so long for its file, and an upload is under way so long, at most.
pub const WAIT: Duration = Duration::from_secs(24 * 3600);

macro_rules! versions {
    ($which:literal) => {
        concat!(
            "SELECT content, version, previous, format, added, length, sealed_length, sha256, ready FROM content_version ",
            $which
        )
    };
}

fn read(row: &Row) -> std::result::Result<ContentVersion, StoreError> {
    let ready: Option<i64> = row.get(8)?;
    Ok(ContentVersion {
        content: Text(ContentId(row.get(0)?)),
        version: row.get(1)?,
        previous_version: row.get(2)?,
        format: row.get(3)?,
        state: match ready {
            None => VersionState::Uploading,
            Some(_) => VersionState::Ready,
        },
        length: row.get(5)?,
        sealed_length: row.get(6)?,
        sha256: row.get(7)?,
        added: Timestamp(row.get(4)?),
        ready: ready.map(Timestamp),
    })
}

/// All versions of a content.
///
/// # Errors
/// Not found; the store's.
pub fn list(store: &mut dyn Read, content: ContentId) -> Result<Vec<ContentVersion>> {
    contents::get(store, content)?;
    let rows = store.query(
        versions!("WHERE content = $1 ORDER BY version"),
        params![content.to_bytes()],
    )?;
    read_rows(&rows, read)
}

/// One version.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, content: ContentId, version: u32) -> Result<ContentVersion> {
    let row = store.first(
        versions!("WHERE content = $1 AND version = $2"),
        params![content.to_bytes(), version],
    )?;
    match row {
        Some(row) => Ok(read(&row)?),
        None => {
            let detail = format!("there is no version {version} of content {}", Text(content));
            refuse(Kind::NotFound, detail)
        }
    }
}

/// Whether a version is there with its file.
///
/// # Errors
/// Not found. Conflict: it waits for its file. The store's.
pub fn check_ready(store: &mut dyn Read, content: ContentId, version: u32) -> Result<()> {
    match get(store, content, version)?.state {
        VersionState::Ready => Ok(()),
        VersionState::Uploading => {
            let detail = format!(
                "version {version} of content {} waits for its file",
                Text(content)
            );
            refuse(Kind::Conflict, detail)
        }
    }
}

/// Adds the next version, which waits for its file. One waits at a time, so that the one before it is known.
///
/// # Errors
/// Invalid: the format. Conflict: another one waits. Suspended: the provider. Not found; the store's.
pub fn add(
    tx: &mut dyn Tx,
    now: Timestamp,
    content: ContentId,
    format: &str,
) -> Result<ContentVersion> {
    check_text("a format", format, FORMAT)?;
    let of = contents::get(tx, content)?;
    providers::active(tx, of.provider.0)?;
    if let Some(waits) = waiting(tx, content)? {
        let detail = format!(
            "version {waits} waits for its file: upload that, or remove the version, before there is a next one"
        );
        return refuse(Kind::Conflict, detail);
    }
    let row = tx.first(
        "SELECT last_version FROM content WHERE id = $1",
        params![content.to_bytes()],
    )?;
    let last: u32 = row.map_or(Ok(0), |row| row.get(0))?;
    let Some(version) = last.checked_add(1) else {
        return refuse(Kind::Conflict, "this content has all versions that can be");
    };
    tx.execute(
        "UPDATE content SET last_version = $1 WHERE id = $2",
        params![version, content.to_bytes()],
    )?;
    tx.execute(
        "INSERT INTO content_version (content, version, previous, format, added) VALUES ($1, $2, $3, $4, $5)",
        params![content.to_bytes(), version, of.version, format, now.0],
    )?;
    get(tx, content, version)
}

fn waiting(store: &mut dyn Read, content: ContentId) -> Result<Option<u32>> {
    let row = store.first(
        "SELECT version FROM content_version WHERE content = $1 AND ready IS NULL",
        params![content.to_bytes()],
    )?;
    Ok(row.map(|row| row.get(0)).transpose()?)
}

/// A version that waits for its file, of a provider that may supply.
///
/// # Errors
/// Conflict: it has its file. Suspended: the provider. Not found; the store's.
pub(super) fn uploading(
    store: &mut dyn Read,
    content: ContentId,
    version: u32,
) -> Result<ContentVersion> {
    let found = get(store, content, version)?;
    if found.state == VersionState::Ready {
        let detail = format!(
            "version {version} has its file, which never changes: add another version for another file"
        );
        return refuse(Kind::Conflict, detail);
    }
    let provider = contents::get(store, content)?.provider.0;
    providers::active(store, provider)?;
    Ok(found)
}

/// Removes a version that has no file; and the content, if it had no other.
///
/// # Errors
/// Conflict: it has its file. Not found; the store's.
pub fn remove(tx: &mut dyn Tx, content: ContentId, version: u32) -> Result<()> {
    if get(tx, content, version)?.state == VersionState::Ready {
        let detail = format!(
            "version {version} has its file, and devices may have downloaded it: withdraw the content instead"
        );
        return refuse(Kind::Conflict, detail);
    }
    tx.execute(
        "UPDATE content_file SET state = 3 WHERE content = $1 AND version = $2",
        params![content.to_bytes(), version],
    )?;
    tx.execute(
        "DELETE FROM content_version WHERE content = $1 AND version = $2 AND ready IS NULL",
        params![content.to_bytes(), version],
    )?;
    tx.execute(
        "DELETE FROM content WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM content_version WHERE content = $1)",
        params![content.to_bytes()],
    )?;
    Ok(())
}

/// Whether [`forget`] may have something to do.
///
/// # Errors
/// The store's.
pub fn waits(store: &mut dyn Read, now: Timestamp) -> Result<bool> {
    let row = store.first(
        "SELECT version FROM content_version WHERE ready IS NULL AND added < $1",
        params![now.before(WAIT).0],
    )?;
    Ok(row.is_some())
}

/// Uploads that began longer than [`WAIT`] ago are over; versions that have waited for longer, and have none under way, are removed. What was
/// removed.
///
/// # Errors
/// The store's.
pub fn forget(tx: &mut dyn Tx, now: Timestamp) -> Result<Vec<(ContentId, u32)>> {
    let before = now.before(WAIT).0;
    tx.execute(
        "UPDATE content_file SET state = 3 WHERE state = 1 AND begun < $1",
        params![before],
    )?;
    let rows = tx.query(
        "SELECT content, version FROM content_version AS waits WHERE ready IS NULL AND added < $1 AND NOT EXISTS \
         (SELECT 1 FROM content_file WHERE state = 1 AND content = waits.content AND version = waits.version) \
         ORDER BY content, version",
        params![before],
    )?;
    let over = rows
        .iter()
        .map(|row| Ok((ContentId(row.get(0)?), row.get(1)?)))
        .collect::<std::result::Result<Vec<(ContentId, u32)>, StoreError>>()?;
    for (content, version) in &over {
        remove(tx, *content, *version)?;
    }
    Ok(over)
}
