//! How income is divided, and what is due to those who have a share (CM-56, INT-13).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cursor, Price, Transfer};
use crate::month::Month;
use crate::time::Timestamp;

/// What one party gets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Who: a name; `house` is the house itself.
    pub party: String,
    /// So many parts of the sum of all.
    #[schemars(range(min = 1))]
    pub parts: u32,
}

/// `PUT /v1/splits/{name}`. It never changes: other shares are another split.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSplit {
    /// Each party once, 1 to 20 of them. Each gets its part rounded down, and what is left goes one by one to those who lost most by that, of
    /// equals to the first.
    #[schemars(length(min = 1, max = 20))]
    pub shares: Vec<Share>,
}

/// A split.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Split {
    /// Its name.
    pub name: String,
    /// Who gets what.
    pub shares: Vec<Share>,
    /// When it was added.
    pub added: Timestamp,
}

/// `GET /v1/splits`: a page, in the order of their names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SplitPage {
    /// The splits.
    pub splits: Vec<Split>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// What is due to a party in one currency, in minor units.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PartyMoney {
    /// Who.
    pub party: String,
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// Its shares, less those of what was paid back, less what was paid out.
    pub shares: i64,
    /// What it took itself from buyers, as a shop, and has not handed over.
    pub taken: i64,
    /// What is to be paid out to it; below 0: what it is to hand over.
    pub due: i64,
}

/// `GET /v1/parties`: what is due to whom, in the order of names and currencies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Parties {
    /// In each currency.
    pub parties: Vec<PartyMoney>,
}

/// `PUT /v1/parties/{name}/payouts/{transfer}`: the same again changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PayOut {
    /// Which way.
    pub kind: PayOutKind,
    /// How much: at least 1.
    pub price: Price,
    /// What it is known by elsewhere: at most 200 characters.
    #[serde(default)]
    pub note: String,
}

/// Which way money goes between the house and a party.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PayOutKind {
    /// Its shares are paid out to it.
    Share,
    /// What it took from buyers is handed over.
    HandOver,
    /// What it took is counted as paid out: no money moves.
    Offset,
}

/// `GET /v1/parties/{name}/statements/{month}`: what was booked for a party.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PartyStatement {
    /// Who.
    pub party: String,
    /// Of this month, UTC.
    pub month: Month,
    /// In each currency.
    pub currencies: Vec<StatementOf>,
}

/// A statement in one currency.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StatementOf {
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// What was due when the month began.
    pub before: i64,
    /// What was due when it ended, or is now.
    pub after: i64,
    /// What was booked between, in order: shares, what was taken, paid out, handed over.
    pub transfers: Vec<Transfer>,
}
