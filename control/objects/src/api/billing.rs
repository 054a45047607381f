//! Billing in the API: tariffs, what goes on a bill, bills. Prices are minor units of a currency; each line is rounded once, to the nearest
//! unit and from the middle to the even one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Cursor;
use super::catalogue::names;
use crate::AccountId;
use crate::id::{BillId, ChargeId, PurchaseId, Text};
use crate::month::Month;
use crate::time::Timestamp;

/// So many of so many parts: 19 of 100.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fraction {
    /// So many.
    pub of: u32,
    /// Of so many: at least 1.
    #[schemars(range(min = 1))]
    pub parts: u32,
}

/// What counts as a request (MD-34).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Counting {
    /// A key counts once for each device, however often it was asked for.
    #[default]
    Epoch,
    /// Each request that was answered with keys; asked again, it is the same one.
    Literal,
}

/// What something costs. What names a channel is for that one; without one it is for all that have no rate of the same kind of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Rate {
    /// Bytes that were sent while a device had the keys to them (MD-33).
    #[schemars(title = "RateData")]
    Data {
        /// Of this channel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<u16>,
        /// So much
        price: u64,
        /// for so many bytes,
        #[schemars(range(min = 1))]
        per: u64,
        /// beyond so many a month.
        #[serde(default)]
        free: u64,
    },
    /// Requests for keys (MD-34).
    #[schemars(title = "RateRequests")]
    Requests {
        /// Of this channel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<u16>,
        /// What counts as one.
        #[serde(default)]
        counting: Counting,
        /// So much
        price: u64,
        /// for so many,
        #[schemars(range(min = 1))]
        per: u64,
        /// beyond so many a month.
        #[serde(default)]
        free: u64,
    },
    /// A month in which a device has a licence for a channel: a day (UTC) of the month costs one of its days, and counts once if a licence
    /// was valid or suspended in any part of it.
    #[schemars(title = "RatePeriod")]
    Period {
        /// Of this channel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<u16>,
        /// A whole month of one device.
        price: u64,
    },
    /// A licence that was supplied (MV-23); not one that was bought, which was paid then.
    #[schemars(title = "RateLicence")]
    Licence {
        /// Each.
        price: u64,
    },
    /// A move certificate that was supplied (MV-24).
    #[schemars(title = "RateMoveCertificate")]
    MoveCertificate {
        /// Each.
        price: u64,
    },
    /// A month of an insurance that was due.
    #[schemars(title = "RatePremium")]
    Premium {
        /// Each.
        price: u64,
    },
}

impl Rate {
    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> LineKind {
        match self {
            Self::Data { .. } => LineKind::Data,
            Self::Requests { .. } => LineKind::Requests,
            Self::Period { .. } => LineKind::Period,
            Self::Licence { .. } => LineKind::Licence,
            Self::MoveCertificate { .. } => LineKind::MoveCertificate,
            Self::Premium { .. } => LineKind::Premium,
        }
    }

    /// The channel that it is for only.
    #[must_use]
    pub fn channel(&self) -> Option<u16> {
        match *self {
            Self::Data { channel, .. }
            | Self::Requests { channel, .. }
            | Self::Period { channel, .. } => channel,
            Self::Licence { .. } | Self::MoveCertificate { .. } | Self::Premium { .. } => None,
        }
    }
}

/// `PUT /v1/tariffs/{name}`. It never changes: another price is another tariff.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTariff {
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// The tax on each price, which are without it.
    pub tax: Fraction,
    /// Days in which a bill is to be paid.
    #[schemars(range(max = 365))]
    pub pay_within_days: u32,
    /// How what it brings is divided, without tax, the name of a split; nothing: it is the house's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// What costs what: at most 100; each kind and channel once.
    #[schemars(length(max = 100))]
    pub rates: Vec<Rate>,
}

/// A tariff.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tariff {
    /// Its name.
    pub name: String,
    /// What it says.
    pub terms: NewTariff,
    /// When it was added.
    pub added: Timestamp,
}

/// `GET /v1/tariffs`: a page, in the order of their names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TariffPage {
    /// The tariffs.
    pub tariffs: Vec<Tariff>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// How an account pays its bills.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Paying {
    /// From its balance; what that lacks is owed.
    Balance,
    /// When it has got them.
    Invoice,
}
names!(Paying { Balance "balance", Invoice "invoice" });

/// `PUT /v1/accounts/{id}/tariff`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignTariff {
    /// The name of a tariff.
    pub tariff: String,
    /// How it pays.
    pub paying: Paying,
    /// From this month on, one that is not closed; nothing: from this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Month>,
}

/// From when an account has which tariff.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AccountTariff {
    /// From this month on.
    pub from: Month,
    /// The tariff.
    pub tariff: String,
    /// How it pays.
    pub paying: Paying,
}

/// `GET /v1/accounts/{id}/tariff`: one after the other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AccountTariffs {
    /// The latest last.
    pub tariffs: Vec<AccountTariff>,
}

/// What a charge is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChargeKind {
    /// What an earlier bill should have said.
    Correction,
    /// A move certificate was supplied (MV-24): the tariff says what it costs.
    MoveCertificate,
    /// An insurance's premium was due: the tariff says what it costs.
    Premium,
}
names!(ChargeKind { Correction "correction", MoveCertificate "move-certificate", Premium "premium" });

