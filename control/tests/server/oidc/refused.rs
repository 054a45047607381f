//! What a provider may do wrong: tokens that do not count, keys that change, and a provider that is down.

use std::time::Instant;

use futures_lite::future::FutureExt as _;
use jsonwebtoken::Algorithm;
use tokio::task::JoinSet;

use super::provider::Fault;
use super::*;

type Say = fn(&mut Value);

/// OpenID Connect Core 1.0, 3.1.3.7. A good login between any two of them shows that it was each one's own fault.
#[tokio::test(flavor = "multi_thread")]
async fn sec_03_no_id_token_counts_that_does_not_say_what_it_must() {
    let stage = Stage::start().await;
    stage.eve().await;
    let bad: [(&str, Say); 22] = [
        ("iss", |claims| {
            claims["iss"] = json!("https://evil.example")
        }),
        ("iss", |claims| {
            claims["iss"] = json!(format!("{}/", claims["iss"].as_str().unwrap()))
        }),
        ("iss", |claims| claims["iss"] = json!([claims["iss"]])),
        ("aud", |claims| claims["aud"] = json!("another client")),
        ("aud", |claims| claims["aud"] = json!([])),
        ("aud", |claims| {
            claims["aud"] = json!([CLIENT, "another client"])
        }),
        ("azp", |claims| claims["azp"] = json!("another client")),
        ("azp", |claims| {
            claims["aud"] = json!([CLIENT, "another client"]);
            claims["azp"] = json!("another client");
        }),
        ("exp", |claims| {
            claims["exp"] = json!(claims["iat"].as_u64().unwrap() - 61)
        }),
        ("exp", |claims| claims["exp"] = json!(null)),
        ("exp", |claims| claims["exp"] = json!("never")),
        ("exp", |claims| claims["exp"] = json!(-1e300)),
        ("iat", |claims| {
            claims["iat"] = json!(claims["iat"].as_u64().unwrap() + 90)
        }),
        ("iat", |claims| claims["iat"] = json!(null)),
        ("nonce", |claims| {
            claims["nonce"] = json!("of another login")
        }),
        ("nonce", |claims| claims["nonce"] = json!(null)),
        ("at_hash", |claims| {
            claims["at_hash"] = json!("77QmUPtjPfzWtF2AnpK9RQ")
        }),
        ("at_hash", |claims| claims["at_hash"] = json!("")),
        ("sub", |claims| claims["sub"] = json!("")),
        ("sub", |claims| claims["sub"] = json!("x".repeat(256))),
        ("sub", |claims| claims["sub"] = json!("eve\u{0}")),
        ("sub", |claims| claims["sub"] = json!(7)),
    ];
    for (of, change) in bad {
        stage.provider.set(|ways| ways.claims = Box::new(change));
        let refused = stage.refused("eve").await;
        assert_eq!(
            refused.kind,
            Kind::Unauthenticated,
            "{of}: {}",
            refused.detail
        );
        assert!(
            refused.detail.contains("ID token"),
            "{of}: {}",
            refused.detail
        );
        stage.provider.mend();
        stage.good("eve").await;
    }
    let good: [Say; 6] = [
        |claims| claims["aud"] = json!([CLIENT]),
        |claims| claims["azp"] = json!(CLIENT),
        |claims| {
            claims["aud"] = json!(["another client", CLIENT]);
            claims["azp"] = json!(CLIENT);
        },
        |claims| claims["exp"] = json!(claims["iat"].as_f64().unwrap() + 0.5),
        |claims| claims["iat"] = json!(claims["iat"].as_u64().unwrap() + 30),
        // The left half of the SHA-256 of the access token that the provider gives.
        |claims| {
            let hash = sealcast_objects::code::sha256(b"an access token");
            claims["at_hash"] = json!(data_encoding::BASE64URL_NOPAD.encode(&hash[..16]));
        },
    ];
    for change in good {
        stage.provider.set(|ways| ways.claims = Box::new(change));
        stage.good("eve").await;
    }
    // There is a hash, and nothing that it is of.
    stage.provider.set(|ways| {
        ways.claims = Box::new(good[5]);
        ways.answer = Box::new(|answer| answer["access_token"] = json!(null));
    });
    assert_eq!(stage.refused("eve").await.kind, Kind::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_03_no_id_token_counts_that_the_provider_has_not_signed() {
    let stage = Stage::start().await;
    stage.eve().await;
    type Sign = fn(&Key, &Value) -> String;
    let bad: [Sign; 9] = [
        |key, claims| {
            let token = key.sign_as(&json!({"alg": "none"}), claims);
            format!("{}.", token.rsplit_once('.').unwrap().0)
        },
        |key, claims| key.sign_as(&json!({"alg": "none", "kid": "first"}), claims),
        |key, claims| {
            key.sign_as(
                &json!({"alg": "ES256", "kid": "first", "crit": ["b64"], "b64": false}),
                claims,
            )
        },
        |key, claims| key.sign_with_public(claims),
        |key, claims| key.nameless().sign_with_public(claims),
        // A key that the token brings along is nobody's.
        |key, claims| {
            let mine = Key::new("first", Algorithm::ES256);
            let header = json!({"alg": "ES256", "kid": "first", "jwk": mine.published()});
            let _ = key;
            mine.sign_as(&header, claims)
        },
        |_, claims| Key::new("first", Algorithm::ES256).sign(claims),
        |_, claims| Key::new("first", Algorithm::RS256).sign(claims),
        |key, claims| {
            let token = key.sign(claims);
            let (rest, signature) = token.rsplit_once('.').unwrap();
            format!("{rest}.{}", &signature[..signature.len() - 2])
        },
    ];
    for (number, sign) in bad.into_iter().enumerate() {
        stage.provider.set(|ways| ways.sign = Box::new(sign));
        let refused = stage.refused("eve").await;
        assert_eq!(
            refused.kind,
            Kind::Unauthenticated,
            "{number}: {}",
            refused.detail
        );
        stage.provider.mend();
        stage.good("eve").await;
    }
    for text in ["", "..", "a.b.c", "\u{0}", &"a".repeat(200_000)] {
        let text = text.to_owned();
        stage
            .provider
            .set(|ways| ways.sign = Box::new(move |_, _| text.clone()));
        assert_eq!(stage.refused("eve").await.kind, Kind::Unauthenticated);
        stage.provider.mend();
        stage.good("eve").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_03_the_keys_of_the_provider_are_followed() {
    let stage = Stage::start().await;
    stage.eve().await;
    let old = stage.provider.set(|ways| ways.key.clone());
    for algorithm in [
        Algorithm::EdDSA,
        Algorithm::RS256,
        Algorithm::PS256,
        Algorithm::ES256,
    ] {
        tokio::time::sleep(PACE).await;
        let key = Key::new(&format!("{algorithm:?}"), algorithm);
        stage.provider.set(|ways| {
            ways.published = vec![json!({"kty": "AKP"}), old.published(), key.published()];
            ways.key = key.clone();
        });
        let asked = stage.provider.asked("keys");
        stage.good("eve").await;
        assert_eq!(
            stage.provider.asked("keys"),
            asked + 1,
            "{algorithm:?}: once"
        );
        stage.good("eve").await;
        // One that says no id is one of them.
        stage.provider.set(|ways| ways.key = key.nameless());
        stage.good("eve").await;
        assert_eq!(
            stage.provider.asked("keys"),
            asked + 1,
            "{algorithm:?}: they are kept"
        );
    }
    // A key that is published nowhere; the keys are not asked for at every try.
    let asked = stage.provider.asked("keys");
    stage
        .provider
        .set(|ways| ways.key = Key::new("nowhere", Algorithm::ES256));
    for _ in 0..3 {
        assert_eq!(stage.refused("eve").await.kind, Kind::Unauthenticated);
    }
    assert!(stage.provider.asked("keys") <= asked + 2);
    // One that is published no more counts no more, once the keys were asked for anew.
    tokio::time::sleep(PACE).await;
    let new = Key::new("new", Algorithm::ES256);
    stage.provider.set(|ways| {
        ways.published = vec![new.published()];
        ways.key = new.clone();
    });
    stage.good("eve").await;
    stage.provider.set(|ways| ways.key = old.clone());
    assert_eq!(stage.refused("eve").await.kind, Kind::Unauthenticated);
}

/// It is unavailable, is said so in time, and with when to try again.
async fn unavailable(of: &str, answer: impl Future<Output = Response>) {
    let began = Instant::now();
    let answer = answer.await;
    assert!(began.elapsed() < 2 * TIMEOUT, "{of}");
    assert_eq!(answer.headers()["retry-after"], "1", "{of}");
    assert_eq!(problem(answer).await.kind, Kind::Unavailable, "{of}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_03_a_provider_that_is_down_costs_logins_by_it_and_nothing_else() {
    // It is not there when the server starts.
    let gone =
        Bench::start_with(|of| config(of, "http://127.0.0.1:1", (CLIENT, Some(SECRET)))).await;
    let eve = Person::new(&gone, "eve").await;
    let begin = json!({"redirect_uri": BACK});
    unavailable("not there", eve.post("/v1/login/oidc", &begin)).await;
    unavailable("not there", eve.post("/v1/me/oidc", &begin)).await;
    eve.log_in("eve", PASSWORD).await;
    drop(gone);

    let faults = [
        Fault::Hang,
        Fault::Drip,
        Fault::Huge,
        Fault::Garbage,
        Fault::Redirect,
        Fault::Status(500),
        Fault::Error("invalid_client"),
    ];
    // Each on a server of its own: what is known of the provider is kept.
    let mut all = JoinSet::new();
    for path in ["document", "keys", "token"] {
        all.spawn(async move {
            let stage = Stage::start().await;
            let eve = Person::new(&stage.bench, "eve").await;
            for fault in faults {
                let of = format!("{path}: {fault:?}");
                stage.provider.set(|ways| ways.fault = Some((path, fault)));
                match path {
                    "document" => unavailable(&of, eve.post("/v1/login/oidc", &begin_body())).await,
                    _ => unavailable(&of, stage.log_in("eve")).await,
                }
                // After a failure the provider is left alone for a while, and all hear of it at once.
                let (asked, began) = (stage.provider.asked(path), Instant::now());
                if path != "token" {
                    match path {
                        "document" => {
                            unavailable(&of, eve.post("/v1/me/oidc", &begin_body())).await
                        }
                        _ => unavailable(&of, stage.log_in("eve")).await,
                    }
                    assert_eq!(stage.provider.asked(path), asked, "{of}");
                    assert!(began.elapsed() < TIMEOUT / 2, "{of}");
                }
                eve.log_in("eve", PASSWORD).await;
                tokio::time::sleep(Duration::from_millis(2100)).await;
            }
            stage.provider.mend();
            assert_eq!(
                stage.link(&eve, "eve").await.status(),
                StatusCode::NO_CONTENT
            );
            stage.good("eve").await;
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

fn begin_body() -> Value {
    json!({"redirect_uri": BACK})
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_03_a_provider_that_hangs_keeps_no_others_waiting() {
    let stage = Stage::start().await;
    let eve = stage.eve().await;
    let mut logins = Vec::new();
    for _ in 0..80 {
        logins.push(stage.there("eve").await);
    }
    stage
        .provider
        .set(|ways| ways.fault = Some(("token", Fault::Hang)));
    let mut all = JoinSet::new();
    for login in logins {
        let url = format!("{}/v1/login/oidc/finish", stage.bench.url);
        let sent = stage.client.post(url).json(&login).send();
        let began = Instant::now();
        all.spawn(async move { (sent.await.unwrap(), began.elapsed()) });
    }
    tokio::time::sleep(TIMEOUT / 3).await;
    // Meanwhile whoever needs no provider is served.
    let served = async {
        eve.log_in("eve", PASSWORD).await;
        eve.get("/v1/me").await;
        true
    };
    let late = async {
        tokio::time::sleep(TIMEOUT / 3).await;
        false
    };
    assert!(served.or(late).await, "they wait with the others");
    let (mut at_once, mut waited) = (0, 0);
    while let Some(done) = all.join_next().await {
        let (answer, took) = done.unwrap();
        assert_eq!(problem(answer).await.kind, Kind::Unavailable);
        match took < TIMEOUT {
            true => at_once += 1,
            false => waited += 1,
        }
    }
    assert!(
        waited <= 64 && at_once >= 16,
        "{waited} waited, {at_once} did not"
    );
    stage.provider.mend();
    stage.good("eve").await;
}
