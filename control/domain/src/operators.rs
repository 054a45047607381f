//! Operators: who may use the administration API.

use sealcast_objects::api::Standing;
use sealcast_objects::problem::Kind;

use crate::{Read, Result, Tx, params, refuse};

/// Adds an operator who has not enrolled yet, unless there is one of this name.
///
/// # Errors
/// The store's.
pub fn add(tx: &mut dyn Tx, name: &str) -> Result<()> {
    if tx
        .first("SELECT 1 FROM operator WHERE name = $1", params![name])?
        .is_none()
    {
        tx.execute(
            "INSERT INTO operator (name, standing) VALUES ($1, 'new')",
            params![name],
        )?;
    }
    Ok(())
}

/// The operator whose certificate has this key, if he may act.
///
/// # Errors
/// He may not; the store's.
pub fn authenticate(store: &mut dyn Read, name: &str, public_key: &[u8]) -> Result<()> {
    let row = store.first(
        "SELECT standing, public_key FROM operator WHERE name = $1",
        params![name],
    )?;
    let row = match row {
        Some(row) if row.get::<Option<Vec<u8>>>(1)?.as_deref() == Some(public_key) => row,
        _ => {
            return refuse(
                Kind::Unauthenticated,
                format!("this certificate of operator {name} counts no more: enrol again"),
            );
        }
    };
    if row.get::<String>(0)? == Standing::Active.name() {
        Ok(())
    } else {
        refuse(Kind::Suspended, format!("operator {name} is suspended"))
    }
}
