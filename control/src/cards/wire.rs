//! What the card provider says, as JSON. Much more stands in it than is read.

use std::collections::BTreeMap;

use sealcast_domain::sales::cards::{Seen, Standing};
use sealcast_objects::PurchaseId;
use sealcast_objects::api::CardDispute;
use sealcast_objects::id::Text;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::declines;

/// Under which name the provider keeps the purchase for us.
pub(super) const PURCHASE: &str = "sealcast_purchase";
/// Longest code that is told.
const CODE_MAX: usize = 60;

/// A PaymentIntent.
#[derive(Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    amount: u64,
    currency: String,
    status: String,
    #[serde(default)]
    amount_received: Option<u64>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    client_secret: Option<String>,
    #[serde(default)]
    latest_charge: Option<LatestCharge>,
    #[serde(default)]
    last_payment_error: Option<Said>,
    #[serde(default)]
    pub(super) created: i64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum LatestCharge {
    Whole(Charge),
    /// Its name only: it was not asked for, or there is no more to it.
    #[expect(dead_code, reason = "a name that is not looked up")]
    Name(String),
}

#[derive(Deserialize)]
struct Charge {
    #[serde(default)]
    amount_refunded: u64,
    #[serde(default)]
    disputed: bool,
}

/// An error, of an answer or of a payment.
#[derive(Default, Deserialize)]
pub(super) struct Said {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    decline_code: Option<String>,
}

impl Said {
    /// Its code: a word, and nothing that could be a secret.
    pub(super) fn code(&self) -> String {
        let code = [&self.decline_code, &self.code, &self.kind];
        let code = code.into_iter().flatten().next();
        let code = code.map_or("", String::as_str);
        let word = |b: char| b.is_ascii_alphanumeric() || b == '_';
        code.chars().filter(|b| word(*b)).take(CODE_MAX).collect()
    }

    /// Whether the key was used for something else.
    pub(super) fn is_about_the_key(&self) -> bool {
        self.kind.as_deref() == Some("idempotency_error")
    }
}

/// The body of a refusal.
#[derive(Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) error: Said,
}

/// A page.
#[derive(Deserialize)]
pub(super) struct List<T> {
    pub(super) data: Vec<T>,
    #[serde(default)]
    pub(super) has_more: bool,
}

#[derive(Deserialize)]
pub(super) struct Dispute {
    status: String,
}

impl Intent {
    /// The purchase that it says it is for.
    pub(super) fn purchase(&self) -> Option<&str> {
        let metadata = self.metadata.as_ref()?;
        metadata.get(PURCHASE).map(String::as_str)
    }

    pub(super) fn is_disputed(&self) -> bool {
        matches!(&self.latest_charge, Some(LatestCharge::Whole(charge)) if charge.disputed)
    }

    /// What the buyer pays with.
    pub(super) fn take_secret(&mut self) -> Option<Zeroizing<String>> {
        self.client_secret.take().map(Zeroizing::new)
    }

    pub(super) fn seen(&self, dispute: Option<CardDispute>) -> Seen {
        let standing = match self.status.as_str() {
            "succeeded" => Standing::Paid,
            "canceled" => Standing::Canceled,
            _ => Standing::Open,
        };
        let refunded = match &self.latest_charge {
            Some(LatestCharge::Whole(charge)) => charge.amount_refunded,
            _ => 0,
        };
        let error = self.last_payment_error.as_ref();
        Seen {
            intent: self.id.clone(),
            purchase: self.purchase().and_then(purchase),
            amount: self.amount,
            currency: self.currency.to_ascii_uppercase(),
            standing,
            received: match standing {
                Standing::Paid => self.amount_received.unwrap_or(self.amount),
                Standing::Open | Standing::Canceled => 0,
            },
            refunded,
            dispute,
            declined: error.map(|said| declines::declined(&said.code()).to_owned()),
        }
    }
}

