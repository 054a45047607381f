//! Operators: who may use the administration API.

use std::collections::BTreeMap;

use sealcast_objects::api::Standing;
use sealcast_objects::problem::Kind;

use crate::nodes::standing;
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

/// All operators, as they stood at one moment. They are few and ask often: whoever answers them keeps this, and reads it anew when one has changed.
#[derive(Clone, Debug, Default)]
pub struct Operators(BTreeMap<String, (Standing, Option<Vec<u8>>)>);

/// Reads all operators.
///
/// # Errors
/// The store's.
pub fn all(store: &mut dyn Read) -> Result<Operators> {
    let rows = store.query("SELECT name, standing, public_key FROM operator", &[])?;
    let mut operators = BTreeMap::new();
    for row in rows {
        let standing = standing(&row.get::<String>(1)?)?;
        operators.insert(row.get(0)?, (standing, row.get(2)?));
    }
    Ok(Operators(operators))
}

impl Operators {
    /// The operator whose certificate has this key may act.
    ///
    /// # Errors
    /// He may not.
    pub fn authenticate(&self, name: &str, public_key: &[u8]) -> Result<()> {
        match self.0.get(name) {
            Some((standing, Some(key))) if key == public_key => match standing {
                Standing::Active => Ok(()),
                _ => refuse(Kind::Suspended, format!("operator {name} is suspended")),
            },
            _ => refuse(
                Kind::Unauthenticated,
                format!("this certificate of operator {name} counts no more: enrol again"),
            ),
        }
    }
}
