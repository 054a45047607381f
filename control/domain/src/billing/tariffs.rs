//! Tariffs, which never change, and which account has which from when on.

use std::collections::BTreeSet;

use sealcast_objects::AccountId;
use sealcast_objects::api::{
    AccountTariff, AssignTariff, Channel, Fraction, NewTariff, Paying, Price, Rate, Tariff,
};
use sealcast_objects::id::Id as _;
use sealcast_objects::month::Month;
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use super::months;
use crate::catalogue::{check_name, check_price};
use crate::ledger::Done;
use crate::{
    Error, Read, Result, Row, StoreError, Tx, accounts, channels, params, read_rows, refuse, shares,
};

/// Rates of a tariff, at most.
const RATES_MAX: usize = 100;
/// The highest price of a rate, and the most pieces that it is for.
const PRICE_MAX: u64 = 1_000_000_000_000;
const PER_MAX: u64 = 1_000_000_000_000_000_000;
/// Days in which a bill is to be paid, at most.
const DAYS_MAX: u32 = 365;

fn check(store: &mut dyn Read, name: &str, new: &NewTariff) -> Result<()> {
    check_name("the name of a tariff", name)?;
    check_price(&Price {
        amount: 0,
        currency: new.currency.clone(),
    })?;
    let Fraction { of, parts } = new.tax;
    if parts == 0 || of > parts {
        return refuse(Kind::Invalid, format!("a tax of {of} of {parts} parts"));
    }
    if new.pay_within_days > DAYS_MAX || new.rates.len() > RATES_MAX {
        let detail = format!("a tariff has at most {RATES_MAX} rates, and {DAYS_MAX} days to pay");
        return refuse(Kind::Invalid, detail);
    }
    if let Some(split) = &new.split {
        shares::get(store, split)?;
    }
    let mut known = BTreeSet::new();
    for rate in &new.rates {
        let (kind, channel) = (rate.kind(), rate.channel());
        if !known.insert((kind, channel)) {
            let detail = format!("two rates for {}{}", kind.name(), of_channel(channel));
            return refuse(Kind::Invalid, detail);
        }
        if let Some(channel) = channel {
            let channel = channels::get(store, channel)?;
            check_counted(rate, &channel)?;
        }
        let (price, per, free) = numbers(rate);
        if price > PRICE_MAX || !(1..=PER_MAX).contains(&per) || free > PER_MAX {
            let detail = format!(
                "the rate for {}{}: a price is at most {PRICE_MAX}, for 1 to {PER_MAX}, beyond at most {PER_MAX}",
                kind.name(),
                of_channel(channel)
            );
            return refuse(Kind::Invalid, detail);
        }
    }
    Ok(())
}

/// INT-05: whoever gets keys from key blocks asks nobody, so what he had cannot be counted.
fn check_counted(rate: &Rate, channel: &Channel) -> Result<()> {
    let counts = matches!(rate, Rate::Data { .. } | Rate::Requests { .. });
    if counts && channel.key_block_permille > 0 {
        let detail = format!(
            "channel {} has key blocks: its keys are not asked for, so nothing is counted that a rate for {} could charge; charge it by \
                 period or licence",
            channel.id,
            rate.kind().name()
        );
        return refuse(Kind::Conflict, detail);
    }
    Ok(())
}

/// A channel is to have key blocks: no tariff that an account has in a month that is not closed may count its keys.
///
/// # Errors
/// Conflict: one does. The store's.
pub(crate) fn check_uncounted(store: &mut dyn Read, channel: &Channel) -> Result<()> {
    if channel.key_block_permille == 0 {
        return Ok(());
    }
    let open = months::last(store)?.map_or(0, |closed| closed.next().number());
    let rows = store.query(
        "SELECT DISTINCT a.tariff FROM account_tariff AS a WHERE NOT EXISTS \
         (SELECT 1 FROM account_tariff AS b WHERE b.account = a.account AND b.month > a.month AND b.month <= $1) ORDER BY a.tariff",
        params![open],
    )?;
    for row in rows {
        let tariff = get(store, &row.get::<String>(0)?)?;
        for rate in &tariff.terms.rates {
            if rate.channel().is_none_or(|of| of == channel.id)
                && let Err(Error::Refused(problem)) = check_counted(rate, channel)
            {
                let detail = format!("tariff {}: {}", tariff.name, problem.detail);
                return refuse(Kind::Conflict, detail);
            }
        }
    }
    Ok(())
}

fn of_channel(channel: Option<u16>) -> String {
    channel.map_or(String::new(), |channel| format!(" of channel {channel}"))
}

fn numbers(rate: &Rate) -> (u64, u64, u64) {
    match *rate {
        Rate::Data {
            price, per, free, ..
        }
        | Rate::Requests {
            price, per, free, ..
        } => (price, per, free),
        Rate::Period { price, .. }
        | Rate::Licence { price }
        | Rate::MoveCertificate { price }
        | Rate::Premium { price } => (price, 1, 0),
    }
}

fn damaged(what: &str) -> impl Fn(serde_json::Error) -> StoreError {
    move |error| StoreError::Damaged(format!("{what}: {error}"))
}

