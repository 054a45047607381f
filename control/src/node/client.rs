//! A delivery server's end of the node link: connects, connects again with back-off, and passes messages both ways. Whatever
//! the link does, the sender goes on by the hold rule.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rustls::ClientConfig;
use sealcast_net::mailbox::Receiver;
use sealcast_proto::wire::link::{Frame, FromAuthority, ToAuthority};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Uri;

use super::{convert, pb};
use crate::dial::{CONNECT, address, connect};

/// First pause before connecting again; doubled up to [`PAUSE_MAX`]. Delivery servers are few, and keys wait for them.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// What is under way at the end gets this long.
const GOODBYE: Duration = Duration::from_millis(500);
/// Messages that may wait for the connection.
const OUTBOX: usize = 4096;

/// What the link tells.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// Connected (again).
    Up,
    /// Connection lost.
    Down,
    /// A message of the authority.
    Message(Box<Frame<FromAuthority>>),
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address of the key server cannot be.
    #[error("{0:?} is no address of a key server: it looks like https://keys.example:8443")]
    Url(String),
    /// It cannot be reached, or TLS fails.
    #[error("connecting: {0}")]
    Connect(String),
    /// It refuses, or the link broke.
    #[error("{}", .0.message())]
    Refused(Box<tonic::Status>),
    /// It says what cannot be read.
    #[error(transparent)]
    Unreadable(#[from] convert::Unreadable),
}

/// Keeps the link up until the mailbox's senders are gone. `tls` makes the configuration of a connection anew each time, since
/// certificates are renewed; `events` gets what the link tells; `failed` hears why a try failed, once per outage.
///
/// # Errors
/// [`LinkError::Url`] at once; everything else is tried again.
pub async fn run(
    url: &str,
    tls: impl Fn() -> Arc<ClientConfig>,
    mut outbound: Receiver<Frame<ToAuthority>>,
    mut events: impl FnMut(NodeEvent),
    failed: impl AsyncFn(&LinkError),
) -> Result<(), LinkError> {
    let uri = address(url).ok_or_else(|| LinkError::Url(url.to_owned()))?;
    let mut pause = PAUSE;
    let mut told = false;
    let mut rng = crate::rng();
    loop {
        let linked = link(&uri, tls(), &mut outbound, &mut events, || pause = PAUSE).await;
        match linked {
            Ok(Ended::Done) => return Ok(()),
            Ok(Ended::Lost(error)) => {
                events(NodeEvent::Down);
                told = false;
                tracing::warn!(%error, "the link to the key server is down; keys held stay in use, by the hold rule");
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    failed(&error).await;
                }
            }
        }
        // What is said while there is no link is dropped: it is said again when there is one.
        let rest = pause + pause.mul_f64(rng.random_range(0.0..0.5));
        let drain = async { while outbound.recv().await.is_some() {} };
        tokio::select! {
            () = drain => return Ok(()),
            () = sleep(rest) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

enum Ended {
    /// Nobody has anything to say any more.
    Done,
    Lost(LinkError),
}

async fn link(
    uri: &Uri,
    tls: Arc<ClientConfig>,
    outbound: &mut Receiver<Frame<ToAuthority>>,
    events: &mut impl FnMut(NodeEvent),
    up: impl FnOnce(),
) -> Result<Ended, LinkError> {
    let channel = connect(uri, tls).await.map_err(LinkError::Connect)?;
    let mut client = pb::node_link_client::NodeLinkClient::new(channel);
    let (outbox, outgoing) = mpsc::channel(OUTBOX);
    let refused = |status: tonic::Status| LinkError::Refused(Box::new(status));
    let answered = timeout(CONNECT, client.link(ReceiverStream::new(outgoing))).await;
    let answered = answered.map_err(|_| LinkError::Connect("no answer".to_owned()))?;
    let mut incoming = answered.map_err(refused)?.into_inner();
    up();
    tracing::info!(%uri, "linked to the key server");
    events(NodeEvent::Up);
    loop {
        tokio::select! {
            said = outbound.recv() => match said {
                None => {
                    // Goodbye: the server ends its half when ours has ended.
                    drop(outbox);
                    let _ = timeout(GOODBYE, async {
                        while let Ok(Some(_)) = incoming.message().await {}
                    })
                    .await;
                    return Ok(Ended::Done);
                }
                Some(frame) => {
                    // What a link that is stuck does not take is said again.
                    let _ = outbox.try_send(convert::from_to_authority(frame));
                }
            },
            heard = incoming.message() => {
                let frame = match heard {
                    Ok(Some(message)) => convert::from_authority(message),
                    Ok(None) => return Ok(Ended::Lost(LinkError::Connect("the key server ended the link".to_owned()))),
                    Err(status) => return Ok(Ended::Lost(refused(status))),
                };
                match frame {
                    Ok(frame) => events(NodeEvent::Message(Box::new(frame))),
                    Err(error) => return Ok(Ended::Lost(error.into())),
                }
            }
        }
    }
}
