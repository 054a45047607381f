//! Where an authority stands, for display.

use super::channel::{Channel, Server};
use super::{Authority, Phase};
use crate::ids::{ChannelId, Epoch, Remaining, ServerId, Term, Time};
use crate::wire::link::Sent;

/// Where an authority stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Whether it leads.
    pub lead: Lead,
    /// Its channels; empty unless it leads.
    pub channels: Vec<ChannelStatus>,
}

/// Whether an authority leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lead {
    /// It collects reports and hands out nothing.
    Starting,
    /// It leads under this term.
    Leading(Term),
    /// Another master was seen; it hands out nothing.
    Deposed,
}

/// Where one channel stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelStatus {
    /// The channel.
    pub channel: ChannelId,
    /// The epoch in use.
    pub current: Option<Epoch>,
    /// Whether its root is held, so that devices can be served.
    pub root_known: bool,
    /// What remains of it.
    pub remaining: Remaining,
    /// The next epoch, if it is prepared.
    pub next: Option<Epoch>,
    /// Whether the change to it is announced.
    pub announced: bool,
    /// Lanes handed out in the epoch in use.
    pub lanes: u8,
    /// Its delivery servers.
    pub servers: Vec<ServerStatus>,
}

/// Where one delivery server stands on a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerStatus {
    /// Which.
    pub server: ServerId,
    /// Whether its link is up.
    pub linked: bool,
    /// The epoch it sends under.
    pub current: Option<Epoch>,
    /// The epoch it holds for after it.
    pub next: Option<Epoch>,
    /// What its run has sealed.
    pub sent: Sent,
}

impl Authority {
    /// Where it stands, for display.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        let lead = match &self.phase {
            Phase::Collecting(collection) if collection.deposed => Lead::Deposed,
            Phase::Collecting(_) => Lead::Starting,
            Phase::Leading(term) => Lead::Leading(*term),
        };
        Status {
            lead,
            channels: self
                .channels
                .values()
                .map(|channel| channel.status(now))
                .collect(),
        }
    }
}

impl Channel {
    fn status(&self, now: Time) -> ChannelStatus {
        let current = self.current.as_ref();
        let server = |(id, server): (&ServerId, &Server)| ServerStatus {
            server: *id,
            linked: server.link.is_some(),
            current: server.current().map(|held| held.epoch),
            next: server
                .report
                .as_ref()
                .and_then(|report| report.next)
                .map(|held| held.epoch),
            sent: server
                .report
                .as_ref()
                .map_or_else(Sent::default, |report| report.sent),
        };
        ChannelStatus {
            channel: self.config.channel,
            current: current.map(|key| key.epoch),
            root_known: current.is_some_and(|key| key.root.is_some()),
            remaining: current.map_or(Remaining(0), |key| key.end.remaining(now)),
            next: self.next.as_ref().map(|key| key.epoch),
            announced: self.announcement.is_some(),
            lanes: current.map_or(0, |key| key.grants.used()),
            servers: self.servers.iter().map(server).collect(),
        }
    }
}
