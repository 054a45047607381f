//! Purchases by card through the API, with a stub of a provider that does a thing once for each key, and loses, doubles and refuses what it is told to;
//! and with localstripe (`peer`).

mod peer;
mod provider;

use std::path::Path;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use reqwest::Method;
use sealcast_control::cards::{CardsConfig, CardsSecrets, CardsSettings, RECONCILE};
use sealcast_control::server::ServerConfig;
use sealcast_objects::api::{CardPayment, CardReport, CardState, Method as Pays, OperatorRole};
use sealcast_objects::api::{Purchase, PurchaseState};
use sealcast_objects::problem::Kind;
use sealcast_terminal::wallet;
use serde_json::{Value, json};

use crate::bench::{Bench, raw, refused_as, until};
use crate::licences::Holder;
use crate::persons::Person;
use crate::sales::{offer, purchase};
use provider::{Fault, Provider};

const SIGNING: &str = "whsec_test";

/// The provider at this address takes cards.
fn takes(config: &mut ServerConfig, url: &str) {
    let settings = CardsSettings {
        url: url.to_owned(),
        secret_key_file: None,
        signing_secret_file: None,
        publishable_key: Some("pk_test_house".to_owned()),
        reconcile: RECONCILE,
    };
    let signing = format!("{SIGNING} whsec_before");
    let secrets = CardsSecrets::new(Some("sk_test_house".to_owned()), Some(signing));
    config.cards = Some(CardsConfig::new(&settings, secrets).unwrap());
}

async fn start(provider: &Provider) -> Bench {
    let bench = Bench::start_with(|config| takes(config, &provider.url)).await;
    bench.channel(1).await;
    bench
}

/// A device buys, and says that it has the certificates.
async fn bought(bench: &Bench, device: &Holder, number: u8) -> Purchase {
    device.tell_keys().await.unwrap();
    let season = offer(bench, 499, 1).await;
    let bought = device.buy(number, &[&season], Pays::Card).await.unwrap();
    let notice = device.notice(number, &bought.object);
    device.acknowledge(number, notice).await.unwrap()
}

async fn card(device: &Holder, number: u8) -> Option<CardPayment> {
    wallet::card(&device.client, purchase(number)).await.ok()
}

/// What the buyer pays with, when it is there.
async fn open(device: &Holder, number: u8) -> CardPayment {
    let mut open = None;
    until("the buyer can pay", async || {
        open = card(device, number).await;
        open.as_ref()
            .is_some_and(|card| card.client_secret.is_some())
    })
    .await;
    open.unwrap()
}

async fn stands(bench: &Bench, number: u8, state: PurchaseState) {
    let path = format!("/v1/purchases/{}", purchase(number));
    until(state.name(), async || {
        let found: Purchase = bench.admin.get(&path).await.unwrap();
        found.state == state
    })
    .await;
}

async fn card_stands(device: &Holder, number: u8, state: CardState) {
    until(state.name(), async || {
        card(device, number)
            .await
            .is_some_and(|card| card.state == state)
    })
    .await;
}

fn signature(secret: &str, at: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signed = hmac::sign(&key, format!("{at}.{body}").as_bytes());
    format!("t={at},v1={}", HEXLOWER.encode(signed.as_ref()))
}

fn seconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs().cast_signed()
}

fn event(id: &str, kind: &str, intent: &str) -> String {
    json!({"id": id, "type": kind, "data": {"object": {"id": intent, "amount": 1, "amount_received": 1}}}).to_string()
}

/// The status of the answer to an event.
async fn send(bench: &Bench, body: &str, signature: Option<String>) -> u16 {
    let client = raw(&bench.ada, None);
    let mut request = client
        .post(format!("{}/v1/payments/cards/events", bench.url))
        .header("content-type", "application/json")
        .body(body.to_owned());
    if let Some(signature) = signature {
        request = request.header("stripe-signature", signature);
    }
    request.send().await.unwrap().status().as_u16()
}

/// The event that this intent was paid.
async fn tell(bench: &Bench, id: &str, intent: &str) -> u16 {
    let body = event(id, "payment_intent.succeeded", intent);
    let signed = signature(SIGNING, seconds(), &body);
    send(bench, &body, Some(signed)).await
}

