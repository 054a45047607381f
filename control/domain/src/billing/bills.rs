//! Bills: gathered and computed while the store is read, booked when it is written.

use std::collections::BTreeMap;

use sealcast_objects::api::{
    AccountTariff, Bill, Charge, LicenceRecord, Paying, Tariff, Transfer, UsageRow,
};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::month::Month;
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, BillId, TransferId};

use super::compute::{self, Basis};
use super::months::{self, Pending};
use super::{charges, money, reserved, tariffs};
use crate::ledger::{self, Command, NewBook, NewTransfer, hash};
use crate::metering::{self, Sent};
use crate::sales::{balance, credit, income};
use crate::shares::{self, Income};
use crate::{Read, Result, StoreError, Tx, licences, params, read_rows, refuse};

/// Steps of a bill that book something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// From the balance.
    Paid,
    /// What the credit lacks.
    Overdrawn,
    /// From the credit.
    Owed,
    /// What is charged.
    Net,
    /// The tax on it.
    Tax,
}

impl Step {
    /// As in the notes of transfers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Paid => "bill paid",
            Self::Overdrawn => "bill overdrawn",
            Self::Owed => "bill owed",
            Self::Net => "bill net",
            Self::Tax => "bill tax",
        }
    }

    /// The one transfer of this step of a bill.
    #[must_use]
    pub fn of(self, bill: BillId) -> TransferId {
        TransferId(hash(&["transfer", self.name(), &bill.text()]))
    }
}

/// What an account's bill is made of, but for its number and its balance: it does not change any more.
#[derive(Clone, Debug)]
pub struct Gathered {
    account: AccountId,
    tariff: Tariff,
    paying: Paying,
    usage: Vec<UsageRow>,
    licences: Vec<LicenceRecord>,
    charges: Vec<Charge>,
    booked: Vec<Transfer>,
}

/// What is kept from one batch of accounts to the next: what a closed month sent, and tariffs.
#[derive(Debug, Default)]
pub struct Kept {
    sent: Sent,
    tariffs: BTreeMap<String, Tariff>,
}

impl Kept {
    fn tariff(&mut self, store: &mut dyn Read, name: &str) -> Result<Tariff> {
        if let Some(known) = self.tariffs.get(name) {
            return Ok(known.clone());
        }
        let tariff = tariffs::get(store, name)?;
        self.tariffs.insert(name.to_owned(), tariff.clone());
        Ok(tariff)
    }
}

/// A batch of accounts with tariffs, in the order of their ids; fewer than `most`: these are the last.
///
/// # Errors
/// The store's.
pub fn gather(
    store: &mut dyn Read,
    pending: Pending,
    most: u32,
    kept: &mut Kept,
) -> Result<Vec<Gathered>> {
    let rows = store.query(
        "SELECT DISTINCT account FROM account_tariff WHERE month <= $1 AND account > $2 ORDER BY account LIMIT $3",
        params![
            pending.month.number(),
            pending.done_to.map_or([0; 16], AccountId::to_bytes),
            most
        ],
    )?;
    let accounts = read_rows(&rows, |row| Ok(AccountId::from_bytes(row.get(0)?)))?;
    let gather = |account| gather_one(store, account, pending.month, kept);
    accounts.into_iter().map(gather).collect()
}

/// What one account's bill is made of.
///
/// # Errors
/// Not found: the account, or it has no tariff in this month. The store's.
pub(super) fn gather_one(
    store: &mut dyn Read,
    account: AccountId,
    month: Month,
    kept: &mut Kept,
) -> Result<Gathered> {
    let assigned = tariffs::of_account(store, account)?;
    let Some(AccountTariff { tariff, paying, .. }) = tariffs::in_month(&assigned, month) else {
        let detail = format!(
            "account {} has no tariff in {month}: it is not billed",
            Text(account)
        );
        return refuse(Kind::NotFound, detail);
    };
    let tariff = kept.tariff(store, tariff)?;
    let currency = tariff.terms.currency.clone();
    let mut booked = Vec::new();
    for book in [balance(account, &currency), credit(account, &currency)] {
        booked.extend(ledger::between(store, book.id, month.start(), month.end())?);
    }
    booked.sort_by_key(|made| made.number);
    Ok(Gathered {
        account,
        paying: *paying,
        usage: metering::of_account(store, account, month, &mut kept.sent)?,
        licences: licences::held(store, account, month.start(), month.end())?,
        charges: charges::of_month(store, account, month)?,
        booked,
        tariff,
    })
}

