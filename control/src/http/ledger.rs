//! The ledger: books, transfers, closed periods. Whoever opens a book or commands a transfer names it, and the same again changes nothing:
//! that is why these are PUT, and need no Idempotency-Key.

use axum::extract::State;
use axum::http::StatusCode;
use futures_util::future::join_all;
use schemars::JsonSchema;
use sealcast_domain::audit::Act;
use sealcast_domain::ledger::{self, BookId, Done, TransferId};
use sealcast_objects::api::{
    Book, BookPage, ClosePeriod, Grant, NamedTransfer, NewBook, Transfer, TransferCommand,
    TransferList, TransferOutcomes, TransferPage,
};
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};
use serde::Deserialize;

use super::act::{Log, Operator};
use super::error::{ApiError, Json, Path, Reply};
use super::grants::{Given, status};
use super::openapi::{Routes, about};
use super::pages::{Paged, Pages};
use super::permits::{Bookkeep, ReadLedger, Rule};
use super::{App, now};

/// Transfers of one request.
const MANY: usize = 256;

pub(super) fn routes() -> Routes {
    Routes::of("Ledger")
        .get("/v1/books", list_books, "Books")
        .get("/v1/books/{id}", book, "A book and its balance")
        .put(
            "/v1/books/{id}",
            open_book,
            about("Opens a book")
                .answers::<Book>(200)
                .answers::<Book>(201),
        )
        .get(
            "/v1/transfers",
            list_transfers,
            "Transfers, in the order in which they were made",
        )
        .put(
            "/v1/transfers",
            make_transfers,
            "Makes many transfers, each once and by itself",
        )
        .get("/v1/transfers/{id}", transfer, "A transfer")
        .put(
            "/v1/transfers/{id}",
            make_transfer,
            about("Makes a transfer, once").answers::<Transfer>(201),
        )
        .put(
            "/v1/ledger/closed",
            close,
            "Closes the time until then: nothing is booked there any more",
        )
}

async fn list_books(
    _: Operator<ReadLedger>,
    State(app): State<App>,
    pages: Pages<Text<BookId>>,
) -> Result<Paged<BookPage>, ApiError> {
    let (after, most) = (pages.after.map(|Text(id)| id), pages.most);
    let books = app
        .read(move |store| ledger::books(store, after, most))
        .await?;
    pages.answer(
        books,
        |last| last.id,
        |books, next| BookPage { books, next },
    )
}

async fn book(
    _: Operator<ReadLedger>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<BookId>>,
) -> Reply<Book> {
    let book = app.read(move |store| ledger::get(store, id)).await?;
    Ok(Json(Book::from(&book)))
}

async fn open_book(
    operator: Operator<Bookkeep>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<BookId>>,
    Json(new): Json<NewBook>,
) -> Result<(StatusCode, Json<Book>), ApiError> {
    let now = now();
    let opened = operator.act_if(&app, Log::Audit, move |tx| {
        let done = ledger::open(tx, now, &ledger::NewBook::of(id, &new))?;
        let book = Book::from(&ledger::get(tx, id)?);
        let act = (done == Done::Now).then(|| {
            let bound = serde_json::to_value(new.bound).unwrap_or_default();
            Act::on("book.open", Text(id))
                .with("unit", format_args!("{:?}", new.unit))
                .with("bound", bound.as_str().unwrap_or_default())
        });
        Ok(((status(done), Json(book)), act))
    });
    Ok(opened.await?)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Transfers {
    /// From or to this book.
    #[serde(default)]
    book: Option<Text<BookId>>,
}

async fn list_transfers(
    _: Operator<ReadLedger>,
    State(app): State<App>,
    pages: Pages<u64, Transfers>,
) -> Result<Paged<TransferPage>, ApiError> {
    let book = pages.filter.book.map(|Text(id)| id);
    let (after, most) = (pages.after.unwrap_or(0), pages.most);
    let transfers = app
        .read(move |store| ledger::transfers(store, book, after, most))
        .await?;
    pages.answer(
        transfers,
        |last| last.number,
        |transfers, next| TransferPage { transfers, next },
    )
}

async fn transfer(
    _: Operator<ReadLedger>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<TransferId>>,
) -> Reply<Transfer> {
    Ok(Json(app.read(move |store| ledger::made(store, id)).await?))
}

async fn make_transfer(
    operator: Operator<Bookkeep>,
    State(app): State<App>,
    Path(id): Path<Text<TransferId>>,
    Json(command): Json<TransferCommand>,
) -> Result<Given<Transfer>, ApiError> {
    let grant = Grant::Transfer(NamedTransfer { id, command });
    Ok(operator.give(&app, grant).await?)
}

/// They wait for the store together, so that one transaction can have all of them.
async fn make_transfers(
    operator: Operator<Bookkeep>,
    State(app): State<App>,
    Json(TransferList { transfers }): Json<TransferList>,
) -> Reply<TransferOutcomes> {
    if !(1..=MANY).contains(&transfers.len()) {
        let why = format!("a list has 1 to {MANY} transfers: send more lists");
        return Err(Problem::new(Kind::Invalid, why).into());
    }
    let given = transfers
        .into_iter()
        .map(|named| operator.give(&app, Grant::Transfer(named)));
    let outcomes = join_all(given).await.into_iter().map(Given::outcome);
    Ok(Json(TransferOutcomes {
        outcomes: outcomes.collect(),
    }))
}

async fn close(
    operator: Operator<Rule>,
    State(app): State<App>,
    Json(period): Json<ClosePeriod>,
) -> Reply<ClosePeriod> {
    let now = now();
    let closed = operator.act_if(&app, Log::Both, move |tx| {
        let done = ledger::close(tx, now, period.until)?;
        let act = (done == Done::Now).then(|| Act::on("ledger.close", period.until));
        Ok(((), act))
    });
    closed.await?;
    Ok(Json(period))
}
