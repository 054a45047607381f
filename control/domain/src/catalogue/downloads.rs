//! Which device may have what, and what each got (MV-04, MV-19).

use sealcast_objects::api::{Availability, Device, Download};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, ContentId, DeviceId};

use super::files::{self, InUse};
use super::{contents, providers};
use crate::{Read, Result, Row, StoreError, Tx, params, read_rows, refuse};

fn read(row: &Row) -> std::result::Result<Download, StoreError> {
    Ok(Download {
        number: row.get(0)?,
        account: Text(AccountId::from_bytes(row.get(1)?)),
        device: Text(DeviceId::from_bytes(row.get(2)?)),
        content: Text(ContentId(row.get(3)?)),
        version: row.get(4)?,
        at: Timestamp(row.get(5)?),
    })
}

/// The file of a version, for a device in good standing: a sealed file is of no use without a licence. What is withdrawn is for accounts that
/// downloaded the content before.
///
/// # Errors
/// Forbidden: it is withdrawn. Suspended: its provider. Conflict: there is no file yet. Not found; the store's.
pub fn allowed(
    store: &mut dyn Read,
    device: &Device,
    (content, version): (ContentId, u32),
) -> Result<InUse> {
    let of = contents::get(store, content)?;
    providers::active(store, of.provider.0)?;
    if of.availability == Availability::Withdrawn && !had(store, device.account.0, content)? {
        let detail = format!("content {} is withdrawn", Text(content));
        return refuse(Kind::Forbidden, detail);
    }
    files::in_use(store, content, version)
}

/// Whether a device of the account downloaded any version of the content.
fn had(store: &mut dyn Read, account: AccountId, content: ContentId) -> Result<bool> {
    let row = store.first(
        "SELECT number FROM download WHERE account = $1 AND content = $2",
        params![account.to_bytes(), content.to_bytes()],
    )?;
    Ok(row.is_some())
}

/// As [`allowed`], and writes down that the device has it, once for each version. Whether that is new.
///
/// # Errors
/// As [`allowed`].
pub fn begin(
    tx: &mut dyn Tx,
    now: Timestamp,
    device: &Device,
    (content, version): (ContentId, u32),
) -> Result<(InUse, bool)> {
    let file = allowed(tx, device, (content, version))?;
    let known = tx.first(
        "SELECT number FROM download WHERE device = $1 AND content = $2 AND version = $3",
        params![device.id.0.to_bytes(), content.to_bytes(), version],
    )?;
    if known.is_some() {
        return Ok((file, false));
    }
    let last = tx.first(
        "SELECT number FROM download ORDER BY number DESC LIMIT 1",
        &[],
    )?;
    let last: u64 = last.map_or(Ok(0), |row| row.get(0))?;
    tx.execute(
        "INSERT INTO download (number, account, device, content, version, at) VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            last + 1,
            device.account.0.to_bytes(),
            device.id.0.to_bytes(),
            content.to_bytes(),
            version,
            now.0
        ],
    )?;
    Ok((file, true))
}

/// At most `most` downloads after number `after`, in order; of one account, of one content, or of all.
///
/// # Errors
/// The store's.
pub fn page(
    store: &mut dyn Read,
    (account, content): (Option<AccountId>, Option<ContentId>),
    after: u64,
    most: u32,
) -> Result<Vec<Download>> {
    let rows = store.query(
        "SELECT number, account, device, content, version, at FROM download WHERE number > $1 AND (account = $2 OR $2 IS NULL) \
         AND (content = $3 OR $3 IS NULL) ORDER BY number LIMIT $4",
        params![
            after,
            account.map(AccountId::to_bytes),
            content.map(ContentId::to_bytes),
            most
        ],
    )?;
    read_rows(&rows, read)
}
