//! Persons who log in with an identity provider: OpenID Connect, authorization code with PKCE. This server is the provider's client (relying party); where persons
//! have applications, these carry what goes to and fro.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the way of a person: there, and back |
//! | `settings.rs` | the provider, and what this server is to it |
//! | `fetch.rs` | requests to it, bounded |
//! | `discovery.rs` | what it says of itself, and its keys |
//! | `pending.rs` | a login that was begun |
//! | `token.rs` | ID tokens |
//!
//! Whatever is wrong with the provider makes logins by it fail, and nothing else: it is asked for the first time when somebody logs in.

mod discovery;
mod fetch;
mod pending;
mod settings;
mod token;

use std::sync::Arc;
use std::time::Duration;

use rand_core::CryptoRng;
use reqwest::{RequestBuilder, StatusCode};
use sealcast_domain::identities::Identity;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::{Url, form_urlencoded};

use crate::vault::Vault;
use discovery::{Keys, Provider, document_url};
use fetch::{Down, Fetcher, Kept};
pub(crate) use pending::{Back, Pending};
pub(crate) use settings::address;
pub use settings::{OidcConfig, OidcError, OidcSettings, SCOPES};
use token::{Expected, NoToken, Signed};

/// What a provider says of itself, and its keys, are fetched anew after this.
const OLDEST: Duration = Duration::from_secs(3600);
/// Logins that may ask the provider at once: one that hangs takes no more than these.
const AT_ONCE: usize = 64;

/// The identity provider.
#[derive(Debug)]
pub struct Oidc {
    config: OidcConfig,
    fetcher: Fetcher,
    provider: Kept<Provider>,
    keys: Kept<Keys>,
    at_once: Semaphore,
}

/// What the exchange of a code gives, as far as it matters here (Core 3.1.3.3).
#[derive(Deserialize)]
struct Exchanged {
    id_token: String,
    access_token: Option<String>,
}

/// Why it gave nothing (RFC 6749 5.2).
#[derive(Deserialize)]
struct NotExchanged {
    error: String,
}

fn refused(why: impl std::fmt::Display) -> Problem {
    let why = format!("the identity provider's answer does not count: {why}; begin the login anew");
    Problem::new(Kind::Unauthenticated, why)
}

impl From<Down> for Problem {
    fn from(Down(why): Down) -> Self {
        tracing::warn!(why, "the identity provider does not answer as it should");
        Self::new(
            Kind::Unavailable,
            "the identity provider does not answer as it should: try again, or log in with a password",
        )
    }
}

impl Oidc {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(config: OidcConfig) -> Self {
        Self {
            fetcher: Fetcher::new(&config),
            config,
            provider: Kept::new(),
            keys: Kept::new(),
            at_once: Semaphore::new(AT_ONCE),
        }
    }

