//! The JSON key server: what Shaka Packager and others ask with `--key_server_url`, as Widevine's common encryption API defines it (there
//! as protocol buffers in JSON: bytes are base64, unknown fields are passed over).
//!
//! What is wrong with who asks is told by the HTTP status. All else is told inside the answer, because packagers drop the body of an
//! HTTP error: a status of the API, and beside it what happened, why, and what to do. They try again at `INTERNAL_ERROR` only.

use std::collections::BTreeSet;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use data_encoding::{BASE64, HEXLOWER};
use schemars::JsonSchema;
use sealcast_crypto::{RequestSigner, SIGNER_IV_LEN};
use sealcast_objects::interop::{ContentId, Periods, Question, Track};
use sealcast_objects::problem::{Kind, Problem};
use serde::{Deserialize, Serialize};

use super::super::error::{ApiError, Json, Path, Whole};
use super::super::internal;
use super::super::openapi::{Routes, Who, about};
use super::asker::Asker;
use super::give::Given;
use super::packagers::signer_name;
use super::{App, check_open, pssh};
use crate::ca::Peer;

pub(super) fn routes() -> Routes {
    Routes::of("Packagers").post(
        "/v1/interop/keys/{channel}",
        keys,
        about("Keys for a packager, as the common encryption API has them")
            .takes_json::<SignedRequest>()
            .by(&[Who::Packager, Who::Operator]),
    )
}

async fn keys(
    State(app): State<App>,
    Extension(peer): Extension<Option<Peer>>,
    Path(channel): Path<u16>,
    headers: HeaderMap,
    body: Result<Whole, ApiError>,
) -> Result<Json<Signed>, ApiError> {
    check_open(app.0.interop.config.key_server, "key_server")?;
    let asker = Asker::of(&app, &headers, peer.as_ref()).await?;
    let Whole(body) = body?;
    let answer = match app.0.interop.admit(&asker.name) {
        Ok(()) => answer(&app, &asker, channel, &body)
            .await
            .inspect_err(|refusal| asker.log_refusal("key server", channel, &refusal.why)),
        Err(problem) => Err(problem.into()),
    };
    let signed = match answer {
        Ok(response) => Signed::new(&response, None),
        Err(Refusal { status, why }) => {
            let response = Response {
                status,
                ..Response::default()
            };
            Signed::new(&response, Some(why))
        }
    };
    Ok(Json(signed.map_err(internal)?))
}

async fn answer(app: &App, asker: &Asker, channel: u16, body: &[u8]) -> Result<Response, Refusal> {
    asker.may(channel)?;
    let request = Request::parse(app, asker, body)?;
    let question = request.question(channel)?;
    let content = question.content.clone();
    let given = app.give("key server", asker, question).await?;
    Ok(Response::new(&content, given))
}

/// What is told inside an answer.
#[derive(Debug)]
struct Refusal {
    status: &'static str,
    why: String,
}

fn malformed(why: impl Into<String>) -> Refusal {
    Refusal {
        status: "MALFORMED_REQUEST",
        why: why.into(),
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let status = match problem.kind {
            Kind::Invalid => "MALFORMED_REQUEST",
            Kind::Conflict => "NO_REQUESTED_CRYPTO_PERIODS",
            Kind::Timeout | Kind::TooMany | Kind::Unavailable | Kind::Internal => "INTERNAL_ERROR",
            _ => "ACCESS_DENIED",
        };
        Self {
            status,
            why: problem.detail,
        }
    }
}

/// `SignedModularDrmRequest`.
#[derive(Debug, Deserialize, JsonSchema)]
struct SignedRequest {
    request: String,
    #[serde(default)]
    signature: Option<String>,
    #[serde(default)]
    signer: Option<String>,
}

/// `CommonEncryptionRequest`: what of it is used here.
#[derive(Debug, Deserialize)]
struct Request {
    #[serde(default)]
    content_id: Option<String>,
    #[serde(default)]
    tracks: Vec<RequestTrack>,
    #[serde(default)]
    drm_types: Vec<String>,
    #[serde(default)]
    first_crypto_period_index: Option<u32>,
    #[serde(default)]
    crypto_period_count: Option<u32>,
    #[serde(default)]
    crypto_period_seconds: Option<u32>,
    #[serde(default)]
    enable_entitlement_license: bool,
}

#[derive(Debug, Deserialize)]
struct RequestTrack {
    #[serde(rename = "type")]
    kind: String,
}

fn bytes(text: &str, what: &str) -> Result<Vec<u8>, Refusal> {
    let decoded = BASE64.decode(text.as_bytes());
    decoded.map_err(|error| malformed(format!("{what} is no base64: {error}")))
}

impl Request {
    /// The request inside `body`, if its signature is what it must be.
    fn parse(app: &App, asker: &Asker, body: &[u8]) -> Result<Self, Refusal> {
        let signed: SignedRequest = serde_json::from_slice(body)
            .map_err(|error| malformed(format!("the body is no JSON with a `request`: {error}")))?;
        let request = bytes(&signed.request, "request")?;
        check_signature(app, asker, &signed, &request)?;
        serde_json::from_slice(&request).map_err(|error| {
            malformed(format!(
                "the request inside `request` cannot be read: {error}"
            ))
        })
    }

