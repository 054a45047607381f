//! Webhooks in the API: where events are sent to, and what became of each.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Cursor;
use crate::id::{Text, WebhookId};
use crate::time::Timestamp;

/// `POST /v1/webhooks`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where events are sent to.
    pub url: String,
    /// Names of acts (`right.give`), or beginnings of them (`right.*`); empty: all.
    #[serde(default)]
    pub events: Vec<String>,
    /// For people: at most 200 characters.
    #[serde(default)]
    pub description: String,
    /// Events after this number of the audit log are sent; nothing: those from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// `PATCH /v1/webhooks/{id}`: what is to be another.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeWebhook {
    /// Where events are sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Which events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether events are sent. Enabled again, it gets what came meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Why nothing is sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Disabled {
    /// Who disabled it: a role, a colon, a name; or `server`.
    pub by: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// Where events are sent to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Webhook {
    /// Its id.
    pub id: Text<WebhookId>,
    /// The address.
    pub url: String,
    /// Names of acts, or beginnings of them; empty: all.
    pub events: Vec<String>,
    /// For people.
    pub description: String,
    /// Nothing while it is enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Disabled>,
    /// Events up to this number of the audit log were looked at.
    pub position: u64,
    /// Since when every attempt fails; nothing while they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Verifies its `v1a` signatures: `whpk_` and an Ed25519 key in base64.
    pub public_key: String,
    /// Until then its former secret signs, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_until: Option<Timestamp>,
    /// Every change counts one; the `ETag` of its answers.
    pub revision: u64,
    /// Since when it is there.
    pub created: Timestamp,
}

/// A webhook whose secret was just made: it is shown only now.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookSecret {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: Webhook,
    /// Verifies its `v1` signatures: `whsec_` and the key of an HMAC-SHA256 in base64.
    pub secret: String,
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookSecret({}, ..)", self.webhook.id)
    }
}

/// What became of an event for a webhook.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// It is to be sent, for the first time or again.
    Pending,
    /// It was acknowledged.
    Delivered,
    /// It was sent as often as it is; it is not sent again unless somebody replays it.
    Dead,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Dead];

    /// As in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// An event on its way to a webhook.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Of the entry in the audit log.
    pub number: u64,
    /// The act.
    #[serde(rename = "type")]
    pub kind: String,
    /// To what it was done.
    pub subject: String,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was sent.
    pub attempts: u32,
    /// When it is sent next; nothing: not again, or after an earlier one of the same subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// When it was acknowledged or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Timestamp>,
    /// What came of the last attempt: a status, or why there was none.
    pub answer: String,
}

/// `GET /v1/webhooks/{id}/deliveries`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryPage {
    /// In the order of their numbers.
    pub deliveries: Vec<Delivery>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// `POST /v1/webhooks/{id}/test`: what came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// Whether it was acknowledged: a status from 200 to 299.
    pub good: bool,
    /// The status, or why there was none.
    pub answer: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// `POST /v1/webhooks/{id}/replay`: dead events that are sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Replayed {
    /// So many are pending now.
    pub replayed: u64,
    /// So many are dead still: ask again.
    pub left: u64,
}
