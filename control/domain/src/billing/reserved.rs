//! What accounts that pay from their balance used and is not billed yet: reserved in the balance, day by day, so that nothing else is bought with it.
//! One reservation for an account and currency at a time; a bill ends it, is paid, and what is left of it is reserved anew.

use std::collections::BTreeMap;

use sealcast_objects::api::Paying;
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::month::Month;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, TransferId};

use super::bills::{Kept, gather_one};
use super::months::{self, Pending};
use super::{money, tariffs};
use crate::ledger::{self, Command, NewTransfer, hash};
use crate::sales::balance;
use crate::{Read, Result, Tx, params, read_rows};

/// What is to be reserved for an account: in each currency that much; in all others nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    account: AccountId,
    /// The first month that is not billed, when this was computed.
    since: Option<Month>,
    amounts: BTreeMap<String, u64>,
}

impl Wanted {
    /// Whose.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.account
    }
}

/// A balance that is smaller than what was used: told once, until it was enough again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsedUp {
    /// Whose.
    pub account: AccountId,
    /// Three letters (ISO 4217).
    pub currency: String,
    /// So much is lacking, in minor units.
    pub lacks: u64,
}

/// The next accounts with tariffs, in the order of their ids, and what is to be reserved for each; fewer than `most`: these are the last.
///
/// # Errors
/// The store's.
pub fn gather(
    store: &mut dyn Read,
    now: Timestamp,
    after: Option<AccountId>,
    most: u32,
    kept: &mut Kept,
) -> Result<Vec<Wanted>> {
    let rows = store.query(
        "SELECT DISTINCT account FROM account_tariff WHERE month <= $1 AND account > $2 ORDER BY account LIMIT $3",
        params![
            Month::of(now).number(),
            after.map_or([0; 16], AccountId::to_bytes),
            most
        ],
    )?;
    let accounts = read_rows(&rows, |row| Ok(AccountId::from_bytes(row.get(0)?)))?;
    let wanted = |account| wanted(store, now, account, kept);
    accounts.into_iter().map(wanted).collect()
}

/// The first month of which an account has no bill, and may get one.
fn first_unbilled(store: &mut dyn Read, account: AccountId) -> Result<Option<Month>> {
    Ok(match months::pending(store)? {
        Some(Pending { month, done_to, .. }) if done_to.is_some_and(|to| account <= to) => {
            Some(month.next())
        }
        Some(Pending { month, .. }) => Some(month),
        None => match months::last(store)? {
            Some(closed) => Some(closed.next()),
            None => tariffs::first_month(store)?,
        },
    })
}

fn wanted(
    store: &mut dyn Read,
    now: Timestamp,
    account: AccountId,
    kept: &mut Kept,
) -> Result<Wanted> {
    let assigned = tariffs::of_account(store, account)?;
    let since = first_unbilled(store, account)?;
    let mut amounts = BTreeMap::<String, u64>::new();
    let mut month = since;
    while let Some(of) = month.filter(|month| *month <= Month::of(now)) {
        let pays = tariffs::in_month(&assigned, of).map(|has| has.paying);
        if pays == Some(Paying::Balance) {
            let bill = gather_one(store, account, of, kept)?.compute((of, 0, now), 0);
            let sum = amounts.entry(bill.currency).or_default();
            *sum = sum.saturating_add(u64::try_from(bill.gross).unwrap_or(0));
        }
        month = Some(of.next());
    }
    Ok(Wanted {
        account,
        since,
        amounts,
    })
}

/// Reserves what is wanted, as far as balances go; those that were enough the last time and are not now. What was billed meanwhile is left for the
/// next time.
///
/// # Errors
/// The store's.
pub fn reserve(tx: &mut dyn Tx, now: Timestamp, wanted: &[Wanted]) -> Result<Vec<UsedUp>> {
    let mut used_up = Vec::new();
    for of in wanted {
        if first_unbilled(tx, of.account)? != of.since {
            continue;
        }
        let rows = tx.query(
            "SELECT currency FROM account_money WHERE account = $1",
            params![of.account.to_bytes()],
        )?;
        let known = read_rows(&rows, |row| row.get::<String>(0))?;
        let mut amounts = of.amounts.clone();
        for currency in known {
            amounts.entry(currency).or_insert(0);
        }
        for (currency, amount) in amounts {
            used_up.extend(reserve_one(tx, now, (of.account, &currency), amount)?);
        }
    }
    Ok(used_up)
}

