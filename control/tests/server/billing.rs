//! Billing through the API: money that is paid and owed, a month that is closed, bills, and who may see them.

use reqwest::Method;
use sealcast_objects::api::{
    AccountMoney, Approval, Bill, BillPage, BillState, BillingMonth, Granted, LineKind, Money,
    OperatorRole, Parties, Transfer,
};
use sealcast_objects::id::{BillId, Id as _, Text};
use sealcast_objects::month::Month;
use sealcast_objects::problem::Kind;
use sealcast_objects::{AccountId, DeviceId};
use serde_json::{Value, json};

use crate::bench::{Bench, raw, refused_as, until};
use crate::counted;
use crate::persons::Person;

async fn account_of(bench: &Bench, device: &str) -> Text<AccountId> {
    let path = format!("/v1/devices/{device}");
    let found: Value = bench.admin.get(&path).await.unwrap();
    serde_json::from_value(found["account"].clone()).unwrap()
}

/// A bill of the last month: 20 keys at 5 for one, 20 x 1,000,000 bytes at 1 for 100,000; 19 % tax.
pub(crate) async fn billed(bench: &Bench, device: &str) -> (Month, Text<BillId>) {
    let month = counted::last_month();
    let account = account_of(bench, device).await;
    let tariff = json!({
        "currency": "EUR", "tax": {"of": 19, "parts": 100}, "pay_within_days": 14, "split": "halves",
        "rates": [
            {"kind": "requests", "price": 5, "per": 1},
            {"kind": "data", "price": 1, "per": 100_000, "channel": 1},
        ]
    });
    let halves = json!([{"party": "house", "parts": 1}, {"party": "corner", "parts": 1}]);
    bench
        .put("/v1/splits/halves", &json!({"shares": halves}))
        .await;
    bench.put("/v1/tariffs/counting", &tariff).await;
    let assign = json!({"tariff": "counting", "paying": "invoice", "from": month});
    let path = format!("/v1/accounts/{account}/tariff");
    bench.put(&path, &assign).await;
    let at = month.start().after(std::time::Duration::from_hours(30));
    let device: Text<DeviceId> = device.parse().unwrap();
    let whose = (account.0.to_bytes(), device.0.to_bytes(), 1);
    for file in [
        counted::keys(whose, at, 1..=20),
        counted::sent(1, at, 1..=20, 1_000_000),
    ] {
        bench.admin.usage(file).await.unwrap();
    }
    let path = format!("/v1/billing/months/{month}");
    bench.put(&path, &json!({"anyway": true})).await;
    until("the bills are made", async || {
        let closed: BillingMonth = bench.admin.get(&path).await.unwrap();
        closed.billed.is_some()
    })
    .await;
    let path = format!("/v1/bills?account={account}");
    let page: BillPage = bench.admin.get(&path).await.unwrap();
    assert_eq!(page.bills.len(), 1);
    (month, page.bills[0].id)
}

async fn money(bench: &Bench, account: &Text<AccountId>) -> Money {
    let path = format!("/v1/accounts/{account}/money");
    let mut all: AccountMoney = bench.admin.get(&path).await.unwrap();
    assert_eq!(all.money.len(), 1);
    all.money.remove(0)
}

