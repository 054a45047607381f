//! Persons who log in with an identity provider: an honest one, a hostile one, one that is down; and one of other software.

mod peer;
mod provider;
mod refused;

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use sealcast_control::oidc::{OidcConfig, OidcSettings};
use sealcast_control::server::ServerConfig;
use sealcast_objects::api::{Login, Me, OidcBegun, Standing, Token};
use sealcast_objects::problem::{Kind, Problem};
use serde_json::{Value, json};

use crate::bench::{Bench, problem, raw};
use crate::persons::{PASSWORD, Person, account, code};
use provider::{BACK, Back, CLIENT, Key, Provider, SECRET};

/// Answers of a provider are waited for this long here.
const TIMEOUT: Duration = Duration::from_millis(1500);
/// Keys are fetched anew no more often than this.
const PACE: Duration = Duration::from_millis(300);

/// Settings for a provider; a client with a secret, if one is given.
fn config(server: &mut ServerConfig, issuer: &str, client: (&str, Option<&str>)) {
    let (client_id, secret) = client;
    std::fs::create_dir_all(&server.data).unwrap();
    let file = secret.map(|secret| {
        let file = server.data.join("oidc.secret");
        std::fs::write(&file, format!("{secret}\n")).unwrap();
        file
    });
    let settings = OidcSettings {
        issuer: issuer.to_owned(),
        client_id: client_id.to_owned(),
        client_secret_file: file,
        redirect_uris: vec!["https://other.example/".to_owned(), BACK.to_owned()],
        scopes: vec!["openid".to_owned(), "email".to_owned()],
        ca: None,
    };
    let mut oidc = OidcConfig::new(&settings).unwrap();
    (oidc.timeout, oidc.pace) = (TIMEOUT, PACE);
    server.oidc = Some(oidc);
}

/// A key server with a provider.
struct Stage {
    bench: Bench,
    provider: Provider,
    /// Nobody's.
    client: reqwest::Client,
}

