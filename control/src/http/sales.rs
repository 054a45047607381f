//! Sales: operators say what is sold, see what was bought, pay back, and restore certificates. What devices buy is in `purchases.rs`.

use axum::extract::State;
use schemars::JsonSchema;
use sealcast_domain::audit::Act;
use sealcast_domain::sales::purchases::{self, Filter};
use sealcast_domain::sales::{offers, settle};
use sealcast_domain::{Error, Read};
use sealcast_objects::api::{
    self, CertificateRecord, ChangeOffer, FailPurchase, Method, NamedRestore, NewOffer, Offer,
    OfferPage, OfferSubject, OperatorRole, Purchase, PurchasePage, RefundPurchase,
    RestoreCertificate,
};
use sealcast_objects::id::{CertificateId, OfferId, PurchaseId, Text};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::{AccountId, DeviceId};
use serde::Deserialize;

use super::act::{Answered, Log, Once, Operator};
use super::bearer::Person;
use super::error::{ApiError, Json, Path, Reply};
use super::grants::Given;
use super::openapi::Routes;
use super::pages::{Paged, Pages};
use super::permits::{Bookkeep, Curate, Grant, Needed, ReadCatalogue, ReadSales, Settle};
use super::revision::{IfMatch, Revised};
use super::{App, now};

pub(super) fn routes() -> Routes {
    Routes::of("Sales")
        .get("/v1/offers", list_offers, "Offers")
        .post("/v1/offers", add_offer, "Adds an offer")
        .get("/v1/offers/{id}", offer, "An offer")
        .patch("/v1/offers/{id}", change_offer, "Changes an offer")
        .get("/v1/purchases", list, "Purchases")
        .get("/v1/purchases/{id}", one, "A purchase")
        .post(
            "/v1/purchases/{id}/settle",
            settle,
            "A shop has taken the money: the purchase counts",
        )
        .post(
            "/v1/purchases/{id}/fail",
            fail,
            "A shop has not got the money: the purchase does not count",
        )
        .post(
            "/v1/purchases/{id}/refund",
            refund,
            "Pays a purchase back: its licences end",
        )
        .put(
            "/v1/purchase-certificates/{id}/grants",
            restore,
            "A certificate counts again, by two persons",
        )
        .get(
            "/v1/me/purchases",
            of_person,
            "The purchases of the account",
        )
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Offers {
    /// Only what is sold.
    #[serde(default)]
    pub(super) offered: bool,
}

impl App {
    /// A page of offers; only what is sold, if asked for.
    pub(super) async fn offers<F>(
        &self,
        offered: bool,
        pages: Pages<Text<OfferId>, F>,
    ) -> Result<Paged<OfferPage>, ApiError> {
        let (after, most) = (pages.after.map(|Text(id)| id), pages.most);
        let offers = self
            .read(move |store| offers::page(store, offered, after, most))
            .await?;
        pages.answer(
            offers,
            |last| last.id,
            |offers, next| OfferPage { offers, next },
        )
    }

    /// A page of purchases.
    pub(super) async fn purchases<F>(
        &self,
        filter: Filter,
        pages: Pages<Text<PurchaseId>, F>,
    ) -> Result<Paged<PurchasePage>, ApiError> {
        let (after, most) = (pages.after.map(|Text(id)| id), pages.most);
        let purchases = self
            .read(move |store| purchases::page(store, filter, after, most))
            .await?;
        pages.answer(
            purchases,
            |last| last.id,
            |purchases, next| PurchasePage { purchases, next },
        )
    }
}

async fn list_offers(
    _: Operator<ReadCatalogue>,
    State(app): State<App>,
    pages: Pages<Text<OfferId>, Offers>,
) -> Result<Paged<OfferPage>, ApiError> {
    app.offers(pages.filter.offered, pages).await
}

fn on_offer(name: &'static str, offer: &Offer) -> Act {
    let act = Act::on(name, offer.id).with("title", format_args!("{:?}", offer.title));
    let act = match offer.subject {
        OfferSubject::Channel { channel } => act.with("channel", channel),
        OfferSubject::Content { content } => act.with("content", content),
    };
    act.with("price", offer.price.amount)
        .with("currency", &offer.price.currency)
        .with("grants", offer.grants)
        .with("state", offer.state.name())
}

async fn add_offer(
    once: Once<Curate>,
    State(app): State<App>,
    Json(new): Json<NewOffer>,
) -> Result<Answered<Offer>, ApiError> {
    let (now, mut rng, asked) = (now(), app.fork_rng(), new.clone());
    let added = once.act(&app, &asked, move |tx| {
        let offer = offers::add(tx, now, &new, &mut rng)?;
        let act = on_offer("offer.add", &offer);
        Ok((offer, act))
    });
    Ok(added.await?)
}

async fn offer(
    _: Operator<ReadCatalogue>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<OfferId>>,
) -> Result<Revised<Offer>, ApiError> {
    let found = app.read(move |store| offers::get(store, id)).await?;
    let revision = found.revision;
    Ok(Revised(found, revision))
}

async fn change_offer(
    operator: Operator<Curate>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<OfferId>>,
    IfMatch(expected): IfMatch,
    Json(change): Json<ChangeOffer>,
) -> Result<Revised<Offer>, ApiError> {
    let changed = operator.act_if(&app, Log::Both, move |tx| {
        let was = offers::get(tx, id)?;
        let is = offers::change(tx, id, &change, expected)?;
        let act = (is != was).then(|| on_offer("offer.set", &is));
        Ok((is, act))
    });
    let changed = changed.await?;
    let revision = changed.revision;
    Ok(Revised(changed, revision))
}

/// Whose.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Of {
    /// Of this account.
    #[serde(default)]
    account: Option<Text<AccountId>>,
    /// With this device.
    #[serde(default)]
    device: Option<Text<DeviceId>>,
}

