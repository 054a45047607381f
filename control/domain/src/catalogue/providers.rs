//! Providers: who supplies contents.

use rand_core::CryptoRng;
use sealcast_objects::ProviderId;
use sealcast_objects::api::{ChangeProvider, NewProvider, Provider, Standing};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use super::{NAME, check_text};
use crate::nodes::standing;
use crate::{Read, Result, Row, StoreError, Tx, check_revision, params, read_rows, refuse};

fn read(row: &Row) -> std::result::Result<Provider, StoreError> {
    Ok(Provider {
        id: Text(ProviderId(row.get(0)?)),
        name: row.get(1)?,
        standing: standing(&row.get::<String>(2)?)?,
        revision: row.get(3)?,
        added: Timestamp(row.get(4)?),
    })
}

/// Adds a provider.
///
/// # Errors
/// Invalid: the name. The store's.
pub fn add(
    tx: &mut dyn Tx,
    now: Timestamp,
    new: &NewProvider,
    rng: &mut dyn CryptoRng,
) -> Result<Provider> {
    check_text("the name of a provider", &new.name, NAME)?;
    let id = ProviderId::new(now, rng);
    tx.execute(
        "INSERT INTO provider (id, name, standing, revision, added) VALUES ($1, $2, $3, 1, $4)",
        params![
            id.to_bytes(),
            new.name.as_str(),
            Standing::Active.name(),
            now.0
        ],
    )?;
    get(tx, id)
}

/// All providers.
///
/// # Errors
/// The store's.
pub fn list(store: &mut dyn Read) -> Result<Vec<Provider>> {
    let rows = store.query(
        "SELECT id, name, standing, revision, added FROM provider ORDER BY id",
        &[],
    )?;
    read_rows(&rows, read)
}

/// One provider.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, id: ProviderId) -> Result<Provider> {
    let row = store.first(
        "SELECT id, name, standing, revision, added FROM provider WHERE id = $1",
        params![id.to_bytes()],
    )?;
    match row {
        Some(row) => Ok(read(&row)?),
        None => refuse(Kind::NotFound, format!("there is no provider {}", Text(id))),
    }
}

/// Changes name or standing, if the provider is still of revision `expected`; nothing: whatever it is. What is the same already is no change.
///
/// # Errors
/// Invalid: nothing is to be changed, the name, a standing that a provider has not. Conflict: another revision. Not found; the store's.
pub fn change(
    tx: &mut dyn Tx,
    id: ProviderId,
    change: &ChangeProvider,
    expected: Option<u64>,
) -> Result<Provider> {
    let is = get(tx, id)?;
    check_revision("the provider", expected, is.revision)?;
    if *change == ChangeProvider::default() {
        return refuse(Kind::Invalid, "name what is to be changed");
    }
    if let Some(name) = &change.name {
        check_text("the name of a provider", name, NAME)?;
    }
    if let Some(Standing::New | Standing::Revoked) = change.standing {
        return refuse(Kind::Invalid, "a provider is active or suspended");
    }
    let name = change.name.clone().unwrap_or_else(|| is.name.clone());
    let standing = change.standing.unwrap_or(is.standing);
    if name == is.name && standing == is.standing {
        return Ok(is);
    }
    tx.execute(
        "UPDATE provider SET name = $1, standing = $2, revision = $3 WHERE id = $4",
        params![name, standing.name(), is.revision + 1, id.to_bytes()],
    )?;
    get(tx, id)
}

/// A provider that may supply.
///
/// # Errors
/// Suspended; not found; the store's.
pub(super) fn active(store: &mut dyn Read, id: ProviderId) -> Result<Provider> {
    let provider = get(store, id)?;
    match provider.standing {
        Standing::Active => Ok(provider),
        other => refuse(
            Kind::Suspended,
            format!("provider {} is {}", Text(id), other.name()),
        ),
    }
}
