//! Requests that cannot be: a problem each (RFC 9457), and nothing changes.

use reqwest::Method;
use sealcast_objects::problem::Kind;
use serde_json::{Value, json};

use crate::bench::{Bench, problem, raw};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_a_problem_that_says_so() {
    let bench = Bench::start().await;
    let ada = raw(&bench.ada, Some(&bench.ada));
    let good = json!(crate::bench::channel(1));
    let mut more = good.clone();
    more["more"] = json!(1);
    let mut less = good.clone();
    less["times"].as_object_mut().unwrap().remove("grace_ms");
    let mut md_14 = good.clone();
    md_14["times"]["fetch_ahead_ms"] = json!(40_000);
    let large = json!({"name": "x".repeat(64 << 10)}).to_string();
    let channels = "/v1/channels";
    for (method, path, body, status, says) in [
        (Method::POST, channels, "{".to_owned(), 400, "JSON"),
        (Method::POST, channels, String::new(), 400, "JSON"),
        (Method::POST, channels, more.to_string(), 422, "more"),
        (Method::POST, channels, less.to_string(), 422, "grace_ms"),
        (
            Method::POST,
            channels,
            md_14.to_string(),
            400,
            "second preset",
        ),
        (Method::POST, channels, "[]".to_owned(), 422, ""),
        (Method::POST, channels, large.clone(), 413, ""),
        (Method::POST, "/v1/enrol", large, 413, ""),
        (
            Method::POST,
            "/v1/nodes?lifetime=3",
            "{\"server\": 1}".to_owned(),
            400,
            "lifetime",
        ),
        (Method::PUT, "/v1/channels/70000", good.to_string(), 400, ""),
        (
            Method::PUT,
            "/v1/channels/2",
            good.to_string(),
            400,
            "number",
        ),
        (
            Method::PUT,
            "/v1/channels/1",
            good.to_string(),
            404,
            "channel 1",
        ),
        (
            Method::PATCH,
            "/v1/devices/acc_1",
            "{\"standing\": \"active\"}".to_owned(),
            400,
            "dev_",
        ),
        (
            Method::PATCH,
            "/v1/nodes/1",
            "{\"standing\": \"gone\"}".to_owned(),
            422,
            "gone",
        ),
        (
            Method::PUT,
            "/v1/operators/a%20b",
            "{\"role\": \"support\"}".to_owned(),
            400,
            "letters",
        ),
        (Method::GET, "/v1/nothing", String::new(), 404, "path"),
        (Method::GET, "/", String::new(), 404, "path"),
        (Method::GET, "/v1/enrol", String::new(), 405, "method"),
        (Method::DELETE, "/v1/devices", String::new(), 405, "method"),
        (Method::POST, "/v1/door", "x".repeat(1201), 400, "1200"),
    ] {
        let sent = ada
            .request(method.clone(), format!("{}{path}", bench.url))
            .header("content-type", "application/json")
            .header("idempotency-key", "k")
            .body(body);
        let problem = problem(sent.send().await.unwrap()).await;
        assert_eq!(
            problem.status, status,
            "{method} {path}: {}",
            problem.detail
        );
        assert!(
            problem.detail.contains(says),
            "{method} {path}: {}",
            problem.detail
        );
    }
    let untyped = ada
        .post(format!("{}{channels}", bench.url))
        .header("idempotency-key", "k")
        .body(good.to_string());
    assert_eq!(problem(untyped.send().await.unwrap()).await.status, 415);
    assert_eq!(bench.list("channels").await, json!([]));
    assert_eq!(bench.list("nodes").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn enrolment_takes_nothing_but_a_code_and_a_good_request() {
    let bench = Bench::start().await;
    let nobody = raw(&bench.ada, None);
    let code = bench.device_code().await.code;
    let secret = code.parse::<sealcast_objects::code::Code>().unwrap();
    let secret = data_encoding::BASE64URL_NOPAD.encode(secret.secret());
    let key = sealcast_terminal::enrol::new_key().unwrap();
    let csr = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    let csr = csr.pem().unwrap();
    let enrol = async |body: Value| {
        let sent = nobody.post(format!("{}/v1/enrol", bench.url)).json(&body);
        sent.send().await.unwrap()
    };
    for (body, status) in [
        (json!({"secret": secret, "csr": ""}), 400),
        (json!({"secret": secret, "csr": &csr[..200]}), 400),
        (json!({"secret": "***", "csr": csr}), 422),
        (json!({"secret": secret, "csr": csr, "role": "admin"}), 422),
        (json!({"secret": secret, "csr": csr, "subject": "ada"}), 422),
        (json!({"secret": "", "csr": csr}), 403),
    ] {
        let answer = problem(enrol(body).await).await;
        assert_eq!(answer.status, status, "{}", answer.detail);
        assert!(!answer.detail.contains(&secret), "it is not repeated");
    }
    let done = enrol(json!({"secret": secret, "csr": csr})).await;
    assert_eq!(done.status(), 200);
    assert_eq!(done.headers()["cache-control"], "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_named_twice_for_a_delivery_server_counts_once() {
    let bench = Bench::start().await;
    bench.node_code(4, Some(vec![7, 7, 3])).await;
    assert_eq!(bench.list("nodes").await[0]["channels"], json!([3, 7]));
    let more: Result<Value, _> = bench.admin.get("/v1/nothing").await;
    crate::bench::refused_as(Kind::NotFound, more);
}

/// One database would cut it, the other refuses it: none is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_no_store_keeps_is_refused() {
    let bench = Bench::start().await;
    let ada = raw(&bench.ada, Some(&bench.ada));
    let mut channel = json!(crate::bench::channel(1));
    channel["name"] = json!("a\u{0}b");
    let posted = ada
        .post(format!("{}/v1/channels", bench.url))
        .header("Idempotency-Key", "one")
        .json(&channel);
    let posted = problem(posted.send().await.unwrap()).await;
    assert_eq!((posted.kind, posted.status), (Kind::Invalid, 400));
    assert!(posted.detail.contains("U+0000"), "{}", posted.detail);
    let found = ada.get(format!("{}/v1/operators/a%00b", bench.url));
    assert!(found.send().await.unwrap().status().is_client_error());
    assert_eq!(bench.list("channels").await, json!([]));
}
