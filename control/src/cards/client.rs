//! Requests to the card provider: bounded in time and in what is read, repeated a few times under the same key, and none at all for a while when
//! it does not answer.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rand_core::Rng as _;
use reqwest::{Client, Method, StatusCode, redirect, retry};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use sealcast_domain::sales::cards::Failure;
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::settings::CardsConfig;
use super::wire::{Dispute, Intent, List, PURCHASE, Refusal};
use crate::causes::causes;

/// The version of the API that this speaks.
const VERSION: &str = "2024-06-20";
/// A connection that takes longer is given up.
const CONNECT: Duration = Duration::from_secs(5);
/// Connections that nothing was sent on for so long are closed.
const IDLE: Duration = Duration::from_secs(30);
/// Longest answer: a page of intents with their charges.
const ANSWER_MAX: usize = 4 << 20;
/// Attempts of one call.
const ATTEMPTS: u32 = 3;
/// Pause before the second one; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(250);
/// Calls that failed one after the other, until none is made for a while,
const TRIP: u32 = 5;
/// which is this long at least,
const REST: Duration = Duration::from_secs(1);
/// and at most.
const REST_MOST: Duration = Duration::from_secs(60);
/// Intents of a page.
const PAGE: &str = "100";

/// What is not to be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// It may be later.
    Failed(Failure),
    /// It was refused: status and code.
    Refused(u16, String),
}

fn silent(why: impl Into<String>) -> Trouble {
    Trouble::Failed(Failure::Silent(why.into()))
}

/// Whether calls are made.
#[derive(Debug, Default)]
struct Circuit {
    failures: AtomicU32,
    until: Mutex<Option<Instant>>,
}

impl Circuit {
    fn rests(&self) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn note(&self, good: bool) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if good {
            self.failures.store(0, Ordering::Relaxed);
            *until = None;
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(over) = failures.checked_sub(TRIP) {
            let rest = REST.saturating_mul(1 << over.min(8)).min(REST_MOST);
            *until = Some(Instant::now() + rest);
        }
    }
}

