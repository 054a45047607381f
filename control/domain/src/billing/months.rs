//! Months that are closed: what comes later of one counts for the next, and its bills are made, account by account.

use std::collections::BTreeMap;
use std::time::Duration;

use sealcast_objects::AccountId;
use sealcast_objects::api::BillingMonth;
use sealcast_objects::id::Id as _;
use sealcast_objects::month::Month;
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use super::tariffs;
use crate::ledger::Done;
use crate::{Read, Result, Row, StoreError, Tx, metering, params, read_rows, refuse};

/// How long usage files of a month may still come after its end.
pub const FILES_COME: Duration = Duration::from_secs(48 * 3600);

macro_rules! months {
    ($which:literal) => {
        concat!(
            "SELECT month, closed, bills, billed FROM billing_month ",
            $which
        )
    };
}

fn month(number: u32) -> std::result::Result<Month, StoreError> {
    Month::from_number(number)
        .ok_or_else(|| StoreError::Damaged(format!("a month of number {number}")))
}

/// The last month that is closed.
///
/// # Errors
/// The store's.
pub fn last(store: &mut dyn Read) -> Result<Option<Month>> {
    let row = store.first("SELECT MAX(month) FROM billing_month", params![])?;
    let number: Option<u32> = row.map(|row| row.get(0)).transpose()?.flatten();
    Ok(number.map(month).transpose()?)
}

/// Up to which epoch the bytes of channels were billed.
pub(crate) fn sealed(store: &mut dyn Read) -> Result<BTreeMap<u16, u64>> {
    let rows = store.query("SELECT channel, epoch FROM sealed_epoch", params![])?;
    let pairs = read_rows(&rows, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(pairs.into_iter().collect())
}

/// Closes a month, the one after the last that was, or after which accounts have tariffs. `anyway`: though usage files of it may still come, or are missing.
///
/// # Errors
/// Conflict: it is not over, one before it is not closed, files may still come or are missing. The store's.
pub fn close(tx: &mut dyn Tx, now: Timestamp, month: Month, anyway: bool) -> Result<Done> {
    let last = last(tx)?;
    if last.is_some_and(|last| month <= last) {
        return Ok(Done::Before);
    }
    if now < month.end() {
        let detail = format!("{month} is not over: it ends at {}", month.end());
        return refuse(Kind::Conflict, detail);
    }
    // Months in which nobody had a tariff need not be closed.
    let first = tariffs::first_month(tx)?.map(|first| first.max(last.map_or(first, Month::next)));
    if let Some(first) = first.filter(|first| *first < month) {
        let detail = format!("{first} is not closed: months are closed one after the other");
        return refuse(Kind::Conflict, detail);
    }
    if !anyway {
        check_files(tx, now, month)?;
    }
    tx.execute(
        "INSERT INTO billing_month (month, closed, sealed, bills) VALUES ($1, $2, 0, 0)",
        params![month.number(), now.0],
    )?;
    Ok(Done::Now)
}

fn check_files(tx: &mut dyn Tx, now: Timestamp, month: Month) -> Result<()> {
    let come = month.end().after(FILES_COME);
    if now < come {
        let detail = format!(
            "usage files of {month} may come until {come}: wait, or close it anyway; what comes later counts for the next month"
        );
        return refuse(Kind::Conflict, detail);
    }
    let runs = metering::runs(tx)?;
    let missing = runs
        .iter()
        .filter(|run| run.missing > 0 && run.taken_at >= month.start());
    let missing: Vec<_> = missing
        .map(|run| {
            format!(
                "{} {} lacks {} of run {:032x}",
                run.source.name(),
                run.number,
                run.missing,
                run.run
            )
        })
        .take(3)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "usage files are missing ({}): bring them, or close the month anyway",
        missing.join("; ")
    );
    refuse(Kind::Conflict, detail)
}

fn read(row: &Row) -> std::result::Result<BillingMonth, StoreError> {
    let billed: Option<i64> = row.get(3)?;
    Ok(BillingMonth {
        month: month(row.get(0)?)?,
        closed: Timestamp(row.get(1)?),
        bills: row.get(2)?,
        billed: billed.map(Timestamp),
    })
}

/// The months that are closed, the latest last.
///
/// # Errors
/// The store's.
pub fn all(store: &mut dyn Read) -> Result<Vec<BillingMonth>> {
    let rows = store.query(months!("ORDER BY month"), params![])?;
    read_rows(&rows, read)
}

/// A month that is closed.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, month: Month) -> Result<BillingMonth> {
    let row = store.first(months!("WHERE month = $1"), params![month.number()])?;
    match row {
        Some(row) => Ok(read(&row)?),
        None => refuse(Kind::NotFound, format!("{month} is not closed")),
    }
}

/// A month whose bills are being made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    /// Which.
    pub month: Month,
    /// The bytes of its epochs are sealed.
    pub sealed: bool,
    /// Accounts up to this one have their bills.
    pub done_to: Option<AccountId>,
}

/// The first month that has not all of its bills.
///
/// # Errors
/// The store's.
pub fn pending(store: &mut dyn Read) -> Result<Option<Pending>> {
    let row = store.first(
        "SELECT month, sealed, done_to FROM billing_month WHERE billed IS NULL ORDER BY month LIMIT 1",
        params![],
    )?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Pending {
        month: month(row.get(0)?)?,
        sealed: row.get::<u32>(1)? == 1,
        done_to: row.get::<Option<[u8; 16]>>(2)?.map(AccountId::from_bytes),
    }))
}

/// The last epoch of each channel to which a device got the key in this month.
///
/// # Errors
/// The store's.
pub fn last_epochs(store: &mut dyn Read, month: Month) -> Result<Vec<(u16, u64)>> {
    let rows = store.query(
        "SELECT channel, MAX(last_epoch) FROM key_usage WHERE since >= $1 AND since < $2 GROUP BY channel",
        params![month.start().0, month.end().0],
    )?;
    read_rows(&rows, |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The bytes of these epochs, and of all before them, stay as they are.
///
/// # Errors
/// The store's.
pub fn seal(tx: &mut dyn Tx, month: Month, epochs: &[(u16, u64)]) -> Result<()> {
    for (channel, epoch) in epochs {
        tx.execute(
            "INSERT INTO sealed_epoch (channel, epoch) VALUES ($1, $2) ON CONFLICT (channel) DO UPDATE SET \
             epoch = CASE WHEN sealed_epoch.epoch > excluded.epoch THEN sealed_epoch.epoch ELSE excluded.epoch END",
            params![*channel, *epoch],
        )?;
    }
    tx.execute(
        "UPDATE billing_month SET sealed = 1 WHERE month = $1",
        params![month.number()],
    )?;
    Ok(())
}

/// Accounts up to this one have their bills, so many more; `None`: all have.
pub(super) fn done(
    tx: &mut dyn Tx,
    now: Timestamp,
    month: Month,
    to: Option<AccountId>,
    bills: u64,
) -> Result<()> {
    match to {
        Some(to) => tx.execute(
            "UPDATE billing_month SET done_to = $1, bills = bills + $2 WHERE month = $3",
            params![to.to_bytes(), bills, month.number()],
        )?,
        None => tx.execute(
            "UPDATE billing_month SET billed = $1, bills = bills + $2 WHERE month = $3",
            params![now.0, bills, month.number()],
        )?,
    };
    Ok(())
}
