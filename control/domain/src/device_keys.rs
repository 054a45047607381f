//! What devices sign with, and what secrets are wrapped to: made by the device, told to the server over its own connection (SEC-01).

use sealcast_objects::DeviceId;
use sealcast_objects::api::DeviceKeys;
use sealcast_objects::device_keys::PublicKeys;
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use crate::{Read, Result, Row, StoreError, Tx, params, refuse};

fn read(row: &Row) -> std::result::Result<PublicKeys, StoreError> {
    let keys = DeviceKeys {
        sign: row.get(0)?,
        wrap: row.get(1)?,
    };
    PublicKeys::try_from(&keys).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn find(store: &mut dyn Read, device: DeviceId) -> Result<Option<PublicKeys>> {
    let row = store.first(
        "SELECT sign, wrap FROM device_key WHERE device = $1 ORDER BY number DESC LIMIT 1",
        params![device.to_bytes()],
    )?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// The keys of a device that count: the last it told.
///
/// # Errors
/// Conflict: it has told none. The store's.
pub fn get(store: &mut dyn Read, device: DeviceId) -> Result<PublicKeys> {
    match find(store, device)? {
        Some(keys) => Ok(keys),
        None => {
            let detail = format!(
                "{} has told no keys that licences can be made for (PUT /v1/device/keys)",
                Text(device)
            );
            refuse(Kind::Conflict, detail)
        }
    }
}

/// A device tells its keys; `true` where they are others than before. What was wrapped to those before stays so.
///
/// # Errors
/// The store's.
pub fn put(tx: &mut dyn Tx, now: Timestamp, device: DeviceId, keys: &PublicKeys) -> Result<bool> {
    if find(tx, device)?.as_ref() == Some(keys) {
        return Ok(false);
    }
    let DeviceKeys { sign, wrap } = keys.into();
    tx.execute(
        "INSERT INTO device_key (number, device, sign, wrap, added) \
         VALUES ((SELECT COALESCE(MAX(number), 0) + 1 FROM device_key), $1, $2, $3, $4)",
        params![device.to_bytes(), sign, wrap, now.0],
    )?;
    Ok(true)
}
