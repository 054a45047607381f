//! Administration: channels, delivery servers, accounts, devices, rights, epochs, the authority's keys.

use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{get, post};
use sealcast_domain::{accounts, channels, devices, enrolment, keys, nodes, operators, rights};
use sealcast_objects::DeviceId;
use sealcast_objects::api::{
    Account, AuthorityKey, Channel, Device, EpochStatus, KeyStage, Lead, NewAccount, NewCode,
    NewDevice, NewNode, NewRight, Node, Right, Role, ServerStatus, SetStanding, Status,
};
use sealcast_objects::code::Code;
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_proto::authority::{self, ChannelStatus};
use sealcast_proto::ids::ChannelId;
use serde::Deserialize;

use super::error::{ApiError, Json, Path, Query};
use super::slaves::Slaves;
use super::{App, internal, new_authority_key, now};
use crate::authority::Haste;
use crate::ca::Peer;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/channels", get(list_channels).post(add_channel))
        .route(
            "/v1/channels/{id}",
            axum::routing::put(change_channel).delete(remove_channel),
        )
        .route("/v1/channels/{id}/end-epoch", post(end_epoch))
        .route("/v1/nodes", get(list_nodes).post(put_node))
        .route("/v1/nodes/{server}", axum::routing::patch(set_node))
        .route("/v1/accounts", get(list_accounts).post(add_account))
        .route("/v1/devices", get(list_devices).post(add_device))
        .route("/v1/devices/{id}", axum::routing::patch(set_device))
        .route("/v1/devices/{id}/code", post(device_code))
        .route("/v1/rights", get(list_rights).put(put_right))
        .route(
            "/v1/rights/{device}/{channel}",
            axum::routing::patch(set_right),
        )
        .route("/v1/operators/{name}/code", post(operator_code))
        .route("/v1/authority-keys", get(list_keys).post(prepare_key))
        .route("/v1/authority-keys/promote", post(promote_key))
}

/// An operator in good standing; every handler here takes one.
pub(super) struct Operator(pub(super) String);

impl FromRequestParts<App> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let peer = Peer::asking(&parts.extensions);
        Ok(Self(app.authenticate_operator(&peer).await?))
    }
}

type Reply<T> = Result<Json<T>, ApiError>;

async fn list_channels(_: Operator, State(app): State<App>) -> Reply<Vec<Channel>> {
    Ok(Json(app.read(|store| channels::list(store)).await?))
}

async fn add_channel(
    Operator(by): Operator,
    State(app): State<App>,
    Json(channel): Json<Channel>,
) -> Result<(StatusCode, Json<Channel>), ApiError> {
    let new = channel.clone();
    app.write(move |tx| channels::add(tx, &new)).await?;
    app.channels_changed().await?;
    tracing::info!(by, channel = channel.id, "channel added");
    Ok((StatusCode::CREATED, Json(channel)))
}

async fn change_channel(
    Operator(by): Operator,
    State(app): State<App>,
    Path(id): Path<u16>,
    Json(channel): Json<Channel>,
) -> Reply<Channel> {
    if channel.id != id {
        return Err(
            Problem::new(Kind::Invalid, "the number of a channel cannot be changed").into(),
        );
    }
    let new = channel.clone();
    app.write(move |tx| channels::change(tx, &new)).await?;
    app.channels_changed().await?;
    tracing::info!(by, channel = id, "channel changed");
    Ok(Json(channel))
}

async fn remove_channel(
    Operator(by): Operator,
    State(app): State<App>,
    Path(id): Path<u16>,
) -> Result<StatusCode, ApiError> {
    app.write(move |tx| channels::remove(tx, id)).await?;
    app.channels_changed().await?;
    tracing::info!(by, channel = id, "channel removed");
    Ok(StatusCode::NO_CONTENT)
}

async fn end_epoch(
    Operator(by): Operator,
    State(app): State<App>,
    Path(id): Path<u16>,
    Query(Immediate { immediate }): Query<Immediate>,
) -> Result<StatusCode, ApiError> {
    let haste = if immediate {
        Haste::Immediate
    } else {
        Haste::Early
    };
    let ended = app.authority().early(ChannelId(id), haste).await;
    ended
        .map_err(internal)?
        .map_err(|error| Problem::new(Kind::Conflict, error.to_string()))?;
    tracing::info!(by, channel = id, immediate, "epoch ended early");
    Ok(StatusCode::ACCEPTED)
}

