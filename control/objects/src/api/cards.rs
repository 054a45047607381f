//! Payments by card in the API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Price;
use super::catalogue::names;
use crate::id::{PurchaseId, Text};
use crate::time::Timestamp;

/// Where a payment by card stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CardState {
    /// The provider is being asked for an intent.
    Asked,
    /// The buyer can pay.
    Open,
    /// The card has paid.
    Paid,
    /// The card is to have it back.
    Returning,
    /// It has it back.
    Returned,
    /// Nothing was paid, and nothing will be.
    Canceled,
    /// The provider says what cannot be: somebody must look at it.
    Wrong,
}
names!(CardState {
    Asked "asked", Open "open", Paid "paid", Returning "returning", Returned "returned", Canceled "canceled", Wrong "wrong"
});

/// What became of it that the card's holder disputed a payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CardDispute {
    /// It is not decided.
    Open,
    /// The money stays.
    Won,
    /// The provider gave it back.
    Lost,
}
names!(CardDispute { Open "open", Won "won", Lost "lost" });

/// The payment of a purchase by card. For its buyer with what a client of the provider needs to pay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CardPayment {
    /// The purchase.
    pub purchase: Text<PurchaseId>,
    /// How much.
    pub price: Price,
    /// Where it stands.
    pub state: CardState,
    /// What the provider calls it (`pi_...`); nothing until it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// What the buyer pays with, with a client of the provider; of an open payment, for its buyer only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// Which account of the provider that client is to name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publishable_key: Option<String>,
    /// Why the card was not taken last; another one may be tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declined: Option<String>,
    /// Whether it was disputed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispute: Option<CardDispute>,
    /// What somebody must look at; for operators only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Since when it stands there.
    pub changed: Timestamp,
}

/// What the provider has and the house has not, or the other way round.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CardDifference {
    /// What the provider calls the payment.
    pub intent: String,
    /// The purchase that it names.
    pub purchase: String,
    /// What differs.
    pub what: String,
}

/// What cards paid in one currency.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CardBook {
    /// Three letters.
    pub currency: String,
    /// By the book of cards in the ledger, less what they had back.
    pub booked: i64,
    /// By the payments that the server knows of.
    pub paid: i64,
}

/// How many payments by card stand where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CardCounts {
    /// The provider is asked, or the buyer can pay.
    pub open: u64,
    /// Cards that are to have money back.
    pub returning: u64,
    /// Payments that somebody must look at.
    pub troubled: u64,
    /// Disputes that are not decided.
    pub disputed: u64,
}

/// Payments by card compared with what the provider has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CardReport {
    /// When.
    pub at: Timestamp,
    /// Intents of the provider that were looked at: those of this server, from the last days.
    pub looked_at: u64,
    /// Whether all of those were; else there were too many, or the provider did not answer.
    pub complete: bool,
    /// Payments that stood elsewhere than the provider said, and were brought there.
    pub mended: u64,
    /// What differs still, the first hundred.
    pub differences: Vec<CardDifference>,
    /// What the ledger has, and should have.
    pub books: Vec<CardBook>,
    /// How many stand where.
    pub counts: CardCounts,
}

impl CardReport {
    /// Whether provider, payments and ledger say the same.
    #[must_use]
    pub fn is_even(&self) -> bool {
        self.differences.is_empty() && self.books.iter().all(|book| book.booked == book.paid)
    }
}
