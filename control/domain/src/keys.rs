//! Secrets of the key server, sealed: named ones, authority keys with their succession, ticket keys. What is in `sealed` is
//! the caller's business.

use sealcast_objects::api::KeyStage;
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use crate::{Read, Result, Row, StoreError, Tx, params, refuse};

/// The secret of this name.
///
/// # Errors
/// The store's.
pub fn secret(store: &mut dyn Read, name: &str) -> Result<Option<Vec<u8>>> {
    let row = store.first("SELECT sealed FROM secret WHERE name = $1", params![name])?;
    Ok(row.map(|row| row.get(0)).transpose()?)
}

/// Keeps a secret under this name.
///
/// # Errors
/// The store's.
pub fn put_secret(tx: &mut dyn Tx, name: &str, sealed: &[u8]) -> Result<()> {
    tx.execute("DELETE FROM secret WHERE name = $1", params![name])?;
    tx.execute(
        "INSERT INTO secret (name, sealed) VALUES ($1, $2)",
        params![name, sealed],
    )?;
    Ok(())
}

/// A value that is no secret.
///
/// # Errors
/// The store's.
pub fn meta(store: &mut dyn Read, name: &str) -> Result<Option<Vec<u8>>> {
    let row = store.first("SELECT value FROM meta WHERE name = $1", params![name])?;
    Ok(row.map(|row| row.get(0)).transpose()?)
}

/// Keeps a value that is no secret.
///
/// # Errors
/// The store's.
pub fn put_meta(tx: &mut dyn Tx, name: &str, value: &[u8]) -> Result<()> {
    tx.execute("DELETE FROM meta WHERE name = $1", params![name])?;
    tx.execute(
        "INSERT INTO meta (name, value) VALUES ($1, $2)",
        params![name, value],
    )?;
    Ok(())
}

/// One authority key.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorityKey {
    /// The verifying key.
    pub public_key: Vec<u8>,
    /// The sealed signing key.
    pub sealed: Vec<u8>,
    /// Where it is in its life.
    pub stage: KeyStage,
    /// Since when.
    pub since: Timestamp,
}

impl std::fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorityKey")
            .field("stage", &self.stage)
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

/// All authority keys, oldest first.
///
/// # Errors
/// The store's.
pub fn authority_keys(store: &mut dyn Read) -> Result<Vec<AuthorityKey>> {
    let rows = store.query(
        "SELECT public_key, sealed, stage, since FROM authority_key ORDER BY id",
        &[],
    )?;
    let read = |row: &Row| {
        let stage: String = row.get(2)?;
        Ok(AuthorityKey {
            public_key: row.get(0)?,
            sealed: row.get(1)?,
            stage: KeyStage::from_name(&stage)
                .ok_or_else(|| StoreError::Damaged(format!("stage {stage:?}")))?,
            since: Timestamp(row.get(3)?),
        })
    };
    Ok(rows
        .iter()
        .map(read)
        .collect::<std::result::Result<_, StoreError>>()?)
}

fn of(keys: &[AuthorityKey], stage: KeyStage) -> Option<&AuthorityKey> {
    keys.iter().find(|key| key.stage == stage)
}

/// Adds an authority key: the first is current at once, any other is the successor.
///
/// # Errors
/// There is a successor already, or a succession is still under way; the store's.
pub fn add_authority_key(
    tx: &mut dyn Tx,
    now: Timestamp,
    public_key: &[u8],
    sealed: &[u8],
) -> Result<KeyStage> {
    let keys = authority_keys(tx)?;
    if of(&keys, KeyStage::Successor).is_some() {
        return refuse(
            Kind::Conflict,
            "a successor is named already: `sealcast admin keys promote` makes it sign",
        );
    }
    if let Some(retiring) = of(&keys, KeyStage::Retiring) {
        return refuse(
            Kind::Conflict,
            format!(
                "a succession is still under way (since {}): what the former key signed is in use for a while; try later",
                retiring.since
            ),
        );
    }
    let stage = if of(&keys, KeyStage::Current).is_some() {
        KeyStage::Successor
    } else {
        KeyStage::Current
    };
    tx.execute(
        "INSERT INTO authority_key (id, public_key, sealed, stage, since) \
         SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4 FROM authority_key",
        params![public_key, sealed, stage.name(), now.0],
    )?;
    Ok(stage)
}

fn set_stage(tx: &mut dyn Tx, now: Timestamp, from: KeyStage, to: KeyStage) -> Result<u64> {
    Ok(tx.execute(
        "UPDATE authority_key SET stage = $1, since = $2 WHERE stage = $3",
        params![to.name(), now.0, from.name()],
    )?)
}

/// The successor signs from here on; the former key retires.
///
/// # Errors
/// No successor is named; the store's.
pub fn promote_authority_key(tx: &mut dyn Tx, now: Timestamp) -> Result<()> {
    if of(&authority_keys(tx)?, KeyStage::Successor).is_none() {
        return refuse(
            Kind::Conflict,
            "no successor is named: `sealcast admin keys prepare` makes one; let everybody hear of it before it signs",
        );
    }
    set_stage(tx, now, KeyStage::Current, KeyStage::Retiring)?;
    set_stage(tx, now, KeyStage::Successor, KeyStage::Current)?;
    Ok(())
}

/// Nothing in use was signed by the retiring key any more. Returns whether there was one since before `before`.
///
/// # Errors
/// The store's.
pub fn retire_authority_key(tx: &mut dyn Tx, now: Timestamp, before: Timestamp) -> Result<bool> {
    let keys = authority_keys(tx)?;
    match of(&keys, KeyStage::Retiring) {
        Some(key) if key.since <= before => {
            set_stage(tx, now, KeyStage::Retiring, KeyStage::Retired)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// A ticket key.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey {
    /// Its period.
    pub period: u32,
    /// The sealed key.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub made_at: Timestamp,
}

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TicketKey(period {}, ..)", self.period)
    }
}

/// The last two ticket keys, newest first.
///
/// # Errors
/// The store's.
pub fn ticket_keys(store: &mut dyn Read) -> Result<Vec<TicketKey>> {
    let rows = store.query(
        "SELECT period, sealed, made_at FROM ticket_key ORDER BY period DESC LIMIT 2",
        &[],
    )?;
    let read = |row: &Row| {
        Ok(TicketKey {
            period: row.get(0)?,
            sealed: row.get(1)?,
            made_at: Timestamp(row.get(2)?),
        })
    };
    Ok(rows
        .iter()
        .map(read)
        .collect::<std::result::Result<_, StoreError>>()?)
}

/// Adds the ticket key of a period and drops all but the one before it.
///
/// # Errors
/// The store's.
pub fn add_ticket_key(tx: &mut dyn Tx, now: Timestamp, period: u32, sealed: &[u8]) -> Result<()> {
    tx.execute(
        "INSERT INTO ticket_key (period, sealed, made_at) VALUES ($1, $2, $3)",
        params![period, sealed, now.0],
    )?;
    tx.execute(
        "DELETE FROM ticket_key WHERE period < $1",
        params![period.saturating_sub(1)],
    )?;
    Ok(())
}
