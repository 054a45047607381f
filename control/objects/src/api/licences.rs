//! Licences in the API: what the server keeps of each, and what devices sign with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Cursor;
use crate::id::{ContentId, LicenceId, Text};
use crate::licence::{EndReason, OriginKind, Subject, Validity};
use crate::time::Timestamp;
use crate::{AccountId, DeviceId};

/// `PUT /v1/device/keys`: made by the device; the secret halves never leave it (SEC-01).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceKeys {
    /// What it signs with: a public key of Ed25519, 32 bytes.
    #[serde(with = "crate::bytes")]
    #[schemars(with = "crate::bytes::Base64Url")]
    pub sign: Vec<u8>,
    /// What keys are wrapped to: a public key of MLKEM768-X25519, 1216 bytes.
    #[serde(with = "crate::bytes")]
    #[schemars(with = "crate::bytes::Base64Url")]
    pub wrap: Vec<u8>,
}

/// What a licence is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LicenceSubject {
    /// A channel, as it is sent.
    Channel {
        /// Its number.
        channel: u16,
    },
    /// A version of a content, as it is stored.
    Content {
        /// The content.
        content: Text<ContentId>,
        /// Its version.
        version: u32,
    },
}

impl From<Subject> for LicenceSubject {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::Channel(channel) => Self::Channel { channel },
            Subject::Content(content, version) => Self::Content { content, version },
        }
    }
}

impl From<LicenceSubject> for Subject {
    fn from(subject: LicenceSubject) -> Self {
        match subject {
            LicenceSubject::Channel { channel } => Self::Channel(channel),
            LicenceSubject::Content { content, version } => Self::Content(content, version),
        }
    }
}

/// What a licence came from (INT-04).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LicenceOrigin {
    /// The kind.
    pub kind: OriginKind,
    /// The purchase certificate, plan, move, licence, medium or operator.
    pub id: String,
}

/// What is kept of a licence.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LicenceRecord {
    /// Its id.
    pub id: Text<LicenceId>,
    /// Whose.
    pub account: Text<AccountId>,
    /// The only device that it counts for.
    pub device: Text<DeviceId>,
    /// What for.
    pub subject: LicenceSubject,
    /// From when.
    pub from: Timestamp,
    /// Until when; nothing: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How often it may be played; nothing: as often as one likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plays: Option<u32>,
    /// What it came from.
    pub origin: LicenceOrigin,
    /// The licence whose place it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<Text<LicenceId>>,
    /// Whether it counts.
    pub validity: Validity,
    /// Since when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Timestamp>,
    /// Why it never will again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
    /// When it was issued.
    pub issued: Timestamp,
    /// When the device said that it has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Timestamp>,
}

/// Licences, a page of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LicencePage {
    /// In the order of their ids.
    pub licences: Vec<LicenceRecord>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}