/// Whether keys change at once, so that what was announced is of no use to whoever lost a right.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Immediate {
    #[serde(default)]
    immediate: bool,
}

impl App {
    /// Another key than devices have, as soon as lockstep allows. Where nothing is in use there is nothing to change.
    async fn change_at_once(&self, channels: &[u16]) -> Result<(), Problem> {
        for channel in channels {
            let changed = self
                .authority()
                .early(ChannelId(*channel), Haste::Immediate)
                .await;
            if let Err(why) = changed.map_err(internal)? {
                tracing::warn!(channel, %why, "no immediate change of keys");
            }
        }
        Ok(())
    }
}

/// How long a new code counts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CodeLife {
    #[serde(default)]
    valid_ms: Option<u64>,
}

impl App {
    /// A new enrolment code for somebody.
    ///
    /// # Errors
    /// The store's.
    pub async fn new_code(
        &self,
        role: Role,
        subject: &str,
        life: Duration,
    ) -> Result<NewCode, Problem> {
        let code = Code::new(self.ca().fingerprint(), &mut *self.rng());
        let (hash, until, owner) = (code.hash(), now().after(life), subject.to_owned());
        self.write(move |tx| {
            if role == Role::Admin {
                operators::add(tx, &owner)?;
            }
            enrolment::add(tx, hash, role, &owner, until)
        })
        .await?;
        Ok(NewCode {
            subject: subject.to_owned(),
            code: code.to_string(),
            until,
        })
    }
}

impl CodeLife {
    pub(super) fn life(&self) -> Duration {
        self.valid_ms
            .map_or(enrolment::CODE_LIFE, Duration::from_millis)
    }
}

async fn list_nodes(_: Operator, State(app): State<App>) -> Reply<Vec<Node>> {
    Ok(Json(app.read(|store| nodes::list(store)).await?))
}

async fn put_node(
    Operator(by): Operator,
    State(app): State<App>,
    Query(life): Query<CodeLife>,
    Json(new): Json<NewNode>,
) -> Result<(StatusCode, Json<NewCode>), ApiError> {
    let server = new.server;
    app.write(move |tx| nodes::put(tx, &new)).await?;
    app.nodes_changed().await?;
    let code = app
        .new_code(Role::Node, &server.to_string(), life.life())
        .await?;
    tracing::info!(by, server, "delivery server added or changed; it may enrol");
    Ok((StatusCode::CREATED, Json(code)))
}

async fn set_node(
    Operator(by): Operator,
    State(app): State<App>,
    Path(server): Path<u32>,
    Json(SetStanding { standing }): Json<SetStanding>,
) -> Reply<Node> {
    let node = app
        .write(move |tx| {
            nodes::set_standing(tx, server, standing)?;
            nodes::get(tx, server)
        })
        .await?;
    app.nodes_changed().await?;
    tracing::info!(by, server, standing = standing.name(), "delivery server");
    Ok(Json(node))
}

async fn list_accounts(_: Operator, State(app): State<App>) -> Reply<Vec<Account>> {
    Ok(Json(app.read(|store| accounts::list(store)).await?))
}

async fn add_account(
    Operator(by): Operator,
    State(app): State<App>,
    Json(new): Json<NewAccount>,
) -> Result<(StatusCode, Json<Account>), ApiError> {
    let (now, mut rng) = (now(), app.fork_rng());
    let account = app
        .write(move |tx| {
            let id = accounts::add(tx, now, &new.name, &mut rng)?;
            accounts::get(tx, id)
        })
        .await?;
    tracing::info!(by, account = %account.id, "account added");
    Ok((StatusCode::CREATED, Json(account)))
}

async fn list_devices(_: Operator, State(app): State<App>) -> Reply<Vec<Device>> {
    Ok(Json(app.read(|store| devices::list(store)).await?))
}

async fn add_device(
    Operator(by): Operator,
    State(app): State<App>,
    Query(life): Query<CodeLife>,
    Json(new): Json<NewDevice>,
) -> Result<(StatusCode, Json<NewCode>), ApiError> {
    let (now, mut rng) = (now(), app.fork_rng());
    let id = app
        .write(move |tx| devices::add(tx, now, &new, &mut rng))
        .await?;
    let code = app.new_code(Role::Device, &id.text(), life.life()).await?;
    tracing::info!(by, device = %Text(id), "device added; it may enrol");
    Ok((StatusCode::CREATED, Json(code)))
}

