//! Charges: what goes on the bill of its month besides what was counted.

use sealcast_objects::api::{Charge, ChargeKind, NewCharge};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::month::Month;
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, ChargeId};

use super::months;
use crate::catalogue::check_text;
use crate::ledger::Done;
use crate::{Read, Result, Row, StoreError, Tx, accounts, params, read_rows, refuse};

/// The greatest correction, either way.
const AMOUNT_MAX: i64 = 1_000_000_000_000;
/// Charges of an account in a month, at most: what a bill has room for.
const MONTH_MAX: u64 = 1000;

macro_rules! charges {
    ($which:literal) => {
        concat!(
            "SELECT id, account, kind, amount, note, at FROM charge ",
            $which
        )
    };
}

fn read(row: &Row) -> std::result::Result<Charge, StoreError> {
    let kind: String = row.get(2)?;
    Ok(Charge {
        id: Text(ChargeId(row.get(0)?)),
        account: Text(AccountId::from_bytes(row.get(1)?)),
        charge: NewCharge {
            kind: ChargeKind::from_name(&kind)
                .ok_or_else(|| StoreError::Damaged(format!("a charge for {kind:?}")))?,
            amount: row.get(3)?,
            note: row.get(4)?,
        },
        at: Timestamp(row.get(5)?),
    })
}

/// Charges an account; the same again changes nothing.
///
/// # Errors
/// Not found: the account. Invalid: a correction without an amount, anything else with one, the note. Conflict: the id is in use for
/// another charge, or the bill of this month is full. The store's.
pub fn put(
    tx: &mut dyn Tx,
    now: Timestamp,
    (account, id): (AccountId, ChargeId),
    new: &NewCharge,
) -> Result<(Done, Charge)> {
    accounts::get(tx, account)?;
    if let Some(row) = tx.first(charges!("WHERE id = $1"), params![id.to_bytes()])? {
        let known = read(&row)?;
        if known.charge == *new && known.account.0 == account {
            return Ok((Done::Before, known));
        }
        let detail =
            "this charge was made already, with other content: another needs an id of its own";
        return refuse(Kind::Conflict, detail);
    }
    check_text("the note of a charge", &new.note, 1..=200)?;
    let is_correction = new.kind == ChargeKind::Correction;
    let fits = |amount: i64| amount != 0 && (-AMOUNT_MAX..=AMOUNT_MAX).contains(&amount);
    if new.amount.is_some() != is_correction || !new.amount.is_none_or(fits) {
        let detail = format!(
            "a correction has an amount, not 0 and at most {AMOUNT_MAX} either way; what the tariff prices has none"
        );
        return refuse(Kind::Invalid, detail);
    }
    // What a clock that went back would put into a month that is closed.
    let now = months::last(tx)?.map_or(now, |closed| now.max(closed.end()));
    let month = Month::of(now);
    if count(tx, account, month)? >= MONTH_MAX {
        let detail =
            format!("the bill of {month} has {MONTH_MAX} charges already: wait for the next month");
        return refuse(Kind::Conflict, detail);
    }
    let charge = Charge {
        id: Text(id),
        account: Text(account),
        charge: new.clone(),
        at: now,
    };
    tx.execute(
        "INSERT INTO charge (id, account, kind, amount, note, at) VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            id.to_bytes(),
            account.to_bytes(),
            new.kind.name(),
            new.amount,
            new.note.as_str(),
            now.0
        ],
    )?;
    Ok((Done::Now, charge))
}

fn count(store: &mut dyn Read, account: AccountId, month: Month) -> Result<u64> {
    let row = store.first(
        "SELECT COUNT(*) FROM charge WHERE account = $1 AND at >= $2 AND at < $3",
        params![account.to_bytes(), month.start().0, month.end().0],
    )?;
    Ok(row.map(|row| row.get(0)).transpose()?.unwrap_or(0))
}

/// Those of a month, in the order in which they were made.
///
/// # Errors
/// The store's.
pub fn of_month(store: &mut dyn Read, account: AccountId, month: Month) -> Result<Vec<Charge>> {
    let rows = store.query(
        charges!("WHERE account = $1 AND at >= $2 AND at < $3 ORDER BY at, id"),
        params![account.to_bytes(), month.start().0, month.end().0],
    )?;
    read_rows(&rows, read)
}

/// At most `most` of an account after this one, in the order in which they were made.
///
/// # Errors
/// Not found: the account. The store's.
pub fn page(
    store: &mut dyn Read,
    account: AccountId,
    after: Option<(Timestamp, ChargeId)>,
    most: u32,
) -> Result<Vec<Charge>> {
    accounts::get(store, account)?;
    let (at, id) = after.unwrap_or((Timestamp(i64::MIN), ChargeId([0; 16])));
    let rows = store.query(
        charges!("WHERE account = $1 AND (at, id) > ($2, $3) ORDER BY at, id LIMIT $4"),
        params![account.to_bytes(), at.0, id.to_bytes(), most],
    )?;
    read_rows(&rows, read)
}
