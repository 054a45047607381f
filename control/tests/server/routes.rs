//! Every path, asked by everybody: only what is theirs.

use reqwest::{Method, StatusCode};
use sealcast_control::http::Rate;
use sealcast_objects::api::{OperatorRole, Permit};
use sealcast_objects::problem::{IDEMPOTENCY_KEY, Kind, REASON};
use sealcast_terminal::identity::Identity;
use serde_json::{Value, json};

use crate::bench::{Bench, channel, problem, raw};
use crate::billing::billed;
use crate::licences::Holder;
use crate::sales::settled;
use crate::slaves::Slave;

/// Ids of what there is, by the names that the list of requests has for them.
struct There(Vec<(&'static str, String)>);

impl There {
    async fn make(bench: &Bench, device: &Identity) -> Self {
        let purchase = settled(bench, &Holder::of(device.clone(), 9), 9).await;
        let (month, bill) = billed(bench, &device.subject).await;
        let device = device.subject.as_str();
        let new = json!({"name": "Northern Films"});
        let provider: Value = bench.admin.post("/v1/providers", &new).await.unwrap();
        let new = json!({"provider": provider["id"], "title": "x", "kind": "data", "format": "x"});
        let content: Value = bench.admin.post("/v1/contents", &new).await.unwrap();
        let new = json!({"title": "x", "subject": {"kind": "content", "content": content["id"]}, "price": {"amount": 1, "currency": "EUR"}});
        let offer: Value = bench.admin.post("/v1/offers", &new).await.unwrap();
        let new = json!({"url": "https://localhost/", "events": ["content.add"]});
        let webhook: Value = bench.admin.post("/v1/webhooks", &new).await.unwrap();
        let spare = bench.device().await.subject.clone();
        let recovery = format!("/v1/devices/{spare}/recovery");
        let recovery: Value = bench.admin.post(&recovery, &()).await.unwrap();
        let found: Value = bench
            .admin
            .get(&format!("/v1/devices/{device}"))
            .await
            .unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self(vec![
            ("device", device.to_owned()),
            ("account", text(&found["account"])),
            ("spare", spare),
            ("recovery", text(&recovery["subject"])),
            ("approval", waiting(bench).await),
            ("provider", text(&provider["id"])),
            ("content", text(&content["id"])),
            ("offer", text(&offer["id"])),
            ("purchase", purchase.id.to_string()),
            ("certificate", purchase.certificates[0].id.to_string()),
            ("webhook", text(&webhook["id"])),
            ("bill", bill.to_string()),
            ("month", month.to_string()),
        ])
    }

    /// All of them are `{id}`.
    fn patterns() -> Self {
        let names = [
            "device",
            "account",
            "spare",
            "recovery",
            "approval",
            "provider",
            "content",
            "offer",
            "purchase",
            "certificate",
            "webhook",
            "bill",
            "month",
        ];
        Self(names.map(|name| (name, "{id}".to_owned())).into())
    }

    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, id)| {
            text.replace(&format!("<{name}>"), id)
        })
    }
}

type Request = (Permit, Method, String, Value);

const PERMITS: [Permit; 14] = [
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
];

