//! A provider of other software: localstripe, a fake of Stripe that keeps state. `tests/cards` fetches it; without the Python package index this says so
//! and passes over. It listens on all addresses, so everything runs in a network namespace of its own.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use super::*;

/// A port in a namespace where nothing else runs.
const URL: &str = "http://127.0.0.1:8420";

/// A running localstripe, and the namespace that it runs in.
struct Peer {
    child: Child,
    namespace: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = ip(&["netns", "del", &self.namespace]);
    }
}

fn ip(words: &[&str]) -> bool {
    let ran = Command::new("ip")
        .args(words)
        .stderr(Stdio::null())
        .status();
    ran.is_ok_and(|status| status.success())
}

#[expect(clippy::print_stdout, reason = "a test that passes over says so")]
fn passed_over(why: &str) -> Option<Peer> {
    println!("skipped: {why}");
    None
}

impl Peer {
    /// Starts one; nothing, and why, when it cannot be.
    fn start() -> Option<Self> {
        if std::env::var_os("SEALCAST_TEST_POSTGRES").is_some() {
            return passed_over("the database is not to be reached from its namespace");
        }
        if !rustix::process::getuid().is_root() {
            return passed_over("needs root for network namespaces");
        }
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cards");
        let made = Command::new(tests().join("cards"))
            .arg(&folder)
            .output()
            .unwrap();
        match made.status.code() {
            Some(0) => {}
            Some(3) => return passed_over(&String::from_utf8_lossy(&made.stderr)),
            _ => unreachable!("tests/cards: {}", String::from_utf8_lossy(&made.stderr)),
        }
        let namespace = format!("sc{}cards", std::process::id());
        assert!(ip(&["netns", "add", &namespace]));
        assert!(ip(&["-n", &namespace, "link", "set", "lo", "up"]));
        let child = Command::new("ip")
            .args(["netns", "exec", &namespace])
            .arg(folder.join("python/bin/localstripe"))
            .args(["--from-scratch", "--port", "8420"])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { child, namespace })
    }

    /// Runs `test` in its namespace.
    fn run(&self, test: impl AsyncFnOnce() + Send) {
        let namespace = File::open(format!("/run/netns/{}", self.namespace)).unwrap();
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let of = rustix::fd::AsFd::as_fd(&namespace);
                move_into_link_name_space(of, Some(LinkNameSpaceType::Network)).unwrap();
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(test());
            });
            inside.join().unwrap();
        });
    }
}

/// What a buyer's client does, and what the house's own page of the provider does.
#[derive(Clone)]
struct Buyer(reqwest::Client);

impl Buyer {
    fn new(bench: &Bench) -> Self {
        Self(raw(&bench.ada, None))
    }

    async fn post(&self, path: &str, form: &str) -> Result<Value, StatusCode> {
        let sent = self
            .0
            .post(format!("{URL}{path}"))
            .bearer_auth("sk_test_buyer")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        let answer = sent.send().await.unwrap();
        if !answer.status().is_success() {
            return Err(answer.status());
        }
        Ok(answer.json().await.unwrap_or_default())
    }

    /// Pays with a card of this number.
    async fn pay(&self, intent: &str, number: &str) -> Result<Value, StatusCode> {
        let card = format!(
            "type=card&card[number]={number}&card[exp_month]=12&card[exp_year]=2030&card[cvc]=123"
        );
        let method = self.post("/v1/payment_methods", &card).await?;
        let method = format!("payment_method={}", method["id"].as_str().unwrap());
        let path = format!("/v1/payment_intents/{intent}");
        self.post(&path, &method).await?;
        self.post(&format!("{path}/confirm"), "").await
    }
}

/// Events come to the key server by way of what ends TLS in front of it.
async fn relay(bench: &Bench, buyer: &Buyer) {
    type To = (reqwest::Client, String);
    async fn forward(
        State((client, url)): State<To>,
        headers: HeaderMap,
        body: Bytes,
    ) -> StatusCode {
        let signature = headers["stripe-signature"].clone();
        let sent = client
            .post(url)
            .header("stripe-signature", signature)
            .body(body);
        let status = sent.send().await.unwrap().status().as_u16();
        StatusCode::from_u16(status).unwrap()
    }
    let to = format!("{}/v1/payments/cards/events", bench.url);
    let router = Router::new()
        .route("/", post(forward))
        .with_state((raw(&bench.ada, None), to));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let form = format!("url={url}&secret={SIGNING}");
    until("localstripe runs", async || {
        let up = std::net::TcpStream::connect("127.0.0.1:8420").is_ok();
        up && buyer.post("/_config/webhooks/house", &form).await.is_ok()
    })
    .await;
}

/// PC-17, CM-55, INT-13.
#[test]
fn int_13_a_purchase_is_paid_and_paid_back_by_a_provider_of_other_software() {
    let Some(peer) = Peer::start() else { return };
    peer.run(async || {
        let bench = Bench::start_with(|config| takes(config, URL)).await;
        bench.channel(1).await;
        let buyer = Buyer::new(&bench);
        relay(&bench, &buyer).await;
        let device = Holder::new(&bench, 1).await;
        bought(&bench, &device, 1).await;
        let intent = open(&device, 1).await.intent.unwrap();
        // A card that is taken and then declined when it is charged, and another one.
        buyer.pay(&intent, "4000000000000341").await.unwrap_err();
        until("the card is declined", async || {
            card(&device, 1)
                .await
                .is_some_and(|card| card.declined.is_some())
        })
        .await;
        stands(&bench, 1, PurchaseState::Received).await;
        bought(&bench, &device, 2).await;
        let second = open(&device, 2).await.intent.unwrap();
        buyer.pay(&second, "4242424242424242").await.unwrap();
        stands(&bench, 2, PurchaseState::Settled).await;
        let stats = bench.server().monitor().health().await.cards.unwrap();
        let bad = stats.events.iter().find(|(name, _)| *name == "bad");
        assert_eq!(bad, Some(&("bad", 0)), "its signatures are taken");
        let path = format!("/v1/purchases/{}/refund", purchase(2));
        let why = json!({"why": "asked for"});
        let _: Purchase = bench.admin.post(&path, &why).await.unwrap();
        card_stands(&device, 2, CardState::Returned).await;
        let report: CardReport = bench
            .admin
            .post("/v1/payments/cards/reconcile", &())
            .await
            .unwrap();
        assert!(report.is_even() && report.looked_at == 2, "{report:?}");
    });
}
