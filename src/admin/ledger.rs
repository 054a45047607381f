//! The ledger, as an operator keeps it.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use sealcast_objects::api::{
    Book, BookBound, BookPage, ClosePeriod, NewBook, Transfer, TransferCommand, TransferPage,
};
use sealcast_objects::id::{Id, Text};
use sealcast_objects::time::Timestamp;
use sealcast_objects::{BookId, TransferId};

use super::devices::parse_id;
use super::{Api, Done, batch};
use crate::table::{self, Page, or_dash, table};

#[derive(Debug, clap::Subcommand)]
pub(super) enum LedgerCommand {
    /// Makes the transfers of a file, each once: the same file again makes what was not made
    Batch {
        /// A line for each: {"id": "trf_...", "command": {"kind": "move", ...}}; -: standard input
        file: PathBuf,
    },
    /// Lists books and their sums
    Books(Page),
    /// Opens a book
    Open {
        /// What it counts: EUR/cent, grant, byte, or any other name
        unit: String,
        /// What it may never do
        #[arg(long, value_enum, default_value_t = BoundArg::Free)]
        bound: BoundArg,
        /// Its id; the same again changes nothing [default: a new one]
        #[arg(long, value_parser = parse_id::<BookId>)]
        id: Option<Text<BookId>>,
    },
    /// Shows a book
    Book {
        /// Which
        #[arg(value_parser = parse_id::<BookId>)]
        book: Text<BookId>,
    },
    /// Lists transfers in the order in which they were made
    Transfers {
        /// Only of this book
        #[arg(long, value_parser = parse_id::<BookId>)]
        book: Option<Text<BookId>>,
        #[command(flatten)]
        page: Page,
    },
    /// Shows a transfer
    Transfer {
        /// Which
        #[arg(value_parser = parse_id::<TransferId>)]
        transfer: Text<TransferId>,
    },
    /// Debits one book and credits another
    Move {
        #[command(flatten)]
        between: Between,
        #[command(flatten)]
        named: Named,
    },
    /// Reserves that, to be posted or voided later
    Reserve {
        #[command(flatten)]
        between: Between,
        /// It is void after this [default: never by itself]
        #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
        life: Option<Duration>,
        #[command(flatten)]
        named: Named,
    },
    /// Does what was reserved; what is left of it is void
    Post {
        /// The reservation
        #[arg(value_parser = parse_id::<TransferId>)]
        reservation: Text<TransferId>,
        /// A part of it [default: all]
        amount: Option<u64>,
        #[command(flatten)]
        named: Named,
    },
    /// Undoes a reservation
    Void {
        /// The reservation
        #[arg(value_parser = parse_id::<TransferId>)]
        reservation: Text<TransferId>,
        #[command(flatten)]
        named: Named,
    },
    /// Closes the books up to a moment: nothing is booked before it any more
    Close {
        /// Until when, 2026-12-31T00:00:00Z
        until: Timestamp,
    },
}

/// What a book may never do.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum BoundArg {
    /// Anything is allowed
    Free,
    /// It is never debited beyond what was credited: prepaid money, grants
    DebitsWithinCredits,
    /// It is never credited beyond what was debited: what is owed to us
    CreditsWithinDebits,
}

/// Two books and an amount.
#[derive(Debug, clap::Args)]
pub(super) struct Between {
    /// The book that is debited
    #[arg(long, value_parser = parse_id::<BookId>, value_name = "BOOK")]
    debit: Text<BookId>,
    /// The book that is credited
    #[arg(long, value_parser = parse_id::<BookId>, value_name = "BOOK")]
    credit: Text<BookId>,
    /// How much, in the unit of the books
    amount: u64,
}

/// What a transfer is called.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// What for
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
    /// Its id: a retry has the same, and is done once [default: a new one]
    #[arg(long, value_parser = parse_id::<TransferId>)]
    id: Option<Text<TransferId>>,
}

impl Named {
    /// The id, or a new one.
    pub(super) fn id(&self) -> Text<TransferId> {
        self.id.unwrap_or_else(new_id)
    }

    /// What for.
    pub(super) fn note(&self) -> &str {
        &self.note
    }
}

pub(super) fn new_id<I: Id>() -> Text<I> {
    Text(I::new(
        std::time::SystemTime::now().into(),
        &mut crate::rng(),
    ))
}

