//! Administration: accounts, devices, rights.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, patch, post, put};
use sealcast_domain::audit::Act;
use sealcast_domain::{accounts, devices, rights};
use sealcast_objects::api::{
    self, Account, AccountPage, Device, DevicePage, Labels, NewAccount, NewCode, NewDevice,
    NewRight, Right, Role, SetStanding,
};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Problem;
use sealcast_objects::{AccountId, DeviceId};
use sealcast_proto::ids::ChannelId;
use serde::Deserialize;

use super::act::{Answered, Once, Operator, listed};
use super::codes::CodeLife;
use super::error::{ApiError, Json, Path, Query, Reply};
use super::grants::{Given, find_right, on_right};
use super::permits::{Care, Grant, ReadCustomers};
use super::{App, internal, now, page};
use crate::authority::Haste;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/accounts", get(list_accounts).post(add_account))
        .route("/v1/devices", get(list_devices).post(add_device))
        .route("/v1/accounts/{id}", get(account).patch(set_account))
        .route("/v1/devices/{id}", get(device).patch(set_device))
        .route("/v1/devices/{id}/labels", put(label_device))
        .route("/v1/devices/{id}/code", post(device_code))
        .route("/v1/rights", get(list_rights).put(put_right))
        .route("/v1/rights/{device}/{channel}", patch(set_right))
}

/// Whether keys change at once, so that what was announced is of no use to whoever lost a right.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Immediate {
    #[serde(default)]
    pub(super) immediate: bool,
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

/// Which page.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Accounts {
    #[serde(default)]
    after: Option<Text<AccountId>>,
    #[serde(default)]
    limit: Option<u32>,
}

async fn list_accounts(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Query(Accounts { after, limit }): Query<Accounts>,
) -> Reply<AccountPage> {
    let most = page::size(limit);
    let accounts = app
        .read(move |store| accounts::page(store, after.map(|Text(id)| id), most))
        .await?;
    let next = page::next(&accounts, most, |last| last.id);
    Ok(Json(AccountPage { accounts, next }))
}

async fn account(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
) -> Reply<Account> {
    Ok(Json(app.read(move |store| accounts::get(store, id)).await?))
}

async fn set_account(
    operator: Operator<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
    Json(SetStanding { standing }): Json<SetStanding>,
) -> Reply<Account> {
    let now = now();
    let set = operator.act(&app, move |tx| {
        let floor = accounts::set_standing(tx, now, id, standing)?;
        let act = Act::on("account.set", Text(id)).with("standing", standing.name());
        Ok(((floor, accounts::get(tx, id)?), act))
    });
    let (floor, account) = set.await?;
    app.tell_floor(floor);
    Ok(Json(account))
}

async fn add_account(
    once: Once<Care>,
    State(app): State<App>,
    Json(new): Json<NewAccount>,
) -> Result<Answered<Account>, ApiError> {
    let (now, mut rng, asked) = (now(), app.fork_rng(), new.clone());
    let added = once.act(&app, &asked, move |tx| {
        let id = accounts::add(tx, now, &new.name, &mut rng)?;
        let account = accounts::get(tx, id)?;
        let act = Act::on("account.add", account.id);
        Ok((account, act))
    });
    Ok(added.await?)
}

/// Whose, and which page.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Devices {
    #[serde(default)]
    account: Option<Text<AccountId>>,
    #[serde(default)]
    after: Option<Text<DeviceId>>,
    #[serde(default)]
    limit: Option<u32>,
}

async fn list_devices(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Query(of): Query<Devices>,
) -> Reply<DevicePage> {
    let most = page::size(of.limit);
    let (account, after) = (of.account.map(|Text(id)| id), of.after.map(|Text(id)| id));
    let devices = app
        .read(move |store| devices::page(store, account, after, most))
        .await?;
    let next = page::next(&devices, most, |last| last.id);
    Ok(Json(DevicePage { devices, next }))
}

async fn device(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<DeviceId>>,
) -> Reply<Device> {
    Ok(Json(app.read(move |store| devices::get(store, id)).await?))
}

