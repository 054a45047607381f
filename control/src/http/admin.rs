//! Administration: channels, delivery servers, epochs, the authority's keys.

use std::time::Duration;

use axum::extract::State;
use axum::response::NoContent;
use data_encoding::BASE64URL_NOPAD;
use schemars::JsonSchema;
use sealcast_domain::audit::Act;
use sealcast_domain::{Read, channels, keys, nodes};
use sealcast_objects::api::{
    AuthorityKey, Channel, EpochStatus, KeyStage, KeyTreeStatus, Lead, NewCode, NewNode, Node,
    Role, ServerStatus, SetStanding, Status,
};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use sealcast_proto::authority::{self, ChannelStatus};
use sealcast_proto::ids::ChannelId;
use serde::Deserialize;

use super::act::{Answered, Once, Operator, listed};
use super::codes::CodeLife;
use super::error::{ApiError, Json, Path, Query, Reply};
use super::openapi::Routes;
use super::permits::{ReadPlant, Rule, RunPlant};
use super::receivers::Immediate;
use super::revision::{IfSame, Tagged};
use super::slaves::Slaves;
use super::{App, internal, new_authority_key, now};
use crate::authority::Haste;
use crate::key_blocks;

pub(super) fn routes() -> Routes {
    Routes::of("Plant")
        .get(
            "/v1/status",
            status,
            "Who leads, and which server holds which keys",
        )
        .get("/v1/channels", list_channels, "All channels")
        .post("/v1/channels", add_channel, "Adds a channel")
        .get("/v1/channels/{id}", channel, "A channel")
        .put("/v1/channels/{id}", change_channel, "Changes a channel")
        .delete("/v1/channels/{id}", remove_channel, "Removes a channel")
        .post(
            "/v1/channels/{id}/end-epoch",
            end_epoch,
            "Ends the epoch in use before its time",
        )
        .get(
            "/v1/channels/{id}/key-trees",
            key_trees,
            "Generations of a channel's key tree that are in its key blocks, the newest first",
        )
        .post(
            "/v1/channels/{id}/key-trees",
            renew_key_tree,
            "A new generation of a channel's key tree",
        )
        .get("/v1/nodes", list_nodes, "All delivery servers")
        .post(
            "/v1/nodes",
            put_node,
            "A delivery server, new or with another code",
        )
        .patch(
            "/v1/nodes/{server}",
            set_node,
            "A delivery server's standing",
        )
        .get("/v1/authority-keys", list_keys, "Keys of the authority")
        .post(
            "/v1/authority-keys",
            prepare_key,
            "Names the key that replaces the authority's",
        )
        .post(
            "/v1/authority-keys/promote",
            promote_key,
            "That key signs from here on",
        )
}

async fn list_channels(_: Operator<ReadPlant>, State(app): State<App>) -> Reply<Vec<Channel>> {
    Ok(Json(app.read(|store| channels::list(store)).await?))
}

async fn channel(
    _: Operator<ReadPlant>,
    State(app): State<App>,
    Path(id): Path<u16>,
) -> Result<Tagged<Channel>, ApiError> {
    let found = app.read(move |store| channels::get(store, id));
    Ok(Tagged(found.await?))
}

async fn add_channel(
    once: Once<RunPlant>,
    State(app): State<App>,
    Json(channel): Json<Channel>,
) -> Result<Answered<Channel>, ApiError> {
    let asked = channel.clone();
    let tree = key_tree(&app, &channel);
    let added = once.act(&app, &asked, move |tx| {
        channels::add(tx, &channel)?;
        if let Some(secret) = tree {
            key_blocks::ensure(tx, now(), channel.id, &secret)?;
        }
        let act = on_channel("channel.add", &channel);
        Ok((channel, act))
    });
    let added = added.await?;
    app.channels_changed().await?;
    Ok(added)
}

/// The secret of a key tree, sealed, for a channel that is to have key blocks.
fn key_tree(app: &App, channel: &Channel) -> Option<Vec<u8>> {
    let is_on = channel.key_block_permille > 0;
    is_on.then(|| key_blocks::new_secret(app.vault(), channel.id, &mut *app.rng()))
}

async fn key_trees(
    _: Operator<ReadPlant>,
    State(app): State<App>,
    Path(id): Path<u16>,
) -> Reply<Vec<KeyTreeStatus>> {
    Ok(Json(app.read(move |store| tree_status(store, id)).await?))
}

