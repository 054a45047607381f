//! Shares: income is divided by fixed parts, of whatever kind it is (CM-56, INT-13). The whole of it is booked as income first; then what others
//! have in it goes to their books. What is paid back takes their shares back.

use std::collections::BTreeSet;

use sealcast_objects::TransferId;
use sealcast_objects::api::{
    NamedTransfer, NewSplit, PartyMoney, PartyStatement, PayOut, PayOutKind, Share, Split,
    StatementOf, TransferCommand,
};
use sealcast_objects::id::Text;
use sealcast_objects::month::Month;
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use crate::billing::money::cash;
use crate::catalogue::{check_name, check_price};
use crate::ledger::{self, Bound, Command, Done, NewBook, NewTransfer, book, hash};
use crate::sales::{income, taken_by};
use crate::{Read, Result, Row, StoreError, Tx, params, read_rows, refuse};

/// The house, in a split: its part stays where it is.
pub const HOUSE: &str = "house";
/// Parties of a split, at most.
const PARTIES_MAX: usize = 20;

/// What is due to a party.
#[must_use]
pub fn share_of(party: &str, currency: &str) -> NewBook {
    book("share", party, currency, Bound::Free)
}

fn damaged(error: serde_json::Error) -> StoreError {
    StoreError::Damaged(format!("a split: {error}"))
}

fn read(row: &Row) -> std::result::Result<Split, StoreError> {
    let shares: String = row.get(1)?;
    Ok(Split {
        name: row.get(0)?,
        shares: serde_json::from_str(&shares).map_err(damaged)?,
        added: Timestamp(row.get(2)?),
    })
}

fn find(store: &mut dyn Read, name: &str) -> Result<Option<Split>> {
    let row = store.first(
        "SELECT name, shares, added FROM split WHERE name = $1",
        params![name],
    )?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// Adds a split; the same again changes nothing.
///
/// # Errors
/// Invalid: a name, no parts, a party that is there twice. Conflict: there is another one of this name. The store's.
pub fn put(tx: &mut dyn Tx, now: Timestamp, name: &str, new: &NewSplit) -> Result<(Done, Split)> {
    if let Some(known) = find(tx, name)? {
        if known.shares == new.shares {
            return Ok((Done::Before, known));
        }
        let detail =
            format!("split {name} says something else, and never changes: choose another name");
        return refuse(Kind::Conflict, detail);
    }
    check_name("the name of a split", name)?;
    if !(1..=PARTIES_MAX).contains(&new.shares.len()) {
        let detail = format!("a split has 1 to {PARTIES_MAX} parties");
        return refuse(Kind::Invalid, detail);
    }
    let mut known = BTreeSet::new();
    for Share { party, parts } in &new.shares {
        check_name("the name of a party", party)?;
        if *parts == 0 || !known.insert(party) {
            let detail = format!("{party}: each party stands there once, with a part at least");
            return refuse(Kind::Invalid, detail);
        }
    }
    let shares = serde_json::to_string(&new.shares).map_err(damaged)?;
    tx.execute(
        "INSERT INTO split (name, shares, added) VALUES ($1, $2, $3)",
        params![name, shares, now.0],
    )?;
    Ok((Done::Now, get(tx, name)?))
}

/// A split.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, name: &str) -> Result<Split> {
    match find(store, name)? {
        Some(split) => Ok(split),
        None => refuse(Kind::NotFound, format!("there is no split {name:?}")),
    }
}

/// At most `most` splits after `after`, in the order of their names.
///
/// # Errors
/// The store's.
pub fn page(store: &mut dyn Read, after: Option<&str>, most: u32) -> Result<Vec<Split>> {
    let rows = store.query(
        "SELECT name, shares, added FROM split WHERE name > $1 ORDER BY name LIMIT $2",
        params![after.unwrap_or_default(), most],
    )?;
    read_rows(&rows, read)
}

/// What is divided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Income<'a> {
    /// What it came of: names the transfers.
    pub(crate) of: &'a str,
    /// In which currency.
    pub(crate) currency: &'a str,
    /// How much; below 0: it was paid back.
    pub(crate) amount: i64,
}

/// Gives the parties of a split their shares of what was booked as income, or takes them back.
pub(crate) fn divide(
    tx: &mut dyn Tx,
    now: Timestamp,
    split: &str,
    divided: Income<'_>,
) -> Result<()> {
    let Income {
        of,
        currency,
        amount,
    } = divided;
    let split = get(tx, split)?;
    let weights: Vec<u64> = split
        .shares
        .iter()
        .map(|share| share.parts.into())
        .collect();
    let parts = ledger::split(amount.unsigned_abs(), &weights).unwrap_or_default();
    let income = income(currency);
    let step = if amount < 0 { "share back" } else { "share" };
    for (Share { party, .. }, part) in split.shares.iter().zip(parts) {
        if party == HOUSE || part == 0 {
            continue;
        }
        let share = open(tx, now, party, currency)?;
        let (debit, credit) = if amount < 0 {
            (share.id, income.id)
        } else {
            (income.id, share.id)
        };
        let new = NewTransfer {
            id: TransferId(hash(&["transfer", step, of, party])),
            command: Command::Move {
                debit,
                credit,
                amount: part,
            },
            note: format!("{step} {of}"),
        };
        ledger::transfer(tx, now, &new)?;
    }
    Ok(())
}