/// `PUT /v1/accounts/{id}/charges/{charge}`: something that goes on the account's bill of this month. It never changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCharge {
    /// What for.
    pub kind: ChargeKind,
    /// How much without tax, of a correction; below 0: it is given back. Nothing for what the tariff prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<i64>,
    /// Stands on the bill: why, or what was supplied. 1 to 200 characters.
    pub note: String,
}

/// A charge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Charge {
    /// Its id.
    pub id: Text<ChargeId>,
    /// Whose.
    pub account: Text<AccountId>,
    /// What it is.
    pub charge: NewCharge,
    /// When it was made: it is on the bill of that month.
    pub at: Timestamp,
}

/// `GET /v1/accounts/{id}/charges`: a page, in the order in which they were made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChargePage {
    /// The charges.
    pub charges: Vec<Charge>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// What a line of a bill is for.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum LineKind {
    /// Bytes.
    Data,
    /// Requests, or keys.
    Requests,
    /// Days of devices with a licence.
    Period,
    /// Licences.
    Licence,
    /// Move certificates.
    MoveCertificate,
    /// Premiums.
    Premium,
    /// What an earlier bill should have said.
    Correction,
}
names!(LineKind { Data "data", Requests "requests", Period "period", Licence "licence", MoveCertificate "move-certificate", Premium "premium", Correction "correction" });

/// A line of a bill: (`quantity` - `free`, not below 0) x `price` / `per`, rounded once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BillLine {
    /// What for.
    pub kind: LineKind,
    /// Of this channel only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// What a correction is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// So many: bytes, requests, days, pieces.
    pub quantity: u64,
    /// So many of them cost nothing.
    pub free: u64,
    /// So much
    pub price: u64,
    /// for so many.
    pub per: u64,
    /// What it comes to, without tax; below 0: it is given back.
    pub amount: i64,
}

/// A purchase of the month, or what was paid back for one: it was booked then, its tax is in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BillPurchase {
    /// Which.
    pub purchase: Text<PurchaseId>,
    /// When it was booked.
    pub at: Timestamp,
    /// From the balance, or by invoice.
    pub paying: Paying,
    /// What it cost; below 0: what was paid back.
    pub amount: i64,
}

/// A bill: what an account is charged for a month. A pure function of what was counted, licensed, charged and booked; it never changes.
/// The bytes of `GET /v1/bills/{id}` are its canonical form.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Bill {
    /// Derived from account and month.
    pub id: Text<BillId>,
    /// From 1, without gaps, over all accounts.
    pub number: u64,
    /// Whose.
    pub account: Text<AccountId>,
    /// Of this month, UTC.
    pub month: Month,
    /// When it was made.
    pub issued: Timestamp,
    /// To be paid by then.
    pub pay_by: Timestamp,
    /// The tariff.
    pub tariff: String,
    /// How it is paid.
    pub paying: Paying,
    /// What all amounts are in.
    pub currency: String,
    /// What is charged.
    pub lines: Vec<BillLine>,
    /// Their sum.
    pub net: i64,
    /// The tax, as a part of that.
    pub tax_rate: Fraction,
    /// The tax on the sum, rounded once.
    pub tax: i64,
    /// Sum and tax.
    pub gross: i64,
    /// What was bought in this currency, and paid back.
    pub purchases: Vec<BillPurchase>,
    /// The tax in what was bought and paid back, rounded once.
    pub purchases_tax: i64,
    /// So much of `gross` was taken from the balance.
    pub from_balance: i64,
    /// What is to be paid: the rest of `gross`, and what was bought by invoice; below 0: it is counted for what comes next.
    pub due: i64,
}

/// Where a bill stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BillState {
    /// Nothing is to be paid, or it is paid.
    Paid,
    /// Something is to be paid.
    Open,
    /// It should have been.
    Overdue,
}
names!(BillState { Paid "paid", Open "open", Overdue "overdue" });

/// A bill in short.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BillSummary {
    /// Its id.
    pub id: Text<BillId>,
    /// Its number.
    pub number: u64,
    /// Whose.
    pub account: Text<AccountId>,
    /// Of this month.
    pub month: Month,
    /// What amounts are in.
    pub currency: String,
    /// What was charged, with tax.
    pub gross: i64,
    /// What was to be paid.
    pub due: i64,
    /// What still is: payments count for the oldest bill first.
    pub open: u64,
    /// By then.
    pub pay_by: Timestamp,
    /// Where it stands.
    pub state: BillState,
    /// Reminders that were told.
    pub reminders: u32,
}

/// `GET /v1/bills`: a page, in the order of their numbers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BillPage {
    /// The bills.
    pub bills: Vec<BillSummary>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// `PUT /v1/billing/months/{month}`: closes it, and bills are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseMonth {
    /// Though usage files may still come, or are missing.
    #[serde(default)]
    pub anyway: bool,
}

/// A month that is closed: what comes later of it counts for the next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BillingMonth {
    /// Which.
    pub month: Month,
    /// When it was closed.
    pub closed: Timestamp,
    /// Bills that were made.
    pub bills: u64,
    /// When the last was; nothing: they are being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billed: Option<Timestamp>,
}

/// `GET /v1/billing/months`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BillingMonths {
    /// The latest last.
    pub months: Vec<BillingMonth>,
}
