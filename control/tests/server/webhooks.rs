//! Webhooks, sent to a server of the test's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_encoding::BASE64;
use reqwest::{Method, StatusCode};
use sealcast_control::webhooks::IpNet;
use sealcast_crypto::{Signature, VerifyingKey};
use sealcast_objects::api::{
    Delivery, DeliveryPage, DeliveryState, Replayed, Trial, Webhook, WebhookSecret,
};
use sealcast_objects::audit::AuditEntry;
use sealcast_objects::events::{self, Detail, Event};
use sealcast_objects::problem::{IDEMPOTENCY_KEY, Kind};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::bench::{Bench, LOCAL, problem, raw, refused, refused_as, until};

/// What came.
#[derive(Clone, Debug)]
struct Received {
    headers: BTreeMap<String, String>,
    body: String,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        &self.headers[name]
    }

    fn id(&self) -> &str {
        self.header("webhook-id")
    }

    fn event(&self) -> Event {
        serde_json::from_str(&self.body).unwrap()
    }

    fn subject(&self) -> String {
        self.event().data.subject
    }
}

type Judge = Box<dyn FnMut(&Received) -> u16 + Send>;

/// A server that receives. It answers as a test says; 0: not at all.
struct Receiver {
    url: String,
    got: mpsc::UnboundedReceiver<Received>,
    _stop: watch::Sender<()>,
}

impl Receiver {
    async fn start(judge: impl FnMut(&Received) -> u16 + Send + 'static) -> Self {
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let (tell, got) = mpsc::unbounded_channel();
        let (stop, mut stopped) = watch::channel(());
        let judge: Arc<Mutex<Judge>> = Arc::new(Mutex::new(Box::new(judge)));
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = stopped.changed() => return,
                };
                let (tcp, _) = accepted.unwrap();
                tokio::spawn(receive(tcp, Arc::clone(&judge), tell.clone()));
            }
        });
        Self {
            url,
            got,
            _stop: stop,
        }
    }

    async fn next(&mut self) -> Received {
        let got = timeout(Duration::from_secs(10), self.got.recv()).await;
        got.expect("an event comes in time").unwrap()
    }

    /// Nothing more comes for a while.
    async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(300), self.got.recv())
            .await
            .is_err()
    }
}

