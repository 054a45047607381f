//! The catalogue: who supplies contents, what there is to be had, in which versions and files, and which device got what.
//!
//! A content has versions, numbered from 1; a number is given once. A version waits for its file (`uploading`) and is `ready` for ever once that
//! is complete. A file is written under a name that nothing else has, and its row stands before it is begun; so whatever ends an upload, what
//! it left is found and removed, and no half of a file is ever in use.
//!
//! | file | what |
//! |---|---|
//! | `providers.rs` | providers |
//! | `contents.rs` | contents, as people see them |
//! | `versions.rs` | their versions |
//! | `files.rs` | files that are written, used, removed |
//! | `downloads.rs` | which device may have what, and what it got (MV-04, MV-19) |

pub mod contents;
pub mod downloads;
pub mod files;
pub mod providers;
pub mod versions;

use std::ops::RangeInclusive;

use sealcast_objects::problem::Kind;

use crate::{Result, refuse};

pub(crate) use contents::check_price;

/// Characters of a name or title.
pub(crate) const NAME: RangeInclusive<usize> = 1..=200;
/// Characters of a genre.
const GENRE: RangeInclusive<usize> = 0..=60;
/// Characters of a format.
const FORMAT: RangeInclusive<usize> = 1..=60;

/// A text for people: so many characters, none of which controls anything.
pub(crate) fn check_text(what: &str, text: &str, length: RangeInclusive<usize>) -> Result<()> {
    let (least, most) = (length.start(), length.end());
    if !length.contains(&text.chars().count()) {
        let detail = format!("{what} has {least} to {most} characters");
        return refuse(Kind::Invalid, detail);
    }
    if text.chars().any(char::is_control) {
        let detail = format!("{what} has no control characters, such as line ends");
        return refuse(Kind::Invalid, detail);
    }
    Ok(())
}

/// A name that stands in paths and in other things' settings.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    check_text(what, name, NAME)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.bytes().all(fits) {
        return Ok(());
    }
    let detail = format!("{name:?}: {what} is letters, digits, '-', '_' and '.'");
    refuse(Kind::Invalid, detail)
}
