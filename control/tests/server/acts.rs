//! What is done is written down, and what is asked twice is done once.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use sealcast_objects::api::{NewAccount, NewCode, Role, Standing};
use sealcast_objects::audit::{AuditEntry, AuditFault, Chain, Head, HeadStatement, SignedHead};
use sealcast_objects::problem::{IDEMPOTENCY_KEY, Kind, REPLAYED};
use sealcast_objects::signed;
use serde_json::{Value, json};

use crate::bench::{Bench, HOUR, channel, enrol, id, problem, raw, refused_as, until};
use crate::link::Link;

/// A POST with this key, and whether the answer was given before.
async fn post(client: &reqwest::Client, url: String, key: &str, body: &Value) -> (bool, Value) {
    let sent = client.post(url).header(IDEMPOTENCY_KEY, key).json(body);
    let answer = sent.send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    let replayed = answer.headers().contains_key(REPLAYED);
    (replayed, answer.json().await.unwrap())
}

async fn log(bench: &Bench) -> Vec<AuditEntry> {
    let page = bench.list("audit?limit=1000").await;
    serde_json::from_value(page["entries"].clone()).unwrap()
}

fn chain(entries: &[AuditEntry], kept: &[Head]) -> Vec<AuditFault> {
    let mut chain = Chain::new(kept.to_vec());
    entries.iter().for_each(|entry| chain.add(entry));
    chain.finish().1
}

