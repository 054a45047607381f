//! Transfers: commands, and what they do.

use std::time::Duration;

use sealcast_objects::api;
use sealcast_objects::code::sha256;
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use super::book::{self, Book};
use super::{AMOUNT_MAX, BookId, Done, TransferId};
use crate::{Read, Result, Row, StoreError, Tx, params, read_rows, refuse};

/// Characters of a note, at most.
const NOTE_MAX: usize = 200;
/// Reservations that a command may find expired in its way.
const EXPIRED_ON_THE_WAY: usize = 1000;

/// A transfer to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTransfer {
    /// Its name.
    pub id: TransferId,
    /// What it does.
    pub command: Command,
    /// What it is for, in the words of whoever commands: at most 200 characters.
    pub note: String,
}

/// What a transfer does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Debits one book and credits another.
    Move {
        /// The book that is debited.
        debit: BookId,
        /// The book that is credited.
        credit: BookId,
        /// How much: at least 1.
        amount: u64,
    },
    /// Reserves that: both books count it, but it is not done.
    Reserve {
        /// The book that will be debited.
        debit: BookId,
        /// The book that will be credited.
        credit: BookId,
        /// How much, at most: at least 1.
        amount: u64,
        /// It is void after this; `None`: never by itself.
        life: Option<Duration>,
    },
    /// Does what was reserved, or a part of it; the rest is void.
    Post {
        /// The reservation.
        of: TransferId,
        /// How much; `None`: all. 0 posts nothing, which is not the same as to void.
        amount: Option<u64>,
    },
    /// Undoes a reservation.
    Void {
        /// The reservation.
        of: TransferId,
    },
}

/// Kinds of transfers, as they stand in rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Made {
    Move = 1,
    Reserve = 2,
    Post = 3,
    Void = 4,
    Expire = 5,
}

impl Made {
    fn read(number: u16) -> std::result::Result<Self, StoreError> {
        [
            Self::Move,
            Self::Reserve,
            Self::Post,
            Self::Void,
            Self::Expire,
        ]
        .into_iter()
        .find(|made| *made as u16 == number)
        .ok_or_else(|| StoreError::Damaged(format!("a transfer of kind {number}")))
    }
}

/// A transfer that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Transfer {
    pub(super) id: TransferId,
    pub(super) number: u64,
    pub(super) made: Made,
    pub(super) debit: BookId,
    pub(super) credit: BookId,
    pub(super) amount: u64,
    pub(super) ends: Option<TransferId>,
    pub(super) due: Option<i64>,
    pub(super) note: String,
    pub(super) at: i64,
}

macro_rules! transfers {
    ($which:literal) => {
        concat!(
            "SELECT id, number, kind, debit, credit, amount, ends, due, note, at FROM transfer ",
            $which
        )
    };
}

fn read(row: &Row) -> std::result::Result<Transfer, StoreError> {
    Ok(Transfer {
        id: TransferId(row.get(0)?),
        number: row.get(1)?,
        made: Made::read(row.get(2)?)?,
        debit: BookId(row.get(3)?),
        credit: BookId(row.get(4)?),
        amount: row.get(5)?,
        ends: row.get::<Option<_>>(6)?.map(TransferId),
        due: row.get(7)?,
        note: row.get(8)?,
        at: row.get(9)?,
    })
}

