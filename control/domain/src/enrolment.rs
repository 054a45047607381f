//! One-time enrolment codes (SEC-02, SEC-04). A code works once: for the first key that uses it. The same key may ask again
//! and gets the same certificate, because an answer can be lost on its way.

use std::time::Duration;

use sealcast_objects::api::{Role, Standing};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId};

use crate::{Result, StoreError, Tx, accounts, params, refuse};

/// How long a code counts, unless the operator says otherwise.
pub const CODE_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Keeps a new code for whoever it is for; former codes of the same subject count no more.
///
/// # Errors
/// The store's.
pub fn add(
    tx: &mut dyn Tx,
    hash: [u8; 32],
    role: Role,
    subject: &str,
    until: Timestamp,
) -> Result<()> {
    withdraw(tx, role, subject)?;
    tx.execute(
        "INSERT INTO enrolment (code_hash, role, subject, valid_until) VALUES ($1, $2, $3, $4)",
        params![hash, role.name(), subject, until.0],
    )?;
    Ok(())
}

/// Codes of a subject count no more.
///
/// # Errors
/// The store's.
pub fn withdraw(tx: &mut dyn Tx, role: Role, subject: &str) -> Result<()> {
    tx.execute(
        "DELETE FROM enrolment WHERE role = $1 AND subject = $2",
        params![role.name(), subject],
    )?;
    Ok(())
}

/// What a code leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admitted {
    /// What the subject is.
    pub role: Role,
    /// Who.
    pub subject: String,
    /// The certificate that was made for this key before, if this is a repetition.
    pub certificate: Option<String>,
}

fn refused(detail: &str) -> Problem {
    Problem::new(Kind::CodeRefused, detail)
}

/// Takes a code for the key of whoever enrols. Follow it with [`enrolled`] in the same transaction.
///
/// # Errors
/// The code is unknown, over, or used by another key; the store's.
pub fn admit(
    tx: &mut dyn Tx,
    now: Timestamp,
    hash: [u8; 32],
    public_key: &[u8],
) -> Result<Admitted> {
    let row = tx.first(
        "SELECT role, subject, valid_until, public_key, certificate FROM enrolment WHERE code_hash = $1",
        params![hash],
    )?;
    let Some(row) = row else {
        return Err(refused(
            "this enrolment code is not known: it was withdrawn, replaced by a newer one, or is of another key server; ask \
             the operator for a new one",
        )
        .into());
    };
    let until = Timestamp(row.get(2)?);
    let used: Option<Vec<u8>> = row.get(3)?;
    if used.as_deref().is_some_and(|used| used != public_key) {
        return Err(refused(
            "this enrolment code was used already, with another key: a code works once; if it was not you, tell the \
             operator, and ask for a new one",
        )
        .into());
    }
    if until <= now {
        return Err(refused(&format!(
            "this enrolment code was good until {until}, the server's clock says {now}: ask the operator for a new one"
        ))
        .into());
    }
    let role: String = row.get(0)?;
    let role =
        Role::from_name(&role).ok_or_else(|| StoreError::Damaged(format!("role {role:?}")))?;
    Ok(Admitted {
        role,
        subject: row.get(1)?,
        certificate: row.get(4)?,
    })
}

/// The code is used: the subject is active with this key, and any key it had before counts no more. Returns the floor that
/// key doors must be told when a device's former sessions end by this.
///
/// # Errors
/// The subject is gone or may not enrol; the store's.
pub fn enrolled(
    tx: &mut dyn Tx,
    now: Timestamp,
    hash: [u8; 32],
    admitted: &Admitted,
    public_key: &[u8],
    certificate: &str,
) -> Result<Option<accounts::Floor>> {
    tx.execute(
        "UPDATE enrolment SET public_key = $1, certificate = $2 WHERE code_hash = $3",
        params![public_key, certificate, hash],
    )?;
    let subject = admitted.subject.as_str();
    let active = Standing::Active.name();
    let (changed, floor) = match admitted.role {
        Role::Admin => (
            tx.execute(
                "UPDATE operator SET public_key = $1, standing = $2 WHERE name = $3 AND standing IN ('new', 'active')",
                params![public_key, active, subject],
            )?,
            None,
        ),
        Role::Node => {
            let server: u32 = subject
                .parse()
                .map_err(|_| StoreError::Damaged(format!("delivery server {subject:?}")))?;
            let changed = tx.execute(
                "UPDATE node SET public_key = $1, standing = $2 WHERE server = $3 AND standing IN ('new', 'active')",
                params![public_key, active, server],
            )?;
            (changed, None)
        }
        Role::Slave => {
            let slave: u32 = subject
                .parse()
                .map_err(|_| StoreError::Damaged(format!("slave {subject:?}")))?;
            let changed = tx.execute(
                "UPDATE slave SET public_key = $1, standing = $2 WHERE slave = $3 AND standing IN ('new', 'active')",
                params![public_key, active, slave],
            )?;
            (changed, None)
        }
        Role::Device => {
            let Text(device) = subject
                .parse::<Text<DeviceId>>()
                .map_err(|error| StoreError::Damaged(error.to_string()))?;
            let changed = tx.execute(
                "UPDATE device SET public_key = $1, standing = $2 WHERE id = $3 AND standing IN ('new', 'active')",
                params![public_key, active, device.to_bytes()],
            )?;
            let account = tx.first(
                "SELECT account FROM device WHERE id = $1",
                params![device.to_bytes()],
            )?;
            let floor = match account {
                Some(row) => {
                    let account = AccountId::from_bytes(row.get(0)?);
                    Some(accounts::changed(tx, now, account, true)?)
                }
                None => None,
            };
            (changed, floor)
        }
    };
    if changed == 0 {
        return refuse(
            Kind::Suspended,
            format!(
                "{} {subject} is suspended, revoked or gone: the operator must see to it first",
                admitted.role.name()
            ),
        );
    }
    Ok(floor)
}
