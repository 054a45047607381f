//! What needs a second person (SEC-19).

use reqwest::Method;
use sealcast_objects::api::{
    Approval, ApprovalPage, ApprovalState, Granted, OperatorRole, Permit, Right, Role, Standing,
    Transfer,
};
use sealcast_objects::problem::{CASE, Kind, REASON};
use sealcast_terminal::https::{Client, RequestError};
use serde_json::{Value, json};

use crate::bench::{Bench, problem, raw, refused, refused_as};

async fn rules(bench: &Bench, kinds: &[&str]) -> Result<Value, RequestError> {
    let body = json!({ "second_person": kinds });
    let put = bench
        .admin
        .call(Method::PUT, "/v1/approval-rules", Some(&body));
    put.await
}

/// Asks for a right; with a reason.
async fn ask(client: &Client, device: &str, reason: &str) -> Result<Granted<Right>, RequestError> {
    let client = client.clone().because(reason, "case 7").unwrap();
    let body = json!({"device": device, "channel": 1});
    client.call(Method::PUT, "/v1/rights", Some(&body)).await
}

async fn waits(client: &Client, device: &str) -> Approval {
    match ask(client, device, "a gift").await.unwrap() {
        Granted::Waits(approval) => *approval,
        Granted::Done(right) => unreachable!("{right:?}"),
    }
}

