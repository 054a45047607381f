//! Owns the authority of the channels: one task decides, makes durable what must be, and only then lets go of what depends
//! on it.

mod blocks;
mod handle;
mod log;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_crypto::{CENC_KEY_LEN, CencKey};
use sealcast_domain::Error;
use sealcast_net::clock;
use sealcast_objects::api::Node;
use sealcast_proto::authority::{
    Authority, ChannelConfig, Config, ConnId, Keys, NoCencKeys, NotEarly, Output, SlaveQuorum,
    Status, Stored,
};
use sealcast_proto::door::{Served, Update};
use sealcast_proto::feed::Up;
use sealcast_proto::ids::{ChannelId, Epoch, ServerId, Time};
use sealcast_proto::wire::link::{Frame, FromAuthority, ToAuthority};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

pub use blocks::BlockStatus;
use blocks::{Blocks, Told};
pub use handle::{Handle, Stopping};

use crate::feed::Publisher;
use crate::key_blocks::{self, Made};
use crate::store::Store;
use crate::vault::{NotOurs, Vault};

/// Messages of all nodes that may wait.
const INBOX: usize = 4096;
/// Messages that may wait for one node; one that does not keep up is cut off.
pub const OUTBOX: usize = 1024;
/// Pause before writing again to a store that cannot.
const RETRY: Duration = Duration::from_millis(500);

/// Why the authority cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// A root does not open.
    #[error(transparent)]
    Secret(#[from] NotOurs),
    /// A row that cannot be.
    #[error("what the store holds of channel {0} cannot be read: restore a backup")]
    Damaged(u16),
}

/// How an epoch ends before its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Haste {
    /// A change that is announced already stands.
    Early,
    /// Another one takes its place, if there is time: whoever lost a right may have the announced key.
    Immediate,
}

enum Event {
    Connected {
        conn: ConnId,
        node: Node,
        outbox: mpsc::Sender<Frame<FromAuthority>>,
    },
    Message(ConnId, ToAuthority),
    Disconnected(ConnId),
    Unlink(ServerId),
    Nodes(Vec<Node>),
    Channels(Vec<ChannelConfig>),
    Keys(Box<Keys>),
    Slaves(SlaveQuorum),
    Slave(Up),
    Early(ChannelId, Haste, oneshot::Sender<Result<(), NotEarly>>),
    CencKeys(
        ChannelId,
        Vec<[u8; CENC_KEY_LEN]>,
        oneshot::Sender<CencKeys>,
    ),
    Status(oneshot::Sender<Status>),
    Block(Box<Made>),
}

/// Keys for packagers, and the epoch of the root that they are from.
pub type CencKeys = Result<(Epoch, Vec<CencKey>), NoCencKeys>;

/// Totals and alarms, for display.
#[derive(Debug, Default)]
pub struct Health {
    /// The store cannot write: nothing is decided until it can.
    pub store_fails: AtomicBool,
    /// Alarms raised.
    pub alarms: AtomicU64,
    /// What is stored was older than what delivery servers reported.
    pub old_copy: AtomicBool,
    blocks: Mutex<BTreeMap<ChannelId, BlockStatus>>,
}

impl Health {
    /// How the key blocks of channels stand.
    #[must_use]
    pub fn blocks(&self) -> BTreeMap<ChannelId, BlockStatus> {
        self.lock_blocks().clone()
    }

    fn lock_blocks(&self) -> MutexGuard<'_, BTreeMap<ChannelId, BlockStatus>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the task runs on.
pub struct Driver {
    authority: Authority,
    /// As it is in the store.
    kept: Stored,
    store: Arc<Store>,
    vault: Arc<Vault>,
    publisher: Publisher,
    rng: Box<dyn CryptoRng + Send>,
    events: mpsc::Receiver<Event>,
    /// Where what is done aside comes back.
    back: mpsc::WeakSender<Event>,
    health: Arc<Health>,
    links: BTreeMap<ConnId, LinkState>,
    blocks: Blocks,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct LinkState {
    node: Node,
    outbox: mpsc::Sender<Frame<FromAuthority>>,
    /// Channels that it asked for in vain; said once.
    denied: BTreeSet<ChannelId>,
}

fn now() -> Time {
    Time(clock::boottime())
}

impl Driver {
    /// The authority as the store has it. Run it with [`Driver::run`].
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(
        config: Config,
        store: Arc<Store>,
        vault: Arc<Vault>,
        publisher: Publisher,
        rng: Box<dyn CryptoRng + Send>,
    ) -> Result<(Self, Handle), LoadError> {
        let kept = rows::load(&store, &vault)?;
        let (sender, events) = mpsc::channel(INBOX);
        let health = Arc::new(Health::default());
        let handle = Handle {
            events: sender,
            health: Arc::clone(&health),
            conns: Arc::default(),
        };
        let driver = Self {
            authority: Authority::start(config, kept.clone(), now()),
            kept,
            store,
            vault,
            publisher,
            rng,
            events,
            back: handle.events.downgrade(),
            health,
            links: BTreeMap::new(),
            blocks: Blocks::default(),
        };
        Ok((driver, handle))
    }

