//! The slave's task: owns the slave, carries out what it decides, keeps what it knows.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use sealcast_net::clock;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_proto::feed::{Output, Slave, SlaveConfig, SlaveState, ToChild};
use sealcast_proto::ids::{ConnId, SlaveId, Time};
use sealcast_proto::wire::feed::{FromParent, Position, SlaveKey, ToParent};
use sealcast_proto::wire::link::Frame;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep;

use super::cache::Cache;
use super::client::{Client, LinkEvent, Parents};
use super::service::Parent;
use crate::ca::Peer;
use crate::door::Teller;

/// Messages of all links that may wait.
const INBOX: usize = 4096;
/// Messages that may wait for the parent.
const OUTBOX: usize = 1024;
/// Changes within this are kept together.
const KEEP: Duration = Duration::from_secs(1);

/// Where a slave stands.
#[derive(Clone, Debug, Default)]
pub struct SlaveHealth {
    /// The parent that it is linked to.
    pub parent: Option<String>,
    /// How far its state goes.
    pub at: Option<Position>,
    /// It holds a lease.
    pub leased: bool,
    /// It answers devices.
    pub serves: bool,
    /// How old what it knows may be; `None`: it never had a lease.
    pub staleness: Option<Duration>,
    /// Channels that it knows.
    pub channels: usize,
    /// Slaves behind it.
    pub behind: Vec<(SlaveId, SlaveState)>,
    /// What is known could not be kept on disk, this often.
    pub unkept: u64,
}

enum Event {
    Link(LinkEvent),
    Linked {
        conn: ConnId,
        key: SlaveKey,
        outbox: mpsc::Sender<Frame<FromParent>>,
        admitted: oneshot::Sender<bool>,
    },
    Message(ConnId, ToParent),
    Gone(ConnId),
    MayBring(SlaveKey, oneshot::Sender<Result<(), Problem>>),
    Health(oneshot::Sender<SlaveHealth>),
    Stop,
}

/// The way to a slave's task.
#[derive(Clone, Debug)]
pub struct SlaveHandle {
    events: mpsc::Sender<Event>,
    conns: Arc<AtomicU64>,
}

/// What the task runs on.
pub struct SlaveTask {
    slave: Slave,
    doors: Teller,
    cache: Arc<Cache>,
    events: mpsc::Receiver<Event>,
    /// Ends the task with the last handle outside.
    to_parent: mpsc::Sender<Frame<ToParent>>,
    dropped: Arc<Notify>,
    parent: Option<String>,
    outboxes: BTreeMap<ConnId, mpsc::Sender<Frame<FromParent>>>,
    keep_at: Option<Time>,
    unkept: Arc<Mutex<u64>>,
}

impl std::fmt::Debug for SlaveTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlaveTask").finish_non_exhaustive()
    }
}

fn now() -> Time {
    Time(clock::boottime())
}

impl SlaveTask {
    /// A slave that begins with what `cache` has, and follows one of `parents`. Inside a tokio runtime only.
    #[must_use]
    pub fn start(
        config: SlaveConfig,
        cache: Cache,
        doors: Teller,
        parents: Parents,
        tls: impl Fn() -> Arc<ClientConfig> + Send + 'static,
    ) -> (Self, SlaveHandle) {
        let (events_in, events) = mpsc::channel(INBOX);
        let (to_parent, outbound) = mpsc::channel(OUTBOX);
        let (link_in, mut link) = mpsc::channel(INBOX);
        let dropped = Arc::new(Notify::new());
        let client = Client {
            parents,
            tls,
            outbound,
            events: link_in,
            dropped: Arc::clone(&dropped),
        };
        tokio::spawn(async move { client.run().await });
        // The link must not keep the task alive.
        let weak = events_in.downgrade();
        tokio::spawn(async move {
            while let Some(event) = link.recv().await {
                let Some(events) = weak.upgrade() else { return };
                if events.send(Event::Link(event)).await.is_err() {
                    return;
                }
            }
        });
        let task = Self {
            slave: Slave::new(config, cache.load(), now()),
            doors,
            cache: Arc::new(cache),
            events,
            to_parent,
            dropped,
            parent: None,
            outboxes: BTreeMap::new(),
            keep_at: None,
            unkept: Arc::default(),
        };
        let handle = SlaveHandle {
            events: events_in,
            conns: Arc::default(),
        };
        (task, handle)
    }

