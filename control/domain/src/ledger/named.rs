//! Books and transfers that are named after what they belong to: whoever knows that knows their ids.

use sealcast_objects::BookId;
use sealcast_objects::code::sha256;

use super::book::find;
use super::{Bound, NewBook};
use crate::{Read, Result};

/// The id of what these words name.
pub(crate) fn hash(words: &[&str]) -> [u8; 16] {
    let text = ["sealcast sales"]
        .iter()
        .chain(words)
        .copied()
        .collect::<Vec<_>>()
        .join("\n");
    let mut id = [0; 16];
    id.copy_from_slice(&sha256(text.as_bytes())[..16]);
    id
}

/// The book of this kind that belongs to `of`.
pub(crate) fn book(kind: &str, of: &str, unit: &str, bound: Bound) -> NewBook {
    NewBook {
        id: BookId(hash(&["book", kind, of, unit])),
        unit: unit.to_owned(),
        bound,
    }
}

/// What a book has been debited, what is reserved with it, and credited; nothing, if it is not open yet.
pub(crate) fn sums(store: &mut dyn Read, book: &NewBook) -> Result<(i64, i64)> {
    let signed = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let book = find(store, book.id)?;
    Ok(book.map_or((0, 0), |book| {
        let debited = book.debited.saturating_add(book.debits_reserved);
        (signed(debited), signed(book.credited))
    }))
}

/// Credits less debits of a book.
pub(crate) fn net(store: &mut dyn Read, book: &NewBook) -> Result<i64> {
    let (debited, credited) = sums(store, book)?;
    Ok(credited.saturating_sub(debited))
}