async fn receive(tcp: TcpStream, judge: Arc<Mutex<Judge>>, tell: mpsc::UnboundedSender<Received>) {
    let mut stream = BufReader::new(tcp);
    loop {
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or(("request", &line));
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let body = String::from_utf8(body).unwrap();
        let received = Received { headers, body };
        let status = judge.lock().unwrap()(&received);
        let _ = tell.send(received);
        if status == 0 {
            // The connection stays, and nothing comes.
            std::future::pending::<()>().await;
        }
        let answer = format!(
            "HTTP/1.1 {status} x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nok"
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A server that may send to this host.
async fn open() -> Bench {
    Bench::start_with(|config| {
        config.events.networks = vec!["127.0.0.0/8".parse::<IpNet>().unwrap()];
    })
    .await
}

async fn add(bench: &Bench, url: &str, events: &[&str]) -> WebhookSecret {
    let new = json!({"url": url, "events": events});
    bench.admin.post("/v1/webhooks", &new).await.unwrap()
}

fn at(webhook: &WebhookSecret, what: &str) -> String {
    format!("/v1/webhooks/{}{what}", webhook.webhook.id)
}

/// Another act whose subject is `name`.
async fn act(bench: &Bench, name: &str) {
    let put = json!({"role": "support"});
    bench.put(&format!("/v1/operators/{name}"), &put).await;
}

async fn deliveries(bench: &Bench, webhook: &WebhookSecret, query: &str) -> Vec<Delivery> {
    let path = at(webhook, &format!("/deliveries{query}"));
    let page: DeliveryPage = bench.admin.get(&path).await.unwrap();
    page.deliveries
}

async fn log(bench: &Bench) -> Vec<AuditEntry> {
    let page = bench.list("audit?limit=1000").await;
    serde_json::from_value(page["entries"].clone()).unwrap()
}

/// By a library of others.
fn verifies(secret: &str, received: &Received) -> bool {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers = names.map(|name| {
        let value = received.header(name).parse().unwrap();
        (reqwest::header::HeaderName::from_static(name), value)
    });
    let headers = headers.into_iter().collect();
    let webhook = standardwebhooks::Webhook::new(secret).unwrap();
    webhook.verify(received.body.as_bytes(), &headers).is_ok()
}

/// Whether one of the signatures is by this Ed25519 key.
fn verifies_publicly(key: &str, received: &Received) -> bool {
    let bytes = |text: &str| BASE64.decode(text.as_bytes()).unwrap();
    let key = bytes(key.strip_prefix("whpk_").unwrap());
    let key = VerifyingKey::from_bytes(key.as_slice().try_into().unwrap());
    let (id, at) = (received.id(), received.header("webhook-timestamp"));
    let signed = format!("{id}.{at}.{}", received.body);
    let signatures = received.header("webhook-signature").split(' ');
    signatures
        .filter_map(|signature| signature.strip_prefix("v1a,"))
        .any(|signature| {
            let signature = bytes(signature);
            let signature = Signature::from_bytes(signature.as_slice().try_into().unwrap());
            key.verify(signed.as_bytes(), &signature).is_ok()
        })
}

/// By the lines of Python in docs/webhooks.md; nothing where there is no Python.
async fn python(secret: &str, received: &Received) -> Option<bool> {
    let docs = include_str!("../../../docs/webhooks.md");
    let example = docs.split("```python\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let headers = serde_json::to_string(&received.headers).unwrap();
    let program = format!(
        "{example}\nimport sys\nheaders = json.loads(sys.argv[2])\nsys.exit(0 if verify(sys.argv[1], headers, sys.argv[3].encode()) else 9)\n"
    );
    let run = std::process::Command::new("python3")
        .args(["-c", &program, secret, &headers, &received.body])
        .stdout(Stdio::null())
        .output();
    match run.ok()?.status.code() {
        Some(0) => Some(true),
        Some(9) => Some(false),
        other => unreachable!("the example ends with {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_signed_so_that_others_can_verify_them() {
    let bench = open().await;
    let mut receiver = Receiver::start(|_| 204).await;
    let first = add(&bench, &receiver.url, &["operator.*", "account.add"]).await;
    let new = json!({"name": "Living room"});
    let account: Value = bench
        .admin
        .clone()
        .because("a gift", "17")
        .unwrap()
        .post("/v1/accounts", &new)
        .await
        .unwrap();
    let received = receiver.next().await;
    let entries = log(&bench).await;
    let entry = entries
        .iter()
        .find(|entry| entry.act == "account.add")
        .unwrap();
    assert_eq!(received.event(), Event::from(entry));
    assert_eq!(received.id(), events::id(entry));
    assert_eq!(received.subject(), account["id"].as_str().unwrap());
    let Detail::Words(words) = received.event().data.detail else {
        unreachable!("{}", received.body)
    };
    assert_eq!(
        (words["reason"].as_str(), words["case"].as_str()),
        ("a gift", "17")
    );
    assert_eq!(received.header("content-type"), "application/json");
    assert!(received.header("request").starts_with("POST /hooks "));
    assert!(verifies(&first.secret, &received));
    assert!(verifies_publicly(&first.webhook.public_key, &received));
    let forged = Received {
        body: received.body.replace("account.add", "account.del"),
        ..received.clone()
    };
    assert!(!verifies(&first.secret, &forged));
    assert!(!verifies_publicly(&first.webhook.public_key, &forged));
    if let Some(good) = python(&first.secret, &received).await {
        assert!(good);
        assert_eq!(python(&first.secret, &forged).await, Some(false));
    }
    // With another secret both sign for a while.
    let second: WebhookSecret = bench.admin.post(&at(&first, "/secret"), &()).await.unwrap();
    assert_ne!(second.secret, first.secret);
    act(&bench, "bob").await;
    let received = receiver.next().await;
    for known in [&first, &second] {
        assert!(verifies(&known.secret, &received));
        assert!(verifies_publicly(&known.webhook.public_key, &received));
    }
    // What it did not want did not come, and no secret is anywhere but in the answer.
    assert!(receiver.is_quiet().await);
    let shown = bench.list("webhooks").await.to_string();
    let told = serde_json::to_string(&log(&bench).await).unwrap();
    for text in [shown, told, format!("{first:?}")] {
        assert!(!text.contains(&first.secret[6..]), "{text}");
    }
}

/// The other side fails once for each event of `bob`: it comes again, signed anew, and what came after it for him waits; others do not.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_comes_again_in_its_order() {
    let bench = open().await;
    let mut failed = false;
    let mut receiver = Receiver::start(move |received| {
        let fails = received.subject() == "bob" && !failed;
        failed |= fails;
        if fails { 500 } else { 200 }
    })
    .await;
    let webhook = add(&bench, &receiver.url, &["operator.*"]).await;
    act(&bench, "bob").await;
    let first = receiver.next().await;
    until("the failure is written down", async || {
        deliveries(&bench, &webhook, "?state=pending").await[0].attempts == 1
    })
    .await;
    let pending = deliveries(&bench, &webhook, "?state=pending").await;
    assert_eq!(pending[0].answer, "status 500");
    act(&bench, "bob").await;
    act(&bench, "eve").await;
    assert_eq!(receiver.next().await.subject(), "eve");
    assert!(receiver.is_quiet().await, "the other of bob waits");
    let again = receiver.next().await;
    assert_eq!((again.id(), &again.body), (first.id(), &first.body));
    assert_ne!(
        again.header("webhook-timestamp"),
        first.header("webhook-timestamp")
    );
    assert!(verifies(&webhook.secret, &again));
    let second = receiver.next().await;
    assert_eq!(second.subject(), "bob");
    assert_ne!(second.id(), first.id());
    until("all are delivered", async || {
        deliveries(&bench, &webhook, "?state=delivered").await.len() == 3
    })
    .await;
    let found: Webhook = bench.admin.get(&at(&webhook, "")).await.unwrap();
    assert_eq!(found.failing_since, None);
    // One of them again, as whoever receives asks for it.
    let number = second.event().data.number;
    let path = at(&webhook, &format!("/deliveries/{number}/replay"));
    let replayed: Delivery = bench.admin.post(&path, &()).await.unwrap();
    assert_eq!(replayed.state, DeliveryState::Pending);
    assert_eq!(receiver.next().await.id(), second.id());
    let none: Replayed = bench
        .admin
        .post(&at(&webhook, "/replay"), &())
        .await
        .unwrap();
    assert_eq!((none.replayed, none.left), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_disabled_gets_what_came_meanwhile_when_it_is_enabled() {
    let bench = open().await;
    let mut receiver = Receiver::start(|_| 200).await;
    let webhook = add(&bench, &receiver.url, &["operator.put"]).await;
    let set = async |enabled: bool| -> Webhook {
        let body = json!({ "enabled": enabled });
        let path = at(&webhook, "");
        let set = bench.admin.call(Method::PATCH, &path, Some(&body));
        set.await.unwrap()
    };
    let name = log(&bench).await.pop().unwrap();
    assert_eq!(
        (name.act.as_str(), name.actor.as_str()),
        ("webhook.add", "admin:ada")
    );
    assert_eq!(set(false).await.disabled.unwrap().by, "admin:ada");
    act(&bench, "bob").await;
    assert!(receiver.is_quiet().await);
    assert_eq!(set(true).await.disabled, None);
    let kind = receiver.next().await.event().kind;
    assert!(kind.starts_with("operator."), "{kind}");
    // 410 ends it at once.
    let mut gone = Receiver::start(|_| 410).await;
    let gone_for = add(&bench, &gone.url, &[]).await;
    gone.next().await;
    until("it is disabled", async || {
        let found: Webhook = bench.admin.get(&at(&gone_for, "")).await.unwrap();
        found
            .disabled
            .is_some_and(|disabled| disabled.by == "server")
    })
    .await;
    let disabled = log(&bench).await;
    let disabled = disabled.iter().find(|entry| entry.act == "webhook.disable");
    assert_eq!(disabled.unwrap().subject, gone_for.webhook.id.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_says_what_came_of_it() {
    let bench = open().await;
    let mut receiver = Receiver::start(|_| 302).await;
    let webhook = add(&bench, &receiver.url, &["content.*"]).await;
    let trial: Trial = bench.admin.post(&at(&webhook, "/test"), &()).await.unwrap();
    let received = receiver.next().await;
    assert!(!trial.good && trial.answer.contains("302"), "{trial:?}");
    assert_eq!(received.event().kind, events::TEST);
    assert!(verifies(&webhook.secret, &received));
    assert!(receiver.is_quiet().await, "a redirect is not followed");
    drop(receiver);
    let tcp = TcpListener::bind(LOCAL).await.unwrap();
    let nobody = format!("http://{}/", tcp.local_addr().unwrap());
    drop(tcp);
    let webhook = add(&bench, &nobody, &["content.*"]).await;
    let trial: Trial = bench.admin.post(&at(&webhook, "/test"), &()).await.unwrap();
    assert!(!trial.good && trial.answer.contains("refused"), "{trial:?}");
    assert!(!trial.answer.contains("whsec_"));
}

/// Nobody who may add a webhook makes the server knock at a door that only it can reach.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_an_address_that_is_not_public() {
    let bench = Bench::start().await;
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let at_listener: SocketAddr = listener.local_addr().unwrap();
    let port = at_listener.port();
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("https://2130706433:{port}/"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://10.0.0.1/".to_owned(),
        "https://user@shop.example/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let new = json!({ "url": url });
        let added: Result<Value, _> = bench.admin.post("/v1/webhooks", &new).await;
        refused_as(Kind::Invalid, added);
    }
    // A name may stand for anything, and for another thing a moment later.
    let webhook = add(&bench, &format!("https://localhost:{port}/"), &[]).await;
    let trial: Trial = bench.admin.post(&at(&webhook, "/test"), &()).await.unwrap();
    assert!(trial.answer.contains("no public address"), "{trial:?}");
    until("its own event was refused, too", async || {
        let tried = deliveries(&bench, &webhook, "").await;
        tried
            .first()
            .is_some_and(|one| one.answer.contains("no public address"))
    })
    .await;
    let change = json!({"url": format!("http://127.0.0.1:{port}/")});
    let path = at(&webhook, "");
    let changed = bench
        .admin
        .call::<Value>(Method::PATCH, &path, Some(&change));
    refused_as(Kind::Invalid, changed.await);
    let knocked = timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(knocked.is_err(), "nobody knocked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_needs_what_was_seen_and_a_retry_makes_nothing_twice() {
    let bench = open().await;
    let ada = raw(&bench.ada, Some(&bench.ada));
    let (url, body) = (
        format!("{}/v1/webhooks", bench.url),
        json!({"url": "https://shop.example/", "events": ["right.*"]}),
    );
    let post = async || -> WebhookSecret {
        let sent = ada.post(&url).header(IDEMPOTENCY_KEY, "one").json(&body);
        sent.send().await.unwrap().json().await.unwrap()
    };
    let (first, again) = (post().await, post().await);
    assert_eq!((&first, &first.secret), (&again, &again.secret));
    assert_eq!(bench.list("webhooks").await.as_array().unwrap().len(), 1);
    let one = format!("{url}/{}", first.webhook.id);
    let found = ada.get(&one).send().await.unwrap();
    let tag = found.headers()["etag"].to_str().unwrap().to_owned();
    let patch = async |tag: &str, body: Value| {
        let sent = ada.patch(&one).header("if-match", tag).json(&body);
        sent.send().await.unwrap()
    };
    let changed = patch(&tag, json!({"description": "the shop"})).await;
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(changed.headers()["etag"].to_str().unwrap(), tag);
    let late = problem(patch(&tag, json!({"description": "another"})).await).await;
    assert_eq!(late.status, 412);
    let late = ada
        .delete(&one)
        .header("if-match", &tag)
        .send()
        .await
        .unwrap();
    assert_eq!(problem(late).await.status, 412);
    for (body, says) in [
        (json!({"events": ["right"]}), 200),
        (json!({"events": ["Right"]}), 400),
        (json!({"enabled": "no"}), 422),
        (json!({}), 400),
    ] {
        assert_eq!(patch("*", body).await.status().as_u16(), says);
    }
    let unknown: Result<Value, _> = bench
        .admin
        .get("/v1/webhooks/whk_00000000000000000000000000000001")
        .await;
    refused_as(Kind::NotFound, unknown);
    let beyond = json!({"url": "https://shop.example/", "after": 1_000_000});
    let beyond: Result<Value, _> = bench.admin.post("/v1/webhooks", &beyond).await;
    assert!(refused(beyond).detail.contains("last event"));
    let gone = ada.delete(&one).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(bench.list("webhooks").await, json!([]));
    assert_eq!(bench.verified(vec![]).await.audit, vec![]);
}

/// Each event comes at least once, and one that was acknowledged no more; one whose acknowledgement was lost comes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_no_event_and_repeats_none_that_was_acknowledged() {
    let mut bench = open().await;
    let mut held = false;
    // The one of `lost` is received, and the answer never comes.
    let mut receiver = Receiver::start(move |received| {
        let hold = received.subject() == "lost" && !held;
        held |= hold;
        if hold { 0 } else { 200 }
    })
    .await;
    let webhook = add(&bench, &receiver.url, &["operator.*"]).await;
    let names: Vec<_> = (0..30).map(|number| format!("n{number}")).collect();
    for name in &names[..20] {
        act(&bench, name).await;
    }
    act(&bench, "lost").await;
    let mut came: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for _ in 0..21 {
        let received = receiver.next().await;
        let of = came.entry(received.subject()).or_default();
        of.push(received.id().to_owned());
    }
    until("what was acknowledged is written down", async || {
        deliveries(&bench, &webhook, "?state=delivered").await.len() == 20
    })
    .await;
    bench.stop().await;
    bench.start_again().await;
    for name in &names[20..] {
        act(&bench, name).await;
    }
    for _ in 0..11 {
        let received = receiver.next().await;
        let of = came.entry(received.subject()).or_default();
        of.push(received.id().to_owned());
    }
    assert!(receiver.is_quiet().await);
    let lost = came.remove("lost").unwrap();
    assert_eq!(lost.len(), 2);
    assert_eq!(lost[0], lost[1]);
    let came_once: Vec<_> = came.iter().filter(|(_, ids)| ids.len() == 1).collect();
    assert_eq!(came_once.len(), names.len());
}
