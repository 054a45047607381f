//! Doors for packagers of other software: who is let in, and what he gets.

use std::collections::BTreeSet;
use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER};
use reqwest::{Response, StatusCode};
use sealcast_control::http::InteropConfig;
use sealcast_crypto::RequestSigner;
use sealcast_objects::interop::{PackagerSecrets, Track};
use sealcast_objects::problem::Kind;
use sealcast_terminal::identity::Identity;
use serde_json::{Value, json};

use crate::bench::{Bench, problem, raw, until};
use crate::link::Link;

/// Both doors open.
fn open(config: &mut InteropConfig) {
    (config.key_server, config.cpix) = (true, true);
}

async fn bench(change: impl FnOnce(&mut InteropConfig)) -> Bench {
    let bench = Bench::start_with(|config| {
        open(&mut config.interop);
        change(&mut config.interop);
    })
    .await;
    bench.channel(1).await;
    bench.channel(2).await;
    bench
}

async fn packager(bench: &Bench, name: &str, signer: Option<&str>) -> PackagerSecrets {
    let new = json!({"name": name, "channels": [1], "signer": signer});
    bench.admin.post("/v1/packagers", &new).await.unwrap()
}

/// A delivery server that sends channel 1: there is a key in use.
async fn on_air(bench: &Bench) -> Link {
    let node = bench.node(5, None).await;
    let mut link = Link::up(&node, 5).await;
    link.report(1);
    link.cipher_half().await;
    link
}

fn request(content: &[u8], more: Value) -> Value {
    let mut request = json!({
        "content_id": BASE64.encode(content), "policy": "", "drm_types": ["WIDEVINE"], "protection_scheme": "CENC",
        "tracks": [{"type": "SD"}, {"type": "AUDIO"}],
    });
    let more = more.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(more);
    request
}

fn rotating(content: &[u8], first: u32, count: u32) -> Value {
    let more = json!({"first_crypto_period_index": first, "crypto_period_count": count, "crypto_period_seconds": 10});
    request(content, more)
}

fn body(request: &Value) -> Value {
    json!({"request": BASE64.encode(request.to_string().as_bytes())})
}

fn bearer(secrets: &PackagerSecrets) -> String {
    format!("Bearer {}", secrets.token)
}

async fn post(
    bench: &Bench,
    who: Option<&Identity>,
    token: &str,
    path: &str,
    body: &Value,
) -> Response {
    let sent = raw(&bench.ada, who).post(format!("{}/v1/interop/{path}", bench.url));
    let sent = if token.is_empty() {
        sent
    } else {
        sent.header("authorization", token)
    };
    sent.json(body).send().await.unwrap()
}

/// What the key server says to this body: the inner answer, with the message beside it.
async fn told(bench: &Bench, token: &str, body: &Value) -> Value {
    told_of(bench, 1, token, body).await
}

async fn told_of(bench: &Bench, channel: u16, token: &str, body: &Value) -> Value {
    let answer = post(bench, None, token, &format!("keys/{channel}"), body).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let outer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let inner = BASE64
        .decode(outer["response"].as_str().unwrap().as_bytes())
        .unwrap();
    let mut inner: Value = serde_json::from_slice(&inner).unwrap();
    inner["message"] = outer["message"].clone();
    inner
}

async fn asked(bench: &Bench, token: &str, request: &Value) -> Value {
    told(bench, token, &body(request)).await
}

/// Period, track, key id and key.
type Key = (Option<u64>, String, Vec<u8>, Vec<u8>);

/// Every key of an answer.
fn keys(answer: &Value) -> Vec<Key> {
    assert_eq!(answer["status"], "OK", "{answer}");
    let bytes = |value: &Value| BASE64.decode(value.as_str().unwrap().as_bytes()).unwrap();
    let tracks = answer["tracks"].as_array().unwrap().iter();
    let keys = tracks.map(|track| {
        let (id, key) = (bytes(&track["key_id"]), bytes(&track["key"]));
        assert_eq!((id.len(), key.len()), (16, 16));
        let kind = track["type"].as_str().unwrap().to_owned();
        (track["crypto_period_index"].as_u64(), kind, id, key)
    });
    keys.collect()
}

