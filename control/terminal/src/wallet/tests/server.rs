//! A key server in memory, as far as a wallet sees one, and a network that loses and doubles what is said.
#![expect(
    clippy::unwrap_in_result,
    reason = "what a wallet must never send ends the test; a result is what the server answers"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use reqwest::Method;
use sealcast_crypto::SigningKey;
use sealcast_objects::api::{
    AskLicence, BuyOffers, CertificateRecord, CertificateState, DeviceKeys, LicenceOrigin,
    LicencePage, LicenceRecord, Method as Pays, Offer, OfferPage, OfferState, OfferSubject,
    OfferTerms, Price, Purchase, PurchaseState, SignedLicence, SignedPurchase, SignedReceipt,
    SignedStatusList, Signer, SignerRole, Signers,
};
use sealcast_objects::content::ContentKey;
use sealcast_objects::device_keys::PublicKeys;
use sealcast_objects::id::{LicenceId, OfferId, PurchaseId};
use sealcast_objects::licence::{
    DeviceKey, EndReason, Licence, LicenceReceipt, OriginKind, StatusList, Subject, Terms, Validity,
};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::purchase::{Certificate, Container, Object, PurchaseReceipt, SoldTerms};
use sealcast_objects::signed::{sign, verify};
use sealcast_objects::{AccountId, CertificateId, ContentId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::https::RequestError;
use crate::wallet::Service;

pub(super) const CONTENT: ContentId = ContentId([4; 16]);
const ACCOUNT: AccountId = AccountId([2; 16]);
const WEEK_MS: i64 = 7 * 24 * 3_600_000;

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// It does not arrive.
    Lost,
    /// Its answer does not arrive.
    Unanswered,
    /// It arrives twice.
    Doubled,
}

impl Fault {
    pub(super) const ALL: [Self; 3] = [Self::Lost, Self::Unanswered, Self::Doubled];
}

/// The server's side.
pub(super) struct Model {
    pub(super) signer: SigningKey,
    keys: Option<DeviceKeys>,
    pub(super) price: u64,
    pub(super) purchases: BTreeMap<PurchaseId, SignedPurchase>,
    pub(super) licences: BTreeMap<LicenceId, SignedLicence>,
    /// What was paid, purchase by purchase.
    pub(super) charges: Vec<PurchaseId>,
    /// Where a purchase stands after its receipt.
    pub(super) settles: PurchaseState,
    /// Rises with each change.
    pub(super) number: u64,
    pub(super) plays: Option<u32>,
    rng: StdRng,
}

struct Net {
    model: Model,
    /// By the number of the request.
    faults: BTreeMap<usize, Fault>,
    asked: usize,
}

/// The way to it.
#[derive(Clone)]
pub(super) struct Wire(Arc<Mutex<Net>>);

type Answer = Result<Value, Problem>;

fn json(of: impl Serialize) -> Answer {
    Ok(serde_json::to_value(of).unwrap())
}

fn of<T: DeserializeOwned>(body: Option<Value>) -> T {
    serde_json::from_value(body.unwrap()).unwrap()
}

fn refuse<T>(kind: Kind, why: &str) -> Result<T, Problem> {
    Err(Problem::new(kind, why))
}

impl Wire {
    pub(super) fn new() -> Self {
        let model = Model {
            signer: SigningKey::from_seed(&[9; 32]),
            keys: None,
            price: 499,
            purchases: BTreeMap::new(),
            licences: BTreeMap::new(),
            charges: Vec::new(),
            settles: PurchaseState::Settled,
            number: 1,
            plays: None,
            rng: StdRng::seed_from_u64(5),
        };
        let faults = BTreeMap::new();
        Self(Arc::new(Mutex::new(Net {
            model,
            faults,
            asked: 0,
        })))
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Model) -> T) -> T {
        act(&mut self.0.lock().unwrap().model)
    }

    /// From the next request on, these become of them.
    pub(super) fn fail(&self, faults: &[(usize, Fault)]) {
        let mut net = self.0.lock().unwrap();
        net.asked = 0;
        net.faults = faults.iter().copied().collect();
    }

    /// How many requests there were since.
    pub(super) fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }
}

impl Service for Wire {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, RequestError> {
        let mut net = self.0.lock().unwrap();
        let fault = net.faults.get(&net.asked).copied();
        net.asked += 1;
        let lost = RequestError::Unreachable {
            server: "keys.example".to_owned(),
            why: format!("{fault:?}"),
        };
        if fault == Some(Fault::Lost) {
            return Err(lost);
        }
        let mut answer = net.model.answer(&method, path, body.clone());
        if fault == Some(Fault::Doubled) {
            answer = net.model.answer(&method, path, body);
        }
        if fault == Some(Fault::Unanswered) {
            return Err(lost);
        }
        answer.map_err(RequestError::Refused)
    }
}