    fn question(&self, channel: u16) -> Result<Question, Refusal> {
        let missing = |status, why: &str| Refusal {
            status,
            why: why.to_owned(),
        };
        let Some(content) = self.content_id.as_deref().filter(|id| !id.is_empty()) else {
            return Err(missing(
                "CONTENT_ID_MISSING",
                "no content_id: keys are asked for by content id here (--content_id), not by PSSH or asset",
            ));
        };
        let content = ContentId::new(bytes(content, "content_id")?)
            .map_err(|error| malformed(error.to_string()))?;
        if self.enable_entitlement_license {
            return Err(malformed(
                "entitlement licences are Widevine's own: leave --enable_entitlement_license out",
            ));
        }
        if let Some(other) = self.drm_types.iter().find(|name| *name != "WIDEVINE") {
            return Err(malformed(format!(
                "drm_types names {other:?}: boxes are made for WIDEVINE only; packagers make the common one by themselves"
            )));
        }
        if self.tracks.is_empty() {
            return Err(missing(
                "TRACK_TYPE_MISSING",
                "no tracks: name at least one of SD, HD, UHD1, UHD2, AUDIO",
            ));
        }
        let track = |track: &RequestTrack| {
            Track::from_name(&track.kind).ok_or_else(|| Refusal {
                status: "TRACK_TYPE_UNKNOWN",
                why: format!(
                    "there is no track type {:?}: SD, HD, UHD1, UHD2, AUDIO",
                    track.kind
                ),
            })
        };
        let tracks = self
            .tracks
            .iter()
            .map(track)
            .collect::<Result<BTreeSet<_>, _>>()?;
        let question = Question {
            channel,
            content,
            periods: self.periods()?,
            tracks,
        };
        Ok(question.checked()?)
    }

    fn periods(&self) -> Result<Periods, Refusal> {
        let rotation = (self.first_crypto_period_index, self.crypto_period_seconds);
        match rotation {
            (None, None) if self.crypto_period_count.is_none() => Ok(Periods::Whole),
            (Some(first), Some(seconds)) => Ok(Periods::Rotating {
                first,
                count: self.crypto_period_count.unwrap_or(1),
                seconds,
            }),
            _ => Err(malformed(
                "crypto periods need first_crypto_period_index and crypto_period_seconds, both",
            )),
        }
    }
}

/// A packager that has a signer is heard by it only.
fn check_signature(
    app: &App,
    asker: &Asker,
    signed: &SignedRequest,
    request: &[u8],
) -> Result<(), Refusal> {
    let Some(signer) = &asker.signer else {
        return Ok(());
    };
    let failed = |why: String| Refusal {
        status: "SIGNATURE_FAILED",
        why,
    };
    let named = signed.signer.as_deref().unwrap_or_default();
    if named != signer.name {
        return Err(failed(format!(
            "requests of {} are signed by {}, this one by {named:?}: give --signer, --aes_signing_key \
             and --aes_signing_iv as they were shown",
            asker.name, signer.name
        )));
    }
    let opened = app
        .vault()
        .open_secret(&signer_name(&asker.name), &signer.sealed);
    let opened = opened.map_err(|error| Refusal::from(internal(error)))?;
    let (iv, key) = opened
        .split_first_chunk::<SIGNER_IV_LEN>()
        .ok_or_else(|| internal("a signer has another length than it was stored with"))?;
    let verifier = RequestSigner::new(key, *iv).map_err(internal)?;
    let signature = bytes(signed.signature.as_deref().unwrap_or_default(), "signature")?;
    if !verifier.verifies(request, &signature) {
        return Err(failed(format!(
            "the signature of {named} is not that of this request: check --aes_signing_key and --aes_signing_iv"
        )));
    }
    Ok(())
}

/// `SignedModularDrmResponse`, and a word for people: packagers show it when they fail.
#[derive(Debug, Serialize, JsonSchema)]
struct Signed {
    response: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Signed {
    fn new(response: &Response, message: Option<String>) -> Result<Self, serde_json::Error> {
        let json = zeroize::Zeroizing::new(serde_json::to_vec(response)?);
        Ok(Self {
            response: BASE64.encode(&json),
            message,
        })
    }
}

/// `CommonEncryptionResponse`.
#[derive(Debug, Default, Serialize)]
struct Response {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    drm: Vec<Drm>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tracks: Vec<ResponseTrack>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_id: Option<String>,
}

#[derive(Debug, Serialize)]
struct Drm {
    r#type: &'static str,
    system_id: String,
}

#[derive(Serialize)]
struct ResponseTrack {
    r#type: &'static str,
    key_id: String,
    key: String,
    pssh: [ResponsePssh; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    crypto_period_index: Option<u32>,
}

impl std::fmt::Debug for ResponseTrack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "ResponseTrack({}, {:?}, ..)",
            self.r#type, self.crypto_period_index
        )
    }
}

#[derive(Debug, Serialize)]
struct ResponsePssh {
    drm_type: &'static str,
    data: String,
    boxes: String,
}

impl Response {
    fn new(content: &ContentId, given: Vec<Given>) -> Self {
        let track = |Given { place, key }: Given| {
            let data = pssh::widevine_data(&place.kid, content.as_bytes(), place.period);
            ResponseTrack {
                r#type: place.track.name(),
                key_id: BASE64.encode(&place.kid),
                key: BASE64.encode(key.as_bytes()),
                pssh: [ResponsePssh {
                    drm_type: "WIDEVINE",
                    boxes: BASE64.encode(&pssh::widevine(&data)),
                    data: BASE64.encode(&data),
                }],
                crypto_period_index: place.period,
            }
        };
        Self {
            status: "OK",
            drm: vec![Drm {
                r#type: "WIDEVINE",
                system_id: HEXLOWER.encode(&pssh::WIDEVINE),
            }],
            tracks: given.into_iter().map(track).collect(),
            content_id: Some(BASE64.encode(content.as_bytes())),
        }
    }
}