pub(super) fn purchase(text: &str) -> Option<PurchaseId> {
    let Ok(Text(id)) = text.parse::<Text<PurchaseId>>() else {
        return None;
    };
    Some(id)
}

/// What several disputes of one payment come to.
pub(super) fn dispute(all: &[Dispute]) -> CardDispute {
    let has = |words: &[&str]| all.iter().any(|one| words.contains(&one.status.as_str()));
    let over = ["won", "lost", "warning_closed"];
    if has(&["lost"]) {
        CardDispute::Lost
    } else if all.iter().all(|one| over.contains(&one.status.as_str())) && !all.is_empty() {
        CardDispute::Won
    } else {
        CardDispute::Open
    }
}

/// An event: what it is about, and nothing of what it says.
#[derive(Deserialize)]
pub(crate) struct Event {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    data: EventData,
}

#[derive(Deserialize)]
struct EventData {
    object: EventObject,
}

#[derive(Deserialize)]
struct EventObject {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    payment_intent: Option<String>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
}

impl Event {
    /// Whether it is about payments.
    pub(crate) fn is_known(&self) -> bool {
        ["payment_intent.", "charge.", "refund."]
            .iter()
            .any(|prefix| self.kind.starts_with(prefix))
    }

    /// The intent and the purchase that it is about.
    pub(crate) fn about(&self) -> (Option<&str>, Option<PurchaseId>) {
        let object = &self.data.object;
        let own = object.id.as_deref().filter(|id| id.starts_with("pi_"));
        let named = object.metadata.as_ref();
        let named = named.and_then(|metadata| purchase(metadata.get(PURCHASE)?));
        (object.payment_intent.as_deref().or(own), named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(text: &str) -> Intent {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_intent_is_read_with_or_without_its_charge() {
        let whole = intent(
            r#"{"id": "pi_1", "object": "payment_intent", "amount": 499, "amount_received": 499, "currency": "eur", "status": "succeeded",
            "metadata": {"sealcast_purchase": "pur_00000000000000000000000000000001"}, "client_secret": "pi_1_secret_2",
            "latest_charge": {"id": "ch_1", "amount_refunded": 200, "disputed": true}}"#,
        );
        let seen = whole.seen(None);
        assert_eq!((seen.received, seen.refunded), (499, 200));
        assert_eq!(seen.currency, "EUR");
        assert!(seen.purchase.is_some() && whole.is_disputed());
        let bare = intent(
            r#"{"id": "pi_1", "amount": 499, "currency": "eur", "status": "requires_payment_method", "latest_charge": "ch_1",
            "last_payment_error": {"code": "card_declined", "decline_code": "insufficient_funds"}, "metadata": null}"#,
        );
        let seen = bare.seen(None);
        assert_eq!((seen.standing, seen.received), (Standing::Open, 0));
        assert!(seen.declined.unwrap().contains("enough money"));
        assert_eq!(seen.purchase, None);
        for bad in [
            "{}",
            r#"{"id": "pi_1", "amount": -1, "currency": "eur", "status": "x"}"#,
            "[]",
        ] {
            assert!(serde_json::from_str::<Intent>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn codes_of_errors_are_words() {
        let said = Said {
            code: Some("card <b>declined".repeat(20)),
            ..Said::default()
        };
        assert!(said.code().starts_with("cardbdeclinedcard"));
        assert_eq!(said.code().len(), CODE_MAX);
    }

    #[test]
    fn disputes_are_lost_if_one_is_and_won_if_all_are() {
        let of = |words: &[&str]| {
            let all: Vec<_> = words
                .iter()
                .map(|word| Dispute {
                    status: (*word).to_owned(),
                })
                .collect();
            dispute(&all)
        };
        assert_eq!(of(&["won", "lost"]), CardDispute::Lost);
        assert_eq!(of(&["won", "warning_closed"]), CardDispute::Won);
        assert_eq!(of(&["won", "needs_response"]), CardDispute::Open);
        assert_eq!(of(&[]), CardDispute::Open);
    }
}
