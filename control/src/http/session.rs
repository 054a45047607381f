//! Sessions of devices with the key doors.

use std::net::SocketAddr;

use axum::Extension;
use axum::extract::State;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand_core::Rng as _;
use sealcast_domain::rights;
use sealcast_objects::api::{Role, SessionReply, SessionRequest};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_proto::door::{SessionGrant, SessionKey, Ticket, Tickets};
use sealcast_proto::ids::{AccountId, ChannelId, DeviceId, SessionId};
use sealcast_proto::limits::COOKIES_MAX;
use sealcast_proto::wire::Wire as _;

use super::error::{ApiError, Json};
use super::openapi::{Routes, Who, about};
use super::{App, now};
use crate::ca::Peer;
use crate::key_blocks;

pub(super) fn routes() -> Routes {
    Routes::of("Devices").post(
        "/v1/session",
        session,
        about("A session with the key doors").by(&[Who::Device]),
    )
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
    let device = app.authenticate_device(&peer).await?;
    let notices = app.notices(&device).await?;
    let device = device.id.0;
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
    let paths = key_blocks::paths(&app, now, device, &entitled.channels).await?;
    let (tickets, made, period) = app.tickets();
    let (authority, successor) = app.authority_key().await?;
    let mut rng = app.fork_rng();
    let holder = Holder {
        account: entitled.account,
        device,
        rights_version: entitled.version,
        channels: entitled.channels.iter().copied().map(ChannelId).collect(),
    };
    let mut grant = Vec::new();
    new_session(&tickets, holder, &mut rng).encode(&mut grant);
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
        doors: doors(&app, &mut rng),
        authority,
        successor,
        paths,
        renew_after_ms: ms(renew_after),
        ends_after_ms: ms(left + period),
        now,
        notices,
    }))
}

/// Who a session is for, and what for.
pub(crate) struct Holder {
    pub(crate) account: AccountId,
    pub(crate) device: DeviceId,
    pub(crate) rights_version: u64,
    pub(crate) channels: Vec<ChannelId>,
}

/// A session that begins in the present ticket period.
pub(crate) fn new_session(tickets: &Tickets, holder: Holder, rng: &mut StdRng) -> SessionGrant {
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
        account: holder.account,
        device: holder.device,
        rights_version: holder.rights_version,
        period: tickets.period(),
        channels: holder.channels,
    };
    let cookies = (0..COOKIES_MAX)
        .filter_map(|_| tickets.seal(&ticket, rng))
        .collect();
    SessionGrant {
        session: ticket.session,
        request_key,
        reply_key,
        cookies,
    }
}

/// Where the device finds key doors: at the slaves and here, in an order of its own, so that the load spreads; whoever does not
/// answer is followed by the next.
fn doors(app: &App, rng: &mut StdRng) -> Vec<SocketAddr> {
    let slaves = app.publisher().slaves().into_iter();
    let slaves = slaves
        .filter(|(_, state)| state.leased)
        .map(|(_, state)| state.doors);
    let mut servers: Vec<_> = slaves.chain([app.door_addrs().to_vec()]).collect();
    servers.shuffle(rng);
    servers.concat()
}
