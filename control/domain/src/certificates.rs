//! Every certificate that was issued (MV-16, MV-21).

use sealcast_objects::api::{Certificate, Role};
use sealcast_objects::time::Timestamp;

use crate::{Read, Result, Row, StoreError, Tx, params, read_rows};

/// Keeps one; its number is given here and not looked at.
///
/// # Errors
/// The store's.
pub fn keep(tx: &mut dyn Tx, certificate: &Certificate) -> Result<()> {
    let last = tx.first("SELECT MAX(number) FROM certificate", &[])?;
    let last: Option<u64> = last.map(|row| row.get(0)).transpose()?.flatten();
    tx.execute(
        "INSERT INTO certificate (number, role, subject, pem, issued_at, valid_until) VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            last.unwrap_or(0) + 1,
            certificate.role.name(),
            certificate.subject.as_str(),
            certificate.certificate.as_str(),
            certificate.issued_at.0,
            certificate.until.0
        ],
    )?;
    Ok(())
}

fn read(row: &Row) -> std::result::Result<Certificate, StoreError> {
    let role: String = row.get(1)?;
    Ok(Certificate {
        number: row.get(0)?,
        role: Role::from_name(&role)
            .ok_or_else(|| StoreError::Damaged(format!("role {role:?}")))?,
        subject: row.get(2)?,
        certificate: row.get(3)?,
        issued_at: Timestamp(row.get(4)?),
        until: Timestamp(row.get(5)?),
    })
}

/// Those after number `after`, at most `most`; of everybody or of one subject.
///
/// # Errors
/// The store's.
pub fn page(
    store: &mut dyn Read,
    of: Option<(Role, &str)>,
    after: u64,
    most: u32,
) -> Result<Vec<Certificate>> {
    let rows = match of {
        None => store.query(
            "SELECT number, role, subject, pem, issued_at, valid_until FROM certificate WHERE number > $1 ORDER BY number LIMIT $2",
            params![after, most],
        )?,
        Some((role, subject)) => store.query(
            "SELECT number, role, subject, pem, issued_at, valid_until FROM certificate \
             WHERE role = $1 AND subject = $2 AND number > $3 ORDER BY number LIMIT $4",
            params![role.name(), subject, after, most],
        )?,
    };
    read_rows(&rows, read)
}
