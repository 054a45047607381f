//! A sale through the API: what a device buys, acknowledges, and has licences for; what operators pay back and restore.

use reqwest::Method;
use sealcast_domain::sales;
use sealcast_objects::PurchaseId;
use sealcast_objects::api::{
    Approval, AskLicence, BuyOffers, CertificateRecord, CertificateState, Granted, LicencePage,
    LicenceRecord, Method as Pays, Offer, OfferPage, OperatorRole, Purchase, PurchasePage,
    PurchaseState, SignedLicence, SignedPurchase, SignedReceipt,
};
use sealcast_objects::id::{LicenceId, Text};
use sealcast_objects::licence::{EndReason, LicenceReceipt};
use sealcast_objects::problem::Kind;
use sealcast_objects::purchase::{Certificate, Container, PurchaseReceipt};
use sealcast_objects::signed::{sign, verify};
use sealcast_terminal::https::{Client, RequestError};
use serde_json::{Value, json};

use crate::bench::{Bench, raw, refused_as, session};
use crate::licences::{Holder, issuer};

pub(crate) fn purchase(number: u8) -> Text<PurchaseId> {
    Text(PurchaseId([number; 16]))
}

fn licence(number: u8) -> Text<LicenceId> {
    Text(LicenceId([number; 16]))
}

pub(crate) async fn offer(bench: &Bench, amount: u64, grants: u32) -> Offer {
    let new = json!({
        "title": "A season", "subject": {"kind": "channel", "channel": 1}, "grants": grants,
        "price": {"amount": amount, "currency": "EUR"}
    });
    bench.admin.post("/v1/offers", &new).await.unwrap()
}

/// The account of a device has paid this much before it buys.
async fn pay_in(bench: &Bench, device: &Holder, amount: u64) {
    let found: Value = bench
        .admin
        .get(&format!("/v1/devices/{}", device.identity.subject))
        .await
        .unwrap();
    let account: Text<sealcast_objects::AccountId> =
        serde_json::from_value(found["account"].clone()).unwrap();
    let balance = Text(sales::balance(account.0, "EUR").id);
    let bank = "book_00000000000000000000000000000001";
    for (book, bound) in [
        (bank.to_owned(), "free"),
        (balance.to_string(), "debits-within-credits"),
    ] {
        let new = json!({"unit": "EUR", "bound": bound});
        bench.put(&format!("/v1/books/{book}"), &new).await;
    }
    let command = json!({"kind": "move", "debit": bank, "credit": balance, "amount": amount});
    let path = "/v1/transfers/trf_00000000000000000000000000000001";
    bench.put(path, &command).await;
}

/// A gift of one licence that the device has bought and acknowledged.
pub(crate) async fn settled(bench: &Bench, device: &Holder, number: u8) -> Purchase {
    device.tell_keys().await.unwrap();
    let gift = offer(bench, 0, 1).await;
    let bought = device.buy(number, &[&gift], Pays::Balance).await.unwrap();
    let notice = device.notice(number, &bought.object);
    device.acknowledge(number, notice).await.unwrap()
}

impl Holder {
    pub(crate) async fn buy(
        &self,
        number: u8,
        offers: &[&Offer],
        method: Pays,
    ) -> Result<SignedPurchase, RequestError> {
        let body = BuyOffers {
            offers: offers.iter().map(|offer| offer.id).collect(),
            method,
        };
        let path = format!("/v1/device/purchases/{}", purchase(number));
        self.client.call(Method::PUT, &path, Some(&body)).await
    }

    pub(crate) async fn acknowledge(
        &self,
        number: u8,
        receipt: Vec<u8>,
    ) -> Result<Purchase, RequestError> {
        let path = format!("/v1/device/purchases/{}/receipt", purchase(number));
        let body = SignedReceipt { object: receipt };
        self.client.call(Method::PUT, &path, Some(&body)).await
    }

    pub(crate) fn notice(&self, number: u8, container: &[u8]) -> Vec<u8> {
        let receipt = PurchaseReceipt::of(purchase(number).0, self.id(), container);
        sign(&receipt, &self.sign)
    }