impl Model {
    fn answer(&mut self, method: &Method, path: &str, body: Option<Value>) -> Answer {
        let parts: Vec<_> = path.split('/').skip(2).collect();
        match (method.as_str(), &parts[..]) {
            ("PUT", ["device", "keys"]) => {
                self.keys = Some(of(body));
                json(&self.keys)
            }
            ("GET", ["signers"]) => json(Signers {
                signers: vec![Signer {
                    role: SignerRole::Licences,
                    key: self.signer.verifying_key().as_bytes().to_vec(),
                }],
            }),
            ("GET", ["device", "offers"]) => json(OfferPage {
                offers: vec![self.offer()],
                next: None,
            }),
            ("PUT", ["device", "purchases", id]) => self.buy(parsed(id), &of(body)),
            ("GET", ["device", "purchases", id]) => json(self.purchase(parsed(id))?),
            ("PUT", ["device", "purchases", id, "receipt"]) => {
                self.acknowledge(parsed(id), &of(body))
            }
            ("PUT", ["device", "licences", id]) => self.ask(parsed(id), &of(body)),
            ("PUT", ["device", "licences", id, "receipt"]) => self.receive(parsed(id), &of(body)),
            ("GET", ["device", "licences"]) => json(LicencePage {
                licences: self
                    .licences
                    .values()
                    .map(|of| of.licence.clone())
                    .collect(),
                next: None,
            }),
            ("GET", ["device", "licences", id]) => json(&self.licences[&parsed(id)]),
            ("GET", ["device", "status-list"]) => json(self.list()),
            other => unreachable!("{other:?}"),
        }
    }

    pub(super) fn offer(&self) -> Offer {
        Offer {
            id: Text(OfferId([8; 16])),
            title: "The film".to_owned(),
            subject: OfferSubject::Content {
                content: Text(CONTENT),
            },
            price: self.price(),
            grants: 1,
            terms: OfferTerms::default(),
            shop: None,
            split: None,
            state: OfferState::Offered,
            revision: 1,
            added: NOW,
        }
    }

    fn price(&self) -> Price {
        Price {
            amount: self.price,
            currency: "EUR".to_owned(),
        }
    }

    fn certificate(&self, purchase: PurchaseId, number: u8) -> Certificate {
        let mut id = purchase.0;
        id[15] = number;
        Certificate {
            id: CertificateId(id),
            purchase,
            account: ACCOUNT,
            device: device(1),
            offer: self.offer().id.0,
            subject: Subject::Content(Text(CONTENT), 1),
            grants: 1,
            terms: SoldTerms::default(),
            price: self.price(),
            shop: None,
            generated_at: NOW,
            settle_by: NOW,
        }
    }

    fn buy(&mut self, id: PurchaseId, asked: &BuyOffers) -> Answer {
        if let Some(before) = self.purchases.get(&id) {
            assert_eq!(before.purchase.certificates.len(), asked.offers.len());
            return json(before);
        }
        let numbers = 0..u8::try_from(asked.offers.len()).unwrap();
        let certificates: Vec<_> = numbers.map(|number| self.certificate(id, number)).collect();
        let records = certificates.iter().map(|of| CertificateRecord {
            id: Text(of.id),
            offer: Text(of.offer),
            subject: of.subject.into(),
            amount: of.price.amount,
            grants: of.grants,
            terms: of.terms.into(),
            state: CertificateState::Generated,
            generated: NOW,
            settle_by: NOW,
            granted: None,
            used: 0,
        });
        let purchase = Purchase {
            id: Text(id),
            account: Text(ACCOUNT),
            device: Text(device(1)),
            shop: None,
            method: asked.method,
            price: self.price(),
            state: PurchaseState::Sent,
            sent: NOW,
            receive_by: NOW,
            received: None,
            changed: NOW,
            reason: None,
            certificates: records.collect(),
        };
        let objects = certificates.iter().map(|of| Object(sign(of, &self.signer)));
        let container = Container(Text(id), NOW, objects.collect());
        let object = sign(&container, &self.signer);
        self.purchases
            .insert(id, SignedPurchase { purchase, object });
        json(&self.purchases[&id])
    }

    fn purchase(&self, id: PurchaseId) -> Result<&SignedPurchase, Problem> {
        let found = self.purchases.get(&id);
        found.ok_or_else(|| Problem::new(Kind::NotFound, "there is no purchase"))
    }

    fn told(&self) -> PublicKeys {
        PublicKeys::try_from(self.keys.as_ref().unwrap()).unwrap()
    }

