//! Devices that are lost, devices from a factory, certificates, and machines that show no certificate.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use reqwest::{Method, StatusCode};
use sealcast_objects::api::{
    CertificatePage, Device, DevicePage, NewCode, OperatorRole, Recovery, RecoveryState, RightPage,
    Role, Standing,
};
use sealcast_objects::code::{Code, sha256};
use sealcast_objects::problem::{IDEMPOTENCY_KEY, Kind};
use sealcast_objects::time::Timestamp;
use sealcast_terminal::enrol;
use sealcast_terminal::https::Client;
use sealcast_terminal::identity::Identity;
use serde_json::{Value, json};

use crate::bench::{Bench, enrol as enrol_code, problem, raw, refused_as, session};

const DELAY: Duration = Duration::from_secs(2);

/// Another device of the account of `device`.
async fn another(bench: &Bench, device: &Identity) -> Identity {
    let path = format!("/v1/devices/{}", device.subject);
    let known: Device = bench.admin.get(&path).await.unwrap();
    let new = json!({"name": "telephone", "account": known.account});
    let code: NewCode = bench.admin.post("/v1/devices", &new).await.unwrap();
    enrol_code(&bench.url, &code, Role::Device).await.unwrap()
}

async fn recovery_code(bench: &Bench, device: &Identity) -> (Code, String) {
    let path = format!("/v1/devices/{}/recovery", device.subject);
    let code: NewCode = bench.admin.post(&path, &()).await.unwrap();
    (code.code.parse().unwrap(), code.subject)
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_03_a_lost_device_is_stopped_at_once_and_another_one_takes_its_place_later() {
    let bench = Bench::start_with(|config| config.recovery_delay = DELAY).await;
    bench.channel(1).await;
    let lost = bench.entitled(&[1]).await;
    let other = another(&bench, &lost).await;
    bench.right(&other, 1).await;
    let (code, id) = recovery_code(&bench, &lost).await;
    // A code that enrols nobody yet.
    let key = enrol::new_key().unwrap();
    let early = enrol::enrol(&bench.url, &code, &key, Role::Device);
    refused_as(Kind::CodeRefused, early.await.map(drop));
    session(&lost, &[]).await.unwrap();

    let begun = enrol::recover(&bench.url, &code).await.unwrap();
    assert_eq!(begun.state, RecoveryState::Waiting);
    refused_as(Kind::Suspended, session(&lost, &[]).await);
    let notices = session(&other, &[]).await.unwrap().notices;
    assert_eq!(notices.len(), 1);
    assert!(notices[0].contains(&id) && notices[0].contains(&lost.subject));
    let again = enrol::recover(&bench.url, &code).await.unwrap();
    assert_eq!(again, begun, "nothing goes faster by asking again");

    tokio::time::sleep(DELAY).await;
    let done = enrol::recover(&bench.url, &code).await.unwrap();
    assert_eq!(done.state, RecoveryState::Done);
    let successor = enrol::enrol(&bench.url, &code, &key, Role::Device);
    let successor = successor.await.unwrap();
    assert_eq!(successor.subject, done.successor.unwrap().to_string());
    assert_eq!(session(&successor, &[]).await.unwrap().channels, [1]);
    assert!(session(&other, &[]).await.unwrap().notices.is_empty());
    refused_as(Kind::Suspended, session(&lost, &[]).await);
    let path = format!("/v1/rights?device={}", lost.subject);
    let page: RightPage = bench.admin.get(&path).await.unwrap();
    assert!(page.rights.is_empty());
    // MV-15: the place in the key tree is its own.
    let page: DevicePage = bench.admin.get("/v1/devices").await.unwrap();
    let mut leaves: Vec<_> = page.devices.iter().map(|device| device.leaf).collect();
    leaves.dedup();
    assert_eq!(leaves, [1, 2, 3]);
    assert_eq!(
        page.devices[2].replaces.map(|id| id.to_string()).as_ref(),
        Some(&lost.subject)
    );
    let own = bench
        .set(&format!("/v1/devices/{}", lost.subject), Standing::Active)
        .await;
    refused_as(Kind::Conflict, own);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_03_whoever_has_another_device_objects_and_a_thief_gets_nothing() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let mine = bench.entitled(&[1]).await;
    let other = another(&bench, &mine).await;
    let stranger = bench.device().await;
    let (code, id) = recovery_code(&bench, &mine).await;
    let begun = enrol::recover(&bench.url, &code).await.unwrap();
    let day = begun.ready_at.unwrap().since(begun.made_at);
    assert!(day >= Duration::from_secs(24 * 3600), "{day:?}");
    let object = format!("/v1/recoveries/{id}/object");
    let by = async |device: &Identity| {
        let client = Client::new(device).unwrap();
        client.post::<Recovery>(&object, &()).await
    };
    refused_as(Kind::NotFound, by(&stranger).await);
    refused_as(Kind::Unauthenticated, by(&bench.ada).await);
    assert_eq!(by(&other).await.unwrap().state, RecoveryState::Refused);
    assert_eq!(session(&mine, &[]).await.unwrap().channels, [1]);
    let used = enrol::recover(&bench.url, &code).await;
    refused_as(Kind::CodeRefused, used);
    // Three in thirty days, and one at a time.
    let path = format!("/v1/devices/{}/recovery", mine.subject);
    for _ in 0..2 {
        let (_, id) = recovery_code(&bench, &mine).await;
        let two: Result<NewCode, _> = bench.admin.post(&path, &()).await;
        refused_as(Kind::Conflict, two);
        let refuse = format!("/v1/recoveries/{id}/refuse");
        let _: Recovery = bench.admin.post(&refuse, &()).await.unwrap();
    }
    let many: Result<NewCode, _> = bench.admin.post(&path, &()).await;
    refused_as(Kind::TooMany, many);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_a_device_from_a_factory_enrols_by_its_key_when_somebody_has_claimed_it() {
    let bench = Bench::start().await;
    let key = enrol::new_key().unwrap();
    let other = enrol::new_key().unwrap();
    let hash = |key: &KeyPair| {
        use rcgen::PublicKeyData as _;
        data_encoding::BASE64URL_NOPAD.encode(&sha256(&key.subject_public_key_info()))
    };
    let made = |serial: &str, key: &KeyPair| json!({"maker": "Boxes Ltd", "serial": serial, "key_hash": hash(key)});
    let register = async |list: Value| {
        bench
            .admin
            .post::<Value>("/v1/factory-devices", &list)
            .await
    };
    let list = json!([made("A-1", &key), made("A-2", &other)]);
    assert_eq!(register(list.clone()).await.unwrap()["registered"], 2);
    assert_eq!(register(list).await.unwrap()["registered"], 0);
    // Neither a name nor a key is registered twice; and of a bad list nothing is.
    let third = enrol::new_key().unwrap();
    for wrong in [
        json!([made("A-3", &third), made("A-1", &third)]),
        json!([made("A-4", &key)]),
        json!([{"maker": "", "serial": "x", "key_hash": hash(&third)}]),
        json!([{"maker": "x", "serial": "x", "key_hash": "AAAA"}]),
        json!([]),
    ] {
        assert!(register(wrong).await.is_err());
    }
    let enrol_made = |key: &KeyPair| {
        let (url, key, ca) = (bench.url.clone(), key.serialize_pem(), bench.ada.ca.clone());
        async move { enrol::enrol_made(&url, &key, &ca).await }
    };
    refused_as(Kind::NotFound, enrol_made(&key).await.map(drop));
    let claim = json!({"maker": "Boxes Ltd", "serial": "A-1", "name": "living room"});
    let claimed: Device = bench
        .admin
        .post("/v1/factory-devices/claim", &claim)
        .await
        .unwrap();
    assert_eq!(claimed.standing, Standing::New);
    let twice: Result<Device, _> = bench.admin.post("/v1/factory-devices/claim", &claim).await;
    refused_as(Kind::NotFound, twice);
    // Another key is another device's.
    refused_as(Kind::NotFound, enrol_made(&third).await.map(drop));
    let device = enrol_made(&key).await.unwrap();
    assert_eq!(device.subject, claimed.id.to_string());
    bench.channel(1).await;
    bench.right(&device, 1).await;
    assert_eq!(session(&device, &[]).await.unwrap().channels, [1]);
    bench
        .set(
            &format!("/v1/devices/{}", device.subject),
            Standing::Revoked,
        )
        .await
        .unwrap();
    refused_as(Kind::Suspended, enrol_made(&key).await.map(drop));
}

#[tokio::test(flavor = "multi_thread")]
async fn mv_16_mv_21_every_certificate_that_was_issued_is_kept() {
    let bench = Bench::start().await;
    let mut device = bench.device().await;
    let first = device.certificate.clone();
    enrol::renew(&mut device).await.unwrap();
    let path = format!("/v1/certificates?role=device&subject={}", device.subject);
    let page: CertificatePage = bench.admin.get(&path).await.unwrap();
    let kept: Vec<_> = page
        .certificates
        .iter()
        .map(|one| &one.certificate)
        .collect();
    assert_eq!(kept, [&first, &device.certificate]);
    let all: CertificatePage = bench.admin.get("/v1/certificates?limit=2").await.unwrap();
    assert_eq!(all.certificates[0].subject, "ada");
    let rest = format!("/v1/certificates?after={}", all.next.unwrap());
    let rest: CertificatePage = bench.admin.get(&rest).await.unwrap();
    assert_eq!(rest.certificates, page.certificates[1..]);
    let half: Result<Value, _> = bench.admin.get("/v1/certificates?role=device").await;
    refused_as(Kind::Invalid, half);
}

#[tokio::test(flavor = "multi_thread")]
async fn mv_15_labels_are_for_people_and_are_said_anew() {
    let bench = Bench::start().await;
    let new = json!({"name": "box", "labels": {"card": "C-1", "drive": "D-1"}});
    let code: NewCode = bench.admin.post("/v1/devices", &new).await.unwrap();
    let path = format!("/v1/devices/{}", code.subject);
    let device: Value = bench.admin.get(&path).await.unwrap();
    assert_eq!(device["labels"], new["labels"]);
    let labelled = bench
        .put(&format!("{path}/labels"), &json!({"client": "player 3"}))
        .await;
    assert_eq!(labelled["labels"], json!({"client": "player 3"}));
    let ada = raw(&bench.ada, Some(&bench.ada));
    let long = ada
        .put(format!("{}{path}/labels", bench.url))
        .json(&json!({"card": "x".repeat(129)}));
    let long = problem(long.send().await.unwrap()).await;
    assert_eq!(long.kind, Kind::Invalid);
    let device: Value = bench.admin.get(&path).await.unwrap();
    assert_eq!(device["labels"], json!({"client": "player 3"}));
}

/// What a machine asserts, signed by the key of an identity.
fn assertion(identity: &Identity, claims: &Value) -> String {
    let key = KeyPair::from_pem(&identity.key).unwrap().serialize_der();
    let key = EncodingKey::from_ec_der(&key);
    jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &key).unwrap()
}

/// SEC-18: who stands in between shows a token of its own, made by its own key; nobody's password and no key of a content passes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_a_certificate_gets_a_token_by_an_assertion() {
    let bench = Bench::start().await;
    let shop = bench.operator_identity("shop", OperatorRole::Shop).await;
    let other = bench.operator_identity("other", OperatorRole::Shop).await;
    let code = bench.device_code().await;
    let code: Code = code.code.parse().unwrap();
    let aud = format!(
        "urn:sealcast:ca:{}",
        data_encoding::HEXLOWER.encode(&code.ca)
    );
    let now = Timestamp::from(std::time::SystemTime::now()).0 / 1000;
    let good =
        |jti: &str| json!({"iss": "shop", "sub": "shop", "aud": aud, "exp": now + 60, "jti": jti});
    let nobody = raw(&bench.ada, None);
    let ask = async |assertion: String| {
        let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        let body = format!(
            "grant_type=client_credentials&client_assertion_type={kind}&client_assertion={assertion}"
        );
        let sent = nobody
            .post(format!("{}/v1/token", bench.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        sent.send().await.unwrap()
    };
    let with = |change: &dyn Fn(&mut Value)| {
        let mut claims = good("bad");
        change(&mut claims);
        claims
    };
    for (claims, signer) in [
        (with(&|claims| claims["aud"] = json!("somebody")), &shop),
        (with(&|claims| claims["exp"] = json!(now - 60)), &shop),
        (with(&|claims| claims["exp"] = json!(now + 3600)), &shop),
        (with(&|claims| claims["iss"] = json!("other")), &shop),
        (with(&|claims| claims["sub"] = json!("nobody")), &shop),
        (with(&|claims| claims["jti"] = json!("")), &shop),
        (with(&|_| ()), &other),
    ] {
        let refused = problem(ask(assertion(signer, &claims)).await).await;
        assert_eq!(refused.kind, Kind::Unauthenticated, "{claims}");
    }
    let unsigned = assertion(&shop, &good("x"));
    let unsigned = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    assert_eq!(
        problem(ask(unsigned).await).await.kind,
        Kind::Unauthenticated
    );
    let first = assertion(&shop, &good("1"));
    let answer = ask(first.clone()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(
        (&answer["token_type"], &answer["expires_in"]),
        (&json!("Bearer"), &json!(600))
    );
    let again = problem(ask(first).await).await;
    assert!(again.detail.contains("used before"), "{}", again.detail);

    let token = answer["access_token"].as_str().unwrap().to_owned();
    let call = async |method: Method, path: &str, body: Value| {
        let sent = nobody
            .request(method, format!("{}{path}", bench.url))
            .header(IDEMPOTENCY_KEY, path)
            .bearer_auth(&token);
        sent.json(&body).send().await.unwrap()
    };
    let added = call(Method::POST, "/v1/accounts", json!({"name": "by the shop"})).await;
    assert_eq!(added.status(), StatusCode::CREATED);
    let log = bench.list("audit?limit=1000").await.to_string();
    assert!(log.contains("admin:shop"), "{log}");
    // What the role may not, the token may not.
    let more = problem(call(Method::GET, "/v1/audit", json!(null)).await).await;
    assert_eq!(more.kind, Kind::Forbidden);
    bench
        .set("/v1/operators/shop", Standing::Suspended)
        .await
        .unwrap();
    let stopped = problem(call(Method::GET, "/v1/accounts", json!(null)).await).await;
    assert_eq!(stopped.kind, Kind::Suspended);
    // A key of before counts no more, nor does what it gave.
    bench
        .set("/v1/operators/shop", Standing::Active)
        .await
        .unwrap();
    bench.operator_identity("shop", OperatorRole::Shop).await;
    let former = problem(call(Method::GET, "/v1/accounts", json!(null)).await).await;
    assert_eq!(former.kind, Kind::Unauthenticated);
}
