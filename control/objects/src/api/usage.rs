//! What was counted: usage files taken in, rows for bills, totals (MD-33, MD-34, INT-03).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Cursor;
use crate::id::Text;
use crate::time::Timestamp;
use crate::{AccountId, DeviceId};

/// Whose usage files a key server takes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UsageSource {
    /// What it sent.
    DeliveryServer,
    /// Which keys it gave.
    KeyServer,
}

impl UsageSource {
    /// Each.
    pub const ALL: [Self; 2] = [Self::DeliveryServer, Self::KeyServer];

    /// As in the store and in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DeliveryServer => "delivery-server",
            Self::KeyServer => "key-server",
        }
    }
}

/// Answer of `POST /v1/usage`, whose body is a usage file: it counts, once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UsageTaken {
    /// Its records.
    pub records: u64,
    /// It was there before.
    pub before: bool,
    /// Records of bytes that were billed already, of a month that is closed: they do not count any more.
    #[serde(default)]
    pub late: u64,
}

/// `GET /v1/usage/runs`: files of one run of a program that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UsageRun {
    /// Who counted.
    pub source: UsageSource,
    /// Number of the delivery server or slave; 0: a master.
    pub number: u32,
    /// The run: random, 128 bits.
    #[serde(with = "hex")]
    #[schemars(with = "String", regex(pattern = "^[0-9a-f]{32}$"))]
    pub run: u128,
    /// Files that were taken in.
    pub files: u64,
    /// Files before the latest of them that were not.
    pub missing: u64,
    /// Their records.
    pub records: u64,
    /// When the latest was.
    pub taken_at: Timestamp,
}

/// 32 hexadecimal digits, as in the names of usage files.
mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(run: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{run:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        let text = String::deserialize(from)?;
        u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}

/// What `GET /v1/usage` and `GET /v1/usage/totals` look at; what is left out is not asked for. A row belongs to the instant at
/// which its first key was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageFilter {
    /// Of this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Text<AccountId>>,
    /// Of this device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Text<DeviceId>>,
    /// Of this channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// From here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Answer of `GET /v1/usage`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UsagePage {
    /// In the order of account, device, channel, epoch.
    pub rows: Vec<UsageRow>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// Keys of epochs in a row that a device got on one day (UTC): what a bill is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UsageRow {
    /// Whose device.
    pub account: Text<AccountId>,
    /// The device.
    pub device: Text<DeviceId>,
    /// The channel.
    pub channel: u16,
    /// The first epoch.
    pub first_epoch: u64,
    /// The last epoch; all between are in the row.
    pub last_epoch: u64,
    /// Requests that were answered with keys, each once however often it was asked again (MD-34).
    pub requests: u64,
    /// Answers, to requests asked again, too.
    pub answers: u64,
    /// Bytes of payload that were sent in these epochs (MD-33): of the delivery server that sent most of each, since others send
    /// the same.
    pub bytes: u64,
    /// When the first key was given.
    pub since: Timestamp,
    /// When the last was.
    pub until: Timestamp,
}

/// Answer of `GET /v1/usage/totals`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct UsageTotals {
    /// Devices and channels with keys: a device counts once for each channel.
    pub subscriptions: u64,
    /// As in rows (MD-34).
    pub requests: u64,
    /// As in rows.
    pub answers: u64,
    /// Keys: each device, channel and epoch once.
    pub keys: u64,
    /// As in rows (MD-33).
    pub bytes: u64,
}
