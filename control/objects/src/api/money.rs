//! The money of an account: what it paid before it buys, what it may buy before it pays, what it owes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Price;

/// What money comes or goes for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PaymentKind {
    /// It came in, and may be spent.
    PayIn,
    /// What came in and was not spent goes back.
    PayOut,
    /// It came in for what is owed: bills are paid from the oldest on.
    PayBill,
    /// None came: so much more may be bought before it is paid.
    Lend,
    /// So much less; not what is in use already.
    TakeBack,
}

/// `PUT /v1/accounts/{id}/payments/{transfer}`: the same again changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pay {
    /// What for.
    pub kind: PaymentKind,
    /// How much: at least 1.
    pub price: Price,
    /// What it is known by elsewhere, a bank's reference: at most 200 characters.
    #[serde(default)]
    pub note: String,
}

/// What an account has in one currency. In minor units.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Money {
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// It was paid in, is not spent, and not reserved.
    pub balance: u64,
    /// Of what was paid in: it was used, and is not billed yet.
    pub reserved: u64,
    /// So much may be bought before it is paid, in all.
    pub line: u64,
    /// So much of that is left.
    pub credit: u64,
    /// It is owed; below 0: paid too much, and counted for what comes next.
    pub owed: i64,
}

/// `GET /v1/accounts/{id}/money` and `GET /v1/me/money`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct AccountMoney {
    /// In each currency in which there ever was any, in the order of their names.
    pub money: Vec<Money>,
}