fn tree_status(store: &mut dyn Read, channel: u16) -> sealcast_domain::Result<Vec<KeyTreeStatus>> {
    channels::get(store, channel)?;
    let mut trees = Vec::new();
    for tree in sealcast_domain::key_trees::of_channel(store, channel)? {
        trees.push(KeyTreeStatus {
            generation: tree.generation,
            positions: 1 << tree.height,
            given: tree.given,
            gone: sealcast_domain::key_trees::count_gone(store, channel, tree.generation)?,
            made_at: tree.made_at,
        });
    }
    Ok(trees)
}

/// INT-05: positions are given anew, densely, to those who are still there: blocks become small again.
async fn renew_key_tree(
    once: Once<RunPlant>,
    State(app): State<App>,
    Path(id): Path<u16>,
) -> Result<Answered<Vec<KeyTreeStatus>>, ApiError> {
    let secret = key_blocks::new_secret(app.vault(), id, &mut *app.rng());
    let renewed = once.act(&app, &(), move |tx| {
        channels::get(tx, id)?;
        let made = sealcast_domain::key_trees::renew(tx, now(), id, &secret)?;
        let act = Act::on("key-tree.renew", id).with("generation", made.generation);
        Ok((tree_status(tx, id)?, act))
    });
    Ok(renewed.await?)
}

fn on_channel(name: &'static str, channel: &Channel) -> Act {
    Act::on(name, channel.id)
        .with("lifetime_ms", channel.times.lifetime_ms)
        .with("prepare_ahead_ms", channel.times.prepare_ahead_ms)
        .with("fetch_ahead_ms", channel.times.fetch_ahead_ms)
        .with("grace_ms", channel.times.grace_ms)
        .with("hold_max_lifetimes", channel.times.hold_max_lifetimes)
        .with("auth_level", u8::from(channel.auth_level))
        .with("key_block_permille", channel.key_block_permille)
}

async fn change_channel(
    operator: Operator<RunPlant>,
    State(app): State<App>,
    Path(id): Path<u16>,
    if_same: IfSame,
    Json(channel): Json<Channel>,
) -> Result<Tagged<Channel>, ApiError> {
    if channel.id != id {
        return Err(
            Problem::new(Kind::Invalid, "the number of a channel cannot be changed").into(),
        );
    }
    let tree = key_tree(&app, &channel);
    let changed = operator.act(&app, move |tx| {
        if_same.check("the channel", &channels::get(tx, id)?)?;
        channels::change(tx, &channel)?;
        if let Some(secret) = tree {
            key_blocks::ensure(tx, now(), channel.id, &secret)?;
        }
        let act = on_channel("channel.change", &channel);
        Ok((channel, act))
    });
    let changed = changed.await?;
    app.channels_changed().await?;
    Ok(Tagged(changed))
}

async fn remove_channel(
    operator: Operator<RunPlant>,
    State(app): State<App>,
    Path(id): Path<u16>,
    if_same: IfSame,
) -> Result<NoContent, ApiError> {
    let removed = operator.act(&app, move |tx| {
        if_same.check("the channel", &channels::get(tx, id)?)?;
        channels::remove(tx, id)?;
        Ok(((), Act::on("channel.remove", id)))
    });
    removed.await?;
    app.channels_changed().await?;
    Ok(NoContent)
}

/// What is asked again does not end another epoch.
async fn end_epoch(
    once: Once<RunPlant>,
    State(app): State<App>,
    Path(id): Path<u16>,
    Query(Immediate { immediate }): Query<Immediate>,
) -> Result<Answered<(), 202>, ApiError> {
    if let Some(ended) = once.before(&app, &()).await? {
        return Ok(ended.status());
    }
    let haste = if immediate {
        Haste::Immediate
    } else {
        Haste::Early
    };
    let ended = app.authority().early(ChannelId(id), haste).await;
    ended
        .map_err(internal)?
        .map_err(|error| Problem::new(Kind::Conflict, error.to_string()))?;
    let ended = once.act(&app, &(), move |_| {
        let act = Act::on("epoch.end", id).with("immediate", immediate);
        Ok(((), act))
    });
    Ok(ended.await?.status())
}

async fn list_nodes(_: Operator<ReadPlant>, State(app): State<App>) -> Reply<Vec<Node>> {
    Ok(Json(app.read(|store| nodes::list(store)).await?))
}

