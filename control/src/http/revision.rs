//! Changes that are made only to what the asker saw: `ETag` and `If-Match` (RFC 9110 13).

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use sealcast_objects::problem::{Kind, Problem};
use serde::Serialize;

use super::error::Json;

/// An answer of which a revision is known, and told as `ETag`.
pub(super) fn revised<T: Serialize>(body: T, revision: u64) -> Response {
    let tag = HeaderValue::from_str(&format!("\"{revision}\""));
    let tag = tag.ok().map(|tag| [(header::ETAG, tag)]);
    (tag, Json(body)).into_response()
}

/// What `If-Match` wants; nothing: whatever there is.
pub(super) fn expected(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(tag) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let tag = tag.to_str().unwrap_or_default().trim();
    if tag == "*" {
        return Ok(None);
    }
    let revision = tag
        .strip_prefix('"')
        .and_then(|tag| tag.strip_suffix('"')?.parse().ok());
    revision.map(Some).ok_or_else(|| {
        let detail = "If-Match holds no ETag of this: give the one that came with it";
        Problem::new(Kind::Invalid, detail)
    })
}
