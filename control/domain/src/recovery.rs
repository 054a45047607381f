//! Another device takes the place of a lost one (SEC-03). An operator gives the person a code. Its first use suspends the lost device at
//! once and starts a delay, in which whoever has another device of the account, or is logged in, can object. After the delay its second use
//! gives the lost device's rights to a new one, which the same code enrols: a person types one code, and who steals it is seen.

use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_objects::api::{Recovery, RecoveryState, Role, Standing};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId, RecoveryId};

use crate::accounts::Floor;
use crate::{Read, Result, Row, StoreError, Tx, devices, enrolment, params, read_rows, refuse};

/// How long the others of the account can object, unless a setting says otherwise.
pub const DELAY: Duration = Duration::from_secs(24 * 3600);
/// How long a code can be used.
pub const CODE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Recoveries of one account in [`WINDOW`].
pub const MOST: usize = 3;
/// See [`MOST`].
pub const WINDOW: Duration = Duration::from_secs(30 * 24 * 3600);

/// A query for recoveries, as [`read`] takes its rows.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, account, device, state, made_at, valid_until, ready_at, successor FROM recovery ",
            $rest
        )
    };
}

fn read(row: &Row) -> std::result::Result<Recovery, StoreError> {
    let state: String = row.get(3)?;
    let successor: Option<[u8; 16]> = row.get(7)?;
    Ok(Recovery {
        id: Text(RecoveryId::from_bytes(row.get(0)?)),
        account: Text(AccountId::from_bytes(row.get(1)?)),
        device: Text(DeviceId::from_bytes(row.get(2)?)),
        state: RecoveryState::from_name(&state)
            .ok_or_else(|| StoreError::Damaged(format!("state {state:?}")))?,
        made_at: Timestamp(row.get(4)?),
        until: Timestamp(row.get(5)?),
        ready_at: row.get::<Option<i64>>(6)?.map(Timestamp),
        successor: successor.map(|id| Text(DeviceId::from_bytes(id))),
    })
}

/// Whether it is under way.
fn is_open(recovery: &Recovery, now: Timestamp) -> bool {
    matches!(recovery.state, RecoveryState::Open | RecoveryState::Waiting) && recovery.until > now
}

/// Prepares the recovery of a lost device.
///
/// # Errors
/// No such device, or it is revoked; one of the account is under way, or there were [`MOST`]; the store's.
pub fn make(
    tx: &mut dyn Tx,
    now: Timestamp,
    device: DeviceId,
    code_hash: [u8; 32],
    rng: &mut dyn CryptoRng,
) -> Result<Recovery> {
    let lost = devices::get(tx, device)?;
    if lost.standing == Standing::Revoked {
        return refuse(
            Kind::Conflict,
            format!("device {} is revoked for ever: its place is gone", lost.id),
        );
    }
    let account = lost.account.0;
    let known = of_account(tx, account)?;
    if let Some(open) = known.iter().find(|known| is_open(known, now)) {
        let why = format!("{} is under way: refuse it first", open.id);
        return refuse(Kind::Conflict, why);
    }
    let lately = known
        .iter()
        .filter(|known| now.since(known.made_at) < WINDOW)
        .count();
    if lately >= MOST {
        let why = format!("an account has {MOST} recoveries in 30 days, and this one had");
        return refuse(Kind::TooMany, why);
    }
    let id = RecoveryId::new(now, rng);
    tx.execute(
        "INSERT INTO recovery (id, account, device, code_hash, state, made_at, valid_until) VALUES ($1, $2, $3, $4, 'open', $5, $6)",
        params![
            id.to_bytes(),
            account.to_bytes(),
            device.to_bytes(),
            code_hash,
            now.0,
            now.after(CODE_LIFE).0
        ],
    )?;
    get(tx, id)
}

/// One of them.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, id: RecoveryId) -> Result<Recovery> {
    let row = store.first(select!("WHERE id = $1"), params![id.to_bytes()])?;
    match row {
        Some(row) => Ok(read(&row)?),
        None => refuse(Kind::NotFound, format!("there is no {}", Text(id))),
    }
}

/// Those of an account, the oldest first.
///
/// # Errors
/// The store's.
pub fn of_account(store: &mut dyn Read, account: AccountId) -> Result<Vec<Recovery>> {
    let rows = store.query(
        select!("WHERE account = $1 ORDER BY made_at, id"),
        params![account.to_bytes()],
    )?;
    read_rows(&rows, read)
}

/// That of a code.
///
/// # Errors
/// The code is not known; the store's.
pub fn find(store: &mut dyn Read, code_hash: [u8; 32]) -> Result<Recovery> {
    let row = store.first(select!("WHERE code_hash = $1"), params![code_hash])?;
    match row {
        Some(row) => Ok(read(&row)?),
        None => refuse(
            Kind::CodeRefused,
            "this code recovers nothing: copy it again, or ask for a new one",
        ),
    }
}

