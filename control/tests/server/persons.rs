//! Persons: they log in, and see and do what is their account's, and nothing else.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use sealcast_objects::api::{Account, Customer, Me, NewCode, Standing, Token};
use sealcast_objects::code::Code;
use sealcast_objects::problem::{IDEMPOTENCY_KEY, Kind};
use serde_json::{Value, json};

use crate::bench::{Bench, problem, raw, refused_as};
use crate::routes::{described, fits};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A person with an account, as the API sees one: no certificate.
pub(crate) struct Person {
    client: reqwest::Client,
    url: String,
    pub(crate) account: String,
    pub(crate) token: String,
}

pub(crate) async fn account(bench: &Bench, name: &str) -> String {
    let new = json!({ "name": name });
    let account: Account = bench.admin.post("/v1/accounts", &new).await.unwrap();
    account.id.to_string()
}

/// The secret of the code with which the password is set.
pub(crate) async fn code(bench: &Bench, account: &str, name: &str) -> String {
    let path = format!("/v1/accounts/{account}/login");
    let code: NewCode = bench
        .admin
        .post(&path, &json!({ "name": name }))
        .await
        .unwrap();
    let code: Code = code.code.parse().unwrap();
    data_encoding::BASE64URL_NOPAD.encode(code.secret())
}

async fn post(client: &reqwest::Client, url: &str, body: &Value) -> Response {
    let sent = client.post(url).header(IDEMPOTENCY_KEY, "one").json(body);
    sent.send().await.unwrap()
}

impl Person {
    pub(crate) async fn new(bench: &Bench, name: &str) -> Self {
        let account = account(bench, name).await;
        Self::of_account(bench, &account, name).await
    }

    /// A person of an account that is there.
    pub(crate) async fn of_account(bench: &Bench, account: &str, name: &str) -> Self {
        let secret = code(bench, account, name).await;
        let mut person = Self::of(bench, account, "");
        let set = json!({"secret": secret, "password": PASSWORD});
        let done = person.post("/v1/login/password", &set).await;
        assert_eq!(done.status(), StatusCode::NO_CONTENT);
        person.token = person.log_in(name, PASSWORD).await.token;
        person
    }

    /// Whoever bears this token.
    pub(crate) fn of(bench: &Bench, account: &str, token: &str) -> Self {
        Self {
            client: raw(&bench.ada, None),
            url: bench.url.clone(),
            account: account.to_owned(),
            token: token.to_owned(),
        }
    }