    async fn ask(&self, number: u8, certificate: &[u8]) -> Result<SignedLicence, RequestError> {
        let body = AskLicence {
            certificate: certificate.to_vec(),
        };
        let path = format!("/v1/device/licences/{}", licence(number));
        self.client.call(Method::PUT, &path, Some(&body)).await
    }

    async fn has(&self, got: &SignedLicence) -> Result<LicenceRecord, RequestError> {
        let receipt = LicenceReceipt::of(got.licence.id.0, self.id(), &got.object);
        let body = SignedReceipt {
            object: sign(&receipt, &self.sign),
        };
        let path = format!("/v1/device/licences/{}/receipt", got.licence.id);
        self.client.call(Method::PUT, &path, Some(&body)).await
    }
}

/// PC-10, PC-11, PC-18, PC-20, PC-22, PC-26: what is sent is signed, and so is the notice; then licences are had.
#[tokio::test(flavor = "multi_thread")]
async fn pc_11_pc_20_pc_26_a_device_buys_acknowledges_and_receives() {
    let mut bench = Bench::start().await;
    bench.channel(1).await;
    let (device, other) = (Holder::new(&bench, 1).await, Holder::new(&bench, 2).await);
    pay_in(&bench, &device, 1000).await;
    let season = offer(&bench, 400, 2).await;
    let sold: OfferPage = device.client.get("/v1/device/offers").await.unwrap();
    assert_eq!(sold.offers, std::slice::from_ref(&season));

    let bought = device
        .buy(1, &[&season, &season], Pays::Balance)
        .await
        .unwrap();
    assert_eq!(bought.purchase.state, PurchaseState::Sent);
    assert_eq!(bought.purchase.price.amount, 800);
    // The same again is the same; anything else under its id is refused.
    let again = device.buy(1, &[&season, &season], Pays::Balance).await;
    assert_eq!(again.unwrap(), bought);
    refused_as(
        Kind::Conflict,
        device.buy(1, &[&season], Pays::Balance).await,
    );
    refused_as(
        Kind::NotFound,
        other.buy(1, &[&season, &season], Pays::Balance).await,
    );
    let by = issuer(&bench).await;
    let Container(id, receive_by, objects) = verify(&bought.object, &by).unwrap();
    assert_eq!((id, receive_by), (purchase(1), bought.purchase.receive_by));
    let certificates: Vec<_> = objects
        .iter()
        .map(|object| verify::<Certificate>(&object.0, &by).unwrap())
        .collect();
    for (signed, kept) in certificates.iter().zip(&bought.purchase.certificates) {
        assert_eq!((signed.device, signed.price.amount), (device.id(), 400));
        assert!(
            bought
                .purchase
                .certificates
                .iter()
                .any(|kept| kept.id.0 == signed.id)
        );
        assert_eq!(kept.state, CertificateState::Generated);
    }
    let why = refused_as(Kind::Conflict, device.ask(1, &objects[0].0).await);
    assert!(why.contains("has not said"), "{why}");

    for wrong in [
        other.notice(1, &bought.object),
        device.notice(2, &bought.object),
        device.notice(1, b"other"),
        bought.object.clone(),
        Vec::new(),
    ] {
        let why = refused_as(Kind::Invalid, device.acknowledge(1, wrong).await);
        assert!(why.contains("receipt"), "{why}");
    }
    let right = device.notice(1, &bought.object);
    refused_as(Kind::NotFound, other.acknowledge(1, right.clone()).await);
    let settled = device.acknowledge(1, right.clone()).await.unwrap();
    assert_eq!(settled.state, PurchaseState::Settled);
    assert_eq!(device.acknowledge(1, right).await.unwrap(), settled);

    // PC-10: what was altered is no certificate.
    let mut altered = objects[0].0.clone();
    *altered.last_mut().unwrap() ^= 1;
    refused_as(Kind::Invalid, device.ask(1, &altered).await);
    refused_as(Kind::NotFound, other.ask(1, &objects[0].0).await);
    session(&device.identity, &[1]).await.unwrap_err();
    for number in [1, 2] {
        let got = device.ask(number, &objects[0].0).await.unwrap();
        let lost = device.ask(77, &objects[0].0).await.unwrap();
        assert_eq!(lost, got, "PC-30");
        let had = device.has(&got).await.unwrap();
        assert!(had.received.is_some());
    }
    session(&device.identity, &[1]).await.unwrap();
    let why = refused_as(Kind::Conflict, device.ask(3, &objects[0].0).await);
    assert!(why.contains("were had"), "{why}");
    // What was bought outlives the server.
    bench.stop().await;
    bench.start_again().await;
    let path = format!("/v1/device/purchases/{}", purchase(1));
    let kept: SignedPurchase = device.client.get(&path).await.unwrap();
    assert_eq!(kept.object, bought.object);
    let used = kept
        .purchase
        .certificates
        .iter()
        .map(|certificate| (certificate.state, certificate.used));
    let mut used: Vec<_> = used.map(|(state, used)| (state.name(), used)).collect();
    used.sort_unstable();
    assert_eq!(used, [("settled", 0), ("used", 2)]);
    let page: PurchasePage = device.client.get("/v1/device/purchases").await.unwrap();
    assert_eq!(page.purchases, [kept.purchase]);
    let log = bench.list("audit?limit=1000").await.to_string();
    for (act, times) in [
        ("purchase.make", 1),
        ("purchase.receive", 1),
        ("licence.issue", 2),
        ("licence.receive", 2),
    ] {
        assert_eq!(log.matches(&format!("\"{act}\"")).count(), times, "{act}");
    }
    let kept = bench.verified(Vec::new()).await;
    drop(kept);
}

