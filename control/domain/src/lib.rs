//! THE BUSINESS of a key server: who may send, who may receive, and what must not be forgotten.
//!
//! Decisions are functions over rows: time and randomness are arguments, the store is a [`Tx`] or [`Read`]. SQL stands here and
//! in the drivers that implement these two, nowhere else; statements keep to what every driver's database understands.
//!
//! | room | what |
//! |---|---|
//! | [`store`] | what a driver offers: transactions, rows, values |
//! | [`Memo`] | what the commands of one transaction would ask for again and again |
//! | [`schema`] | the tables, as migrations that only go forward |
//! | [`channels`], [`nodes`] | key domains and the delivery servers that may send them |
//! | [`slaves`] | the slave key servers that may be fed |
//! | [`accounts`], [`devices`], [`rights`] | who may receive what, and when that ends |
//! | [`sales`] | offers, purchases, settlement, grants |
//! | [`billing`] | tariffs, what accounts are charged for a month, what they owe |
//! | [`shares`] | how income is divided, what is due to whom |
//! | [`licences`], [`device_keys`] | who may use what, whatever it came from; what devices sign and are wrapped to with |
//! | [`customers`], [`logins`], [`identities`] | who stands behind an account, and how that person logs in |
//! | [`enrolment`], [`certificates`], [`factory`] | one-time codes, what was issued, devices as they were made |
//! | [`recovery`] | another device takes the place of a lost one |
//! | [`keys`] | sealed secrets, authority keys, ticket keys |
//! | [`packagers`], [`cenc`] | packagers of other software, and the keys they were given |
//! | [`operators`], [`approvals`] | who may administrate, and what needs a second person |
//! | [`audit`] | what was done, by whom |
//! | [`webhooks`] | where the audit log is sent to, and what became of each entry |
//! | [`idempotency`] | answers that were given: a request that is repeated gets the same |
//! | [`catalogue`] | providers, contents, their versions and files, downloads |
//! | [`ledger`] | who has how much of what: money, grants, bytes |
//! | [`metering`] | what was sent, and who got which keys |
//! | [`epochs`] | what the authority of the channels must not forget |
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![deny(clippy::panic)]

pub mod accounts;
pub mod approvals;
pub mod audit;
pub mod billing;
pub mod catalogue;
pub mod cenc;
pub mod certificates;
pub mod channels;
pub mod customers;
pub mod device_keys;
pub mod devices;
pub mod enrolment;
pub mod epochs;
pub mod factory;
pub mod idempotency;
pub mod identities;
pub mod key_trees;
pub mod keys;
pub mod ledger;
pub mod licences;
pub mod logins;
mod memo;
pub mod metering;
pub mod nodes;
pub mod operators;
pub mod packagers;
pub mod recovery;
pub mod rights;
pub mod sales;
pub mod schema;
pub mod shares;
pub mod slaves;
pub mod store;
pub mod webhooks;

pub use memo::{Memo, flush};
pub(crate) use store::read_rows;
pub use store::{Read, Row, StoreError, Tx, Value, check_storable};

use sealcast_objects::problem::{Kind, Problem};

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may not be done; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// The store failed; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The result of a command.
pub type Result<T> = std::result::Result<T, Error>;

fn refuse<T>(kind: Kind, detail: impl Into<String>) -> Result<T> {
    Err(Problem::new(kind, detail).into())
}

/// Whether what is to be changed is still what the asker saw (`If-Match`).
pub(crate) fn check_revision(what: &str, expected: Option<u64>, is: u64) -> Result<()> {
    if expected.is_none_or(|expected| expected == is) {
        return Ok(());
    }
    Err(Problem::changed(what).into())
}
