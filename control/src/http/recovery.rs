//! Another device takes the place of a lost one (SEC-03).

use axum::Extension;
use axum::extract::State;
use sealcast_domain::audit::{self, Act};
use sealcast_domain::{accounts, devices, recovery};
use sealcast_objects::api::{Device, NewCode, Recovery, Role, UseRecovery};
use sealcast_objects::code::sha256;
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::{AccountId, DeviceId, RecoveryId};

use super::act::{Answered, Once, Operator, actor};
use super::codes::CodeLife;
use super::error::{ApiError, Json, Path, Query, Reply};
use super::openapi::{Routes, Who, about};
use super::permits::{Care, ReadCustomers};
use super::{App, now};
use crate::ca::Peer;

pub(super) fn routes() -> Routes {
    Routes::of("Devices")
        .post(
            "/v1/devices/{id}/replace",
            replace,
            "Another device takes the place of a lost one, at once",
        )
        .post(
            "/v1/devices/{id}/recovery",
            make,
            "A code with which another device can take its place, after a delay",
        )
        .get(
            "/v1/accounts/{id}/recoveries",
            list,
            "Who wants to take a device's place",
        )
        .post(
            "/v1/recoveries/use",
            use_code,
            about("Uses such a code").refuses(403),
        )
        .post(
            "/v1/recoveries/{id}/refuse",
            refuse,
            "Refuses that it takes the place",
        )
        .post(
            "/v1/recoveries/{id}/object",
            object,
            about("Another device of the account objects").by(&[Who::Device]),
        )
}

/// At once, for whoever was shown to be the person of the account: a new device with a code of its own.
async fn replace(
    once: Once<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<DeviceId>>,
    Query(life): Query<CodeLife>,
) -> Result<Answered<NewCode>, ApiError> {
    let (now, mut rng, code) = (now(), app.fork_rng(), life.code(&app));
    let (floor_in, floor) = std::sync::mpsc::channel();
    let replaced = once.act(&app, &(), move |tx| {
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

async fn make(
    once: Once<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<DeviceId>>,
) -> Result<Answered<NewCode>, ApiError> {
    let (now, mut rng) = (now(), app.fork_rng());
    let code = CodeLife::default().code(&app);
    let made = once.act(&app, &(), move |tx| {
        let made = recovery::make(tx, now, id, code.hash(), &mut rng)?;
        let act = Act::on("recovery.make", made.id)
            .with("account", made.account)
            .with("device", made.device);
        let code = NewCode {
            until: made.until,
            ..code.named(&made.id.to_string())
        };
        Ok((code, act))
    });
    Ok(made.await?)
}

async fn list(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
) -> Reply<Vec<Recovery>> {
    let found = app.read(move |store| {
        accounts::get(store, id)?;
        recovery::of_account(store, id)
    });
    Ok(Json(found.await?))
}

/// The person types the code: once to begin, once when the delay is over; then the same code enrols the other device.
async fn use_code(
    State(app): State<App>,
    Json(UseRecovery { secret }): Json<UseRecovery>,
) -> Reply<Recovery> {
    let (now, mut rng, delay) = (now(), app.fork_rng(), app.recovery_delay());
    let code = sha256(&secret);
    let stepped = app.write(move |tx| {
        let was = recovery::find(tx, code)?;
        let (is, floor) = recovery::step(tx, now, code, delay, &mut rng)?;
        if was.state != is.state {
            let act = Act::on("recovery.step", is.id).with("state", is.state.name());
            let who = format!("recovery:{}", is.id);
            audit::append(tx, now, &who, &act)?;
        }
        Ok((is, floor))
    });
    let (recovery, floor) = stepped.await?;
    if let Some(floor) = floor {
        app.tell_floor(floor);
    }
    Ok(Json(recovery))
}

impl App {
    /// It is refused, by `actor`; one of `account`, where that is said.
    pub(super) async fn refuse_recovery(
        &self,
        actor: String,
        account: Option<AccountId>,
        id: RecoveryId,
    ) -> Result<Recovery, Problem> {
        let now = now();
        let refused = self.act(actor, move |tx| {
            let known = recovery::get(tx, id)?;
            if account.is_some_and(|account| account != known.account.0) {
                let why = format!("there is no {}", Text(id));
                return Err(Problem::new(Kind::NotFound, why).into());
            }
            let (refused, floor) = recovery::object(tx, now, id)?;
            Ok(((refused, floor), Act::on("recovery.refuse", Text(id))))
        });
        let (refused, floor) = refused.await?;
        if let Some(floor) = floor {
            self.tell_floor(floor);
        }
        Ok(refused)
    }

    /// What the devices and the person of an account are told.
    pub(super) async fn notices(&self, device: &Device) -> Result<Vec<String>, Problem> {
        let (account, now) = (device.account.0, now());
        let known = self
            .read(move |store| recovery::under_way(store, now, account))
            .await?;
        let notice = |recovery: &Recovery| {
            let ready = recovery.ready_at.unwrap_or(recovery.until);
            format!(
                "{} is said to be lost: another device takes its place from {ready} on, unless you object (`sealcast device object {}`)",
                recovery.device, recovery.id
            )
        };
        Ok(known.iter().map(notice).collect())
    }
}

async fn refuse(
    operator: Operator<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<RecoveryId>>,
) -> Reply<Recovery> {
    Ok(Json(app.refuse_recovery(operator.actor(), None, id).await?))
}

/// Another device of the account objects.
async fn object(
    State(app): State<App>,
    Extension(peer): Extension<Option<Peer>>,
    Path(Text(id)): Path<Text<RecoveryId>>,
) -> Reply<Recovery> {
    let Some(peer) = peer.filter(|peer| peer.role == Role::Device) else {
        let why = "this is for a device of the account, with its certificate";
        return Err(Problem::new(Kind::Unauthenticated, why).into());
    };
    let device = app.authenticate_device(&peer).await?;
    let actor = actor(Role::Device, device.id);
    let account = Some(device.account.0);
    Ok(Json(app.refuse_recovery(actor, account, id).await?))
}