/// What the bill of the month of `now` would be, if nothing more was used and licences stayed as they are; its number is 0. Nothing is booked.
///
/// # Errors
/// Not found: the account, or it has no tariff. The store's.
pub fn preview(store: &mut dyn Read, now: Timestamp, account: AccountId) -> Result<Bill> {
    let month = Month::of(now);
    let of = gather_one(store, account, month, &mut Kept::default())?;
    let money = money::in_currency(store, account, &of.tariff.terms.currency)?;
    Ok(of.compute(
        (month, 0, now),
        money.balance.saturating_add(money.reserved),
    ))
}

/// A bill again, from what it was made of: what it is now must be what it was then.
pub(super) fn again(store: &mut dyn Read, known: &Bill, kept: &mut Kept) -> Result<Bill> {
    let of = gather_one(store, known.account.0, known.month, kept)?;
    let paid = u64::try_from(known.from_balance).unwrap_or(0);
    Ok(of.compute((known.month, known.number, known.issued), paid))
}

/// What each step of a bill moves, the other way round below 0; but for what is overdrawn, which depends on what was left then.
#[must_use]
pub fn steps(bill: &Bill) -> [(Step, i64); 4] {
    [
        (Step::Paid, bill.from_balance),
        (Step::Owed, bill.gross - bill.from_balance),
        (Step::Net, bill.net),
        (Step::Tax, bill.tax),
    ]
}

impl Gathered {
    /// The bill, of this number, made then.
    pub(super) fn compute(
        &self,
        (month, number, issued): (Month, u64, Timestamp),
        balance: u64,
    ) -> Bill {
        compute::bill(&Basis {
            account: self.account,
            month,
            number,
            issued,
            tariff: &self.tariff,
            paying: self.paying,
            usage: &self.usage,
            licences: &self.licences,
            charges: &self.charges,
            booked: &self.booked,
            balance,
        })
    }
}

/// Makes the bills of a batch, of which nothing was billed before; `last`: there are no more accounts. Returns how many bills there are.
///
/// # Errors
/// Conflict: somebody else makes these bills. The store's.
pub fn make(
    tx: &mut dyn Tx,
    now: Timestamp,
    pending: Pending,
    (gathered, last): (&[Gathered], bool),
) -> Result<u64> {
    if months::pending(tx)? != Some(pending) {
        let detail = format!("bills of {} are made by somebody else", pending.month);
        return refuse(Kind::Conflict, detail);
    }
    let mut number = last_number(tx)?;
    let first = number;
    for of in gathered {
        let currency = &of.tariff.terms.currency;
        let held = reserved::release(tx, now, of.account, currency)?;
        let balance = money::in_currency(tx, of.account, currency)?.balance;
        let bill = of.compute((pending.month, number + 1, now), balance);
        let mut paid = 0;
        if !(bill.lines.is_empty() && bill.purchases.is_empty()) {
            insert(tx, &bill)?;
            book(tx, now, &bill)?;
            paid = u64::try_from(bill.from_balance).unwrap_or(0);
            if let Some(split) = &of.tariff.terms.split {
                let income = Income {
                    of: &bill.id.to_string(),
                    currency,
                    amount: bill.net,
                };
                shares::divide(tx, now, split, income)?;
            }
            number += 1;
        }
        // For the months that are not billed yet.
        reserved::set(tx, now, (of.account, currency), held.saturating_sub(paid))?;
    }
    let to = gathered.last().map(|of| of.account).filter(|_| !last);
    months::done(tx, now, pending.month, to, number - first)?;
    Ok(number - first)
}

