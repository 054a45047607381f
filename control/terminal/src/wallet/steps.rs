//! Buying, step by step. No IO: [`State::next`] says what is to be asked next, [`State::request`] how, and [`State::take`] what comes of the answer.
//!
//! Every id is in the wallet before it is sent, and every request may be sent again: whatever gets lost, and wherever the program ends, the same steps go
//! on with the same ids, and one purchase comes of it (PC-26, PC-30).

use reqwest::Method;
use sealcast_objects::api::{
    AskLicence, BuyOffers, Purchase, SignedLicence, SignedPurchase, SignedReceipt,
};
use sealcast_objects::id::{LicenceId, PurchaseId, Text};
use sealcast_objects::licence::{LicenceReceipt, OriginKind};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::purchase::{Certificate, Container, Object, PurchaseReceipt};
use sealcast_objects::signed::sign;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Holder;
use super::decision::by_any;
use super::orders::{Grant, Stage};
use super::state::{Distrust, State};

/// How often a licence is asked for under another id, after the first was over before it arrived.
const TRIES_MAX: u8 = 3;

/// What is to be asked next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// For certificates.
    Buy(Text<PurchaseId>),
    /// That it be known that they are here.
    Acknowledge(Text<PurchaseId>),
    /// Whether it is settled.
    Look(Text<PurchaseId>),
    /// For a licence for the certificate at this place.
    Ask(Text<PurchaseId>, usize),
    /// That it be known that a licence is here.
    Receipt(Text<LicenceId>),
}

/// A request to the key server.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Value>,
}

fn body(of: &impl Serialize) -> Option<Value> {
    serde_json::to_value(of).ok()
}

pub(super) fn parse<T: DeserializeOwned>(answer: Value) -> Result<T, Distrust> {
    serde_json::from_value(answer).map_err(|error| Distrust::NotAsked(error.to_string()))
}

/// Whether a refusal is the last word on a step: asked again it would be refused again.
pub(super) fn is_final(step: Step, problem: &Problem) -> bool {
    match problem.kind {
        Kind::NotFound | Kind::Conflict => true,
        // A receipt that does not hold is of keys that the server was not told.
        Kind::Invalid | Kind::Forbidden => !matches!(step, Step::Receipt(_)),
        _ => false,
    }
}

impl State {
    /// What is to be asked next, if anything. What is settled by somebody else is asked for by [`Step::Look`], when the time has come.
    /// `stuck`: steps that are not to be taken now.
    pub(super) fn next(&self, stuck: &[Step]) -> Option<Step> {
        let waits = self.licences.iter().filter(|(_, kept)| !kept.acknowledged);
        let receipts = waits.map(|(id, _)| Step::Receipt(*id));
        let orders = self.orders.iter();
        let of_orders = orders.flat_map(|(id, order)| order.steps(*id));
        receipts.chain(of_orders).find(|step| !stuck.contains(step))
    }

    /// How a step is asked; nothing where there is no such step any more.
    pub(super) fn request(&self, step: Step, by: &Holder<'_>) -> Option<Request> {
        let purchase = |id| format!("/v1/device/purchases/{id}");
        let (method, path, body) = match step {
            Step::Buy(id) => {
                let order = self.orders.get(&id)?;
                let buy = BuyOffers {
                    offers: order.offers(),
                    method: order.method,
                };
                (Method::PUT, purchase(id), body(&buy))
            }
            Step::Acknowledge(id) => {
                let container = &self.orders.get(&id)?.container.as_ref()?.0;
                let receipt = PurchaseReceipt::of(id.0, by.device, container);
                let object = sign(&receipt, by.sign);
                let path = format!("{}/receipt", purchase(id));
                (Method::PUT, path, body(&SignedReceipt { object }))
            }
            Step::Look(id) => (Method::GET, purchase(id), None),
            Step::Ask(id, place) => {
                let grant = self.orders.get(&id)?.grants.get(place)?;
                let ask = AskLicence {
                    certificate: grant.object.0.clone(),
                };
                let path = format!("/v1/device/licences/{}", grant.licence);
                (Method::PUT, path, body(&ask))
            }
            Step::Receipt(id) => {
                let kept = self.licences.get(&id)?;
                let receipt = LicenceReceipt::of(id.0, by.device, &kept.object.0);
                let object = sign(&receipt, by.sign);
                let path = format!("/v1/device/licences/{id}/receipt");
                (Method::PUT, path, body(&SignedReceipt { object }))
            }
        };
        Some(Request { method, path, body })
    }

    /// What comes of the answer to a step, a refusal only if it [`is_final`]. `fresh` makes ids of licences.
    pub(super) fn take(
        &mut self,
        step: Step,
        answer: Result<Value, Problem>,
        by: &Holder<'_>,
        fresh: &mut dyn FnMut() -> LicenceId,
    ) -> Result<(), Distrust> {
        match (step, answer) {
            (Step::Receipt(id), Ok(_)) => self.acknowledged(id),
            (Step::Receipt(id), Err(_)) => {
                // It was over before the server heard that it is here.
                self.acknowledged(id);
                self.ask_again(id, fresh());
            }
            (Step::Ask(id, place), Ok(answer)) => {
                let SignedLicence { object, .. } = parse(answer)?;
                self.granted(id, place, object, by)?;
            }
            (Step::Ask(id, place), Err(problem)) => {
                self.not_granted(id, place, &problem, fresh());
            }
            (Step::Buy(id), Ok(answer)) => {
                let sent = parse(answer)?;
                self.bought(id, sent, by, fresh)?;
            }
            (Step::Look(id), Ok(answer)) => {
                let SignedPurchase { purchase, .. } = parse(answer)?;
                self.stands(id, &purchase)?;
            }
            (Step::Acknowledge(id), Ok(answer)) => {
                let purchase: Purchase = parse(answer)?;
                self.stands(id, &purchase)?;
            }
            (Step::Buy(id) | Step::Look(id) | Step::Acknowledge(id), Err(problem)) => {
                self.fail(id, Stage::Failed(problem.detail));
            }
        }
        Ok(())
    }

