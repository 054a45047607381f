//! The ledger through the API: each transfer once, bounds under load, pages, what is refused and why.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use sealcast_objects::api::{
    Book, BookPage, Transfer, TransferOutcome, TransferOutcomes, TransferPage,
};
use sealcast_objects::id::Text;
use sealcast_objects::problem::Kind;
use sealcast_objects::{BookId, TransferId};
use serde_json::{Value, json};

use crate::bench::{Bench, problem, raw, refused_as, until};

fn book(number: u128) -> Text<BookId> {
    Text(BookId(number.to_be_bytes()))
}

fn named(number: u128) -> Text<TransferId> {
    Text(TransferId(number.to_be_bytes()))
}

async fn open(bench: &Bench, number: u128, unit: &str, bound: &str) -> Book {
    let new = json!({"unit": unit, "bound": bound});
    let path = format!("/v1/books/{}", book(number));
    let put = bench.admin.call(Method::PUT, &path, Some(&new));
    put.await.unwrap()
}

async fn make(
    bench: &Bench,
    number: u128,
    command: &Value,
) -> Result<Transfer, sealcast_terminal::https::RequestError> {
    let path = format!("/v1/transfers/{}", named(number));
    bench.admin.call(Method::PUT, &path, Some(command)).await
}

fn of(kind: &str, debit: u128, credit: u128, amount: u64) -> Value {
    json!({"kind": kind, "debit": book(debit), "credit": book(credit), "amount": amount})
}

async fn sums(bench: &Bench, number: u128) -> (u64, u64, u64, u64) {
    let book: Book = bench
        .admin
        .get(&format!("/v1/books/{}", book(number)))
        .await
        .unwrap();
    (
        book.debited,
        book.credited,
        book.debits_reserved,
        book.credits_reserved,
    )
}