/// Every act of an operator, of a device, and of the server is one entry of the log; no secret is.
#[tokio::test(flavor = "multi_thread")]
async fn sec_19_every_act_is_in_the_log() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    bench.node(5, Some(vec![1])).await;
    let code = bench.device_code().await;
    let device = enrol(&bench.url, &code, Role::Device).await.unwrap();
    bench.right(&device, 1).await;
    let at = format!("/v1/rights/{}/1", device.subject);
    bench.set(&at, Standing::Suspended).await.unwrap();
    let at = format!("/v1/devices/{}", device.subject);
    bench.set(&at, Standing::Revoked).await.unwrap();
    let change = json!(channel(1));
    let put = bench
        .admin
        .call::<Value>(Method::PUT, "/v1/channels/1", Some(&change));
    put.await.unwrap();
    let new = json!({"name": "pack", "channels": [1]});
    let secrets: Value = bench.admin.post("/v1/packagers", &new).await.unwrap();
    let gone = bench
        .admin
        .call::<Value>(Method::DELETE, "/v1/packagers/pack", None::<&()>);
    gone.await.unwrap();
    let keys: Value = bench.admin.post("/v1/authority-keys", &()).await.unwrap();
    assert_eq!(keys.as_array().unwrap().len(), 2);

    let entries = log(&bench).await;
    let subject = device.subject.as_str();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry.actor.as_str(),
                entry.act.as_str(),
                entry.subject.as_str(),
            )
        })
        .collect();
    let (ada, box_) = ("admin:ada", format!("device:{subject}"));
    let wanted = [
        ("server", "operator.code", "ada"),
        (ada, "enrol", "ada"),
        (ada, "channel.add", "1"),
        (ada, "node.put", "5"),
        ("node:5", "enrol", "5"),
        (ada, "device.add", subject),
        (box_.as_str(), "enrol", subject),
        (ada, "right.give", subject),
        (ada, "right.set", subject),
        (ada, "device.set", subject),
        (ada, "channel.change", "1"),
        (ada, "packager.add", "pack"),
        (ada, "packager.remove", "pack"),
    ];
    let told: Vec<_> = found
        .iter()
        .filter(|(_, act, _)| !act.starts_with("authority-key") && *act != "ticket-key.add")
        .copied()
        .collect();
    assert_eq!(told, wanted);
    assert!(
        found
            .iter()
            .any(|(_, act, _)| *act == "authority-key.prepare")
    );
    assert_eq!(chain(&entries, &[]), []);
    let text = serde_json::to_string(&entries).unwrap();
    let token = secrets["token"].as_str().unwrap();
    assert!(!text.contains(token) && !text.contains(&code.code));
    // Who may not act leaves nothing; who reads does not either.
    let eve = raw(&bench.ada, Some(&device));
    let body = json!({"name": "x"});
    let url = format!("{}/v1/accounts", bench.url);
    let sent = eve.post(&url).header(IDEMPOTENCY_KEY, "k").json(&body);
    assert!(!sent.send().await.unwrap().status().is_success());
    assert_eq!(log(&bench).await, entries);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_again_gets_the_first_answer() {
    let mut bench = Bench::start().await;
    let ada = raw(&bench.ada, Some(&bench.ada));
    let url = format!("{}/v1/devices", bench.url);
    let body = json!({"name": "set-top box"});
    let (replayed, first) = post(&ada, url.clone(), "one", &body).await;
    assert!(!replayed);
    let entries = log(&bench).await.len();
    // The code of the first time, after a restart, too; the order of fields is nobody's business.
    for _ in 0..2 {
        let (replayed, again) = post(&ada, url.clone(), "one", &body).await;
        assert!(replayed);
        assert_eq!(again, first);
        bench.stop().await;
        bench.start_again().await;
    }
    // HTTP/2 names the host in a request, HTTP/1.1 beside it.
    let mut tls = bench.ada.tls().unwrap();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let old = reqwest::Client::builder().tls_backend_preconfigured(tls);
    let old = old.http1_only().no_proxy().build().unwrap();
    assert_eq!(
        post(&old, url.clone(), "one", &body).await,
        (true, first.clone())
    );
    let code: NewCode = serde_json::from_value(first).unwrap();
    enrol(&bench.url, &code, Role::Device).await.unwrap();
    assert_eq!(
        bench.list("devices").await["devices"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(log(&bench).await.len(), entries + 1, "only the enrolment");
    // Something else under the same key; the same at another path.
    let other = json!({"name": "phone"});
    for (url, body) in [
        (url.clone(), &other),
        (format!("{url}?valid_ms=5"), &body),
        (format!("{}/v1/accounts", bench.url), &body),
    ] {
        let sent = ada.post(url).header(IDEMPOTENCY_KEY, "one").json(body);
        let problem = problem(sent.send().await.unwrap()).await;
        assert_eq!((problem.kind, problem.status), (Kind::KeyReused, 422));
    }
    // Another operator's key is another.
    let code = bench.server().operator_code("bob", HOUR).await.unwrap();
    let bob = enrol(&bench.url, &code, Role::Admin).await.unwrap();
    let bob = raw(&bench.ada, Some(&bob));
    let (replayed, _) = post(&bob, url.clone(), "one", &other).await;
    assert!(!replayed);
    // None, an empty one, one that is too long, or no text.
    let long = "k".repeat(129);
    for key in [
        None,
        Some(""),
        Some(long.as_str()),
        Some("a b"),
        Some("\u{e9}"),
    ] {
        let mut sent = ada.post(url.as_str()).json(&body);
        if let Some(key) = key {
            sent = sent.header(IDEMPOTENCY_KEY, key);
        }
        let problem = problem(sent.send().await.unwrap()).await;
        assert_eq!(problem.kind, Kind::Invalid);
        assert!(problem.detail.contains(IDEMPOTENCY_KEY));
    }
    // What was refused is not an answer that is kept.
    let none = json!({"account": "acc_00000000000000000000000000000009", "name": "x"});
    for _ in 0..2 {
        let sent = ada.post(url.as_str()).header(IDEMPOTENCY_KEY, "two");
        let problem = problem(sent.json(&none).send().await.unwrap()).await;
        assert_eq!(problem.kind, Kind::NotFound);
    }
    assert!(!post(&ada, url, "two", &body).await.0);
}

/// Whatever arrives together goes into one transaction: the first makes it, the others get its answer.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_is_done() {
    let bench = Bench::start().await;
    let ada = raw(&bench.ada, Some(&bench.ada));
    let url = format!("{}/v1/accounts", bench.url);
    for round in 0..20 {
        let body = json!(NewAccount {
            name: format!("account {round}")
        });
        let asking: Vec<_> = (0..10)
            .map(|_| {
                let (ada, url, body) = (ada.clone(), url.clone(), body.clone());
                let key = format!("round-{round}");
                tokio::spawn(async move { post(&ada, url, &key, &body).await })
            })
            .collect();
        let (mut made, mut answers) = (0, BTreeSet::new());
        for one in asking {
            let (replayed, answer) = one.await.unwrap();
            made += u32::from(!replayed);
            answers.insert(answer.to_string());
        }
        assert_eq!((made, answers.len()), (1, 1));
    }
    assert_eq!(
        bench.list("accounts").await["accounts"]
            .as_array()
            .unwrap()
            .len(),
        20
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_was_ended_is_not_ended_again_by_a_retry() {
    let bench = Bench::start().await;
    let ada = raw(&bench.ada, Some(&bench.ada));
    bench.channel(1).await;
    let url = format!("{}/v1/channels/1/end-epoch", bench.url);
    let ask = async |key| {
        let sent = ada.post(&url).header(IDEMPOTENCY_KEY, key);
        sent.send().await.unwrap()
    };
    // Nothing is in use: refused, and not kept as done.
    for _ in 0..2 {
        assert_eq!(ask("k").await.status(), StatusCode::CONFLICT);
    }
    let ends = |entries: Vec<AuditEntry>| {
        let ends = entries.iter().filter(|entry| entry.act == "epoch.end");
        ends.count()
    };
    assert_eq!(ends(log(&bench).await), 0);
    // A delivery server has its key: there is something to end.
    let node = bench.node(5, None).await;
    let mut link = Link::up(&node, 5).await;
    link.report(1);
    link.cipher_half().await;
    until("the epoch is ended", async || {
        ask("k").await.status() == StatusCode::ACCEPTED
    })
    .await;
    let again = ask("k").await;
    assert_eq!(again.status(), StatusCode::ACCEPTED);
    assert!(again.headers().contains_key(REPLAYED));
    assert_eq!(ends(log(&bench).await), 1);
}

/// SEC-19: the head is signed, the export is whole and checks without the server, and a store that was changed is found out.
#[tokio::test(flavor = "multi_thread")]
async fn sec_19_a_kept_head_and_an_export_show_what_was_changed() {
    let mut bench = Bench::start().await;
    for _ in 0..3 {
        bench.device().await;
    }
    let head: SignedHead = serde_json::from_value(bench.list("audit/head").await).unwrap();
    let key = sealcast_crypto::VerifyingKey::from_bytes(head.key.clone().try_into().unwrap());
    let statement: HeadStatement = signed::verify(&head.signed, &key).unwrap();
    assert_eq!(statement.0, head.number);
    let kept = Head {
        number: statement.0,
        hash: statement.1,
    };
    let ada = raw(&bench.ada, Some(&bench.ada));
    let export = async |format: &str| {
        let url = format!("{}/v1/audit/export?format={format}", bench.url);
        let answer = ada.get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.text().await.unwrap()
    };
    let jsonl = export("jsonl").await;
    let entries: Vec<AuditEntry> = jsonl
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(chain(&entries, &[kept]), []);
    assert_eq!(entries.last().unwrap().act, "audit.export");
    assert_eq!(entries.last().unwrap().number, head.number + 1);
    let csv = export("csv").await;
    assert_eq!(
        csv.lines().count(),
        entries.len() + 2,
        "a heading, and this export"
    );
    assert!(csv.starts_with("number,at,actor,act,subject,detail,hash\r\n1,"));
    let sent = ada.get(format!("{}/v1/audit/export?format=pdf", bench.url));
    assert_eq!(
        problem(sent.send().await.unwrap()).await.kind,
        Kind::Invalid
    );
    // Pages, one after the other, are the same log.
    let mut paged: Vec<AuditEntry> = Vec::new();
    let mut next = Some(0);
    while let Some(after) = next {
        let page = bench.list(&format!("audit?limit=4&after={after}")).await;
        let entries: Vec<AuditEntry> = serde_json::from_value(page["entries"].clone()).unwrap();
        assert!(entries.len() <= 4);
        paged.extend(entries);
        next = page["next"].as_u64();
    }
    assert_eq!(paged[..entries.len()], entries);
    // The key that signs is the same after a restart.
    bench.stop().await;
    let verified = bench.verified(vec![kept]).await;
    assert_eq!((verified.audit, verified.ledger), (vec![], vec![]));
    bench.start_again().await;
    let later: SignedHead = serde_json::from_value(bench.list("audit/head").await).unwrap();
    assert_eq!(later.key, head.key);
    // A head of another log, and one of a log that was longer.
    let mut other = kept;
    other.hash[0] ^= 1;
    let longer = Head {
        number: u64::MAX,
        hash: kept.hash,
    };
    let verified = bench.verified(vec![kept, other, longer]).await;
    let number = kept.number;
    assert_eq!(verified.audit[0], AuditFault::Other(number));
    assert!(matches!(verified.audit[1], AuditFault::Short { .. }));
    assert_eq!(verified.audit.len(), 2);
}

/// A command is refused by the store: neither it nor its entry is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_not_in_the_log() {
    let bench = Bench::start().await;
    let device = bench.device().await;
    let before = log(&bench).await;
    let put = json!({"device": id(&device), "channel": 9});
    let put = bench
        .admin
        .call::<Value>(Method::PUT, "/v1/rights", Some(&put));
    refused_as(Kind::NotFound, put.await);
    assert_eq!(log(&bench).await, before);
}
