//! An identity provider of the test's own: an honest one, until a test says what it does wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use sealcast_objects::code::sha256;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use url::{Url, form_urlencoded};

use crate::bench::LOCAL;

/// What the provider calls the key server, and the secret that goes with it: both need encoding (RFC 6749 2.3.1).
pub(crate) const CLIENT: &str = "seal cast:1";
pub(crate) const SECRET: &str = "s%cret+&=:/";
/// Where persons are sent back to.
pub(crate) const BACK: &str = "https://shop.example/back?from=oidc";

/// A key that the provider signs with.
#[derive(Clone)]
pub(crate) struct Key {
    algorithm: Algorithm,
    key: EncodingKey,
    id: Option<String>,
    jwk: Value,
}

impl Key {
    pub(crate) fn new(id: &str, algorithm: Algorithm) -> Self {
        let (key, jwk) = match algorithm {
            Algorithm::ES256 => {
                let key = rcgen::KeyPair::generate().unwrap().serialize_der();
                let key = EncodingKey::from_ec_der(&key);
                let jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
                (key, serde_json::to_value(jwk).unwrap())
            }
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let x = BASE64URL_NOPAD.encode(pair.public_key().as_ref());
                let key = EncodingKey::from_ed_der(pair.to_pkcs8().unwrap().as_ref());
                (key, json!({"kty": "OKP", "crv": "Ed25519", "x": x}))
            }
            _ => rsa(),
        };
        Self {
            algorithm,
            key,
            id: Some(id.to_owned()),
            jwk,
        }
    }

    /// The same key, that does not say which it is.
    pub(crate) fn nameless(&self) -> Self {
        Self {
            id: None,
            ..self.clone()
        }
    }

    /// As it is published.
    pub(crate) fn published(&self) -> Value {
        let mut jwk = self.jwk.clone();
        if let Some(id) = &self.id {
            jwk["kid"] = json!(id);
        }
        jwk
    }

    fn header(&self) -> Header {
        let mut header = Header::new(self.algorithm);
        header.kid.clone_from(&self.id);
        header
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&self.header(), claims, &self.key).unwrap()
    }

    /// Signed with a secret: the public key, which everybody has.
    pub(crate) fn sign_with_public(&self, claims: &Value) -> String {
        let public = self.jwk.to_string();
        let mut header = self.header();
        header.alg = Algorithm::HS256;
        let key = EncodingKey::from_secret(public.as_bytes());
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }

    /// A good token, under another header.
    pub(crate) fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let good = self.sign(claims);
        let (_, rest) = good.split_once('.').unwrap();
        let header = BASE64URL_NOPAD.encode(header.to_string().as_bytes());
        format!("{header}.{rest}")
    }
}

fn rsa() -> (EncodingKey, Value) {
    use aws_lc_rs::encoding::AsDer as _;
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public = pair.public_key();
    let number = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let modulus = public.modulus().big_endian_without_leading_zero();
    let exponent = public.exponent().big_endian_without_leading_zero();
    let jwk = json!({"kty": "RSA", "n": number(modulus), "e": number(exponent)});
    let der = pair.as_der().unwrap();
    // PKCS #1, which lies inside PKCS #8 after 26 bytes at this size.
    (EncodingKey::from_rsa_der(&der.as_ref()[26..]), jwk)
}

/// What a provider does wrong at one of its paths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    Hang,
    /// It gives a byte now and then.
    Drip,
    Huge,
    Garbage,
    Status(u16),
    Redirect,
    /// An error of RFC 6749 5.2.
    Error(&'static str),
}

type Change<T> = Box<dyn Fn(&mut T) + Send>;
type Sign = Box<dyn Fn(&Key, &Value) -> String + Send>;