    /// A place among those who ask the provider.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn place(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let busy = |_| Problem::new(Kind::Unavailable, "too many log in at once: try again");
        self.at_once.try_acquire().map_err(busy)
    }

    /// The address is one of those that persons may be sent back to.
    pub(crate) fn check_redirect(&self, uri: &str) -> Result<(), Problem> {
        if self.config.redirect_uris.iter().any(|one| one == uri) {
            return Ok(());
        }
        let why = "this redirect_uri is none of those that the settings of the key server name, letter for letter";
        Err(Problem::new(Kind::Invalid, why))
    }

    /// Where a person logs in.
    pub(crate) async fn authorization_url(&self, pending: &Pending) -> Result<Url, Problem> {
        let provider = self.provider().await?;
        let mut url = provider.authorization.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", &pending.redirect_uri)
            .append_pair("scope", &self.config.scopes)
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &pending.challenge())
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// A login, for whoever asked for it to keep.
    pub(crate) fn seal(
        &self,
        pending: &Pending,
        vault: &Vault,
        rng: &mut dyn CryptoRng,
    ) -> Result<String, Problem> {
        let sealed = pending.seal(&self.config.issuer, vault, rng);
        sealed.map_err(crate::http::internal)
    }

    /// The login that a person came back for.
    pub(crate) fn open(
        &self,
        vault: &Vault,
        now: Timestamp,
        back: &Back<'_>,
    ) -> Result<Pending, Problem> {
        let opened = Pending::open(&self.config.issuer, vault, now, back);
        opened.map_err(|why| Problem::new(Kind::Unauthenticated, why.to_string()))
    }

    /// Whoever sent the person back is this provider, as far as it says so (RFC 9207 2.4).
    pub(crate) async fn check_issuer(&self, iss: Option<&str>) -> Result<(), Problem> {
        match iss {
            Some(iss) if iss != self.config.issuer => {
                Err(refused("iss names another provider (RFC 9207)"))
            }
            None if self.provider().await?.says_issuer => Err(refused(
                "this provider says iss, and it is missing (RFC 9207)",
            )),
            _ => Ok(()),
        }
    }

    /// Exchanges the provider's code, and says who came.
    pub(crate) async fn identify(
        &self,
        pending: &Pending,
        code: &str,
        now: Timestamp,
    ) -> Result<Identity, Problem> {
        let provider = self.provider().await?;
        let exchanged = self.exchange(&provider, pending, code).await?;
        let signed = self.signed(&provider, &exchanged.id_token).await?;
        let expected = Expected {
            issuer: &self.config.issuer,
            client_id: &self.config.client_id,
            nonce: &pending.nonce,
            access_token: exchanged.access_token.as_deref(),
        };
        let subject = signed.subject(now, &expected).map_err(bad_token)?;
        Ok(Identity {
            issuer: self.config.issuer.clone(),
            subject,
        })
    }

    async fn provider(&self) -> Result<Arc<Provider>, Down> {
        let fetch = async {
            let document = self.fetcher.get(&document_url(&self.config.issuer)).await?;
            Provider::parse(&self.config.issuer, &document)
        };
        self.provider.get(OLDEST, fetch).await
    }

    async fn keys(&self, provider: &Provider, oldest: Duration) -> Result<Arc<Keys>, Down> {
        let fetch = async { Keys::parse(&self.fetcher.get(provider.keys.as_str()).await?) };
        self.keys.get(oldest, fetch).await
    }

    /// The token by a key of the provider; where none of the known ones fits they may be old.
    async fn signed(&self, provider: &Provider, token: &str) -> Result<Signed, Problem> {
        let keys = self.keys(provider, OLDEST).await?;
        let signed = match token::verify(token, &keys) {
            Err(NoToken::Signature) => {
                token::verify(token, &*self.keys(provider, self.config.pace).await?)
            }
            other => other,
        };
        signed.map_err(bad_token)
    }

    /// What exchanges a code (Core 3.1.3.1).
    fn exchanging(
        &self,
        provider: &Provider,
        pending: &Pending,
        code: &str,
    ) -> Result<RequestBuilder, Down> {
        let mut request = self.fetcher.client()?.post(provider.token.clone());
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &pending.redirect_uri)
            .append_pair("code_verifier", &pending.verifier);
        let client_id = &self.config.client_id;
        match &self.config.secret {
            None => {
                form.append_pair("client_id", client_id);
            }
            Some(secret) if provider.secret_in_body => {
                form.append_pair("client_id", client_id)
                    .append_pair("client_secret", secret);
            }
            // RFC 6749 2.3.1.
            Some(secret) => {
                let encoded = |text: &str| -> String {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                request = request.basic_auth(encoded(client_id), Some(encoded(secret)));
            }
        }
        Ok(request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.finish()))
    }

    async fn exchange(
        &self,
        provider: &Provider,
        pending: &Pending,
        code: &str,
    ) -> Result<Exchanged, Problem> {
        let request = self.exchanging(provider, pending, code)?;
        let (status, body) = self.fetcher.ask(request).await?;
        if status == StatusCode::OK {
            let exchanged = serde_json::from_slice(&body);
            let odd = |error| Down(format!("what it gives for a code is no ID token: {error}"));
            return Ok(exchanged.map_err(odd)?);
        }
        match serde_json::from_slice::<NotExchanged>(&body) {
            Ok(NotExchanged { error }) if error == "invalid_grant" => {
                Err(refused("it does not know this code"))
            }
            Ok(NotExchanged { error }) => {
                let error: String = error.chars().take(100).collect();
                Err(Down(format!("it exchanges no code for this server: {error:?}")).into())
            }
            Err(_) => Err(Down(format!("it exchanges no code: status {status}")).into()),
        }
    }
}

fn bad_token(why: NoToken) -> Problem {
    tracing::warn!(%why, "an ID token of the identity provider does not count");
    refused(format_args!("the ID token: {why}"))
}
