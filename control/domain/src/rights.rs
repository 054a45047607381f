//! Rights: which device may receive which channel, from when until when (INT-01). A change raises the account's rights
//! version; one that takes something away makes cookies from before count no more (SEC-11).

use sealcast_objects::api::{NewRight, Refused, Right, Standing};
use sealcast_objects::id::{Id, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId};

use crate::accounts::{self, Floor};
use crate::nodes::{check_step, standing};
use crate::{
    Read, Result, Row, StoreError, Tx, channels, devices, licences, params, read_rows, refuse,
};

/// Channels that one session may have.
pub const CHANNELS_MAX: usize = 32;

fn read(row: &Row) -> std::result::Result<Right, StoreError> {
    Ok(Right {
        device: Text(DeviceId::from_bytes(row.get(0)?)),
        channel: row.get(1)?,
        from: Timestamp(row.get(2)?),
        until: row.get::<Option<i64>>(3)?.map(Timestamp),
        standing: standing(&row.get::<String>(4)?)?,
        rights_version: row.get(5)?,
    })
}

/// At most `most` of them, of `device` where one is named, in the order of devices and channels, those after `after`.
///
/// # Errors
/// The store's.
pub fn page(
    store: &mut dyn Read,
    device: Option<DeviceId>,
    after: Option<(DeviceId, u16)>,
    most: u32,
) -> Result<Vec<Right>> {
    let (after_device, after_channel) = after.map_or(([0; 16], 0), |(device, channel)| {
        (device.to_bytes(), channel)
    });
    let rows = store.query(
        "SELECT device, channel, valid_from, valid_until, standing, rights_version FROM rights \
         WHERE (device, channel) > ($1, $2) AND (device = $3 OR $3 IS NULL) ORDER BY device, channel LIMIT $4",
        params![
            after_device,
            after_channel,
            device.map(Id::to_bytes),
            most
        ],
    )?;
    read_rows(&rows, read)
}

/// Those of a device.
///
/// # Errors
/// The store's.
pub fn of_device(store: &mut dyn Read, device: DeviceId) -> Result<Vec<Right>> {
    let rows = store.query(
        "SELECT device, channel, valid_from, valid_until, standing, rights_version FROM rights \
         WHERE device = $1 ORDER BY channel",
        params![device.to_bytes()],
    )?;
    read_rows(&rows, read)
}

/// Those of an account's devices.
///
/// # Errors
/// The store's.
pub fn of_account(store: &mut dyn Read, account: AccountId) -> Result<Vec<Right>> {
    let rows = store.query(
        "SELECT device, channel, valid_from, valid_until, standing, rights_version FROM rights \
         WHERE account = $1 ORDER BY device, channel",
        params![account.to_bytes()],
    )?;
    read_rows(&rows, read)
}

/// Gives a right, or changes the period of one that is.
///
/// # Errors
/// No such device or channel; it ends before it begins; a device that is revoked; the store's.
pub fn put(tx: &mut dyn Tx, now: Timestamp, new: &NewRight) -> Result<Floor> {
    let Text(id) = new.device;
    let device = devices::get(tx, id)?;
    channels::get(tx, new.channel)?;
    let from = new.from.unwrap_or(now);
    if new.until.is_some_and(|until| until <= from) {
        return refuse(
            Kind::Invalid,
            format!("the right would end (until) before it begins ({from}): give a later end"),
        );
    }
    if device.standing == Standing::Revoked {
        return refuse(
            Kind::Conflict,
            format!("device {} is revoked for ever: add a new one", Text(id)),
        );
    }
    let account = device.account.0;
    // A changed period may take something away.
    let known = tx.first(
        "SELECT 1 FROM rights WHERE device = $1 AND channel = $2",
        params![id.to_bytes(), new.channel],
    )?;
    let floor = accounts::changed(tx, now, account, known.is_some())?;
    tx.execute(
        "DELETE FROM rights WHERE device = $1 AND channel = $2",
        params![id.to_bytes(), new.channel],
    )?;
    tx.execute(
        "INSERT INTO rights (device, channel, account, valid_from, valid_until, standing, rights_version) \
         VALUES ($1, $2, $3, $4, $5, 'active', $6)",
        params![
            id.to_bytes(),
            new.channel,
            account.to_bytes(),
            from.0,
            new.until.map(|until| until.0),
            floor.version
        ],
    )?;
    Ok(floor)
}