/// What the provider does.
pub(crate) struct Ways {
    pub(crate) document: Change<Value>,
    pub(crate) claims: Change<Value>,
    /// Of what is given for a code.
    pub(crate) answer: Change<Value>,
    pub(crate) sign: Sign,
    pub(crate) key: Key,
    pub(crate) published: Vec<Value>,
    pub(crate) fault: Option<(&'static str, Fault)>,
    /// A client without a secret.
    pub(crate) public: bool,
    codes: BTreeMap<String, Given>,
    asked: BTreeMap<&'static str, usize>,
}

impl Ways {
    fn honest(key: Key) -> Self {
        Self {
            document: Box::new(|_| ()),
            claims: Box::new(|_| ()),
            answer: Box::new(|_| ()),
            sign: Box::new(Key::sign),
            published: vec![key.published()],
            key,
            fault: None,
            public: false,
            codes: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }
}

/// What a code was given for.
struct Given {
    sub: String,
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

/// What a person is sent back with.
#[derive(Clone, Debug)]
pub(crate) struct Back {
    pub(crate) state: String,
    pub(crate) code: String,
}

#[derive(Clone)]
struct Shared {
    issuer: String,
    ways: Arc<Mutex<Ways>>,
}

/// A running provider.
pub(crate) struct Provider {
    pub(crate) issuer: String,
    ways: Arc<Mutex<Ways>>,
    _stop: oneshot::Sender<()>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let issuer = format!("http://{}/realms/tv", listener.local_addr().unwrap());
        let key = Key::new("first", Algorithm::ES256);
        let ways = Arc::new(Mutex::new(Ways::honest(key)));
        let shared = Shared {
            issuer: issuer.clone(),
            ways: Arc::clone(&ways),
        };
        let document = "/realms/tv/.well-known/openid-configuration";
        let router = Router::new()
            .route(document, get(say_document))
            .route("/jwks", get(say_keys))
            .route("/token", post(exchange))
            .with_state(shared);
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, router) => served.unwrap(),
                _ = stopped => {}
            }
        });
        Self {
            issuer,
            ways,
            _stop: stop,
        }
    }

    /// Changes what it does.
    pub(crate) fn set<T>(&self, change: impl FnOnce(&mut Ways) -> T) -> T {
        change(&mut self.ways.lock().unwrap())
    }

    /// It is honest again, under the same key.
    pub(crate) fn mend(&self) {
        self.set(|ways| {
            let honest = Ways::honest(ways.key.clone());
            let codes = std::mem::take(&mut ways.codes);
            let (asked, public) = (std::mem::take(&mut ways.asked), ways.public);
            *ways = Ways {
                codes,
                asked,
                public,
                ..honest
            };
        });
    }

    /// How often it was asked there.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.set(|ways| ways.asked.get(path).copied().unwrap_or(0))
    }

    /// What a browser does that is sent to `url`, where a person logs in as `sub`.
    pub(crate) fn log_in(&self, url: &str, sub: &str) -> Back {
        let url = Url::parse(url).unwrap();
        assert_eq!(url.path(), "/authorize");
        let said: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        let of = |name: &str| said[name].clone();
        assert_eq!(of("response_type"), "code");
        assert_eq!(of("client_id"), CLIENT);
        assert_eq!(of("code_challenge_method"), "S256");
        assert!(of("scope").split(' ').any(|scope| scope == "openid"));
        assert!(of("nonce").len() >= 43 && of("state").len() >= 43);
        self.set(|ways| {
            let code = format!("code {}", ways.codes.len());
            let given = Given {
                sub: sub.to_owned(),
                nonce: of("nonce"),
                challenge: of("code_challenge"),
                redirect_uri: of("redirect_uri"),
            };
            ways.codes.insert(code.clone(), given);
            Back {
                state: of("state"),
                code,
            }
        })
    }
}