/// A new code for a device that lost its key, or did not use its code in time.
async fn device_code(
    Operator(by): Operator,
    State(app): State<App>,
    Path(Text(id)): Path<Text<DeviceId>>,
    Query(life): Query<CodeLife>,
) -> Result<(StatusCode, Json<NewCode>), ApiError> {
    app.read(move |store| devices::get(store, id)).await?;
    let code = app.new_code(Role::Device, &id.text(), life.life()).await?;
    tracing::info!(by, device = %Text(id), "new enrolment code");
    Ok((StatusCode::CREATED, Json(code)))
}

async fn set_device(
    Operator(by): Operator,
    State(app): State<App>,
    Path(Text(id)): Path<Text<DeviceId>>,
    Query(Immediate { immediate }): Query<Immediate>,
    Json(SetStanding { standing }): Json<SetStanding>,
) -> Reply<Device> {
    let now = now();
    let (floor, device, channels) = app
        .write(move |tx| {
            let floor = devices::set_standing(tx, now, id, standing)?;
            let rights = rights::list(tx, Some(id))?;
            let channels: Vec<_> = rights.iter().map(|right| right.channel).collect();
            Ok((floor, devices::get(tx, id)?, channels))
        })
        .await?;
    app.tell_floor(floor);
    if immediate {
        app.change_at_once(&channels).await?;
    }
    tracing::info!(by, device = %device.id, standing = standing.name(), immediate, "device");
    Ok(Json(device))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfDevice {
    #[serde(default)]
    device: Option<Text<DeviceId>>,
}

async fn list_rights(
    _: Operator,
    State(app): State<App>,
    Query(of): Query<OfDevice>,
) -> Reply<Vec<Right>> {
    let device = of.device.map(|Text(device)| device);
    Ok(Json(
        app.read(move |store| rights::list(store, device)).await?,
    ))
}

async fn put_right(
    Operator(by): Operator,
    State(app): State<App>,
    Json(new): Json<NewRight>,
) -> Reply<Right> {
    let now = now();
    let (device, channel) = (new.device.0, new.channel);
    let (floor, right) = app
        .write(move |tx| {
            // A period that ended is told before the right begins anew.
            let had = rights::list(tx, Some(device))?
                .iter()
                .any(|right| right.channel == channel);
            let floor = rights::put(tx, now, &new)?;
            let right = find_right(tx, device, channel)?;
            Ok((had.then_some(floor), right))
        })
        .await?;
    if let Some(floor) = floor {
        app.tell_floor(floor);
    }
    tracing::info!(by, device = %right.device, channel, "right given");
    Ok(Json(right))
}

fn find_right(
    store: &mut dyn sealcast_domain::Read,
    device: DeviceId,
    channel: u16,
) -> sealcast_domain::Result<Right> {
    let found = rights::list(store, Some(device))?
        .into_iter()
        .find(|right| right.channel == channel);
    found.ok_or_else(|| {
        let detail = format!("device {} has no right to channel {channel}", Text(device));
        Problem::new(Kind::NotFound, detail).into()
    })
}

async fn set_right(
    Operator(by): Operator,
    State(app): State<App>,
    Path((Text(device), channel)): Path<(Text<DeviceId>, u16)>,
    Query(Immediate { immediate }): Query<Immediate>,
    Json(SetStanding { standing }): Json<SetStanding>,
) -> Reply<Right> {
    let now = now();
    let (floor, right) = app
        .write(move |tx| {
            let floor = rights::set_standing(tx, now, device, channel, standing)?;
            Ok((floor, find_right(tx, device, channel)?))
        })
        .await?;
    app.tell_floor(floor);
    if immediate {
        app.change_at_once(&[channel]).await?;
    }
    tracing::info!(by, device = %right.device, channel, standing = standing.name(), immediate, "right");
    Ok(Json(right))
}

async fn operator_code(
    Operator(by): Operator,
    State(app): State<App>,
    Path(name): Path<String>,
    Query(life): Query<CodeLife>,
) -> Result<(StatusCode, Json<NewCode>), ApiError> {
    check_name("operator", &name)?;
    let code = app.new_code(Role::Admin, &name, life.life()).await?;
    tracing::info!(by, operator = name, "operator may enrol");
    Ok((StatusCode::CREATED, Json(code)))
}

/// Names are for logs, addresses and certificates.
pub(super) fn check_name(of: &str, name: &str) -> Result<(), Problem> {
    let fits = !name.is_empty()
        && name.len() <= 64
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits {
        return Ok(());
    }
    let detail =
        format!("{of} {name:?}: a name has 1 to 64 letters, digits, dots, dashes and underscores");
    Err(Problem::new(Kind::Invalid, detail))
}

async fn list_keys(_: Operator, State(app): State<App>) -> Reply<Vec<AuthorityKey>> {
    let rows = app.read(|store| keys::authority_keys(store)).await?;
    let key = |row: keys::AuthorityKey| AuthorityKey {
        key: row.public_key,
        stage: row.stage,
        since: row.since,
    };
    Ok(Json(rows.into_iter().map(key).collect()))
}

async fn prepare_key(
    Operator(by): Operator,
    state: State<App>,
) -> Result<(StatusCode, Json<Vec<AuthorityKey>>), ApiError> {
    let State(app) = &state;
    let (public_key, sealed) = new_authority_key(app.vault(), &mut *app.rng());
    let now = now();
    app.write(move |tx| keys::add_authority_key(tx, now, &public_key, &sealed))
        .await?;
    app.keys_changed().await?;
    tracing::info!(by, "a successor of the authority key is named");
    Ok((StatusCode::CREATED, list_keys(Operator(by), state).await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Promote {
    #[serde(default)]
    force: bool,
}

async fn promote_key(
    Operator(by): Operator,
    state: State<App>,
    Query(Promote { force }): Query<Promote>,
) -> Reply<Vec<AuthorityKey>> {
    let State(app) = &state;
    let now = now();
    app.write(move |tx| {
        // Devices hear of it with every answer of a key door, at least once in the life of a key.
        let heard = channels::list(tx)?
            .iter()
            .map(|channel| 2 * u64::from(channel.times.lifetime_ms))
            .max()
            .unwrap_or(0);
        let ready = |key: &keys::AuthorityKey| key.since.after(Duration::from_millis(heard));
        let named = keys::authority_keys(tx)?;
        let named = named.iter().find(|key| key.stage == KeyStage::Successor);
        if let Some(at) = named.map(ready).filter(|at| !force && *at > now) {
            let detail = format!(
                "the successor was named too lately: every device has heard of it at {at} (two lives of a key); wait, or force it"
            );
            return Err(Problem::new(Kind::Conflict, detail).into());
        }
        keys::promote_authority_key(tx, now)
    })
    .await?;
    app.keys_changed().await?;
    tracing::info!(by, "the successor of the authority key signs now");
    list_keys(Operator(by), state).await
}

async fn status(_: Operator, State(app): State<App>) -> Reply<Status> {
    Ok(Json(app.status().await?))
}

impl App {
    /// Where the key server stands.
    ///
    /// # Errors
    /// It is stopping.
    pub async fn status(&self) -> Result<Status, Problem> {
        let status = self.authority().status().await.map_err(internal)?;
        let slaves = self.slave_states().await?;
        Ok(Status {
            lead: match status.lead {
                authority::Lead::Starting => Lead::Starting,
                authority::Lead::Leading(term) => Lead::Leading { term: term.number },
                authority::Lead::Deposed => Lead::Deposed,
            },
            channels: status
                .channels
                .iter()
                .map(|channel| epoch_status(channel, &slaves))
                .collect(),
            slaves: slaves.status(),
            store_written: self.store().written_before(),
            now: now(),
        })
    }
}

fn epoch_status(channel: &ChannelStatus, slaves: &Slaves) -> EpochStatus {
    let server = |server: &authority::ServerStatus| ServerStatus {
        server: server.server.0,
        linked: server.linked,
        current: server.current.map(|epoch| epoch.0),
        next: server.next.map(|epoch| epoch.0),
        packets: server.sent.packets,
        bytes: server.sent.bytes,
    };
    EpochStatus {
        channel: channel.channel.0,
        current: channel.current.map(|epoch| epoch.0),
        root_held: channel.root_known,
        remaining_ms: channel.remaining.0,
        next: channel.next.map(|epoch| epoch.0),
        announced: channel.announced,
        lanes: channel.lanes,
        servers: channel.servers.iter().map(server).collect(),
        slaves: slaves.holding(channel.channel),
    }
}
