//! Changes that are made only to what the asker saw: `ETag` and `If-Match` (RFC 9110 13).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use sealcast_objects::code::sha256;
use sealcast_objects::problem::{Kind, Problem};
use serde::Serialize;

use super::error::{ApiError, Json};
use super::{Answer, App, internal};

/// An answer of which a revision is known, and told as `ETag`.
pub(super) struct Revised<T>(pub(super) T, pub(super) u64);

impl<T: Serialize> IntoResponse for Revised<T> {
    fn into_response(self) -> Response {
        let Self(body, revision) = self;
        let tag = HeaderValue::from_str(&format!("\"{revision}\""));
        let tag = tag.ok().map(|tag| [(header::ETAG, tag)]);
        (tag, Json(body)).into_response()
    }
}

/// An answer that is its own revision: its `ETag` is made of what it says.
pub(super) struct Tagged<T>(pub(super) T);

fn tag_of(body: &impl Serialize) -> Answer<String> {
    let body = serde_json::to_vec(body).map_err(internal)?;
    Ok(BASE64URL_NOPAD.encode(&sha256(&body)[..16]))
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let Self(body) = self;
        let tag = tag_of(&body).ok();
        let tag = tag.and_then(|tag| HeaderValue::from_str(&format!("\"{tag}\"")).ok());
        (tag.map(|tag| [(header::ETAG, tag)]), Json(body)).into_response()
    }
}

/// The tag that `If-Match` holds; nothing: whatever there is.
fn wanted(parts: &Parts) -> Result<Option<&str>, ApiError> {
    let Some(tag) = parts.headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let tag = tag.to_str().unwrap_or_default().trim();
    if tag == "*" {
        return Ok(None);
    }
    let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    inner.map(Some).ok_or_else(no_tag)
}

fn no_tag() -> ApiError {
    let detail = "If-Match holds no ETag of this: give the one that came with it";
    Problem::new(Kind::Invalid, detail).into()
}

/// The revision that `If-Match` wants; nothing: whatever there is.
pub(super) struct IfMatch(pub(super) Option<u64>);

impl FromRequestParts<App> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let revision = wanted(parts)?.map(|tag| tag.parse().map_err(|_| no_tag()));
        revision.transpose().map(Self)
    }
}

/// The [`Tagged`] answer that `If-Match` wants; nothing: whatever there is.
pub(super) struct IfSame(Option<String>);

impl FromRequestParts<App> for IfSame {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let tag = wanted(parts)?;
        let length = BASE64URL_NOPAD.encode_len(16);
        match tag {
            Some(tag) if tag.len() != length => Err(no_tag()),
            tag => Ok(Self(tag.map(str::to_owned))),
        }
    }
}

impl IfSame {
    /// To be asked in the transaction that makes the change: whether `what` is still as it was told.
    pub(super) fn check(&self, what: &str, is: &impl Serialize) -> Result<(), Problem> {
        match &self.0 {
            Some(wanted) if tag_of(is)? != *wanted => Err(Problem::changed(what)),
            _ => Ok(()),
        }
    }
}
