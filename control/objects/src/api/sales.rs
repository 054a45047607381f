//! Sales in the API: offers, purchases, certificates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::catalogue::names;
use super::{Cursor, Price};
use crate::id::{CertificateId, ContentId, OfferId, PurchaseId, Text};
use crate::purchase::SoldTerms;
use crate::time::Timestamp;
use crate::{AccountId, DeviceId};

/// What an offer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum OfferSubject {
    /// A channel, as it is sent.
    Channel {
        /// Its number.
        channel: u16,
    },
    /// A content: its newest version, when it is bought.
    Content {
        /// The content.
        content: Text<ContentId>,
    },
}

/// What each licence of an offer allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferTerms {
    /// How long, from its issue; nothing: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_u64))]
    pub lasts_ms: Option<u64>,
    /// Until when, however late it is issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How often it may be played; nothing: as often as one likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub plays: Option<u32>,
}

impl From<OfferTerms> for SoldTerms {
    fn from(terms: OfferTerms) -> Self {
        let OfferTerms {
            lasts_ms,
            until,
            plays,
        } = terms;
        Self {
            lasts_ms,
            until,
            plays,
        }
    }
}

impl From<SoldTerms> for OfferTerms {
    fn from(terms: SoldTerms) -> Self {
        let SoldTerms {
            lasts_ms,
            until,
            plays,
        } = terms;
        Self {
            lasts_ms,
            until,
            plays,
        }
    }
}

fn one() -> u32 {
    1
}

/// `POST /v1/offers`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOffer {
    /// For people: 1 to 200 characters.
    pub title: String,
    /// What for.
    pub subject: OfferSubject,
    /// What it costs; 0 is a gift.
    pub price: Price,
    /// How many licences may be had for it.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub grants: u32,
    /// What each of them allows.
    #[serde(default)]
    pub terms: OfferTerms,
    /// The shop that sells it, an operator of that role; nothing: the house.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shop: Option<String>,
    /// How what it brings is divided, the name of a split; nothing: it is the house's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
}

/// Whether something is sold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OfferState {
    /// It is.
    Offered,
    /// Not any more; what was bought stays.
    Withdrawn,
}
names!(OfferState { Offered "offered", Withdrawn "withdrawn" });

/// `PATCH /v1/offers/{id}`: what is to be another.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeOffer {
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it costs from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Whether it is sold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<OfferState>,
}

/// Something that is sold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Offer {
    /// Its id.
    pub id: Text<OfferId>,
    /// For people.
    pub title: String,
    /// What for.
    pub subject: OfferSubject,
    /// What it costs.
    pub price: Price,
    /// How many licences may be had for it.
    pub grants: u32,
    /// What each of them allows.
    pub terms: OfferTerms,
    /// The shop that sells it; nothing: the house.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shop: Option<String>,
    /// How what it brings is divided; nothing: it is the house's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Whether it is sold.
    pub state: OfferState,
    /// Every change counts one; the `ETag` of its answers.
    pub revision: u64,
    /// Since when it is there.
    pub added: Timestamp,
}

/// `GET /v1/offers`: a page, in the order of their ids.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OfferPage {
    /// The offers.
    pub offers: Vec<Offer>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// How a purchase is settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// From what the account has paid before.
    Balance,
    /// On the account's next invoice.
    Invoice,
    /// By card.
    Card,
    /// The shop that sells it takes the money, and says so.
    Shop,
}
names!(Method { Balance "balance", Invoice "invoice", Card "card", Shop "shop" });

/// Where a purchase stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PurchaseState {
    /// Its certificates were sent; nothing is paid before the device says that it has them.
    Sent,
    /// The device has them; it is being settled.
    Received,
    /// It is paid: licences may be had.
    Settled,
    /// It could not be paid.
    Failed,
    /// The device did not say in time that it has them: nothing is paid, buy again.
    Expired,
    /// It was paid back.
    Refunded,
}
names!(PurchaseState {
    Sent "sent", Received "received", Settled "settled", Failed "failed", Expired "expired", Refunded "refunded"
});

