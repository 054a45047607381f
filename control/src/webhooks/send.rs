//! One attempt: a POST to an address that was checked, no redirects, a bound on time and on what is read.

use std::error::Error as StdError;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect, retry};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use sealcast_domain::webhooks::deliveries::Outcome;
use sealcast_objects::events::Event;
use sealcast_objects::problem::Problem;
use sealcast_objects::time::Timestamp;

use super::guard::Guard;
use super::sign::{Keys, header};

/// An attempt that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(15);
/// So is a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Connections that nothing was sent on for so long are closed.
const IDLE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read, so that the connection can be used again.
const READ_MAX: usize = 4 << 10;
/// Letters of what is kept of a failure.
const WHY_MAX: usize = 300;

/// What is sent.
pub(super) struct Message {
    /// The same at each attempt.
    pub(super) id: String,
    /// JSON of the event.
    pub(super) body: String,
}

impl Message {
    pub(super) fn new(id: String, event: &Event) -> Self {
        // Texts and numbers: nothing of it can fail.
        let body = serde_json::to_string(event).unwrap_or_default();
        Self { id, body }
    }
}

/// Sends webhooks.
#[derive(Debug)]
pub(super) struct Sender {
    guard: Guard,
    /// For plain HTTP, which goes to named networks only.
    plain: OnceLock<Result<Client, String>>,
    /// For HTTPS; made when it is needed first, as a host may be without any authority.
    tls: OnceLock<Result<Client, String>>,
}

impl Sender {
    pub(super) fn new(networks: &[IpNet]) -> Self {
        Self {
            guard: Guard::new(networks),
            plain: OnceLock::new(),
            tls: OnceLock::new(),
        }
    }

    /// An address that something may be sent to, by its form.
    pub(super) fn check_url(&self, url: &str) -> Result<(), Problem> {
        self.guard.check_url(url).map(|_| ())
    }

    fn client(&self, url: &Url) -> Result<&Client, String> {
        let made = match url.scheme() {
            "http" => self
                .plain
                .get_or_init(|| client(self.guard.only(), no_tls()).map_err(|error| causes(&error))),
            _ => self.tls.get_or_init(|| {
                let tls = tls().map_err(|error| {
                    format!("this host has no certificate authorities to know the other side by: {error}")
                });
                client(self.guard.clone(), tls?).map_err(|error| causes(&error))
            }),
        };
        made.as_ref().map_err(Clone::clone)
    }

    /// One attempt, signed as of `now`.
    pub(super) async fn send(
        &self,
        url: &str,
        message: &Message,
        keys: &[Keys],
        now: Timestamp,
    ) -> Outcome {
        match self.attempt(url, message, keys, now).await {
            Ok(response) => judge(response).await,
            Err(why) => Outcome::Failed(why.chars().take(WHY_MAX).collect()),
        }
    }

    async fn attempt(
        &self,
        url: &str,
        message: &Message,
        keys: &[Keys],
        now: Timestamp,
    ) -> Result<Response, String> {
        // Settings may have changed since it was added.
        let url = self
            .guard
            .check_url(url)
            .map_err(|problem| problem.detail)?;
        let at = now.0.div_euclid(1000);
        let request = self
            .client(&url)?
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", at)
            .header(
                "webhook-signature",
                header(keys, &message.id, at, &message.body),
            )
            .body(message.body.clone());
        request
            .send()
            .await
            .map_err(|error| causes(&error.without_url()))
    }
}

/// The status decides; of the rest only a little is read.
async fn judge(mut response: Response) -> Outcome {
    let status = response.status();
    let mut read = 0;
    while let Ok(Some(piece)) = response.chunk().await {
        read += piece.len();
        if read > READ_MAX {
            break;
        }
    }
    match status.as_u16() {
        410 => Outcome::Gone,
        code if status.is_success() => Outcome::Delivered(code),
        code if status.is_redirection() => {
            Outcome::Failed(format!("status {code}: redirects are not followed"))
        }
        code => {
            let why = format!("status {code}");
            match later(response.headers()) {
                Some(time) => Outcome::Later(why, time),
                None => Outcome::Failed(why),
            }
        }
    }
}

/// The time that an answer asks for: seconds, or until a date (RFC 9110 10.2.3).
fn later(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let until = httpdate::parse_http_date(value).ok()?;
            until.duration_since(SystemTime::now()).ok()
        }
    }
}

fn client(guard: Guard, tls: ClientConfig) -> reqwest::Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(guard))
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .http1_only()
        .connect_timeout(CONNECT)
        .timeout(TIMEOUT)
        .pool_idle_timeout(IDLE)
        .user_agent(concat!("sealcast/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The other side must be vouched for by an authority that this host trusts.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?;
    Ok(config.with_no_client_auth())
}

/// TLS that knows nobody, where there is to be none.
fn no_tls() -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the library's own versions fit its own provider")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

/// An error with all that lies behind it.
fn causes(error: &dyn StdError) -> String {
    let (mut text, mut at) = (error.to_string(), error.source());
    while let Some(cause) = at {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        at = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn a_receiver_says_when_to_come_again() {
        let asks = |value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            later(&HeaderMap::from_iter([(RETRY_AFTER, value)]))
        };
        assert_eq!(asks("120"), Some(Duration::from_secs(120)));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
        let hour = asks(&date).unwrap().as_secs();
        assert!((3_590..=3_600).contains(&hour), "{hour}");
        for none in ["", "soon", "-1", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(asks(none), None, "{none}");
        }
        assert_eq!(later(&HeaderMap::new()), None);
    }
}