/// What only an operator may do who is permitted that, as requests that would do something.
fn administration(there: &There) -> Vec<Request> {
    let list = include_str!("requests.txt").lines();
    list.map(|line| {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (permit, method, path, body) = (word(), word(), word(), word());
        let permit = PERMITS
            .into_iter()
            .find(|known| format!("{known:?}") == permit);
        let body = match body {
            "" => json!(null),
            "<channel 1>" => json!(channel(1)),
            "<channel 77>" => json!(channel(77)),
            body => serde_json::from_str(&there.fill(body)).unwrap(),
        };
        (
            permit.unwrap(),
            method.parse().unwrap(),
            there.fill(path),
            body,
        )
    })
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
        "licences",
        "offers",
        "purchases",
        "tariffs",
        "splits",
        "parties",
        "billing/months",
        "bills",
        "packagers",
        "authority-keys",
        "operators",
        "approvals",
        "approval-rules",
        "usage",
        "books",
        "transfers",
        "providers",
        "contents",
        "downloads",
        "certificates",
        "webhooks",
    ] {
        let mut found = bench.list(what).await;
        // How far a webhook has come is nobody's change.
        for one in found.as_array_mut().into_iter().flatten() {
            one.as_object_mut().map(|one| one.remove("position"));
        }
        state.push(found);
    }
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_administration_is_for_operators_only_on_every_path() {
    // One device asks for everything.
    let bench = Bench::start_with(|config| {
        config.limits.device_rate = Rate {
            per_second: 1000,
            burst: 1000,
        };
    })
    .await;
    bench.channel(1).await;
    let device = bench.entitled(&[1]).await;
    let node = bench.node(5, None).await;
    let slave = Slave::enrol(&bench, 6).await.identity;
    let there = There::make(&bench, &device).await;
    let before = state(&bench).await;
    let asking = [
        (None, Kind::Unauthenticated),
        (Some(&device), Kind::Forbidden),
        (Some(&node), Kind::Forbidden),
        (Some(&slave), Kind::Forbidden),
    ];
    for (identity, kind) in asking {
        let client = raw(&bench.ada, identity);
        for (_, method, path, body) in administration(&there) {
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
    let mut requests = administration(&there);
    // Those that revoke or remove come last.
    requests.sort_by_key(|(_, method, _, _)| (*method == Method::DELETE, *method == Method::PATCH));
    for (number, (_, method, path, body)) in requests.into_iter().enumerate() {
        let sent = ada
            .request(method.clone(), format!("{}{path}", bench.url))
            .header(IDEMPOTENCY_KEY, number)
            .header(REASON, "a walk");
        let status = sent.json(&body).send().await.unwrap().status();
        // Too early, or nobody's but the house's to settle.
        let not_now = ["end-epoch", "/settle", "/fail"]
            .iter()
            .any(|end| path.ends_with(end));
        let early = not_now && status == StatusCode::CONFLICT;
        assert!(status.is_success() || early, "{method} {path}: {status}");
    }
    assert_ne!(state(&bench).await, before);
}

/// Something that waits for a second person, and no rules any more.
async fn waiting(bench: &Bench) -> String {
    let bob = bench.operator("bob", OperatorRole::Owner).await;
    let rules = |kinds: Value| json!({ "second_person": kinds });
    bench
        .put("/v1/approval-rules", &rules(json!(["right"])))
        .await;
    let ada = bench.admin.clone().because("no more", "").unwrap();
    let none = rules(json!([]));
    let asked: Value = ada
        .call(Method::PUT, "/v1/approval-rules", Some(&none))
        .await
        .unwrap();
    let id = asked["id"].as_str().unwrap().to_owned();
    let approve = format!("/v1/approvals/{id}/approve");
    let _: Value = bob.post(&approve, &()).await.unwrap();
    id
}

/// SEC-19: each role may do what is its own, on every path, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn sec_19_every_role_does_what_it_is_there_for_and_nothing_else() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = bench.entitled(&[1]).await;
    bench.node(5, None).await;
    let there = There::make(&bench, &device).await;
    let mut walked = 0;
    for role in OperatorRole::ALL {
        let identity = bench.operator_identity(role.name(), role).await;
        let client = raw(&bench.ada, Some(&identity));
        let before = state(&bench).await;
        let requests = administration(&there);
        for (permit, method, path, body) in requests
            .into_iter()
            .filter(|(permit, ..)| !role.may(*permit))
        {
            for body in [serde_json::to_vec(&body).unwrap(), b"{".to_vec()] {
                let sent = client
                    .request(method.clone(), format!("{}{path}", bench.url))
                    .header("content-type", "application/json")
                    .header(IDEMPOTENCY_KEY, "k")
                    .body(body);
                let problem = problem(sent.send().await.unwrap()).await;
                assert_eq!(problem.kind, Kind::Forbidden, "{role:?} {method} {path}");
                assert!(
                    problem.detail.contains(permit.words()),
                    "{}",
                    problem.detail
                );
                walked += 1;
            }
        }
        assert_eq!(state(&bench).await, before, "{role:?} changed nothing");
        // What is permitted is not refused for its role; without a good body most of it does nothing.
        let reads = administration(&there);
        for (_, method, path, _) in reads
            .into_iter()
            .filter(|(permit, method, ..)| role.may(*permit) && method == Method::GET)
        {
            let sent = client
                .get(format!("{}{path}", bench.url))
                .send()
                .await
                .unwrap();
            // What is asked for need not be there.
            let status = sent.status();
            let good = status.is_success() || status == StatusCode::NOT_FOUND;
            assert!(good, "{role:?} {method} {path}: {status}");
        }
    }
    assert!(walked > 200, "{walked}");
}

#[test]
fn the_walk_over_all_paths_leaves_none_out() {
    let there = There::patterns();
    let walked: Vec<_> = administration(&there)
        .into_iter()
        .map(|(_, method, path, _)| (method, path))
        .collect();
    // Of those who have a code, a key, an assertion or a token, or are a device: the tests of these, and
    // those of cards. Whoever asked for something may take it
    // back: the test of approvals.
    let others = [
        "/v1/approvals/{id}/approve",
        "/v1/approvals/{id}/refuse",
        "/v1/contents/{id}",
        "/v1/contents/{id}/versions",
        "/v1/contents/{id}/versions/{n}/data",
        "/v1/door",
        "/v1/enrol",
        "/v1/factory-devices/enrol",
        "/v1/interop/cpix/{channel}",
        "/v1/interop/keys/{channel}",
        "/v1/login",
        "/v1/login/oidc",
        "/v1/login/oidc/finish",
        "/v1/login/password",
        "/v1/payments/cards",
        "/v1/payments/cards/events",
        "/v1/payments/cards/reconcile",
        "/v1/purchases/{id}/card",
        "/v1/recoveries/use",
        "/v1/recoveries/{id}/object",
        "/v1/renew",
        "/v1/session",
        "/v1/signers",
        "/v1/time",
        "/v1/token",
        "/v1/usage",
    ];
    let described = described();
    assert!(described.len() > 100, "{}", described.len());
    for (method, template) in &described {
        let walks = |(walked, path): &(Method, String)| walked == method && fits(template, path);
        let known = walked.iter().any(walks)
            || others.contains(&template.as_str())
            || template.starts_with("/v1/me")
            || template.starts_with("/v1/device/");
        assert!(known, "{method} {template} is not walked");
    }
    for (method, path) in &walked {
        let mut all = described.iter();
        let known = all.any(|(described, template)| described == method && fits(template, path));
        assert!(known, "{method} {path} is not described");
    }
}

/// Methods and paths that the API's description has.
pub(crate) fn described() -> Vec<(Method, String)> {
    let document: Value = serde_json::from_str(sealcast_control::http::openapi()).unwrap();
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, _) in methods.as_object().unwrap() {
            all.push((method.to_uppercase().parse().unwrap(), path.clone()));
        }
    }
    all
}

/// Whether a path is one of a template's.
pub(crate) fn fits(template: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template
            .zip(path)
            .all(|(part, of)| part == of || part.starts_with('{'))
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
