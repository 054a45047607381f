//! Every path, asked by everybody: only what is theirs.

use reqwest::{Method, StatusCode};
use sealcast_objects::problem::{IDEMPOTENCY_KEY, Kind};
use serde_json::{Value, json};

use crate::bench::{Bench, channel, problem, raw};
use crate::slaves::Slave;

/// What only an operator may do, as requests that would do something.
fn administration(device: &str) -> Vec<(Method, String, Value)> {
    let set = json!({"standing": "revoked"});
    let requests = [
        (Method::GET, "/v1/status", json!(null)),
        (Method::GET, "/v1/channels", json!(null)),
        (Method::POST, "/v1/channels", json!(channel(77))),
        (Method::PUT, "/v1/channels/1", json!(channel(1))),
        (Method::DELETE, "/v1/channels/1", json!(null)),
        (Method::POST, "/v1/channels/1/end-epoch", json!(null)),
        (Method::GET, "/v1/nodes", json!(null)),
        (Method::POST, "/v1/nodes", json!({"server": 77})),
        (Method::PATCH, "/v1/nodes/5", set.clone()),
        (Method::GET, "/v1/slaves", json!(null)),
        (
            Method::POST,
            "/v1/slaves",
            json!({"slave": 77, "hosts": ["a"]}),
        ),
        (Method::PATCH, "/v1/slaves/6", set.clone()),
        (Method::GET, "/v1/accounts", json!(null)),
        (Method::POST, "/v1/accounts", json!({"name": "x"})),
        (Method::GET, "/v1/devices", json!(null)),
        (Method::POST, "/v1/devices", json!({"name": "x"})),
        (Method::PATCH, "/v1/devices/{device}", set.clone()),
        (Method::POST, "/v1/devices/{device}/code", json!(null)),
        (Method::GET, "/v1/rights", json!(null)),
        (
            Method::PUT,
            "/v1/rights",
            json!({"device": device, "channel": 1}),
        ),
        (Method::PATCH, "/v1/rights/{device}/1", set),
        (Method::POST, "/v1/operators/eve/code", json!(null)),
        (Method::GET, "/v1/usage", json!(null)),
        (Method::GET, "/v1/usage/totals", json!(null)),
        (Method::GET, "/v1/usage/runs", json!(null)),
        (Method::GET, "/v1/packagers", json!(null)),
        (
            Method::POST,
            "/v1/packagers",
            json!({"name": "eve", "channels": [1]}),
        ),
        (Method::DELETE, "/v1/packagers/eve", json!(null)),
        (Method::GET, "/v1/audit", json!(null)),
        (Method::GET, "/v1/audit/head", json!(null)),
        (Method::GET, "/v1/audit/export", json!(null)),
        (Method::GET, "/v1/books", json!(null)),
        (
            Method::PUT,
            "/v1/books/book_00000000000000000000000000000001",
            json!({"unit": "grant"}),
        ),
        (
            Method::PUT,
            "/v1/books/book_00000000000000000000000000000002",
            json!({"unit": "grant"}),
        ),
        (
            Method::GET,
            "/v1/books/book_00000000000000000000000000000001",
            json!(null),
        ),
        (Method::GET, "/v1/transfers", json!(null)),
        (
            Method::PUT,
            "/v1/transfers/trf_00000000000000000000000000000001",
            json!({
                "kind": "move",
                "debit": "book_00000000000000000000000000000001",
                "credit": "book_00000000000000000000000000000002",
                "amount": 1
            }),
        ),
        (
            Method::GET,
            "/v1/transfers/trf_00000000000000000000000000000001",
            json!(null),
        ),
        (
            Method::PUT,
            "/v1/ledger/closed",
            json!({"until": "2026-01-01T00:00:00Z"}),
        ),
        (Method::GET, "/v1/authority-keys", json!(null)),
        (Method::POST, "/v1/authority-keys", json!(null)),
        (
            Method::POST,
            "/v1/authority-keys/promote?force=true",
            json!(null),
        ),
    ];
    requests
        .into_iter()
        .map(|(method, path, body)| (method, path.replace("{device}", device), body))
        .collect()
}

