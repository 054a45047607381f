//! With what a person logs in for an account, and the tokens that come of it. Passwords are hashed and compared elsewhere: that takes long.

use std::time::Duration;

use sealcast_objects::AccountId;
use sealcast_objects::api::Standing;
use sealcast_objects::id::Id as _;
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use crate::{Read, Result, Tx, accounts, params, refuse};

/// How long a token counts.
pub const TOKEN_LIFE: Duration = Duration::from_secs(12 * 3600);
/// Tokens of one account; the oldest end for new ones.
pub const TOKENS_MAX: u32 = 32;
/// Longest name, in bytes.
const NAME_MAX: usize = 254;

/// A name as it is compared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LoginName(String);

impl LoginName {
    /// The name in `text`.
    ///
    /// # Errors
    /// It is empty, too long, or has blanks or control characters.
    pub fn parse(text: &str) -> Result<Self> {
        let name = text.trim().to_lowercase();
        let fits = (1..=NAME_MAX).contains(&name.len())
            && !name.chars().any(|c| c.is_control() || c.is_whitespace());
        if fits {
            return Ok(Self(name));
        }
        refuse(
            Kind::Invalid,
            format!("a name to log in with has 1 to {NAME_MAX} bytes and no blanks"),
        )
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Gives an account a name to log in with, and a code with which the password is set. A password that there is stays until then.
///
/// # Errors
/// The name is another account's; no such account, or it is closed; the store's.
pub fn put(
    tx: &mut dyn Tx,
    account: AccountId,
    name: &LoginName,
    code_hash: [u8; 32],
    until: Timestamp,
) -> Result<()> {
    if accounts::get(tx, account)?.standing == Standing::Revoked {
        return refuse(Kind::Conflict, "the account is closed for ever");
    }
    let other = tx.first(
        "SELECT 1 FROM login WHERE name = $1 AND account <> $2",
        params![name.as_str(), account.to_bytes()],
    )?;
    if other.is_some() {
        return refuse(
            Kind::Conflict,
            "another account has this name to log in with: choose another one",
        );
    }
    tx.execute(
        "INSERT INTO login (name, account, code_hash, code_until) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (account) DO UPDATE SET name = excluded.name, code_hash = excluded.code_hash, code_until = excluded.code_until",
        params![name.as_str(), account.to_bytes(), code_hash, until.0],
    )?;
    Ok(())
}

/// The name that an account logs in with.
///
/// # Errors
/// There is none; the store's.
pub fn name(store: &mut dyn Read, account: AccountId) -> Result<String> {
    let row = store.first(
        "SELECT name FROM login WHERE account = $1",
        params![account.to_bytes()],
    )?;
    match row {
        Some(row) => Ok(row.get(0)?),
        None => refuse(Kind::NotFound, "this account has no name to log in with"),
    }
}

/// The account of a name and its password's hash, if there are both.
///
/// # Errors
/// The store's.
pub fn password(store: &mut dyn Read, name: &LoginName) -> Result<Option<(AccountId, String)>> {
    let row = store.first(
        "SELECT account, password FROM login WHERE name = $1 AND password IS NOT NULL",
        params![name.as_str()],
    )?;
    let known = row
        .map(|row| Ok::<_, crate::StoreError>((AccountId::from_bytes(row.get(0)?), row.get(1)?)));
    Ok(known.transpose()?)
}

/// The account that this code is of: it sets the password, or links an identity.
///
/// # Errors
/// The code is not known, used or over; the store's.
pub fn check_code(store: &mut dyn Read, now: Timestamp, code_hash: [u8; 32]) -> Result<AccountId> {
    let row = store.first(
        "SELECT account FROM login WHERE code_hash = $1 AND code_until > $2",
        params![code_hash, now.0],
    )?;
    match row {
        Some(row) => Ok(AccountId::from_bytes(row.get(0)?)),
        None => refuse(
            Kind::CodeRefused,
            "this code counts no more: it was used, replaced by a newer one, or is over; ask for a new one",
        ),
    }
}

/// Sets the password, by its hash, of whoever has this code. The code counts no more, nor does any token of the account.
///
/// # Errors
/// The code is not known, used or over; the store's.
pub fn set_password(
    tx: &mut dyn Tx,
    now: Timestamp,
    code_hash: [u8; 32],
    password: &str,
) -> Result<AccountId> {
    let account = use_code(tx, now, code_hash)?;
    tx.execute(
        "UPDATE login SET password = $1 WHERE account = $2",
        params![password, account.to_bytes()],
    )?;
    Ok(account)
}

/// A code is used. It counts no more, nor does any token of its account.
pub(crate) fn use_code(tx: &mut dyn Tx, now: Timestamp, code_hash: [u8; 32]) -> Result<AccountId> {
    let account = check_code(tx, now, code_hash)?;
    tx.execute(
        "UPDATE login SET code_hash = NULL, code_until = NULL WHERE account = $1",
        params![account.to_bytes()],
    )?;
    log_out(tx, account)?;
    Ok(account)
}

/// The hash of an account's password, if there is one.
///
/// # Errors
/// The store's.
pub fn hash(store: &mut dyn Read, account: AccountId) -> Result<Option<String>> {
    let row = store.first(
        "SELECT password FROM login WHERE account = $1",
        params![account.to_bytes()],
    )?;
    Ok(row.map(|row| row.get(0)).transpose()?.flatten())
}

/// Another password, by its hash; every token of the account but `keep` ends.
///
/// # Errors
/// The store's.
pub fn change_password(
    tx: &mut dyn Tx,
    account: AccountId,
    password: &str,
    keep: [u8; 32],
) -> Result<()> {
    tx.execute(
        "UPDATE login SET password = $1 WHERE account = $2",
        params![password, account.to_bytes()],
    )?;
    log_out_others(tx, account, keep)
}

/// Every token of an account but `keep` ends.
pub(crate) fn log_out_others(tx: &mut dyn Tx, account: AccountId, keep: [u8; 32]) -> Result<()> {
    tx.execute(
        "DELETE FROM token WHERE account = $1 AND hash <> $2",
        params![account.to_bytes(), keep],
    )?;
    Ok(())
}

/// A new token, by its hash.
///
/// # Errors
/// The account may not act; the store's.
pub fn issue(
    tx: &mut dyn Tx,
    now: Timestamp,
    account: AccountId,
    hash: [u8; 32],
) -> Result<Timestamp> {
    accounts::check_active(tx, account)?;
    let until = now.after(TOKEN_LIFE);
    let mine = tx.query(
        "SELECT hash FROM token WHERE account = $1 ORDER BY valid_until DESC, hash",
        params![account.to_bytes()],
    )?;
    for row in mine.iter().skip(TOKENS_MAX as usize - 1) {
        tx.execute(
            "DELETE FROM token WHERE hash = $1",
            params![row.get::<[u8; 32]>(0)?],
        )?;
    }
    tx.execute(
        "INSERT INTO token (hash, account, valid_until) VALUES ($1, $2, $3)",
        params![hash, account.to_bytes(), until.0],
    )?;
    Ok(until)
}

/// The account that a token acts for.
///
/// # Errors
/// The token is not known or over; the account may not act; the store's.
pub fn holder(store: &mut dyn Read, now: Timestamp, hash: [u8; 32]) -> Result<AccountId> {
    let row = store.first(
        "SELECT account FROM token WHERE hash = $1 AND valid_until > $2",
        params![hash, now.0],
    )?;
    let Some(row) = row else {
        return refuse(
            Kind::Unauthenticated,
            "this token counts no more: log in again",
        );
    };
    let account = AccountId::from_bytes(row.get(0)?);
    accounts::check_active(store, account)?;
    Ok(account)
}

/// Tokens that are over. Returns how many.
///
/// # Errors
/// The store's.
pub fn forget(tx: &mut dyn Tx, now: Timestamp) -> Result<u64> {
    Ok(tx.execute("DELETE FROM token WHERE valid_until <= $1", params![now.0])?)
}

/// A token ends.
///
/// # Errors
/// The store's.
pub fn end(tx: &mut dyn Tx, hash: [u8; 32]) -> Result<()> {
    tx.execute("DELETE FROM token WHERE hash = $1", params![hash])?;
    Ok(())
}

/// All tokens of an account end.
///
/// # Errors
/// The store's.
pub fn log_out(tx: &mut dyn Tx, account: AccountId) -> Result<()> {
    tx.execute(
        "DELETE FROM token WHERE account = $1",
        params![account.to_bytes()],
    )?;
    Ok(())
}