impl Stage {
    async fn start() -> Self {
        let provider = Provider::start().await;
        let issuer = provider.issuer.clone();
        let client = (CLIENT, Some(SECRET));
        let bench = Bench::start_with(|of| config(of, &issuer, client)).await;
        let client = raw(&bench.ada, None);
        Self {
            bench,
            provider,
            client,
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        let url = format!("{}{path}", self.bench.url);
        self.client.post(url).json(body).send().await.unwrap()
    }

    async fn begin(&self) -> OidcBegun {
        let begun = self
            .post("/v1/login/oidc", &json!({"redirect_uri": BACK}))
            .await;
        assert_eq!(begun.status(), StatusCode::OK);
        begun.json().await.unwrap()
    }

    /// Begins, and logs in at the provider.
    async fn there(&self, sub: &str) -> Value {
        let begun = self.begin().await;
        finish(&begun, self.provider.log_in(&begun.authorization_url, sub))
    }

    async fn back(&self, finish: &Value) -> Response {
        self.post("/v1/login/oidc/finish", finish).await
    }

    /// The whole way.
    async fn log_in(&self, sub: &str) -> Response {
        self.back(&self.there(sub).await).await
    }

    async fn good(&self, sub: &str) -> Token {
        let answer = self.log_in(sub).await;
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn refused(&self, sub: &str) -> Problem {
        problem(self.log_in(sub).await).await
    }

    /// What comes of linking an identity with the login of a person.
    async fn link(&self, person: &Person, sub: &str) -> Response {
        let begun = person
            .post("/v1/me/oidc", &json!({"redirect_uri": BACK}))
            .await;
        assert_eq!(begun.status(), StatusCode::OK);
        let begun: OidcBegun = begun.json().await.unwrap();
        let back = self.provider.log_in(&begun.authorization_url, sub);
        person
            .post("/v1/me/oidc/finish", &finish(&begun, back))
            .await
    }

    /// A person who may log in as `eve` at the provider.
    async fn eve(&self) -> Person {
        let eve = Person::new(&self.bench, "eve").await;
        let linked = self.link(&eve, "eve").await;
        assert_eq!(linked.status(), StatusCode::NO_CONTENT);
        eve
    }

    async fn log(&self) -> String {
        self.bench.list("audit?limit=1000").await.to_string()
    }

    /// Of an account, as an operator sees it.
    async fn login_of(&self, account: &str) -> Login {
        let path = format!("/v1/accounts/{account}/login");
        self.bench.admin.get(&path).await.unwrap()
    }
}

fn finish(begun: &OidcBegun, Back { state, code }: Back) -> Value {
    json!({"login": begun.login, "state": state, "code": code})
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_03_a_person_links_an_identity_and_logs_in_with_it() {
    let stage = Stage::start().await;
    assert_eq!(stage.provider.asked("document"), 0, "nobody logs in yet");
    // An identity that nobody has linked is nobody, whatever its address is.
    let eve = Person::new(&stage.bench, "eve@example.org").await;
    let unknown = stage.refused("eve").await;
    assert_eq!(unknown.kind, Kind::Unauthenticated);
    assert!(
        unknown.detail.contains("no login is linked"),
        "{}",
        unknown.detail
    );

    let other = eve.log_in("eve@example.org", PASSWORD).await;
    let linked = stage.link(&eve, "eve").await;
    assert_eq!(linked.status(), StatusCode::NO_CONTENT);
    let again = stage.link(&eve, "eve").await;
    assert_eq!(again.status(), StatusCode::NO_CONTENT);
    let me: Me = serde_json::from_value(eve.get("/v1/me").await).unwrap();
    let [identity] = &me.identities[..] else {
        unreachable!("{me:?}")
    };
    assert_eq!(
        (identity.issuer.as_str(), identity.subject.as_str()),
        (stage.provider.issuer.as_str(), "eve")
    );

    let by_provider = eve.with_token(&stage.good("eve").await.token);
    let there: Me = serde_json::from_value(by_provider.get("/v1/me").await).unwrap();
    assert_eq!(there, me);
    // One identity for one login, one login for one identity of a provider.
    let bob = Person::new(&stage.bench, "bob").await;
    let taken = problem(stage.link(&bob, "eve").await).await;
    assert_eq!(taken.kind, Kind::Conflict);
    let second = problem(stage.link(&eve, "eve at work").await).await;
    assert_eq!(second.kind, Kind::Conflict);
    assert_eq!(
        stage.refused("eve at work").await.kind,
        Kind::Unauthenticated
    );

    // Who unlinks ends whatever came of it, and all else but this one.
    let gone = eve.ask(Method::DELETE, "/v1/me/oidc", &json!(null)).await;
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    let gone = eve.ask(Method::DELETE, "/v1/me/oidc", &json!(null)).await;
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(eve.get("/v1/me").await["identities"], json!(null));
    for ended in [by_provider, eve.with_token(&other.token)] {
        let kind = ended.refused(Method::GET, "/v1/me", &json!(null)).await;
        assert_eq!(kind, Kind::Unauthenticated);
    }
    assert_eq!(stage.refused("eve").await.kind, Kind::Unauthenticated);
    // Now it may be another's.
    let linked = stage.link(&bob, "eve").await;
    assert_eq!(linked.status(), StatusCode::NO_CONTENT);
    let bob = bob.with_token(&stage.good("eve").await.token);
    assert_eq!(bob.get("/v1/me").await["login"], "bob");

    let log = stage.log().await;
    for (act, count) in [("login.link", 2), ("login.unlink", 1)] {
        assert_eq!(
            log.matches(&format!("\"{act}\"")).count(),
            count,
            "{act}: {log}"
        );
    }
    let by = format!("\"detail\":\"issuer={}\"", stage.provider.issuer);
    assert_eq!(log.matches(&by).count(), 4, "{log}");
    assert!(stage.bench.verified(Vec::new()).await.audit.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_03_a_code_of_an_operator_links_an_identity_at_the_first_login() {
    let stage = Stage::start().await;
    let bench = &stage.bench;
    let account = account(bench, "eve").await;
    let secret = code(bench, &account, "eve").await;
    let with = |mut finish: Value, secret: &str| {
        finish["secret"] = json!(secret);
        finish
    };
    // Who has no code asks the provider nothing, and the login is still good.
    let there = stage.there("eve").await;
    let none = "A".repeat(22);
    let wrong = problem(stage.back(&with(there.clone(), &none)).await).await;
    assert_eq!(wrong.kind, Kind::CodeRefused);
    assert_eq!(stage.provider.asked("token"), 0);
    let first = stage.back(&with(there, &secret)).await;
    assert_eq!(first.status(), StatusCode::OK);
    // Once; from here on without it.
    let used = problem(stage.back(&with(stage.there("eve").await, &secret)).await).await;
    assert_eq!(used.kind, Kind::CodeRefused);
    let token = stage.good("eve").await.token;
    let eve = Person::of(bench, &account, &token);
    assert_eq!(eve.get("/v1/me").await["login"], "eve");
    let login = stage.login_of(&account).await;
    assert!(!login.password && login.identities.len() == 1, "{login:?}");
    // Nobody locks himself out.
    let locked = eve
        .refused(Method::DELETE, "/v1/me/oidc", &json!(null))
        .await;
    assert_eq!(locked, Kind::Conflict);
    stage.good("eve").await;

    // A code for a login that has another identity links no second one, and is not used up by it.
    let secret = code(bench, &account, "eve").await;
    let second = with(stage.there("eve at work").await, &secret);
    assert_eq!(
        problem(stage.back(&second).await).await.kind,
        Kind::Conflict
    );
    // Support removes the first, with a reason; who was logged in is out.
    let path = format!("/v1/accounts/{account}/login/oidc");
    let ada = bench
        .admin
        .clone()
        .because("lost telephone", "4711")
        .unwrap();
    for _ in 0..2 {
        let _: Value = ada.call(Method::DELETE, &path, None::<&()>).await.unwrap();
    }
    let out = eve.refused(Method::GET, "/v1/me", &json!(null)).await;
    assert_eq!(out, Kind::Unauthenticated);
    assert_eq!(stage.refused("eve").await.kind, Kind::Unauthenticated);
    let second = with(stage.there("eve at work").await, &secret);
    assert_eq!(stage.back(&second).await.status(), StatusCode::OK);
    let log = stage.log().await;
    assert_eq!(log.matches("lost telephone").count(), 1, "{log}");
    assert_eq!(log.matches("login.link").count(), 2, "{log}");

    // An account that is stopped stays out, as with a password.
    let eve = format!("/v1/accounts/{account}");
    bench.set(&eve, Standing::Suspended).await.unwrap();
    assert_eq!(stage.refused("eve at work").await.kind, Kind::Suspended);
    let secret = code(bench, &account, "eve").await;
    let stopped = with(stage.there("eve at work").await, &secret);
    assert_eq!(
        problem(stage.back(&stopped).await).await.kind,
        Kind::Suspended
    );
    bench.set(&eve, Standing::Active).await.unwrap();
    stage.good("eve at work").await;
    bench.set(&eve, Standing::Revoked).await.unwrap();
    assert_eq!(stage.refused("eve at work").await.kind, Kind::Suspended);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_03_a_login_belongs_to_the_browser_that_began_it_and_counts_once() {
    let stage = Stage::start().await;
    stage.eve().await;
    let exchanged = stage.provider.asked("token");
    let refused = async |finish: &Value| {
        let problem = problem(stage.back(finish).await).await;
        assert_eq!(problem.kind, Kind::Unauthenticated, "{}", problem.detail);
        problem.detail
    };
    // The mallory of RFC 9700 4.7 gives his answer to eve's browser, which holds another login.
    let (eves, mallorys) = (stage.there("eve").await, stage.there("mallory").await);
    let mut mixed = mallorys.clone();
    mixed["login"] = eves["login"].clone();
    assert!(refused(&mixed).await.contains("another browser"));
    let mut tampered = eves.clone();
    let sealed = eves["login"].as_str().unwrap();
    tampered["login"] = json!(format!("{}A", &sealed[..sealed.len() - 1]));
    if tampered != eves {
        refused(&tampered).await;
    }
    // Whoever answers is another provider, or does not say so though it would (RFC 9207).
    let mut other = eves.clone();
    other["iss"] = json!("https://other.example");
    assert!(refused(&other).await.contains("RFC 9207"));
    assert_eq!(
        stage.provider.asked("token"),
        exchanged,
        "it was asked nothing"
    );
    // None of that has used it up; once it is finished, it is.
    let mut good = eves.clone();
    good["iss"] = json!(stage.provider.issuer);
    assert_eq!(stage.back(&good).await.status(), StatusCode::OK);
    assert!(refused(&eves).await.contains("finished before"));
    // Two at once: one counts.
    let eves = stage.there("eve").await;
    let (one, two) = tokio::join!(stage.back(&eves), stage.back(&eves));
    let mut both = [one.status().as_u16(), two.status().as_u16()];
    both.sort_unstable();
    assert_eq!(both, [200, 401]);
    // The provider's code is another's.
    let (mut eves, bobs) = (stage.there("eve").await, stage.there("bob").await);
    eves["code"] = bobs["code"].clone();
    assert!(refused(&eves).await.contains("does not know this code"));
    stage.good("eve").await;

    for uri in [
        "https://evil.example/",
        "https://shop.example/back",
        "https://shop.example/back?from=oidc#",
        "HTTPS://shop.example/back?from=oidc",
        "",
    ] {
        let begun = stage
            .post("/v1/login/oidc", &json!({"redirect_uri": uri}))
            .await;
        assert_eq!(problem(begun).await.kind, Kind::Invalid, "{uri}");
    }
    // Nothing of it is in the clear with who keeps it.
    let begun = stage.begin().await;
    let sealed = data_encoding::BASE64URL_NOPAD
        .decode(begun.login.as_bytes())
        .unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains("verifier"));
}

/// RFC 9207: a provider that says so says who it is.
#[tokio::test(flavor = "multi_thread")]
async fn sec_03_a_provider_that_names_itself_must_do_so() {
    let provider = Provider::start().await;
    let says = "authorization_response_iss_parameter_supported";
    provider.set(|ways| ways.document = Box::new(move |document| document[says] = json!(true)));
    let issuer = provider.issuer.clone();
    // A public client, for once.
    provider.set(|ways| ways.public = true);
    let bench = Bench::start_with(|of| config(of, &issuer, (CLIENT, None))).await;
    let client = raw(&bench.ada, None);
    let stage = Stage {
        bench,
        provider,
        client,
    };
    let account = account(&stage.bench, "eve").await;
    let mut first = stage.there("eve").await;
    first["secret"] = json!(code(&stage.bench, &account, "eve").await);
    let silent = problem(stage.back(&first).await).await;
    assert_eq!(silent.kind, Kind::Unauthenticated);
    assert!(silent.detail.contains("RFC 9207"), "{}", silent.detail);
    first["iss"] = json!(stage.provider.issuer);
    assert_eq!(stage.back(&first).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_03_whoever_fails_again_and_again_at_a_login_by_a_provider_waits() {
    let stage = Stage::start().await;
    let eve = stage.eve().await;
    for _ in 0..5 {
        assert_eq!(stage.refused("nobody").await.kind, Kind::Unauthenticated);
    }
    let there = stage.there("eve").await;
    let waits = problem(stage.back(&there).await).await;
    assert_eq!(waits.kind, Kind::TooMany);
    assert!(waits.detail.contains("try again in"), "{}", waits.detail);
    // Passwords are another matter, and so is linking.
    eve.log_in("eve", PASSWORD).await;
    assert_eq!(
        stage.link(&eve, "eve").await.status(),
        StatusCode::NO_CONTENT
    );
    // The login is good when the wait is over: it was not looked at.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stage.back(&there).await.status(), StatusCode::OK);
    for _ in 0..4 {
        assert_eq!(stage.refused("nobody").await.kind, Kind::Unauthenticated);
    }
    stage.good("eve").await;
}

/// Every path of it, by everybody else.
#[tokio::test(flavor = "multi_thread")]
async fn sec_02_an_identity_is_linked_by_the_person_alone() {
    let stage = Stage::start().await;
    let bench = &stage.bench;
    let eve = stage.eve().await;
    let bob = Person::new(bench, "bob").await;
    let begin = json!({"redirect_uri": BACK});
    let begun = eve.post("/v1/me/oidc", &begin).await;
    let begun: OidcBegun = begun.json().await.unwrap();
    let back = stage.provider.log_in(&begun.authorization_url, "mallory");
    let linking = finish(&begun, back);
    let paths = [
        (Method::POST, "/v1/me/oidc", begin.clone()),
        (Method::POST, "/v1/me/oidc/finish", linking.clone()),
        (Method::DELETE, "/v1/me/oidc", json!(null)),
    ];
    // None is left out; two are for anybody.
    let source = include_str!("../../src/http/oidc.rs");
    let anybodys = ["/v1/login/oidc", "/v1/login/oidc/finish"];
    for path in source.split('"').filter(|text| text.starts_with("/v1/")) {
        let known = paths.iter().any(|(_, of, _)| *of == path) || anybodys.contains(&path);
        assert!(known, "{path}");
    }
    let device = bench.device().await;
    for identity in [None, Some(&bench.ada), Some(&device)] {
        let client = raw(&bench.ada, identity);
        for (method, path, body) in &paths {
            for token in ["", "scp_AAAA", "scm_AAAA"] {
                let sent = client.request(method.clone(), format!("{}{path}", bench.url));
                let sent = sent.bearer_auth(token).json(body).send().await.unwrap();
                assert_eq!(
                    problem(sent).await.kind,
                    Kind::Unauthenticated,
                    "{method} {path}"
                );
            }
        }
    }
    // Another person's token finishes nothing of eve's; nor is a linking a login, or a login a linking.
    let asked = stage.provider.asked("token");
    let others = bob
        .refused(Method::POST, "/v1/me/oidc/finish", &linking)
        .await;
    assert_eq!(others, Kind::Unauthenticated);
    assert_eq!(
        problem(stage.back(&linking).await).await.kind,
        Kind::Unauthenticated
    );
    let login = stage.there("bob").await;
    let linked = bob
        .refused(Method::POST, "/v1/me/oidc/finish", &login)
        .await;
    assert_eq!(linked, Kind::Unauthenticated);
    let mut with_code = login.clone();
    with_code["secret"] = json!("AAAA");
    let coded = bob
        .refused(Method::POST, "/v1/me/oidc/finish", &with_code)
        .await;
    assert_eq!(coded, Kind::Invalid);
    assert_eq!(stage.provider.asked("token"), asked);
    let untouched = bob.ask(Method::DELETE, "/v1/me/oidc", &json!(null)).await;
    assert_eq!(untouched.status(), StatusCode::NO_CONTENT);
    stage.good("eve").await;
    // A person's token is none of support's.
    let path = format!("/v1/accounts/{}/login/oidc", eve.account);
    let kind = eve.refused(Method::DELETE, &path, &json!(null)).await;
    assert_eq!(kind, Kind::Unauthenticated);
    // Whoever is logged out meanwhile links nothing.
    eve.ask(Method::DELETE, "/v1/login", &json!(null)).await;
    let late = eve
        .refused(Method::POST, "/v1/me/oidc/finish", &linking)
        .await;
    assert_eq!(late, Kind::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_in_the_settings_there_is_no_login_by_one() {
    let bench = Bench::start().await;
    let eve = Person::new(&bench, "eve").await;
    let begin = json!({"redirect_uri": BACK});
    for path in ["/v1/login/oidc", "/v1/me/oidc"] {
        let kind = eve.refused(Method::POST, path, &begin).await;
        assert_eq!(kind, Kind::NotFound);
    }
    let finish = json!({"login": "x", "state": "x", "code": "x"});
    let kind = eve
        .refused(Method::POST, "/v1/login/oidc/finish", &finish)
        .await;
    assert_eq!(kind, Kind::NotFound);
    for bad in [
        json!({}),
        json!({"login": "x", "state": "x", "code": "x", "more": 1}),
    ] {
        let kind = eve
            .refused(Method::POST, "/v1/login/oidc/finish", &bad)
            .await;
        assert_eq!(kind, Kind::Invalid);
    }
}
