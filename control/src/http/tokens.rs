//! Tokens for machines that cannot show a certificate, behind a proxy that ends TLS, say: client credentials by an assertion
//! (RFC 6749 4.4, RFC 7523 2.2; `private_key_jwt`), signed with the key that the operator enrolled. Nothing is kept: a token is sealed by
//! the vault, and counts as long as the operator may act with that key.

use std::time::Duration;

use axum::extract::State;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use schemars::JsonSchema;
use sealcast_domain::operators::Acting;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::bearer::MACHINES;
use super::error::{Form, Json, Reply};
use super::openapi::{Routes, about};
use super::{App, internal, now};

/// How long a token counts.
const LIFE: Duration = Duration::from_secs(600);
/// How long an assertion may count.
const ASSERTION_LIFE: Duration = Duration::from_secs(300);
/// How far the clocks may differ.
const LEEWAY: Duration = Duration::from_secs(30);
/// What a token is sealed as.
const SEALED_AS: &str = "token of an operator";

pub(super) fn routes() -> Routes {
    Routes::of("Enrolment").post(
        "/v1/token",
        token,
        about("A token for a machine, by a signed assertion (RFC 7523)")
            .refuses(401)
            .refuses(403),
    )
}

/// RFC 6749 4.4.2, RFC 7523 2.2.
#[derive(Debug, Deserialize, JsonSchema)]
struct TokenRequest {
    grant_type: String,
    client_assertion_type: String,
    client_assertion: String,
}

/// RFC 6749 5.1.
#[derive(Serialize, JsonSchema)]
struct TokenAnswer {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
}

/// What an assertion says (RFC 7523 3).
#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: i64,
    jti: String,
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    name: String,
    #[serde(with = "sealcast_objects::bytes")]
    key: Vec<u8>,
    until: i64,
}

fn refused(why: &str) -> Problem {
    Problem::new(
        Kind::Unauthenticated,
        format!("the assertion does not count: {why}"),
    )
}

/// A key as it was enrolled, for the library; with the one algorithm that goes with it.
fn decoding_key(spki: &[u8]) -> Option<(DecodingKey, Algorithm)> {
    let (_, spki) = SubjectPublicKeyInfo::from_der(spki).ok()?;
    let bits: &[u8] = &spki.subject_public_key.data;
    match (spki.algorithm.algorithm.to_id_string().as_str(), bits.len()) {
        ("1.2.840.10045.2.1", 65) => Some((DecodingKey::from_ec_der(bits), Algorithm::ES256)),
        ("1.2.840.10045.2.1", 97) => Some((DecodingKey::from_ec_der(bits), Algorithm::ES384)),
        ("1.3.101.112", 32) => Some((DecodingKey::from_ed_der(bits), Algorithm::EdDSA)),
        _ => None,
    }
}

async fn token(State(app): State<App>, Form(request): Form<TokenRequest>) -> Reply<TokenAnswer> {
    let known = request.grant_type == "client_credentials"
        && request.client_assertion_type
            == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    if !known {
        let why =
            "only client_credentials by a jwt-bearer assertion gives a token here (RFC 7523 2.2)";
        return Err(Problem::new(Kind::Invalid, why).into());
    }
    Ok(Json(app.token(&request.client_assertion, now())?))
}

impl App {
    /// Whom assertions must be for.
    fn audience(&self) -> String {
        format!(
            "urn:sealcast:ca:{}",
            HEXLOWER.encode(&self.ca().fingerprint())
        )
    }

    fn token(&self, assertion: &str, now: Timestamp) -> Result<TokenAnswer, Problem> {
        // Only to find the key that it must be signed with.
        let said: Claims = insecure_decode_claims(assertion).map_err(|error| {
            refused(&format!(
                "it is no JWT with iss, sub, exp and jti ({error})"
            ))
        })?;
        let key = self.operator_key(&said.sub);
        let key = key.ok_or_else(|| refused("nobody of this name (sub) may act here"))?;
        let (decoding, algorithm) = decoding_key(&key).ok_or_else(|| {
            refused(
                "the key that was enrolled is of no kind that signs them: P-256, P-384, Ed25519",
            )
        })?;
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[self.audience()]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.leeway = LEEWAY.as_secs();
        let claims = decode::<Claims>(assertion, &decoding, &validation)
            .map_err(|error| refused(&format!("{error}; its aud must be {}", self.audience())))?
            .claims;
        if claims.iss != claims.sub {
            return Err(refused("iss and sub must be the same name"));
        }
        let until = Timestamp(claims.exp.saturating_mul(1000)).after(LEEWAY);
        if until > now.after(ASSERTION_LIFE + 2 * LEEWAY) {
            return Err(refused(
                "it counts for too long: exp is at most 5 minutes away",
            ));
        }
        if claims.jti.is_empty() || claims.jti.len() > 128 {
            return Err(refused("its jti has 1 to 128 bytes"));
        }
        let used = format!("{} {}", claims.sub, claims.jti);
        if !self.used_assertions().note(now, used, until)? {
            return Err(refused("it was used before: each has a jti of its own"));
        }
        let sealed = Sealed {
            name: claims.sub,
            key,
            until: now.after(LIFE).0,
        };
        let bytes = serde_json::to_vec(&sealed).map_err(internal)?;
        let sealed = self.vault().seal(SEALED_AS, &bytes, &mut *self.rng());
        Ok(TokenAnswer {
            access_token: format!("{MACHINES}{}", BASE64URL_NOPAD.encode(&sealed)),
            token_type: "Bearer",
            expires_in: LIFE.as_secs(),
        })
    }

    /// The operator that a token is for, if he may still act with the key that he had.
    pub(super) fn authenticate_token(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<(String, Acting), Problem> {
        let bad = || {
            Problem::new(
                Kind::Unauthenticated,
                "this token counts no more: ask for a new one",
            )
        };
        let sealed = token.strip_prefix(MACHINES).ok_or_else(bad)?;
        let sealed = BASE64URL_NOPAD
            .decode(sealed.as_bytes())
            .map_err(|_| bad())?;
        let bytes = self
            .vault()
            .open_secret(SEALED_AS, &sealed)
            .map_err(|_| bad())?;
        let said: Sealed = serde_json::from_slice(&bytes).map_err(internal)?;
        if said.until <= now.0 {
            return Err(bad());
        }
        let acting = self.operator_acting(&said.name, &said.key)?;
        Ok((said.name, acting))
    }
}