/// PC-05, PC-17, PC-19, CM-55: nothing is asked before the notice; an event settles it, and what it says of money is not believed.
#[tokio::test(flavor = "multi_thread")]
async fn pc_17_pc_19_a_purchase_is_paid_by_card_when_it_has_arrived() {
    let provider = Provider::start().await;
    let bench = start(&provider).await;
    let (device, other) = (Holder::new(&bench, 1).await, Holder::new(&bench, 2).await);
    device.tell_keys().await.unwrap();
    let season = offer(&bench, 499, 1).await;
    let sent = device.buy(1, &[&season], Pays::Card).await.unwrap();
    assert_eq!(card(&device, 1).await, None);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(provider.intents().len(), 0, "PC-19");
    let notice = device.notice(1, &sent.object);
    let received = device.acknowledge(1, notice).await.unwrap();
    assert_eq!(received.state, PurchaseState::Received);
    let pay = open(&device, 1).await;
    assert_eq!(pay.publishable_key.as_deref(), Some("pk_test_house"));
    let intent = pay.intent.clone().unwrap();
    let known = provider.intent(&intent);
    assert_eq!(known["amount"], 499);
    assert_eq!(known["currency"], "eur");
    assert_eq!(
        known["metadata"]["sealcast_purchase"],
        purchase(1).to_string()
    );
    assert_eq!(card(&other, 1).await, None, "it is another's");
    let path = format!("/v1/purchases/{}/card", purchase(1));
    let seen: CardPayment = bench.admin.get(&path).await.unwrap();
    assert_eq!((seen.client_secret, seen.state), (None, CardState::Open));
    // A person of the account can pay, too, and nobody else.
    let shown = format!("/v1/devices/{}", device.identity.subject);
    let shown: Value = bench.admin.get(&shown).await.unwrap();
    let account = shown["account"].as_str().unwrap();
    let eve = Person::of_account(&bench, account, "eve").await;
    let mine = format!("/v1/me/purchases/{}/card", purchase(1));
    assert_eq!(
        eve.get(&mine).await["client_secret"],
        pay.client_secret.unwrap()
    );
    let bob = Person::new(&bench, "bob").await;
    let kind = bob.refused(Method::GET, &mine, &json!(null)).await;
    assert_eq!(kind, Kind::NotFound);
    // An event before the money is a hint, and no more.
    assert_eq!(tell(&bench, "evt_1", &intent).await, 200);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    stands(&bench, 1, PurchaseState::Received).await;
    provider.pay(&intent);
    for _ in 0..2 {
        assert_eq!(tell(&bench, "evt_2", &intent).await, 200);
    }
    stands(&bench, 1, PurchaseState::Settled).await;
    assert_eq!(card(&device, 1).await.unwrap().client_secret, None);
    let log = bench.list("audit?limit=1000").await.to_string();
    assert_eq!(log.matches("\"purchase.settle\"").count(), 1);
    assert!(!log.contains("_secret_"), "no secret is told");

    // It is paid back by an operator.
    let refund = format!("/v1/purchases/{}/refund", purchase(1));
    let _: Purchase = bench
        .admin
        .post(&refund, &json!({"why": "asked for"}))
        .await
        .unwrap();
    card_stands(&device, 1, CardState::Returned).await;
    assert_eq!(provider.net(), 0);
    let report: CardReport = bench
        .admin
        .post("/v1/payments/cards/reconcile", &())
        .await
        .unwrap();
    assert!(report.is_even() && report.complete, "{report:?}");
    bench.verified(Vec::new()).await;
}

/// SEC-27: what the provider has not signed changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn sec_27_events_of_others_are_refused() {
    let provider = Provider::start().await;
    let bench = start(&provider).await;
    let body = event("evt_1", "payment_intent.succeeded", "pi_0");
    let now = seconds();
    for signature in [
        None,
        Some(String::new()),
        Some("t=1".to_owned()),
        Some(signature("whsec_other", now, &body)),
        Some(signature(SIGNING, now - 400, &body)),
        Some(signature(SIGNING, now, "{}")),
    ] {
        assert_eq!(send(&bench, &body, signature).await, 400);
    }
    let stats = bench.server().monitor().health().await.cards.unwrap();
    assert_eq!(
        stats.events,
        [("taken", 0), ("again", 0), ("other", 0), ("bad", 6)]
    );
    // The secret of before counts, too; what is of no interest is taken and forgotten; what is none is refused.
    for (body, status) in [
        (body.as_str(), 200),
        (&event("evt_2", "customer.created", "cus_1"), 200),
        ("{}", 400),
        ("not JSON", 400),
    ] {
        let signed = signature("whsec_before", seconds(), body);
        assert_eq!(send(&bench, body, Some(signed)).await, status, "{body}");
    }
    let big = event(&"e".repeat(100 << 10), "x", "y");
    let signed = signature(SIGNING, seconds(), &big);
    assert_eq!(send(&bench, &big, Some(signed)).await, 413);
    let stats = bench.server().monitor().health().await.cards.unwrap();
    assert_eq!(
        stats.events,
        [("taken", 1), ("again", 0), ("other", 1), ("bad", 8)]
    );
    // SEC-19: who may see it.
    let curious = bench.operator("curious", OperatorRole::Insurer).await;
    let asked = curious.get::<CardReport>("/v1/payments/cards").await;
    refused_as(Kind::Forbidden, asked);
    let asked = curious
        .post::<CardReport>("/v1/payments/cards/reconcile", &())
        .await;
    refused_as(Kind::Forbidden, asked);
}

