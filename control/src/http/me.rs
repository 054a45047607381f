//! What the person of an account sees and does, by a bearer token. No path names an account: the token does.

use std::sync::Arc;

use axum::extract::State;
use axum::response::NoContent;
use sealcast_domain::audit::Act;
use sealcast_domain::{
    Tx, accounts, customers, devices, factory, identities, logins, recovery, rights,
};
use sealcast_objects::api::{
    ChangePassword, ClaimDevice, Customer, Device, DevicePage, Me, NewCode, NewDevice, Recovery,
    Right, Role, SetStanding, Standing,
};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::{AccountId, DeviceId, RecoveryId};

use super::act::{Answered, OnceBy};
use super::bearer::Person;
use super::codes::CodeLife;
use super::error::{ApiError, Json, Path, Reply};
use super::factory::claimed_act;
use super::openapi::{Routes, about};
use super::pages::{Paged, Pages};
use super::revision::{IfMatch, Revised};
use super::{App, customers as sealed, now};
use crate::passwords;

/// Devices that a person may add to an account; an operator may add more.
const DEVICES_MAX: usize = 50;
/// Devices of an account that a person may have added, those that are revoked among them.
const ADDED_MAX: u32 = 500;

pub(super) fn routes() -> Routes {
    Routes::of("Persons")
        .get("/v1/me", me, "The account of whoever logged in")
        .put("/v1/me/customer", put_customer, "Says who stands behind it")
        .post(
            "/v1/me/password",
            change_password,
            about("Another password").refuses(429),
        )
        .get("/v1/me/devices", list_devices, "Its devices")
        .post(
            "/v1/me/devices",
            add_device,
            about("Adds a device").refuses(429),
        )
        .post(
            "/v1/me/devices/claim",
            claim_device,
            about("Adds a device by its maker and serial number").refuses(429),
        )
        .patch("/v1/me/devices/{id}", set_device, "Revokes a device")
        .post(
            "/v1/me/devices/{id}/replace",
            replace_device,
            "Another one takes the place of a device",
        )
        .get("/v1/me/rights", list_rights, "Its rights")
        .get(
            "/v1/me/recoveries",
            list_recoveries,
            "Who wants to take a device's place",
        )
        .post("/v1/me/recoveries/{id}/object", object, "Objects to that")
}

async fn me(person: Person, State(app): State<App>) -> Reply<Me> {
    let (id, vault) = (person.account, Arc::clone(app.vault()));
    let me = app.read(move |store| {
        let kept = customers::find(store, id)?;
        let customer = kept.map(|kept| sealed::open(&vault, id, &kept));
        Ok(Me {
            account: accounts::get(store, id)?,
            login: logins::name(store, id)?,
            identities: identities::of_account(store, id)?,
            customer: customer.transpose()?,
        })
    });
    Ok(Json(me.await?))
}

async fn put_customer(
    person: Person,
    State(app): State<App>,
    IfMatch(expected): IfMatch,
    Json(customer): Json<Customer>,
) -> Result<Revised<Customer>, ApiError> {
    let id = person.account;
    let sealed = app.seal_customer(id, &customer)?;
    let put = app.act(person.actor(), move |tx| {
        let revision = customers::put(tx, id, &sealed, expected)?;
        Ok((revision, Act::on("customer.put", Text(id))))
    });
    Ok(Revised(customer, put.await?))
}

/// Every other token of the account ends.
async fn change_password(
    person: Person,
    State(app): State<App>,
    Json(ChangePassword { old, new }): Json<ChangePassword>,
) -> Result<NoContent, ApiError> {
    let (id, now) = (person.account, now());
    let key = Text(id).to_string();
    if app.throttle().wait(now, &key).is_some() {
        return Err(
            Problem::new(Kind::TooMany, "too many attempts failed: try again later").into(),
        );
    }
    let hash = app.read(move |store| logins::hash(store, id)).await?;
    if !app.passwords().is(old, hash).await? {
        app.throttle().failed(now, &key);
        return Err(Problem::new(Kind::Forbidden, "the old password is wrong").into());
    }
    app.throttle().succeeded(&key);
    let salt = passwords::salt(&mut *app.rng());
    let hash = app.passwords().hash(new, salt).await?;
    let token = person.token;
    let changed = app.act(person.actor(), move |tx| {
        logins::change_password(tx, id, &hash, token)?;
        Ok(((), Act::on("login.password", Text(id))))
    });
    changed.await?;
    Ok(NoContent)
}

async fn list_devices(
    person: Person,
    State(app): State<App>,
    pages: Pages<Text<DeviceId>>,
) -> Result<Paged<DevicePage>, ApiError> {
    let (after, most) = (pages.after.map(|Text(id)| id), pages.most);
    let account = Some(person.account);
    let devices = app
        .read(move |store| devices::page(store, account, after, most))
        .await?;
    pages.answer(
        devices,
        |last| last.id,
        |devices, next| DevicePage { devices, next },
    )
}