/// Suspends, resumes or revokes one. Returns what the key doors must be told.
///
/// # Errors
/// Not found; a step that cannot be taken; the store's.
pub fn set_standing(
    tx: &mut dyn Tx,
    now: Timestamp,
    device: DeviceId,
    channel: u16,
    to: Standing,
) -> Result<Floor> {
    let known = of_device(tx, device)?;
    let Some(right) = known.iter().find(|right| right.channel == channel) else {
        return refuse(
            Kind::NotFound,
            format!("device {} has no right to channel {channel}", Text(device)),
        );
    };
    let who = format!("the right of {} to channel {channel}", Text(device));
    check_step(&who, right.standing, to)?;
    let account = devices::get(tx, device)?.account.0;
    let floor = accounts::changed(tx, now, account, true)?;
    tx.execute(
        "UPDATE rights SET standing = $1, rights_version = $2 WHERE device = $3 AND channel = $4",
        params![to.name(), floor.version, device.to_bytes(), channel],
    )?;
    Ok(floor)
}

/// What a device may have now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entitled {
    /// Whose device.
    pub account: AccountId,
    /// Version of the account's rights.
    pub version: u64,
    /// What it may have.
    pub channels: Vec<u16>,
    /// What it wanted and may not have, with the reason.
    pub refused: Vec<Refused>,
}

/// What `device` may have now of `wanted` (empty: of everything).
///
/// # Errors
/// The device may not act; it may have more than [`CHANNELS_MAX`] and did not say which it wants; the store's.
pub fn entitled(
    store: &mut dyn Read,
    now: Timestamp,
    device: DeviceId,
    wanted: &[u16],
) -> Result<Entitled> {
    let owner = devices::get(store, device)?;
    accounts::check_active(store, owner.account.0)?;
    let account = accounts::get(store, owner.account.0)?;
    let rights = of_device(store, device)?;
    let (mut channels, mut refused) = (Vec::new(), Vec::new());
    let mut all: Vec<u16> = rights.iter().map(|right| right.channel).collect();
    all.extend(licences::channels_of(store, device)?);
    all.sort_unstable();
    all.dedup();
    for &channel in if wanted.is_empty() { &all } else { wanted } {
        let right = rights.iter().find(|right| right.channel == channel);
        match why_not(store, now, (device, channel), right)? {
            None if !channels.contains(&channel) => channels.push(channel),
            None => {}
            Some(why) => refused.push(Refused { channel, why }),
        }
    }
    if channels.len() > CHANNELS_MAX {
        return refuse(
            Kind::Invalid,
            format!(
                "a session has at most {CHANNELS_MAX} channels and this device may have {}: say which it wants",
                channels.len()
            ),
        );
    }
    Ok(Entitled {
        account: owner.account.0,
        version: account.rights_version,
        channels,
        refused,
    })
}

/// Why a device may not receive a channel: neither a right nor a licence lets it.
fn why_not(
    store: &mut dyn Read,
    now: Timestamp,
    (device, channel): (DeviceId, u16),
    right: Option<&Right>,
) -> Result<Option<String>> {
    let of_right = right.map(|right| why_not_by(right, now));
    if of_right == Some(None) {
        return Ok(None);
    }
    let of_licence = licences::why_not_receive(store, now, device, channel)?;
    Ok(match (of_licence, of_right) {
        (Some(Ok(())), _) => None,
        (Some(Err(why)), _) | (None, Some(Some(why))) => Some(why),
        (None, _) => Some("the device has no right to this channel".to_owned()),
    })
}

fn why_not_by(right: &Right, now: Timestamp) -> Option<String> {
    match right.standing {
        Standing::Active => {}
        other => return Some(format!("the right is {}", other.name())),
    }
    if now < right.from {
        return Some(format!("the right begins at {}", right.from));
    }
    match right.until {
        Some(until) if until <= now => Some(format!("the right ended at {until}")),
        _ => None,
    }
}

/// Rights whose period has ended since the last call: sessions that began before count no more.
///
/// # Errors
/// The store's.
pub fn end_periods(tx: &mut dyn Tx, now: Timestamp) -> Result<Vec<Floor>> {
    let rows = tx.query(
        "SELECT DISTINCT account FROM rights WHERE ended = 0 AND valid_until IS NOT NULL AND valid_until <= $1",
        params![now.0],
    )?;
    let mut floors = Vec::new();
    for row in rows {
        let account = AccountId::from_bytes(row.get(0)?);
        floors.push(accounts::changed(tx, now, account, true)?);
    }
    tx.execute(
        "UPDATE rights SET ended = 1 WHERE ended = 0 AND valid_until IS NOT NULL AND valid_until <= $1",
        params![now.0],
    )?;
    Ok(floors)
}

/// When the next period ends.
///
/// # Errors
/// The store's.
pub fn next_end(store: &mut dyn Read) -> Result<Option<Timestamp>> {
    let row = store.first(
        "SELECT MIN(valid_until) FROM rights WHERE ended = 0 AND valid_until IS NOT NULL",
        &[],
    )?;
    let end = row.map(|row| row.get::<Option<i64>>(0)).transpose()?;
    Ok(end.flatten().map(Timestamp))
}
