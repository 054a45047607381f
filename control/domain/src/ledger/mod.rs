//! The ledger: double entry in any unit, money as well as grants, copies, claims and bytes, so that "never granted beyond its count" and
//! "never below zero" are one rule.
//!
//! A *book* counts one unit; a *transfer* debits one book and credits another, at once or in two steps: reserved, then posted (all of it
//! or a part), voided, or expired. Transfers are never changed. Whoever commands names books and transfers: the same command again is
//! the same transfer, however often and after whatever crash. A command that is refused leaves nothing, and its id may be used again.
//!
//! When several things are wrong with a command, the first of this list is the answer:
//! 1. the id is in use: the same content is [`Done::Before`], another is refused (conflict);
//! 2. the command alone: amount, books (invalid);
//! 3. a book or reservation that is not there (not found), debit before credit;
//! 4. units that differ, a transfer that is no reservation, more than was reserved (invalid);
//! 5. a reservation that is ended (conflict);
//! 6. a period that is closed (conflict);
//! 7. more than a book can count, then bounds, debit before credit (conflict).
//!
//! | file | what |
//! |---|---|
//! | `book.rs` | books and their sums |
//! | `transfer.rs` | commands, and what they do |
//! | `named.rs` | ids that are derived from what they belong to |
//! | `share.rs` | rates and splits that lose nothing |
//! | `api.rs` | books, transfers and commands as the API tells them |
//! | `verify.rs` | all invariants, recomputed from the transfers |

mod api;
mod book;
mod named;
mod share;
mod transfer;
mod verify;

pub use api::{act, books, made, transfers};
pub(crate) use api::{between, find_made, reserved_by};
pub(crate) use book::write;
pub use book::{Book, Bound, NewBook, get, open};
pub(crate) use named::{book, hash, net, sums};
pub use sealcast_objects::{BookId, TransferId};
pub use share::{Rate, split};
pub use transfer::{Command, NewTransfer, close, expire, next_due, transfer};
pub use verify::{Fault, verify};

/// What became of a command that was not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// It was carried out.
    Now,
    /// It was carried out before: nothing changed.
    Before,
}

/// The greatest amount, and the most that a book can count of either side: what a signed 64-bit column holds.
pub const AMOUNT_MAX: u64 = i64::MAX.cast_unsigned();