/// Those of an account whose delay has begun: what its devices and its person are told.
///
/// # Errors
/// The store's.
pub fn under_way(
    store: &mut dyn Read,
    now: Timestamp,
    account: AccountId,
) -> Result<Vec<Recovery>> {
    let rows = store.query(
        select!(
            "WHERE account = $1 AND state = 'waiting' AND valid_until > $2 ORDER BY made_at, id"
        ),
        params![account.to_bytes(), now.0],
    )?;
    read_rows(&rows, read)
}

/// The code is used: the first time the lost device is suspended and the delay begins; after it the place is taken. Returns what the key
/// doors must be told.
///
/// # Errors
/// The code is not known or over; it was refused; the store's.
pub fn step(
    tx: &mut dyn Tx,
    now: Timestamp,
    code_hash: [u8; 32],
    delay: Duration,
    rng: &mut dyn CryptoRng,
) -> Result<(Recovery, Option<Floor>)> {
    let recovery = find(tx, code_hash)?;
    let over = recovery.until <= now;
    match (recovery.state, recovery.ready_at) {
        (RecoveryState::Done, _) => Ok((recovery, None)),
        (RecoveryState::Refused, _) => refuse(
            Kind::CodeRefused,
            "this recovery was refused, by somebody of the account or by an operator",
        ),
        (RecoveryState::Expired, _) => refuse(Kind::CodeRefused, "this code is over: ask anew"),
        _ if over => refuse(
            Kind::CodeRefused,
            format!("this code was good until {}: ask anew", recovery.until),
        ),
        (RecoveryState::Waiting, Some(ready)) if ready <= now => {
            let (done, floor) = finish(tx, now, &recovery, code_hash, rng)?;
            Ok((done, Some(floor)))
        }
        (RecoveryState::Waiting, _) => Ok((recovery, None)),
        (RecoveryState::Open, _) => {
            let (begun, floor) = begin(tx, now, &recovery, delay)?;
            Ok((begun, floor))
        }
    }
}

fn begin(
    tx: &mut dyn Tx,
    now: Timestamp,
    recovery: &Recovery,
    delay: Duration,
) -> Result<(Recovery, Option<Floor>)> {
    let device = recovery.device.0;
    let floor = match devices::get(tx, device)?.standing {
        Standing::Active => Some(devices::set_standing(tx, now, device, Standing::Suspended)?),
        Standing::New | Standing::Suspended => None,
        Standing::Revoked => {
            return refuse(Kind::Conflict, "the lost device was revoked meanwhile");
        }
    };
    tx.execute(
        "UPDATE recovery SET state = 'waiting', ready_at = $1, suspended = $2 WHERE id = $3",
        params![
            now.after(delay).0,
            floor.is_some(),
            recovery.id.0.to_bytes()
        ],
    )?;
    Ok((get(tx, recovery.id.0)?, floor))
}

fn finish(
    tx: &mut dyn Tx,
    now: Timestamp,
    recovery: &Recovery,
    code_hash: [u8; 32],
    rng: &mut dyn CryptoRng,
) -> Result<(Recovery, Floor)> {
    let (successor, floor) = devices::replace(tx, now, recovery.device.0, rng)?;
    tx.execute(
        "UPDATE recovery SET state = 'done', successor = $1 WHERE id = $2",
        params![successor.to_bytes(), recovery.id.0.to_bytes()],
    )?;
    let until = now.after(enrolment::CODE_LIFE);
    enrolment::add(tx, code_hash, Role::Device, &successor.text(), until)?;
    Ok((get(tx, recovery.id.0)?, floor))
}

/// It is refused: by another device or the person of the account, or by an operator. A device that it had suspended acts again; returns what
/// the key doors must be told.
///
/// # Errors
/// Not found; it is not under way; the store's.
pub fn object(
    tx: &mut dyn Tx,
    now: Timestamp,
    id: RecoveryId,
) -> Result<(Recovery, Option<Floor>)> {
    let recovery = get(tx, id)?;
    if !is_open(&recovery, now) {
        let why = format!("{} is {}", recovery.id, recovery.state.name());
        return refuse(Kind::Conflict, why);
    }
    tx.execute(
        "UPDATE recovery SET state = 'refused' WHERE id = $1",
        params![id.to_bytes()],
    )?;
    let suspended = tx.first(
        "SELECT 1 FROM recovery WHERE id = $1 AND suspended = 1",
        params![id.to_bytes()],
    )?;
    let lost = devices::get(tx, recovery.device.0)?;
    let floor = if suspended.is_some() && lost.standing == Standing::Suspended {
        let floor = devices::set_standing(tx, now, lost.id.0, Standing::Active)?;
        Some(floor)
    } else {
        None
    };
    Ok((get(tx, id)?, floor))
}

/// Those whose code was not used in time end. Returns how many.
///
/// # Errors
/// The store's.
pub fn expire(tx: &mut dyn Tx, now: Timestamp) -> Result<u64> {
    Ok(tx.execute(
        "UPDATE recovery SET state = 'expired' WHERE state IN ('open', 'waiting') AND valid_until <= $1",
        params![now.0],
    )?)
}
