//! Purchases as the wallet keeps them: what is bought, where it stands, what it needs next. No IO.

use sealcast_objects::api::{Method as Pays, Price, Purchase, PurchaseState};
use sealcast_objects::id::{CertificateId, LicenceId, OfferId, PurchaseId, Text};
use sealcast_objects::purchase::{Certificate, Object};
use sealcast_objects::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::steps::Step;

/// What is bought, and at which price.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// What.
    pub offer: Text<OfferId>,
    /// What it cost when it was chosen: at another price it is not bought.
    pub price: Price,
}

/// Where a purchase stands, as the device sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It is to be asked for.
    Asking,
    /// The certificates are here; it is to be said so. Nothing is paid before.
    Acknowledging,
    /// It is being settled, by somebody else.
    Settling,
    /// It is paid; licences are to be had.
    Granting,
    /// Every licence is here; the list that says that they count is to be fetched.
    Listing,
    /// Every licence is here, and counts.
    Done,
    /// It came to nothing, and why.
    Failed(String),
}

impl Stage {
    /// Its word in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Asking => "asking",
            Self::Acknowledging => "acknowledging",
            Self::Settling => "settling",
            Self::Granting => "granting",
            Self::Listing => "listing",
            Self::Done => "done",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether nothing more comes of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Done | Self::Failed(_))
    }
}

/// A licence that is had for a certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Which certificate.
    pub certificate: Text<CertificateId>,
    /// The certificate as it was signed.
    pub(super) object: Object,
    /// Under which id the licence is asked for, or which it is.
    pub licence: Text<LicenceId>,
    /// Whether it is here.
    pub had: bool,
    /// How often another id was taken.
    pub(super) tries: u8,
}

/// A purchase.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What is bought; what is bought twice is here twice.
    pub items: Vec<Item>,
    /// How it is settled.
    pub method: Pays,
    /// When it was begun.
    pub begun: Timestamp,
    /// Where it stands.
    pub stage: Stage,
    /// The certificates as they came.
    pub(super) container: Option<Object>,
    /// One licence for each certificate.
    pub grants: Vec<Grant>,
}

impl Order {
    /// A new one.
    pub(super) fn new(items: Vec<Item>, method: Pays, begun: Timestamp) -> Self {
        Self {
            items,
            method,
            begun,
            stage: Stage::Asking,
            container: None,
            grants: Vec::new(),
        }
    }

    pub(super) fn offers(&self) -> Vec<Text<OfferId>> {
        self.items.iter().map(|item| item.offer).collect()
    }

    /// Whether it is for the same, and not over.
    pub(super) fn goes_on_with(&self, items: &[Item], method: Pays) -> bool {
        !self.stage.is_over() && self.items == items && self.method == method
    }

    /// What it needs next, one step or one for each licence.
    pub(super) fn steps(&self, id: Text<PurchaseId>) -> Vec<Step> {
        match self.stage {
            Stage::Asking => vec![Step::Buy(id)],
            Stage::Acknowledging => vec![Step::Acknowledge(id)],
            Stage::Granting => {
                let grants = self.grants.iter().enumerate();
                let missing = grants.filter(|(_, grant)| !grant.had);
                missing.map(|(place, _)| Step::Ask(id, place)).collect()
            }
            Stage::Settling | Stage::Listing | Stage::Done | Stage::Failed(_) => Vec::new(),
        }
    }

    /// What the server says of it.
    pub(super) fn stands(&mut self, purchase: &Purchase) {
        let why = || {
            let reason = purchase.reason.clone();
            reason.unwrap_or_else(|| format!("it is {}", purchase.state.name()))
        };
        self.stage = match purchase.state {
            PurchaseState::Sent => Stage::Acknowledging,
            PurchaseState::Received => Stage::Settling,
            PurchaseState::Settled => Stage::Granting,
            PurchaseState::Failed | PurchaseState::Refunded => Stage::Failed(why()),
            PurchaseState::Expired => {
                Stage::Failed("nothing is paid, for it took too long: buy it again".to_owned())
            }
        };
    }

    /// Whether these are certificates of what was asked for, at its price.
    pub(super) fn check(&self, certificates: &[Certificate]) -> Result<(), Stage> {
        let sorted = |mut of: Vec<(OfferId, u64, String)>| {
            of.sort();
            of
        };
        let asked = self.items.iter();
        let asked =
            asked.map(|item| (item.offer.0, item.price.amount, item.price.currency.clone()));
        let sent = certificates.iter();
        let sent = sent.map(|of| (of.offer, of.price.amount, of.price.currency.clone()));
        if sorted(asked.collect()) == sorted(sent.collect()) {
            return Ok(());
        }
        let why = "the offer or its price is another by now, and nothing is paid: look at the offers, and buy it again";
        Err(Stage::Failed(why.to_owned()))
    }
}
