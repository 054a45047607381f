//! Restoration: a certificate counts again, for as many licences as it was sold for or more (PC-15, PC-16, PC-31). It gives rights, so it is for
//! two persons (SEC-20).

use sealcast_objects::CertificateId;
use sealcast_objects::api::{CertificateRecord, CertificateState};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use super::{all_grants, grants_of, hash, purchases};
use crate::ledger::{self, Command, Done, NewTransfer};
use crate::{Result, Tx, licences, params, refuse};

/// Regenerates what a certificate says of its grants: `granted` licences in all, of which those that devices have are used. The same again
/// changes nothing.
///
/// # Errors
/// Not found. Invalid: fewer than are recorded. Conflict: it was paid back, or is not settled yet. The store's.
pub fn restore(
    tx: &mut dyn Tx,
    now: Timestamp,
    id: CertificateId,
    granted: u32,
) -> Result<(Done, CertificateRecord)> {
    let (_, record) = purchases::certificate(tx, id)?;
    if matches!(
        record.state,
        CertificateState::Refunded | CertificateState::Generated
    ) {
        let detail = format!(
            "{} is {}: it is not restored",
            Text(id),
            record.state.name()
        );
        return refuse(Kind::Conflict, detail);
    }
    let had = licences::of_origin(tx, &Text(id).to_string())?;
    let had = had.iter().filter(|licence| licence.received.is_some());
    let used = u32::try_from(had.count())
        .unwrap_or(u32::MAX)
        .max(record.used);
    let before = record.granted.unwrap_or(0);
    if granted < before.max(used).max(1) {
        let detail = format!(
            "{} was settled for {before} licences and devices have {used}: it is restored for as many at least",
            Text(id)
        );
        return refuse(Kind::Invalid, detail);
    }
    let state = if used < granted {
        CertificateState::Settled
    } else {
        CertificateState::Used
    };
    if (state, granted, used) == (record.state, before, record.used) {
        return Ok((Done::Before, record));
    }
    let (grants, [sold, _]) = (grants_of(id), all_grants());
    for book in [&sold, &grants] {
        ledger::open(tx, now, book)?;
    }
    if granted > before {
        let name = ["transfer", "restore", &id.text(), &granted.to_string()];
        let new = NewTransfer {
            id: sealcast_objects::TransferId(hash(&name)),
            command: Command::Move {
                debit: sold.id,
                credit: grants.id,
                amount: (granted - before).into(),
            },
            note: format!("restored {}", Text(id)),
        };
        ledger::transfer(tx, now, &new)?;
    }
    tx.execute(
        "UPDATE purchase_certificate SET state = $1, granted = $2, used = $3 WHERE id = $4",
        params![state.name(), granted, used, id.to_bytes()],
    )?;
    Ok((Done::Now, purchases::certificate(tx, id)?.1))
}
