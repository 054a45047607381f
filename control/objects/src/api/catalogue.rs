//! The catalogue in the API: providers, contents and their versions, downloads. Texts have no control characters; their lengths are in
//! characters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cursor, Standing};
use crate::id::{ContentId, ProviderId, Text};
use crate::time::Timestamp;
use crate::{AccountId, DeviceId};

/// `POST /v1/providers`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProvider {
    /// For people: 1 to 200 characters.
    pub name: String,
}

/// `PATCH /v1/providers/{id}`: what is to be another.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeProvider {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `active` or `suspended`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

/// Who supplies contents.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Provider {
    /// Its id.
    pub id: Text<ProviderId>,
    /// For people.
    pub name: String,
    /// While it is suspended nothing is added to its contents, and devices get none of them.
    pub standing: Standing,
    /// Every change counts one; the `ETag` of its answers.
    pub revision: u64,
    /// Since when it is there.
    pub added: Timestamp,
}

/// What a price is in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// In minor units: 499 with EUR is 4.99 EUR.
    pub amount: u64,
    /// Three capital letters (ISO 4217).
    pub currency: String,
}

/// What a content is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MediaKind {
    /// Pictures that move, with or without sound.
    Video,
    /// Sound.
    Audio,
    /// Text.
    Text,
    /// Anything else.
    Data,
}

/// Whether a content is to be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Availability {
    /// Whoever wants it may have it.
    Offered,
    /// Only accounts that downloaded it before get it.
    Withdrawn,
}

/// Whether a version's file is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VersionState {
    /// It waits for its file, a day at most.
    Uploading,
    /// It can be downloaded.
    Ready,
}

/// Gives an enumeration its names, as in JSON and in the store.
macro_rules! names {
    ($type:ident { $($variant:ident $name:literal),* }) => {
        impl $type {
            /// As in the API and in the store.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),*
                }
            }

            /// The one of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}
pub(super) use names;
names!(MediaKind { Video "video", Audio "audio", Text "text", Data "data" });
names!(Availability { Offered "offered", Withdrawn "withdrawn" });
names!(VersionState { Uploading "uploading", Ready "ready" });

/// `POST /v1/contents`: a content and its first version, which waits for its file then.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewContent {
    /// Whose it is.
    pub provider: Text<ProviderId>,
    /// For people: 1 to 200 characters.
    pub title: String,
    /// Any word or words: up to 60 characters.
    #[serde(default)]
    pub genre: String,
    /// What it is.
    pub kind: MediaKind,
    /// How the file of the first version is made, `mpegts`: 1 to 60 characters.
    pub format: String,
    /// Nothing: it has none yet.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::object::option"
    )]
    pub price: Option<Price>,
}

/// `PATCH /v1/contents/{id}`: what is to be another. With `If-Match` only if the content is still as its `ETag` says.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeContent {
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its genre.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genre: Option<String>,
    /// Its price.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::object::option"
    )]
    pub price: Option<Price>,
    /// Whether it is to be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,
}

/// A content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Content {
    /// Its id, the same for all versions.
    pub id: Text<ContentId>,
    /// Whose it is.
    pub provider: Text<ProviderId>,
    /// For people.
    pub title: String,
    /// Any word or words.
    pub genre: String,
    /// What it is.
    pub kind: MediaKind,
    /// What it costs, as listed.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::object::option"
    )]
    pub price: Option<Price>,
    /// Whether it is to be had.
    pub availability: Availability,
    /// The newest version that is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Every change counts one; the `ETag` of its answers.
    pub revision: u64,
    /// Since when it is there.
    pub added: Timestamp,
}

/// The query of `GET /v1/contents`; what is missing leaves nothing out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentFilter {
    /// Of this provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Text<ProviderId>>,
    /// Of exactly this genre.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genre: Option<String>,
    /// Of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<MediaKind>,
    /// To be had, or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,
}

/// `GET /v1/contents`: a page, in the order of their ids, which is that of their making.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ContentPage {
    /// The contents.
    pub contents: Vec<Content>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// `POST /v1/contents/{id}/versions`: the next version, which waits for its file then.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVersion {
    /// How its file is made, `mpegts`: 1 to 60 characters.
    pub format: String,
}

/// A version of a content. Its file never changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ContentVersion {
    /// Of which content.
    pub content: Text<ContentId>,
    /// From 1; a number that was given is never given again.
    pub version: u32,
    /// The one that was the newest when this one was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_version: Option<u32>,
    /// How its file is made.
    pub format: String,
    /// Whether its file is there.
    pub state: VersionState,
    /// Bytes of what was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Bytes of the sealed file, which is what is downloaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_length: Option<u64>,
    /// SHA-256 of the sealed file.
    #[schemars(with = "Option<crate::bytes::Base64Url>")]
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "super::option"
    )]
    pub sha256: Option<Vec<u8>>,
    /// Since when it is there.
    pub added: Timestamp,
    /// Since when its file is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Timestamp>,
}

/// A version of a content was given to a device (MV-19).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Download {
    /// From 1, in the order in which they began.
    pub number: u64,
    /// Whose device it was then.
    pub account: Text<AccountId>,
    /// Which device.
    pub device: Text<DeviceId>,
    /// Which content.
    pub content: Text<ContentId>,
    /// Which version.
    pub version: u32,
    /// When it was asked for first.
    pub at: Timestamp,
}

/// `GET /v1/downloads`: a page, in the order in which they began.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DownloadPage {
    /// The downloads.
    pub downloads: Vec<Download>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}
