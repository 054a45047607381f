//! Packagers of other software that are let in by token: for which channels, and who signs their requests.

use std::collections::BTreeSet;

use sealcast_objects::interop::{NewPackager, Packager};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use crate::{Read, Result, Row, StoreError, Tx, channels, params, refuse};

/// What signs a packager's requests.
#[derive(Clone, PartialEq, Eq)]
pub struct Signer {
    /// The signer's name.
    pub name: String,
    /// The sealed key.
    pub sealed: Vec<u8>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({}, ..)", self.name)
    }
}

/// Lets a packager in by the token of this hash. `sealed` is the key of its signer, if it has one.
///
/// # Errors
/// There is one of this name; a channel that is not there, or none; the store's.
pub fn add(
    tx: &mut dyn Tx,
    now: Timestamp,
    new: &NewPackager,
    token_hash: [u8; 32],
    sealed: Option<&[u8]>,
) -> Result<()> {
    let name = new.name.as_str();
    let known = tx.first("SELECT 1 FROM packager WHERE name = $1", params![name])?;
    if known.is_some() {
        return refuse(
            Kind::Conflict,
            format!(
                "there is a packager {name} already: `sealcast admin interop remove {name}` ends its token"
            ),
        );
    }
    if new.channels.is_empty() {
        return refuse(
            Kind::Invalid,
            "a packager without channels may take no keys: name at least one",
        );
    }
    tx.execute(
        "INSERT INTO packager (name, token_hash, since, signer, sealed) VALUES ($1, $2, $3, $4, $5)",
        params![name, token_hash, now.0, new.signer.as_deref(), sealed],
    )?;
    // One that is named twice counts once.
    for channel in new.channels.iter().copied().collect::<BTreeSet<_>>() {
        channels::get(tx, channel)?;
        tx.execute(
            "INSERT INTO packager_channel (packager, channel) VALUES ($1, $2)",
            params![name, channel],
        )?;
    }
    Ok(())
}

/// Its token counts no more.
///
/// # Errors
/// Not found; the store's.
pub fn remove(tx: &mut dyn Tx, name: &str) -> Result<()> {
    tx.execute(
        "DELETE FROM packager_channel WHERE packager = $1",
        params![name],
    )?;
    if tx.execute("DELETE FROM packager WHERE name = $1", params![name])? == 0 {
        return refuse(
            Kind::NotFound,
            format!(
                "there is no packager {name}: `sealcast admin interop list` shows those that are"
            ),
        );
    }
    Ok(())
}

/// All packagers.
///
/// # Errors
/// The store's.
pub fn list(store: &mut dyn Read) -> Result<Vec<Packager>> {
    let rows = store.query(
        "SELECT name, since, signer FROM packager ORDER BY name",
        &[],
    )?;
    rows.iter().map(|row| read(store, row)).collect()
}

fn read(store: &mut dyn Read, row: &Row) -> Result<Packager> {
    let name: String = row.get(0)?;
    let channels = store.query(
        "SELECT channel FROM packager_channel WHERE packager = $1 ORDER BY channel",
        params![name.as_str()],
    )?;
    let channels = channels.iter().map(|row| row.get(0));
    Ok(Packager {
        channels: channels.collect::<std::result::Result<_, StoreError>>()?,
        since: Timestamp(row.get(1)?),
        signer: row.get(2)?,
        name,
    })
}

/// The packager whose token has this hash, and what signs its requests.
///
/// # Errors
/// There is none; the store's.
pub fn authenticate(
    store: &mut dyn Read,
    token_hash: [u8; 32],
) -> Result<(Packager, Option<Signer>)> {
    let row = store.first(
        "SELECT name, since, signer, sealed FROM packager WHERE token_hash = $1",
        params![token_hash],
    )?;
    let Some(row) = row else {
        return refuse(
            Kind::Unauthenticated,
            "this token is not known: it was removed, or is of another key server; `sealcast admin interop add` makes one",
        );
    };
    let packager = read(store, &row)?;
    let signer = match (packager.signer.clone(), row.get::<Option<Vec<u8>>>(3)?) {
        (Some(name), Some(sealed)) => Some(Signer { name, sealed }),
        (None, None) => None,
        _ => return Err(StoreError::Damaged("half a signer".to_owned()).into()),
    };
    Ok((packager, signer))
}