/// PC-25, PC-28: housekeeping ends what nobody acknowledged, and a notice that is late is told to buy again.
#[tokio::test(flavor = "multi_thread")]
async fn pc_28_a_notice_that_is_late_is_told_to_buy_again() {
    let bench = Bench::start_with(|config| {
        config.sales.receive = std::time::Duration::from_millis(300);
    })
    .await;
    bench.channel(1).await;
    let device = Holder::new(&bench, 1).await;
    let gift = offer(&bench, 0, 1).await;
    let bought = device.buy(1, &[&gift], Pays::Balance).await.unwrap();
    crate::bench::until("it expires", async || {
        let path = format!("/v1/device/purchases/{}", purchase(1));
        let now: SignedPurchase = device.client.get(&path).await.unwrap();
        now.purchase.state == PurchaseState::Expired
    })
    .await;
    let late = device.notice(1, &bought.object);
    let why = refused_as(Kind::Conflict, device.acknowledge(1, late).await);
    assert!(why.contains("buy it again"), "{why}");
}

/// PC-15, PC-16, SEC-19, SEC-20: a refund ends what was had; a certificate is restored by two persons only.
#[tokio::test(flavor = "multi_thread")]
async fn sec_20_certificates_are_restored_by_two_and_refunds_end_licences() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = Holder::new(&bench, 1).await;
    let gift = offer(&bench, 0, 1).await;
    let bought = device.buy(1, &[&gift], Pays::Balance).await.unwrap();
    let notice = device.notice(1, &bought.object);
    device.acknowledge(1, notice).await.unwrap();
    let by = issuer(&bench).await;
    let Container(_, _, objects) = verify(&bought.object, &by).unwrap();
    let got = device.ask(1, &objects[0].0).await.unwrap();
    device.has(&got).await.unwrap();
    refused_as(Kind::Conflict, device.ask(2, &objects[0].0).await);

    // No rule says so: it is for two always.
    let id = bought.purchase.certificates[0].id;
    let path = format!("/v1/purchase-certificates/{id}/grants");
    let ada = bench
        .admin
        .clone()
        .because("the box broke", "4711")
        .unwrap();
    let body = json!({"granted": 2});
    let asked = ada.call(Method::PUT, &path, Some(&body)).await.unwrap();
    let Granted::<CertificateRecord>::Waits(approval) = asked else {
        unreachable!("one person restored it")
    };
    refused_as(Kind::Conflict, device.ask(2, &objects[0].0).await);
    let bob = bench.operator("bob", OperatorRole::Operator).await;
    let approve = format!("/v1/approvals/{}/approve", approval.id);
    let _: Approval = bob.post(&approve, &()).await.unwrap();
    let again = device.ask(2, &objects[0].0).await.unwrap();
    device.has(&again).await.unwrap();

    let refund = format!("/v1/purchases/{}/refund", purchase(1));
    let why = json!({"why": "asked for"});
    let back: Purchase = bench.admin.post(&refund, &why).await.unwrap();
    assert_eq!(back.state, PurchaseState::Refunded);
    let page: LicencePage = device.client.get("/v1/device/licences").await.unwrap();
    for licence in &page.licences {
        assert_eq!(licence.reason, Some(EndReason::Refunded));
    }
    let why = refused_as(Kind::Forbidden, session(&device.identity, &[1]).await);
    assert!(why.contains("refunded"), "{why}");
    let log = bench.list("audit?limit=1000").await.to_string();
    assert!(log.contains("purchase-certificate.restore"), "{log}");
    assert!(log.contains("case=\\\"4711\\\""), "{log}");
}

