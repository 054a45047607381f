//! Settlement: the money of a purchase, once its device has the certificates; and back.

use sealcast_objects::PurchaseId;
use sealcast_objects::api::{CertificateState, Method, Purchase, PurchaseState};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::licence::{EndReason, Validity};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use super::purchases::{self, set, set_certificates};
use super::{Step, all_grants, balance, cards, credit, grants_of, income, taken_by};
use crate::accounts::Floor;
use crate::billing::money;
use crate::catalogue::check_text;
use crate::ledger::{self, Command, Done, NewBook, NewTransfer};
use crate::shares::{self, Income};
use crate::{Error, Result, Tx, licences, params, refuse};

/// Where the money of a purchase comes from.
fn source(of: &Purchase) -> NewBook {
    let (account, currency) = (of.account.0, of.price.currency.as_str());
    match of.method {
        Method::Balance => balance(account, currency),
        Method::Invoice => credit(account, currency),
        Method::Card => cards(currency),
        Method::Shop => taken_by(of.shop.as_deref().unwrap_or_default(), currency),
    }
}

/// Whether the house settles it by its own books.
fn is_inside(method: Method) -> bool {
    matches!(method, Method::Balance | Method::Invoice)
}

pub(super) fn moves(
    tx: &mut dyn Tx,
    now: Timestamp,
    (step, of): (Step, PurchaseId),
    (debit, credit): (&NewBook, &NewBook),
    amount: u64,
) -> Result<()> {
    for book in [debit, credit] {
        ledger::open(tx, now, book)?;
    }
    if amount == 0 {
        return Ok(());
    }
    let new = NewTransfer {
        id: step.of(of),
        command: Command::Move {
            debit: debit.id,
            credit: credit.id,
            amount,
        },
        note: format!("{} {}", step.name(), of.text()),
    };
    ledger::transfer(tx, now, &new)?;
    Ok(())
}

/// What is settled inside is settled now: from a balance, by invoice, and what costs nothing. What others settle waits for their word; of
/// what a card is to pay it is written down that the provider is to be asked.
///
/// # Errors
/// As [`complete`].
pub fn begin(tx: &mut dyn Tx, now: Timestamp, id: PurchaseId) -> Result<Purchase> {
    let purchase = purchases::get(tx, id)?;
    let inside = is_inside(purchase.method) || purchase.price.amount == 0;
    if purchase.state == PurchaseState::Received && inside {
        complete(tx, now, id)?;
        return purchases::get(tx, id);
    }
    if purchase.state == PurchaseState::Received && purchase.method == Method::Card {
        cards::begin(tx, now, &purchase)?;
        return purchases::get(tx, id);
    }
    Ok(purchase)
}

/// The purchase is paid: its certificates get their grants (PC-05, PC-06). A balance or credit that is too small makes it fail
/// (PC-33), and so does a word that comes too late: whoever took the money then gives it back, as the purchase's state says.
///
/// # Errors
/// Not found. Conflict: nobody said that it arrived (PC-19), or it ended otherwise. The store's.
pub fn complete(tx: &mut dyn Tx, now: Timestamp, id: PurchaseId) -> Result<Done> {
    let purchase = purchases::get(tx, id)?;
    match purchase.state {
        PurchaseState::Settled => return Ok(Done::Before),
        PurchaseState::Received => {}
        PurchaseState::Sent => {
            let detail = format!(
                "the device has not said yet that it has {}: nothing is settled before",
                purchase.id
            );
            return refuse(Kind::Conflict, detail);
        }
        other => return over(&purchase, other),
    }
    let late = |settle_by: Timestamp| settle_by <= now;
    if purchase.certificates.iter().any(|of| late(of.settle_by)) {
        let why = "it was not settled in time";
        fail(tx, now, id, why)?;
        return Ok(Done::Now);
    }
    let inside = is_inside(purchase.method);
    let (source, income) = (source(&purchase), income(&purchase.price.currency));
    let currency = &purchase.price.currency;
    if purchase.method == Method::Invoice {
        money::even(tx, now, purchase.account.0, currency)?;
    }
    if let Some(shop) = &purchase.shop {
        // What it takes is due to the house, whether it has a share or not.
        shares::open(tx, now, shop, currency)?;
    }
    let paid = moves(
        tx,
        now,
        (Step::Settle, id),
        (&source, &income),
        purchase.price.amount,
    );
    match paid {
        Err(Error::Refused(problem)) if inside && problem.kind == Kind::Conflict => {
            let price = &purchase.price;
            let why = format!(
                "the {} is too small for {} {}",
                if purchase.method == Method::Balance {
                    "balance"
                } else {
                    "credit"
                },
                price.amount,
                price.currency
            );
            fail(tx, now, id, &why)?;
            return Ok(Done::Now);
        }
        other => other?,
    }
    divide(tx, now, &purchase, 1)?;
    let [sold, _] = all_grants();
    for certificate in &purchase.certificates {
        let grants = grants_of(certificate.id.0);
        for book in [&sold, &grants] {
            ledger::open(tx, now, book)?;
        }
        let new = NewTransfer {
            id: Step::Grants.of(certificate.id.0),
            command: Command::Move {
                debit: sold.id,
                credit: grants.id,
                amount: certificate.grants.into(),
            },
            note: format!("grants of {}", certificate.id),
        };
        ledger::transfer(tx, now, &new)?;
        tx.execute(
            "UPDATE purchase_certificate SET state = 'settled', granted = grants WHERE id = $1",
            params![certificate.id.0.to_bytes()],
        )?;
    }
    set(tx, now, id, PurchaseState::Settled, None)?;
    Ok(Done::Now)
}

