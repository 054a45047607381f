//! What a device buys, by its certificate: certificates in a container, the notice that they arrived, licences for them.

use axum::extract::State;
use axum::http::StatusCode;
use sealcast_domain::audit::Act;
use sealcast_domain::ledger::Done;
use sealcast_domain::sales::grants::{self, Granting};
use sealcast_domain::sales::purchases::{self, Filter, NewPurchase};
use sealcast_domain::sales::{offers, settle};
use sealcast_domain::{Error, Read, device_keys, licences};
use sealcast_objects::api::{
    AskLicence, BuyOffers, Method, OfferPage, Purchase, PurchasePage, PurchaseState, SignedLicence,
    SignedPurchase, SignedReceipt,
};
use sealcast_objects::id::{LicenceId, OfferId, PurchaseId, Text};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::purchase::{Certificate, PurchaseReceipt};
use sealcast_objects::{DeviceId, signed};

use super::device::OfDevice;
use super::error::{ApiError, Json, Path, Reply};
use super::grants::status;
use super::licences::issued_act;
use super::openapi::{Routes, about};
use super::pages::{Paged, Pages};
use super::{App, now};

pub(super) fn routes() -> Routes {
    Routes::of("Sales")
        .get("/v1/device/offers", offers, "What is sold")
        .get("/v1/device/purchases", list, "What the device bought")
        .get(
            "/v1/device/purchases/{id}",
            one,
            "A purchase, with its certificates",
        )
        .put(
            "/v1/device/purchases/{id}",
            buy,
            about("Buys, once: certificates, to be acknowledged")
                .answers::<SignedPurchase>(200)
                .answers::<SignedPurchase>(201),
        )
        .put(
            "/v1/device/purchases/{id}/receipt",
            receive,
            "The device has the certificates: only then anything is paid",
        )
        .put(
            "/v1/device/licences/{id}",
            ask,
            about(
                "A licence for a certificate; one that waits for its receipt is the answer again",
            )
            .answers::<SignedLicence>(200)
            .answers::<SignedLicence>(201),
        )
}

async fn offers(
    _: OfDevice,
    State(app): State<App>,
    pages: Pages<Text<OfferId>>,
) -> Result<Paged<OfferPage>, ApiError> {
    app.offers(true, pages).await
}

async fn list(
    device: OfDevice,
    State(app): State<App>,
    pages: Pages<Text<PurchaseId>>,
) -> Result<Paged<PurchasePage>, ApiError> {
    let filter = Filter {
        device: Some(device.id()),
        ..Filter::default()
    };
    app.purchases(filter, pages).await
}

/// A purchase of this device.
pub(super) fn of_device(
    store: &mut dyn Read,
    device: DeviceId,
    id: PurchaseId,
) -> Result<Purchase, Error> {
    match purchases::find(store, id)? {
        Some(purchase) if purchase.device.0 == device => Ok(purchase),
        _ => {
            let detail = format!("there is no purchase {}", Text(id));
            Err(Problem::new(Kind::NotFound, detail).into())
        }
    }
}

async fn one(
    device: OfDevice,
    State(app): State<App>,
    Path(Text(id)): Path<Text<PurchaseId>>,
) -> Reply<SignedPurchase> {
    let found = app.read(move |store| {
        let purchase = of_device(store, device.id(), id)?;
        let object = purchases::object(store, id)?;
        Ok(SignedPurchase { purchase, object })
    });
    Ok(Json(found.await?))
}

