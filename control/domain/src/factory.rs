//! Devices as they left the factory: who made them, what stands on their cases, and which key was put into each. What stands on the case
//! claims a device for an account; only the key in it enrols (SEC-02).

use rand_core::CryptoRng;
use sealcast_objects::DeviceId;
use sealcast_objects::api::{ClaimDevice, FactoryDevice, NewDevice};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use crate::{Read, Result, Tx, devices, params, refuse};

/// Longest maker or serial, in bytes.
const WORD_MAX: usize = 64;

/// Registers a device that was made. Word for word again, it is known already; returns whether it is new.
///
/// # Errors
/// It is registered with another key, or the key with another device; words that are none; the store's.
pub fn register(tx: &mut dyn Tx, now: Timestamp, made: &FactoryDevice) -> Result<bool> {
    let name = format!("{} {}", made.maker, made.serial);
    for word in [&made.maker, &made.serial] {
        let fits = (1..=WORD_MAX).contains(&word.len()) && !word.chars().any(char::is_control);
        if !fits {
            let why = format!("{name:?}: maker and serial have 1 to {WORD_MAX} bytes each");
            return refuse(Kind::Invalid, why);
        }
    }
    if made.key_hash.len() != 32 {
        let why = format!("{name}: the hash of its key has 32 bytes (SHA-256)");
        return refuse(Kind::Invalid, why);
    }
    let known = tx.first(
        "SELECT maker, serial, key_hash FROM factory WHERE (maker = $1 AND serial = $2) OR key_hash = $3",
        params![
            made.maker.as_str(),
            made.serial.as_str(),
            made.key_hash.as_slice()
        ],
    )?;
    if let Some(row) = known {
        let (maker, serial): (String, String) = (row.get(0)?, row.get(1)?);
        let key_hash: Vec<u8> = row.get(2)?;
        if (&maker, &serial, &key_hash) == (&made.maker, &made.serial, &made.key_hash) {
            return Ok(false);
        }
        let why = format!("{name}: {maker} {serial} is registered, with the same name or key");
        return refuse(Kind::Conflict, why);
    }
    tx.execute(
        "INSERT INTO factory (maker, serial, key_hash, registered_at) VALUES ($1, $2, $3, $4)",
        params![
            made.maker.as_str(),
            made.serial.as_str(),
            made.key_hash.as_slice(),
            now.0
        ],
    )?;
    Ok(true)
}

/// A registered device becomes an account's: it is added, and enrols by its key.
///
/// # Errors
/// Nobody registered it, or it is somebody's already, which is not told apart; no such account; the store's.
pub fn claim(
    tx: &mut dyn Tx,
    now: Timestamp,
    claim: &ClaimDevice,
    rng: &mut dyn CryptoRng,
) -> Result<DeviceId> {
    let known = tx.first(
        "SELECT 1 FROM factory WHERE maker = $1 AND serial = $2 AND device IS NULL",
        params![claim.maker.as_str(), claim.serial.as_str()],
    )?;
    if known.is_none() {
        return refuse(
            Kind::NotFound,
            format!(
                "{} {} cannot be claimed: it is not registered, or belongs to somebody",
                claim.maker, claim.serial
            ),
        );
    }
    let new = NewDevice {
        account: claim.account,
        name: claim.name.clone(),
        labels: sealcast_objects::api::Labels::default(),
    };
    let device = devices::add(tx, now, &new, rng)?;
    tx.execute(
        "UPDATE factory SET device = $1 WHERE maker = $2 AND serial = $3",
        params![
            device.to_bytes(),
            claim.maker.as_str(),
            claim.serial.as_str()
        ],
    )?;
    Ok(device)
}

/// The device that was made with this key.
///
/// # Errors
/// There is none, or nobody has claimed it; the store's.
pub fn device(store: &mut dyn Read, key_hash: [u8; 32]) -> Result<DeviceId> {
    let row = store.first(
        "SELECT device FROM factory WHERE key_hash = $1 AND device IS NOT NULL",
        params![key_hash],
    )?;
    match row {
        Some(row) => Ok(DeviceId::from_bytes(row.get(0)?)),
        None => refuse(
            Kind::NotFound,
            "no register has this key, or nobody has claimed the device yet",
        ),
    }
}

/// The device enrols with the key that it was made with.
///
/// # Errors
/// It may not; the store's.
pub fn enrolled(tx: &mut dyn Tx, device: DeviceId, public_key: &[u8]) -> Result<()> {
    let changed = tx.execute(
        "UPDATE device SET public_key = $1, standing = 'active' WHERE id = $2 AND standing IN ('new', 'active')",
        params![public_key, device.to_bytes()],
    )?;
    if changed == 1 {
        return Ok(());
    }
    refuse(
        Kind::Suspended,
        format!("device {} is suspended or revoked", Text(device)),
    )
}