fn last_number(tx: &mut dyn Tx) -> Result<u64> {
    let row = tx.first("SELECT MAX(number) FROM bill", params![])?;
    let number: Option<u64> = row.map(|row| row.get(0)).transpose()?.flatten();
    Ok(number.unwrap_or(0))
}

/// A bill as it is kept and given out.
///
/// # Errors
/// It cannot be written: never.
pub fn to_bytes(bill: &Bill) -> Result<Vec<u8>> {
    let bytes = serde_json::to_vec(bill);
    Ok(bytes.map_err(|error| StoreError::Damaged(format!("a bill: {error}")))?)
}

fn insert(tx: &mut dyn Tx, bill: &Bill) -> Result<()> {
    let remind_at = (bill.due > 0).then_some(bill.pay_by.0);
    tx.execute(
        "INSERT INTO bill (id, number, account, month, currency, gross, due, issued, pay_by, reminders, remind_at, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11)",
        params![
            bill.id.0.to_bytes(),
            bill.number,
            bill.account.0.to_bytes(),
            bill.month.number(),
            bill.currency.as_str(),
            bill.gross,
            bill.due,
            bill.issued.0,
            bill.pay_by.0,
            remind_at,
            to_bytes(bill)?
        ],
    )?;
    Ok(())
}

/// Moves that much, the other way round if it is below 0.
fn moves(
    tx: &mut dyn Tx,
    now: Timestamp,
    (step, bill): (Step, &Bill),
    (debit, credit): (&NewBook, &NewBook),
    amount: i64,
) -> Result<()> {
    if amount == 0 {
        return Ok(());
    }
    let (debit, credit) = if amount > 0 {
        (debit, credit)
    } else {
        (credit, debit)
    };
    let new = NewTransfer {
        id: step.of(bill.id.0),
        command: Command::Move {
            debit: debit.id,
            credit: credit.id,
            amount: amount.unsigned_abs(),
        },
        note: format!("{} {}", step.name(), bill.id),
    };
    ledger::transfer(tx, now, &new)?;
    Ok(())
}

/// What is charged is taken from the balance, as far as it goes, and owed for the rest: from the credit, and where that lacks, it is overdrawn,
/// for what was used is owed whatever may be bought.
fn book(tx: &mut dyn Tx, now: Timestamp, bill: &Bill) -> Result<()> {
    let (account, currency) = (bill.account.0, bill.currency.as_str());
    money::open(tx, now, account, currency)?;
    money::even(tx, now, account, currency)?;
    let (billed, income, tax) = (
        money::billed(currency),
        income(currency),
        money::tax(currency),
    );
    for book in [&billed, &income, &tax] {
        ledger::open(tx, now, book)?;
    }
    let (balance, credit) = (balance(account, currency), credit(account, currency));
    let overdrawn = money::overdrawn(account, currency);
    let owed = bill.gross - bill.from_balance;
    let left = money::in_currency(tx, account, currency)?.credit;
    let lacks = owed.saturating_sub(i64::try_from(left).unwrap_or(i64::MAX));
    let overdraws = (Step::Overdrawn, lacks.max(0));
    for (step, amount) in [overdraws].into_iter().chain(steps(bill)) {
        let between = match step {
            Step::Paid => (&balance, &billed),
            Step::Overdrawn => (&overdrawn, &credit),
            Step::Owed => (&credit, &billed),
            Step::Net => (&billed, &income),
            Step::Tax => (&billed, &tax),
        };
        moves(tx, now, (step, bill), between, amount)?;
    }
    Ok(())
}

/// A bill, as it was made: its canonical bytes. `of`: only if it is this account's.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, id: BillId, of: Option<AccountId>) -> Result<Vec<u8>> {
    let row = store.first(
        "SELECT body FROM bill WHERE id = $1 AND (account = $2 OR $2 IS NULL)",
        params![id.to_bytes(), of.map(AccountId::to_bytes)],
    )?;
    match row {
        Some(row) => Ok(row.get(0)?),
        None => refuse(Kind::NotFound, format!("there is no bill {}", Text(id))),
    }
}
