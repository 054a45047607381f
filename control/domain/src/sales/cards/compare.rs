//! The provider, the payments and the ledger, side by side (SEC-27).

use std::collections::BTreeMap;

use sealcast_objects::api::{CardBook, CardCounts, CardDifference, CardState};

use super::Seen;
use super::payments;
use crate::ledger::net;
use crate::sales::cards;
use crate::{Read, Result, read_rows};

/// How an intent of the provider's list compares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listed {
    /// As the payment says.
    Even,
    /// Something differs.
    Differs(CardDifference),
}

/// How what the provider says compares with the payment that it is of.
///
/// # Errors
/// The store's.
pub fn difference(store: &mut dyn Read, seen: &Seen, purchase: &str) -> Result<Listed> {
    let differs = |what: String| {
        Ok(Listed::Differs(CardDifference {
            intent: seen.intent.clone(),
            purchase: purchase.to_owned(),
            what,
        }))
    };
    let payment = match seen.purchase {
        Some(id) => payments::find(store, id)?,
        None => None,
    };
    let Some(payment) = payment else {
        return match seen.net() {
            0 => Ok(Listed::Even),
            net => differs(format!(
                "a card paid {net} {} for a purchase that is not known here",
                seen.currency
            )),
        };
    };
    if payment.intent.as_ref() != Some(&seen.intent) {
        return match seen.net() {
            0 => Ok(Listed::Even),
            net => differs(format!(
                "a card paid {net} {} by an intent that is not the purchase's",
                seen.currency
            )),
        };
    }
    let should = match payment.state {
        CardState::Paid | CardState::Returning => payment.amount,
        CardState::Asked
        | CardState::Open
        | CardState::Returned
        | CardState::Canceled
        | CardState::Wrong => 0,
    };
    if seen.net() == should && payment.state != CardState::Wrong {
        return Ok(Listed::Even);
    }
    differs(format!(
        "the provider has {} of {}, the payment is {} and should have {should}",
        seen.net(),
        payment.amount,
        payment.state.name()
    ))
}

/// What the ledger has for cards in each currency, and what the payments say.
///
/// # Errors
/// The store's.
pub fn books(store: &mut dyn Read) -> Result<Vec<CardBook>> {
    // What a refund is still to give back is booked as given back already.
    let rows = store.query(
        "SELECT p.currency, CAST(SUM(CASE WHEN c.state = 'paid' OR (c.state = 'returning' AND p.state <> 'refunded') THEN p.amount ELSE 0 END) \
         AS BIGINT) FROM card_payment c JOIN purchase p ON p.id = c.purchase GROUP BY p.currency ORDER BY p.currency",
        &[],
    )?;
    let paid = read_rows(&rows, |row| Ok((row.get::<String>(0)?, row.get::<i64>(1)?)))?;
    let paid: BTreeMap<_, _> = paid.into_iter().collect();
    let mut books = Vec::new();
    for (currency, paid) in paid {
        let booked = -net(store, &cards(&currency))?;
        books.push(CardBook {
            currency,
            booked,
            paid,
        });
    }
    Ok(books)
}

/// How many payments stand where.
///
/// # Errors
/// The store's.
pub fn counts(store: &mut dyn Read) -> Result<CardCounts> {
    let mut count = |sql: &'static str| -> Result<u64> {
        let row = store.first(sql, &[])?;
        Ok(row.map_or(Ok(0), |row| row.get(0))?)
    };
    Ok(CardCounts {
        open: count("SELECT COUNT(*) FROM card_payment WHERE state IN ('asked', 'open')")?,
        returning: count("SELECT COUNT(*) FROM card_payment WHERE state = 'returning'")?,
        troubled: count("SELECT COUNT(*) FROM card_payment WHERE trouble IS NOT NULL")?,
        disputed: count("SELECT COUNT(*) FROM card_payment WHERE dispute = 'open'")?,
    })
}