/// Whose sales alone one sees: a reseller its own (CM-55, SEC-27).
fn only(operator: &Operator<impl Needed>) -> Option<String> {
    let reseller = operator.role() == OperatorRole::Reseller;
    reseller.then(|| operator.name().to_owned())
}

async fn list(
    operator: Operator<ReadSales>,
    State(app): State<App>,
    pages: Pages<Text<PurchaseId>, Of>,
) -> Result<Paged<PurchasePage>, ApiError> {
    let Of { account, device } = pages.filter;
    let filter = Filter {
        account: account.map(|Text(id)| id),
        device: device.map(|Text(id)| id),
        shop: only(&operator),
    };
    app.purchases(filter, pages).await
}

async fn of_person(
    person: Person,
    State(app): State<App>,
    pages: Pages<Text<PurchaseId>>,
) -> Result<Paged<PurchasePage>, ApiError> {
    let filter = Filter {
        account: Some(person.account),
        ..Filter::default()
    };
    app.purchases(filter, pages).await
}

async fn one(
    operator: Operator<ReadSales>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<PurchaseId>>,
) -> Reply<Purchase> {
    let purchase = app.read(move |store| purchases::get(store, id)).await?;
    match only(&operator) {
        Some(name) if purchase.shop.as_deref() != Some(&name) => {
            let detail = format!("there is no purchase {} at {name}", purchase.id);
            Err(Problem::new(Kind::NotFound, detail).into())
        }
        _ => Ok(Json(purchase)),
    }
}

/// A purchase that a shop settles: each its own only (SEC-27).
fn check_shop(
    store: &mut dyn Read,
    id: PurchaseId,
    (name, role): (&str, OperatorRole),
) -> Result<(), Error> {
    let purchase = purchases::get(store, id)?;
    if role.sells() && purchase.shop.as_deref() != Some(name) {
        let detail = format!("{} was not bought at {name}", purchase.id);
        return Err(Problem::new(Kind::Forbidden, detail).into());
    }
    if purchase.method == Method::Shop {
        return Ok(());
    }
    let detail = format!(
        "{} is paid by {}: that is settled by the house",
        purchase.id,
        purchase.method.name()
    );
    Err(Problem::new(Kind::Conflict, detail).into())
}

/// The settlement completion notice of a shop (PC-17, CM-55).
async fn settle(
    once: Once<Settle>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<PurchaseId>>,
) -> Result<Answered<Purchase, 200>, ApiError> {
    let (now, name, role) = (now(), once.name().to_owned(), once.role());
    let settled = once.act(&app, &(), move |tx| {
        check_shop(tx, id, (&name, role))?;
        settle::complete(tx, now, id)?;
        let purchase = purchases::get(tx, id)?;
        let act = Act::on("purchase.settle", Text(id)).with("state", purchase.state.name());
        Ok((purchase, act))
    });
    Ok(settled.await?.status())
}

async fn fail(
    once: Once<Settle>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<PurchaseId>>,
    Json(FailPurchase { why }): Json<FailPurchase>,
) -> Result<Answered<Purchase, 200>, ApiError> {
    let (now, name, role) = (now(), once.name().to_owned(), once.role());
    let asked = why.clone();
    let failed = once.act(&app, &asked, move |tx| {
        check_shop(tx, id, (&name, role))?;
        settle::fail(tx, now, id, &why)?;
        let act = Act::on("purchase.fail", Text(id)).with("why", format_args!("{why:?}"));
        Ok((purchases::get(tx, id)?, act))
    });
    Ok(failed.await?.status())
}

async fn refund(
    once: Once<Bookkeep>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<PurchaseId>>,
    Json(RefundPurchase { why }): Json<RefundPurchase>,
) -> Result<Answered<Purchase, 200>, ApiError> {
    let (now, asked) = (now(), why.clone());
    let (floors_in, floors) = std::sync::mpsc::channel();
    let refunded = once.act(&app, &asked, move |tx| {
        let (_, ended) = settle::refund(tx, now, id, &why)?;
        // Nobody waits for them when the transaction fails.
        let _ = floors_in.send(ended);
        let act = Act::on("purchase.refund", Text(id)).with("why", format_args!("{why:?}"));
        Ok((purchases::get(tx, id)?, act))
    });
    let refunded = refunded.await?;
    for floor in floors.try_iter().flatten() {
        app.tell_floor(floor);
    }
    app.wake_cards();
    Ok(refunded.status())
}

async fn restore(
    operator: Operator<Grant>,
    State(app): State<App>,
    Path(id): Path<Text<CertificateId>>,
    Json(restore): Json<RestoreCertificate>,
) -> Result<Given<CertificateRecord>, ApiError> {
    // What could not be done is not asked for.
    if !(1..=offers::GRANTS_MAX).contains(&restore.granted) {
        let why = format!("a certificate is for 1 to {} licences", offers::GRANTS_MAX);
        return Err(Problem::new(Kind::Invalid, why).into());
    }
    app.read(move |store| purchases::certificate(store, id.0))
        .await?;
    let grant = api::Grant::Restore(NamedRestore { id, restore });
    Ok(operator.give(&app, grant).await?)
}
