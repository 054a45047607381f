//! What the commands of one transaction would ask for again and again, and the books that they change: each is written once, at the end.

use std::collections::HashMap;

use sealcast_objects::BookId;
use sealcast_objects::audit::Head;
use sealcast_objects::time::Timestamp;

use crate::ledger::{self, Book};
use crate::{Result, Tx};

/// What a transaction knows, as it is now: only its own commands change such rows before it ends. A driver of transactions begins each with
/// an empty one, says when a command begins and whether it is undone, and calls [`flush`] before the end.
#[derive(Debug, Default)]
pub struct Memo {
    pub(crate) last: Last,
    books: HashMap<BookId, Known>,
    /// Before the command that is being carried out.
    before: (Last, Vec<(BookId, Option<Known>)>),
}

/// What comes after what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Last {
    /// The last entry of the audit log.
    pub(crate) head: Option<Head>,
    /// The number of the last transfer.
    pub(crate) transfer: Option<u64>,
    /// Up to when the books are closed, if they are.
    pub(crate) closed_until: Option<Option<Timestamp>>,
}

#[derive(Clone, Debug)]
struct Known {
    book: Book,
    /// Its row is not as it is.
    changed: bool,
}

impl Memo {
    /// A command begins.
    pub fn begin(&mut self) {
        self.before.0 = self.last;
        self.before.1.clear();
    }

    /// What it did is undone.
    pub fn undo(&mut self) {
        self.last = self.before.0;
        while let Some((id, known)) = self.before.1.pop() {
            match known {
                Some(known) => self.books.insert(id, known),
                None => self.books.remove(&id),
            };
        }
    }

    /// Forgets everything that is written.
    pub fn forget(&mut self) {
        let changed = self.books.values().any(|known| known.changed);
        assert!(!changed, "books that were not written are forgotten");
        *self = Self::default();
    }

    pub(crate) fn book(&self, id: BookId) -> Option<&Book> {
        self.books.get(&id).map(|known| &known.book)
    }

    /// A book as its row is.
    pub(crate) fn note(&mut self, book: Book) {
        self.insert(book, false);
    }

    /// A book as its row will be.
    pub(crate) fn change(&mut self, book: Book) {
        self.insert(book, true);
    }

    fn insert(&mut self, book: Book, changed: bool) {
        let id = book.new.id;
        let before = self.books.insert(id, Known { book, changed });
        self.before.1.push((id, before));
    }
}

/// Writes the rows of all books that changed.
///
/// # Errors
/// The store's; the transaction is to be undone.
pub fn flush(tx: &mut dyn Tx) -> Result<()> {
    let Some(memo) = tx.memo() else { return Ok(()) };
    let changed = memo.books.values_mut().filter(|known| known.changed);
    let mut books: Vec<_> = changed
        .map(|known| {
            known.changed = false;
            known.book.clone()
        })
        .collect();
    // In the order of the table, and the same each time.
    books.sort_unstable_by_key(|book| book.new.id);
    books.iter().try_for_each(|book| ledger::write(tx, book))
}