pub(super) fn run(api: &Api, command: &LedgerCommand) -> Done {
    match command {
        LedgerCommand::Books(page) => {
            let page: BookPage = api.get(&page.of("/v1/books", &[]))?;
            api.show(&page, |page| {
                table::page(&books(&page.books), page.next.as_ref())
            });
        }
        LedgerCommand::Open { unit, bound, id } => {
            let id = id.unwrap_or_else(new_id);
            let new = NewBook {
                unit: unit.clone(),
                bound: match bound {
                    BoundArg::Free => BookBound::Free,
                    BoundArg::DebitsWithinCredits => BookBound::DebitsWithinCredits,
                    BoundArg::CreditsWithinDebits => BookBound::CreditsWithinDebits,
                },
            };
            let book: Book = api.call(Method::PUT, &format!("/v1/books/{id}"), Some(&new))?;
            api.show(&book, |book| books(std::slice::from_ref(book)));
        }
        LedgerCommand::Book { book } => {
            let book: Book = api.get(&format!("/v1/books/{book}"))?;
            api.show(&book, |book| books(std::slice::from_ref(book)));
        }
        LedgerCommand::Transfers { book, page } => {
            let filter = [("book", book.map(|id| id.to_string()))];
            let page: TransferPage = api.get(&page.of("/v1/transfers", &filter))?;
            api.show(&page, |page| {
                table::page(&transfers(&page.transfers), page.next.as_ref())
            });
        }
        LedgerCommand::Transfer { transfer } => {
            let made: Transfer = api.get(&format!("/v1/transfers/{transfer}"))?;
            api.show(&made, |made| transfers(std::slice::from_ref(made)));
        }
        LedgerCommand::Close { until } => {
            let period = ClosePeriod { until: *until };
            let closed: ClosePeriod = api.call(Method::PUT, "/v1/ledger/closed", Some(&period))?;
            api.show(&closed, |closed| {
                format!("the books are closed up to {}", closed.until)
            });
        }
        LedgerCommand::Batch { file } => return batch::run(api, file),
        LedgerCommand::Move { between, named } => {
            let Between {
                debit,
                credit,
                amount,
            } = *between;
            let note = named.note.clone();
            let command = TransferCommand::Move {
                debit,
                credit,
                amount,
                note,
            };
            return make(api, named, &command);
        }
        LedgerCommand::Reserve {
            between,
            life,
            named,
        } => {
            let life_ms = life.map(|life| u64::try_from(life.as_millis()).unwrap_or(u64::MAX));
            let command = TransferCommand::Reserve {
                debit: between.debit,
                credit: between.credit,
                amount: between.amount,
                life_ms,
                note: named.note.clone(),
            };
            return make(api, named, &command);
        }
        LedgerCommand::Post {
            reservation,
            amount,
            named,
        } => {
            let command = TransferCommand::Post {
                reservation: *reservation,
                amount: *amount,
                note: named.note.clone(),
            };
            return make(api, named, &command);
        }
        LedgerCommand::Void { reservation, named } => {
            let command = TransferCommand::Void {
                reservation: *reservation,
                note: named.note.clone(),
            };
            return make(api, named, &command);
        }
    }
    Ok(())
}

fn make(api: &Api, named: &Named, command: &TransferCommand) -> Done {
    let id = named.id();
    let show = |made: &Transfer| transfers(std::slice::from_ref(made));
    api.give(&format!("/v1/transfers/{id}"), command, show)
}

fn books(books: &[Book]) -> String {
    let row = |book: &Book| {
        [
            book.id.to_string(),
            book.unit.clone(),
            book.debited.to_string(),
            book.credited.to_string(),
            book.debits_reserved.to_string(),
            book.credits_reserved.to_string(),
        ]
    };
    let rows: Vec<_> = books.iter().map(row).collect();
    let heads = [
        "BOOK",
        "UNIT",
        "DEBITED",
        "CREDITED",
        "DEBITS RESERVED",
        "CREDITS RESERVED",
    ];
    table(heads, &rows)
}

pub(super) fn transfers(transfers: &[Transfer]) -> String {
    let row = |made: &Transfer| {
        [
            made.number.to_string(),
            made.id.to_string(),
            made.kind.name().to_owned(),
            made.debit.to_string(),
            made.credit.to_string(),
            made.amount.to_string(),
            or_dash(made.due),
            made.at.to_string(),
            made.note.clone(),
        ]
    };
    let rows: Vec<_> = transfers.iter().map(row).collect();
    let heads = [
        "NUMBER", "TRANSFER", "KIND", "DEBIT", "CREDIT", "AMOUNT", "DUE", "AT", "NOTE",
    ];
    table(heads, &rows)
}
