//! The key door's fallback over HTTPS, and the clock: what masters and slaves serve alike.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_proto::limits::CONTROL_MAX;

use super::accept::Source;
use super::error::{ApiError, Json, Whole};
use super::openapi::{Routes, about};
use super::{BODY_MAX, now};
use crate::door::HttpsDoor;

pub(super) fn routes() -> Routes<Arc<HttpsDoor>> {
    Routes::of("Devices")
        .post(
            "/v1/door",
            door,
            about("Keys, as from a key door over UDP")
                .answers_with(
                    200,
                    Some("application/octet-stream"),
                    "What the door answers.",
                )
                .answers_with(204, None, "The door does not answer."),
        )
        .get("/v1/time", time, "The server's clock")
        .bodies_up_to(BODY_MAX)
}

/// The same bytes as over UDP, for devices behind firewalls. No answer is an empty one.
async fn door(
    State(https_door): State<Arc<HttpsDoor>>,
    Extension(Source(source)): Extension<Source>,
    body: Result<Whole, ApiError>,
) -> Result<Response, ApiError> {
    let Whole(body) = body?;
    if !(1..=CONTROL_MAX).contains(&body.len()) {
        let detail = format!("a key request has 1 to {CONTROL_MAX} bytes");
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