/// MD-33, MD-34, MV-23: a month is closed, its bill is what was counted, it is owed until it is paid.
#[tokio::test(flavor = "multi_thread")]
async fn md_33_md_34_a_month_is_closed_billed_and_paid() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = bench.entitled(&[1]).await;
    let account = account_of(&bench, &device.subject).await;
    let (month, bill) = billed(&bench, &device.subject).await;
    let path = format!("/v1/bills/{bill}");
    let found: Bill = bench.admin.get(&path).await.unwrap();
    let lines: Vec<_> = found
        .lines
        .iter()
        .map(|line| (line.kind, line.amount))
        .collect();
    assert_eq!(lines, [(LineKind::Requests, 100), (LineKind::Data, 200)]);
    assert_eq!((found.net, found.tax, found.due), (300, 57, 357));
    assert_eq!((found.number, found.month, found.id), (1, month, bill));
    // The bytes are the canonical form.
    let ada = raw(&bench.ada, Some(&bench.ada));
    let sent = ada
        .get(format!("{}{path}", bench.url))
        .send()
        .await
        .unwrap();
    let bytes = sent.bytes().await.unwrap();
    assert_eq!(bytes, serde_json::to_vec(&found).unwrap());

    assert_eq!(money(&bench, &account).await.owed, 357);
    let pay = json!({"kind": "pay-bill", "price": {"amount": 300, "currency": "EUR"}, "note": "statement 7"});
    let paying = format!("/v1/accounts/{account}/payments/trf_00000000000000000000000000000007");
    for _ in 0..2 {
        let made: Transfer = serde_json::from_value(bench.put(&paying, &pay).await).unwrap();
        assert_eq!((made.amount, made.note.as_str()), (300, "statement 7"));
    }
    assert_eq!(money(&bench, &account).await.owed, 57);
    let listed = format!("/v1/bills?month={month}");
    let page: BillPage = bench.admin.get(&listed).await.unwrap();
    assert_eq!(
        (page.bills[0].open, page.bills[0].state),
        (57, BillState::Open)
    );

    // Half of it, without tax, is another's.
    let parties: Parties = bench.admin.get("/v1/parties").await.unwrap();
    let due: Vec<_> = parties
        .parties
        .iter()
        .map(|of| (of.party.as_str(), of.due))
        .collect();
    assert_eq!(due, [("corner", 150)]);

    // What is charged now is on the bill of this month, which can be seen as it would be.
    let preview = format!("/v1/accounts/{account}/bill");
    let nothing: Bill = bench.admin.get(&preview).await.unwrap();
    assert_eq!((nothing.lines.len(), nothing.due), (0, 0));
    let charge = json!({"kind": "correction", "amount": -100, "note": "an outage"});
    let charges = format!("/v1/accounts/{account}/charges/chg_00000000000000000000000000000001");
    bench.put(&charges, &charge).await;
    let next: Bill = bench.admin.get(&preview).await.unwrap();
    assert_eq!((next.number, next.month, next.due), (0, month.next(), -119));
    // It is not over.
    let path = format!("/v1/billing/months/{}", month.next());
    let close = json!({"anyway": true});
    let closed = bench
        .admin
        .call::<Value>(Method::PUT, &path, Some(&close))
        .await;
    let why = refused_as(Kind::Conflict, closed);
    assert!(why.contains("is not over"), "{why}");
    let verified = bench.verified(Vec::new()).await;
    assert!(verified.ledger.is_empty(), "{:?}", verified.ledger);
    assert!(verified.bills.is_empty(), "{:?}", verified.bills);
}

/// SEC-19: a payment may need a second person as any transfer does.
#[tokio::test(flavor = "multi_thread")]
async fn sec_19_a_payment_waits_for_a_second_person_where_rules_say_so() {
    let bench = Bench::start().await;
    let device = bench.device().await;
    let account = account_of(&bench, &device.subject).await;
    let bob = bench.operator("bob", OperatorRole::Owner).await;
    bench
        .put(
            "/v1/approval-rules",
            &json!({"second_person": ["transfer"]}),
        )
        .await;
    let ada = bench.admin.clone().because("a transfer came", "").unwrap();
    let pay = json!({"kind": "pay-in", "price": {"amount": 500, "currency": "EUR"}});
    let path = format!("/v1/accounts/{account}/payments/trf_00000000000000000000000000000007");
    let given: Granted<Transfer> = ada.call(Method::PUT, &path, Some(&pay)).await.unwrap();
    let Granted::Waits(approval) = given else {
        unreachable!("it does not wait")
    };
    assert_eq!(money(&bench, &account).await.balance, 0);
    let approve = format!("/v1/approvals/{}/approve", approval.id);
    let _: Approval = bob.post(&approve, &()).await.unwrap();
    assert_eq!(money(&bench, &account).await.balance, 500);
    let nothing = json!({"kind": "pay-in", "price": {"amount": 0, "currency": "EUR"}});
    let path = format!("/v1/accounts/{account}/payments/trf_00000000000000000000000000000008");
    let refused = ada.call::<Value>(Method::PUT, &path, Some(&nothing)).await;
    refused_as(Kind::Invalid, refused);
}

/// A person sees the bills of the account, nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn persons_see_their_own_bills_only() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let (eve, bob) = (
        Person::new(&bench, "eve").await,
        Person::new(&bench, "bob").await,
    );
    let new = json!({"account": eve.account, "name": "tv"});
    let added: Value = bench.admin.post("/v1/devices", &new).await.unwrap();
    let (_, bill) = billed(&bench, added["subject"].as_str().unwrap()).await;
    let bills = eve.get("/v1/me/bills").await;
    assert_eq!(bills["bills"][0]["id"], json!(bill));
    let path = format!("/v1/me/bills/{bill}");
    assert_eq!(eve.get(&path).await["due"], 357);
    assert_eq!(eve.get("/v1/me/money").await["money"][0]["owed"], 357);
    assert_eq!(bob.get("/v1/me/bills").await["bills"], json!([]));
    let kind = bob.refused(Method::GET, &path, &json!(null)).await;
    assert_eq!(kind, Kind::NotFound);
    assert_eq!(eve.get("/v1/me/bill").await["due"], 0);
    let kind = bob.refused(Method::GET, "/v1/me/bill", &json!(null)).await;
    assert_eq!(kind, Kind::NotFound, "no tariff");
}
