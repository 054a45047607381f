//! All invariants of the ledger, recomputed from its transfers: for tests, crash loops and a live database.

use std::collections::{BTreeMap, BTreeSet};

use super::book::{self, Book};
use super::transfer::{self, Made, Transfer};
use super::{BookId, TransferId};
use crate::{Read, Result};

/// Transfers that are read at once.
const PAGE: u32 = 10_000;

/// What is not as it must be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// A transfer is missing.
    #[error("transfer {found} stands where {wanted} should: transfers are gone")]
    Number {
        /// What should come.
        wanted: u64,
        /// What comes.
        found: u64,
    },
    /// A transfer between books of two units, or of books that are not there.
    #[error("transfer {0} is between books that do not go together")]
    Books(u64),
    /// A transfer that ends what it cannot end.
    #[error("transfer {0} ends what was no open reservation, or more of it than there was")]
    End(u64),
    /// The sums of a book are not those of its transfers.
    #[error("the sums of book {0:?} are not those of its transfers")]
    Sums(BookId),
    /// A bound is broken.
    #[error("book {0:?} is beyond its bound")]
    Bound(BookId),
    /// Debits and credits of a unit differ.
    #[error("debits and credits of {0} differ")]
    Unbalanced(String),
    /// The list of open reservations is not that of the transfers.
    #[error("{0} reservations are open, or listed as open, wrongly")]
    Reservations(usize),
}

/// What transfers come to.
#[derive(Default)]
struct Recount {
    books: BTreeMap<BookId, Book>,
    open: BTreeMap<TransferId, Transfer>,
    number: u64,
    faults: Vec<Fault>,
}

/// Everything that is wrong; nothing on a ledger that is as it must be.
///
/// # Errors
/// The store's.
pub fn verify(store: &mut dyn Read) -> Result<Vec<Fault>> {
    let stored = book::all(store)?;
    let mut recount = Recount::default();
    for book in &stored {
        let empty = Book {
            new: book.new.clone(),
            debited: 0,
            credited: 0,
            debits_reserved: 0,
            credits_reserved: 0,
        };
        recount.books.insert(book.new.id, empty);
    }
    loop {
        let page = transfer::page(store, recount.number, PAGE)?;
        if page.is_empty() {
            break;
        }
        page.into_iter().for_each(|transfer| recount.add(transfer));
    }
    let mut faults = std::mem::take(&mut recount.faults);
    let mut sides = BTreeMap::<&str, (u128, u128)>::new();
    for book in &stored {
        if recount.books.get(&book.new.id) != Some(book) {
            faults.push(Fault::Sums(book.new.id));
        }
        if !book.is_within() {
            faults.push(Fault::Bound(book.new.id));
        }
        let (debits, credits) = sides.entry(&book.new.unit).or_default();
        *debits += u128::from(book.debited);
        *credits += u128::from(book.credited);
    }
    let unbalanced = sides
        .iter()
        .filter(|(_, (debits, credits))| debits != credits);
    faults.extend(unbalanced.map(|(unit, _)| Fault::Unbalanced((*unit).to_owned())));
    let rows = store.query("SELECT transfer FROM reservation", &[])?;
    let listed = rows.iter().map(|row| row.get(0).map(TransferId));
    let listed: BTreeSet<_> = listed.collect::<std::result::Result<_, _>>()?;
    let open: BTreeSet<_> = recount.open.into_keys().collect();
    match listed.symmetric_difference(&open).count() {
        0 => {}
        wrong => faults.push(Fault::Reservations(wrong)),
    }
    Ok(faults)
}

impl Recount {
    fn add(&mut self, transfer: Transfer) {
        if transfer.number != self.number + 1 {
            self.faults.push(Fault::Number {
                wanted: self.number + 1,
                found: transfer.number,
            });
        }
        self.number = transfer.number;
        let unit = |id| self.books.get(id).map(|book| &book.new.unit);
        let (debit, credit) = (unit(&transfer.debit), unit(&transfer.credit));
        if debit.is_none() || debit != credit {
            return self.faults.push(Fault::Books(transfer.number));
        }
        let (posted, reserved) = match transfer.made {
            Made::Move => (transfer.amount, 0),
            Made::Reserve => (0, i128::from(transfer.amount)),
            Made::Post | Made::Void | Made::Expire => match self.ended(&transfer) {
                Some(amount) => (transfer.amount, -i128::from(amount)),
                None => return self.faults.push(Fault::End(transfer.number)),
            },
        };
        let moved = |sum: u64, by: i128| u64::try_from(i128::from(sum) + by).unwrap_or(u64::MAX);
        if let Some(debit) = self.books.get_mut(&transfer.debit) {
            debit.debited = debit.debited.saturating_add(posted);
            debit.debits_reserved = moved(debit.debits_reserved, reserved);
        }
        if let Some(credit) = self.books.get_mut(&transfer.credit) {
            credit.credited = credit.credited.saturating_add(posted);
            credit.credits_reserved = moved(credit.credits_reserved, reserved);
        }
        if transfer.made == Made::Reserve {
            self.open.insert(transfer.id, transfer);
        }
    }

    /// What was reserved by the one that this transfer ends, if it may.
    fn ended(&mut self, end: &Transfer) -> Option<u64> {
        let of = self.open.remove(&end.ends?)?;
        let fits = (of.debit, of.credit) == (end.debit, end.credit) && end.amount <= of.amount;
        fits.then_some(of.amount)
    }
}
