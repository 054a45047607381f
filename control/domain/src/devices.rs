//! Devices: each belongs to an account, and proves itself by the key that it made when it enrolled (SEC-02).

use rand_core::CryptoRng;
use sealcast_objects::api::{Device, Labels, NewDevice, Role, Standing};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId};

use crate::accounts::{self, Floor};
use crate::nodes::{check_step, standing};
use crate::{Read, Result, Row, StoreError, Tx, enrolment, params, read_rows, refuse};

/// Longest label, in bytes.
const LABEL_MAX: usize = 128;

fn read(row: &Row) -> std::result::Result<Device, StoreError> {
    Ok(Device {
        id: Text(DeviceId::from_bytes(row.get(0)?)),
        account: Text(AccountId::from_bytes(row.get(1)?)),
        name: row.get(2)?,
        standing: standing(&row.get::<String>(3)?)?,
        leaf: row.get(4)?,
        replaces: row
            .get::<Option<[u8; 16]>>(5)?
            .map(|id| Text(DeviceId::from_bytes(id))),
        labels: Labels::default(),
    })
}

/// With the labels of each.
fn labelled(store: &mut dyn Read, mut devices: Vec<Device>) -> Result<Vec<Device>> {
    for device in &mut devices {
        let rows = store.query(
            "SELECT kind, value FROM device_label WHERE device = $1",
            params![device.id.0.to_bytes()],
        )?;
        for row in rows {
            let kind: String = row.get(0)?;
            let label = device.labels.of_mut(&kind);
            *label.ok_or_else(|| StoreError::Damaged(format!("label {kind:?}")))? = row.get(1)?;
        }
    }
    Ok(devices)
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
    let leaf = next_leaf(tx)?;
    tx.execute(
        "INSERT INTO device (id, account, name, standing, leaf) VALUES ($1, $2, $3, 'new', $4)",
        params![id.to_bytes(), account.to_bytes(), new.name.as_str(), leaf],
    )?;
    label(tx, id, &new.labels)?;
    Ok(id)
}

/// The next place in the key tree: no device has had it (MV-15).
fn next_leaf(store: &mut dyn Read) -> Result<u32> {
    let row = store.first("SELECT MAX(leaf) FROM device", &[])?;
    let last: Option<u32> = row.map(|row| row.get(0)).transpose()?.flatten();
    match last.unwrap_or(0).checked_add(1) {
        Some(next) => Ok(next),
        None => refuse(Kind::Conflict, "there is no place left in the key tree"),
    }
}

/// Says anew what a device's parts bear.
///
/// # Errors
/// Not found; a label that is none; the store's.
pub fn label(tx: &mut dyn Tx, id: DeviceId, labels: &Labels) -> Result<()> {
    get(tx, id)?;
    tx.execute(
        "DELETE FROM device_label WHERE device = $1",
        params![id.to_bytes()],
    )?;
    for (kind, value) in labels.iter() {
        let fits = (1..=LABEL_MAX).contains(&value.len()) && !value.chars().any(char::is_control);
        if !fits {
            let why = format!(
                "the label {kind} has 1 to {LABEL_MAX} bytes, none of them a control character"
            );
            return refuse(Kind::Invalid, why);
        }
        tx.execute(
            "INSERT INTO device_label (device, kind, value) VALUES ($1, $2, $3)",
            params![id.to_bytes(), kind, value],
        )?;
    }
    Ok(())
}

/// Another device takes the place of one that is lost or broken, with a leaf of its own: it gets the rights, and the former one is revoked.
/// Returns the new one, which has not enrolled yet, and what the key doors must be told.
///
/// # Errors
/// Not found; it is revoked already; the store's.
pub fn replace(
    tx: &mut dyn Tx,
    now: Timestamp,
    id: DeviceId,
    rng: &mut dyn CryptoRng,
) -> Result<(DeviceId, Floor)> {
    let former = get(tx, id)?;
    if former.standing == Standing::Revoked {
        let why = format!(
            "device {} is revoked for ever: its place is gone",
            former.id
        );
        return refuse(Kind::Conflict, why);
    }
    let new = NewDevice {
        account: Some(former.account),
        name: former.name,
        labels: Labels::default(),
    };
    let successor = add(tx, now, &new, rng)?;
    tx.execute(
        "UPDATE device SET replaces = $1 WHERE id = $2",
        params![id.to_bytes(), successor.to_bytes()],
    )?;
    let floor = set_standing(tx, now, id, Standing::Revoked)?;
    tx.execute(
        "UPDATE rights SET device = $1, rights_version = $2 WHERE device = $3",
        params![successor.to_bytes(), floor.version, id.to_bytes()],
    )?;
    Ok((successor, floor))
}

/// Those after `after`, at most `most`, in the order in which they were added; of everybody or of one account.
///
/// # Errors
/// The store's.
pub fn page(
    store: &mut dyn Read,
    account: Option<AccountId>,
    after: Option<DeviceId>,
    most: u32,
) -> Result<Vec<Device>> {
    let after = after.map_or([0; 16], DeviceId::to_bytes);
    let rows = match account {
        None => store.query(
            "SELECT id, account, name, standing, leaf, replaces FROM device WHERE id > $1 ORDER BY id LIMIT $2",
            params![after, most],
        )?,
        Some(account) => store.query(
            "SELECT id, account, name, standing, leaf, replaces FROM device WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
            params![account.to_bytes(), after, most],
        )?,
    };
    let devices = read_rows(&rows, read)?;
    labelled(store, devices)
}

/// One device.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, id: DeviceId) -> Result<Device> {
    let row = store.first(
        "SELECT id, account, name, standing, leaf, replaces FROM device WHERE id = $1",
        params![id.to_bytes()],
    )?;
    match row {
        Some(row) => {
            let device = read(&row)?;
            Ok(labelled(store, vec![device])?.remove(0))
        }
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
    accounts::check_active(store, device.account.0)?;
    match device.standing {
        Standing::Active => Ok(device),
        other => refuse(
            Kind::Suspended,
            format!("device {} is {}", Text(id), other.name()),
        ),
    }
}