/// Everything that administration may change.
async fn state(bench: &Bench) -> Vec<Value> {
    let mut state = Vec::new();
    for what in [
        "channels",
        "nodes",
        "slaves",
        "accounts",
        "devices",
        "rights",
        "packagers",
        "authority-keys",
        "usage",
        "books",
        "transfers",
    ] {
        state.push(bench.list(what).await);
    }
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_administration_is_for_operators_only_on_every_path() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = bench.entitled(&[1]).await;
    let node = bench.node(5, None).await;
    let slave = Slave::enrol(&bench, 6).await.identity;
    let before = state(&bench).await;
    let asking = [
        (None, Kind::Unauthenticated),
        (Some(&device), Kind::Forbidden),
        (Some(&node), Kind::Forbidden),
        (Some(&slave), Kind::Forbidden),
    ];
    for (identity, kind) in asking {
        let client = raw(&bench.ada, identity);
        for (method, path, body) in administration(&device.subject) {
            let url = format!("{}{path}", bench.url);
            // A good body, and one that is none: who asks comes first.
            for body in [serde_json::to_vec(&body).unwrap(), b"{".to_vec()] {
                let sent = client
                    .request(method.clone(), &url)
                    .header("content-type", "application/json")
                    .body(body);
                let problem = problem(sent.send().await.unwrap()).await;
                assert_eq!(problem.kind, kind, "{method} {path}");
            }
        }
    }
    assert_eq!(state(&bench).await, before, "nothing was changed");
    // The same requests of an operator do something: the list above is no list of typing errors.
    let ada = raw(&bench.ada, Some(&bench.ada));
    let mut requests = administration(&device.subject);
    // Those that remove or revoke come last.
    requests.sort_by_key(|(method, _, _)| (*method == Method::PATCH, *method == Method::DELETE));
    for (number, (method, path, body)) in requests.into_iter().enumerate() {
        let sent = ada
            .request(method.clone(), format!("{}{path}", bench.url))
            .header(IDEMPOTENCY_KEY, number);
        let status = sent.json(&body).send().await.unwrap().status();
        let early = path.ends_with("end-epoch") && status == StatusCode::CONFLICT;
        assert!(status.is_success() || early, "{method} {path}: {status}");
    }
    assert_ne!(state(&bench).await, before);
}

#[test]
fn the_walk_over_all_paths_leaves_none_out() {
    let sources = [
        include_str!("../../src/http/admin.rs"),
        include_str!("../../src/http/audit.rs"),
        include_str!("../../src/http/door.rs"),
        include_str!("../../src/http/enrol.rs"),
        include_str!("../../src/http/interop/packagers.rs"),
        include_str!("../../src/http/ledger.rs"),
        include_str!("../../src/http/receivers.rs"),
        include_str!("../../src/http/session.rs"),
        include_str!("../../src/http/slaves.rs"),
        include_str!("../../src/http/usage.rs"),
    ];
    let known: Vec<String> = administration("{id}")
        .into_iter()
        .map(|(_, path, _)| path.split('?').next().unwrap_or_default().to_owned())
        .chain(["enrol", "renew", "session", "door", "time"].map(|name| format!("/v1/{name}")))
        .collect();
    let mut count = 0;
    for source in sources {
        for text in source.split('"').filter(|text| text.starts_with("/v1/")) {
            let path = text
                .replace("books/{id}", "books/book_00000000000000000000000000000001")
                .replace(
                    "transfers/{id}",
                    "transfers/trf_00000000000000000000000000000001",
                )
                .replace("{device}/{channel}", "{id}/1")
                .replace("channels/{id}", "channels/1")
                .replace("{server}", "5")
                .replace("{slave}", "6")
                .replace("{name}", "eve");
            assert!(known.contains(&path), "{text} is not walked");
            count += 1;
        }
    }
    assert!(count >= 20, "{count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_sessions_and_renewal_are_for_those_with_a_certificate_of_their_own() {
    let bench = Bench::start().await;
    let node = bench.node(5, None).await;
    for identity in [None, Some(&node), Some(&bench.ada)] {
        let client = raw(&bench.ada, identity);
        let sent = client
            .post(format!("{}/v1/session", bench.url))
            .json(&json!({}));
        let problem = problem(sent.send().await.unwrap()).await;
        assert_eq!(problem.kind, Kind::Unauthenticated);
        assert!(problem.detail.contains("device"), "{}", problem.detail);
    }
    let nobody = raw(&bench.ada, None);
    let sent = nobody.post(format!("{}/v1/renew", bench.url));
    let sent = sent.json(&json!({"csr": ""})).send().await.unwrap();
    assert_eq!(problem(sent).await.kind, Kind::Unauthenticated);
    // What anybody may ask.
    let time = nobody.get(format!("{}/v1/time", bench.url)).send().await;
    assert_eq!(time.unwrap().status(), StatusCode::OK);
    let door = nobody
        .post(format!("{}/v1/door", bench.url))
        .body(vec![0; 100]);
    assert_eq!(door.send().await.unwrap().status(), StatusCode::NO_CONTENT);
}