/// SEC-02.
#[tokio::test(flavor = "multi_thread")]
async fn sec_02_what_a_device_buys_is_asked_for_with_its_certificate() {
    let bench = Bench::start().await;
    let paths = [
        (Method::GET, "/v1/device/offers".to_owned()),
        (Method::GET, "/v1/device/purchases".to_owned()),
        (Method::GET, format!("/v1/device/purchases/{}", purchase(1))),
        (Method::PUT, format!("/v1/device/purchases/{}", purchase(1))),
        (
            Method::PUT,
            format!("/v1/device/purchases/{}/receipt", purchase(1)),
        ),
        (Method::PUT, format!("/v1/device/licences/{}", licence(1))),
        (Method::GET, "/v1/me/purchases".to_owned()),
    ];
    for identity in [None, Some(&bench.ada)] {
        let client = raw(&bench.ada, identity);
        for (method, path) in &paths {
            let asked = client.request(method.clone(), format!("{}{path}", bench.url));
            let asked = asked.json(&json!({})).send().await.unwrap();
            assert_eq!(asked.status(), 401, "{method} {path}");
        }
    }
}

/// CM-55, SEC-27: a shop settles what was bought at it, once, and nothing else; the house settles nothing in its place unasked.
#[tokio::test(flavor = "multi_thread")]
async fn cm_55_sec_27_a_shop_settles_what_was_bought_at_it() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = Holder::new(&bench, 7).await;
    let corner = bench.operator("corner", OperatorRole::Shop).await;
    let other = bench.operator("other", OperatorRole::Shop).await;
    let shares =
        json!({"shares": [{"party": "house", "parts": 7}, {"party": "corner", "parts": 3}]});
    bench.put("/v1/splits/seventy", &shares).await;
    let new = json!({
        "title": "A season", "subject": {"kind": "channel", "channel": 1}, "shop": "corner", "split": "seventy",
        "price": {"amount": 1000, "currency": "EUR"}
    });
    let offer: Offer = bench.admin.post("/v1/offers", &new).await.unwrap();
    let why = refused_as(Kind::Invalid, device.buy(1, &[&offer], Pays::Invoice).await);
    assert!(why.contains("sold by corner"), "{why}");
    let bought = device.buy(1, &[&offer], Pays::Shop).await.unwrap();
    assert_eq!(bought.purchase.shop.as_deref(), Some("corner"));
    let settle = format!("/v1/purchases/{}/settle", purchase(1));
    // PC-19: not before the device has it.
    refused_as(Kind::Conflict, corner.post::<Value>(&settle, &()).await);
    let notice = device.notice(1, &bought.object);
    let received = device.acknowledge(1, notice).await.unwrap();
    assert_eq!(received.state, PurchaseState::Received);
    refused_as(Kind::Forbidden, other.post::<Value>(&settle, &()).await);
    for _ in 0..2 {
        let settled: Purchase = corner.post(&settle, &()).await.unwrap();
        assert_eq!(settled.state, PurchaseState::Settled);
    }
    let parties: Value = bench.admin.get("/v1/parties").await.unwrap();
    assert_eq!(parties["parties"][0]["shares"], 300);
    assert_eq!(parties["parties"][0]["taken"], 1000);
    let fail = format!("/v1/purchases/{}/fail", purchase(1));
    let failed = corner.post::<Value>(&fail, &json!({"why": "no"})).await;
    refused_as(Kind::Conflict, failed);
}