pub(super) fn find(store: &mut dyn Read, id: TransferId) -> Result<Option<Transfer>> {
    let row = store.first(transfers!("WHERE id = $1"), params![id.0])?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// Transfers after number `after`, a page of them.
pub(super) fn page(store: &mut dyn Read, after: u64, most: u32) -> Result<Vec<Transfer>> {
    let rows = store.query(
        transfers!("WHERE number > $1 ORDER BY number LIMIT $2"),
        params![after, most],
    )?;
    read_rows(&rows, read)
}

/// Those of one book. Each side has an index of its own: two questions, put together here, are answered from them alone.
pub(super) fn of_book(
    store: &mut dyn Read,
    book: BookId,
    after: u64,
    most: u32,
) -> Result<Vec<Transfer>> {
    let params = params![book.0, after, most];
    let mut rows = store.query(
        transfers!("WHERE debit = $1 AND number > $2 ORDER BY number LIMIT $3"),
        params,
    )?;
    rows.extend(store.query(
        transfers!("WHERE credit = $1 AND number > $2 ORDER BY number LIMIT $3"),
        params,
    )?);
    let mut made = read_rows(&rows, read)?;
    made.sort_by_key(|transfer| transfer.number);
    made.truncate(most as usize);
    Ok(made)
}

/// Those of one book that were made in a time.
pub(super) fn of_book_between(
    store: &mut dyn Read,
    book: BookId,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<Transfer>> {
    let params = params![book.0, from.0, until.0];
    let mut rows = store.query(
        transfers!("WHERE debit = $1 AND at >= $2 AND at < $3"),
        params,
    )?;
    rows.extend(store.query(
        transfers!("WHERE credit = $1 AND at >= $2 AND at < $3"),
        params,
    )?);
    let mut made = read_rows(&rows, read)?;
    made.sort_by_key(|transfer| transfer.number);
    Ok(made)
}

/// Carries a command out; what was made, now or before. The list of what is refused first is in the description of the room.
///
/// # Errors
/// As that list says; nothing is changed then.
pub fn transfer(
    tx: &mut dyn Tx,
    now: Timestamp,
    new: &NewTransfer,
) -> Result<(Done, api::Transfer)> {
    if let Some(known) = find(tx, new.id)? {
        if is_same(tx, &known, new)? {
            return Ok((Done::Before, known.into()));
        }
        return refuse(
            Kind::Conflict,
            "this transfer was made already, with other content: a retry repeats the command as it was, another needs an id of its own",
        );
    }
    check_alone(new)?;
    let (made, pair, of) = match new.command {
        Command::Move { debit, credit, .. } => (Made::Move, pair(tx, debit, credit)?, None),
        Command::Reserve { debit, credit, .. } => (Made::Reserve, pair(tx, debit, credit)?, None),
        Command::Post { of, .. } => {
            let of = reserved(tx, of)?;
            (Made::Post, pair(tx, of.debit, of.credit)?, Some(of))
        }
        Command::Void { of } => {
            let of = reserved(tx, of)?;
            (Made::Void, pair(tx, of.debit, of.credit)?, Some(of))
        }
    };
    let (debit, credit) = pair;
    if debit.new.unit != credit.new.unit {
        let detail = format!(
            "one book counts {}, the other {}: a transfer is between books of one unit",
            debit.new.unit, credit.new.unit
        );
        return refuse(Kind::Invalid, detail);
    }
    let amount = match (&of, new.command) {
        (Some(of), Command::Post { amount, .. }) if amount > Some(of.amount) => {
            let detail = format!("{} were reserved, no more can be posted", of.amount);
            return refuse(Kind::Invalid, detail);
        }
        (Some(of), Command::Post { amount, .. }) => amount.unwrap_or(of.amount),
        (_, Command::Move { amount, .. } | Command::Reserve { amount, .. }) => amount,
        (_, Command::Post { .. } | Command::Void { .. }) => 0,
    };
    if let Some(of) = &of {
        check_open(tx, now, of)?;
    }
    let row = Transfer {
        id: new.id,
        number: 0,
        made,
        debit: debit.new.id,
        credit: credit.new.id,
        amount,
        ends: of.as_ref().map(|of| of.id),
        due: match new.command {
            Command::Reserve { life, .. } => life.map(|life| now.after(life).0),
            _ => None,
        },
        note: new.note.clone(),
        at: now.0,
    };
    let released = of.as_ref().map_or(0, |of| of.amount);
    let made = book_it(tx, now, row, (debit, credit), released)?;
    Ok((Done::Now, made.into()))
}

/// Whether a transfer that was made is what is commanded.
fn is_same(tx: &mut dyn Tx, known: &Transfer, new: &NewTransfer) -> Result<bool> {
    let same = match new.command {
        Command::Move {
            debit,
            credit,
            amount,
        } => {
            known.made == Made::Move
                && (known.debit, known.credit, known.amount) == (debit, credit, amount)
        }
        Command::Reserve {
            debit,
            credit,
            amount,
            life,
        } => {
            let due = life.map(|life| Timestamp(known.at).after(life).0);
            known.made == Made::Reserve
                && (known.debit, known.credit, known.amount, known.due)
                    == (debit, credit, amount, due)
        }
        Command::Post { of, amount } => {
            known.made == Made::Post
                && known.ends == Some(of)
                && amount.map_or_else(|| reserved(tx, of).map(|of| of.amount), Ok)? == known.amount
        }
        Command::Void { of } => known.made == Made::Void && known.ends == Some(of),
    };
    Ok(same && known.note == new.note)
}

fn check_alone(new: &NewTransfer) -> Result<()> {
    if new.note.chars().count() > NOTE_MAX {
        let detail = format!("a note has at most {NOTE_MAX} characters");
        return refuse(Kind::Invalid, detail);
    }
    let (Command::Move {
        debit,
        credit,
        amount,
    }
    | Command::Reserve {
        debit,
        credit,
        amount,
        ..
    }) = new.command
    else {
        return Ok(());
    };
    let is_over = |life: Option<Duration>| life.is_some_and(|life| life < Duration::from_millis(1));
    if matches!(new.command, Command::Reserve { life, .. } if is_over(life)) {
        return refuse(
            Kind::Invalid,
            "a reservation lives for a millisecond at least",
        );
    }
    if !(1..=AMOUNT_MAX).contains(&amount) {
        let detail = format!("an amount of {amount}: 1 to {AMOUNT_MAX}");
        return refuse(Kind::Invalid, detail);
    }
    if debit == credit {
        return refuse(Kind::Invalid, "a transfer is between two books");
    }
    Ok(())
}

fn pair(tx: &mut dyn Tx, debit: BookId, credit: BookId) -> Result<(Book, Book)> {
    let missing = |which: &str| refuse(Kind::NotFound, format!("there is no book to be {which}"));
    match book::find_two(tx, debit, credit)? {
        (None, _) => missing("debited"),
        (_, None) => missing("credited"),
        (Some(debit), Some(credit)) => Ok((debit, credit)),
    }
}

fn reserved(tx: &mut dyn Tx, id: TransferId) -> Result<Transfer> {
    match find(tx, id)? {
        Some(of) if of.made == Made::Reserve => Ok(of),
        Some(_) => refuse(Kind::Invalid, "this transfer is no reservation"),
        None => refuse(Kind::NotFound, "there is no such reservation"),
    }
}

/// A reservation can be ended.
fn check_open(tx: &mut dyn Tx, now: Timestamp, of: &Transfer) -> Result<()> {
    let end = tx.first(transfers!("WHERE ends = $1"), params![of.id.0])?;
    let how = match end.as_ref().map(read).transpose()?.map(|end| end.made) {
        Some(Made::Post) => "posted",
        Some(Made::Void) => "voided",
        Some(_) => "over: it has expired",
        None if of.due.is_some_and(|due| due <= now.0) => "over: it has expired",
        None => return Ok(()),
    };
    refuse(Kind::Conflict, format!("this reservation is {how}"))
}

fn check_period(tx: &mut dyn Tx, now: Timestamp) -> Result<()> {
    let known = tx.memo().and_then(|memo| memo.last.closed_until);
    let until = match known {
        Some(until) => until,
        None => closed_until(tx)?,
    };
    if let Some(memo) = tx.memo() {
        memo.last.closed_until = Some(until);
    }
    match until {
        Some(until) if now < until => refuse(
            Kind::Conflict,
            format!(
                "the books are closed up to {until}, and it is {now} here: put the clock right"
            ),
        ),
        _ => Ok(()),
    }
}

fn closed_until(store: &mut dyn Read) -> Result<Option<Timestamp>> {
    let row = store.first("SELECT MAX(until) FROM closed_period", &[])?;
    let until = row.map(|row| row.get::<Option<i64>>(0)).transpose()?;
    Ok(until.flatten().map(Timestamp))
}

/// Moves the sums and makes the row, which gets the next number. Bounds are judged after what has expired is out of the way. `released`: what its end gives back of
/// a reservation.
fn book_it(
    tx: &mut dyn Tx,
    now: Timestamp,
    mut row: Transfer,
    (mut debit, mut credit): (Book, Book),
    released: u64,
) -> Result<Transfer> {
    check_period(tx, now)?;
    if !moves(&row, released, &mut debit, &mut credit)? {
        expire(tx, now, EXPIRED_ON_THE_WAY)?;
        (debit, credit) = pair(tx, row.debit, row.credit)?;
        if !moves(&row, released, &mut debit, &mut credit)? {
            let (which, book) = if debit.is_within() {
                ("credit", &credit)
            } else {
                ("debit", &debit)
            };
            let detail = format!(
                "not enough: {} {} more would take the book that is {which}ed beyond its bound",
                row.amount, book.new.unit
            );
            return refuse(Kind::Conflict, detail);
        }
    }
    book::change(tx, debit)?;
    book::change(tx, credit)?;
    row.number = next_number(tx)?;
    tx.execute(
        "INSERT INTO transfer (id, number, kind, debit, credit, amount, ends, due, note, at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        params![
            row.id.0,
            row.number,
            row.made as i64,
            row.debit.0,
            row.credit.0,
            row.amount,
            row.ends.map(|of| of.0),
            row.due,
            row.note.as_str(),
            row.at
        ],
    )?;
    if row.made == Made::Reserve {
        tx.execute(
            "INSERT INTO reservation (transfer, due) VALUES ($1, $2)",
            params![row.id.0, row.due],
        )?;
    }
    if let Some(of) = row.ends {
        tx.execute("DELETE FROM reservation WHERE transfer = $1", params![of.0])?;
    }
    Ok(row)
}

/// The number of a transfer that is made now.
fn next_number(tx: &mut dyn Tx) -> Result<u64> {
    let known = tx.memo().and_then(|memo| memo.last.transfer);
    let last = match known {
        Some(last) => last,
        None => {
            let row = tx.first("SELECT MAX(number) FROM transfer", &[])?;
            let last = row.map(|row| row.get::<Option<u64>>(0)).transpose()?;
            last.flatten().unwrap_or(0)
        }
    };
    if let Some(memo) = tx.memo() {
        memo.last.transfer = Some(last + 1);
    }
    Ok(last + 1)
}

/// Moves the sums of both books; false if a bound is broken then.
fn moves(row: &Transfer, released: u64, debit: &mut Book, credit: &mut Book) -> Result<bool> {
    let (reserved, posted) = match row.made {
        Made::Move => (0, row.amount),
        Made::Reserve => (row.amount, 0),
        Made::Post => (0, row.amount),
        Made::Void | Made::Expire => (0, 0),
    };
    debit.debits_reserved = moved(debit.debits_reserved, reserved, released)?;
    credit.credits_reserved = moved(credit.credits_reserved, reserved, released)?;
    debit.debited = moved(debit.debited, posted, 0)?;
    credit.credited = moved(credit.credited, posted, 0)?;
    // Both together are one number in the bounds.
    moved(debit.debited, debit.debits_reserved, 0)?;
    moved(credit.credited, credit.credits_reserved, 0)?;
    Ok(debit.is_within() && credit.is_within())
}

/// A sum with `more` and without `less`.
fn moved(sum: u64, more: u64, less: u64) -> Result<u64> {
    let new = sum.checked_sub(less).and_then(|sum| sum.checked_add(more));
    match new.filter(|new| *new <= AMOUNT_MAX) {
        Some(new) => Ok(new),
        None => refuse(Kind::Conflict, "this is more than a book can count"),
    }
}

/// Ends reservations whose time is over, at most so many; how many it ended. To be called now and then: until then they only hold what they
/// hold, and cannot be posted.
///
/// # Errors
/// The store's. Conflict: the books are closed up to later than `now`.
pub fn expire(tx: &mut dyn Tx, now: Timestamp, most: usize) -> Result<usize> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let due = tx.query(
        "SELECT transfer FROM reservation WHERE due <= $1 ORDER BY due, transfer LIMIT $2",
        params![now.0, most],
    )?;
    for row in &due {
        let of = reserved(tx, TransferId(row.get(0)?))?;
        let row = Transfer {
            id: expiry_of(of.id),
            made: Made::Expire,
            amount: 0,
            ends: Some(of.id),
            due: None,
            note: String::new(),
            at: now.0,
            ..of
        };
        let books = pair(tx, row.debit, row.credit)?;
        book_it(tx, now, row, books, of.amount)?;
    }
    Ok(due.len())
}

