//! What is still to be paid of bills, and reminders of it. Payments count for the oldest bill first: what an account owes now is of its latest
//! purchases and bills.

use std::collections::BTreeMap;
use std::time::Duration;

use sealcast_objects::api::{BillState, BillSummary};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::month::Month;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, BillId};

use super::money;
use crate::ledger;
use crate::sales::{Booked, booked, credit};
use crate::{Read, Result, Row, StoreError, Tx, params, read_rows};

/// Reminders of a bill: when it is due, and then after each of these days.
const REMIND_AFTER_DAYS: [u32; 3] = [7, 14, 14];
const DAY: Duration = Duration::from_secs(24 * 3600);

macro_rules! bills {
    ($which:literal) => {
        concat!(
            "SELECT id, number, account, month, currency, gross, due, pay_by, reminders FROM bill ",
            $which
        )
    };
}

fn read(row: &Row) -> std::result::Result<BillSummary, StoreError> {
    let month: u32 = row.get(3)?;
    Ok(BillSummary {
        id: Text(BillId(row.get(0)?)),
        number: row.get(1)?,
        account: Text(AccountId::from_bytes(row.get(2)?)),
        month: Month::from_number(month)
            .ok_or_else(|| StoreError::Damaged(format!("a bill of month {month}")))?,
        currency: row.get(4)?,
        gross: row.get(5)?,
        due: row.get(6)?,
        open: 0,
        pay_by: Timestamp(row.get(7)?),
        state: BillState::Paid,
        reminders: row.get(8)?,
    })
}

/// What is still to be paid of each bill of an account in a currency.
fn open(store: &mut dyn Read, account: AccountId, currency: &str) -> Result<BTreeMap<BillId, u64>> {
    let rows = store.query(
        bills!("WHERE account = $1 AND currency = $2 ORDER BY number DESC"),
        params![account.to_bytes(), currency],
    )?;
    let bills = read_rows(&rows, read)?;
    let mut rest = money::in_currency(store, account, currency)?.owed;
    // What was bought since is on no bill yet.
    if let Some(latest) = bills.first() {
        let credit = credit(account, currency);
        let made = ledger::between(store, credit.id, latest.month.end(), Timestamp(i64::MAX))?;
        let since = made.iter().map(|made| {
            let amount = i64::try_from(made.amount).unwrap_or(i64::MAX);
            match booked(made) {
                Some(Booked::Bought(_)) => amount,
                Some(Booked::PaidBack(_)) => -amount,
                None => 0,
            }
        });
        rest = rest.saturating_sub(since.sum::<i64>().max(0));
    }
    let mut open = BTreeMap::new();
    for bill in bills {
        let unpaid = rest.min(bill.due).max(0);
        open.insert(bill.id.0, unpaid.unsigned_abs());
        // What is given back pays for the oldest, too.
        rest = rest.saturating_sub(bill.due.max(0));
    }
    Ok(open)
}

/// These bills, with what is still to be paid of them.
fn with_open(
    store: &mut dyn Read,
    now: Timestamp,
    mut bills: Vec<BillSummary>,
) -> Result<Vec<BillSummary>> {
    let mut known = BTreeMap::new();
    for bill in &mut bills {
        let of = (bill.account.0, bill.currency.clone());
        if !known.contains_key(&of) {
            let open = open(store, of.0, &of.1)?;
            known.insert(of.clone(), open);
        }
        let open = known.get(&of).and_then(|open| open.get(&bill.id.0));
        bill.open = open.copied().unwrap_or(0);
        bill.state = match bill.open {
            0 => BillState::Paid,
            _ if bill.pay_by <= now => BillState::Overdue,
            _ => BillState::Open,
        };
    }
    Ok(bills)
}

/// Which bills.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Of this account.
    pub account: Option<AccountId>,
    /// Of this month.
    pub month: Option<Month>,
}

/// At most `most` bills after number `after`, in the order of their numbers.
///
/// # Errors
/// The store's.
pub fn page(
    store: &mut dyn Read,
    now: Timestamp,
    filter: Filter,
    after: u64,
    most: u32,
) -> Result<Vec<BillSummary>> {
    let account = filter.account.map(AccountId::to_bytes);
    let month = filter.month.map(Month::number);
    let rows = store.query(
        bills!(
            "WHERE number > $1 AND (account = $2 OR $2 IS NULL) AND (month = $3 OR $3 IS NULL) ORDER BY number LIMIT $4"
        ),
        params![after, account, month, most],
    )?;
    let bills = read_rows(&rows, read)?;
    with_open(store, now, bills)
}

/// When the next bill is looked at whether it was paid.
///
/// # Errors
/// The store's.
pub fn next_due(store: &mut dyn Read) -> Result<Option<Timestamp>> {
    let row = store.first(
        "SELECT MIN(remind_at) FROM bill WHERE remind_at IS NOT NULL",
        params![],
    )?;
    let at: Option<i64> = row.map(|row| row.get(0)).transpose()?.flatten();
    Ok(at.map(Timestamp))
}

/// Looks at bills that should have been paid, at most so many; those that were not, each with one reminder more.
///
/// # Errors
/// The store's.
pub fn remind(tx: &mut dyn Tx, now: Timestamp, most: u32) -> Result<Vec<BillSummary>> {
    let rows = tx.query(
        bills!("WHERE remind_at <= $1 ORDER BY remind_at, number LIMIT $2"),
        params![now.0, most],
    )?;
    let bills = read_rows(&rows, read)?;
    let mut overdue = Vec::new();
    for mut bill in with_open(tx, now, bills)? {
        let unpaid = bill.state == BillState::Overdue;
        if unpaid {
            bill.reminders += 1;
        }
        let after = usize::try_from(bill.reminders).ok();
        let after = after.and_then(|told| REMIND_AFTER_DAYS.get(told.checked_sub(1)?));
        let next = after
            .filter(|_| unpaid)
            .map(|days| now.after(DAY * *days).0);
        tx.execute(
            "UPDATE bill SET reminders = $1, remind_at = $2 WHERE id = $3",
            params![bill.reminders, next, bill.id.0.to_bytes()],
        )?;
        overdue.extend(unpaid.then_some(bill));
    }
    Ok(overdue)
}
