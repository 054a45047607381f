//! Changes that are made only to what the asker saw: `ETag` and `If-Match` (RFC 9110 13).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use sealcast_objects::problem::{Kind, Problem};
use serde::Serialize;

use super::App;
use super::error::{ApiError, Json};

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

/// The revision that `If-Match` wants; nothing: whatever there is.
pub(super) struct IfMatch(pub(super) Option<u64>);

impl FromRequestParts<App> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let Some(tag) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        let tag = tag.to_str().unwrap_or_default().trim();
        if tag == "*" {
            return Ok(Self(None));
        }
        let revision = tag
            .strip_prefix('"')
            .and_then(|tag| tag.strip_suffix('"')?.parse().ok());
        let expected = revision.map(|revision| Self(Some(revision)));
        expected.ok_or_else(|| {
            let detail = "If-Match holds no ETag of this: give the one that came with it";
            Problem::new(Kind::Invalid, detail).into()
        })
    }
}
