//! A process's one link to the authority, shared by its channels. Connects, reconnects with back-off, and routes what comes
//! in to the channel it is for.

use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sealcast_dataplane::link::{ChannelLink, LinkEvent};
use sealcast_net::mailbox::{Receiver, Sender, mailbox};
use sealcast_proto::ids::ChannelId;
use sealcast_proto::wire::control::{Notice, Unverified};
use sealcast_proto::wire::link::{Frame, FromAuthority, ToAuthority};

use super::frame;

/// Messages of all channels that may wait for the socket.
const CAPACITY: usize = 4096;
/// First pause before connecting again; doubled up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct Routes {
    channels: BTreeMap<ChannelId, Sender<LinkEvent>>,
    /// The open connection.
    stream: Option<UnixStream>,
}

/// The link of a process.
#[derive(Debug)]
pub struct Hub {
    routes: Arc<Mutex<Routes>>,
    stop: Arc<AtomicBool>,
    messages: Sender<Frame<ToAuthority>>,
    reader: Option<JoinHandle<()>>,
}

fn lock(routes: &Mutex<Routes>) -> MutexGuard<'_, Routes> {
    routes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Starts connecting to the Unix socket at `path`; it need not exist yet.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let routes = Arc::new(Mutex::new(Routes::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (messages, outbound) = mailbox(CAPACITY);
        let reader = {
            let (routes, stop, path) = (Arc::clone(&routes), Arc::clone(&stop), path.to_path_buf());
            thread::Builder::new()
                .name("key-link-in".into())
                .spawn(move || keep_connected(&path, &routes, &stop))?
        };
        let routes_out = Arc::clone(&routes);
        thread::Builder::new()
            .name("key-link-out".into())
            .spawn(move || write_all(outbound, &routes_out))?;
        Ok(Self {
            routes,
            stop,
            messages,
            reader: Some(reader),
        })
    }

    /// Joins a channel to the link.
    #[must_use]
    pub fn attach(&self, channel: ChannelId) -> ChannelLink {
        let (link, events) = ChannelLink::new(self.messages.clone());
        let mut routes = lock(&self.routes);
        if routes.stream.is_some() {
            let _ = events.try_send(LinkEvent::Up);
        }
        routes.channels.insert(channel, events);
        link
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(stream) = &lock(&self.routes).stream {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        lock(&self.routes).channels.clear();
    }
}

/// Connects again and again, and reads while connected.
fn keep_connected(path: &PathBuf, routes: &Mutex<Routes>, stop: &AtomicBool) {
    let mut pause = PAUSE;
    let mut told = false;
    while !stop.load(Ordering::Acquire) {
        match UnixStream::connect(path).and_then(|stream| Ok((stream.try_clone()?, stream))) {
            Ok((writing, mut reading)) => {
                (pause, told) = (PAUSE, false);
                tracing::info!(path = %path.display(), "connected to the authority");
                lock(routes).stream = Some(writing);
                broadcast(routes, &LinkEvent::Up);
                let ended = read_all(&mut reading, routes);
                lock(routes).stream = None;
                broadcast(routes, &LinkEvent::Down);
                if !stop.load(Ordering::Acquire) {
                    tracing::warn!(path = %path.display(), error = ?ended.err(), "the link to the authority is down; keys held stay in use");
                }
            }
            Err(error) if !told => {
                told = true;
                tracing::warn!(path = %path.display(), %error, "the authority cannot be reached; start `sealcast keys --listen unix:{}`; trying again", path.display());
            }
            Err(_) => {}
        }
        if !stop.load(Ordering::Acquire) {
            thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

fn read_all(stream: &mut UnixStream, routes: &Mutex<Routes>) -> io::Result<()> {
    while let Some(frame) = frame::read::<Frame<FromAuthority>>(stream)? {
        let to = match &frame.message {
            FromAuthority::Welcome(_) | FromAuthority::Pong(_) => None,
            FromAuthority::CipherHalf(half) => Some(half.channel),
            FromAuthority::Notice(relay) => Unverified::<Notice>::parse(&relay.datagram)
                .ok()
                .map(|notice| notice.claimed().channel),
            FromAuthority::Number(number) => Some(number.channel),
            FromAuthority::Deposited(deposited) => Some(deposited.channel),
            FromAuthority::Granted(granted) => Some(granted.channel),
            FromAuthority::Refused(refused) => Some(refused.channel),
        };
        match to {
            None => broadcast(routes, &LinkEvent::Message(Box::new(frame))),
            Some(channel) => {
                let routes = lock(routes);
                if let Some(events) = routes.channels.get(&channel) {
                    let _ = events.try_send(LinkEvent::Message(Box::new(frame)));
                }
            }
        }
    }
    Ok(())
}

fn broadcast(routes: &Mutex<Routes>, event: &LinkEvent) {
    for events in lock(routes).channels.values() {
        let _ = events.try_send(event.clone());
    }
}

/// Writes what the channels say; what is said while there is no connection is dropped (it is said again).
fn write_all(mut outbound: Receiver<Frame<ToAuthority>>, routes: &Mutex<Routes>) {
    while let Some(message) = outbound.recv_blocking() {
        let stream = lock(routes)
            .stream
            .as_ref()
            .and_then(|stream| stream.try_clone().ok());
        if let Some(mut stream) = stream
            && frame::write(&mut stream, &message).is_err()
        {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
