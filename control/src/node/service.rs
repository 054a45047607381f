//! The authority's end of the node link.

use std::pin::Pin;

use sealcast_objects::api::Role;
use sealcast_objects::problem::Problem;
use sealcast_proto::authority::ConnId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::{convert, pb};
use crate::authority::{Handle, OUTBOX};
use crate::ca::Peer;
use crate::http::App;

/// The gRPC service.
#[derive(Clone, Debug)]
pub(crate) struct Service(pub(crate) App);

type Outgoing = Pin<Box<dyn Stream<Item = Result<pb::FromAuthority, Status>> + Send>>;

#[tonic::async_trait]
impl pb::node_link_server::NodeLink for Service {
    type LinkStream = Outgoing;

    async fn link(
        &self,
        request: Request<Streaming<pb::ToAuthority>>,
    ) -> Result<Response<Outgoing>, Status> {
        let peer = Peer::asking(request.extensions());
        let Some(peer) = peer.filter(|peer| peer.role == Role::Node) else {
            return Err(Status::unauthenticated(
                "the node link needs the certificate of a delivery server: enrol with `sealcast node enrol`",
            ));
        };
        let refused = |problem: Problem| Status::permission_denied(problem.detail);
        let node = self.0.authenticate_node(&peer).await.map_err(refused)?;
        let authority = self.0.authority().clone();
        let (conn, server) = (authority.conn(), node.server);
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        authority
            .connected(conn, node, outbox)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        // What was taken away after the first look and before the authority knew of the link cut nothing: looked at again.
        if let Err(problem) = self.0.authenticate_node(&peer).await {
            let _ = authority.disconnected(conn).await;
            return Err(refused(problem));
        }
        tracing::info!(server, "a delivery server has linked up");
        tokio::spawn(read(authority, conn, server, request.into_inner()));
        let outgoing =
            ReceiverStream::new(outgoing).map(|frame| Ok(convert::from_from_authority(frame)));
        Ok(Response::new(Box::pin(outgoing)))
    }
}

/// Passes on what a node says, until it or the authority ends the link.
async fn read(
    authority: Handle,
    conn: ConnId,
    server: u32,
    mut incoming: Streaming<pb::ToAuthority>,
) {
    let why = loop {
        match incoming.message().await {
            Ok(Some(message)) => match convert::to_authority(message) {
                Ok(frame) => {
                    if authority.message(conn, frame.message).await.is_err() {
                        break "the key server is stopping".to_owned();
                    }
                }
                Err(error) => break error.to_string(),
            },
            Ok(None) => break "it said goodbye".to_owned(),
            Err(status) => break status.message().to_owned(),
        }
    };
    tracing::info!(server, why, "the link of a delivery server has ended");
    let _ = authority.disconnected(conn).await;
}
