//! What a provider says of itself (OpenID Connect Discovery 1.0), and the keys that it signs with (RFC 7517).

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::fetch::Down;
use super::settings::address;

/// Keys of a set that are looked at.
const KEYS_MAX: usize = 64;

/// Where a provider's document is: below its own address (4.1).
pub(super) fn document_url(issuer: &str) -> String {
    let issuer = issuer.trim_end_matches('/');
    format!("{issuer}/.well-known/openid-configuration")
}

/// The document, as far as it matters here.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    authorization_response_iss_parameter_supported: Option<bool>,
}

/// A provider, as it says of itself.
#[derive(Debug)]
pub(super) struct Provider {
    /// Where persons log in.
    pub(super) authorization: Url,
    /// Where codes are exchanged.
    pub(super) token: Url,
    /// Where its keys are.
    pub(super) keys: Url,
    /// It takes a client's secret in the body only.
    pub(super) secret_in_body: bool,
    /// It says who it is when it sends a person back (RFC 9207 3).
    pub(super) says_issuer: bool,
}

impl Provider {
    /// The provider of this document, which must be `issuer` itself (4.3).
    pub(super) fn parse(issuer: &str, document: &[u8]) -> Result<Self, Down> {
        let document: Document = serde_json::from_slice(document)
            .map_err(|error| Down(format!("its document is none of a provider: {error}")))?;
        if document.issuer != issuer {
            let is = document.issuer;
            return Err(Down(format!(
                "its document is of {is:?}, and not of {issuer:?}"
            )));
        }
        let endpoint = |name: &str, text: &str| {
            let url = address(text).map_err(|why| Down(format!("its {name}: {why}")))?;
            if issuer.starts_with("https:") && url.scheme() != "https" {
                return Err(Down(format!("its {name} is plain HTTP")));
            }
            Ok(url)
        };
        let methods = document.token_endpoint_auth_methods_supported;
        let takes = |method: &str| {
            let named = |methods: &Vec<String>| methods.iter().any(|one| one == method);
            methods.as_ref().map(named)
        };
        Ok(Self {
            authorization: endpoint("authorization_endpoint", &document.authorization_endpoint)?,
            token: endpoint("token_endpoint", &document.token_endpoint)?,
            keys: endpoint("jwks_uri", &document.jwks_uri)?,
            // Where nothing is said, basic is meant (3).
            secret_in_body: takes("client_secret_basic") == Some(false)
                && takes("client_secret_post") == Some(true),
            says_issuer: document
                .authorization_response_iss_parameter_supported
                .unwrap_or(false),
        })
    }
}

/// A key that a provider signs with.
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Its keys.
pub(super) struct Keys(Vec<Key>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Keys {
    /// Those of a set that can be used here; others are passed over (RFC 7517 5).
    pub(super) fn parse(set: &[u8]) -> Result<Self, Down> {
        let set: Set = serde_json::from_slice(set).map_err(|error| {
            Down(format!(
                "what is at its jwks_uri is no set of keys: {error}"
            ))
        })?;
        let keys = set.keys.into_iter().take(KEYS_MAX);
        Ok(Self(keys.filter_map(usable).collect()))
    }

    /// Keys that something may be signed with that says so of itself.
    pub(super) fn of<'a>(
        &'a self,
        id: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a DecodingKey> {
        let fits = move |key: &&Key| {
            key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id)
        };
        self.0.iter().filter(fits).map(|key| &key.key)
    }
}

