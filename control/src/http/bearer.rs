//! Bearer tokens (RFC 6750): of persons, by a row of the store; of machines, sealed by the vault.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use data_encoding::BASE64URL_NOPAD;
use rand_core::CryptoRng;
use sealcast_domain::logins;
use sealcast_objects::AccountId;
use sealcast_objects::code::sha256;
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};

use super::error::ApiError;
use super::{App, now};

/// What tokens of persons begin with: whoever finds one knows what it is.
pub(super) const PERSONS: &str = "scp_";
/// What tokens of machines begin with.
pub(super) const MACHINES: &str = "scm_";

/// A new token of a person.
pub(super) fn fresh(rng: &mut dyn CryptoRng) -> String {
    let mut secret = [0; 32];
    rng.fill_bytes(&mut secret);
    format!("{PERSONS}{}", BASE64URL_NOPAD.encode(&secret))
}

/// What the store keeps of it.
pub(super) fn hash(token: &str) -> [u8; 32] {
    sha256(token.as_bytes())
}

/// The token that a request bears.
pub(super) fn borne(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The person of an account, by a token; every handler under `/v1/me` takes one, and no id of an account.
pub(super) struct Person {
    pub(super) account: AccountId,
    /// Of the token.
    pub(super) token: [u8; 32],
}

impl Person {
    /// As the audit log names him.
    pub(super) fn actor(&self) -> String {
        format!("account:{}", Text(self.account))
    }
}

impl FromRequestParts<App> for Person {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let token = borne(parts).filter(|token| token.starts_with(PERSONS));
        let Some(token) = token else {
            let why =
                "this is for the person of an account: log in (POST /v1/login), and bear the token";
            return Err(Problem::new(Kind::Unauthenticated, why).into());
        };
        let (token, now) = (hash(token), now());
        let account = app
            .read(move |store| logins::holder(store, now, token))
            .await?;
        Ok(Self { account, token })
    }
}
