//! Sessions of devices with the key doors, and the key door's fallback over HTTPS.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use rand_core::Rng as _;
use sealcast_domain::rights;
use sealcast_objects::api::{Role, SessionReply, SessionRequest};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_proto::door::{SessionGrant, SessionKey, Ticket};
use sealcast_proto::ids::{ChannelId, SessionId};
use sealcast_proto::limits::{CONTROL_MAX, COOKIES_MAX};
use sealcast_proto::wire::Wire as _;

use super::accept::Source;
use super::error::{ApiError, Json};
use super::{App, now};
use crate::ca::Peer;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/session", post(session))
        .route("/v1/door", post(door))
        .route("/v1/time", get(time))
}

/// INT-01: a session is for what the device may have now, or is refused with the reasons.
async fn session(
    State(app): State<App>,
    Extension(peer): Extension<Option<Peer>>,
    Json(request): Json<SessionRequest>,
) -> Result<Json<SessionReply>, ApiError> {
    let Some(peer) = peer.filter(|peer| peer.role == Role::Device) else {
        return Err(Problem::new(
            Kind::Unauthenticated,
            "a session needs the certificate of a device: enrol with `sealcast device enrol`",
        )
        .into());
    };
    let device = app.authenticate_device(&peer).await?.id.0;
    let now = now();
    let entitled = app
        .read(move |store| rights::entitled(store, now, device, &request.channels))
        .await?;
    if entitled.channels.is_empty() {
        let reasons: Vec<_> = entitled
            .refused
            .iter()
            .map(|refused| format!("channel {}: {}", refused.channel, refused.why))
            .collect();
        let reasons = if reasons.is_empty() {
            "the device has no rights".to_owned()
        } else {
            reasons.join("; ")
        };
        return Err(Problem::new(Kind::Forbidden, format!("nothing to open: {reasons}")).into());
    }
    let (tickets, made, period) = app.tickets();
    let (authority, successor) = app.authority_key().await?;
    let mut rng = app.fork_rng();
    let mut key = || {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut());
        SessionKey::from_bytes(*bytes)
    };
    let (request_key, reply_key) = (key(), key());
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    let ticket = Ticket {
        session: SessionId(id),
        request_key: request_key.clone(),
        reply_key: reply_key.clone(),
        account: entitled.account,
        device,
        rights_version: entitled.version,
        period: tickets.period(),
        channels: entitled.channels.iter().copied().map(ChannelId).collect(),
    };
    let cookies = (0..COOKIES_MAX)
        .filter_map(|_| tickets.seal(&ticket, &mut rng))
        .collect();
    let mut grant = Vec::new();
    SessionGrant {
        session: ticket.session,
        request_key,
        reply_key,
        cookies,
    }
    .encode(&mut grant);
    // The ticket key is dropped two periods after it was made; renewal is spread over the middle half of the second.
    let age = now.since(made).min(period);
    let left = period - age;
    let share = 25 + rng.next_u64() % 50;
    let renew_after = left + period * u32::try_from(share).expect("below 100") / 100;
    let ms =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Ok(Json(SessionReply {
        grant,
        channels: entitled.channels,
        refused: entitled.refused,
        doors: app.door_addrs().to_vec(),
        authority,
        successor,
        renew_after_ms: ms(renew_after),
        ends_after_ms: ms(left + period),
        now,
    }))
}

/// The same bytes as over UDP, for devices behind firewalls. No answer is an empty one.
async fn door(
    State(app): State<App>,
    Extension(Source(source)): Extension<Source>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body?;
    if body.len() > CONTROL_MAX {
        let detail = format!("a key request has at most {CONTROL_MAX} bytes");
        return Err(Problem::new(Kind::Invalid, detail).into());
    }
    let reply = app.https_door().answer(source, &body);
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
