//! Devices as they left the factory: registers of makers, claims, and enrolment by the key that was put into a device.

use axum::extract::State;
use schemars::JsonSchema;
use sealcast_domain::audit::Act;
use sealcast_domain::{Error, accounts, devices, factory};
use sealcast_objects::DeviceId;
use sealcast_objects::api::{ClaimDevice, Device, Enrolled, FactoryDevice, RenewRequest, Role};
use sealcast_objects::code::sha256;
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};
use serde::{Deserialize, Serialize};

use super::act::{Answered, Once, actor};
use super::enrol::{Issue, enrolled};
use super::error::{ApiError, Json};
use super::openapi::{Routes, about};
use super::permits::{Care, RunPlant};
use super::{App, now};
use crate::ca::SigningRequest;

/// Devices of one request.
const MOST: usize = 256;

pub(super) fn routes() -> Routes {
    Routes::of("Devices")
        .post(
            "/v1/factory-devices",
            register,
            "Devices as they left a factory",
        )
        .post(
            "/v1/factory-devices/claim",
            claim,
            "A device of a factory's gets an account",
        )
        .post(
            "/v1/factory-devices/enrol",
            enrol,
            about("A certificate for the key that a factory registered").refuses(403),
        )
}

/// What became of a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Registered {
    /// How many are new; the others were known, word for word.
    registered: usize,
}

/// All of a list, or nothing.
async fn register(
    once: Once<RunPlant>,
    State(app): State<App>,
    Json(made): Json<Vec<FactoryDevice>>,
) -> Result<Answered<Registered>, ApiError> {
    if made.is_empty() || made.len() > MOST {
        let why = format!("a list has 1 to {MOST} devices: send more lists");
        return Err(Problem::new(Kind::Invalid, why).into());
    }
    let (now, asked) = (now(), made.clone());
    let registered = once.act(&app, &asked, move |tx| {
        let mut registered = 0;
        for made in &made {
            registered += usize::from(factory::register(tx, now, made)?);
        }
        let act = Act::on("factory.register", format_args!("{:?}", made[0].maker))
            .with("first", format_args!("{:?}", made[0].serial))
            .with("devices", registered);
        Ok((Registered { registered }, act))
    });
    Ok(registered.await?)
}

async fn claim(
    once: Once<Care>,
    State(app): State<App>,
    Json(claim): Json<ClaimDevice>,
) -> Result<Answered<Device>, ApiError> {
    let (now, mut rng, asked) = (now(), app.fork_rng(), claim.clone());
    let claimed = once.act(&app, &asked, move |tx| {
        let id = factory::claim(tx, now, &claim, &mut rng)?;
        let device = devices::get(tx, id)?;
        let act = claimed_act(&device, &claim);
        Ok((device, act))
    });
    Ok(claimed.await?)
}

/// As the audit log tells it.
pub(super) fn claimed_act(device: &Device, claim: &ClaimDevice) -> Act {
    Act::on("device.claim", device.id)
        .with("account", device.account)
        .with("maker", format_args!("{:?}", claim.maker))
        .with("serial", format_args!("{:?}", claim.serial))
}

/// The key in the signing request is the proof: it was registered, and the request is signed by it.
async fn enrol(
    State(app): State<App>,
    Json(request): Json<RenewRequest>,
) -> Result<Json<Enrolled>, ApiError> {
    let csr = SigningRequest::parse(&request.csr)?;
    let key = csr.public_key();
    let (ours, mut rng, now) = (app.clone(), app.fork_rng(), now());
    let done = app.write(move |tx| {
        let device = factory::device(tx, sha256(&key))?;
        let account = devices::get(tx, device)?.account.0;
        accounts::check_active(tx, account)?;
        factory::enrolled(tx, device, &key)?;
        let subject = Text(device).to_string();
        let issue = Issue {
            csr: &csr,
            role: Role::Device,
            subject: &subject,
            now,
        };
        let certificate = issue.sign(&ours, tx, &mut rng)?;
        let act = Act::on("enrol", &subject).with("by", "factory key");
        sealcast_domain::audit::append(tx, now, &actor(Role::Device, &subject), &act)?;
        Ok::<(DeviceId, String), Error>((device, certificate))
    });
    let (device, certificate) = done.await?;
    let subject = Text(device).to_string();
    Ok(Json(
        enrolled(&app, Role::Device, subject, certificate, now).await?,
    ))
}
