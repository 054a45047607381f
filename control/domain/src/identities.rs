//! Who persons are at an identity provider (OpenID Connect), and which login that is here. An identity is linked by somebody who has shown to be both:
//! logged in here, or with a code of an operator. Never by an e-mail address: providers give addresses that nobody has proved, and give them
//! again to others.

use sealcast_objects::AccountId;
use sealcast_objects::api::LinkedIdentity;
use sealcast_objects::id::Id as _;
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use crate::{Read, Result, Row, StoreError, Tx, logins, params, read_rows, refuse};

/// Longest name that a provider has for a person, in bytes (OpenID Connect Core 1.0, 2).
pub const SUBJECT_MAX: usize = 255;

/// A person as a provider names him.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// The person, there.
    pub subject: String,
}

fn read(row: &Row) -> std::result::Result<LinkedIdentity, StoreError> {
    Ok(LinkedIdentity {
        issuer: row.get(0)?,
        subject: row.get(1)?,
        since: Timestamp(row.get(2)?),
    })
}

/// Whose login an identity is linked with.
///
/// # Errors
/// The store's.
pub fn find(store: &mut dyn Read, identity: &Identity) -> Result<Option<AccountId>> {
    let row = store.first(
        "SELECT account FROM login_identity WHERE issuer = $1 AND subject = $2",
        params![identity.issuer.as_str(), identity.subject.as_str()],
    )?;
    let account = row.map(|row| Ok::<_, StoreError>(AccountId::from_bytes(row.get(0)?)));
    Ok(account.transpose()?)
}

/// Those that are linked with the login of an account, one at most of each provider.
///
/// # Errors
/// The store's.
pub fn of_account(store: &mut dyn Read, account: AccountId) -> Result<Vec<LinkedIdentity>> {
    let rows = store.query(
        "SELECT issuer, subject, linked_at FROM login_identity WHERE account = $1 ORDER BY issuer",
        params![account.to_bytes()],
    )?;
    read_rows(&rows, read)
}

/// Links an identity with the login of an account. Returns whether it was not linked with it before.
///
/// # Errors
/// It is linked with another login, or the login with another one of the same provider; the account has no login; the store's.
pub fn link(
    tx: &mut dyn Tx,
    now: Timestamp,
    account: AccountId,
    identity: &Identity,
) -> Result<bool> {
    logins::name(tx, account)?;
    match find(tx, identity)? {
        Some(holder) if holder == account => return Ok(false),
        Some(_) => {
            return refuse(
                Kind::Conflict,
                "this identity is linked with another login: take another one, or remove it there first",
            );
        }
        None => {}
    }
    let mine = of_account(tx, account)?;
    if mine.iter().any(|mine| mine.issuer == identity.issuer) {
        return refuse(
            Kind::Conflict,
            "another identity of this provider is linked with this login: remove that one first",
        );
    }
    tx.execute(
        "INSERT INTO login_identity (issuer, subject, account, linked_at) VALUES ($1, $2, $3, $4)",
        params![
            identity.issuer.as_str(),
            identity.subject.as_str(),
            account.to_bytes(),
            now.0
        ],
    )?;
    Ok(true)
}

/// As [`link`], with the account of whoever has this code. The code counts no more, nor does any token of the account.
///
/// # Errors
/// The code is not known, used or over; those of [`link`].
pub fn link_by_code(
    tx: &mut dyn Tx,
    now: Timestamp,
    code_hash: [u8; 32],
    identity: &Identity,
) -> Result<(AccountId, bool)> {
    let account = logins::use_code(tx, now, code_hash)?;
    let new = link(tx, now, account, identity)?;
    Ok((account, new))
}

/// No identity is linked with the login any more; every token of the account but `keep` ends. Returns whether there was one.
///
/// # Errors
/// The store's.
pub fn unlink(tx: &mut dyn Tx, account: AccountId, keep: Option<[u8; 32]>) -> Result<bool> {
    let removed = tx.execute(
        "DELETE FROM login_identity WHERE account = $1",
        params![account.to_bytes()],
    )?;
    if removed == 0 {
        return Ok(false);
    }
    match keep {
        Some(keep) => logins::log_out_others(tx, account, keep)?,
        None => logins::log_out(tx, account)?,
    }
    Ok(true)
}

/// As [`unlink`], by the person himself, whose token is `keep`: only where there is a password, so that nobody locks himself out.
///
/// # Errors
/// There is no password; the store's.
pub fn unlink_mine(tx: &mut dyn Tx, account: AccountId, keep: [u8; 32]) -> Result<bool> {
    if logins::hash(tx, account)?.is_none() {
        return refuse(
            Kind::Conflict,
            "without this identity you could not log in any more: there is no password; have the operator give you a code that sets one",
        );
    }
    unlink(tx, account, Some(keep))
}