    /// Runs until every [`Handle`] is gone.
    pub async fn run(mut self) {
        loop {
            let due = self.authority.next_timeout();
            let timer = async {
                match due {
                    Some(due) => sleep(due.since(now())).await,
                    None => pending().await,
                }
            };
            let event = tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Some(event) => Some(event),
                    None => return,
                },
                () = timer => None,
            };
            let (now, mut out) = (now(), Vec::new());
            if let Some(event) = event {
                self.handle(now, event, &mut out);
            }
            self.authority.poll(now, self.rng.as_mut(), &mut out);
            for output in out {
                self.carry_out(now, output).await;
            }
        }
    }

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Output>) {
        if let Event::Message(conn, message) = &event
            && !self.may_say(*conn, message)
        {
            return;
        }
        let rng = self.rng.as_mut();
        match event {
            Event::Connected { conn, node, outbox } => {
                let link = LinkState {
                    node,
                    outbox,
                    denied: BTreeSet::new(),
                };
                self.links.insert(conn, link);
            }
            Event::Message(conn, message) => {
                let sent = match &message {
                    ToAuthority::Report(report) => Some((report.channel, report.sent.bytes)),
                    _ => None,
                };
                self.authority.handle(now, conn, message, rng, out);
                if let Some((channel, bytes)) = sent {
                    let told = self.blocks.reported(now, conn, channel, bytes);
                    self.tell_of_blocks(told, out);
                }
            }
            Event::Disconnected(conn) => self.cut(conn),
            Event::Unlink(server) => self.unlink(server),
            Event::Nodes(nodes) => self.admit(&nodes),
            Event::Channels(channels) => self.authority.set_channels(now, channels, rng, out),
            Event::Keys(keys) => self.authority.set_keys(*keys, out),
            Event::Slaves(slaves) => self.authority.set_slaves(now, slaves, rng, out),
            Event::Slave(Up::Seen(term)) => self.authority.slave_seen(now, term, out),
            Event::Slave(Up::Report(report)) => {
                self.authority.slave_report(now, &report, rng, out);
            }
            Event::Slave(Up::Gone(slave)) => self.authority.slave_gone(slave),
            Event::Early(channel, Haste::Early, answer) => {
                let _ = answer.send(self.authority.early(now, channel, rng, out));
            }
            Event::Early(channel, Haste::Immediate, answer) => {
                let _ = answer.send(self.authority.immediate(now, channel, rng, out));
            }
            Event::CencKeys(channel, kids, answer) => {
                let _ = answer.send(self.authority.cenc_keys(channel, &kids));
            }
            Event::Status(answer) => {
                let _ = answer.send(self.authority.status(now));
            }
            Event::Block(made) => {
                if let Some(term) = self.authority.leads() {
                    let told = self.blocks.made(term, *made);
                    self.tell_of_blocks(told, out);
                }
            }
        }
    }

    /// Sends key blocks; says when a channel is without, and when it has them again.
    fn tell_of_blocks(&self, told: Told, out: &mut Vec<Output>) {
        let sends = told.send.into_iter();
        out.extend(sends.map(|(conn, message)| Output::Send(conn, message)));
        let Some((channel, status)) = told.status else {
            return;
        };
        let before = self.health.lock_blocks().insert(channel, status);
        let was_off = before.is_some_and(|before| before.off);
        if status.off && !was_off {
            self.health.alarms.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                channel = channel.0,
                bytes = status.size,
                nodes = status.nodes,
                "ALARM: the key block of this channel would take more than its share, so none is sent and devices ask key doors; a new \
                 generation of its key tree makes it small again (`sealcast admin channel renew-key-tree {}`), or a greater share allows \
                 it (`sealcast admin channel set {} --key-block-cap`)",
                channel.0,
                channel.0
            );
        } else if !status.off && was_off {
            tracing::info!(channel = channel.0, "key blocks are sent again");
        }
    }

    /// Roots that devices may have now are sealed for those who may, aside.
    fn make_blocks(&mut self, served: &Served) {
        let Some(term) = self.authority.leads() else {
            return;
        };
        let wanted = self
            .blocks
            .served(term, served, &self.authority.keys().signing);
        for wanted in wanted {
            let (store, vault) = (Arc::clone(&self.store), Arc::clone(&self.vault));
            let back = self.back.clone();
            tokio::spawn(async move {
                let (channel, epoch) = (wanted.channel.0, wanted.epoch.0);
                match key_blocks::make(&store, &vault, wanted).await {
                    Ok(Some(made)) => {
                        if let Some(back) = back.upgrade() {
                            let _ = back.send(Event::Block(Box::new(made))).await;
                        }
                    }
                    Ok(None) => {}
                    Err(problem) => tracing::error!(
                        channel,
                        epoch,
                        %problem,
                        "no key block could be made; devices ask key doors"
                    ),
                }
            });
        }
    }

    /// Whether the certificate of the link allows this.
    fn may_say(&mut self, conn: ConnId, message: &ToAuthority) -> bool {
        let Some(LinkState { node, denied, .. }) = self.links.get_mut(&conn) else {
            return false;
        };
        let channel = match message {
            ToAuthority::Hello(hello) if hello.server != ServerId(node.server) => {
                tracing::warn!(
                    certificate = node.server,
                    claimed = hello.server.0,
                    "a node speaks for another delivery server than its certificate: cut off"
                );
                self.cut(conn);
                return false;
            }
            ToAuthority::Hello(_) | ToAuthority::Ping(_) => return true,
            ToAuthority::Report(report) => report.channel,
            ToAuthority::NumberWanted(wanted) => wanted.channel,
            ToAuthority::Deposit(deposit) => deposit.channel,
        };
        let allowed = may_send(node, channel);
        if !allowed && denied.insert(channel) {
            tracing::warn!(
                server = node.server,
                channel = channel.0,
                "a delivery server asks for a channel that it may not send; allow it with `sealcast admin node add --server {} \
                 --channel {}`",
                node.server,
                channel.0
            );
        }
        allowed
    }

    /// Nodes have come, changed or gone: links of those that may not act are cut.
    fn admit(&mut self, nodes: &[Node]) {
        let mut gone = Vec::new();
        for (conn, link) in &mut self.links {
            let known = nodes.iter().find(|node| node.server == link.node.server);
            match known.filter(|node| node.standing == sealcast_objects::api::Standing::Active) {
                Some(node) => {
                    link.node = node.clone();
                    link.denied.clear();
                }
                None => gone.push(*conn),
            }
        }
        for conn in gone {
            self.cut(conn);
        }
    }

    /// The former key of a delivery server counts no more: its links are cut.
    fn unlink(&mut self, server: ServerId) {
        let of = |link: &LinkState| ServerId(link.node.server) == server;
        let links = self.links.iter().filter(|(_, link)| of(link));
        let gone: Vec<_> = links.map(|(conn, _)| *conn).collect();
        for conn in gone {
            self.cut(conn);
        }
    }

    fn cut(&mut self, conn: ConnId) {
        self.links.remove(&conn);
        self.blocks.unlinked(conn);
        self.authority.disconnected(conn);
    }

    async fn carry_out(&mut self, now: Time, output: Output) {
        match output {
            Output::Store => self.keep().await,
            Output::Event(event) => log::tell(&event, &self.store, &self.health),
            Output::Door(update) => {
                if let Update::Channel(served) = &update {
                    self.make_blocks(served);
                }
                self.publisher.tell(update);
            }
            Output::Leads(term) => self.publisher.lead(term),
            Output::Send(conn, message) => {
                let Some(link) = self.links.get(&conn) else {
                    return;
                };
                let frame = Frame { sent: now, message };
                if link.outbox.try_send(frame).is_err() {
                    tracing::warn!(
                        server = link.node.server,
                        "a delivery server does not take its messages: cut off, it will link up again"
                    );
                    self.cut(conn);
                }
            }
        }
    }

    /// Makes what changed durable; does not return before it is.
    async fn keep(&mut self) {
        let stored = self.authority.stored().clone();
        let changes = rows::changes(&self.kept, &stored, &self.vault, self.rng.as_mut());
        loop {
            let changes = changes.clone();
            match self.store.write(move |tx| rows::write(tx, &changes)).await {
                Ok(()) => break,
                Err(error) => {
                    if !self.health.store_fails.swap(true, Ordering::Relaxed) {
                        self.health.alarms.fetch_add(1, Ordering::Relaxed);
                        tracing::error!(
                            %error,
                            "ALARM: keys cannot be made durable, so no key changes; delivery servers hold; trying again"
                        );
                    }
                    if self.events.is_closed() {
                        return;
                    }
                    sleep(RETRY).await;
                }
            }
        }
        if self.health.store_fails.swap(false, Ordering::Relaxed) {
            tracing::info!("the store can be written again");
        }
        self.kept = stored;
    }
}

fn may_send(node: &Node, channel: ChannelId) -> bool {
    node.channels
        .as_ref()
        .is_none_or(|channels| channels.contains(&channel.0))
}
