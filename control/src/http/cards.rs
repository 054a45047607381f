//! Payments by card: what buyers pay with, events of the provider, and what operators see of it. Who takes the money is in `cards`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use sealcast_domain::audit::Act;
use sealcast_domain::sales::{cards, purchases};
use sealcast_domain::{Error, Read};
use sealcast_objects::AccountId;
use sealcast_objects::api::{CardPayment, CardReport, CardState, Purchase};
use sealcast_objects::id::{PurchaseId, Text};
use sealcast_objects::problem::{Kind, Problem};

use super::act::{Answered, Once, Operator};
use super::bearer::Person;
use super::device::OfDevice;
use super::error::{ApiError, Json, Path, Reply, Whole};
use super::openapi::{Routes, about};
use super::permits::{Bookkeep, ReadCustomers, ReadLedger};
use super::purchases::of_device;
use super::{Answer, App, internal, now};
use crate::cards::{Cards, CardsStats, Heard};

/// Where the provider's signature of an event stands.
const SIGNATURE: &str = "stripe-signature";

pub(super) fn routes() -> Routes {
    Routes::of("Sales")
        .get(
            "/v1/device/purchases/{id}/card",
            of_device_card,
            "What the device pays a purchase by card with",
        )
        .get(
            "/v1/me/purchases/{id}/card",
            of_person,
            "What the person pays a purchase of the account by card with",
        )
        .get(
            "/v1/purchases/{id}/card",
            one,
            "How the payment of a purchase by card stands",
        )
        .get(
            "/v1/payments/cards",
            report,
            about("How payments compared with the card provider's, when they were compared last")
                .refuses(404),
        )
        .post(
            "/v1/payments/cards/reconcile",
            reconcile,
            about("Compares payments with the card provider's now").refuses(404),
        )
        .post(
            "/v1/payments/cards/events",
            event,
            about("An event of the card provider, signed by it")
                .takes("application/json")
                .refuses(400)
                .refuses(404)
                .answers_with(
                    200,
                    None,
                    "It was taken, now or before, or is of no interest.",
                ),
        )
}

impl App {
    fn cards(&self) -> Answer<&Arc<Cards>> {
        let none = "this key server takes no cards: its settings name no card provider ([cards])";
        let cards = self.0.cards.as_ref();
        cards.ok_or_else(|| Problem::new(Kind::NotFound, none))
    }

    /// How payments by card stand; nothing where none are taken.
    pub(crate) async fn cards_stats(&self) -> Option<CardsStats> {
        let cards = self.0.cards.as_ref()?;
        let counts = self.read(|store| cards::counts(store)).await;
        Some(cards.stats(counts.unwrap_or_default()))
    }

    /// Whether cards are taken.
    pub(super) fn takes_cards(&self) -> bool {
        self.0.cards.is_some()
    }

    /// Something may be due at the card provider.
    pub(super) fn wake_cards(&self) {
        if let Some(cards) = &self.0.cards {
            cards.wake();
        }
    }

    /// What the buyer pays with, of the purchase that `whose` finds to be the asker's.
    async fn pays_with(
        &self,
        id: PurchaseId,
        whose: impl FnOnce(&mut dyn Read) -> Result<Purchase, Error> + Send + 'static,
    ) -> Reply<CardPayment> {
        let cards = self.cards()?;
        let found = self.read(move |store| {
            whose(store)?;
            cards::get(store, id)
        });
        let payment = found.await?;
        let mut told = payment.tell();
        told.trouble = None;
        if let (CardState::Open, Some(sealed)) = (payment.state, &payment.secret) {
            let secret = self
                .vault()
                .open_secret(&crate::cards::sealed_as(id), sealed);
            let secret = secret.map_err(internal)?;
            told.client_secret = Some(String::from_utf8_lossy(&secret).into_owned());
            told.publishable_key = cards.publishable_key().map(str::to_owned);
        }
        Ok(Json(told))
    }
}

async fn of_device_card(
    device: OfDevice,
    State(app): State<App>,
    Path(Text(id)): Path<Text<PurchaseId>>,
) -> Reply<CardPayment> {
    let device = device.id();
    app.pays_with(id, move |store| of_device(store, device, id))
        .await
}

/// A purchase of this account.
fn of_account(store: &mut dyn Read, account: AccountId, id: PurchaseId) -> Result<Purchase, Error> {
    match purchases::find(store, id)? {
        Some(purchase) if purchase.account.0 == account => Ok(purchase),
        _ => {
            let detail = format!("there is no purchase {}", Text(id));
            Err(Problem::new(Kind::NotFound, detail).into())
        }
    }
}

async fn of_person(
    person: Person,
    State(app): State<App>,
    Path(Text(id)): Path<Text<PurchaseId>>,
) -> Reply<CardPayment> {
    let account = person.account;
    app.pays_with(id, move |store| of_account(store, account, id))
        .await
}

async fn one(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<PurchaseId>>,
) -> Reply<CardPayment> {
    let payment = app.read(move |store| cards::get(store, id)).await?;
    Ok(Json(payment.tell()))
}

async fn report(_: Operator<ReadLedger>, State(app): State<App>) -> Reply<CardReport> {
    let none =
        "payments were not compared since the server started: POST /v1/payments/cards/reconcile";
    let report = app.cards()?.report();
    let report = report.ok_or_else(|| Problem::new(Kind::NotFound, none))?;
    Ok(Json(report))
}

async fn reconcile(
    once: Once<Bookkeep>,
    State(app): State<App>,
) -> Result<Answered<CardReport, 200>, ApiError> {
    if let Some(before) = once.before(&app, &()).await? {
        return Ok(before.status());
    }
    let report = app.cards()?.compare(&app).await?;
    let done = once.act(&app, &(), move |_| {
        let act = Act::on("card.reconcile", "payments")
            .with("looked-at", report.looked_at)
            .with("mended", report.mended)
            .with("differences", report.differences.len());
        Ok((report, act))
    });
    Ok(done.await?.status())
}

async fn event(
    State(app): State<App>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<StatusCode, ApiError> {
    let cards = app.cards()?;
    let header = headers.get(SIGNATURE);
    let header = header.and_then(|header| header.to_str().ok());
    let event = match cards.event(header.unwrap_or_default(), &body, now()) {
        Ok(event) => event,
        Err(problem) => {
            cards.heard(Heard::Bad);
            return Err(problem.into());
        }
    };
    if !event.is_known() {
        cards.heard(Heard::Other);
        return Ok(StatusCode::OK);
    }
    let now = now();
    let new = app.write(move |tx| {
        let (intent, purchase) = event.about();
        cards::hear(tx, now, &event.id, (intent, purchase))
    });
    cards.heard(if new.await? {
        Heard::Taken
    } else {
        Heard::Again
    });
    cards.wake();
    Ok(StatusCode::OK)
}