async fn label_device(
    operator: Operator<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<DeviceId>>,
    Json(labels): Json<Labels>,
) -> Reply<Device> {
    let labelled = operator.act(&app, move |tx| {
        devices::label(tx, id, &labels)?;
        let kinds: Vec<_> = labels.iter().map(|(kind, _)| kind).collect();
        let act = Act::on("device.label", Text(id)).with("labels", listed(&kinds));
        Ok((devices::get(tx, id)?, act))
    });
    Ok(Json(labelled.await?))
}

async fn add_device(
    once: Once<Care>,
    State(app): State<App>,
    Query(life): Query<CodeLife>,
    Json(new): Json<NewDevice>,
) -> Result<Answered<NewCode>, ApiError> {
    let (now, mut rng, asked) = (now(), app.fork_rng(), new.clone());
    let code = life.code(&app);
    let added = once.act(&app, &asked, move |tx| {
        let id = devices::add(tx, now, &new, &mut rng)?;
        let code = code.give(tx, Role::Device, &id.text())?;
        let account = devices::get(tx, id)?.account;
        let act = Act::on("device.add", Text(id)).with("account", account);
        Ok((code, act))
    });
    Ok(added.await?)
}

/// A new code for a device that lost its key, or did not use its code in time.
async fn device_code(
    once: Once<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<DeviceId>>,
    Query(life): Query<CodeLife>,
) -> Result<Answered<NewCode>, ApiError> {
    let code = life.code(&app);
    let given = once.act(&app, &(), move |tx| {
        devices::get(tx, id)?;
        let code = code.give(tx, Role::Device, &id.text())?;
        Ok((code, Act::on("device.code", Text(id))))
    });
    Ok(given.await?)
}

async fn set_device(
    operator: Operator<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<DeviceId>>,
    Query(Immediate { immediate }): Query<Immediate>,
    Json(SetStanding { standing }): Json<SetStanding>,
) -> Reply<Device> {
    let now = now();
    let set = operator.act(&app, move |tx| {
        let floor = devices::set_standing(tx, now, id, standing)?;
        let rights = rights::list(tx, Some(id))?;
        let channels: Vec<_> = rights.iter().map(|right| right.channel).collect();
        let act = Act::on("device.set", Text(id))
            .with("standing", standing.name())
            .with("immediate", immediate);
        Ok(((floor, devices::get(tx, id)?, channels), act))
    });
    let (floor, device, channels) = set.await?;
    app.tell_floor(floor);
    if immediate {
        app.change_at_once(&channels).await?;
    }
    Ok(Json(device))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfDevice {
    #[serde(default)]
    device: Option<Text<DeviceId>>,
}

async fn list_rights(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Query(of): Query<OfDevice>,
) -> Reply<Vec<Right>> {
    let device = of.device.map(|Text(device)| device);
    Ok(Json(
        app.read(move |store| rights::list(store, device)).await?,
    ))
}

async fn put_right(
    operator: Operator<Grant>,
    State(app): State<App>,
    Json(new): Json<NewRight>,
) -> Result<Given, ApiError> {
    Ok(operator.give(&app, api::Grant::Right(new)).await?)
}

async fn set_right(
    operator: Operator<Care>,
    State(app): State<App>,
    Path((Text(device), channel)): Path<(Text<DeviceId>, u16)>,
    Query(Immediate { immediate }): Query<Immediate>,
    Json(SetStanding { standing }): Json<SetStanding>,
) -> Reply<Right> {
    let now = now();
    let set = operator.act(&app, move |tx| {
        let floor = rights::set_standing(tx, now, device, channel, standing)?;
        let act = on_right("right.set", device, channel)
            .with("standing", standing.name())
            .with("immediate", immediate);
        Ok(((floor, find_right(tx, device, channel)?), act))
    });
    let (floor, right) = set.await?;
    app.tell_floor(floor);
    if immediate {
        app.change_at_once(&[channel]).await?;
    }
    Ok(Json(right))
}