/// Asks the provider.
#[derive(Debug)]
pub(super) struct Provider {
    config: CardsConfig,
    /// Made when it is needed first: a host without any authority serves all else.
    client: OnceLock<Result<Client, String>>,
    circuit: Circuit,
    good: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

impl Provider {
    pub(super) fn new(config: CardsConfig) -> Self {
        Self {
            config,
            client: OnceLock::new(),
            circuit: Circuit::default(),
            good: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    pub(super) fn config(&self) -> &CardsConfig {
        &self.config
    }

    /// Calls by what came of them.
    pub(super) fn calls(&self) -> [(&'static str, u64); 3] {
        [
            ("good", self.good.load(Ordering::Relaxed)),
            ("refused", self.refused.load(Ordering::Relaxed)),
            ("failed", self.failed.load(Ordering::Relaxed)),
        ]
    }

    /// Whether it did not answer of late, and is left alone for a while.
    pub(super) fn rests(&self) -> bool {
        self.circuit.rests()
    }

    fn client(&self) -> Result<&Client, Trouble> {
        let made = self.client.get_or_init(|| {
            let plain = self.config.url.scheme() == "http";
            let tls = tls(plain).map_err(|error| {
                format!(
                    "this host has no certificate authorities to know the card provider by: {error}"
                )
            })?;
            client(tls, self.config.timeout).map_err(|error| causes(&error))
        });
        made.as_ref().map_err(|why| silent(why.clone()))
    }

    pub(super) async fn create(
        &self,
        key: &str,
        purchase: &str,
        (amount, currency): (u64, &str),
    ) -> Result<Intent, Trouble> {
        let metadata = format!("metadata[{PURCHASE}]");
        let (amount, currency) = (amount.to_string(), currency.to_ascii_lowercase());
        let form = [
            ("amount", amount.as_str()),
            ("currency", &currency),
            ("payment_method_types[]", "card"),
            ("capture_method", "automatic"),
            (&metadata, purchase),
        ];
        self.post("/v1/payment_intents", &form, key).await
    }

    pub(super) async fn look(&self, intent: &str) -> Result<Intent, Trouble> {
        let path = format!("/v1/payment_intents/{}", name(intent)?);
        self.get(&path, &[("expand[]", "latest_charge")]).await
    }

    pub(super) async fn cancel(&self, key: &str, intent: &str) -> Result<Intent, Trouble> {
        let path = format!("/v1/payment_intents/{}/cancel", name(intent)?);
        let form = [("expand[]", "latest_charge")];
        self.post(&path, &form, key).await
    }

    pub(super) async fn refund(
        &self,
        key: &str,
        purchase: &str,
        intent: &str,
    ) -> Result<(), Trouble> {
        let metadata = format!("metadata[{PURCHASE}]");
        let form = [("payment_intent", name(intent)?), (&metadata, purchase)];
        let _: serde::de::IgnoredAny = self.post("/v1/refunds", &form, key).await?;
        Ok(())
    }

    pub(super) async fn disputes(&self, intent: &str) -> Result<Vec<Dispute>, Trouble> {
        let query = [("payment_intent", name(intent)?), ("limit", "100")];
        let list: List<Dispute> = self.get("/v1/disputes", &query).await?;
        Ok(list.data)
    }

    /// A page of intents, the newest first.
    pub(super) async fn list(&self, after: Option<&str>) -> Result<List<Intent>, Trouble> {
        let mut query = vec![("limit", PAGE), ("expand[]", "data.latest_charge")];
        query.extend(after.map(|after| ("starting_after", after)));
        self.get("/v1/payment_intents", &query).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Trouble> {
        let path = format!("{path}?{}", encoded(query));
        self.call(Method::GET, &path, None).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &[(&str, &str)],
        key: &str,
    ) -> Result<T, Trouble> {
        let body = (encoded(form), key);
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<(String, &str)>,
    ) -> Result<T, Trouble> {
        let mut attempt = 0;
        let answer = loop {
            attempt += 1;
            if self.rests() {
                break Err(silent("the card provider does not answer"));
            }
            let asked = self.attempt(&method, path, body.as_ref()).await;
            let (answer, again) = match asked {
                Ok((status, said, again)) => (judge(status, &said), again),
                Err(why) => (Err(silent(why)), None),
            };
            let failed = matches!(answer, Err(Trouble::Failed(_)));
            self.circuit.note(!failed);
            if !failed || attempt == ATTEMPTS || again == Some(false) {
                break answer;
            }
            let random = crate::rng().next_u32() % 1024;
            let pause = PAUSE.saturating_mul(1 << (attempt - 1));
            sleep(pause / 2 + pause * random / 1024).await;
        };
        let counter = match &answer {
            Ok(_) => &self.good,
            Err(Trouble::Refused(..)) => &self.refused,
            Err(Trouble::Failed(_)) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        // What it said stands in no error: it might hold what is nobody's.
        serde_json::from_slice(&answer?)
            .map_err(|_| silent("the card provider's answer is not what it should be"))
    }

    /// Status, body, and whether the provider says that it should be tried again.
    async fn attempt(
        &self,
        method: &Method,
        path: &str,
        body: Option<&(String, &str)>,
    ) -> Result<(StatusCode, Vec<u8>, Option<bool>), String> {
        let url = self.config.url.join(path);
        let url = url.map_err(|error| error.to_string())?;
        let client = self.client().map_err(|trouble| format!("{trouble:?}"))?;
        let mut request = client
            .request(method.clone(), url)
            .bearer_auth(self.config.key.as_str())
            .header("stripe-version", VERSION)
            .header("accept", "application/json");
        if let Some((body, key)) = body {
            request = request
                .header("idempotency-key", *key)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.clone());
        }
        let failed = |error: reqwest::Error| causes(&error.without_url());
        let mut response = request.send().await.map_err(failed)?;
        let again = response.headers().get("stripe-should-retry");
        let again = again.and_then(|said| match said.as_bytes() {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        });
        let mut body = Zeroizing::new(Vec::new());
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > ANSWER_MAX {
                return Err(format!("an answer has more than {ANSWER_MAX} bytes"));
            }
            body.extend_from_slice(&piece);
        }
        Ok((response.status(), std::mem::take(&mut *body), again))
    }
}

/// What an answer comes to.
fn judge(status: StatusCode, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    if status.is_success() {
        return Ok(Zeroizing::new(body.to_vec()));
    }
    let said: Refusal = serde_json::from_slice(body).unwrap_or_default();
    let code = said.error.code();
    match status.as_u16() {
        409 | 429 => Err(silent(format!("the card provider asks to wait ({status})"))),
        401 | 403 => Err(silent(format!(
            "the card provider does not take the secret key ({status} {code}): see cards.secret_key_file"
        ))),
        400 if said.error.is_about_the_key() => Err(Trouble::Failed(Failure::Failing(
            "the card provider knows the key of another request".to_owned(),
        ))),
        code_of @ 400..500 => Err(Trouble::Refused(code_of, code)),
        500.. => Err(Trouble::Failed(Failure::Failing(format!(
            "the card provider fails ({status})"
        )))),
        _ => Err(silent(format!(
            "the card provider answers {status}: redirects are not followed"
        ))),
    }
}

/// A name that can stand in a path.
fn name(text: &str) -> Result<&str, Trouble> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if (1..=255).contains(&text.len()) && text.bytes().all(word) {
        return Ok(text);
    }
    Err(silent("the card provider's name of an intent is none"))
}

fn encoded(fields: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn client(tls: ClientConfig, timeout: Duration) -> reqwest::Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .http1_only()
        .connect_timeout(CONNECT.min(timeout))
        .timeout(timeout)
        .pool_idle_timeout(IDLE)
        .user_agent(concat!("sealcast/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The provider must be vouched for by an authority that this host trusts; on this host itself there is no TLS.
fn tls(plain: bool) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(match plain {
        true => config.with_root_certificates(RootCertStore::empty()),
        false => config.with_platform_verifier()?,
    }
    .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_and_no_secret_is_in_any() {
        let said = br#"{"error": {"type": "invalid_request_error", "message": "Invalid API Key provided: sk_test_abc"}}"#;
        for status in [400, 401, 402, 404, 409, 429, 500, 503, 302] {
            let trouble = judge(StatusCode::from_u16(status).unwrap(), said).unwrap_err();
            assert!(!format!("{trouble:?}").contains("sk_test"), "{trouble:?}");
            let failing = matches!(trouble, Trouble::Failed(Failure::Failing(_)));
            assert_eq!(failing, status >= 500, "{status}");
            let refused = matches!(trouble, Trouble::Refused(..));
            assert_eq!(refused, [400, 402, 404].contains(&status), "{status}");
        }
        let key = br#"{"error": {"type": "idempotency_error"}}"#;
        let trouble = judge(StatusCode::BAD_REQUEST, key).unwrap_err();
        assert!(matches!(trouble, Trouble::Failed(Failure::Failing(_))));
    }

    #[test]
    fn a_provider_that_does_not_answer_is_left_alone_for_a_while() {
        let circuit = Circuit::default();
        for _ in 1..TRIP {
            circuit.note(false);
            assert!(!circuit.rests());
        }
        circuit.note(false);
        assert!(circuit.rests());
        circuit.note(true);
        assert!(!circuit.rests());
    }

    #[test]
    fn names_of_the_provider_cannot_lead_elsewhere() {
        for bad in ["", "../x", "pi_1/cancel", "pi_1?x", "pi 1"] {
            name(bad).unwrap_err();
        }
        name("pi_3MtwBwLkdIwHu7ix28a3tqPa").unwrap();
    }
}
