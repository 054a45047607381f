//! The key door's fallback over HTTPS, and the clock: what masters and slaves serve alike.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_proto::limits::CONTROL_MAX;

use super::accept::Source;
use super::error::{ApiError, Json};
use super::{BODY_MAX, now};
use crate::door::HttpsDoor;

pub(super) fn routes(https_door: Arc<HttpsDoor>) -> Router {
    Router::new()
        .route("/v1/door", post(door))
        .route("/v1/time", get(time))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(https_door)
}

/// The same bytes as over UDP, for devices behind firewalls. No answer is an empty one.
async fn door(
    State(https_door): State<Arc<HttpsDoor>>,
    Extension(Source(source)): Extension<Source>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body?;
    if body.len() > CONTROL_MAX {
        let detail = format!("a key request has at most {CONTROL_MAX} bytes");
        return Err(Problem::new(Kind::Invalid, detail).into());
    }
    let reply = https_door.answer(source, &body);
    if reply.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, reply).into_response())
}

/// This server's clock; anybody may ask, to tell which clock is wrong when certificates do not hold.
async fn time() -> Json<sealcast_objects::time::Timestamp> {
    Json(now())
}