/// Where a purchase certificate stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateState {
    /// It is not paid yet.
    Generated,
    /// Licences may be had for it.
    Settled,
    /// All of them were.
    Used,
    /// It was not paid in time, or never will be.
    Expired,
    /// It was paid back.
    Refunded,
}
names!(CertificateState {
    Generated "generated", Settled "settled", Used "used", Expired "expired", Refunded "refunded"
});

/// What is kept of a purchase certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CertificateRecord {
    /// Its id.
    pub id: Text<CertificateId>,
    /// What was bought.
    pub offer: Text<OfferId>,
    /// What its licences are for.
    pub subject: super::LicenceSubject,
    /// What it costs, in the currency of the purchase.
    pub amount: u64,
    /// How many licences there are to be.
    pub grants: u32,
    /// What each allows.
    pub terms: OfferTerms,
    /// Where it stands.
    pub state: CertificateState,
    /// When it was made.
    pub generated: Timestamp,
    /// Unless it is settled by then, it counts no more.
    pub settle_by: Timestamp,
    /// How many licences may be granted; nothing before it is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<u32>,
    /// How many were: those of which a device said that it has them.
    pub used: u32,
}

/// A purchase.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Purchase {
    /// Its id.
    pub id: Text<PurchaseId>,
    /// Who buys.
    pub account: Text<AccountId>,
    /// With which device.
    pub device: Text<DeviceId>,
    /// Who sells; nothing: the house.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shop: Option<String>,
    /// How it is settled.
    pub method: Method,
    /// What all of it costs.
    pub price: Price,
    /// Where it stands.
    pub state: PurchaseState,
    /// When its certificates were sent.
    pub sent: Timestamp,
    /// Until when the device may say that it has them.
    pub receive_by: Timestamp,
    /// When it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Timestamp>,
    /// Since when it stands there.
    pub changed: Timestamp,
    /// Why, where that is worth knowing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its certificates.
    pub certificates: Vec<CertificateRecord>,
}

/// `PUT /v1/device/purchases/{id}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuyOffers {
    /// What: 1 to 20 offers; one that is named twice is bought twice.
    #[schemars(length(min = 1, max = 20))]
    pub offers: Vec<Text<OfferId>>,
    /// How it is to be settled.
    pub method: Method,
}

/// A purchase, with its certificates as the device keeps them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SignedPurchase {
    /// What the server keeps of it.
    pub purchase: Purchase,
    /// COSE_Sign1, `application/vnd.sealcast.purchase+cbor`: the container of its certificates, signed by the key for licences.
    #[serde(with = "crate::bytes")]
    #[schemars(with = "crate::bytes::Base64Url")]
    pub object: Vec<u8>,
}

/// Purchases: a page, in the order of their ids.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PurchasePage {
    /// The purchases.
    pub purchases: Vec<Purchase>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// `PUT /v1/device/licences/{id}`: a licence for a certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskLicence {
    /// The certificate as it was in its container, signed.
    #[serde(with = "crate::bytes")]
    #[schemars(with = "crate::bytes::Base64Url")]
    pub certificate: Vec<u8>,
}

/// `POST /v1/purchases/{id}/fail`: whoever was to take the money did not get it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailPurchase {
    /// Why, for the buyer: 1 to 200 characters.
    pub why: String,
}

/// `POST /v1/purchases/{id}/refund`: it is paid back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundPurchase {
    /// Why, for the account: 1 to 200 characters.
    pub why: String,
}

/// `PUT /v1/purchase-certificates/{id}/grants`: a certificate counts again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreCertificate {
    /// For how many licences in all: as many as are recorded, at least.
    #[schemars(range(min = 1, max = 1000))]
    pub granted: u32,
}

/// A certificate that is to be restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NamedRestore {
    /// The certificate's id.
    pub id: Text<CertificateId>,
    /// What is restored.
    pub restore: RestoreCertificate,
}