    /// Runs until it is told to stop or every [`SlaveHandle`] is gone, then keeps what it knows. Links end with it.
    pub async fn run(mut self) {
        self.carry_out();
        loop {
            let due = [self.slave.next_timeout(), self.keep_at];
            let due = due.into_iter().flatten().min();
            let timer = async {
                match due {
                    Some(due) => sleep(due.since(now())).await,
                    None => pending().await,
                }
            };
            let event = tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Some(Event::Stop) | None => break,
                    Some(event) => Some(event),
                },
                () = timer => None,
            };
            if let Some(event) = event {
                self.handle(now(), event);
            }
            self.slave.poll(now());
            self.carry_out();
            if self.keep_at.is_some_and(|at| at <= now()) {
                self.keep().await;
            }
        }
        self.keep().await;
    }

    fn handle(&mut self, now: Time, event: Event) {
        match event {
            Event::Link(LinkEvent::Up(parent)) => {
                self.parent = Some(parent);
                self.slave.link_up(now);
            }
            Event::Link(LinkEvent::Down) => {
                self.parent = None;
                self.slave.link_down(now);
            }
            Event::Link(LinkEvent::Message(frame)) => self.slave.handle_parent(now, *frame),
            Event::Linked {
                conn,
                key,
                outbox,
                admitted,
            } => {
                let may = self.slave.child_linked(conn, key);
                if may {
                    self.outboxes.insert(conn, outbox);
                }
                let _ = admitted.send(may);
            }
            Event::Message(conn, message) => self.slave.handle_child(now, conn, message),
            Event::Gone(conn) => {
                self.outboxes.remove(&conn);
                self.slave.child_gone(conn);
            }
            Event::MayBring(key, answer) => drop(answer.send(self.may_bring(now, &key))),
            Event::Health(answer) => drop(answer.send(self.health(now))),
            Event::Stop => {}
        }
    }

    /// Files only go towards the master: a slave that has no contact with it could send them in a circle.
    fn may_bring(&self, now: Time, key: &SlaveKey) -> Result<(), Problem> {
        if !self.slave.source().admits(key) {
            let detail = "this slave does not know of you (yet), or you are suspended";
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        if !self.slave.is_leased(now) {
            let detail = "this slave has no contact with the master now: try again";
            return Err(Problem::new(Kind::Unavailable, detail));
        }
        Ok(())
    }

    fn health(&self, now: Time) -> SlaveHealth {
        let source = self.slave.source();
        let behind = source.slaves().into_iter();
        SlaveHealth {
            parent: self.parent.clone(),
            at: source.at(),
            leased: self.slave.is_leased(now),
            serves: self.slave.serves(),
            staleness: self.slave.staleness(now),
            channels: source.known().channels().count(),
            behind: behind.map(|(id, state)| (id, state.clone())).collect(),
            unkept: *self.unkept.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn carry_out(&mut self) {
        let now = now();
        while let Some(output) = self.slave.poll_output() {
            match output {
                Output::Door(update) => self.doors.tell(update),
                Output::ToParent(message) => {
                    // A link that is stuck is found dead by its pings.
                    let _ = self.to_parent.try_send(Frame { sent: now, message });
                }
                Output::ToChild(ToChild::Send(conn, message)) => {
                    let frame = Frame { sent: now, message };
                    let outbox = self.outboxes.get(&conn);
                    if outbox.is_some_and(|outbox| outbox.try_send(frame).is_err()) {
                        tracing::warn!(
                            conn = conn.0,
                            "a slave does not take its changes: cut off, it will link up again"
                        );
                        self.outboxes.remove(&conn);
                    }
                }
                // The link ends with its outbox.
                Output::ToChild(ToChild::Cut(conn)) => drop(self.outboxes.remove(&conn)),
                Output::Drop(why) => {
                    tracing::warn!(parent = self.parent, %why, "the link to this parent is given up");
                    self.dropped.notify_one();
                }
                Output::Keep => {
                    self.keep_at.get_or_insert_with(|| now.after(KEEP));
                }
            }
        }
    }

    /// What cannot be kept is told once, and tried again with the next change.
    async fn keep(&mut self) {
        self.keep_at = None;
        let Some(kept) = self.slave.kept() else {
            return;
        };
        let (cache, unkept) = (Arc::clone(&self.cache), Arc::clone(&self.unkept));
        let store = move || {
            if let Err(error) = cache.store(now(), &kept, &mut crate::rng()) {
                let mut unkept = unkept.lock().unwrap_or_else(PoisonError::into_inner);
                *unkept += 1;
                if *unkept == 1 {
                    tracing::warn!(%error, "what is known cannot be kept: after a restart this slave answers nothing until a parent is there");
                }
            }
        };
        let _ = tokio::task::spawn_blocking(store).await;
    }
}

impl SlaveHandle {
    /// Ends the task.
    pub async fn stop(&self) {
        let _ = self.events.send(Event::Stop).await;
    }

    /// Where the slave stands; `None` when it is stopping.
    pub async fn health(&self) -> Option<SlaveHealth> {
        let (answer, answered) = oneshot::channel();
        self.events.send(Event::Health(answer)).await.ok()?;
        answered.await.ok()
    }
}

impl SlaveHandle {
    /// Whether a slave behind this one may bring usage files.
    ///
    /// # Errors
    /// It may not, or not now.
    pub(crate) async fn may_bring(&self, key: SlaveKey) -> Result<(), Problem> {
        let (answer, answered) = oneshot::channel();
        let _ = self.events.send(Event::MayBring(key, answer)).await;
        answered.await.unwrap_or_else(|_| {
            let detail = "this slave is stopping: try again";
            Err(Problem::new(Kind::Unavailable, detail))
        })
    }
}

impl Parent for SlaveHandle {
    fn conn(&self) -> ConnId {
        ConnId(self.conns.fetch_add(1, Ordering::Relaxed) + 1)
    }

    async fn linked(
        &self,
        conn: ConnId,
        _: &Peer,
        key: SlaveKey,
        outbox: mpsc::Sender<Frame<FromParent>>,
    ) -> Result<(), Problem> {
        let (admitted, is_admitted) = oneshot::channel();
        let linked = Event::Linked {
            conn,
            key,
            outbox,
            admitted,
        };
        let _ = self.events.send(linked).await;
        if is_admitted.await.unwrap_or(false) {
            Ok(())
        } else {
            let detail = "this slave does not know of you (yet), or you are suspended: ask the master, or try again";
            Err(Problem::new(Kind::Forbidden, detail))
        }
    }

    async fn message(&self, conn: ConnId, message: ToParent) -> bool {
        self.events
            .send(Event::Message(conn, message))
            .await
            .is_ok()
    }

    async fn gone(&self, conn: ConnId) {
        let _ = self.events.send(Event::Gone(conn)).await;
    }
}