/// Books 1 (prepaid, 1000 in it) and 2 of one unit; 3 is where money comes from.
async fn bench() -> Bench {
    let bench = Bench::start().await;
    open(&bench, 1, "EUR/cent", "debits-within-credits").await;
    open(&bench, 2, "EUR/cent", "free").await;
    open(&bench, 3, "EUR/cent", "free").await;
    make(&bench, 1, &of("move", 3, 1, 1000)).await.unwrap();
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_made_once_however_often_it_is_commanded() {
    let mut bench = bench().await;
    let ada = raw(&bench.ada, Some(&bench.ada));
    let url = format!("{}/v1/transfers/{}", bench.url, named(7));
    let command = of("move", 1, 2, 400);
    let put = async |command: &Value| ada.put(&url).json(command).send().await.unwrap();
    let first = put(&command).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let first: Transfer = first.json().await.unwrap();
    for _ in 0..2 {
        let again = put(&command).await;
        assert_eq!(again.status(), StatusCode::OK);
        assert_eq!(again.json::<Transfer>().await.unwrap(), first);
        bench.stop().await;
        bench.start_again().await;
    }
    assert_eq!(sums(&bench, 1).await, (400, 1000, 0, 0));
    let other = problem(put(&of("move", 1, 2, 401)).await).await;
    assert_eq!(other.kind, Kind::Conflict);
    // The log has it once.
    let log = bench.list("audit").await.to_string();
    assert_eq!(log.matches(&named(7).to_string()).count(), 1);
    // A book, too; another one under its name is refused.
    let before = open(&bench, 2, "EUR/cent", "free").await;
    assert_eq!(before.credited, 400);
    let path = format!("/v1/books/{}", book(2));
    let other = json!({"unit": "grant"});
    let put = bench.admin.call::<Book>(Method::PUT, &path, Some(&other));
    refused_as(Kind::Conflict, put.await);
}

/// Two hundred want what is enough for a hundred, all at once, each three times: a hundred get it, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_bound_holds_under_load_and_each_gets_it_once() {
    let bench = bench().await;
    let ada = raw(&bench.ada, Some(&bench.ada));
    let asking: Vec<_> = (0..600_u128)
        .map(|asker| {
            let url = format!("{}/v1/transfers/{}", bench.url, named(100 + asker % 200));
            let sent = ada.put(url).json(&of("move", 1, 2, 10)).send();
            tokio::spawn(async move { sent.await.unwrap().status() })
        })
        .collect();
    let (mut made, mut refused) = (0, 0);
    for one in asking {
        match one.await.unwrap() {
            StatusCode::CREATED => made += 1,
            StatusCode::OK => {}
            StatusCode::CONFLICT => refused += 1,
            other => unreachable!("{other}"),
        }
    }
    assert_eq!(made, 100);
    assert!(refused >= 100, "{refused}");
    assert_eq!(sums(&bench, 1).await, (1000, 1000, 0, 0));
    assert_eq!(sums(&bench, 2).await, (0, 1000, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reserved_is_posted_voided_or_expires() {
    let mut bench = bench().await;
    let reserved = make(&bench, 10, &of("reserve", 1, 2, 600)).await.unwrap();
    assert_eq!((reserved.number, reserved.due), (2, None));
    assert_eq!(sums(&bench, 1).await, (0, 1000, 600, 0));
    let detail = refused_as(
        Kind::Conflict,
        make(&bench, 11, &of("move", 1, 2, 500)).await,
    );
    assert!(detail.contains("not enough"), "{detail}");
    let post = json!({"kind": "post", "reservation": named(10), "amount": 250, "note": "half"});
    let posted = make(&bench, 12, &post).await.unwrap();
    assert_eq!(posted.reservation, Some(named(10)));
    assert_eq!(posted.note, "half");
    assert_eq!(sums(&bench, 1).await, (250, 1000, 0, 0));
    let void = json!({"kind": "void", "reservation": named(10)});
    refused_as(Kind::Conflict, make(&bench, 13, &void).await);
    // One that nobody ends, over a restart.
    let mut short = of("reserve", 1, 2, 750);
    short["life_ms"] = json!(1500);
    let due = make(&bench, 14, &short).await.unwrap().due;
    assert!(due.is_some());
    assert_eq!(sums(&bench, 1).await, (250, 1000, 750, 0));
    bench.stop().await;
    bench.start_again().await;
    until("it has expired", async || {
        sums(&bench, 1).await == (250, 1000, 0, 0)
    })
    .await;
    let transfers: TransferPage = serde_json::from_value(bench.list("transfers").await).unwrap();
    let kinds: Vec<_> = transfers
        .transfers
        .iter()
        .map(|made| made.kind.name())
        .collect();
    assert_eq!(kinds, ["move", "reserve", "post", "reserve", "expire"]);
    bench.stop().await;
    let verified = bench.verified(vec![]).await;
    assert_eq!((verified.audit, verified.ledger), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_everything_once_and_a_book_has_its_own() {
    let bench = bench().await;
    for number in 0..23 {
        let (debit, credit) = if number % 3 == 0 { (2, 3) } else { (3, 2) };
        let command = of("move", debit, credit, 5);
        make(&bench, 100 + number, &command).await.unwrap();
    }
    let all = async |query: &str| {
        let (mut numbers, mut part) = (Vec::new(), Some(String::new()));
        while let Some(after) = part {
            let path = format!("transfers?limit=5{query}{after}");
            let page: TransferPage = serde_json::from_value(bench.list(&path).await).unwrap();
            assert!(page.transfers.len() <= 5);
            numbers.extend(page.transfers.iter().map(|made| made.number));
            part = page.next.map(|next| format!("&after={next}"));
        }
        numbers
    };
    assert_eq!(all("").await, (1..=24).collect::<Vec<_>>());
    assert_eq!(all(&format!("&book={}", book(1))).await, [1]);
    assert_eq!(
        all(&format!("&book={}", book(2))).await,
        (2..=24).collect::<Vec<_>>()
    );
    assert_eq!(all(&format!("&book={}", book(9))).await, [0; 0]);
    let page: BookPage = serde_json::from_value(bench.list("books?limit=2").await).unwrap();
    let next = page.next.unwrap();
    let next = bench.list(&format!("books?after={next}")).await;
    let next: BookPage = serde_json::from_value(next).unwrap();
    assert_eq!(
        (next.books.len(), next.books[0].id, next.next),
        (1, book(3), None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_booked_is_refused_with_the_reason() {
    let bench = bench().await;
    open(&bench, 4, "grant", "free").await;
    let cases = [
        (of("move", 1, 9, 1), Kind::NotFound, "credited"),
        (of("move", 1, 4, 1), Kind::Invalid, "one unit"),
        (of("move", 1, 1, 1), Kind::Invalid, "two books"),
        (of("move", 1, 2, 0), Kind::Invalid, "amount of 0"),
        (of("move", 1, 2, u64::MAX), Kind::Invalid, "amount of"),
        (of("steal", 1, 2, 1), Kind::Invalid, "steal"),
        (
            json!({"kind": "void", "reservation": named(1)}),
            Kind::Invalid,
            "no reservation",
        ),
        (
            json!({"kind": "void", "reservation": named(99)}),
            Kind::NotFound,
            "no such",
        ),
        (json!({"kind": "void"}), Kind::Invalid, "reservation"),
    ];
    for (command, kind, why) in cases {
        let path = format!("/v1/transfers/{}", named(50));
        let asked = bench
            .admin
            .call::<Value>(Method::PUT, &path, Some(&command));
        let refused = crate::bench::refused(asked.await);
        assert_eq!(refused.kind, kind, "{command}: {}", refused.detail);
        assert!(
            refused.detail.contains(why),
            "{command}: {}",
            refused.detail
        );
    }
    // The id is free still.
    make(&bench, 50, &of("move", 1, 2, 1)).await.unwrap();
    let close = async |until: &str| {
        let body = json!({"until": until});
        let put = bench
            .admin
            .call::<Value>(Method::PUT, "/v1/ledger/closed", Some(&body));
        put.await
    };
    close("2026-01-01T00:00:00Z").await.unwrap();
    close("2026-01-01T00:00:00Z").await.unwrap();
    refused_as(Kind::Conflict, close("2025-01-01T00:00:00Z").await);
    refused_as(Kind::Invalid, close("2999-01-01T00:00:00Z").await);
    let log = bench.list("audit").await.to_string();
    assert_eq!(log.matches("ledger.close").count(), 1);
    tokio::time::sleep(Duration::from_millis(1)).await;
    make(&bench, 51, &of("move", 1, 2, 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_transfers_of_one_request_are_made_each_by_itself_and_once() {
    let bench = bench().await;
    let named_of = |number: u128, command: Value| json!({"id": named(number), "command": command});
    let list = json!({"transfers": [
        named_of(1, of("move", 3, 1, 1000)),
        named_of(20, of("move", 1, 2, 600)),
        named_of(21, of("move", 1, 2, 600)),
        named_of(22, of("move", 1, 9, 1)),
        named_of(23, of("move", 1, 2, 400)),
        named_of(23, of("move", 1, 2, 400)),
        named_of(20, of("move", 1, 2, 599)),
        named_of(24, of("reserve", 2, 1, 5)),
        named_of(25, json!({"kind": "post", "reservation": named(24)})),
    ]});
    let put = async || {
        let put = bench.admin.call(Method::PUT, "/v1/transfers", Some(&list));
        let TransferOutcomes { outcomes } = put.await.unwrap();
        let shown = |outcome: &TransferOutcome| match outcome {
            TransferOutcome::Made { transfer } => ("made", Some(transfer.id), None),
            TransferOutcome::Before { transfer } => ("before", Some(transfer.id), None),
            TransferOutcome::Waits { .. } => ("waits", None, None),
            TransferOutcome::Refused { problem } => ("refused", None, Some(problem.kind)),
        };
        outcomes.iter().map(shown).collect::<Vec<_>>()
    };
    let made = |number| ("made", Some(named(number)), None);
    let before = |number| ("before", Some(named(number)), None);
    let refused = |kind| ("refused", None, Some(kind));
    let rest = [
        refused(Kind::Conflict),
        refused(Kind::NotFound),
        made(23),
        before(23),
        refused(Kind::Conflict),
        made(24),
        made(25),
    ];
    let first = [&[before(1), made(20)][..], &rest].concat();
    assert_eq!(put().await, first);
    assert_eq!(sums(&bench, 1).await, (1000, 1005, 0, 0));
    // The whole request again makes nothing; what was refused may be possible now: 5 are in book 1.
    let again = put().await;
    assert!(
        again.iter().all(|(outcome, ..)| *outcome != "made"),
        "{again:?}"
    );
    assert_eq!(sums(&bench, 1).await, (1000, 1005, 0, 0));
    let log = bench.list("audit?limit=1000").await.to_string();
    assert_eq!(log.matches("\"transfer.make\"").count(), 5);
    for wrong in [json!([]), json!([named_of(1, Value::Null)]), Value::Null] {
        let list = json!({"transfers": wrong});
        let put = bench
            .admin
            .call::<Value>(Method::PUT, "/v1/transfers", Some(&list));
        assert!(put.await.is_err(), "{wrong}");
    }
    let many: Vec<_> = (0..257)
        .map(|number| named_of(number, of("move", 1, 2, 1)))
        .collect();
    let list = json!({"transfers": many});
    let put = bench
        .admin
        .call::<Value>(Method::PUT, "/v1/transfers", Some(&list));
    refused_as(Kind::Invalid, put.await);
}
