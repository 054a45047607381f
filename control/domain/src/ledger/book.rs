//! Books.

use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use super::{BookId, Done};
use crate::{Read, Result, Row, StoreError, Tx, params, read_rows, refuse};

/// Characters of a unit's name, at most.
const UNIT_MAX: usize = 40;

/// What a book may never do. Reservations count as if they were posted already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// Anything is allowed.
    Free = 0,
    /// It is never debited beyond what was credited: prepaid money, grants.
    DebitsWithinCredits = 1,
    /// It is never credited beyond what was debited: what is owed to us.
    CreditsWithinDebits = 2,
}

impl Bound {
    fn read(number: u16) -> std::result::Result<Self, StoreError> {
        match number {
            0 => Ok(Self::Free),
            1 => Ok(Self::DebitsWithinCredits),
            2 => Ok(Self::CreditsWithinDebits),
            _ => Err(StoreError::Damaged(format!("a book with bound {number}"))),
        }
    }
}

/// A book to be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewBook {
    /// Its name.
    pub id: BookId,
    /// What it counts, for example `EUR/cent` or `grant`: 1 to 40 characters. Transfers are between books of one unit.
    pub unit: String,
    /// What it may never do.
    pub bound: Bound,
}

/// A book and its sums.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Book {
    /// Its name, unit and bound.
    pub new: NewBook,
    /// All debits posted.
    pub debited: u64,
    /// All credits posted.
    pub credited: u64,
    /// Debits that are reserved.
    pub debits_reserved: u64,
    /// Credits that are reserved.
    pub credits_reserved: u64,
}

macro_rules! books {
    ($which:literal) => {
        concat!(
            "SELECT id, unit, bound, debited, credited, debits_reserved, credits_reserved FROM book ",
            $which
        )
    };
}

fn read(row: &Row) -> std::result::Result<Book, StoreError> {
    Ok(Book {
        new: NewBook {
            id: BookId(row.get(0)?),
            unit: row.get(1)?,
            bound: Bound::read(row.get(2)?)?,
        },
        debited: row.get(3)?,
        credited: row.get(4)?,
        debits_reserved: row.get(5)?,
        credits_reserved: row.get(6)?,
    })
}

impl Book {
    /// Whether its bound holds.
    #[must_use]
    pub fn is_within(&self) -> bool {
        let sum = |posted: u64, reserved: u64| u128::from(posted) + u128::from(reserved);
        match self.new.bound {
            Bound::Free => true,
            Bound::DebitsWithinCredits => {
                sum(self.debited, self.debits_reserved) <= self.credited.into()
            }
            Bound::CreditsWithinDebits => {
                sum(self.credited, self.credits_reserved) <= self.debited.into()
            }
        }
    }
}

/// Opens a book. The same one again changes nothing.
///
/// # Errors
/// Invalid: the unit has no name, or a long one. Conflict: the id is in use for another book.
pub fn open(tx: &mut dyn Tx, now: Timestamp, new: &NewBook) -> Result<Done> {
    if let Some(known) = find(tx, new.id)? {
        if known.new == *new {
            return Ok(Done::Before);
        }
        return refuse(
            Kind::Conflict,
            "this book is open already, with another unit or bound",
        );
    }
    if !(1..=UNIT_MAX).contains(&new.unit.chars().count()) {
        let detail = format!("a unit has a name of 1 to {UNIT_MAX} characters");
        return refuse(Kind::Invalid, detail);
    }
    tx.execute(
        "INSERT INTO book (id, unit, bound, opened) VALUES ($1, $2, $3, $4)",
        params![new.id.0, new.unit.as_str(), new.bound as i64, now.0],
    )?;
    Ok(Done::Now)
}

/// A book, if it is open.
pub(super) fn find(store: &mut dyn Read, id: BookId) -> Result<Option<Book>> {
    if let Some(book) = known(store, id) {
        return Ok(Some(book));
    }
    let row = store.first(books!("WHERE id = $1"), params![id.0])?;
    let found = row.as_ref().map(read).transpose()?;
    note(store, found.as_ref());
    Ok(found)
}

/// As the transaction knows it.
fn known(store: &mut dyn Read, id: BookId) -> Option<Book> {
    store.memo()?.book(id).cloned()
}

fn note<'a>(store: &mut dyn Read, books: impl IntoIterator<Item = &'a Book>) {
    if let Some(memo) = store.memo() {
        books.into_iter().for_each(|book| memo.note(book.clone()));
    }
}

/// Two books, those that are open.
pub(super) fn find_two(
    tx: &mut dyn Tx,
    one: BookId,
    other: BookId,
) -> Result<(Option<Book>, Option<Book>)> {
    if known(tx, one).is_some() || known(tx, other).is_some() {
        return Ok((find(tx, one)?, find(tx, other)?));
    }
    let sql = concat!(
        books!("WHERE id = $1"),
        " UNION ALL ",
        books!("WHERE id = $2")
    );
    let found = read_rows(&tx.query(sql, params![one.0, other.0])?, read)?;
    note(tx, &found);
    let pick = |id| found.iter().find(|book| book.new.id == id).cloned();
    Ok((pick(one), pick(other)))
}

/// A book.
///
/// # Errors
/// Not found.
pub fn get(store: &mut dyn Read, id: BookId) -> Result<Book> {
    match find(store, id)? {
        Some(book) => Ok(book),
        None => refuse(Kind::NotFound, "there is no such book"),
    }
}

/// All books, in the order of their ids.
pub(super) fn all(store: &mut dyn Read) -> Result<Vec<Book>> {
    let rows = store.query(books!("ORDER BY id"), &[])?;
    read_rows(&rows, read)
}

/// At most `most` books after `after`, in the order of their ids.
pub(super) fn page(store: &mut dyn Read, after: Option<BookId>, most: u32) -> Result<Vec<Book>> {
    let rows = match after {
        None => store.query(books!("ORDER BY id LIMIT $1"), params![most])?,
        Some(after) => store.query(
            books!("WHERE id > $1 ORDER BY id LIMIT $2"),
            params![after.0, most],
        )?,
    };
    read_rows(&rows, read)
}

/// A book has other sums: written at the end of the transaction, or now where it keeps none.
pub(super) fn change(tx: &mut dyn Tx, book: Book) -> Result<()> {
    match tx.memo() {
        Some(memo) => memo.change(book),
        None => write(tx, &book)?,
    }
    Ok(())
}

/// Writes a book's sums.
pub(crate) fn write(tx: &mut dyn Tx, book: &Book) -> Result<()> {
    tx.execute(
        "UPDATE book SET debited = $1, credited = $2, debits_reserved = $3, credits_reserved = $4 WHERE id = $5",
        params![
            book.debited,
            book.credited,
            book.debits_reserved,
            book.credits_reserved,
            book.new.id.0
        ],
    )?;
    Ok(())
}