async fn buy(
    device: OfDevice,
    State(app): State<App>,
    Path(Text(id)): Path<Text<PurchaseId>>,
    Json(BuyOffers { offers, method }): Json<BuyOffers>,
) -> Result<(StatusCode, Json<SignedPurchase>), ApiError> {
    let (now, mut rng, issuer) = (now(), app.fork_rng(), app.issuer());
    let mut new = NewPurchase {
        id,
        device: device.id(),
        shop: None,
        offers: offers.iter().map(|Text(id)| *id).collect(),
        method,
    };
    if method == Method::Card && !app.takes_cards() {
        let why = "this key server takes no cards: method `balance`, `invoice`, or `shop` for what a shop sells";
        return Err(Problem::new(Kind::Invalid, why).into());
    }
    let lives = *app.lives();
    let bought = app.told(device.actor(), move |tx| {
        if let (Method::Shop, Some(first)) = (new.method, new.offers.first()) {
            new.shop = offers::get(tx, *first)?.shop;
        }
        if purchases::find(tx, id)?.is_some() {
            let purchase = of_device(tx, new.device, id)?;
            let same: Vec<_> = purchase.certificates.iter().map(|of| of.offer.0).collect();
            let (mut is, mut asked) = (same, new.offers.clone());
            is.sort_unstable();
            asked.sort_unstable();
            if is != asked || purchase.method != new.method || purchase.shop != new.shop {
                let detail = format!(
                    "{} is another purchase: choose another id for this one",
                    Text(id)
                );
                return Err(Problem::new(Kind::Conflict, detail).into());
            }
            let object = purchases::object(tx, id)?;
            return Ok(((Done::Before, SignedPurchase { purchase, object }), None));
        }
        let draft = purchases::draft(tx, now, new, &lives, &mut rng)?;
        let object = issuer.container(&draft);
        let purchase = purchases::put(tx, now, &draft, &object)?;
        let act = Act::on("purchase.make", purchase.id)
            .with("account", purchase.account)
            .with("price", purchase.price.amount)
            .with("currency", &purchase.price.currency)
            .with("method", purchase.method.name());
        Ok(((Done::Now, SignedPurchase { purchase, object }), Some(act)))
    });
    let ((done, purchase), _) = bought.await?;
    Ok((status(done), Json(purchase)))
}

async fn receive(
    device: OfDevice,
    State(app): State<App>,
    Path(Text(id)): Path<Text<PurchaseId>>,
    Json(SignedReceipt { object }): Json<SignedReceipt>,
) -> Reply<Purchase> {
    let (of, now) = (device.id(), now());
    let received = app.told(device.actor(), move |tx| {
        of_device(tx, of, id)?;
        let key = device_keys::get(tx, of)?.sign;
        let receipt = signed::verify::<PurchaseReceipt>(&object, &key)
            .map_err(|error| Problem::new(Kind::Invalid, format!("the receipt: {error}")))?;
        if receipt != PurchaseReceipt::of(id, of, &purchases::object(tx, id)?) {
            let why = "the receipt is of another purchase, or of one that was changed on its way: get it again";
            return Err(Problem::new(Kind::Invalid, why).into());
        }
        let done = purchases::receive(tx, now, id)?;
        let purchase = settle::begin(tx, now, id)?;
        let act = (done == Done::Now).then(|| {
            let act = Act::on("purchase.receive", Text(id)).with("state", purchase.state.name());
            match (&purchase.reason, purchase.state) {
                (Some(why), PurchaseState::Failed) => act.with("why", format_args!("{why:?}")),
                _ => act,
            }
        });
        Ok((purchase, act))
    });
    let purchase = received.await?.0;
    app.wake_cards();
    Ok(Json(purchase))
}

async fn ask(
    device: OfDevice,
    State(app): State<App>,
    Path(Text(id)): Path<Text<LicenceId>>,
    Json(AskLicence { certificate }): Json<AskLicence>,
) -> Result<(StatusCode, Json<SignedLicence>), ApiError> {
    let key = app.signers().licences.verifying_key();
    let certificate = signed::verify::<Certificate>(&certificate, &key)
        .map_err(|error| Problem::new(Kind::Invalid, format!("the certificate: {error}")))?;
    let (now, mut rng, issuer, lives) = (now(), app.fork_rng(), app.issuer(), *app.lives());
    let asked = app.told(device.actor(), move |tx| {
        let granting = grants::request(tx, now, &device.0, certificate.id, id, &lives)?;
        let (done, licence) = match granting {
            Granting::Before(licence) => (Done::Before, *licence),
            Granting::New(new) => (Done::Now, issuer.issue(tx, now, &new, &mut rng)?),
        };
        let act = (done == Done::Now)
            .then(|| issued_act(&licence).with("certificate", Text(certificate.id)));
        let object = licences::object(tx, licence.id.0)?;
        Ok(((done, SignedLicence { licence, object }), act))
    });
    let ((done, licence), _) = asked.await?;
    Ok((status(done), Json(licence)))
}