/// Others get their shares of what was paid (CM-56), or give them back.
fn divide(tx: &mut dyn Tx, now: Timestamp, purchase: &Purchase, sign: i64) -> Result<()> {
    for (certificate, split, amount) in purchases::splits(tx, purchase.id.0)? {
        let income = Income {
            of: &certificate.text(),
            currency: &purchase.price.currency,
            amount: sign * i64::try_from(amount).unwrap_or(i64::MAX),
        };
        shares::divide(tx, now, &split, income)?;
    }
    Ok(())
}

fn over<T>(purchase: &Purchase, state: PurchaseState) -> Result<T> {
    let why = purchase.reason.as_deref().unwrap_or("it is over");
    let detail = format!("{} is {} ({why}): buy it again", purchase.id, state.name());
    refuse(Kind::Conflict, detail)
}

/// The purchase cannot be paid; its certificates count for nothing (PC-33).
///
/// # Errors
/// Not found. Conflict: it was paid. Invalid: the reason. The store's.
pub fn fail(tx: &mut dyn Tx, now: Timestamp, id: PurchaseId, why: &str) -> Result<Done> {
    let purchase = purchases::get(tx, id)?;
    match purchase.state {
        PurchaseState::Failed | PurchaseState::Expired => return Ok(Done::Before),
        PurchaseState::Sent | PurchaseState::Received => {}
        other => return over(&purchase, other),
    }
    check_text("a reason", why, 1..=200)?;
    set(tx, now, id, PurchaseState::Failed, Some(why))?;
    set_certificates(tx, id, CertificateState::Expired)?;
    Ok(Done::Now)
}

/// The purchase is paid back: its licences end, and no others are had for it. What the key doors must be told.
///
/// # Errors
/// Not found. Conflict: it is not paid. Invalid: the reason. The store's.
pub fn refund(
    tx: &mut dyn Tx,
    now: Timestamp,
    id: PurchaseId,
    why: &str,
) -> Result<(Done, Vec<Floor>)> {
    let purchase = purchases::get(tx, id)?;
    match purchase.state {
        PurchaseState::Refunded => return Ok((Done::Before, Vec::new())),
        PurchaseState::Settled => {}
        other => {
            let detail = format!(
                "{} is {}: there is nothing to pay back",
                Text(id),
                other.name()
            );
            return refuse(Kind::Conflict, detail);
        }
    }
    check_text("a reason", why, 1..=200)?;
    let (source, income) = (source(&purchase), income(&purchase.price.currency));
    moves(
        tx,
        now,
        (Step::Refund, id),
        (&income, &source),
        purchase.price.amount,
    )?;
    divide(tx, now, &purchase, -1)?;
    let mut floors = Vec::new();
    for certificate in &purchase.certificates {
        for licence in licences::of_origin(tx, &certificate.id.to_string())? {
            if licence.validity != Validity::Invalid {
                let reason = Some(EndReason::Refunded);
                floors.extend(licences::set(
                    tx,
                    now,
                    licence.id.0,
                    Validity::Invalid,
                    reason,
                )?);
            }
        }
    }
    set_certificates(tx, id, CertificateState::Refunded)?;
    set(tx, now, id, PurchaseState::Refunded, Some(why))?;
    if purchase.method == Method::Card {
        cards::give_back(tx, now, id)?;
    }
    Ok((Done::Now, floors))
}