/// Opens the books of a party, and notes that it has them; its share's.
pub(crate) fn open(
    tx: &mut dyn Tx,
    now: Timestamp,
    party: &str,
    currency: &str,
) -> Result<NewBook> {
    tx.execute(
        "INSERT INTO party_money (party, currency) VALUES ($1, $2) ON CONFLICT (party, currency) DO NOTHING",
        params![party, currency],
    )?;
    let share = share_of(party, currency);
    for book in [&share, &taken_by(party, currency), &cash(currency)] {
        ledger::open(tx, now, book)?;
    }
    Ok(share)
}

/// The transfer that a payout is, between books that are open then.
///
/// # Errors
/// Not found: nobody of this name ever had a share in this currency. Invalid: the currency, nothing to pay. The store's.
pub fn pay_out(
    tx: &mut dyn Tx,
    now: Timestamp,
    (party, id): (&str, TransferId),
    pay: &PayOut,
) -> Result<NamedTransfer> {
    check_price(&pay.price)?;
    let currency = pay.price.currency.as_str();
    if !currencies(tx, party)?.iter().any(|known| known == currency) {
        let detail = format!("{party:?} never had a share in {currency}");
        return refuse(Kind::NotFound, detail);
    }
    if pay.price.amount == 0 {
        return refuse(Kind::Invalid, "a payment of nothing");
    }
    let share = open(tx, now, party, currency)?;
    let (cash, taken) = (cash(currency), taken_by(party, currency));
    let (debit, credit) = match pay.kind {
        PayOutKind::Share => (share, cash),
        PayOutKind::HandOver => (cash, taken),
        PayOutKind::Offset => (share, taken),
    };
    Ok(NamedTransfer {
        id: Text(id),
        command: TransferCommand::Move {
            debit: Text(debit.id),
            credit: Text(credit.id),
            amount: pay.price.amount,
            note: pay.note.clone(),
        },
    })
}

fn currencies(store: &mut dyn Read, party: &str) -> Result<Vec<String>> {
    let rows = store.query(
        "SELECT currency FROM party_money WHERE party = $1 ORDER BY currency",
        params![party],
    )?;
    read_rows(&rows, |row| row.get(0))
}

fn money(store: &mut dyn Read, party: &str, currency: &str) -> Result<PartyMoney> {
    let shares = ledger::net(store, &share_of(party, currency))?;
    let taken = -ledger::net(store, &taken_by(party, currency))?;
    Ok(PartyMoney {
        party: party.to_owned(),
        currency: currency.to_owned(),
        shares,
        taken,
        due: shares.saturating_sub(taken),
    })
}

/// What is due to whom.
///
/// # Errors
/// The store's.
pub fn parties(store: &mut dyn Read) -> Result<Vec<PartyMoney>> {
    let rows = store.query(
        "SELECT party, currency FROM party_money ORDER BY party, currency",
        params![],
    )?;
    let known = read_rows(&rows, |row| {
        Ok((row.get::<String>(0)?, row.get::<String>(1)?))
    })?;
    let money = known
        .iter()
        .map(|(party, currency)| money(store, party, currency));
    money.collect()
}

/// What was booked for a party in a month.
///
/// # Errors
/// Not found: nobody of this name ever had a share. The store's.
pub fn statement(store: &mut dyn Read, party: &str, month: Month) -> Result<PartyStatement> {
    let known = currencies(store, party)?;
    if known.is_empty() {
        let detail = format!("nobody is called {party:?} who ever had a share");
        return refuse(Kind::NotFound, detail);
    }
    let currencies = known
        .iter()
        .map(|currency| statement_of(store, party, currency, month));
    Ok(PartyStatement {
        party: party.to_owned(),
        month,
        currencies: currencies.collect::<Result<_>>()?,
    })
}

fn statement_of(
    store: &mut dyn Read,
    party: &str,
    currency: &str,
    month: Month,
) -> Result<StatementOf> {
    let books = [share_of(party, currency).id, taken_by(party, currency).id];
    // What a transfer adds to what is due: both books are credited with what is due to the party.
    let adds = |made: &sealcast_objects::api::Transfer| {
        let amount = i64::try_from(made.amount).unwrap_or(i64::MAX);
        let side = |book| if books.contains(&book) { amount } else { 0 };
        side(made.credit.0) - side(made.debit.0)
    };
    let mut within = Vec::new();
    let mut later = 0_i64;
    for book in books {
        within.extend(ledger::between(store, book, month.start(), month.end())?);
        let made = ledger::between(store, book, month.end(), Timestamp(i64::MAX))?;
        // An offset is in both books, and adds nothing.
        later = made
            .iter()
            .fold(later, |sum, made| sum.saturating_add(adds(made)));
    }
    within.sort_by_key(|made| made.number);
    within.dedup_by_key(|made| made.number);
    let after = money(store, party, currency)?.due.saturating_sub(later);
    let booked = within.iter().map(adds).sum::<i64>();
    Ok(StatementOf {
        currency: currency.to_owned(),
        before: after.saturating_sub(booked),
        after,
        transfers: within,
    })
}
