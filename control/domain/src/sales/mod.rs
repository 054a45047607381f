//! Sales: offers, purchases and their certificates, settlement, grants (requirements 5). Money and grants are the ledger's.
//!
//! ```text
//!             notice of the device                      settled
//!   sent ------------------------> received -----------------------> settled --> refunded
//!    |                                |  cannot be paid, or too late      |
//!    +--> expired                     +--> failed                        licences: reserve, issue, notice, post
//! ```
//!
//! Each step is told what it must be once: the same again changes nothing and has the same answer, and what comes too late is refused. So any
//! message may be lost or doubled. What a step needs of others (signatures, cards, shops) is done by whoever drives it, between steps.
//!
//! | file | what |
//! |---|---|
//! | `offers.rs` | what is sold |
//! | `purchases.rs` | what was bought: containers, certificates, reception notices, their ends |
//! | `settle.rs` | money: from a balance, by invoice, by card, by a shop; and back |
//! | `cards/` | payments by card: what a card provider is asked for, and what its answers come to |
//! | `restore.rs` | certificates that count again, by an operator's word |
//! | `grants.rs` | licences for certificates: reserved when they are issued, counted when the device has them |

pub mod cards;
pub mod grants;
pub mod offers;
pub mod purchases;
pub mod restore;
pub mod settle;

use std::time::Duration;

use sealcast_objects::api::{Price, Transfer};
use sealcast_objects::id::{Id, Text};
use sealcast_objects::{AccountId, CertificateId, PurchaseId, TransferId};

use crate::ledger::{Bound, NewBook, book, hash};

/// How long things may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lives {
    /// From sending certificates to the notice that they arrived (PC-25).
    pub receive: Duration,
    /// From making a certificate to its settlement (PC-14); longer than `receive`.
    pub settle: Duration,
    /// From issuing a licence to the notice that it arrived.
    pub grant: Duration,
}

impl Default for Lives {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            receive: HOUR / 4,
            settle: 24 * HOUR,
            grant: HOUR,
        }
    }
}

/// What transfers of sales are named after, besides the id of what they are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Settle,
    Refund,
    /// A card paid what counts no more.
    Unclaimed,
    /// It has it back.
    Returned,
    Grants,
    Grant,
    Granted,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::Refund => "refund",
            Self::Unclaimed => "unclaimed",
            Self::Returned => "returned",
            Self::Grants => "grants",
            Self::Grant => "grant",
            Self::Granted => "granted",
        }
    }

    /// The one transfer of this step for `of`.
    fn of(self, of: impl Id) -> TransferId {
        TransferId(hash(&["transfer", self.name(), &of.text()]))
    }
}

/// What a transfer of an account's books was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Booked {
    /// A purchase was paid.
    Bought(PurchaseId),
    /// It was paid back.
    PaidBack(PurchaseId),
}

/// What a transfer was for, if it was for a purchase: its note says which, and its id proves it.
#[must_use]
pub fn booked(made: &Transfer) -> Option<Booked> {
    let (step, of) = made.note.split_once(' ')?;
    let Text(of) = of.parse::<Text<PurchaseId>>().ok()?;
    let known = [
        (Step::Settle, Booked::Bought(of)),
        (Step::Refund, Booked::PaidBack(of)),
    ];
    let (_, booked) =
        (known.into_iter()).find(|(known, _)| known.name() == step && known.of(of) == made.id.0)?;
    Some(booked)
}

/// What an account has paid before it buys; money comes in as credit, and it cannot be spent beyond that.
#[must_use]
pub fn balance(account: AccountId, currency: &str) -> NewBook {
    book(
        "balance",
        &account.text(),
        currency,
        Bound::DebitsWithinCredits,
    )
}

/// What an account may buy before it pays, by invoice: the credit that it was given comes in, and what it has paid of its invoices.
#[must_use]
pub fn credit(account: AccountId, currency: &str) -> NewBook {
    book(
        "credit",
        &account.text(),
        currency,
        Bound::DebitsWithinCredits,
    )
}

/// What cards have paid.
#[must_use]
pub fn cards(currency: &str) -> NewBook {
    book("cards", "", currency, Bound::Free)
}

/// What cards have paid for what counts no more, until they have it back.
#[must_use]
pub fn unclaimed(currency: &str) -> NewBook {
    book("unclaimed", "", currency, Bound::DebitsWithinCredits)
}

/// What a shop has taken for the house.
#[must_use]
pub fn taken_by(shop: &str, currency: &str) -> NewBook {
    book("taken by shop", shop, currency, Bound::Free)
}

/// What was sold.
#[must_use]
pub fn income(currency: &str) -> NewBook {
    book("income", "", currency, Bound::Free)
}

/// Licences that may be had for a certificate.
#[must_use]
pub fn grants_of(certificate: CertificateId) -> NewBook {
    book(
        "grants",
        &certificate.text(),
        "licence",
        Bound::DebitsWithinCredits,
    )
}

/// Where grants come from, and where they go to when a device has its licence.
fn all_grants() -> [NewBook; 2] {
    ["grants sold", "grants used"].map(|kind| book(kind, "", "licence", Bound::Free))
}

/// A price that is the sum of these, which are all in one currency.
fn sum(prices: &[Price]) -> Option<Price> {
    let (first, rest) = prices.split_first()?;
    let mut sum = first.clone();
    for price in rest {
        if price.currency != sum.currency {
            return None;
        }
        sum.amount = sum.amount.checked_add(price.amount)?;
    }
    (sum.amount <= i64::MAX.cast_unsigned()).then_some(sum)
}
