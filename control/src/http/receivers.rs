//! Administration: accounts, devices, rights.

use axum::extract::State;
use schemars::JsonSchema;
use sealcast_domain::audit::Act;
use sealcast_domain::{accounts, devices, rights};
use sealcast_objects::api::{
    self, Account, AccountPage, Device, DevicePage, Labels, NewAccount, NewCode, NewDevice,
    NewRight, Right, RightPage, Role, SetStanding,
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
use super::openapi::Routes;
use super::pages::{Paged, Pages};
use super::permits::{Care, Grant, ReadCustomers};
use super::revision::{IfSame, Tagged};
use super::{App, internal, now};
use crate::authority::Haste;

pub(super) fn routes() -> Routes {
    Routes::of("Accounts")
        .get("/v1/accounts", list_accounts, "Accounts")
        .post("/v1/accounts", add_account, "Adds an account")
        .get("/v1/accounts/{id}", account, "An account")
        .patch("/v1/accounts/{id}", set_account, "An account's standing")
        .get("/v1/devices", list_devices, "Devices")
        .post(
            "/v1/devices",
            add_device,
            "Adds a device, and a code with which it enrols",
        )
        .get("/v1/devices/{id}", device, "A device")
        .patch("/v1/devices/{id}", set_device, "A device's standing")
        .put("/v1/devices/{id}/labels", label_device, "A device's labels")
        .post(
            "/v1/devices/{id}/code",
            device_code,
            "Another code with which it enrols",
        )
        .get("/v1/rights", list_rights, "Rights")
        .put("/v1/rights", put_right, "Gives a right")
        .patch(
            "/v1/rights/{device}/{channel}",
            set_right,
            "A right's standing",
        )
}

/// Whether keys change at once, so that what was announced is of no use to whoever lost a right.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Immediate {
    /// Keys change at once.
    #[serde(default)]
    pub(super) immediate: bool,
}

impl App {
    /// Another key than devices have, as soon as lockstep allows. Where nothing is in use there is nothing to change.
    pub(super) async fn change_at_once(&self, channels: &[u16]) -> Result<(), Problem> {
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

async fn list_accounts(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    pages: Pages<Text<AccountId>>,
) -> Result<Paged<AccountPage>, ApiError> {
    let (after, most) = (pages.after.map(|Text(id)| id), pages.most);
    let accounts = app
        .read(move |store| accounts::page(store, after, most))
        .await?;
    pages.answer(
        accounts,
        |last| last.id,
        |accounts, next| AccountPage { accounts, next },
    )
}

async fn account(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
) -> Result<Tagged<Account>, ApiError> {
    let found = app.read(move |store| accounts::get(store, id));
    Ok(Tagged(found.await?))
}

async fn set_account(
    operator: Operator<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
    if_same: IfSame,
    Json(SetStanding { standing }): Json<SetStanding>,
) -> Result<Tagged<Account>, ApiError> {
    let now = now();
    let set = operator.act(&app, move |tx| {
        if_same.check("the account", &accounts::get(tx, id)?)?;
        let floor = accounts::set_standing(tx, now, id, standing)?;
        let act = Act::on("account.set", Text(id)).with("standing", standing.name());
        Ok(((floor, accounts::get(tx, id)?), act))
    });
    let (floor, account) = set.await?;
    app.tell_floor(floor);
    Ok(Tagged(account))
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

/// Whose.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Devices {
    /// Of this account.
    #[serde(default)]
    account: Option<Text<AccountId>>,
}

async fn list_devices(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    pages: Pages<Text<DeviceId>, Devices>,
) -> Result<Paged<DevicePage>, ApiError> {
    let account = pages.filter.account.map(|Text(id)| id);
    let (after, most) = (pages.after.map(|Text(id)| id), pages.most);
    let devices = app
        .read(move |store| devices::page(store, account, after, most))
        .await?;
    pages.answer(
        devices,
        |last| last.id,
        |devices, next| DevicePage { devices, next },
    )
}

async fn device(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<DeviceId>>,
) -> Result<Tagged<Device>, ApiError> {
    let found = app.read(move |store| devices::get(store, id));
    Ok(Tagged(found.await?))
}

async fn label_device(
    operator: Operator<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<DeviceId>>,
    if_same: IfSame,
    Json(labels): Json<Labels>,
) -> Result<Tagged<Device>, ApiError> {
    let labelled = operator.act(&app, move |tx| {
        if_same.check("the device", &devices::get(tx, id)?)?;
        devices::label(tx, id, &labels)?;
        let kinds: Vec<_> = labels.iter().map(|(kind, _)| kind).collect();
        let act = Act::on("device.label", Text(id)).with("labels", listed(&kinds));
        Ok((devices::get(tx, id)?, act))
    });
    Ok(Tagged(labelled.await?))
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
    if_same: IfSame,
    Json(SetStanding { standing }): Json<SetStanding>,
) -> Result<Tagged<Device>, ApiError> {
    let now = now();
    let set = operator.act(&app, move |tx| {
        if_same.check("the device", &devices::get(tx, id)?)?;
        let floor = devices::set_standing(tx, now, id, standing)?;
        let rights = rights::of_device(tx, id)?;
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
    Ok(Tagged(device))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfDevice {
    /// Of this device.
    #[serde(default)]
    device: Option<Text<DeviceId>>,
}

async fn list_rights(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    pages: Pages<(Text<DeviceId>, u16), OfDevice>,
) -> Result<Paged<RightPage>, ApiError> {
    let device = pages.filter.device.map(|Text(id)| id);
    let after = pages.after.map(|(Text(device), channel)| (device, channel));
    let most = pages.most;
    let rights = app
        .read(move |store| rights::page(store, device, after, most))
        .await?;
    pages.answer(
        rights,
        |last| (last.device, last.channel),
        |rights, next| RightPage { rights, next },
    )
}

async fn put_right(
    operator: Operator<Grant>,
    State(app): State<App>,
    Json(new): Json<NewRight>,
) -> Result<Given<Right>, ApiError> {
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