    fn fail(&mut self, id: Text<PurchaseId>, why: Stage) {
        if let Some(order) = self.orders.get_mut(&id) {
            order.stage = why;
        }
    }

    fn stands(&mut self, id: Text<PurchaseId>, purchase: &Purchase) -> Result<(), Distrust> {
        if purchase.id != id {
            return Err(Distrust::NotAsked(format!("{} for {id}", purchase.id)));
        }
        if let Some(order) = self.orders.get_mut(&id) {
            order.stands(purchase);
        }
        Ok(())
    }

    /// Keeps certificates, if they are of what was asked for.
    fn bought(
        &mut self,
        id: Text<PurchaseId>,
        sent: SignedPurchase,
        by: &Holder<'_>,
        fresh: &mut dyn FnMut() -> LicenceId,
    ) -> Result<(), Distrust> {
        let signers = self.signers();
        let not_signed = |what| move |why| Distrust::NotSigned { what, why };
        let container: Container = by_any(&sent.object, &signers)
            .map_err(not_signed("the container of purchase certificates"))?;
        let Container(of, _, objects) = container;
        let (mut certificates, mut grants) = (Vec::new(), Vec::new());
        for object in objects {
            let certificate: Certificate =
                by_any(&object.0, &signers).map_err(not_signed("a purchase certificate"))?;
            if (of, certificate.purchase, certificate.device) != (id, id.0, by.device) {
                let what = format!("{} is of another purchase", Text(certificate.id));
                return Err(Distrust::NotAsked(what));
            }
            grants.push(Grant {
                certificate: Text(certificate.id),
                object,
                licence: Text(fresh()),
                had: false,
                tries: 0,
            });
            certificates.push(certificate);
        }
        let Some(order) = self.orders.get_mut(&id) else {
            return Ok(());
        };
        if let Err(why) = order.check(&certificates) {
            order.stage = why;
            return Ok(());
        }
        order.container = Some(Object(sent.object));
        order.grants = grants;
        self.stands(id, &sent.purchase)
    }

    /// Keeps a licence for a certificate.
    fn granted(
        &mut self,
        id: Text<PurchaseId>,
        place: usize,
        object: Vec<u8>,
        by: &Holder<'_>,
    ) -> Result<(), Distrust> {
        let (licence, _) = self.take_licence(object, by.device, by.wrap)?;
        let Some(order) = self.orders.get_mut(&id) else {
            return Ok(());
        };
        let Some(grant) = order.grants.get_mut(place) else {
            return Ok(());
        };
        let (kind, of) = &licence.origin;
        if *kind != OriginKind::Sale || *of != grant.certificate.to_string() {
            let what = format!("{} is not for {}", Text(licence.id), grant.certificate);
            return Err(Distrust::NotAsked(what));
        }
        // One that waits for its receipt is the answer, whatever its id.
        grant.licence = Text(licence.id);
        grant.had = true;
        if order.grants.iter().all(|grant| grant.had) {
            order.stage = Stage::Listing;
        }
        Ok(())
    }

    /// Under this id there is no licence: it may have been over before it arrived, so another id is tried.
    fn not_granted(
        &mut self,
        id: Text<PurchaseId>,
        place: usize,
        problem: &Problem,
        fresh: LicenceId,
    ) {
        let Some(order) = self.orders.get_mut(&id) else {
            return;
        };
        let grant = order.grants.get_mut(place);
        let again = grant.filter(|grant| grant.tries == 0 && problem.kind == Kind::Conflict);
        match again {
            Some(grant) => {
                grant.tries = 1;
                grant.licence = Text(fresh);
            }
            None => order.stage = Stage::Failed(problem.detail.clone()),
        }
    }

    /// A list was fetched: what waited for one is done.
    pub(super) fn listed(&mut self) {
        let orders = self.orders.values_mut();
        let waits = orders.filter(|order| order.stage == Stage::Listing);
        waits.for_each(|order| order.stage = Stage::Done);
    }

    fn acknowledged(&mut self, id: Text<LicenceId>) {
        if let Some(kept) = self.licences.get_mut(&id) {
            kept.acknowledged = true;
        }
    }

    /// If the licence was for a certificate, another one is to be had for it.
    fn ask_again(&mut self, id: Text<LicenceId>, fresh: LicenceId) {
        let mut orders = self.orders.values_mut();
        let found = orders.find_map(|order| {
            let of = |grant: &Grant| grant.had && grant.licence == id;
            let place = order.grants.iter().position(of)?;
            Some((order, place))
        });
        let Some((order, place)) = found else {
            return;
        };
        let Some(grant) = order.grants.get_mut(place) else {
            return;
        };
        if grant.tries >= TRIES_MAX {
            order.stage = Stage::Failed("its licence is over again and again".to_owned());
            return;
        }
        grant.tries += 1;
        grant.had = false;
        grant.licence = Text(fresh);
        order.stage = Stage::Granting;
    }
}