async fn decide(client: &Client, id: &str, what: &str) -> Result<Approval, RequestError> {
    client
        .post(&format!("/v1/approvals/{id}/{what}"), &())
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_19_a_right_waits_for_a_second_person_and_is_given_once() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = bench.device().await.subject.clone();
    // Nobody could approve: the rule is refused.
    let alone = refused_as(Kind::Conflict, rules(&bench, &["right"]).await);
    assert!(alone.contains("second person"), "{alone}");
    let bob = bench.operator("bob", OperatorRole::Owner).await;
    let eve = bench.operator("eve", OperatorRole::Support).await;
    rules(&bench, &["right"]).await.unwrap();

    let why = refused_as(Kind::Invalid, ask(&bench.admin, &device, "").await);
    assert!(why.contains("--reason"), "{why}");
    let approval = waits(&bench.admin, &device).await;
    assert_eq!(approval.state, ApprovalState::Open);
    assert_eq!(approval.asked_by, "admin:ada");
    assert_eq!(
        (approval.reason.as_str(), approval.case.as_str()),
        ("a gift", "case 7")
    );
    assert_eq!(
        bench.list("rights").await["rights"],
        json!([]),
        "nothing is given yet"
    );
    // Word for word again: the same one.
    assert_eq!(waits(&bench.admin, &device).await.id, approval.id);
    let id = approval.id.to_string();
    let own = refused_as(Kind::Forbidden, decide(&bench.admin, &id, "approve").await);
    assert!(own.contains("second person"), "{own}");
    refused_as(Kind::Forbidden, decide(&eve, &id, "approve").await);
    refused_as(Kind::Forbidden, decide(&eve, &id, "refuse").await);

    let approved = decide(&bob, &id, "approve").await.unwrap();
    assert_eq!(approved.state, ApprovalState::Approved);
    assert_eq!(approved.decided_by.as_deref(), Some("admin:bob"));
    assert_eq!(
        bench.list("rights").await["rights"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let again = refused_as(Kind::Conflict, decide(&bob, &id, "approve").await);
    assert!(again.contains("approved by admin:bob"), "{again}");
    // One entry tells all of it.
    let log = bench.list("audit?limit=1000").await.to_string();
    let told =
        format!("asked_by=admin:ada approval={id} reason=\\\"a gift\\\" case=\\\"case 7\\\"");
    assert!(log.contains(&told), "{log}");
    assert_eq!(log.matches("\"right.give\"").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_19_what_is_refused_or_taken_back_is_not_given() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = bench.device().await.subject.clone();
    let bob = bench.operator("bob", OperatorRole::Operator).await;
    bench.operator("carl", OperatorRole::Owner).await;
    rules(&bench, &["right"]).await.unwrap();
    let refused_one = waits(&bench.admin, &device).await.id.to_string();
    assert_eq!(
        decide(&bob, &refused_one, "refuse").await.unwrap().state,
        ApprovalState::Refused
    );
    let back = waits(&bench.admin, &device).await.id.to_string();
    assert_ne!(back, refused_one);
    decide(&bench.admin, &back, "refuse").await.unwrap();
    for id in [&refused_one, &back] {
        refused_as(Kind::Conflict, decide(&bob, id, "approve").await);
    }
    let page: ApprovalPage = bench.admin.get("/v1/approvals").await.unwrap();
    let states: Vec<_> = page
        .approvals
        .iter()
        .map(|approval| approval.state)
        .collect();
    assert_eq!(states, [ApprovalState::Refused; 2]);
    assert_eq!(bench.list("rights").await["rights"], json!([]));
}

/// Rules that there are cannot be lifted by one alone, and roles that are ruled not given.
#[tokio::test(flavor = "multi_thread")]
async fn sec_19_the_rules_themselves_and_roles_need_a_second_person_too() {
    let mut bench = Bench::start().await;
    let bob = bench.operator("bob", OperatorRole::Owner).await;
    rules(&bench, &["operator", "transfer"]).await.unwrap();
    let ada = bench.admin.clone().because("growth", "").unwrap();
    let asked: Approval = ada
        .call(
            Method::PUT,
            "/v1/operators/eve",
            Some(&json!({"role": "owner"})),
        )
        .await
        .unwrap();
    let lifted: Approval = ada
        .call(
            Method::PUT,
            "/v1/approval-rules",
            Some(&json!({"second_person": []})),
        )
        .await
        .unwrap();
    // The rules outlive a restart.
    bench.stop().await;
    bench.start_again().await;
    let operators = bench.list("operators").await.to_string();
    assert!(!operators.contains("eve"), "{operators}");
    decide(&bob, &asked.id.to_string(), "approve")
        .await
        .unwrap();
    let operators = bench.list("operators").await.to_string();
    assert!(operators.contains("eve"), "{operators}");
    // A shop is a machine: its own rules decide, not people.
    let shop = bench_shop(&bench, &bob).await;
    let book = |number: u8| format!("book_{number:032x}");
    for number in 1..=2 {
        let body = json!({"unit": "grant"});
        let _: Value = shop
            .call(
                Method::PUT,
                &format!("/v1/books/{}", book(number)),
                Some(&body),
            )
            .await
            .unwrap();
    }
    let body = json!({"kind": "move", "debit": book(1), "credit": book(2), "amount": 5});
    let path = format!("/v1/transfers/trf_{:032x}", 1);
    let made: Transfer = shop.call(Method::PUT, &path, Some(&body)).await.unwrap();
    assert_eq!(made.amount, 5);
    let path = format!("/v1/transfers/trf_{:032x}", 2);
    let of_ada: Approval = ada.call(Method::PUT, &path, Some(&body)).await.unwrap();
    assert_eq!(of_ada.state, ApprovalState::Open);
    decide(&bob, &lifted.id.to_string(), "approve")
        .await
        .unwrap();
    let made: Transfer = ada.call(Method::PUT, &path, Some(&body)).await.unwrap();
    assert_eq!(made.number, 2);
    // It was done meanwhile: approving it finds it done.
    decide(&bob, &of_ada.id.to_string(), "approve")
        .await
        .unwrap();
    assert_eq!(
        bench.list("transfers").await["transfers"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

/// Nobody makes himself a second person: neither by a role, nor by a code for another one, nor with what he asked for before he was stopped.
#[tokio::test(flavor = "multi_thread")]
async fn sec_19_nobody_is_two_persons() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = bench.device().await.subject.clone();
    let bob = bench.operator("bob", OperatorRole::Owner).await;
    rules(&bench, &["right"]).await.unwrap();
    let ada = bench.admin.clone().because("alone", "").unwrap();
    let put = async |name: &str, body: Value| {
        let path = format!("/v1/operators/{name}");
        ada.call::<Approval>(Method::PUT, &path, Some(&body)).await
    };
    put("eve", json!({"role": "owner"})).await.unwrap();
    let code = bench.admin.post("/v1/operators/bob/code", &()).await;
    let why = refused_as(Kind::Conflict, code.map(|_: Value| ()));
    assert!(why.contains("operator anew"), "{why}");
    let anew = put("bob", json!({"role": "owner", "anew": true})).await;
    assert_eq!(anew.unwrap().state, ApprovalState::Open);
    let _: Value = bob.get("/v1/channels").await.unwrap();

    let carl = put("carl", json!({"role": "operator"})).await.unwrap();
    decide(&bob, &carl.id.to_string(), "approve").await.unwrap();
    let code = bench.admin.post("/v1/operators/carl/code", &()).await;
    let identity = crate::bench::enrol(&bench.url, &code.unwrap(), Role::Admin).await;
    let carl = Client::new(&identity.unwrap()).unwrap();
    let asked = waits(&carl, &device).await.id.to_string();
    bench
        .set("/v1/operators/carl", Standing::Suspended)
        .await
        .unwrap();
    let why = refused_as(Kind::Conflict, decide(&bob, &asked, "approve").await);
    assert!(why.contains("carl is suspended"), "{why}");
    assert_eq!(bench.list("rights").await["rights"], json!([]));
    // Nothing was decided by that.
    bench
        .set("/v1/operators/carl", Standing::Active)
        .await
        .unwrap();
    decide(&bob, &asked, "approve").await.unwrap();
}

/// SEC-19: what stands in the audit log is bounded, whether a second person reads it or not.
#[tokio::test(flavor = "multi_thread")]
async fn sec_19_reasons_and_cases_are_bounded_at_every_request() {
    let bench = Bench::start().await;
    let ada = raw(&bench.ada, Some(&bench.ada));
    for (reason, case, good) in [
        ("r".repeat(200), "c".repeat(40), true),
        ("r".repeat(201), String::new(), false),
        (String::new(), "c".repeat(41), false),
    ] {
        let put = ada
            .put(format!("{}/v1/operators/eve", bench.url))
            .header(REASON, reason)
            .header(CASE, case)
            .json(&json!({"role": "support"}));
        let answer = put.send().await.unwrap();
        if good {
            assert_eq!(answer.status(), 200);
        } else {
            let problem = problem(answer).await;
            assert_eq!(problem.kind, Kind::Invalid);
            assert!(problem.detail.contains("at most"), "{}", problem.detail);
        }
    }
    assert_eq!(
        bench
            .list("audit")
            .await
            .to_string()
            .matches("operator.put")
            .count(),
        1
    );
}

async fn bench_shop(bench: &Bench, bob: &Client) -> Client {
    let ada = bench.admin.clone().because("a shop", "").unwrap();
    let asked: Approval = ada
        .call(
            Method::PUT,
            "/v1/operators/shop",
            Some(&json!({"role": "shop"})),
        )
        .await
        .unwrap();
    decide(bob, &asked.id.to_string(), "approve").await.unwrap();
    let code = bench
        .admin
        .post("/v1/operators/shop/code", &())
        .await
        .unwrap();
    let identity = crate::bench::enrol(&bench.url, &code, Role::Admin);
    Client::new(&identity.await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_19_who_has_a_limit_gives_no_more_in_a_day() {
    let bench = Bench::start().await;
    for channel in 1..=4 {
        bench.channel(channel).await;
    }
    let device = bench.device().await.subject.clone();
    let bob = bench.operator("bob", OperatorRole::Operator).await;
    let limited = json!({"role": "operator", "grants_per_day": 3});
    bench.put("/v1/operators/bob", &limited).await;
    let give = async |client: &Client, channel: u16| {
        let body = json!({"device": device, "channel": channel});
        client
            .call::<Right>(Method::PUT, "/v1/rights", Some(&body))
            .await
    };
    for channel in 1..=3 {
        give(&bob, channel).await.unwrap();
    }
    let over = refused_as(Kind::Forbidden, give(&bob, 4).await);
    assert!(over.contains("3 times a day"), "{over}");
    give(&bench.admin, 4).await.unwrap();
    bench
        .put(
            "/v1/operators/bob",
            &json!({"role": "operator", "grants_per_day": 4}),
        )
        .await;
    give(&bob, 4).await.unwrap();
    refused(give(&bob, 4).await);
}

/// SEC-19: somebody can always rule.
#[tokio::test(flavor = "multi_thread")]
async fn sec_19_the_last_owner_stays_and_who_is_suspended_does_nothing() {
    let bench = Bench::start().await;
    let bob = bench.operator("bob", OperatorRole::Operator).await;
    let why = bench.set("/v1/operators/ada", Standing::Suspended).await;
    let why = refused_as(Kind::Conflict, why);
    assert!(why.contains("only owner"), "{why}");
    let less = json!({"role": "auditor"});
    let less = bench
        .admin
        .call::<Value>(Method::PUT, "/v1/operators/ada", Some(&less));
    refused_as(Kind::Conflict, less.await);
    bench
        .set("/v1/operators/bob", Standing::Suspended)
        .await
        .unwrap();
    let asked: Result<Value, _> = bob.get("/v1/channels").await;
    let why = refused_as(Kind::Suspended, asked);
    assert!(why.contains("suspended"), "{why}");
    bench
        .set("/v1/operators/bob", Standing::Active)
        .await
        .unwrap();
    let _: Value = bob.get("/v1/channels").await.unwrap();
    bench
        .set("/v1/operators/bob", Standing::Revoked)
        .await
        .unwrap();
    let asked: Result<Value, _> = bob.get("/v1/channels").await;
    refused_as(Kind::Suspended, asked);
    refused_as(
        Kind::Conflict,
        bench.set("/v1/operators/bob", Standing::Active).await,
    );
    let missing: Result<Value, _> = bench.admin.post("/v1/operators/nobody/code", &()).await;
    refused_as(Kind::NotFound, missing);
}

/// SEC-19: the table of roles, as it is written down in docs/operations.md.
#[test]
fn sec_19_the_table_of_roles_is_what_is_documented() {
    let documented = include_str!("../../../docs/operations.md");
    for permit in [
        Permit::ReadPlant,
        Permit::RunPlant,
        Permit::ReadCustomers,
        Permit::Care,
        Permit::Grant,
        Permit::ReadLedger,
        Permit::Bookkeep,
        Permit::ReadSales,
        Permit::Settle,
        Permit::ReadShares,
        Permit::ReadCatalogue,
        Permit::Curate,
        Permit::ReadAudit,
        Permit::Rule,
    ] {
        let may = |role: OperatorRole| if role.may(permit) { "yes" } else { "-" };
        let cells = OperatorRole::ALL.map(may).join(" | ");
        let row = format!("| {} | {cells} |", permit.words());
        assert!(documented.contains(&row), "{row}");
    }
}