fn read(row: &Row) -> std::result::Result<Tariff, StoreError> {
    let terms: String = row.get(1)?;
    Ok(Tariff {
        name: row.get(0)?,
        terms: serde_json::from_str(&terms).map_err(damaged("a tariff"))?,
        added: Timestamp(row.get(2)?),
    })
}

fn find(store: &mut dyn Read, name: &str) -> Result<Option<Tariff>> {
    let row = store.first(
        "SELECT name, terms, added FROM tariff WHERE name = $1",
        params![name],
    )?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// Adds a tariff; the same again changes nothing.
///
/// # Errors
/// Invalid: the name, a number, a rate that is there twice. Not found: a channel. Conflict: there is another one of this name. The store's.
pub fn put(tx: &mut dyn Tx, now: Timestamp, name: &str, new: &NewTariff) -> Result<(Done, Tariff)> {
    if let Some(known) = find(tx, name)? {
        if known.terms == *new {
            return Ok((Done::Before, known));
        }
        let detail =
            format!("tariff {name} says something else, and never changes: choose another name");
        return refuse(Kind::Conflict, detail);
    }
    check(tx, name, new)?;
    let terms = serde_json::to_string(new).map_err(damaged("a tariff"))?;
    tx.execute(
        "INSERT INTO tariff (name, terms, added) VALUES ($1, $2, $3)",
        params![name, terms, now.0],
    )?;
    Ok((Done::Now, get(tx, name)?))
}

/// A tariff.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, name: &str) -> Result<Tariff> {
    match find(store, name)? {
        Some(tariff) => Ok(tariff),
        None => refuse(Kind::NotFound, format!("there is no tariff {name:?}")),
    }
}

/// At most `most` tariffs after `after`, in the order of their names.
///
/// # Errors
/// The store's.
pub fn page(store: &mut dyn Read, after: Option<&str>, most: u32) -> Result<Vec<Tariff>> {
    let rows = store.query(
        "SELECT name, terms, added FROM tariff WHERE name > $1 ORDER BY name LIMIT $2",
        params![after.unwrap_or_default(), most],
    )?;
    read_rows(&rows, read)
}

fn assigned(row: &Row) -> std::result::Result<AccountTariff, StoreError> {
    let (month, paying): (u32, String) = (row.get(0)?, row.get(2)?);
    let wrong = || StoreError::Damaged(format!("a tariff from month {month}, paid by {paying:?}"));
    Ok(AccountTariff {
        from: Month::from_number(month).ok_or_else(wrong)?,
        tariff: row.get(1)?,
        paying: Paying::from_name(&paying).ok_or_else(wrong)?,
    })
}

/// The tariffs of an account, the latest last.
///
/// # Errors
/// Not found: the account. The store's.
pub fn of_account(store: &mut dyn Read, account: AccountId) -> Result<Vec<AccountTariff>> {
    accounts::get(store, account)?;
    let rows = store.query(
        "SELECT month, tariff, paying FROM account_tariff WHERE account = $1 ORDER BY month",
        params![account.to_bytes()],
    )?;
    read_rows(&rows, assigned)
}

/// What an account has in a month, if anything.
#[must_use]
pub fn in_month(tariffs: &[AccountTariff], month: Month) -> Option<&AccountTariff> {
    tariffs.iter().rev().find(|tariff| tariff.from <= month)
}

/// An account has this tariff from a month on that is not closed; what it was to have from a later one on, it has not.
///
/// # Errors
/// Not found: the account, the tariff. Conflict: the month is closed. The store's.
pub fn assign(
    tx: &mut dyn Tx,
    now: Timestamp,
    account: AccountId,
    asked: &AssignTariff,
) -> Result<(Done, Vec<AccountTariff>)> {
    let tariff = get(tx, &asked.tariff)?;
    for channel in channels::list(tx)? {
        let rates = tariff.terms.rates.iter();
        for rate in rates.filter(|rate| rate.channel().is_none_or(|of| of == channel.id)) {
            check_counted(rate, &channel)?;
        }
    }
    let known = of_account(tx, account)?;
    let from = asked.from.unwrap_or_else(|| Month::of(now));
    let has = in_month(&known, from);
    let same = has.is_some_and(|has| has.tariff == asked.tariff && has.paying == asked.paying);
    if same && known.last() == has {
        return Ok((Done::Before, known));
    }
    if let Some(closed) = months::last(tx)?.filter(|closed| from <= *closed) {
        let detail = format!("{from} is closed, as all months are up to {closed}: begin later");
        return refuse(Kind::Conflict, detail);
    }
    tx.execute(
        "DELETE FROM account_tariff WHERE account = $1 AND month >= $2",
        params![account.to_bytes(), from.number()],
    )?;
    tx.execute(
        "INSERT INTO account_tariff (account, month, tariff, paying) VALUES ($1, $2, $3, $4)",
        params![
            account.to_bytes(),
            from.number(),
            asked.tariff.as_str(),
            asked.paying.name()
        ],
    )?;
    Ok((Done::Now, of_account(tx, account)?))
}

/// The first month in which any account has a tariff.
pub(super) fn first_month(store: &mut dyn Read) -> Result<Option<Month>> {
    let row = store.first("SELECT MIN(month) FROM account_tariff", params![])?;
    let month: Option<u32> = row.map(|row| row.get(0)).transpose()?.flatten();
    Ok(month.and_then(Month::from_number))
}
