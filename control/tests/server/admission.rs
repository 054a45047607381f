//! Enrolment and renewal (SEC-02, SEC-04).

use sealcast_objects::api::{Enrolled, RenewRequest, Role, Standing};
use sealcast_objects::code::Code;
use sealcast_objects::problem::Kind;
use sealcast_terminal::enrol as terminal;
use sealcast_terminal::https::{Client, RequestError};
use serde_json::Value;

use crate::bench::{Bench, HOUR, enrol, refused_as, session};

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_a_code_works_once_and_the_same_key_may_repeat() {
    let bench = Bench::start().await;
    let new = bench.device_code().await;
    let code: Code = new.code.parse().unwrap();
    let key = terminal::new_key().unwrap();
    let first = terminal::enrol(&bench.url, &code, &key, Role::Device)
        .await
        .unwrap();
    assert_eq!(first.subject, new.subject);
    assert_eq!(first.authority.len(), 32);
    let again = terminal::enrol(&bench.url, &code, &key, Role::Device)
        .await
        .unwrap();
    assert_eq!(again.certificate, first.certificate);
    let detail = refused_as(
        Kind::CodeRefused,
        enrol(&bench.url, &new, Role::Device).await,
    );
    assert!(detail.contains("used already"), "{detail}");
    // A mistake while copying is noticed before anything is sent.
    let typed = new.code.replacen(
        &new.code[6..7],
        if &new.code[6..7] == "A" { "B" } else { "A" },
        1,
    );
    assert!(typed.parse::<Code>().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_04_unknown_expired_and_withdrawn_codes_are_refused() {
    let bench = Bench::start().await;
    let ca = bench.device_code().await.code.parse::<Code>().unwrap().ca;
    let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(1);
    let unknown = Code::new(ca, &mut rng);
    let key = terminal::new_key().unwrap();
    let result = terminal::enrol(&bench.url, &unknown, &key, Role::Device).await;
    assert!(refused_as(Kind::CodeRefused, result).contains("not known"));

    let path = format!("/v1/devices/{}/code", bench.device_code().await.subject);
    let none = crate::bench::none();
    let expired = bench
        .admin
        .post(&format!("{path}?valid_ms=0"), &none)
        .await
        .unwrap();
    let detail = refused_as(
        Kind::CodeRefused,
        enrol(&bench.url, &expired, Role::Device).await,
    );
    assert!(detail.contains("was good until"), "{detail}");

    let former = bench.admin.post(&path, &none).await.unwrap();
    let newer = bench.admin.post(&path, &none).await.unwrap();
    refused_as(
        Kind::CodeRefused,
        enrol(&bench.url, &former, Role::Device).await,
    );
    let device = enrol(&bench.url, &newer, Role::Device).await.unwrap();
    // Revoked: neither the code that is out nor a newer one is a way back.
    let out = bench.admin.post(&path, &none).await.unwrap();
    let at = format!("/v1/devices/{}", device.subject);
    bench.set(&at, Standing::Revoked).await.unwrap();
    refused_as(
        Kind::CodeRefused,
        enrol(&bench.url, &out, Role::Device).await,
    );
    let later = bench.admin.post(&path, &none).await.unwrap();
    refused_as(
        Kind::Suspended,
        enrol(&bench.url, &later, Role::Device).await,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_15_a_code_of_another_server_is_not_shown_to_this_one() {
    let (bench, other) = (Bench::start().await, Bench::start().await);
    let code = other.device_code().await;
    let error = enrol(&bench.url, &code, Role::Device).await.unwrap_err();
    assert!(matches!(error, RequestError::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("not of the CA"), "{error}");
    // It was not used up.
    enrol(&other.url, &code, Role::Device).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_certificate_does_not_hold_for_is_said() {
    let bench = Bench::start().await;
    let url = bench.url.replace("127.0.0.1", "localhost");
    let code = bench.device_code().await;
    let error = enrol(&url, &code, Role::Device)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("--name"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_for_another_role_is_named() {
    let bench = Bench::start().await;
    let code = bench.node_code(4, None).await;
    let error = enrol(&bench.url, &code, Role::Device).await.unwrap_err();
    assert!(
        error.to_string().contains("for a node, not for a device"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_04_who_enrols_anew_leaves_the_former_key_without_power() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let former = bench.entitled(&[1]).await;
    session(&former, &[]).await.unwrap();
    let path = format!("/v1/devices/{}/code", former.subject);
    let code = bench
        .admin
        .post(&path, &crate::bench::none())
        .await
        .unwrap();
    let device = enrol(&bench.url, &code, Role::Device).await.unwrap();
    session(&device, &[]).await.unwrap();
    let detail = refused_as(Kind::Unauthenticated, session(&former, &[]).await);
    assert!(detail.contains("counts no more"), "{detail}");
    // An operator likewise.
    let code = bench.server().operator_code("ada", HOUR).await.unwrap();
    enrol(&bench.url, &code, Role::Admin).await.unwrap();
    refused_as(
        Kind::Unauthenticated,
        bench.admin.get::<Value>("/v1/status").await,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_by_the_same_key_only() {
    let bench = Bench::start().await;
    let mut device = bench.device().await;
    assert!(!terminal::is_due(&device));
    let before = device.certificate.clone();
    terminal::renew(&mut device).await.unwrap();
    assert_ne!(device.certificate, before);
    terminal::renew(&mut device).await.unwrap();
    let mut node = bench.node(3, None).await;
    terminal::renew(&mut node).await.unwrap();
    let mut ada = bench.ada.clone();
    terminal::renew(&mut ada).await.unwrap();
    Client::new(&ada)
        .unwrap()
        .get::<Value>("/v1/status")
        .await
        .unwrap();

    let other = terminal::new_key().unwrap();
    let csr = rcgen::CertificateParams::default()
        .serialize_request(&other)
        .unwrap();
    let request = RenewRequest {
        csr: csr.pem().unwrap(),
    };
    let client = Client::new(&device).unwrap();
    let renewed = client.post::<Enrolled>("/v1/renew", &request).await;
    let detail = refused_as(Kind::Invalid, renewed);
    assert!(detail.contains("another key"), "{detail}");

    bench.set("/v1/nodes/3", Standing::Suspended).await.unwrap();
    refused_as(Kind::Suspended, terminal::renew(&mut node).await);
    let at = format!("/v1/devices/{}", device.subject);
    bench.set(&at, Standing::Revoked).await.unwrap();
    refused_as(Kind::Suspended, terminal::renew(&mut device).await);
}
