//! Requests to the provider: bounded in time and in what is read, no redirects; what came is kept for a while.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, StatusCode, redirect, retry};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::sync::Mutex;

use super::settings::OidcConfig;
use crate::causes::causes;

/// A connection that takes longer is given up.
const CONNECT: Duration = Duration::from_secs(5);
/// Connections that nothing was sent on for so long are closed.
const IDLE: Duration = Duration::from_secs(30);
/// Longest answer.
const ANSWER_MAX: usize = 256 << 10;
/// After a failure nothing is asked for this long.
const PAUSE: Duration = Duration::from_secs(2);

/// The provider does not answer as it should: why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Down(pub(super) String);

/// Asks the provider.
#[derive(Debug)]
pub(super) struct Fetcher {
    /// Whom the provider must be vouched for by; none: whom this host trusts.
    roots: Option<RootCertStore>,
    timeout: Duration,
    /// Made when it is needed first: a host without any authority serves all else.
    client: OnceLock<Result<Client, String>>,
}

impl Fetcher {
    pub(super) fn new(config: &OidcConfig) -> Self {
        // On this host there may be no TLS, and then nobody to be known by it.
        let plain = config.issuer.starts_with("http:");
        Self {
            roots: config
                .roots
                .clone()
                .or_else(|| plain.then(RootCertStore::empty)),
            timeout: config.timeout,
            client: OnceLock::new(),
        }
    }

    pub(super) fn client(&self) -> Result<&Client, Down> {
        let made = self.client.get_or_init(|| {
            let tls = tls(self.roots.clone()).map_err(|error| {
                format!("this host has no certificate authorities to know the provider by: {error}")
            })?;
            client(tls, self.timeout).map_err(|error| causes(&error))
        });
        made.as_ref().map_err(|why| Down(why.clone()))
    }

    /// An answer, whole.
    pub(super) async fn ask(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), Down> {
        let failed = |error: reqwest::Error| Down(causes(&error));
        let mut response = request
            .header("accept", "application/json")
            .send()
            .await
            .map_err(failed)?;
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > ANSWER_MAX {
                return Err(Down(format!("an answer has more than {ANSWER_MAX} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok((response.status(), body))
    }

    /// What is to be found at an address.
    pub(super) async fn get(&self, url: &str) -> Result<Vec<u8>, Down> {
        let (status, body) = self.ask(self.client()?.get(url)).await?;
        if status != StatusCode::OK {
            return Err(Down(format!(
                "{url}: status {status}; redirects are not followed"
            )));
        }
        Ok(body)
    }
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

fn tls(roots: Option<RootCertStore>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(match roots {
        Some(roots) => config.with_root_certificates(roots),
        None => config.with_platform_verifier()?,
    }
    .with_no_client_auth())
}

/// What was fetched, until it is too old. One fetches, the others wait; after a failure all are told so for a while.
#[derive(Debug)]
pub(super) struct Kept<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    good: Option<(Arc<T>, Instant)>,
    failed: Option<(Down, Instant)>,
}

impl<T> Kept<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            good: None,
            failed: None,
        }))
    }

    /// What is kept, if it is younger than `oldest`; else what `fetch` brings.
    pub(super) async fn get(
        &self,
        oldest: Duration,
        fetch: impl Future<Output = Result<T, Down>> + Send,
    ) -> Result<Arc<T>, Down> {
        let mut state = self.0.lock().await;
        if let Some((value, at)) = &state.good
            && at.elapsed() < oldest
        {
            return Ok(Arc::clone(value));
        }
        if let Some((down, at)) = &state.failed
            && at.elapsed() < PAUSE
        {
            return Err(down.clone());
        }
        match fetch.await {
            Ok(value) => {
                let value = Arc::new(value);
                state.good = Some((Arc::clone(&value), Instant::now()));
                state.failed = None;
                Ok(value)
            }
            Err(down) => {
                state.failed = Some((down.clone(), Instant::now()));
                Err(down)
            }
        }
    }
}
