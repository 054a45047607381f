//! Keys without servers: the protocol's own authority on a thread of this process, for channels that send and receive in it. Epochs
//! are announced, acknowledged and changed as by a key server; nothing is stored, nobody is asked for rights.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_crypto::{SigningKey, VerifyingKey};
use sealcast_dataplane::link::{ChannelLink, KeyEvent, KeyLink, LinkEvent};
use sealcast_net::clock;
use sealcast_net::mailbox::{Receiver, SendError, Sender, mailbox};
use sealcast_proto::authority::{
    Authority, ChannelConfig, Config, ConnId, Keys, Output, SlaveQuorum, Stored,
};
use sealcast_proto::door::{Served, Update};
use sealcast_proto::ids::{ChannelId, Remaining, Time};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::control::AuthLevel;
use sealcast_proto::wire::door::{Reason, Refused, Wanted};
use sealcast_proto::wire::link::{Frame, Mode, ToAuthority};

/// How often the authority looks for messages: far shorter than any key time.
const TICK: Duration = Duration::from_millis(2);
/// Messages of a channel that may wait.
const WAITING: usize = 256;
/// Channels that may wait to be joined.
const JOINS: usize = 4096;

/// A channel's end that joins.
enum Join {
    Sends(ChannelId, Sender<LinkEvent>, Receiver<Frame<ToAuthority>>),
    Receives(ChannelId, Sender<KeyEvent>, Receiver<Wanted>),
}

/// The authority of this process. Dropping it ends it; channels then hold.
#[derive(Debug)]
pub struct LocalKeys {
    joins: Sender<JoinBox>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A join that knows nothing of `Debug`.
struct JoinBox(Join);

impl std::fmt::Debug for JoinBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JoinBox(..)")
    }
}

impl LocalKeys {
    /// An authority of `channels`, all with the same key times and auth level.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start(
        channels: impl IntoIterator<Item = ChannelId>,
        timing: Timing,
        auth: AuthLevel,
        mut rng: impl CryptoRng + Send + 'static,
    ) -> io::Result<Self> {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let signing = SigningKey::from_seed(&seed);
        let key = signing.verifying_key();
        let config = Config {
            keys: Keys::single(signing),
            channels: channels
                .into_iter()
                .map(|channel| ChannelConfig {
                    channel,
                    mode: Mode::Authority,
                    timing,
                    auth,
                })
                .collect(),
            start_wait: Duration::ZERO,
            known_servers: Vec::new(),
            slaves: SlaveQuorum::default(),
        };
        let (joins, mut joining) = mailbox(JOINS);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || {
            let mut keeper = Keeper {
                authority: Authority::start(config, Stored::default(), now()),
                key,
                rng: Box::new(rng),
                connections: 0,
                senders: BTreeMap::new(),
                receivers: Vec::new(),
                served: BTreeMap::new(),
                out: Vec::new(),
            };
            while !stopped.load(Ordering::Relaxed) {
                while let Some(JoinBox(join)) = joining.try_recv() {
                    keeper.join(join);
                }
                keeper.turn(now());
                thread::sleep(TICK);
            }
        };
        let thread = thread::Builder::new()
            .name("local-keys".into())
            .spawn(run)?;
        Ok(Self {
            joins,
            stop,
            thread: Some(thread),
        })
    }

    /// Joins a sending channel.
    #[must_use]
    pub fn sends(&self, channel: ChannelId) -> ChannelLink {
        let (messages, inbox) = mailbox(WAITING);
        let (link, events) = ChannelLink::new(messages);
        self.join(Join::Sends(channel, events, inbox));
        link
    }

    /// Joins a receiving channel.
    #[must_use]
    pub fn receives(&self, channel: ChannelId) -> KeyLink {
        let (messages, inbox) = mailbox(WAITING);
        let (link, events) = KeyLink::new(messages);
        self.join(Join::Receives(channel, events, inbox));
        link
    }

    fn join(&self, join: Join) {
        let _ = self.joins.send_blocking(JoinBox(join));
    }
}

impl Drop for LocalKeys {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn now() -> Time {
    Time(clock::boottime())
}

/// A sending channel's connection.
struct Connection {
    channel: ChannelId,
    events: Sender<LinkEvent>,
    inbox: Receiver<Frame<ToAuthority>>,
}

/// What runs on the thread.
struct Keeper {
    authority: Authority,
    key: VerifyingKey,
    rng: Box<dyn CryptoRng>,
    /// Connections so far: no number is used twice.
    connections: u64,
    senders: BTreeMap<ConnId, Connection>,
    receivers: Vec<(ChannelId, Sender<KeyEvent>, Receiver<Wanted>)>,
    served: BTreeMap<ChannelId, Served>,
    out: Vec<Output>,
}

impl Keeper {
    fn join(&mut self, join: Join) {
        match join {
            Join::Sends(channel, events, inbox) => {
                self.part_with(|connection| connection.channel == channel);
                self.connections += 1;
                let _ = events.try_send(LinkEvent::Up);
                let connection = Connection {
                    channel,
                    events,
                    inbox,
                };
                self.senders.insert(ConnId(self.connections), connection);
            }
            Join::Receives(channel, events, inbox) => {
                let _ = events.try_send(KeyEvent::Authority(self.key, None));
                let _ = events.try_send(KeyEvent::Reachable(true));
                self.receivers.retain(|(other, ..)| *other != channel);
                self.receivers.push((channel, events, inbox));
            }
        }
    }

    /// Forgets connections.
    fn part_with(&mut self, gone: impl Fn(&Connection) -> bool) {
        let authority = &mut self.authority;
        self.senders.retain(|&conn, connection| {
            let gone = gone(connection);
            if gone {
                authority.disconnected(conn);
            }
            !gone
        });
    }

    fn turn(&mut self, now: Time) {
        for (&conn, connection) in &mut self.senders {
            while let Some(frame) = connection.inbox.try_recv() {
                let (rng, out) = (self.rng.as_mut(), &mut self.out);
                self.authority.handle(now, conn, frame.message, rng, out);
            }
        }
        self.authority.poll(now, self.rng.as_mut(), &mut self.out);
        let mut gone = Vec::new();
        for output in std::mem::take(&mut self.out) {
            match output {
                Output::Send(conn, message) => {
                    let frame = Box::new(Frame { sent: now, message });
                    if let Some(connection) = self.senders.get(&conn)
                        && let Err(SendError::Closed(_)) =
                            connection.events.try_send(LinkEvent::Message(frame))
                    {
                        gone.push(connection.channel);
                    }
                }
                Output::Door(Update::Channel(served)) => {
                    self.served.insert(served.channel, *served);
                }
                // Nothing outlives this process, and alarms show in what channels say of themselves.
                Output::Store | Output::Door(_) | Output::Leads(_) | Output::Event(_) => {}
            }
        }
        self.part_with(|connection| gone.contains(&connection.channel));
        for (channel, events, inbox) in &mut self.receivers {
            while let Some(wanted) = inbox.try_recv() {
                let granted = self
                    .served
                    .get(channel)
                    .map(|served| served.grant(now, &wanted, self.rng.as_mut()));
                let (reason, retry_after) = match granted {
                    Some(Ok(granted)) => {
                        let _ = events.try_send(KeyEvent::Granted(Box::new(granted), now));
                        continue;
                    }
                    Some(Err(why)) => why,
                    None => (Reason::EpochUnavailable, Remaining::from(TICK)),
                };
                let _ = events.try_send(KeyEvent::Refused(Refused {
                    number: wanted.number,
                    channel: *channel,
                    reason,
                    retry_after,
                }));
            }
        }
    }
}
