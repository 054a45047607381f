//! Channels: key domains, each with its mode and key times.

use sealcast_objects::api::{AuthLevel, Channel, KeyMode, Times};
use sealcast_objects::problem::Kind;

use crate::billing::tariffs;
use crate::{Read, Result, Row, StoreError, Tx, key_trees, params, read_rows, refuse};

fn mode_name(mode: KeyMode) -> &'static str {
    match mode {
        KeyMode::Authority => "authority",
        KeyMode::DeliveryServer => "delivery-server",
    }
}

fn level(level: AuthLevel) -> u16 {
    u8::from(level).into()
}

fn read(row: &Row) -> std::result::Result<Channel, StoreError> {
    let mode: String = row.get(2)?;
    Ok(Channel {
        id: row.get(0)?,
        name: row.get(1)?,
        mode: match mode.as_str() {
            "authority" => KeyMode::Authority,
            "delivery-server" => KeyMode::DeliveryServer,
            other => return Err(StoreError::Damaged(format!("mode {other:?}"))),
        },
        times: Times {
            lifetime_ms: row.get(3)?,
            prepare_ahead_ms: row.get(4)?,
            fetch_ahead_ms: row.get(5)?,
            grace_ms: row.get(6)?,
            hold_max_lifetimes: row.get(7)?,
        },
        auth_level: u8::try_from(row.get::<u16>(8)?)
            .ok()
            .and_then(|level| AuthLevel::try_from(level).ok())
            .ok_or_else(|| StoreError::Damaged("an auth level".to_owned()))?,
        key_block_permille: row.get(9)?,
    })
}

/// All channels.
///
/// # Errors
/// The store's.
pub fn list(store: &mut dyn Read) -> Result<Vec<Channel>> {
    let rows = store.query(
        "SELECT id, name, mode, lifetime_ms, prepare_ahead_ms, fetch_ahead_ms, grace_ms, hold_max_lifetimes, auth_level, \
         key_block_permille FROM channel ORDER BY id",
        &[],
    )?;
    read_rows(&rows, read)
}

/// One channel.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, id: u16) -> Result<Channel> {
    match list(store)?.into_iter().find(|channel| channel.id == id) {
        Some(channel) => Ok(channel),
        None => refuse(
            Kind::NotFound,
            format!("there is no channel {id}: `sealcast admin channel list` shows those that are"),
        ),
    }
}

fn check(store: &mut dyn Read, channel: &Channel) -> Result<()> {
    if let Err(error) = sealcast_objects::api::check_times(channel.times) {
        return refuse(Kind::Invalid, format!("channel {}: {error}", channel.id));
    }
    if channel.key_block_permille > 1000 {
        return refuse(
            Kind::Invalid,
            format!(
                "channel {}: key blocks take at most 1000 thousandths of its bytes (key_block_permille), not {}",
                channel.id, channel.key_block_permille
            ),
        );
    }
    tariffs::check_uncounted(store, channel)
}

/// Adds a channel.
///
/// # Errors
/// It exists; times that cannot be (MD-14); the store's.
pub fn add(tx: &mut dyn Tx, channel: &Channel) -> Result<()> {
    check(tx, channel)?;
    let known = tx.first("SELECT 1 FROM channel WHERE id = $1", params![channel.id])?;
    if known.is_some() {
        return refuse(
            Kind::Conflict,
            format!(
                "channel {} exists already: change it, or choose another number",
                channel.id
            ),
        );
    }
    let Times {
        lifetime_ms,
        prepare_ahead_ms,
        fetch_ahead_ms,
        grace_ms,
        hold_max_lifetimes,
    } = channel.times;
    tx.execute(
        "INSERT INTO channel (id, name, mode, lifetime_ms, prepare_ahead_ms, fetch_ahead_ms, grace_ms, \
         hold_max_lifetimes, auth_level, key_block_permille) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        params![
            channel.id,
            channel.name.as_str(),
            mode_name(channel.mode),
            lifetime_ms,
            prepare_ahead_ms,
            fetch_ahead_ms,
            grace_ms,
            hold_max_lifetimes,
            level(channel.auth_level),
            channel.key_block_permille
        ],
    )?;
    Ok(())
}

/// Changes name, key times and auth level; the mode stays, because it decides what is stored of the channel's keys.
///
/// # Errors
/// Not found; another mode; times that cannot be; the store's.
pub fn change(tx: &mut dyn Tx, channel: &Channel) -> Result<()> {
    check(tx, channel)?;
    let known = get(tx, channel.id)?;
    if known.mode != channel.mode {
        return refuse(
            Kind::Conflict,
            format!(
                "the mode of channel {} cannot be changed: remove it and add it anew",
                channel.id
            ),
        );
    }
    let times = channel.times;
    tx.execute(
        "UPDATE channel SET name = $1, lifetime_ms = $2, prepare_ahead_ms = $3, fetch_ahead_ms = $4, grace_ms = $5, \
         hold_max_lifetimes = $6, auth_level = $7, key_block_permille = $8 WHERE id = $9",
        params![
            channel.name.as_str(),
            times.lifetime_ms,
            times.prepare_ahead_ms,
            times.fetch_ahead_ms,
            times.grace_ms,
            times.hold_max_lifetimes,
            level(channel.auth_level),
            channel.key_block_permille,
            channel.id
        ],
    )?;
    Ok(())
}

/// Removes a channel. Its epoch numbers stay stored, so that none is used twice if it comes back.
///
/// # Errors
/// Not found; the store's.
pub fn remove(tx: &mut dyn Tx, id: u16) -> Result<()> {
    get(tx, id)?;
    key_trees::remove(tx, id, None)?;
    tx.execute("DELETE FROM channel WHERE id = $1", params![id])?;
    Ok(())
}
