//! The ledger in the API. Amounts are whole numbers of the book's unit; durations are milliseconds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Approval, Cursor, NamedTransfer};
use crate::id::{BookId, Text, TransferId};
use crate::problem::Problem;
use crate::time::Timestamp;

/// What a book may never do. Reservations count as if they were posted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BookBound {
    /// Anything is allowed.
    #[default]
    Free,
    /// It is never debited beyond what was credited: prepaid money, grants.
    DebitsWithinCredits,
    /// It is never credited beyond what was debited: what is owed to us.
    CreditsWithinDebits,
}

/// `PUT /v1/books/{id}`. The id is chosen by whoever opens the book.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBook {
    /// What it counts, `EUR/cent` or `grant`: 1 to 40 characters. Transfers are between books of one unit.
    pub unit: String,
    /// What it may never do.
    #[serde(default)]
    pub bound: BookBound,
}

/// A book and its sums.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Book {
    /// Its id.
    pub id: Text<BookId>,
    /// What it counts.
    pub unit: String,
    /// What it may never do.
    pub bound: BookBound,
    /// All debits posted.
    pub debited: u64,
    /// All credits posted.
    pub credited: u64,
    /// Debits that are reserved.
    pub debits_reserved: u64,
    /// Credits that are reserved.
    pub credits_reserved: u64,
}

/// `GET /v1/books`: a page, in the order of their ids.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BookPage {
    /// The books.
    pub books: Vec<Book>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// `PUT /v1/transfers/{id}`. The id is chosen by whoever commands, once for what is meant: the same command under the same id is done once,
/// for ever.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TransferCommand {
    /// Debits one book and credits another.
    #[schemars(title = "TransferMove")]
    Move {
        /// The book that is debited.
        debit: Text<BookId>,
        /// The book that is credited.
        credit: Text<BookId>,
        /// How much: at least 1.
        amount: u64,
        /// What for: at most 200 characters.
        #[serde(default)]
        note: String,
    },
    /// Reserves that: bounds count it as done.
    #[schemars(title = "TransferReserve")]
    Reserve {
        /// The book that will be debited.
        debit: Text<BookId>,
        /// The book that will be credited.
        credit: Text<BookId>,
        /// How much, at most: at least 1.
        amount: u64,
        /// It is void after this; nothing: never by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        life_ms: Option<u64>,
        /// What for.
        #[serde(default)]
        note: String,
    },
    /// Does what was reserved, or a part of it; the rest is void.
    #[schemars(title = "TransferPost")]
    Post {
        /// Which.
        reservation: Text<TransferId>,
        /// How much; nothing: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<u64>,
        /// What for.
        #[serde(default)]
        note: String,
    },
    /// Undoes a reservation.
    #[schemars(title = "TransferVoid")]
    Void {
        /// Which.
        reservation: Text<TransferId>,
        /// What for.
        #[serde(default)]
        note: String,
    },
}

/// `PUT /v1/transfers`: many at once. Each is made, or not, by itself, as if it had been commanded alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferList {
    /// 1 to 256 of them; they are made in this order.
    #[schemars(length(min = 1, max = 256))]
    pub transfers: Vec<NamedTransfer>,
}

/// What became of one of many.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum TransferOutcome {
    /// It is made.
    #[schemars(title = "OutcomeMade")]
    Made {
        /// The transfer.
        transfer: Transfer,
    },
    /// It had been made before.
    #[schemars(title = "OutcomeBefore")]
    Before {
        /// The transfer.
        transfer: Transfer,
    },
    /// It waits for a second person.
    #[schemars(title = "OutcomeWaits")]
    Waits {
        /// What waits.
        approval: Box<Approval>,
    },
    /// It is not made.
    #[schemars(title = "OutcomeRefused")]
    Refused {
        /// Why.
        problem: Problem,
    },
}

/// What became of many: of each, in the order of the request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TransferOutcomes {
    /// One for each.
    pub outcomes: Vec<TransferOutcome>,
}

/// What a transfer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TransferKind {
    /// At once.
    Move,
    /// A reservation.
    Reserve,
    /// A reservation, or a part of it, is done.
    Post,
    /// A reservation is undone.
    Void,
    /// A reservation has expired.
    Expire,
}

impl TransferKind {
    /// As in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::Reserve => "reserve",
            Self::Post => "post",
            Self::Void => "void",
            Self::Expire => "expire",
        }
    }
}

/// A transfer that was made. It never changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Transfer {
    /// Its id.
    pub id: Text<TransferId>,
    /// From 1, without gaps, in the order in which they were made.
    pub number: u64,
    /// What it is.
    pub kind: TransferKind,
    /// The book that is debited.
    pub debit: Text<BookId>,
    /// The book that is credited.
    pub credit: Text<BookId>,
    /// How much was moved or reserved.
    pub amount: u64,
    /// The reservation that it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<Text<TransferId>>,
    /// A reservation is void then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// What for.
    pub note: String,
    /// When it was made.
    pub at: Timestamp,
}

/// `GET /v1/transfers`: a page, in the order in which they were made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TransferPage {
    /// The transfers.
    pub transfers: Vec<Transfer>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// `PUT /v1/ledger/closed`: nothing is booked before `until` any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClosePeriod {
    /// Up to when; not in the future.
    pub until: Timestamp,
}
