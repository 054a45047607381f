//! ID tokens (OpenID Connect Core 1.0, 3.1.3.7).

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use sealcast_domain::identities::SUBJECT_MAX;
use sealcast_objects::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::discovery::Keys;

/// How far the clocks may differ, in seconds.
const LEEWAY: f64 = 60.0;
/// Longest token, in bytes.
const LONGEST: usize = 32 << 10;
/// What a token may be signed by: public keys only.
const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];

/// Whom a token is for; one or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// What a token says (2).
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    iat: f64,
    nonce: Option<String>,
    azp: Option<String>,
    at_hash: Option<String>,
}

/// A token that was signed by the provider.
pub(super) struct Signed {
    claims: Claims,
    algorithm: Algorithm,
}

/// Why a token does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum NoToken {
    #[error("it is no token that a public key has signed")]
    Form,
    #[error("none of the provider's keys has signed it")]
    Signature,
    #[error("it does not say what it must: iss, sub, aud, exp, iat")]
    Claims,
    #[error("another one has issued it")]
    Issuer,
    #[error("it is for somebody else")]
    Audience,
    #[error("it is over")]
    Over,
    #[error("it is of a time to come: look at the clocks")]
    TooEarly,
    #[error("it answers another login")]
    Nonce,
    #[error("it does not go with the access token")]
    AccessToken,
    #[error("it names nobody")]
    Subject,
}

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    pub(super) access_token: Option<&'a str>,
}

/// A token, if one of these keys has signed it.
pub(super) fn verify(token: &str, keys: &Keys) -> Result<Signed, NoToken> {
    if token.len() > LONGEST {
        return Err(NoToken::Form);
    }
    let header = decode_header(token).map_err(|_| NoToken::Form)?;
    let algorithm = header.alg;
    // What must be understood is not (RFC 7515 4.1.11).
    if !ALGORITHMS.contains(&algorithm) || header.crit.is_some() {
        return Err(NoToken::Form);
    }
    let mut validation = Validation::new(algorithm);
    // All that is said is checked below, at a time that is an argument.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let said = keys
        .of(header.kid.as_deref(), algorithm)
        .find_map(|key| decode::<Value>(token, key, &validation).ok())
        .ok_or(NoToken::Signature)?;
    let claims = serde_json::from_value(said.claims).map_err(|_| NoToken::Claims)?;
    Ok(Signed { claims, algorithm })
}

impl Signed {
    /// The person that it names, if it says what it must.
    pub(super) fn subject(
        self,
        now: Timestamp,
        expected: &Expected<'_>,
    ) -> Result<String, NoToken> {
        let Claims {
            iss,
            sub,
            aud,
            exp,
            iat,
            nonce,
            azp,
            at_hash,
        } = self.claims;
        let client = expected.client_id;
        let azp = azp.as_deref();
        let for_us = match &aud {
            Audience::One(one) => one == client,
            // Others may have it, too: then it must say that it was given to us.
            Audience::Several(all) => {
                all.iter().any(|one| one == client) && (all.len() == 1 || azp == Some(client))
            }
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of this age are exact"
        )]
        let now = now.0 as f64 / 1000.0;
        let good_hash = at_hash.is_none_or(|hash| {
            let own = expected
                .access_token
                .map(|token| half_hash(self.algorithm, token));
            own == Some(hash)
        });
        let good_subject =
            (1..=SUBJECT_MAX).contains(&sub.len()) && !sub.contains(char::is_control);
        let checks = [
            (iss == expected.issuer, NoToken::Issuer),
            (
                for_us && azp.is_none_or(|azp| azp == client),
                NoToken::Audience,
            ),
            (exp + LEEWAY > now, NoToken::Over),
            (iat - LEEWAY <= now, NoToken::TooEarly),
            (nonce.as_deref() == Some(expected.nonce), NoToken::Nonce),
            (good_hash, NoToken::AccessToken),
            (good_subject, NoToken::Subject),
        ];
        match checks.into_iter().find(|(good, _)| !good) {
            Some((_, why)) => Err(why),
            None => Ok(sub),
        }
    }
}

/// The left half of a hash, as `at_hash` has it (3.1.3.6): the hash is the one that the signature uses.
fn half_hash(algorithm: Algorithm, of: &str) -> String {
    let with = match algorithm {
        Algorithm::EdDSA => &SHA512,
        _ => &SHA256,
    };
    let hash = digest(with, of.as_bytes());
    let (half, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
    BASE64URL_NOPAD.encode(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OpenID Connect Core 1.0, A.3 and A.4: the access token and its hash.
    #[test]
    fn the_hash_of_an_access_token_is_the_specifications() {
        let hash = half_hash(
            Algorithm::RS256,
            "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y",
        );
        assert_eq!(hash, "77QmUPtjPfzWtF2AnpK9RQ");
        assert_eq!(half_hash(Algorithm::EdDSA, "x").len(), 43);
    }
}
