//! Payments by card: what a card provider (Stripe, or whoever speaks its API) is asked for, and what its answers come to (PC-05, PC-17, SEC-27).
//!
//! ```text
//!   asked --> open --> paid ------> returning --> returned      refunded, or disputed and lost
//!     |        |                       ^
//!     +--------+--> canceled ----------+                        it paid all the same, too late (PC-28)
//! ```
//!
//! A payment is a row before the provider hears of it. What it is asked is a function of the row and of where the purchase stands, under a key
//! that stays the same until it has answered, so it does nothing twice. Every answer is the whole state of an intent, and [`seen`] compares that
//! with the row: it matters in no way whether it came in answer to a call, after an event, or out of a list, nor in which order or how often.
//! Events are hints to ask again, and nothing that they say of money is believed.
//!
//! | file | what |
//! |---|---|
//! | `payments.rs` | rows; what is to be asked, and when |
//! | `steps.rs` | what answers come to |
//! | `compare.rs` | the provider, the payments and the ledger, side by side |
//! | `currencies.rs` | amounts as the provider counts them |

mod compare;
mod currencies;
mod payments;
mod steps;

use sealcast_objects::PurchaseId;
use sealcast_objects::api::CardDispute;

use crate::accounts::Floor;
use crate::audit::Act;

pub use compare::{Listed, books, counts, difference};
pub use currencies::provider_amount;
pub use payments::{
    Ask, Due, Payment, due, find, forget_events, get, hear, keep_secret, look, next_due,
};
pub(super) use steps::{begin, give_back};
pub use steps::{failed, refused, seen};

/// Where an intent stands, as the provider says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It can be paid, or is being paid.
    Open,
    /// A card has paid.
    Paid,
    /// No card will.
    Canceled,
}

/// What the provider says of an intent. Amounts are in its minor units.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// What it calls it.
    pub intent: String,
    /// The purchase that it was made for, as it keeps for us.
    pub purchase: Option<PurchaseId>,
    /// What it is to take.
    pub amount: u64,
    /// Three letters, upper case.
    pub currency: String,
    /// Where it stands.
    pub standing: Standing,
    /// What it took.
    pub received: u64,
    /// What it gave back of that.
    pub refunded: u64,
    /// Whether the card's holder disputed it.
    pub dispute: Option<CardDispute>,
    /// Why the card was not taken last, in our words.
    pub declined: Option<String>,
}

impl Seen {
    /// What it took and has not given back.
    fn net(&self) -> u64 {
        match (self.standing, self.dispute) {
            (Standing::Paid, Some(CardDispute::Lost))
            | (Standing::Open | Standing::Canceled, _) => 0,
            (Standing::Paid, _) => self.received.saturating_sub(self.refunded),
        }
    }
}

/// What a step did: for the audit log, and what the key doors must be told.
#[derive(Debug, Default)]
pub struct Step {
    /// In this order.
    pub acts: Vec<Act>,
    /// Licences that ended.
    pub floors: Vec<Floor>,
}

/// How the provider failed to do what it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Nobody knows whether it did: the same is asked again under the same key.
    Silent(String),
    /// It said that it failed, and would say so again under the same key.
    Failing(String),
}
