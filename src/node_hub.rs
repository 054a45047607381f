//! A delivery server's one link to the key server, shared by its channels: routes what comes in to the channel it is for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::ClientConfig;
use sealcast_control::node::{self, LinkError, NodeEvent};
use sealcast_dataplane::link::{ChannelLink, LinkEvent};
use sealcast_net::mailbox::{Sender, mailbox};
use sealcast_objects::api::Role;
use sealcast_proto::ids::{ChannelId, ServerId};
use sealcast_proto::wire::control::{Notice, Unverified};
use sealcast_proto::wire::link::{Frame, FromAuthority, ToAuthority};
use sealcast_terminal::identity::Identity;
use sealcast_terminal::{enrol, https};

/// Messages of all channels that may wait for the link.
const CAPACITY: usize = 4096;
/// How often the certificate's age is looked at.
const RENEWAL: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
struct Routes {
    channels: BTreeMap<ChannelId, Sender<LinkEvent>>,
    up: bool,
}

/// The link of a process.
#[derive(Debug)]
pub struct NodeHub {
    server: ServerId,
    routes: Arc<Mutex<Routes>>,
    messages: Option<Sender<Frame<ToAuthority>>>,
    thread: Option<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NodeHub {
    /// Starts connecting with the identity in `file`; the key server need not run yet.
    ///
    /// # Errors
    /// When the identity cannot be used.
    pub fn connect(file: &Path) -> Result<Self> {
        let identity = Identity::load(file, Role::Node)?;
        let server = identity
            .subject
            .parse()
            .with_context(|| format!("{} names no delivery server", file.display()))?;
        let tls = identity
            .tls()
            .with_context(|| format!("{} cannot be used", file.display()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let routes = Arc::new(Mutex::new(Routes::default()));
        let (messages, outbound) = mailbox(CAPACITY);
        let (told, file) = (Arc::clone(&routes), file.to_path_buf());
        let tls = Arc::new(Mutex::new(Arc::new(tls)));
        let thread = std::thread::Builder::new()
            .name("node-link".into())
            .spawn(move || {
                let url = identity.server.clone();
                let (current, renewed) = (Arc::clone(&tls), tls);
                let link = node::run(
                    &url,
                    || Arc::clone(&lock(&current)),
                    outbound,
                    |event| route(&told, event),
                    async |error: &LinkError| tell_failure(&url, error).await,
                );
                let renewal = keep_renewed(identity, file, renewed);
                runtime.block_on(async {
                    tokio::select! {
                        ended = link => if let Err(error) = ended {
                            tracing::error!(%error, "no link to the key server");
                        },
                        () = renewal => {}
                    }
                });
            })?;
        Ok(Self {
            server: ServerId(server),
            routes,
            messages: Some(messages),
            thread: Some(thread),
        })
    }

    /// Which delivery server this is.
    #[must_use]
    pub fn server(&self) -> ServerId {
        self.server
    }

    /// Joins a channel to the link.
    #[must_use]
    pub fn attach(&self, channel: ChannelId) -> ChannelLink {
        let messages = self.messages.as_ref().expect("there until it is dropped");
        let (link, events) = ChannelLink::new(messages.clone());
        let mut routes = lock(&self.routes);
        if routes.up {
            let _ = events.try_send(LinkEvent::Up);
        }
        routes.channels.insert(channel, events);
        link
    }
}

impl Drop for NodeHub {
    fn drop(&mut self) {
        // The link ends when nobody can say anything any more; channels have ended before.
        drop(self.messages.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn tell_failure(url: &str, error: &LinkError) {
    let text = error.to_string();
    let why = https::diagnose(url, &text).await;
    tracing::warn!(
        server = url,
        "no link to the key server: {why}; trying again"
    );
}

fn route(routes: &Mutex<Routes>, event: NodeEvent) {
    let mut routes = lock(routes);
    let all = |routes: &Routes, event: &LinkEvent| {
        for events in routes.channels.values() {
            let _ = events.try_send(event.clone());
        }
    };
    match event {
        NodeEvent::Up => {
            routes.up = true;
            all(&routes, &LinkEvent::Up);
        }
        NodeEvent::Down => {
            routes.up = false;
            all(&routes, &LinkEvent::Down);
        }
        NodeEvent::Message(frame) => match channel_of(&frame.message) {
            None => all(&routes, &LinkEvent::Message(frame)),
            Some(channel) => {
                if let Some(events) = routes.channels.get(&channel) {
                    let _ = events.try_send(LinkEvent::Message(frame));
                }
            }
        },
    }
}

/// The channel that a message is for; `None`: all.
fn channel_of(message: &FromAuthority) -> Option<ChannelId> {
    Some(match message {
        FromAuthority::Welcome(_) | FromAuthority::Pong(_) => return None,
        FromAuthority::CipherHalf(half) => half.channel,
        FromAuthority::Notice(relay) => {
            Unverified::<Notice>::parse(&relay.datagram)
                .ok()?
                .claimed()
                .channel
        }
        FromAuthority::Number(number) => number.channel,
        FromAuthority::Deposited(deposited) => deposited.channel,
        FromAuthority::Settings(settings) => settings.channel,
        FromAuthority::BlockPart(part) => part.channel,
    })
}

/// Renews the certificate in time and keeps it in the identity's file.
async fn keep_renewed(mut identity: Identity, file: PathBuf, tls: Arc<Mutex<Arc<ClientConfig>>>) {
    loop {
        if enrol::is_due(&identity) {
            match enrol::renew(&mut identity).await {
                Ok(()) => {
                    tracing::info!(until = %identity.until, "certificate renewed");
                    if let Err(error) = identity.save(&file) {
                        tracing::warn!(%error, "the renewed certificate is not kept");
                    }
                    if let Ok(config) = identity.tls() {
                        *lock(&tls) = Arc::new(config);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the certificate could not be renewed; trying again");
                }
            }
        }
        tokio::time::sleep(RENEWAL).await;
    }
}