async fn put_node(
    once: Once<RunPlant>,
    State(app): State<App>,
    Query(life): Query<CodeLife>,
    Json(new): Json<NewNode>,
) -> Result<Answered<NewCode>, ApiError> {
    let (code, asked) = (life.code(&app), new.clone());
    let put = once.act(&app, &asked, move |tx| {
        nodes::put(tx, &new)?;
        let code = code.give(tx, Role::Node, &new.server.to_string())?;
        let mut act = Act::on("node.put", new.server);
        if let Some(channels) = &new.channels {
            act = act.with("channels", listed(channels));
        }
        Ok((code, act))
    });
    let put = put.await?;
    app.nodes_changed().await?;
    Ok(put)
}

async fn set_node(
    operator: Operator<RunPlant>,
    State(app): State<App>,
    Path(server): Path<u32>,
    Json(SetStanding { standing }): Json<SetStanding>,
) -> Reply<Node> {
    let set = operator.act(&app, move |tx| {
        nodes::set_standing(tx, server, standing)?;
        let act = Act::on("node.set", server).with("standing", standing.name());
        Ok((nodes::get(tx, server)?, act))
    });
    let node = set.await?;
    app.nodes_changed().await?;
    Ok(Json(node))
}

async fn list_keys(_: Operator<ReadPlant>, State(app): State<App>) -> Reply<Vec<AuthorityKey>> {
    Ok(Json(app.read(|store| authority_keys(store)).await?))
}

fn authority_keys(store: &mut dyn Read) -> sealcast_domain::Result<Vec<AuthorityKey>> {
    let key = |row: keys::AuthorityKey| AuthorityKey {
        key: row.public_key,
        stage: row.stage,
        since: row.since,
    };
    let rows = keys::authority_keys(store)?;
    Ok(rows.into_iter().map(key).collect())
}

async fn prepare_key(
    once: Once<Rule>,
    State(app): State<App>,
) -> Result<Answered<Vec<AuthorityKey>>, ApiError> {
    let (public_key, sealed) = new_authority_key(app.vault(), &mut *app.rng());
    let now = now();
    let prepared = once.act(&app, &(), move |tx| {
        keys::add_authority_key(tx, now, &public_key, &sealed)?;
        let act = Act::on("authority-key.prepare", BASE64URL_NOPAD.encode(&public_key));
        Ok((authority_keys(tx)?, act))
    });
    let prepared = prepared.await?;
    app.keys_changed().await?;
    Ok(prepared)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Promote {
    #[serde(default)]
    force: bool,
}

async fn promote_key(
    once: Once<Rule>,
    State(app): State<App>,
    Query(Promote { force }): Query<Promote>,
) -> Result<Answered<Vec<AuthorityKey>, 200>, ApiError> {
    let now = now();
    let promoted = once.act(&app, &(), move |tx| {
        let named = keys::authority_keys(tx)?;
        let named = named.iter().find(|key| key.stage == KeyStage::Successor);
        let subject = named.map(|key| BASE64URL_NOPAD.encode(&key.public_key));
        if !force {
            check_heard(tx, named, now)?;
        }
        keys::promote_authority_key(tx, now)?;
        let act = Act::on("authority-key.promote", subject.unwrap_or_default());
        Ok((authority_keys(tx)?, act.with("force", force)))
    });
    let promoted = promoted.await?;
    app.keys_changed().await?;
    Ok(promoted.status())
}

/// Devices hear of a successor with every answer of a key door, at least once in the life of a key.
fn check_heard(
    store: &mut dyn Read,
    successor: Option<&keys::AuthorityKey>,
    now: Timestamp,
) -> sealcast_domain::Result<()> {
    let lives = channels::list(store)?;
    let lives = lives.iter().map(|channel| channel.times.lifetime_ms);
    let heard = Duration::from_millis(2 * u64::from(lives.max().unwrap_or(0)));
    match successor.map(|key| key.since.after(heard)) {
        Some(at) if at > now => {
            let detail = format!(
                "the successor was named too lately: every device has heard of it at {at} (two lives of a key); wait, or force it"
            );
            Err(Problem::new(Kind::Conflict, detail).into())
        }
        _ => Ok(()),
    }
}

async fn status(_: Operator<ReadPlant>, State(app): State<App>) -> Reply<Status> {
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
