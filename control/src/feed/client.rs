//! A slave's end of the feed: links up to one parent after the other until one is there, and passes messages both ways.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rustls::ClientConfig;
use sealcast_proto::wire::feed::{FromParent, ToParent};
use sealcast_proto::wire::link::Frame;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Uri;

use super::{convert, pb};
use crate::dial::{CONNECT, address, connect};

/// First pause before linking up again; doubled up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A link that lasted this long was a good one: the same parent is tried first.
const GOOD: Duration = Duration::from_secs(10);
/// Messages that may wait for the connection.
const OUTBOX: usize = 1024;

/// An address that is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no address of a key server: it looks like https://keys.example:8443")]
pub struct WrongUrl(String);

/// Where the feed comes from: the master, or slaves, in the order in which they are tried.
#[derive(Clone, Debug)]
pub struct Parents(Vec<Uri>);

impl Parents {
    /// These, https://HOST:PORT each.
    ///
    /// # Errors
    /// Which is none.
    pub fn new(urls: &[String]) -> Result<Self, WrongUrl> {
        let uri = |url: &String| address(url).ok_or_else(|| WrongUrl(url.clone()));
        Ok(Self(urls.iter().map(uri).collect::<Result<_, _>>()?))
    }
}

/// What the link tells.
pub(super) enum LinkEvent {
    Up(String),
    Down,
    Message(Box<Frame<FromParent>>),
}

/// The client's ends of the way to the slave's task.
pub(super) struct Client<T> {
    pub(super) parents: Parents,
    /// Makes the configuration of a connection anew each time, since certificates are renewed.
    pub(super) tls: T,
    /// What the slave says.
    pub(super) outbound: mpsc::Receiver<Frame<ToParent>>,
    pub(super) events: mpsc::Sender<LinkEvent>,
    /// The slave gives up the link.
    pub(super) dropped: Arc<Notify>,
}

impl<T: Fn() -> Arc<ClientConfig>> Client<T> {
    /// Runs until the slave's task is gone.
    pub(super) async fn run(mut self) {
        let (mut at, mut pause, mut told) = (0, PAUSE, false);
        let mut rng = crate::rng();
        while !self.events.is_closed() {
            let uri = self.parents.0[at % self.parents.0.len()].clone();
            let began = tokio::time::Instant::now();
            match self.link(&uri).await {
                Ok(why) => {
                    told = false;
                    tracing::warn!(%uri, why, "the link to the parent is down");
                    let _ = self.events.send(LinkEvent::Down).await;
                }
                Err(error) if !std::mem::replace(&mut told, true) => {
                    tracing::warn!(%uri, error, "no link to this parent; trying again, and the others");
                }
                Err(error) => tracing::debug!(%uri, error, "no link to this parent"),
            }
            if began.elapsed() >= GOOD {
                pause = PAUSE;
            } else {
                at += 1;
            }
            let rest = pause + pause.mul_f64(rng.random_range(0.0..0.5));
            // What is said while there is no link is said again when there is one.
            let drain = async { while self.outbound.recv().await.is_some() {} };
            tokio::select! {
                () = drain => return,
                () = sleep(rest) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One link, until it ends. What comes out says why.
    async fn link(&mut self, uri: &Uri) -> Result<String, String> {
        let channel = connect(uri, (self.tls)()).await?;
        let mut client = pb::feed_client::FeedClient::new(channel);
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        let answered = timeout(CONNECT, client.follow(ReceiverStream::new(outgoing))).await;
        let answered = answered.map_err(|_| "no answer".to_owned())?;
        let refused = |status: tonic::Status| status.message().to_owned();
        let mut incoming = answered.map_err(refused)?.into_inner();
        tracing::info!(%uri, "linked to a parent");
        let up = LinkEvent::Up(uri.to_string());
        let gone = || "this server is stopping".to_owned();
        // One that was given up when it had ended already.
        let _ = timeout(Duration::ZERO, self.dropped.notified()).await;
        self.events.send(up).await.map_err(|_| gone())?;
        loop {
            tokio::select! {
                () = self.dropped.notified() => return Ok("given up".to_owned()),
                said = self.outbound.recv() => match said {
                    None => return Ok(gone()),
                    Some(frame) => {
                        if outbox.try_send(convert::from_to_parent(frame)).is_err() {
                            return Ok("it does not take what is said".to_owned());
                        }
                    }
                },
                heard = incoming.message() => {
                    let frame = match heard {
                        Ok(Some(message)) => convert::from_parent(message),
                        Ok(None) => return Ok("the parent ended it".to_owned()),
                        Err(status) => return Ok(refused(status)),
                    };
                    let frame = match frame {
                        Ok(frame) => Box::new(frame),
                        Err(error) => return Ok(error.to_string()),
                    };
                    if self.events.send(LinkEvent::Message(frame)).await.is_err() {
                        return Ok(gone());
                    }
                }
            }
        }
    }
}
