//! All bills, computed again from what they were made of, and held against the ledger: for tests and a live database.

use sealcast_objects::BillId;
use sealcast_objects::api::Bill;
use sealcast_objects::id::Text;

use super::bills::{self, Kept};
use crate::ledger;
use crate::{Error, Read, Result, StoreError, params, read_rows};

/// Bills that are looked at at once.
const PAGE: u32 = 1000;

/// What is not as it must be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// A bill is missing.
    #[error("bill {found} stands where {wanted} should: bills are gone")]
    Number {
        /// What should come.
        wanted: u64,
        /// What comes.
        found: u64,
    },
    /// Computed again, a bill is another.
    #[error("{} is not what was counted, licensed, charged and booked comes to", Text(*.0))]
    Bill(BillId),
    /// The ledger has booked something else.
    #[error("{} is booked otherwise than it says", Text(*.0))]
    Booked(BillId),
}

/// Everything that is wrong; nothing where all bills are as they must be.
///
/// # Errors
/// The store's.
pub fn verify(store: &mut dyn Read) -> Result<Vec<Fault>> {
    let (mut kept, mut number, mut faults) = (Kept::default(), 0, Vec::new());
    loop {
        let rows = store.query(
            "SELECT id, number, body FROM bill WHERE number > $1 ORDER BY number LIMIT $2",
            params![number, PAGE],
        )?;
        let page = read_rows(&rows, |row| {
            Ok((
                BillId(row.get(0)?),
                row.get::<u64>(1)?,
                row.get::<Vec<u8>>(2)?,
            ))
        })?;
        for (id, found, body) in &page {
            number += 1;
            if *found != number {
                let wanted = std::mem::replace(&mut number, *found);
                faults.push(Fault::Number {
                    wanted,
                    found: *found,
                });
            }
            faults.extend(of_bill(store, *id, body, &mut kept)?);
        }
        if page.len() < PAGE as usize {
            return Ok(faults);
        }
    }
}

fn of_bill(
    store: &mut dyn Read,
    id: BillId,
    body: &[u8],
    kept: &mut Kept,
) -> Result<Option<Fault>> {
    let bill: Bill = serde_json::from_slice(body)
        .map_err(|error| StoreError::Damaged(format!("{}: {error}", Text(id))))?;
    let again = match bills::again(store, &bill, kept) {
        Ok(again) => Some(bills::to_bytes(&again)?),
        // What it was made of is gone.
        Err(Error::Refused(_)) => None,
        Err(error) => return Err(error),
    };
    if bill.id.0 != id || again.as_deref() != Some(body) {
        return Ok(Some(Fault::Bill(id)));
    }
    for (step, amount) in bills::steps(&bill) {
        let made = ledger::find_made(store, step.of(id))?;
        let moved = made.map_or(0, |made| made.amount);
        if moved != amount.unsigned_abs() {
            return Ok(Some(Fault::Booked(id)));
        }
    }
    Ok(None)
}
