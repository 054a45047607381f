//! Accounts, and the version of their rights: one number per account that every change raises (design: rights version).

use rand_core::CryptoRng;
use sealcast_objects::AccountId;
use sealcast_objects::api::{Account, Standing};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use crate::nodes::{check_step, standing};
use crate::{Read, Result, Row, StoreError, Tx, key_trees, logins, params, read_rows, refuse};

/// Cookies of `account` count only from `version` on: what the key doors are told after a right was taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Floor {
    /// Whose.
    pub account: AccountId,
    /// The lowest version that counts.
    pub version: u64,
}

fn read(row: &Row) -> std::result::Result<Account, StoreError> {
    Ok(Account {
        id: Text(AccountId::from_bytes(row.get(0)?)),
        name: row.get(1)?,
        standing: standing(&row.get::<String>(2)?)?,
        rights_version: row.get(3)?,
    })
}

/// Adds an account.
///
/// # Errors
/// The store's.
pub fn add(
    tx: &mut dyn Tx,
    now: Timestamp,
    name: &str,
    rng: &mut dyn CryptoRng,
) -> Result<AccountId> {
    let id = AccountId::new(now, rng);
    tx.execute(
        "INSERT INTO account (id, name, rights_version, rights_floor, floor_since) VALUES ($1, $2, 1, 0, 0)",
        params![id.to_bytes(), name],
    )?;
    Ok(id)
}

/// Those after `after`, at most `most`, in the order of their ids: that in which they were added, to the millisecond.
///
/// # Errors
/// The store's.
pub fn page(store: &mut dyn Read, after: Option<AccountId>, most: u32) -> Result<Vec<Account>> {
    let after = after.map_or([0; 16], AccountId::to_bytes);
    let rows = store.query(
        "SELECT id, name, standing, rights_version FROM account WHERE id > $1 ORDER BY id LIMIT $2",
        params![after, most],
    )?;
    read_rows(&rows, read)
}

/// One account.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, id: AccountId) -> Result<Account> {
    let row = store.first(
        "SELECT id, name, standing, rights_version FROM account WHERE id = $1",
        params![id.to_bytes()],
    )?;
    match row {
        Some(row) => Ok(read(&row)?),
        None => refuse(Kind::NotFound, format!("there is no account {}", Text(id))),
    }
}

/// Suspends, resumes or closes one: its devices may act, or not, and who is logged in is logged out. Returns what the key doors must be told.
///
/// # Errors
/// Not found; a step that cannot be taken; the store's.
pub fn set_standing(tx: &mut dyn Tx, now: Timestamp, id: AccountId, to: Standing) -> Result<Floor> {
    let account = get(tx, id)?;
    check_step(&format!("account {}", account.id), account.standing, to)?;
    tx.execute(
        "UPDATE account SET standing = $1 WHERE id = $2",
        params![to.name(), id.to_bytes()],
    )?;
    if to != Standing::Active {
        logins::log_out(tx, id)?;
    }
    changed(tx, now, id, true)
}

/// The account may act.
///
/// # Errors
/// It may not; not found; the store's.
pub fn check_active(store: &mut dyn Read, id: AccountId) -> Result<()> {
    let account = get(store, id)?;
    match account.standing {
        Standing::Active => Ok(()),
        other => refuse(
            Kind::Suspended,
            format!("account {} is {}", account.id, other.name()),
        ),
    }
}

/// A change of the account's rights: its version rises. With `takes` the key doors must be told the [`Floor`], so that cookies
/// from before count no more.
///
/// # Errors
/// Not found; the store's.
pub(crate) fn changed(
    tx: &mut dyn Tx,
    now: Timestamp,
    id: AccountId,
    takes: bool,
) -> Result<Floor> {
    let version = get(tx, id)?.rights_version + 1;
    tx.execute(
        "UPDATE account SET rights_version = $1 WHERE id = $2",
        params![version, id.to_bytes()],
    )?;
    if takes {
        tx.execute(
            "UPDATE account SET rights_floor = $1, floor_since = $2 WHERE id = $3",
            params![version, now.0, id.to_bytes()],
        )?;
        key_trees::account_lost(tx, id)?;
    }
    Ok(Floor {
        account: id,
        version,
    })
}

/// Floors that were set since `since`: what a starting key door must know.
///
/// # Errors
/// The store's.
pub fn floors(store: &mut dyn Read, since: Timestamp) -> Result<Vec<Floor>> {
    let rows = store.query(
        "SELECT id, rights_floor FROM account WHERE rights_floor > 0 AND floor_since >= $1 ORDER BY id",
        params![since.0],
    )?;
    let floor = |row: &Row| {
        Ok(Floor {
            account: AccountId::from_bytes(row.get(0)?),
            version: row.get(1)?,
        })
    };
    read_rows(&rows, floor)
}