/// In one currency.
fn reserve_one(
    tx: &mut dyn Tx,
    now: Timestamp,
    (account, currency): (AccountId, &str),
    wanted: u64,
) -> Result<Option<UsedUp>> {
    if wanted > 0 {
        money::open(tx, now, account, currency)?;
    }
    let Some(State {
        held,
        lacks: lacked,
        ..
    }) = State::of(tx, account, currency)?
    else {
        return Ok(None);
    };
    let free = money::in_currency(tx, account, currency)?.balance;
    let amount = wanted.min(free.saturating_add(held));
    if amount != held {
        release(tx, now, account, currency)?;
        set(tx, now, (account, currency), amount)?;
    }
    let lacks = wanted - amount;
    if lacks != lacked {
        tx.execute(
            "UPDATE account_money SET lacks = $1 WHERE account = $2 AND currency = $3",
            params![lacks, account.to_bytes(), currency],
        )?;
    }
    Ok((lacks > 0 && lacked == 0).then(|| UsedUp {
        account,
        currency: currency.to_owned(),
        lacks,
    }))
}

/// What is known of an account in a currency.
struct State {
    /// Reservations that there were: the last of them may be open.
    count: u64,
    /// What it holds.
    held: u64,
    lacks: u64,
}

impl State {
    fn of(store: &mut dyn Read, account: AccountId, currency: &str) -> Result<Option<Self>> {
        let row = store.first(
            "SELECT reservations, lacks FROM account_money WHERE account = $1 AND currency = $2",
            params![account.to_bytes(), currency],
        )?;
        let Some(row) = row else { return Ok(None) };
        let count = row.get(0)?;
        let last = id("usage reserved", account, currency, count);
        Ok(Some(Self {
            count,
            held: ledger::reserved_by(store, last)?.unwrap_or(0),
            lacks: row.get(1)?,
        }))
    }
}

fn id(what: &str, account: AccountId, currency: &str, count: u64) -> TransferId {
    let words = [
        "transfer",
        what,
        &account.text(),
        currency,
        &count.to_string(),
    ];
    TransferId(hash(&words))
}

/// What is reserved for what an account used.
pub(super) fn held(store: &mut dyn Read, account: AccountId, currency: &str) -> Result<u64> {
    Ok(State::of(store, account, currency)?.map_or(0, |known| known.held))
}

/// Ends what is reserved; how much that was.
pub(super) fn release(
    tx: &mut dyn Tx,
    now: Timestamp,
    account: AccountId,
    currency: &str,
) -> Result<u64> {
    let known = State::of(tx, account, currency)?;
    let Some(known) = known.filter(|known| known.held > 0) else {
        return Ok(0);
    };
    let new = NewTransfer {
        id: id("usage released", account, currency, known.count),
        command: Command::Void {
            of: id("usage reserved", account, currency, known.count),
        },
        note: String::new(),
    };
    ledger::transfer(tx, now, &new)?;
    Ok(known.held)
}

/// Reserves that much where nothing is reserved; it is there, in books that are open.
pub(super) fn set(
    tx: &mut dyn Tx,
    now: Timestamp,
    (account, currency): (AccountId, &str),
    amount: u64,
) -> Result<()> {
    if amount == 0 {
        return Ok(());
    }
    let (balance, billed) = (balance(account, currency), money::billed(currency));
    ledger::open(tx, now, &billed)?;
    let count = State::of(tx, account, currency)?.map_or(0, |known| known.count) + 1;
    let new = NewTransfer {
        id: id("usage reserved", account, currency, count),
        command: Command::Reserve {
            debit: balance.id,
            credit: billed.id,
            amount,
            life: None,
        },
        note: format!("what {} used and is not billed yet", Text(account)),
    };
    ledger::transfer(tx, now, &new)?;
    tx.execute(
        "UPDATE account_money SET reservations = $1 WHERE account = $2 AND currency = $3",
        params![count, account.to_bytes(), currency],
    )?;
    Ok(())
}