/// A public key for signatures, with the algorithms that go with it: none of them takes a secret.
fn usable(key: Value) -> Option<Key> {
    let key: Jwk = serde_json::from_value(key).ok()?;
    let all: &[Algorithm] = match &key.algorithm {
        AlgorithmParameters::RSA(_) => &[Algorithm::RS256, Algorithm::PS256],
        AlgorithmParameters::EllipticCurve(of) if of.curve == EllipticCurve::P256 => {
            &[Algorithm::ES256]
        }
        AlgorithmParameters::OctetKeyPair(of) if of.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        _ => return None,
    };
    let signs = matches!(
        key.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    let named = key.common.key_algorithm;
    let fits =
        |algorithm: &Algorithm| named.is_none_or(|named| named == KeyAlgorithm::from(*algorithm));
    let algorithms: Vec<_> = all.iter().copied().filter(fits).collect();
    if !signs || algorithms.is_empty() {
        return None;
    }
    Some(Key {
        algorithms,
        key: DecodingKey::from_jwk(&key).ok()?,
        id: key.common.key_id,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "issuer": "https://id.example/tv",
            "authorization_endpoint": "https://id.example/authorize",
            "token_endpoint": "https://id.example/token",
            "jwks_uri": "https://keys.example/jwks",
        })
    }

    fn parse(change: impl FnOnce(&mut Value)) -> Result<Provider, Down> {
        let mut document = document();
        change(&mut document);
        Provider::parse("https://id.example/tv", document.to_string().as_bytes())
    }

    #[test]
    fn a_document_is_of_whom_it_was_asked_of() {
        assert_eq!(
            document_url("https://id.example/tv/"),
            "https://id.example/tv/.well-known/openid-configuration"
        );
        let provider = parse(|_| ()).unwrap();
        assert!(!provider.says_issuer && !provider.secret_in_body);
        for (field, value) in [
            ("issuer", json!("https://id.example/tv/")),
            ("issuer", json!("https://evil.example")),
            ("token_endpoint", json!("http://id.example/token")),
            ("token_endpoint", json!("http://127.0.0.1/token")),
            ("jwks_uri", json!("file:///etc/passwd")),
            ("jwks_uri", json!(null)),
            ("authorization_endpoint", json!(7)),
        ] {
            parse(|document| document[field] = value.clone()).unwrap_err();
        }
        assert!(Provider::parse("x", b"<html>").is_err());
        let methods = |list: Value| {
            let set =
                |document: &mut Value| document["token_endpoint_auth_methods_supported"] = list;
            parse(set).unwrap().secret_in_body
        };
        assert!(methods(json!(["client_secret_post"])));
        assert!(!methods(json!([
            "client_secret_post",
            "client_secret_basic"
        ])));
        assert!(!methods(json!(["private_key_jwt"])));
    }

    #[test]
    fn keys_that_are_no_public_keys_for_signatures_are_passed_over() {
        let set = json!({"keys": [
            {"kty": "oct", "kid": "secret", "k": "AAAA", "alg": "HS256"},
            {"kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB"},
            {"kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB", "x5c": ["x"]},
            {"kty": "RSA", "kid": "pss", "alg": "PS256", "n": "AQAB", "e": "AQAB"},
            {"kty": "RSA", "kid": "512", "alg": "RS512", "n": "AQAB", "e": "AQAB"},
            {"kty": "EC", "kid": "384", "crv": "P-384", "x": "AQAB", "y": "AQAB"},
            {"kty": "EC", "kid": "k1", "crv": "secp256k1", "x": "AQAB", "y": "AQAB"},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": "AQAB"},
            {"kty": "AKP", "kid": "new", "alg": "ML-DSA-44"},
            "nothing",
            7,
        ]});
        let keys = Keys::parse(set.to_string().as_bytes()).unwrap();
        let known: Vec<_> = keys.0.iter().filter_map(|key| key.id.as_deref()).collect();
        assert_eq!(known, ["rsa", "pss", "ed"]);
        let count = |id, algorithm| keys.of(id, algorithm).count();
        assert_eq!(count(Some("rsa"), Algorithm::RS256), 1);
        assert_eq!(count(Some("pss"), Algorithm::RS256), 0);
        assert_eq!(count(None, Algorithm::PS256), 2);
        assert_eq!(count(None, Algorithm::HS256), 0);
        assert_eq!(count(Some("ed"), Algorithm::ES256), 0);
        assert!(Keys::parse(b"[]").is_err());
    }
}
