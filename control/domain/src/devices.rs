//! Devices: each belongs to an account, and proves itself by the key that it made when it enrolled (SEC-02).

use rand_core::CryptoRng;
use sealcast_objects::api::{Device, NewDevice, Role, Standing};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId};

use crate::accounts::{self, Floor};
use crate::nodes::{check_step, standing};
use crate::{Read, Result, Row, StoreError, Tx, enrolment, params, read_rows, refuse};

fn read(row: &Row) -> std::result::Result<Device, StoreError> {
    Ok(Device {
        id: Text(DeviceId::from_bytes(row.get(0)?)),
        account: Text(AccountId::from_bytes(row.get(1)?)),
        name: row.get(2)?,
        standing: standing(&row.get::<String>(3)?)?,
    })
}

/// Adds a device that has not enrolled yet; with an account of its own if none is named.
///
/// # Errors
/// No such account; the store's.
pub fn add(
    tx: &mut dyn Tx,
    now: Timestamp,
    new: &NewDevice,
    rng: &mut dyn CryptoRng,
) -> Result<DeviceId> {
    let account = match new.account {
        Some(Text(account)) => accounts::get(tx, account)?.id.0,
        None => accounts::add(tx, now, &new.name, rng)?,
    };
    let id = DeviceId::new(now, rng);
    tx.execute(
        "INSERT INTO device (id, account, name, standing) VALUES ($1, $2, $3, 'new')",
        params![id.to_bytes(), account.to_bytes(), new.name.as_str()],
    )?;
    Ok(id)
}

/// All devices.
///
/// # Errors
/// The store's.
pub fn list(store: &mut dyn Read) -> Result<Vec<Device>> {
    let rows = store.query(
        "SELECT id, account, name, standing FROM device ORDER BY id",
        &[],
    )?;
    read_rows(&rows, read)
}

/// One device.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, id: DeviceId) -> Result<Device> {
    let row = store.first(
        "SELECT id, account, name, standing FROM device WHERE id = $1",
        params![id.to_bytes()],
    )?;
    match row {
        Some(row) => Ok(read(&row)?),
        None => refuse(
            Kind::NotFound,
            format!(
                "there is no device {}: `sealcast admin device list` shows those that are",
                Text(id)
            ),
        ),
    }
}

/// Suspends, resumes or revokes one. Returns what the key doors must be told.
///
/// # Errors
/// Not found; a step that cannot be taken; the store's.
pub fn set_standing(tx: &mut dyn Tx, now: Timestamp, id: DeviceId, to: Standing) -> Result<Floor> {
    let device = get(tx, id)?;
    check_step(&format!("device {}", Text(id)), device.standing, to)?;
    tx.execute(
        "UPDATE device SET standing = $1 WHERE id = $2",
        params![to.name(), id.to_bytes()],
    )?;
    if to == Standing::Revoked {
        enrolment::withdraw(tx, Role::Device, &id.text())?;
    }
    accounts::changed(tx, now, device.account.0, true)
}

/// The device whose certificate has this key, if it may act.
///
/// # Errors
/// It may not; the store's.
pub fn authenticate(store: &mut dyn Read, id: DeviceId, public_key: &[u8]) -> Result<Device> {
    let row = store.first(
        "SELECT public_key FROM device WHERE id = $1",
        params![id.to_bytes()],
    )?;
    let known = row.map(|row| row.get::<Option<Vec<u8>>>(0)).transpose()?;
    if known.flatten().as_deref() != Some(public_key) {
        return refuse(
            Kind::Unauthenticated,
            format!(
                "this certificate of device {} counts no more (the device was enrolled anew, or the key server was restored \
                 from before): enrol it again",
                Text(id)
            ),
        );
    }
    let device = get(store, id)?;
    match device.standing {
        Standing::Active => Ok(device),
        other => refuse(
            Kind::Suspended,
            format!("device {} is {}", Text(id), other.name()),
        ),
    }
}
