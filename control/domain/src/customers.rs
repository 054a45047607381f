//! Who stands behind an account (MV-02, MV-03): sealed, and erased without a trace of it.

use sealcast_objects::AccountId;
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;

use crate::{Read, Result, Tx, accounts, check_revision, params, refuse};

/// What is known of a customer, as the store keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Sealed.
    pub sealed: Vec<u8>,
    /// Every change counts one.
    pub revision: u64,
}

/// The customer of an account, if any was told.
///
/// # Errors
/// No such account; the store's.
pub fn find(store: &mut dyn Read, account: AccountId) -> Result<Option<Kept>> {
    accounts::get(store, account)?;
    let row = store.first(
        "SELECT sealed, revision FROM customer WHERE account = $1",
        params![account.to_bytes()],
    )?;
    let kept = row.map(|row| {
        Ok::<_, crate::StoreError>(Kept {
            sealed: row.get(0)?,
            revision: row.get(1)?,
        })
    });
    Ok(kept.transpose()?)
}

/// The customer of an account.
///
/// # Errors
/// None was told; no such account; the store's.
pub fn get(store: &mut dyn Read, account: AccountId) -> Result<Kept> {
    match find(store, account)? {
        Some(kept) => Ok(kept),
        None => refuse(
            Kind::NotFound,
            format!("nothing is known of the customer of {}", Text(account)),
        ),
    }
}

/// Keeps what is known of a customer. `expected`: the revision that it must have now, 0 for none; returns the new one.
///
/// # Errors
/// It has changed meanwhile; no such account; the store's.
pub fn put(
    tx: &mut dyn Tx,
    account: AccountId,
    sealed: &[u8],
    expected: Option<u64>,
) -> Result<u64> {
    let known = find(tx, account)?.map_or(0, |kept| kept.revision);
    check_revision("the customer", expected, known)?;
    let revision = known + 1;
    tx.execute(
        "INSERT INTO customer (account, sealed, revision) VALUES ($1, $2, $3) \
         ON CONFLICT (account) DO UPDATE SET sealed = excluded.sealed, revision = excluded.revision",
        params![account.to_bytes(), sealed, revision],
    )?;
    Ok(revision)
}

/// Erases what is known of a customer.
///
/// # Errors
/// Nothing was; it has changed meanwhile; the store's.
pub fn erase(tx: &mut dyn Tx, account: AccountId, expected: Option<u64>) -> Result<()> {
    check_revision("the customer", expected, get(tx, account)?.revision)?;
    tx.execute(
        "DELETE FROM customer WHERE account = $1",
        params![account.to_bytes()],
    )?;
    Ok(())
}
