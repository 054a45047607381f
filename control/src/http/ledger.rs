//! The ledger: books, transfers, closed periods. Whoever opens a book or commands a transfer names it, and the same again changes nothing:
//! that is why these are PUT, and need no Idempotency-Key.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, put};
use sealcast_domain::audit::Act;
use sealcast_domain::ledger::{self, BookId, Done, TransferId};
use sealcast_objects::api::{
    Book, BookPage, ClosePeriod, Grant, NewBook, Transfer, TransferCommand, TransferPage,
};
use sealcast_objects::id::Text;
use serde::Deserialize;

use super::act::{Log, Operator};
use super::error::{ApiError, Json, Path, Query, Reply};
use super::grants::Given;
use super::permits::{Bookkeep, ReadLedger, Rule};
use super::{App, now, page};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/books", get(list_books))
        .route("/v1/books/{id}", get(book).put(open_book))
        .route("/v1/transfers", get(list_transfers))
        .route("/v1/transfers/{id}", get(transfer).put(make_transfer))
        .route("/v1/ledger/closed", put(close))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Books {
    #[serde(default)]
    after: Option<Text<BookId>>,
    #[serde(default)]
    limit: Option<u32>,
}

async fn list_books(
    _: Operator<ReadLedger>,
    State(app): State<App>,
    Query(Books { after, limit }): Query<Books>,
) -> Reply<BookPage> {
    let (after, most) = (after.map(|Text(id)| id), page::size(limit));
    let books = app
        .read(move |store| ledger::books(store, after, most))
        .await?;
    let next = page::next(&books, most, |last| last.id);
    Ok(Json(BookPage { books, next }))
}

async fn book(
    _: Operator<ReadLedger>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<BookId>>,
) -> Reply<Book> {
    let book = app.read(move |store| ledger::get(store, id)).await?;
    Ok(Json(Book::from(&book)))
}

/// 201 what is new, 200 what was there.
fn status(done: Done) -> StatusCode {
    match done {
        Done::Now => StatusCode::CREATED,
        Done::Before => StatusCode::OK,
    }
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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfers {
    #[serde(default)]
    book: Option<Text<BookId>>,
    #[serde(default)]
    after: u64,
    #[serde(default)]
    limit: Option<u32>,
}

async fn list_transfers(
    _: Operator<ReadLedger>,
    State(app): State<App>,
    Query(Transfers { book, after, limit }): Query<Transfers>,
) -> Reply<TransferPage> {
    let (book, most) = (book.map(|Text(id)| id), page::size(limit));
    let transfers = app
        .read(move |store| ledger::transfers(store, book, after, most))
        .await?;
    let next = page::next(&transfers, most, |last| last.number);
    Ok(Json(TransferPage { transfers, next }))
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
) -> Result<Given, ApiError> {
    Ok(operator.give(&app, Grant::Transfer { id, command }).await?)
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