fn cpix(first: u32, count: u32) -> Value {
    let periods = json!({"first": first, "count": count, "seconds": 10});
    json!({"content_id": "c0de", "tracks": [Track::Sd, Track::Audio], "periods": periods})
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_14_packagers_get_the_same_keys_again_through_both_doors_and_after_a_restart() {
    let mut bench = bench(|_| ()).await;
    let token = bearer(&packager(&bench, "shaka", None).await);
    let link = on_air(&bench).await;
    let first = asked(&bench, &token, &rotating(&[0xc0, 0xde], 3, 4)).await;
    let given = keys(&first);
    let places: Vec<_> = given
        .iter()
        .map(|(period, track, ..)| (period.unwrap(), track.as_str()))
        .collect();
    assert_eq!(places[..3], [(3, "SD"), (3, "AUDIO"), (4, "SD")]);
    assert_eq!(given.len(), 8);
    let different: BTreeSet<_> = given.iter().flat_map(|(_, _, id, key)| [id, key]).collect();
    assert_eq!(different.len(), 16, "keys and ids are all different");
    let whole = keys(&asked(&bench, &token, &request(&[0xc0, 0xde], json!({}))).await);
    assert_eq!((whole.len(), whole[0].0), (2, None));
    assert!(!given.iter().any(|(_, _, id, _)| *id == whole[0].2));
    // The key server and its keys change meanwhile; nothing of them is what was given out.
    link.report(1);
    bench.stop().await;
    bench.start_again().await;
    drop(link);
    until("it leads", async || {
        asked(&bench, &token, &rotating(&[0xc0, 0xde], 3, 4)).await["status"] == "OK"
    })
    .await;
    assert_eq!(
        keys(&asked(&bench, &token, &rotating(&[0xc0, 0xde], 3, 4)).await),
        given
    );
    assert_eq!(
        keys(&asked(&bench, &token, &request(&[0xc0, 0xde], json!({}))).await),
        whole
    );
    let document = post(&bench, None, &token, "cpix/1", &cpix(3, 4)).await;
    assert_eq!(document.headers()["content-type"], "application/xml");
    let xml = document.text().await.unwrap();
    for (_, _, id, key) in &given {
        let id = HEXLOWER.encode(id);
        let id = format!(
            "{}-{}-{}-{}-{}",
            &id[..8],
            &id[8..12],
            &id[12..16],
            &id[16..20],
            &id[20..]
        );
        let element = format!(
            "<ContentKey kid=\"{id}\"><Data><pskc:Secret><pskc:PlainValue>{}<",
            BASE64.encode(key)
        );
        assert!(xml.contains(&element), "{element} is not in {xml}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_15_doors_are_closed_unless_opened_and_then_open_for_those_let_in_only() {
    let closed = Bench::start().await;
    closed.channel(1).await;
    let token = bearer(&packager(&closed, "shaka", None).await);
    for path in ["keys/1", "cpix/1"] {
        let refused = problem(post(&closed, None, &token, path, &json!({})).await).await;
        assert_eq!(refused.kind, Kind::NotFound, "{path}");
        assert!(refused.detail.contains("[interop]"), "{}", refused.detail);
    }
    let bench = bench(|_| ()).await;
    let secrets = packager(&bench, "shaka", None).await;
    let (token, device, node) = (
        bearer(&secrets),
        bench.device().await,
        bench.node(7, None).await,
    );
    let basic = |password: &str| {
        format!(
            "Basic {}",
            BASE64.encode(format!("shaka:{password}").as_bytes())
        )
    };
    let other = token.replace("sct_", "sct_0");
    let asking = [
        (None, "", Kind::Unauthenticated),
        (None, other.as_str(), Kind::Unauthenticated),
        (None, "Bearer ", Kind::Unauthenticated),
        (None, "Digest x", Kind::Unauthenticated),
        (None, &basic("wrong"), Kind::Unauthenticated),
        (Some(&device), "", Kind::Unauthenticated),
        (Some(&bench.ada), "", Kind::Unauthenticated),
        (Some(&node), "", Kind::Forbidden),
        (Some(&node), other.as_str(), Kind::Unauthenticated),
    ];
    for (who, token, kind) in asking {
        for path in ["keys/1", "cpix/1"] {
            let refused = problem(post(&bench, who, token, path, &json!({})).await).await;
            assert_eq!(refused.kind, kind, "{token:?} {path}: {}", refused.detail);
        }
    }
    // Another channel than its own.
    let answer = told_of(&bench, 2, &token, &body(&rotating(b"x", 0, 1))).await;
    assert_eq!(answer["status"], "ACCESS_DENIED");
    let why = answer["message"].as_str().unwrap();
    assert!(why.contains("no keys of channel 2"), "{why}");
    let refused = problem(post(&bench, None, &token, "cpix/2", &cpix(0, 1)).await).await;
    assert_eq!(refused.kind, Kind::Forbidden);
    let _link = on_air(&bench).await;
    for token in [&token, &basic(&secrets.token)] {
        assert_eq!(
            keys(&asked(&bench, token, &rotating(b"x", 0, 1)).await).len(),
            2
        );
    }
    let list = bench.list("packagers").await.to_string();
    assert!(
        list.contains("shaka") && !list.contains(&secrets.token),
        "{list}"
    );
    // What was removed is over at once.
    let path = format!("{}/v1/packagers/shaka", bench.url);
    let gone = raw(&bench.ada, Some(&bench.ada)).delete(path).send().await;
    assert_eq!(gone.unwrap().status(), StatusCode::NO_CONTENT);
    let refused = post(&bench, None, &token, "keys/1", &body(&rotating(b"x", 0, 1))).await;
    assert_eq!(problem(refused).await.kind, Kind::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_15_a_delivery_servers_certificate_opens_its_channels_if_the_settings_say_so() {
    let bench = bench(|config| config.nodes = true).await;
    let _link = on_air(&bench).await;
    let own = bench.node(8, Some(vec![1])).await;
    let other = bench.node(9, Some(vec![2])).await;
    let question = body(&rotating(b"x", 0, 1));
    let answer = post(&bench, Some(&own), "", "keys/1", &question).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.text().await.unwrap().contains("response"));
    assert_eq!(
        post(&bench, Some(&own), "", "cpix/1", &cpix(0, 1))
            .await
            .status(),
        StatusCode::OK
    );
    let refused = post(&bench, Some(&other), "", "cpix/1", &cpix(0, 1)).await;
    assert_eq!(problem(refused).await.kind, Kind::Forbidden);
    bench
        .set("/v1/nodes/8", sealcast_objects::api::Standing::Revoked)
        .await
        .unwrap();
    let refused = post(&bench, Some(&own), "", "keys/1", &question).await;
    assert_eq!(problem(refused).await.kind, Kind::Suspended);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_15_a_packager_with_a_signer_is_heard_by_its_signature_only() {
    let bench = bench(|_| ()).await;
    let _link = on_air(&bench).await;
    let secrets = packager(&bench, "shaka", Some("me")).await;
    let token = bearer(&secrets);
    let signer = secrets.signer.unwrap();
    let hex = |text: &str| HEXLOWER.decode(text.as_bytes()).unwrap();
    let right = RequestSigner::new(&hex(&signer.key), hex(&signer.iv).try_into().unwrap()).unwrap();
    let request = rotating(b"x", 0, 1).to_string();
    let signed = |name: &str, signature: &[u8]| {
        json!({
            "request": BASE64.encode(request.as_bytes()), "signer": name, "signature": BASE64.encode(signature),
        })
    };
    let signature = right.sign(request.as_bytes());
    let good = told(&bench, &token, &signed("me", &signature)).await;
    assert_eq!(keys(&good).len(), 2);
    let mut flipped = signature.clone();
    flipped[0] ^= 1;
    let wrong = [
        signed("me", &flipped),
        signed("me", &signature[..16]),
        signed("me", &[]),
        signed("you", &signature),
        signed("me", &right.sign(b"something else")),
        body(&rotating(b"x", 0, 1)),
    ];
    for wrong in wrong {
        let answer = told(&bench, &token, &wrong).await;
        assert_eq!(answer["status"], "SIGNATURE_FAILED", "{wrong}");
        assert!(
            answer["message"]
                .as_str()
                .unwrap()
                .contains("--aes_signing_key"),
            "{answer}"
        );
        assert_eq!(answer["tracks"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_end_in_a_refusal_that_says_why() {
    let bench = bench(|config| config.requests = 10_000).await;
    let _link = on_air(&bench).await;
    let token = bearer(&packager(&bench, "shaka", None).await);
    let rotation = |first: Value, count: Value, seconds: Value| {
        body(&request(
            b"x",
            json!({"first_crypto_period_index": first, "crypto_period_count": count, "crypto_period_seconds": seconds}),
        ))
    };
    let inner = |text: &[u8]| json!({"request": BASE64.encode(text)});
    let wrong = [
        (json!(null), "MALFORMED_REQUEST"),
        (json!([1]), "MALFORMED_REQUEST"),
        (json!({}), "MALFORMED_REQUEST"),
        (json!({"request": 7}), "MALFORMED_REQUEST"),
        (json!({"request": "%%"}), "MALFORMED_REQUEST"),
        (inner(b"{"), "MALFORMED_REQUEST"),
        (inner(&[0xff; 100]), "MALFORMED_REQUEST"),
        (inner("[".repeat(10_000).as_bytes()), "MALFORMED_REQUEST"),
        (inner(b"{}"), "CONTENT_ID_MISSING"),
        (body(&request(b"", json!({}))), "CONTENT_ID_MISSING"),
        (body(&request(&[0; 65], json!({}))), "MALFORMED_REQUEST"),
        (
            body(&request(b"x", json!({"content_id": "?"}))),
            "MALFORMED_REQUEST",
        ),
        (
            body(&request(b"x", json!({"tracks": []}))),
            "TRACK_TYPE_MISSING",
        ),
        (
            body(&request(b"x", json!({"tracks": [{"type": "SD'; --"}]}))),
            "TRACK_TYPE_UNKNOWN",
        ),
        (
            body(&request(b"x", json!({"drm_types": ["PLAYREADY"]}))),
            "MALFORMED_REQUEST",
        ),
        (
            body(&request(b"x", json!({"enable_entitlement_license": true}))),
            "MALFORMED_REQUEST",
        ),
        (rotation(json!(0), json!(0), json!(1)), "MALFORMED_REQUEST"),
        (
            rotation(json!(0), json!(101), json!(1)),
            "MALFORMED_REQUEST",
        ),
        (rotation(json!(-1), json!(1), json!(1)), "MALFORMED_REQUEST"),
        (
            rotation(json!(0), json!(4e9), json!(1)),
            "MALFORMED_REQUEST",
        ),
        (
            rotation(json!(u32::MAX), json!(1), json!(1)),
            "MALFORMED_REQUEST",
        ),
        (rotation(json!(0), json!(1), json!(0)), "MALFORMED_REQUEST"),
        (
            rotation(json!(0), json!(1), json!(null)),
            "MALFORMED_REQUEST",
        ),
        (
            rotation(json!(null), json!(1), json!(1)),
            "MALFORMED_REQUEST",
        ),
    ];
    for (body, status) in wrong {
        let answer = told(&bench, &token, &body).await;
        assert_eq!(answer["status"], status, "{body}: {answer}");
        assert!(
            answer["message"]
                .as_str()
                .is_some_and(|why| !why.is_empty()),
            "{body}"
        );
    }
    // Too far ahead, and another length of periods.
    assert_eq!(
        keys(&asked(&bench, &token, &rotating(b"y", 1000, 1)).await).len(),
        2
    );
    let far = asked(&bench, &token, &rotating(b"y", 9000, 1)).await;
    assert_eq!(far["status"], "NO_REQUESTED_CRYPTO_PERIODS");
    assert!(
        far["message"].as_str().unwrap().contains("`ahead`"),
        "{far}"
    );
    for wrong in [
        json!({}),
        json!({"content_id": "", "tracks": ["SD"]}),
        json!({"content_id": "00", "tracks": []}),
        json!({"content_id": "00", "tracks": ["SD"], "recipient": 1}),
    ] {
        let refused = post(&bench, None, &token, "cpix/1", &wrong).await;
        assert_eq!(problem(refused).await.kind, Kind::Invalid, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_out_without_a_key_in_use_or_before_the_server_leads_or_too_often() {
    let bench = bench(|config| config.requests = 4).await;
    let token = bearer(&packager(&bench, "shaka", None).await);
    let question = rotating(b"x", 0, 1);
    let answer = asked(&bench, &token, &question).await;
    assert_eq!(
        answer["status"], "INTERNAL_ERROR",
        "packagers try again at this one"
    );
    let why = answer["message"].as_str().unwrap().to_owned();
    assert!(
        why.contains("does not lead") || why.contains("no key in use"),
        "{why}"
    );
    let _link = on_air(&bench).await;
    assert_eq!(keys(&asked(&bench, &token, &question).await).len(), 2);
    for _ in 0..2 {
        asked(&bench, &token, &question).await;
    }
    let answer = asked(&bench, &token, &question).await;
    assert_eq!(answer["status"], "INTERNAL_ERROR");
    assert!(
        answer["message"].as_str().unwrap().contains("4 requests"),
        "{answer}"
    );
    let refused = problem(post(&bench, None, &token, "cpix/1", &cpix(0, 1)).await).await;
    assert_eq!((refused.kind, refused.status), (Kind::TooMany, 429));
    // Another packager is not held up by this.
    let other = bearer(&packager(&bench, "other", None).await);
    assert_eq!(keys(&asked(&bench, &other, &question).await).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_over_after_their_retention() {
    let bench = bench(|config| config.bounds.retention = Duration::from_secs(1)).await;
    let _link = on_air(&bench).await;
    let token = bearer(&packager(&bench, "shaka", None).await);
    let short = |first: u32, count: u32| {
        request(
            b"x",
            json!({"first_crypto_period_index": first, "crypto_period_count": count, "crypto_period_seconds": 1}),
        )
    };
    let first = keys(&asked(&bench, &token, &short(0, 30)).await);
    let mut answer = json!(null);
    until("the first period is over", async || {
        answer = asked(&bench, &token, &short(0, 1)).await;
        answer["status"] != "OK"
    })
    .await;
    assert_eq!(answer["status"], "NO_REQUESTED_CRYPTO_PERIODS");
    assert!(
        answer["message"].as_str().unwrap().contains("deleted"),
        "{answer}"
    );
    let last = keys(&asked(&bench, &token, &short(29, 1)).await);
    assert_eq!(last, first[58..], "those that are not over are there");
}