/// A server that takes no cards says so, as before.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_no_card_is_taken() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = Holder::new(&bench, 1).await;
    let season = offer(&bench, 499, 1).await;
    let why = refused_as(Kind::Invalid, device.buy(1, &[&season], Pays::Card).await);
    assert!(why.contains("takes no cards"), "{why}");
    assert_eq!(send(&bench, "{}", None).await, 404);
}

/// SEC-27: lost answers, failures and refusals come to one intent, and a restart goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn sec_27_whatever_the_provider_does_a_card_is_charged_once() {
    let provider = Provider::start().await;
    let mut bench = start(&provider).await;
    for (number, fault) in (1..).zip([Fault::Lose, Fault::Busy, Fault::Limit, Fault::Hang]) {
        let device = Holder::new(&bench, number).await;
        provider.next(&[fault; 2]);
        bought(&bench, &device, number).await;
        let pay = open(&device, number).await;
        let of = provider.intents_of(&purchase(number).to_string());
        assert_eq!(of, 1, "{fault:?}");
        provider.pay(&pay.intent.unwrap());
    }
    // No event comes at all, and the server was away: it asks by itself.
    bench.stop().await;
    bench.start_again().await;
    for number in 1..=4 {
        stands(&bench, number, PurchaseState::Settled).await;
    }
    let report: CardReport = bench
        .admin
        .post("/v1/payments/cards/reconcile", &())
        .await
        .unwrap();
    assert!(report.is_even(), "{report:?}");
    assert_eq!(report.books[0].paid, 4 * 499);
    assert_eq!(provider.net(), 4 * 499);
}

/// PC-28, PC-33: a refusal ends the purchase with its reason; what is paid when it is over is paid back.
#[tokio::test(flavor = "multi_thread")]
async fn pc_28_pc_33_refusals_and_late_payments_end_well() {
    let provider = Provider::start().await;
    let bench = Bench::start_with(|config| {
        takes(config, &provider.url);
        config.sales.receive = std::time::Duration::from_secs(2);
        config.sales.settle = std::time::Duration::from_secs(4);
    })
    .await;
    bench.channel(1).await;
    let device = Holder::new(&bench, 1).await;
    provider.next(&[Fault::Refuse]);
    bought(&bench, &device, 1).await;
    stands(&bench, 1, PurchaseState::Failed).await;
    let path = format!("/v1/purchases/{}", purchase(1));
    let failed: Purchase = bench.admin.get(&path).await.unwrap();
    assert_eq!(
        failed.reason.as_deref(),
        Some("cards pay no amount as small as this")
    );
    bought(&bench, &device, 2).await;
    let intent = open(&device, 2).await.intent.unwrap();
    // Paid just before it is canceled: nobody heard of it.
    provider.pay_when_canceled(&intent);
    stands(&bench, 2, PurchaseState::Failed).await;
    card_stands(&device, 2, CardState::Returned).await;
    assert_eq!(provider.net(), 0);
    let log = bench.list("audit?limit=1000").await.to_string();
    assert!(log.contains("\"card.late\"") && log.contains("\"card.return\""));
    // What the provider does not take is not sold for it.
    let new = json!({
        "title": "A season", "subject": {"kind": "channel", "channel": 1}, "price": {"amount": 5, "currency": "IQD"}
    });
    let dinar: sealcast_objects::api::Offer = bench.admin.post("/v1/offers", &new).await.unwrap();
    let why = refused_as(Kind::Invalid, device.buy(9, &[&dinar], Pays::Card).await);
    assert!(why.contains("nothing in IQD"), "{why}");
}

/// Where scripts of tests are.
fn tests() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}
