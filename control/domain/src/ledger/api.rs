//! The ledger as the API tells it: books and transfers by page, commands by their bodies.

use std::time::Duration;

use sealcast_objects::api;
use sealcast_objects::id::Text;
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use super::book::{self, Book, Bound, NewBook};
use super::transfer::{self, Command, Made, NewTransfer, Transfer};
use super::{BookId, TransferId};
use crate::audit::Act;
use crate::{Read, Result, params, refuse};

impl NewBook {
    /// The book that a request opens.
    #[must_use]
    pub fn of(id: BookId, new: &api::NewBook) -> Self {
        Self {
            id,
            unit: new.unit.clone(),
            bound: match new.bound {
                api::BookBound::Free => Bound::Free,
                api::BookBound::DebitsWithinCredits => Bound::DebitsWithinCredits,
                api::BookBound::CreditsWithinDebits => Bound::CreditsWithinDebits,
            },
        }
    }
}

impl From<&Book> for api::Book {
    fn from(book: &Book) -> Self {
        Self {
            id: Text(book.new.id),
            unit: book.new.unit.clone(),
            bound: match book.new.bound {
                Bound::Free => api::BookBound::Free,
                Bound::DebitsWithinCredits => api::BookBound::DebitsWithinCredits,
                Bound::CreditsWithinDebits => api::BookBound::CreditsWithinDebits,
            },
            debited: book.debited,
            credited: book.credited,
            debits_reserved: book.debits_reserved,
            credits_reserved: book.credits_reserved,
        }
    }
}

/// A transfer that was made, as the audit log tells it.
#[must_use]
pub fn act(made: &api::Transfer) -> Act {
    Act::on("transfer.make", made.id)
        .with("kind", made.kind.name())
        .with("debit", made.debit)
        .with("credit", made.credit)
        .with("amount", made.amount)
}

impl NewTransfer {
    /// The transfer that a request commands.
    #[must_use]
    pub fn of(id: TransferId, command: &api::TransferCommand) -> Self {
        use api::TransferCommand as Asked;
        let (command, note) = match command {
            Asked::Move {
                debit,
                credit,
                amount,
                note,
            } => {
                let command = Command::Move {
                    debit: debit.0,
                    credit: credit.0,
                    amount: *amount,
                };
                (command, note)
            }
            Asked::Reserve {
                debit,
                credit,
                amount,
                life_ms,
                note,
            } => {
                let command = Command::Reserve {
                    debit: debit.0,
                    credit: credit.0,
                    amount: *amount,
                    life: life_ms.map(Duration::from_millis),
                };
                (command, note)
            }
            Asked::Post {
                reservation,
                amount,
                note,
            } => {
                let command = Command::Post {
                    of: reservation.0,
                    amount: *amount,
                };
                (command, note)
            }
            Asked::Void { reservation, note } => (Command::Void { of: reservation.0 }, note),
        };
        Self {
            id,
            command,
            note: note.clone(),
        }
    }
}

impl From<Transfer> for api::Transfer {
    fn from(row: Transfer) -> Self {
        Self {
            id: Text(row.id),
            number: row.number,
            kind: match row.made {
                Made::Move => api::TransferKind::Move,
                Made::Reserve => api::TransferKind::Reserve,
                Made::Post => api::TransferKind::Post,
                Made::Void => api::TransferKind::Void,
                Made::Expire => api::TransferKind::Expire,
            },
            debit: Text(row.debit),
            credit: Text(row.credit),
            amount: row.amount,
            reservation: row.ends.map(Text),
            due: row.due.map(Timestamp),
            note: row.note,
            at: Timestamp(row.at),
        }
    }
}

/// At most `most` books after `after`, in the order of their ids.
///
/// # Errors
/// The store's.
pub fn books(store: &mut dyn Read, after: Option<BookId>, most: u32) -> Result<Vec<api::Book>> {
    let books = book::page(store, after, most)?;
    Ok(books.iter().map(Into::into).collect())
}

/// A transfer that was made.
///
/// # Errors
/// Not found.
pub fn made(store: &mut dyn Read, id: TransferId) -> Result<api::Transfer> {
    match find_made(store, id)? {
        Some(transfer) => Ok(transfer),
        None => refuse(Kind::NotFound, "there is no such transfer"),
    }
}

/// What a reservation holds; nothing if it was never made, or is over.
pub(crate) fn reserved_by(store: &mut dyn Read, id: TransferId) -> Result<Option<u64>> {
    let open = store.first(
        "SELECT transfer.amount FROM reservation JOIN transfer ON transfer.id = reservation.transfer WHERE transfer.id = $1",
        params![id.0],
    )?;
    Ok(open.map(|row| row.get(0)).transpose()?)
}

/// A transfer, if it was made.
pub(crate) fn find_made(store: &mut dyn Read, id: TransferId) -> Result<Option<api::Transfer>> {
    Ok(transfer::find(store, id)?.map(Into::into))
}

/// At most `most` transfers after number `after`, in order; of one book, or of all.
///
/// # Errors
/// The store's.
pub fn transfers(
    store: &mut dyn Read,
    of: Option<BookId>,
    after: u64,
    most: u32,
) -> Result<Vec<api::Transfer>> {
    let rows = match of {
        None => transfer::page(store, after, most)?,
        Some(book) => transfer::of_book(store, book, after, most)?,
    };
    Ok(rows.into_iter().map(Into::into).collect())
}

/// The transfers of a book that were made in a time, in order.
pub(crate) fn between(
    store: &mut dyn Read,
    book: BookId,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<api::Transfer>> {
    let rows = transfer::of_book_between(store, book, from, until)?;
    Ok(rows.into_iter().map(Into::into).collect())
}