/// One more is not too many, and nobody names another account.
fn check_new(
    tx: &mut dyn Tx,
    mine: AccountId,
    named: Option<Text<AccountId>>,
) -> sealcast_domain::Result<()> {
    if named.is_some_and(|Text(account)| account != mine) {
        let why = "a device that you add is of your account: leave the account out";
        return Err(Problem::new(Kind::Forbidden, why).into());
    }
    let known = devices::page(tx, Some(mine), None, ADDED_MAX)?;
    let there = known
        .iter()
        .filter(|device| device.standing != Standing::Revoked)
        .count();
    if there >= DEVICES_MAX || known.len() >= ADDED_MAX as usize {
        let why = format!(
            "an account has at most {DEVICES_MAX} devices: revoke one that you no longer use"
        );
        return Err(Problem::new(Kind::TooMany, why).into());
    }
    Ok(())
}

async fn add_device(
    once: OnceBy<Person>,
    State(app): State<App>,
    Json(new): Json<NewDevice>,
) -> Result<Answered<NewCode>, ApiError> {
    let (now, mut rng, id) = (now(), app.fork_rng(), once.asker.account);
    let (code, asked) = (CodeLife::default().code(&app), new.clone());
    let added = once.act(&app, &asked, move |tx| {
        check_new(tx, id, new.account)?;
        let new = NewDevice {
            account: Some(Text(id)),
            ..new
        };
        let device = devices::add(tx, now, &new, &mut rng)?;
        let code = code.give(tx, Role::Device, &device.text())?;
        let act = Act::on("device.add", Text(device)).with("account", Text(id));
        Ok((code, act))
    });
    Ok(added.await?)
}

async fn claim_device(
    once: OnceBy<Person>,
    State(app): State<App>,
    Json(claim): Json<ClaimDevice>,
) -> Result<Answered<Device>, ApiError> {
    let (now, mut rng, id) = (now(), app.fork_rng(), once.asker.account);
    let asked = claim.clone();
    let claimed = once.act(&app, &asked, move |tx| {
        check_new(tx, id, claim.account)?;
        let claim = ClaimDevice {
            account: Some(Text(id)),
            ..claim
        };
        let device = factory::claim(tx, now, &claim, &mut rng)?;
        let device = devices::get(tx, device)?;
        let act = claimed_act(&device, &claim);
        Ok((device, act))
    });
    Ok(claimed.await?)
}

/// A device of this account; another one's is not there.
fn mine(tx: &mut dyn Tx, account: AccountId, id: DeviceId) -> sealcast_domain::Result<Device> {
    match devices::get(tx, id) {
        Ok(device) if device.account.0 == account => Ok(device),
        Err(sealcast_domain::Error::Store(error)) => Err(error.into()),
        _ => Err(Problem::new(Kind::NotFound, format!("you have no device {}", Text(id))).into()),
    }
}

/// A person may stop a device: for a while, or for ever. What an operator has suspended stays so.
async fn set_device(
    person: Person,
    State(app): State<App>,
    Path(Text(id)): Path<Text<DeviceId>>,
    Json(SetStanding { standing }): Json<SetStanding>,
) -> Reply<Device> {
    let (now, account) = (now(), person.account);
    let set = app.act(person.actor(), move |tx| {
        mine(tx, account, id)?;
        if standing != Standing::Revoked {
            let why = "a device of yours can be revoked, for ever; the rest is the operator's";
            return Err(Problem::new(Kind::Forbidden, why).into());
        }
        let floor = devices::set_standing(tx, now, id, standing)?;
        let act = Act::on("device.set", Text(id)).with("standing", standing.name());
        Ok(((floor, devices::get(tx, id)?), act))
    });
    let (floor, device) = set.await?;
    app.tell_floor(floor);
    Ok(Json(device))
}

/// Another device of theirs takes the place of one that is lost or broken, at once: the person has logged in.
async fn replace_device(
    once: OnceBy<Person>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<DeviceId>>,
) -> Result<Answered<NewCode>, ApiError> {
    let (now, mut rng, account) = (now(), app.fork_rng(), once.asker.account);
    let code = CodeLife::default().code(&app);
    let (floor_in, floor) = std::sync::mpsc::channel();
    let replaced = once.act(&app, &(), move |tx| {
        let device = mine(tx, account, id)?;
        if device.standing == Standing::Suspended {
            let why = "this device is suspended: ask the operator why";
            return Err(Problem::new(Kind::Suspended, why).into());
        }
        let (successor, floor) = devices::replace(tx, now, id, &mut rng)?;
        let code = code.give(tx, Role::Device, &successor.text())?;
        // Nobody waits for it when the transaction fails.
        let _ = floor_in.send(floor);
        let act = Act::on("device.replace", Text(id)).with("successor", Text(successor));
        Ok((code, act))
    });
    let replaced = replaced.await?;
    if let Ok(floor) = floor.try_recv() {
        app.tell_floor(floor);
    }
    Ok(replaced)
}

async fn list_rights(person: Person, State(app): State<App>) -> Reply<Vec<Right>> {
    let account = person.account;
    let rights = app.read(move |store| rights::of_account(store, account));
    Ok(Json(rights.await?))
}

async fn list_recoveries(person: Person, State(app): State<App>) -> Reply<Vec<Recovery>> {
    let account = person.account;
    let found = app.read(move |store| recovery::of_account(store, account));
    Ok(Json(found.await?))
}

async fn object(
    person: Person,
    State(app): State<App>,
    Path(Text(id)): Path<Text<RecoveryId>>,
) -> Reply<Recovery> {
    let account = Some(person.account);
    let refused = app.refuse_recovery(person.actor(), account, id).await;
    Ok(Json(refused?))
}