/// When the next reservation expires.
///
/// # Errors
/// The store's.
pub fn next_due(store: &mut dyn Read) -> Result<Option<Timestamp>> {
    let row = store.first("SELECT MIN(due) FROM reservation", &[])?;
    let due = row.map(|row| row.get::<Option<i64>>(0)).transpose()?;
    Ok(due.flatten().map(Timestamp))
}

/// The id of the transfer by which a reservation expires.
fn expiry_of(of: TransferId) -> TransferId {
    let hash = sha256(&[&b"sealcast expired"[..], &of.0].concat());
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    TransferId(id)
}

/// Closes the books up to `until`: nothing is booked before it any more; corrections are transfers of now. The same again changes nothing.
///
/// # Errors
/// Invalid: `until` is still to come. Conflict: closed up to later already.
pub fn close(tx: &mut dyn Tx, now: Timestamp, until: Timestamp) -> Result<Done> {
    if now < until {
        return refuse(
            Kind::Invalid,
            format!("{until} is still to come: a period is closed when it is over"),
        );
    }
    match closed_until(tx)? {
        Some(closed) if until == closed => return Ok(Done::Before),
        Some(closed) if until < closed => {
            let detail = format!("the books are closed up to {closed} already");
            return refuse(Kind::Conflict, detail);
        }
        _ => {}
    }
    tx.execute(
        "INSERT INTO closed_period (until, at) VALUES ($1, $2)",
        params![until.0, now.0],
    )?;
    if let Some(memo) = tx.memo() {
        memo.last.closed_until = Some(Some(until));
    }
    Ok(Done::Now)
}
