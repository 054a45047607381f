//! Where a key server stands, in the API: who leads, which server holds which keys, the authority's keys.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Where a channel's keys stand: who holds what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EpochStatus {
    /// The channel.
    pub channel: u16,
    /// The epoch in use.
    pub current: Option<u64>,
    /// Whether its root is held, so that devices can be served.
    pub root_held: bool,
    /// What remains of it, milliseconds.
    pub remaining_ms: u32,
    /// The next epoch, if prepared.
    pub next: Option<u64>,
    /// Whether the change to it is announced.
    pub announced: bool,
    /// Lanes handed out in the epoch in use.
    pub lanes: u8,
    /// Its delivery servers.
    pub servers: Vec<ServerStatus>,
    /// The slaves, and the highest epoch that each holds.
    #[serde(default)]
    pub slaves: Vec<SlaveHeld>,
}

/// What one slave holds of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SlaveHeld {
    /// Which.
    pub slave: u32,
    /// The highest epoch that it holds; `None`: nothing of the channel.
    pub epoch: Option<u64>,
}

/// Where a slave stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SlaveStatus {
    /// Which.
    pub slave: u32,
    /// Whether it is linked, to the master or over others.
    pub linked: bool,
    /// The slave that feeds it; `None`: the master.
    pub parent: Option<u32>,
    /// Whether it holds a lease.
    pub leased: bool,
    /// Where its key doors are.
    pub doors: Vec<SocketAddr>,
}

/// What one delivery server holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServerStatus {
    /// Which.
    pub server: u32,
    /// Whether its link is up.
    pub linked: bool,
    /// The epoch it sends under.
    pub current: Option<u64>,
    /// The epoch it holds for after it.
    pub next: Option<u64>,
    /// Packets that its run has sealed.
    pub packets: u64,
    /// Bytes of payload that its run has sealed.
    pub bytes: u64,
}

/// Where the key server stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Whether it leads, and under which term.
    pub lead: Lead,
    /// Its channels.
    pub channels: Vec<EpochStatus>,
    /// Its slaves: those that are active.
    #[serde(default)]
    pub slaves: Vec<SlaveStatus>,
    /// The store was last written before this start at that time.
    pub store_written: Option<Timestamp>,
    /// The server's clock.
    pub now: Timestamp,
}

/// Whether a master leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Lead {
    /// It collects reports and hands out nothing.
    Starting,
    /// It leads.
    Leading {
        /// Number of its term.
        term: u64,
    },
    /// Another master was seen; it hands out nothing.
    Deposed,
}

/// A key of the authority.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuthorityKey {
    /// The verifying key.
    #[schemars(with = "crate::bytes::Base64Url")]
    #[serde(with = "crate::bytes")]
    pub key: Vec<u8>,
    /// Where it is in its life.
    pub stage: KeyStage,
    /// Since when.
    pub since: Timestamp,
}

/// Stages of an authority key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyStage {
    /// Named to everybody, signs nothing yet.
    Successor,
    /// Signs.
    Current,
    /// Signs no more; what it signed is still in use.
    Retiring,
    /// Over.
    Retired,
}

impl KeyStage {
    /// As in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Successor => "successor",
            Self::Current => "current",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
        }
    }

    /// The stage of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Successor,
            Self::Current,
            Self::Retiring,
            Self::Retired,
        ]
        .into_iter()
        .find(|stage| stage.name() == name)
    }
}
