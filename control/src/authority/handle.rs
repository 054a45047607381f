//! The way to the authority's task, for everybody who has something to say to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sealcast_crypto::CENC_KEY_LEN;
use sealcast_objects::api::Node;
use sealcast_proto::authority::{ChannelConfig, ConnId, Keys, NotEarly, SlaveQuorum, Status};
use sealcast_proto::feed::Up;
use sealcast_proto::ids::{ChannelId, ServerId};
use sealcast_proto::wire::link::{Frame, FromAuthority, ToAuthority};
use tokio::sync::{mpsc, oneshot};

use super::{CencKeys, Event, Haste, Health};

/// The way to the authority.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) health: Arc<Health>,
    pub(super) conns: Arc<AtomicU64>,
}

/// The authority is gone: the server is stopping.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the key server is stopping")]
pub struct Stopping;

impl Handle {
    /// A number for a new link.
    #[must_use]
    pub fn conn(&self) -> ConnId {
        ConnId(self.conns.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Alarms and totals.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    async fn send(&self, event: Event) -> Result<(), Stopping> {
        self.events.send(event).await.map_err(|_| Stopping)
    }

    /// A node has linked up; what is for it goes to `outbox`.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn connected(
        &self,
        conn: ConnId,
        node: Node,
        outbox: mpsc::Sender<Frame<FromAuthority>>,
    ) -> Result<(), Stopping> {
        self.send(Event::Connected { conn, node, outbox }).await
    }

    /// A node said something.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn message(&self, conn: ConnId, message: ToAuthority) -> Result<(), Stopping> {
        self.send(Event::Message(conn, message)).await
    }

    /// A link is gone.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn disconnected(&self, conn: ConnId) -> Result<(), Stopping> {
        self.send(Event::Disconnected(conn)).await
    }

    /// Links of this delivery server end: it has enrolled anew.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn unlink(&self, server: ServerId) -> Result<(), Stopping> {
        self.send(Event::Unlink(server)).await
    }

    /// These are the nodes from here on.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn set_nodes(&self, nodes: Vec<Node>) -> Result<(), Stopping> {
        self.send(Event::Nodes(nodes)).await
    }

    /// These are the channels from here on.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn set_channels(&self, channels: Vec<ChannelConfig>) -> Result<(), Stopping> {
        self.send(Event::Channels(channels)).await
    }

    /// These are the authority's keys from here on.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn set_keys(&self, keys: Keys) -> Result<(), Stopping> {
        self.send(Event::Keys(Box::new(keys))).await
    }

    /// These are the slaves from here on.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn set_slaves(&self, slaves: SlaveQuorum) -> Result<(), Stopping> {
        self.send(Event::Slaves(slaves)).await
    }

    /// What is heard of a slave.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn slave(&self, up: Up) -> Result<(), Stopping> {
        self.send(Event::Slave(up)).await
    }

    /// The epoch in use of a channel ends before its time.
    ///
    /// # Errors
    /// [`Stopping`], and inside it why there is nothing to end.
    pub async fn early(
        &self,
        channel: ChannelId,
        haste: Haste,
    ) -> Result<Result<(), NotEarly>, Stopping> {
        let (answer, answered) = oneshot::channel();
        self.send(Event::Early(channel, haste, answer)).await?;
        answered.await.map_err(|_| Stopping)
    }

    /// A key for a packager under each of these ids, from the root in use.
    ///
    /// # Errors
    /// [`Stopping`], and inside it why there are none.
    pub async fn cenc_keys(
        &self,
        channel: ChannelId,
        kids: Vec<[u8; CENC_KEY_LEN]>,
    ) -> Result<CencKeys, Stopping> {
        let (answer, answered) = oneshot::channel();
        self.send(Event::CencKeys(channel, kids, answer)).await?;
        answered.await.map_err(|_| Stopping)
    }

    /// Where it stands.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn status(&self) -> Result<Status, Stopping> {
        let (answer, answered) = oneshot::channel();
        self.send(Event::Status(answer)).await?;
        answered.await.map_err(|_| Stopping)
    }
}
