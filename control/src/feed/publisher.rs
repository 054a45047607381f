//! The master's side of the feed: every change goes to the doors of this host and to the slaves, in the same order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sealcast_net::clock;
use sealcast_proto::door::Update;
use sealcast_proto::feed::{SlaveState, Source, ToChild, Up};
use sealcast_proto::ids::{ConnId, Remaining, SlaveId, Term, Time};
use sealcast_proto::limits::LEASE;
use sealcast_proto::wire::feed::{FromParent, SlaveKey, ToParent};
use sealcast_proto::wire::link::Frame;
use tokio::sync::mpsc;

use crate::door::Teller;

/// The way to every key door and every slave.
#[derive(Clone, Debug)]
pub struct Publisher(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    doors: Teller,
    source: Source,
    leads: bool,
    outboxes: BTreeMap<ConnId, mpsc::Sender<Frame<FromParent>>>,
}

fn now() -> Time {
    Time(clock::boottime())
}

impl Publisher {
    /// To these doors; slaves come later.
    #[must_use]
    pub fn new(doors: Teller) -> Self {
        Self(Arc::new(Mutex::new(State {
            doors,
            source: Source::new(None),
            leads: false,
            outboxes: BTreeMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every door and every slave.
    pub fn tell(&self, update: Update) {
        let mut state = self.lock();
        let (now, mut out) = (now(), Vec::new());
        state.source.publish(now, update.clone(), &mut out);
        // Slaves first: doors may be behind, and are waited for.
        state.send(now, out);
        state.doors.tell(update);
    }

    /// This master leads under a term, or leads no more.
    pub fn lead(&self, term: Option<Term>) {
        let mut state = self.lock();
        let (now, mut out) = (now(), Vec::new());
        state.leads = term.is_some();
        state.source.lead(now, term, &mut out);
        state.send(now, out);
        state.doors.tell(Update::Leads(term.is_some()));
    }

    /// A slave has linked up; false: it may not be fed.
    #[must_use]
    pub fn linked(
        &self,
        conn: ConnId,
        key: SlaveKey,
        outbox: mpsc::Sender<Frame<FromParent>>,
    ) -> bool {
        let mut state = self.lock();
        let admitted = state.source.admits(&key);
        if admitted {
            state.source.linked(conn, key);
            state.outboxes.insert(conn, outbox);
        }
        admitted
    }

    /// Every link ends; slaves look for another parent.
    pub fn cut_all(&self) {
        self.lock().outboxes.clear();
    }

    /// Its link is gone.
    #[must_use]
    pub fn unlinked(&self, conn: ConnId) -> Vec<Up> {
        let mut state = self.lock();
        state.outboxes.remove(&conn);
        state.source.unlinked(conn)
    }

    /// Takes a message of a slave; what comes out is for the authority.
    #[must_use]
    pub fn handle(&self, conn: ConnId, message: ToParent) -> Option<Up> {
        let mut state = self.lock();
        let (now, mut out) = (now(), Vec::new());
        let lease = if state.leads { LEASE } else { Duration::ZERO };
        let lease = (Remaining::from(lease), 0);
        let up = state.source.handle(now, conn, message, lease, &mut out);
        state.send(now, out);
        up
    }

    /// Where every slave stands.
    #[must_use]
    pub fn slaves(&self) -> Vec<(SlaveId, SlaveState)> {
        let state = self.lock();
        let slaves = state.source.slaves().into_iter();
        slaves
            .map(|(slave, state)| (slave, state.clone()))
            .collect()
    }
}

impl State {
    fn send(&mut self, now: Time, out: Vec<ToChild>) {
        for one in out {
            match one {
                ToChild::Send(conn, message) => {
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
                ToChild::Cut(conn) => drop(self.outboxes.remove(&conn)),
            }
        }
    }
}
