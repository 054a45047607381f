//! What a device asks for by its certificate: no path names a device, the certificate does.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use sealcast_domain::audit::Act;
use sealcast_domain::device_keys;
use sealcast_domain::licences::{self, Filter};
use sealcast_domain::sales::grants;
use sealcast_objects::api::{
    Device, DeviceKeys, LicencePage, LicenceRecord, Role, SignedLicence, SignedReceipt,
    SignedStatusList,
};
use sealcast_objects::device_keys::PublicKeys;
use sealcast_objects::id::{LicenceId, Text};
use sealcast_objects::licence::LicenceReceipt;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::{DeviceId, signed};

use super::act::actor;
use super::error::{ApiError, Json, Path, Reply};
use super::openapi::Routes;
use super::pages::{Paged, Pages};
use super::{App, now};
use crate::ca::Peer;

pub(super) fn routes() -> Routes {
    Routes::of("Devices")
        .put(
            "/v1/device/keys",
            put_keys,
            "What the device signs with, and what keys are wrapped to",
        )
        .get("/v1/device/licences", list, "The device's licences")
        .get(
            "/v1/device/licences/{id}",
            object,
            "A licence, signed: to be kept",
        )
        .put(
            "/v1/device/licences/{id}/receipt",
            receive,
            "The device has it",
        )
        .get(
            "/v1/device/status-list",
            status_list,
            "Which licences of the account count, signed",
        )
}

/// A device in good standing, by its certificate; every handler under `/v1/device` takes one.
pub(super) struct OfDevice(pub(super) Device);

impl OfDevice {
    pub(super) fn id(&self) -> DeviceId {
        self.0.id.0
    }

    pub(super) fn actor(&self) -> String {
        actor(Role::Device, self.0.id)
    }
}

impl FromRequestParts<App> for OfDevice {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let peer = Peer::asking(&parts.extensions).filter(|peer| peer.role == Role::Device);
        let Some(peer) = peer else {
            let why = "this needs the certificate of a device: enrol with `sealcast device enrol`";
            return Err(Problem::new(Kind::Unauthenticated, why).into());
        };
        Ok(Self(app.authenticate_device(&peer).await?))
    }
}

async fn list(
    device: OfDevice,
    State(app): State<App>,
    pages: Pages<Text<LicenceId>>,
) -> Result<Paged<LicencePage>, ApiError> {
    let filter = Filter {
        device: Some(device.id()),
        ..Filter::default()
    };
    app.licences(filter, pages).await
}

async fn put_keys(
    device: OfDevice,
    State(app): State<App>,
    Json(told): Json<DeviceKeys>,
) -> Reply<DeviceKeys> {
    let keys = PublicKeys::try_from(&told)
        .map_err(|error| Problem::new(Kind::Invalid, error.to_string()))?;
    let (id, now) = (device.id(), now());
    let put = app.told(device.actor(), move |tx| {
        let new = device_keys::put(tx, now, id, &keys)?;
        Ok(((), new.then(|| Act::on("device.keys", Text(id)))))
    });
    put.await?;
    Ok(Json(told))
}

async fn object(
    device: OfDevice,
    State(app): State<App>,
    Path(Text(id)): Path<Text<LicenceId>>,
) -> Reply<SignedLicence> {
    let found = app.read(move |store| {
        let licence = licences::of_device(store, device.id(), id)?;
        let object = licences::object(store, id)?;
        Ok(SignedLicence { licence, object })
    });
    Ok(Json(found.await?))
}

async fn receive(
    device: OfDevice,
    State(app): State<App>,
    Path(Text(id)): Path<Text<LicenceId>>,
    Json(SignedReceipt { object }): Json<SignedReceipt>,
) -> Reply<LicenceRecord> {
    let (of, now) = (device.id(), now());
    let received = app.told(device.actor(), move |tx| {
        licences::of_device(tx, of, id)?;
        let key = device_keys::get(tx, of)?.sign;
        let receipt = signed::verify::<LicenceReceipt>(&object, &key)
            .map_err(|error| Problem::new(Kind::Invalid, format!("the receipt: {error}")))?;
        if receipt != LicenceReceipt::of(id, of, &licences::object(tx, id)?) {
            let why = "the receipt is of another licence, or of one that was changed on its way: get it again";
            return Err(Problem::new(Kind::Invalid, why).into());
        }
        let new = grants::receive(tx, now, of, id)?;
        let act = new.then(|| Act::on("licence.receive", Text(id)).with("device", Text(of)));
        Ok((licences::get(tx, id)?, act))
    });
    Ok(Json(received.await?.0))
}

async fn status_list(device: OfDevice, State(app): State<App>) -> Reply<SignedStatusList> {
    let (account, now, issuer) = (device.0.account.0, now(), app.issuer());
    let list = app.read(move |store| issuer.status_list(store, now, account));
    Ok(Json(list.await?))
}