/// What goes wrong at a path, if anything does.
async fn fault(shared: &Shared, path: &'static str) -> Option<Response> {
    let fault = {
        let mut ways = shared.ways.lock().unwrap();
        *ways.asked.entry(path).or_default() += 1;
        ways.fault
    };
    let (_, fault) = fault.filter(|(at, _)| *at == path)?;
    Some(match fault {
        Fault::Hang => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            StatusCode::OK.into_response()
        }
        Fault::Drip => {
            let drip = tokio_stream::StreamExt::throttle(
                tokio_stream::iter((0..600).map(|_| Ok::<_, std::io::Error>(" "))),
                Duration::from_millis(100),
            );
            axum::body::Body::from_stream(drip).into_response()
        }
        Fault::Huge => vec![b' '; 1 << 20].into_response(),
        Fault::Garbage => "<html>\u{0}".into_response(),
        Fault::Status(code) => StatusCode::from_u16(code).unwrap().into_response(),
        Fault::Redirect => (
            StatusCode::TEMPORARY_REDIRECT,
            [(header::LOCATION, "/jwks")],
        )
            .into_response(),
        Fault::Error(error) => (
            StatusCode::BAD_REQUEST,
            axum::Json(json!({ "error": error })),
        )
            .into_response(),
    })
}

async fn say_document(State(shared): State<Shared>) -> Response {
    if let Some(wrong) = fault(&shared, "document").await {
        return wrong;
    }
    let root = shared.issuer.trim_end_matches("/realms/tv");
    let mut document = json!({
        "issuer": shared.issuer,
        "authorization_endpoint": format!("{root}/authorize?ui=tv"),
        "token_endpoint": format!("{root}/token"),
        "jwks_uri": format!("{root}/jwks"),
        "response_types_supported": ["code"],
    });
    (shared.ways.lock().unwrap().document)(&mut document);
    axum::Json(document).into_response()
}

async fn say_keys(State(shared): State<Shared>) -> Response {
    if let Some(wrong) = fault(&shared, "keys").await {
        return wrong;
    }
    let keys = shared.ways.lock().unwrap().published.clone();
    axum::Json(json!({ "keys": keys })).into_response()
}

/// The client proves itself, and gives the code and what it asked for it with.
fn claims(ways: &mut Ways, issuer: &str, headers: &HeaderMap, body: &[u8]) -> Option<Value> {
    let form: BTreeMap<_, _> = form_urlencoded::parse(body).into_owned().collect();
    let of = |name: &str| form.get(name).map(String::as_str);
    let encoded =
        |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let basic = format!("{}:{}", encoded(CLIENT), encoded(SECRET));
    let basic = format!("Basic {}", BASE64.encode(basic.as_bytes()));
    let shown = headers
        .get("authorization")
        .map(|value| value.to_str().unwrap());
    let known = match ways.public {
        true => shown.is_none() && of("client_id") == Some(CLIENT) && of("client_secret").is_none(),
        false => shown == Some(&basic) || of("client_secret") == Some(SECRET),
    };
    let given = ways.codes.remove(of("code")?)?;
    let verifier = of("code_verifier")?;
    let good = known
        && of("grant_type") == Some("authorization_code")
        && of("redirect_uri") == Some(given.redirect_uri.as_str())
        && BASE64URL_NOPAD.encode(&sha256(verifier.as_bytes())) == given.challenge;
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    good.then(|| {
        json!({
            "iss": issuer,
            "sub": given.sub,
            "aud": CLIENT,
            "exp": now + 300,
            "iat": now,
            "nonce": given.nonce,
            "email": "eve@example.org",
            "email_verified": true,
        })
    })
}

async fn exchange(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(wrong) = fault(&shared, "token").await {
        return wrong;
    }
    let mut ways = shared.ways.lock().unwrap();
    let Some(mut claims) = claims(&mut ways, &shared.issuer, &headers, &body) else {
        let error = json!({"error": "invalid_grant"});
        return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
    };
    (ways.claims)(&mut claims);
    let token = (ways.sign)(&ways.key, &claims);
    let mut answer =
        json!({"access_token": "an access token", "token_type": "Bearer", "id_token": token});
    (ways.answer)(&mut answer);
    axum::Json(answer).into_response()
}