/// CM-55, SEC-27: a shop of somebody else's sees and settles what was bought at it, sees what is due to it, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn cm_55_sec_27_a_reseller_sees_and_settles_its_own_sales_only() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = Holder::new(&bench, 7).await;
    let corner = bench.operator("corner", OperatorRole::Reseller).await;
    bench.operator("other", OperatorRole::Reseller).await;
    let mut bought = Vec::new();
    for (number, shop) in [(1, "corner"), (2, "other")] {
        let new = json!({
            "title": "A season", "subject": {"kind": "channel", "channel": 1}, "shop": shop,
            "price": {"amount": 1000, "currency": "EUR"}
        });
        let offer: Offer = bench.admin.post("/v1/offers", &new).await.unwrap();
        let sent = device.buy(number, &[&offer], Pays::Shop).await.unwrap();
        let notice = device.notice(number, &sent.object);
        device.acknowledge(number, notice).await.unwrap();
        bought.push(sent.purchase);
    }
    let account = bought[0].account;
    let bought: Vec<_> = bought.iter().map(|purchase| purchase.id).collect();
    let of = |client: &Client| {
        let client = client.clone();
        async move {
            let page: PurchasePage = client.get("/v1/purchases").await.unwrap();
            let ids = page.purchases.into_iter().map(|purchase| purchase.id);
            ids.collect::<Vec<_>>()
        }
    };
    assert_eq!(of(&bench.admin).await, bought);
    assert_eq!(of(&corner).await, bought[..1]);
    let all = format!("/v1/purchases?account={account}");
    let page: PurchasePage = corner.get(&all).await.unwrap();
    assert_eq!(page.purchases.len(), 1);
    let [own, others] = [1, 2].map(|number| format!("/v1/purchases/{}", purchase(number)));
    let seen: Purchase = corner.get(&own).await.unwrap();
    assert_eq!(seen.shop.as_deref(), Some("corner"));
    refused_as(Kind::NotFound, corner.get::<Value>(&others).await);
    let settle = |path: &str| format!("{path}/settle");
    refused_as(
        Kind::Forbidden,
        corner.post::<Value>(&settle(&others), &()).await,
    );
    let settled: Purchase = corner.post(&settle(&own), &()).await.unwrap();
    assert_eq!(settled.state, PurchaseState::Settled);
    let month = settled.changed.to_string()[..7].to_owned();
    let statement = |name: &str| format!("/v1/parties/{name}/statements/{month}");
    let shown: Value = corner.get(&statement("corner")).await.unwrap();
    assert_eq!(shown["party"], "corner", "{shown:#}");
    refused_as(
        Kind::NotFound,
        corner.get::<Value>(&statement("other")).await,
    );
    // What is beyond its own sales is not its to see.
    for path in [
        "/v1/accounts".to_owned(),
        "/v1/licences".to_owned(),
        "/v1/devices".to_owned(),
        "/v1/parties".to_owned(),
        "/v1/books".to_owned(),
        format!("/v1/accounts/{account}/money"),
    ] {
        refused_as(Kind::Forbidden, corner.get::<Value>(&path).await);
    }
    let why = json!({"why": "x"});
    let refund = format!("{own}/refund");
    refused_as(Kind::Forbidden, corner.post::<Value>(&refund, &why).await);
}
