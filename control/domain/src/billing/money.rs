//! What an account has, may and owes. Its `balance` is what it paid before it buys. Its `line` is what it may buy before it pays, and `credit`
//! what is left of that. Of the balance, `reserved` is kept for what was used and is not billed yet. A bill may be more than is left: `overdrawn` then lends the rest, until the next payment. So it owes what its credit
//! lacks to line and overdrawn together, whether it bought by invoice or was billed.

use sealcast_objects::AccountId;
use sealcast_objects::TransferId;
use sealcast_objects::api::{
    AccountMoney, Money, NamedTransfer, Pay, PaymentKind, TransferCommand,
};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use super::reserved;
use crate::catalogue::check_price;
use crate::ledger::{self, Bound, Command, NewBook, NewTransfer, book, hash, net, sums};
use crate::sales::{balance, credit};
use crate::{Read, Result, Tx, accounts, params, read_rows, refuse};

/// Money that came in, and went out.
#[must_use]
pub fn cash(currency: &str) -> NewBook {
    book("cash", "", currency, Bound::Free)
}

/// What an account may buy before it pays.
#[must_use]
pub fn line(account: AccountId, currency: &str) -> NewBook {
    book("line", &account.text(), currency, Bound::Free)
}

/// What an account was billed beyond what it may buy before it pays.
pub(super) fn overdrawn(account: AccountId, currency: &str) -> NewBook {
    book("overdrawn", &account.text(), currency, Bound::Free)
}

/// Bills, between whom they are paid by and what they are for: nothing stays there.
#[must_use]
pub fn billed(currency: &str) -> NewBook {
    book("billed", "", currency, Bound::Free)
}

/// Tax that is to be passed on.
#[must_use]
pub fn tax(currency: &str) -> NewBook {
    book("tax", "", currency, Bound::Free)
}

/// Notes that an account has money in this currency, or may, and opens its books.
pub(super) fn open(
    tx: &mut dyn Tx,
    now: Timestamp,
    account: AccountId,
    currency: &str,
) -> Result<()> {
    tx.execute(
        "INSERT INTO account_money (account, currency) VALUES ($1, $2) ON CONFLICT (account, currency) DO NOTHING",
        params![account.to_bytes(), currency],
    )?;
    let books = [
        balance(account, currency),
        credit(account, currency),
        line(account, currency),
        overdrawn(account, currency),
        cash(currency),
    ];
    for book in &books {
        ledger::open(tx, now, book)?;
    }
    Ok(())
}

/// What was lent for bills goes back as far as there is credit again: it is not for buying more.
///
/// # Errors
/// The store's.
pub(crate) fn even(
    tx: &mut dyn Tx,
    now: Timestamp,
    account: AccountId,
    currency: &str,
) -> Result<()> {
    let overdrawn = overdrawn(account, currency);
    let (lent, back) = sums(tx, &overdrawn)?;
    if lent <= back {
        return Ok(());
    }
    let credit = credit(account, currency);
    let (used, credited) = sums(tx, &credit)?;
    let amount = (lent - back).min(credited - used);
    if amount <= 0 {
        return Ok(());
    }
    // Each time, more had been lent or less had been given back before.
    let words = [
        &account.text(),
        currency,
        &lent.to_string(),
        &back.to_string(),
    ];
    let new = NewTransfer {
        id: TransferId(hash(&[&["transfer", "even"][..], &words[..]].concat())),
        command: Command::Move {
            debit: credit.id,
            credit: overdrawn.id,
            amount: amount.unsigned_abs(),
        },
        note: "paid what bills had overdrawn".to_owned(),
    };
    ledger::transfer(tx, now, &new)?;
    Ok(())
}

/// The transfer that a payment is, between books that are open then.
///
/// # Errors
/// Not found: the account. Invalid: the currency, nothing to pay. The store's.
pub fn pay(
    tx: &mut dyn Tx,
    now: Timestamp,
    (account, id): (AccountId, TransferId),
    pay: &Pay,
) -> Result<NamedTransfer> {
    accounts::get(tx, account)?;
    check_price(&pay.price)?;
    if pay.price.amount == 0 {
        return refuse(Kind::Invalid, "a payment of nothing");
    }
    let currency = pay.price.currency.as_str();
    open(tx, now, account, currency)?;
    even(tx, now, account, currency)?;
    let (cash, line) = (cash(currency), line(account, currency));
    let (balance, credit) = (balance(account, currency), credit(account, currency));
    let (from, to) = match pay.kind {
        PaymentKind::PayIn => (cash, balance),
        PaymentKind::PayOut => (balance, cash),
        PaymentKind::PayBill => (cash, credit),
        PaymentKind::Lend => (line, credit),
        PaymentKind::TakeBack => (credit, line),
    };
    Ok(NamedTransfer {
        id: Text(id),
        command: TransferCommand::Move {
            debit: Text(from.id),
            credit: Text(to.id),
            amount: pay.price.amount,
            note: pay.note.clone(),
        },
    })
}

/// What an account has in one currency.
pub(super) fn in_currency(
    store: &mut dyn Read,
    account: AccountId,
    currency: &str,
) -> Result<Money> {
    let balance = net(store, &balance(account, currency))?.max(0);
    let credit = net(store, &credit(account, currency))?;
    let line = -net(store, &line(account, currency))?;
    let overdrawn = -net(store, &overdrawn(account, currency))?;
    Ok(Money {
        currency: currency.to_owned(),
        balance: balance.unsigned_abs(),
        reserved: reserved::held(store, account, currency)?,
        line: line.max(0).unsigned_abs(),
        credit: (credit - overdrawn).max(0).unsigned_abs(),
        owed: line + overdrawn - credit,
    })
}

/// What an account has, in each currency.
///
/// # Errors
/// Not found: the account. The store's.
pub fn of_account(store: &mut dyn Read, account: AccountId) -> Result<AccountMoney> {
    accounts::get(store, account)?;
    let rows = store.query(
        "SELECT currency FROM account_money WHERE account = $1 ORDER BY currency",
        params![account.to_bytes()],
    )?;
    let currencies = read_rows(&rows, |row| row.get::<String>(0))?;
    let money = currencies
        .iter()
        .map(|currency| in_currency(store, account, currency));
    Ok(AccountMoney {
        money: money.collect::<Result<_>>()?,
    })
}