    /// The same person, logged in otherwise.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            client: self.client.clone(),
            url: self.url.clone(),
            account: self.account.clone(),
            token: token.to_owned(),
        }
    }

    pub(crate) async fn log_in(&self, name: &str, password: &str) -> Token {
        let answer = self.attempt(name, password).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    }

    async fn attempt(&self, name: &str, password: &str) -> Response {
        let body = json!({"name": name, "password": password});
        post(&self.client, &format!("{}/v1/login", self.url), &body).await
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: &Value) -> Response {
        let sent = self
            .client
            .request(method, format!("{}{path}", self.url))
            .header(IDEMPOTENCY_KEY, path)
            .bearer_auth(&self.token);
        sent.json(body).send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.ask(Method::POST, path, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.ask(Method::GET, path, &json!(null)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    pub(crate) async fn refused(&self, method: Method, path: &str, body: &Value) -> Kind {
        problem(self.ask(method, path, body).await).await.kind
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_03_a_person_logs_in_with_a_password_that_only_the_person_set() {
    let bench = Bench::start().await;
    let eve = Person::new(&bench, "Eve@Example.org").await;
    let me: Me = serde_json::from_value(eve.get("/v1/me").await).unwrap();
    assert_eq!(me.account.id.to_string(), eve.account);
    assert_eq!(me.login, "eve@example.org");
    // Regardless of case; and each reason looks the same.
    eve.log_in("EVE@example.ORG", PASSWORD).await;
    let wrong = problem(eve.attempt("eve@example.org", "wrong").await).await;
    let nobody = problem(eve.attempt("nobody@example.org", "wrong").await).await;
    assert_eq!(wrong.kind, Kind::Unauthenticated);
    assert_eq!(wrong, nobody);
    // A code works once; a name is one account's.
    let secret = code(&bench, &eve.account, "eve@example.org").await;
    let set = |secret: &str, password: &str| json!({"secret": secret, "password": password});
    let path = "/v1/login/password";
    let short = eve
        .refused(Method::POST, path, &set(&secret, "short"))
        .await;
    assert_eq!(short, Kind::Invalid);
    let done = eve.post(path, &set(&secret, "another password")).await;
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    let third = set(&secret, "a third password");
    let again = eve.refused(Method::POST, path, &third).await;
    assert_eq!(again, Kind::CodeRefused);
    let other = account(&bench, "other").await;
    let taken: Result<Value, _> = bench
        .admin
        .post(
            &format!("/v1/accounts/{other}/login"),
            &json!({"name": "EVE@example.org"}),
        )
        .await;
    refused_as(Kind::Conflict, taken);
    // With a new password every token is over.
    assert_eq!(
        eve.refused(Method::GET, "/v1/me", &json!(null)).await,
        Kind::Unauthenticated
    );
    let old = problem(eve.attempt("eve@example.org", PASSWORD).await).await;
    assert_eq!(old.kind, Kind::Unauthenticated);
    eve.log_in("eve@example.org", "another password").await;
    // Nothing of it is in the clear where it is kept or told.
    let log = bench.list("audit?limit=1000").await.to_string();
    assert!(log.contains("login.password") && !log.contains("another password"));
    assert!(bench.verified(Vec::new()).await.audit.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_03_whoever_guesses_is_slowed_down() {
    let bench = Bench::start().await;
    let eve = Person::new(&bench, "eve").await;
    for name in ["nobody", "eve"] {
        let (mut guesses, mut refused) = (0, 0);
        while guesses < 7 {
            match problem(eve.attempt(name, "a guess").await).await.kind {
                Kind::Unauthenticated => guesses += 1,
                Kind::TooMany => {
                    assert!(guesses >= 5, "{name}: the first five wait for nothing");
                    refused += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                kind => unreachable!("{kind:?}"),
            }
        }
        assert!(refused > 0, "{name}");
    }
    // Not even with the right one, until the wait is over; then it counts.
    let right = problem(eve.attempt("eve", PASSWORD).await).await;
    assert_eq!(right.kind, Kind::TooMany);
    assert!(right.detail.contains("try again in"), "{}", right.detail);
    tokio::time::sleep(Duration::from_secs(5)).await;
    eve.log_in("eve", PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_changes_the_password_and_logs_out() {
    let bench = Bench::start().await;
    let eve = Person::new(&bench, "eve").await;
    let second = eve.with_token(&eve.log_in("eve", PASSWORD).await.token);
    let path = "/v1/me/password";
    let wrong = json!({"old": "wrong", "new": "a better password"});
    assert_eq!(
        eve.refused(Method::POST, path, &wrong).await,
        Kind::Forbidden
    );
    let right = json!({"old": PASSWORD, "new": "a better password"});
    let done = eve.post(path, &right).await;
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    eve.get("/v1/me").await;
    let ended = second.refused(Method::GET, "/v1/me", &json!(null)).await;
    assert_eq!(ended, Kind::Unauthenticated);
    let out = eve.ask(Method::DELETE, "/v1/login", &json!(null)).await;
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    let out = eve.refused(Method::GET, "/v1/me", &json!(null)).await;
    assert_eq!(out, Kind::Unauthenticated);
    // An account that is stopped is logged out, and stays out.
    let third = eve.log_in("eve", "a better password").await.token;
    bench
        .set(
            &format!("/v1/accounts/{}", eve.account),
            Standing::Suspended,
        )
        .await
        .unwrap();
    let stopped = Person {
        token: third,
        ..second
    };
    let kind = stopped.refused(Method::GET, "/v1/me", &json!(null)).await;
    assert_eq!(kind, Kind::Unauthenticated);
    let again = problem(eve.attempt("eve", "a better password").await).await;
    assert_eq!(again.kind, Kind::Suspended);
}

/// Show 6: every path of a person, by everybody else.
#[tokio::test(flavor = "multi_thread")]
async fn sec_02_a_person_sees_and_changes_what_is_of_the_account_and_nothing_else() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let eve = Person::new(&bench, "eve").await;
    let bob = Person::new(&bench, "bob").await;
    let new = json!({"name": "set-top box"});
    let code: NewCode = eve.post("/v1/me/devices", &new).await.json().await.unwrap();
    let device = crate::bench::enrol(&bench.url, &code, sealcast_objects::api::Role::Device);
    let device = device.await.unwrap();
    bench.right(&device, 1).await;
    let id = &device.subject;
    let recovery: NewCode = bench
        .admin
        .post(&format!("/v1/devices/{id}/recovery"), &())
        .await
        .unwrap();
    let recovery = recovery.subject;
    let made = json!([{"maker": "m", "serial": "1", "key_hash": "A".repeat(43)}]);
    let _: Value = bench
        .admin
        .post("/v1/factory-devices", &made)
        .await
        .unwrap();
    let (_, bill) = crate::billing::billed(&bench, id).await;
    let bill = bill.to_string();
    let revoked = json!({"standing": "revoked"});
    let paths = [
        (Method::GET, "/v1/me".to_owned(), json!(null)),
        (
            Method::PUT,
            "/v1/me/customer".to_owned(),
            json!({"name": "x"}),
        ),
        (Method::GET, "/v1/me/devices".to_owned(), json!(null)),
        (Method::POST, "/v1/me/devices".to_owned(), new),
        (
            Method::POST,
            "/v1/me/devices/claim".to_owned(),
            json!({"maker": "m", "serial": "1", "name": "x"}),
        ),
        (Method::GET, "/v1/me/rights".to_owned(), json!(null)),
        (Method::GET, "/v1/me/licences".to_owned(), json!(null)),
        (Method::GET, "/v1/me/purchases".to_owned(), json!(null)),
        (Method::GET, "/v1/me/money".to_owned(), json!(null)),
        (Method::GET, "/v1/me/bill".to_owned(), json!(null)),
        (Method::GET, "/v1/me/bills".to_owned(), json!(null)),
        (Method::GET, format!("/v1/me/bills/{bill}"), json!(null)),
        (Method::GET, "/v1/me/recoveries".to_owned(), json!(null)),
        (
            Method::POST,
            format!("/v1/me/recoveries/{recovery}/object"),
            json!(null),
        ),
        (
            Method::POST,
            format!("/v1/me/devices/{id}/replace"),
            json!(null),
        ),
        (Method::PATCH, format!("/v1/me/devices/{id}"), revoked),
        (
            Method::POST,
            "/v1/me/password".to_owned(),
            json!({"old": PASSWORD, "new": "another password"}),
        ),
    ];
    // None is left out, but those of identity and card providers, whose tests have them.
    let of_provider = |path: &str| path.starts_with("/v1/me/oidc") || path.ends_with("/card");
    let mine = |path: &str| path.starts_with("/v1/me") && !of_provider(path);
    let described = described().into_iter();
    for (method, template) in described.filter(|(_, path)| mine(path)) {
        let walks = |(walked, path, _): &(Method, String, Value)| {
            *walked == method && fits(&template, path)
        };
        assert!(paths.iter().any(walks), "{method} {template}");
    }
    // Whoever bears no token of a person: with a certificate of an operator or of the device, or a token that is none.
    for identity in [None, Some(&bench.ada), Some(&device)] {
        let client = raw(&bench.ada, identity);
        for (method, path, body) in &paths {
            for token in [None, Some("scp_AAAA"), Some("scm_AAAA"), Some("")] {
                let sent = client.request(method.clone(), format!("{}{path}", bench.url));
                let sent = match token {
                    Some(token) => sent.bearer_auth(token),
                    None => sent,
                };
                let sent = sent.header(IDEMPOTENCY_KEY, "k").json(body);
                let problem = problem(sent.send().await.unwrap()).await;
                assert_eq!(problem.kind, Kind::Unauthenticated, "{method} {path}");
            }
        }
    }
    // Another person: what has an id in its path is not there, lists are empty, and nothing of it changes.
    for (method, path, body) in &paths {
        if [id, &recovery, &bill].iter().any(|id| path.contains(*id)) {
            let kind = bob.refused(method.clone(), path, body).await;
            assert_eq!(kind, Kind::NotFound, "{method} {path}");
        }
    }
    assert_eq!(bob.get("/v1/me/devices").await["devices"], json!([]));
    assert_eq!(bob.get("/v1/me/rights").await, json!([]));
    assert_eq!(bob.get("/v1/me/recoveries").await, json!([]));
    let foreign = json!({"name": "x", "account": eve.account});
    let kind = bob.refused(Method::POST, "/v1/me/devices", &foreign).await;
    assert_eq!(kind, Kind::Forbidden);
    // What persons may not do though they are logged in.
    for path in ["/v1/accounts", "/v1/devices", "/v1/audit", "/v1/operators"] {
        let kind = bob.refused(Method::GET, path, &json!(null)).await;
        assert_eq!(kind, Kind::Unauthenticated, "{path}");
    }
    // The person whose they are: each does something.
    for (method, path, body) in &paths {
        let done = eve.ask(method.clone(), path, body).await.status();
        assert!(done.is_success(), "{method} {path}: {done}");
    }
    let rights = eve.get("/v1/me/rights").await;
    assert_ne!(rights[0]["device"], json!(id), "its successor has them");
}

#[tokio::test(flavor = "multi_thread")]
async fn mv_02_mv_03_a_customer_is_told_kept_and_erased() {
    let bench = Bench::start().await;
    let eve = Person::new(&bench, "eve").await;
    let path = format!("/v1/accounts/{}/customer", eve.account);
    let missing: Result<Customer, _> = bench.admin.get(&path).await;
    refused_as(Kind::NotFound, missing);
    let told = json!({"name": "Eve Example", "address": "1 Main Street", "country": "JP"});
    bench.put(&path, &told).await;
    assert_eq!(eve.get("/v1/me").await["customer"], told);
    let ada = raw(&bench.ada, Some(&bench.ada));
    let url = format!("{}{path}", bench.url);
    let answer = ada.get(&url).send().await.unwrap();
    let tag = answer.headers()["etag"].clone();
    let own = eve
        .ask(
            Method::PUT,
            "/v1/me/customer",
            &json!({"name": "Eve Moved"}),
        )
        .await;
    assert_eq!(own.status(), StatusCode::OK);
    // Whoever saw the former one changes nothing.
    let late = ada.put(&url).header("if-match", &tag).json(&told);
    assert_eq!(problem(late.send().await.unwrap()).await.status, 412);
    let late = ada.delete(&url).header("if-match", tag).send().await;
    assert_eq!(problem(late.unwrap()).await.status, 412);
    for wrong in [
        json!({"name": " "}),
        json!({"name": "x", "country": "jp"}),
        json!({"name": "x", "note": "x".repeat(1025)}),
    ] {
        let put = ada.put(&url).json(&wrong).send().await.unwrap();
        assert_eq!(problem(put).await.kind, Kind::Invalid);
    }
    let erased = ada.delete(&url).send().await.unwrap();
    assert_eq!(erased.status(), StatusCode::NO_CONTENT);
    let missing: Result<Customer, _> = bench.admin.get(&path).await;
    refused_as(Kind::NotFound, missing);
    // The audit log names the act and nothing of the person.
    let log = bench.list("audit?limit=1000").await.to_string();
    assert!(
        log.contains("customer.erase") && !log.contains("Main Street") && !log.contains("Moved")
    );
}
