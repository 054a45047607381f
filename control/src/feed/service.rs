//! The parent's end of the feed: admits slaves and passes messages both ways.

use std::pin::Pin;

use sealcast_objects::api::Role;
use sealcast_objects::code::sha256;
use sealcast_objects::problem::Problem;
use sealcast_proto::ids::{ConnId, SlaveId};
use sealcast_proto::wire::feed::{FromParent, SlaveKey, ToParent};
use sealcast_proto::wire::link::Frame;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::{convert, pb};
use crate::ca::Peer;

/// Messages that may wait for one slave; one that does not keep up is cut off and links up again.
const OUTBOX: usize = 4096;
/// A slave's longest message: what it holds of every channel.
const MESSAGE_MAX: usize = 2 << 20;

/// Who feeds slaves.
pub(crate) trait Parent: Clone + Send + Sync + 'static {
    /// A number for a new link.
    fn conn(&self) -> ConnId;

    /// A slave has linked up; what is for it goes to `outbox`, and the link ends with it.
    ///
    /// # Errors
    /// It may not be fed.
    fn linked(
        &self,
        conn: ConnId,
        peer: &Peer,
        key: SlaveKey,
        outbox: mpsc::Sender<Frame<FromParent>>,
    ) -> impl Future<Output = Result<(), Problem>> + Send;

    /// A slave said something; false: the link must end.
    fn message(&self, conn: ConnId, message: ToParent) -> impl Future<Output = bool> + Send;

    /// The link is gone.
    fn gone(&self, conn: ConnId) -> impl Future<Output = ()> + Send;
}

/// The slave whose certificate it is, if it is a slave's.
pub(crate) fn key_of(peer: &Peer) -> Option<SlaveKey> {
    let subject = Some(&peer.subject).filter(|_| peer.role == Role::Slave)?;
    Some(SlaveKey {
        slave: SlaveId(subject.parse().ok()?),
        key: sha256(&peer.public_key),
    })
}

/// The gRPC service of a parent.
pub(crate) fn service<P: Parent>(parent: P) -> pb::feed_server::FeedServer<Service<P>> {
    pb::feed_server::FeedServer::new(Service(parent)).max_decoding_message_size(MESSAGE_MAX)
}

#[derive(Clone, Debug)]
pub(crate) struct Service<P>(P);

type Outgoing = Pin<Box<dyn Stream<Item = Result<pb::FromParent, Status>> + Send>>;

#[tonic::async_trait]
impl<P: Parent> pb::feed_server::Feed for Service<P> {
    type FollowStream = Outgoing;

    async fn follow(
        &self,
        request: Request<Streaming<pb::ToParent>>,
    ) -> Result<Response<Outgoing>, Status> {
        let peer = Peer::asking(request.extensions());
        let slave = peer.and_then(|peer| Some((key_of(&peer)?, peer)));
        let Some((key, peer)) = slave else {
            return Err(Status::unauthenticated(
                "the feed needs the certificate of a slave: enrol with `sealcast slave enrol`",
            ));
        };
        let SlaveId(slave) = key.slave;
        let parent = self.0.clone();
        let (conn, (outbox, outgoing)) = (parent.conn(), mpsc::channel(OUTBOX));
        let linked = parent.linked(conn, &peer, key, outbox).await;
        linked.map_err(|problem| Status::permission_denied(problem.detail))?;
        tracing::info!(slave, "a slave has linked up");
        tokio::spawn(read(parent, conn, slave, request.into_inner()));
        let outgoing =
            ReceiverStream::new(outgoing).map(|frame| Ok(convert::from_from_parent(frame)));
        Ok(Response::new(Box::pin(outgoing)))
    }
}

/// Passes on what a slave says, until one side ends the link.
async fn read(
    parent: impl Parent,
    conn: ConnId,
    slave: u32,
    mut incoming: Streaming<pb::ToParent>,
) {
    let why = loop {
        match incoming.message().await {
            Ok(Some(message)) => match convert::to_parent(message) {
                Ok(frame) => {
                    if !parent.message(conn, frame.message).await {
                        break "this server ended it".to_owned();
                    }
                }
                Err(error) => break error.to_string(),
            },
            Ok(None) => break "it said goodbye".to_owned(),
            Err(status) => break status.message().to_owned(),
        }
    };
    tracing::info!(slave, why, "the link of a slave has ended");
    parent.gone(conn).await;
}
