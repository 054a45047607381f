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

/// `PUT /v1/licences/{id}`: a licence that an operator gives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveLicence {
    /// The only device that it counts for.
    pub device: Text<DeviceId>,
    /// What for.
    pub subject: LicenceSubject,
    /// From when; nothing: from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Until when; nothing: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How often it may be played; nothing: as often as one likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub plays: Option<u32>,
}

/// A licence that is to be given.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NamedLicence {
    /// The licence's id.
    pub id: Text<LicenceId>,
    /// What is given.
    pub give: GiveLicence,
}

/// `PATCH /v1/licences/{id}`: whether it counts from here on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetLicence {
    /// What never counts again cannot be changed.
    pub validity: Validity,
    /// Why it ends for ever; nothing: an operator said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
}

/// `GET /v1/device/licences/{id}`: the licence as its device keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SignedLicence {
    /// What the server keeps of it.
    pub licence: LicenceRecord,
    /// COSE_Sign1, `application/vnd.sealcast.licence+cbor`, signed by the key for licences.
    #[serde(with = "crate::bytes")]
    #[schemars(with = "crate::bytes::Base64Url")]
    pub object: Vec<u8>,
}

/// `PUT /v1/device/licences/{id}/receipt`: the device has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedReceipt {
    /// COSE_Sign1, `application/vnd.sealcast.licence-receipt+cbor`, signed by the device.
    #[serde(with = "crate::bytes")]
    #[schemars(with = "crate::bytes::Base64Url")]
    pub object: Vec<u8>,
}

/// `GET /v1/device/status-list`: which licences of the account count.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SignedStatusList {
    /// Rises with each change: an older list counts no more.
    pub number: u64,
    /// Until when a device may go by it.
    pub until: Timestamp,
    /// COSE_Sign1, `application/vnd.sealcast.status-list+cbor`, signed by the key for licences.
    #[serde(with = "crate::bytes")]
    #[schemars(with = "crate::bytes::Base64Url")]
    pub object: Vec<u8>,
}

/// What a key of the server signs.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum SignerRole {
    /// Licences, and the lists of which count.
    Licences,
    /// Heads of the audit log.
    Audit,
}

/// A key that the server signs with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Signer {
    /// What it signs.
    pub role: SignerRole,
    /// A public key of Ed25519, 32 bytes.
    #[serde(with = "crate::bytes")]
    #[schemars(with = "crate::bytes::Base64Url")]
    pub key: Vec<u8>,
}

/// `GET /v1/signers`: whose signatures to believe, and of what (SEC-25).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Signers {
    /// One for each role.
    pub signers: Vec<Signer>,
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
    /// It ends unless its device says before that it has it; nothing: it need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_by: Option<Timestamp>,
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