    fn acknowledge(&mut self, id: PurchaseId, body: &SignedReceipt) -> Answer {
        let receipt = verify::<PurchaseReceipt>(&body.object, &self.told().sign).unwrap();
        let container = self.purchase(id)?.object.clone();
        assert_eq!(receipt, PurchaseReceipt::of(id, device(1), &container));
        let settles = self.settles;
        let purchase = &mut self.purchases.get_mut(&id).unwrap().purchase;
        match purchase.state {
            PurchaseState::Sent => {}
            PurchaseState::Expired => return refuse(Kind::Conflict, "too late: buy it again"),
            _ => return json(&*purchase),
        }
        purchase.state = settles;
        if settles == PurchaseState::Failed {
            purchase.reason = Some("the account has not enough".to_owned());
        }
        let answer = json(&*purchase);
        if settles == PurchaseState::Settled {
            self.charges.push(id);
        }
        answer
    }

    /// Gives a licence; `from` is what it came of.
    pub(super) fn issue(&mut self, id: LicenceId, from: (OriginKind, String), terms: Terms) {
        let content = (CONTENT, 1);
        let key = ContentKey::from_bytes([3; 32].into());
        let to = self.told().wrap;
        let key = DeviceKey::wrap(&to, (id, device(1)), content, &key, &mut self.rng);
        let licence = Licence {
            id,
            account: ACCOUNT,
            device: device(1),
            subject: Subject::Content(Text(CONTENT), 1),
            terms,
            origin: from.clone(),
            supersedes: None,
            key: Some(key),
            issued_at: NOW,
        };
        let record = LicenceRecord {
            id: Text(id),
            account: Text(ACCOUNT),
            device: Text(device(1)),
            subject: licence.subject.into(),
            from: terms.from,
            until: terms.until,
            plays: terms.plays,
            origin: LicenceOrigin {
                kind: from.0,
                id: from.1,
            },
            supersedes: None,
            validity: Validity::Valid,
            changed: None,
            reason: None,
            issued: NOW,
            received: None,
            receive_by: None,
        };
        let object = sign(&licence, &self.signer);
        let signed = SignedLicence {
            licence: record,
            object,
        };
        self.licences.insert(id, signed);
        self.number += 1;
    }

    fn ask(&mut self, id: LicenceId, body: &AskLicence) -> Answer {
        let by = self.signer.verifying_key();
        let certificate = verify::<Certificate>(&body.certificate, &by).unwrap();
        let origin = Text(certificate.id).to_string();
        let state = self.purchase(certificate.purchase)?.purchase.state;
        let counts = |of: &&SignedLicence| {
            of.licence.origin.id == origin && of.licence.validity != Validity::Invalid
        };
        let known: Vec<_> = self.licences.values().filter(counts).collect();
        let same = known.iter().find(|of| of.licence.id.0 == id);
        let waits = known.iter().find(|of| of.licence.received.is_none());
        if let Some(before) = same.or(waits) {
            return json(before);
        }
        let had = known.len();
        if self.licences.contains_key(&id) {
            return refuse(Kind::Conflict, "it is over: ask under another id");
        }
        if state != PurchaseState::Settled {
            return refuse(Kind::Conflict, "it is not settled, or was paid back");
        }
        if had > 0 {
            return refuse(Kind::Conflict, "all of its licences were had");
        }
        let terms = Terms {
            from: NOW,
            until: None,
            plays: self.plays,
        };
        self.issue(id, (OriginKind::Sale, origin), terms);
        json(&self.licences[&id])
    }

    fn receive(&mut self, id: LicenceId, body: &SignedReceipt) -> Answer {
        let receipt = verify::<LicenceReceipt>(&body.object, &self.told().sign).unwrap();
        let Some(known) = self.licences.get_mut(&id) else {
            return refuse(Kind::NotFound, "there is no licence");
        };
        assert_eq!(receipt, LicenceReceipt::of(id, device(1), &known.object));
        if known.licence.validity == Validity::Invalid {
            return refuse(Kind::Conflict, "too late, the grant is free again");
        }
        known.licence.received = Some(NOW);
        json(&known.licence)
    }

    /// From here on a licence counts as this.
    pub(super) fn set(&mut self, id: LicenceId, validity: Validity, reason: Option<EndReason>) {
        let licence = &mut self.licences.get_mut(&id).unwrap().licence;
        licence.validity = validity;
        licence.changed = Some(NOW);
        licence.reason = reason;
        self.number += 1;
    }

    pub(super) fn list(&self) -> SignedStatusList {
        let entries = self.licences.values().map(|of| {
            let licence = &of.licence;
            let changed = licence.changed.map(|at| (at, licence.reason));
            (licence.id, licence.validity, changed)
        });
        let until = Timestamp(NOW.0 + WEEK_MS);
        let list = StatusList(Text(ACCOUNT), self.number, NOW, until, entries.collect());
        SignedStatusList {
            number: self.number,
            until,
            object: sign(&list, &self.signer),
        }
    }
}

fn parsed<I: sealcast_objects::id::Id>(text: &str) -> I {
    let Text(id) = text.parse().unwrap_or_else(|_| unreachable!("{text}"));
    id
}

/// What is bought, and how.
pub(super) const PAYS: Pays = Pays::Balance;
