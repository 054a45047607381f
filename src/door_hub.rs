//! A device's one session with the key doors, shared by its channels: routes answers to the channel they are for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use sealcast_dataplane::link::{KeyEvent, KeyLink};
use sealcast_net::clock;
use sealcast_net::mailbox::{Sender, mailbox};
use sealcast_objects::api::Role;
use sealcast_objects::id::Text;
use sealcast_proto::ids::{ChannelId, DeviceId, Time};
use sealcast_proto::key_block;
use sealcast_proto::wire::door::Wanted;
use sealcast_terminal::doors::DoorClient;
use sealcast_terminal::identity::Identity;
use sealcast_terminal::keeper::Event;
use tokio::sync::{Notify, mpsc};

/// Requests of all channels that may wait.
const CAPACITY: usize = 1024;

#[derive(Debug, Default)]
struct Routes {
    channels: BTreeMap<ChannelId, Sender<KeyEvent>>,
    /// What every channel must know, for those that come later.
    reachable: bool,
    authority: Option<KeyEvent>,
    paths: BTreeMap<ChannelId, Box<key_block::Path>>,
}

/// The session of a process.
#[derive(Debug)]
pub struct DoorHub {
    device: DeviceId,
    routes: Arc<Mutex<Routes>>,
    /// Channels that the session is for.
    wanted: Arc<Mutex<Vec<u16>>>,
    changed: Arc<Notify>,
    requests: Option<Sender<Wanted>>,
    thread: Option<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DoorHub {
    /// Starts opening a session with the identity in `file` for `channels`; the key server need not run yet.
    ///
    /// # Errors
    /// When the identity cannot be used.
    pub fn connect(file: &Path, channels: Vec<u16>) -> Result<Self> {
        let identity = Identity::load(file, Role::Device)?;
        let Text(device) = identity
            .subject
            .parse()
            .with_context(|| format!("{} names no device", file.display()))?;
        identity
            .tls()
            .with_context(|| format!("{} cannot be used", file.display()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let routes = Arc::new(Mutex::new(Routes::default()));
        let wanted = Arc::new(Mutex::new(channels));
        let (requests, mut outbound) = mailbox::<Wanted>(CAPACITY);
        let (forward, forwarded) = mpsc::channel(CAPACITY);
        let changed = Arc::new(Notify::new());
        let client = DoorClient {
            changed: Arc::clone(&changed),
            identity,
            file: file.to_path_buf(),
            channels: Arc::clone(&wanted),
            requests: forwarded,
        };
        let told = Arc::clone(&routes);
        let thread = std::thread::Builder::new()
            .name("key-doors".into())
            .spawn(move || {
                let pass_on = async move {
                    while let Some(wanted) = outbound.recv().await {
                        if forward.send(wanted).await.is_err() {
                            return;
                        }
                    }
                };
                let run = client.run(|| Time(clock::boottime()), |event| route(&told, event));
                runtime.block_on(async { tokio::join!(run, pass_on) });
            })?;
        Ok(Self {
            device,
            routes,
            wanted,
            changed,
            requests: Some(requests),
            thread: Some(thread),
        })
    }

    /// Which device this is.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Joins a channel to the session.
    #[must_use]
    pub fn attach(&self, channel: ChannelId) -> KeyLink {
        let requests = self.requests.as_ref().expect("there until it is dropped");
        let (link, events) = KeyLink::new(requests.clone());
        let mut wanted = lock(&self.wanted);
        if !wanted.contains(&channel.0) {
            wanted.push(channel.0);
            self.changed.notify_one();
        }
        let mut routes = lock(&self.routes);
        if let Some(authority) = &routes.authority {
            let _ = events.try_send(authority.clone());
        }
        if let Some(path) = routes.paths.get(&channel) {
            let _ = events.try_send(KeyEvent::Path(path.clone()));
        }
        let _ = events.try_send(KeyEvent::Reachable(routes.reachable));
        routes.channels.insert(channel, events);
        link
    }
}

impl Drop for DoorHub {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn route(routes: &Mutex<Routes>, event: Event) {
    let mut routes = lock(routes);
    let one = |routes: &Routes, channel: ChannelId, event: KeyEvent| {
        if let Some(events) = routes.channels.get(&channel) {
            let _ = events.try_send(event);
        }
    };
    let all = |routes: &Routes, event: KeyEvent| {
        for events in routes.channels.values() {
            let _ = events.try_send(event.clone());
        }
    };
    match event {
        Event::Granted(granted, asked) => {
            let channel = granted.channel;
            one(&routes, channel, KeyEvent::Granted(granted, asked));
        }
        Event::Refused(refused) => one(&routes, refused.channel, KeyEvent::Refused(refused)),
        Event::Reachable(reachable) => {
            routes.reachable = reachable;
            all(&routes, KeyEvent::Reachable(reachable));
        }
        Event::Renewed(authority, successor) => {
            let event = KeyEvent::Authority(authority, successor);
            routes.authority = Some(event.clone());
            all(&routes, event);
            all(&routes, KeyEvent::Renewed);
        }
        Event::Path(channel, path) => {
            one(&routes, channel, KeyEvent::Path(path.clone()));
            routes.paths.insert(channel, path);
        }
    }
}
