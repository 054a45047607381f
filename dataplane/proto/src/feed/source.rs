//! The parent's half of the feed: numbers the changes (at the master) or passes them on (at a slave), and knows where every slave
//! behind it stands.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::door::{Known, Update};
use crate::ids::{ChannelId, ConnId, Epoch, Remaining, SlaveId, Term, Time};
use crate::limits::{FEED_LOG, FEED_PART};
use crate::wire::feed::{
    Change, FeedPong, FromParent, Position, Seq, SlaveHello, SlaveKey, SlaveReport, ToParent,
};

/// Slaves behind one link, at most; one that claims more is cut off.
const BEHIND_MAX: usize = 1024;

/// What the driver of a source must do, in this order.
#[derive(Clone, Debug)]
pub enum ToChild {
    /// Send this; the driver stamps it with the time of the call that it comes from.
    Send(ConnId, FromParent),
    /// End the link: its slave is not, or no longer, one that may be fed.
    Cut(ConnId),
}

/// What a source tells of the slaves behind it: to the authority, or to its own parent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Up {
    /// A slave has seen this term.
    Seen(Term),
    /// Where a slave stands.
    Report(SlaveReport),
    /// A slave is gone.
    Gone(SlaveId),
}

/// Where a slave stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlaveState {
    /// Of which term its state is.
    pub term: Term,
    /// Who feeds it; `None`: the master.
    pub parent: Option<SlaveId>,
    /// Where its key doors are.
    pub doors: Vec<SocketAddr>,
    /// It holds a lease.
    pub leased: bool,
    /// The highest epoch it holds of each channel.
    pub held: BTreeMap<ChannelId, Epoch>,
}

impl SlaveState {
    fn new() -> Self {
        Self {
            term: Term::NONE,
            parent: None,
            doors: Vec::new(),
            leased: false,
            held: BTreeMap::new(),
        }
    }

    fn take(&mut self, report: &SlaveReport) {
        if self.term != report.term {
            self.held.clear();
        }
        self.term = report.term;
        self.parent = report.parent;
        self.doors.clone_from(&report.doors);
        self.leased = report.leased;
        for (channel, epoch) in &report.held {
            match epoch {
                Some(epoch) => drop(self.held.insert(*channel, *epoch)),
                None => drop(self.held.remove(channel)),
            }
        }
    }

    fn report(&self, slave: SlaveId) -> SlaveReport {
        SlaveReport {
            slave,
            term: self.term,
            parent: self.parent,
            doors: self.doors.clone(),
            leased: self.leased,
            held: self
                .held
                .iter()
                .map(|(id, epoch)| (*id, Some(*epoch)))
                .collect(),
        }
    }
}

#[derive(Debug)]
struct Child {
    key: SlaveKey,
    /// What it has been sent; `None` before its Hello, and while there is nothing to send.
    at: Option<Position>,
    greeted: bool,
    /// Itself and all behind it.
    behind: BTreeMap<SlaveId, SlaveState>,
}

/// The parent's half of the feed.
#[derive(Debug)]
pub struct Source {
    /// Which slave this is; `None`: the master.
    own: Option<SlaveId>,
    known: Known,
    /// The last change; `None`: nothing to feed from.
    at: Option<Position>,
    /// The last changes, newest last.
    log: VecDeque<Update>,
    children: BTreeMap<ConnId, Child>,
}

impl Source {
    /// One that knows nothing; `own`: which slave this is, if it is not the master.
    #[must_use]
    pub fn new(own: Option<SlaveId>) -> Self {
        Self {
            own,
            known: Known::default(),
            at: None,
            log: VecDeque::new(),
            children: BTreeMap::new(),
        }
    }

    /// What is known.
    #[must_use]
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// The last change; `None` while there is nothing to feed from.
    #[must_use]
    pub fn at(&self) -> Option<Position> {
        self.at
    }

    /// Master: it leads under `term` from here on, with what is known; `None`: it leads no more, and gives no leases.
    pub fn lead(&mut self, now: Time, term: Option<Term>, out: &mut Vec<ToChild>) {
        self.at = term.map(|term| Position { term, seq: Seq(0) });
        self.renew(now, out);
    }

    /// Slave: this is the state at `at`, whatever was known before.
    pub(super) fn replace(
        &mut self,
        now: Time,
        at: Position,
        known: Known,
        out: &mut Vec<ToChild>,
    ) {
        (self.known, self.at) = (known, Some(at));
        self.renew(now, out);
        self.cut_strangers(out);
    }

    /// Everybody gets what is new.
    fn renew(&mut self, now: Time, out: &mut Vec<ToChild>) {
        self.log.clear();
        let conns: Vec<_> = self.children.keys().copied().collect();
        for conn in conns {
            self.feed(now, conn, out);
        }
    }

    /// A change, for everybody.
    pub fn publish(&mut self, now: Time, update: Update, out: &mut Vec<ToChild>) {
        let Some(change) = Change::of(&update, now) else {
            return;
        };
        let is_roster = matches!(update, Update::Roster(_));
        self.known.update(update.clone());
        if let Some(at) = &mut self.at {
            let former = *at;
            at.seq = at.seq.next();
            let at = *at;
            if self.log.len() == FEED_LOG {
                self.log.pop_front();
            }
            self.log.push_back(update);
            for (conn, child) in &mut self.children {
                // One that came from a parent farther ahead has it already.
                if child.at == Some(former) {
                    child.at = Some(at);
                    let changes = vec![change.clone()];
                    out.push(ToChild::Send(*conn, FromParent::Tail { at, changes }));
                }
            }
        }
        if is_roster {
            self.cut_strangers(out);
        }
    }

    /// Whether a slave with this key may be fed.
    #[must_use]
    pub fn admits(&self, key: &SlaveKey) -> bool {
        self.known.roster().contains(key)
    }

    fn cut_strangers(&mut self, out: &mut Vec<ToChild>) {
        let roster = self.known.roster();
        let strangers = self
            .children
            .iter()
            .filter(|(_, child)| !roster.contains(&child.key));
        out.extend(strangers.map(|(conn, _)| ToChild::Cut(*conn)));
    }

    /// A slave has linked up. Its driver has seen its certificate.
    pub fn linked(&mut self, conn: ConnId, key: SlaveKey) {
        let child = Child {
            key,
            at: None,
            greeted: false,
            behind: BTreeMap::new(),
        };
        self.children.insert(conn, child);
    }

    /// A link is gone, and with it whoever is behind no other one.
    pub fn unlinked(&mut self, conn: ConnId) -> Vec<Up> {
        let behind = self.children.remove(&conn).map(|child| child.behind);
        let gone = behind.into_iter().flatten().map(|(slave, _)| slave);
        gone.filter(|slave| self.state(*slave).is_none())
            .map(Up::Gone)
            .collect()
    }

    /// Takes a message of a slave. `lease`: what is left of this host's own; `depth`: links between this host and the master.
    pub fn handle(
        &mut self,
        now: Time,
        conn: ConnId,
        message: ToParent,
        (lease, depth): (Remaining, u8),
        out: &mut Vec<ToChild>,
    ) -> Option<Up> {
        let own = self.own;
        let child = self.children.get_mut(&conn)?;
        match message {
            ToParent::Ping(ping) => {
                let lease = if child.at.is_some() && self.at.is_some() {
                    lease
                } else {
                    Remaining(0)
                };
                let pong = FeedPong {
                    echo: ping.echo,
                    lease,
                    depth,
                };
                out.push(ToChild::Send(conn, FromParent::Pong(pong)));
                None
            }
            ToParent::Hello(hello) => Some(self.hello(now, conn, &hello, out)),
            ToParent::Report(mut report) => {
                if child.behind.len() >= BEHIND_MAX && !child.behind.contains_key(&report.slave) {
                    out.push(ToChild::Cut(conn));
                    return None;
                }
                if report.slave == child.key.slave {
                    report.parent = own;
                }
                child
                    .behind
                    .entry(report.slave)
                    .or_insert_with(SlaveState::new)
                    .take(&report);
                Some(Up::Report(report))
            }
            ToParent::Gone(slave) => {
                child.behind.remove(&slave);
                self.state(slave).is_none().then_some(Up::Gone(slave))
            }
        }
    }

    fn hello(&mut self, now: Time, conn: ConnId, hello: &SlaveHello, out: &mut Vec<ToChild>) -> Up {
        if let Some(child) = self.children.get_mut(&conn) {
            (child.greeted, child.at) = (true, hello.at);
        }
        self.feed(now, conn, out);
        Up::Seen(hello.term)
    }

    /// Brings one slave up to date: by the changes since, if they are remembered, else by a snapshot.
    fn feed(&mut self, now: Time, conn: ConnId, out: &mut Vec<ToChild>) {
        let Some(child) = self.children.get_mut(&conn).filter(|child| child.greeted) else {
            return;
        };
        let Some(at) = self.at else {
            child.at = None;
            return;
        };
        let behind = child.at.filter(|known| known.term == at.term);
        let missing = behind.and_then(|known| {
            let missing = at.seq.0.checked_sub(known.seq.0);
            // One farther ahead misses nothing.
            usize::try_from(missing.unwrap_or(0))
                .ok()
                .filter(|missing| *missing <= self.log.len())
        });
        let mut send = |message| out.push(ToChild::Send(conn, message));
        match (missing, behind) {
            (Some(0), _) => return,
            (Some(missing), Some(mut from)) => {
                let news = self.log.iter().skip(self.log.len() - missing);
                let changes: Vec<_> = news.filter_map(|update| Change::of(update, now)).collect();
                for part in changes.chunks(FEED_PART) {
                    from.seq = Seq(from.seq.0 + part.len() as u64);
                    let changes = part.to_vec();
                    send(FromParent::Tail { at: from, changes });
                }
            }
            _ => {
                let changes: Vec<_> = self
                    .known
                    .updates()
                    .filter_map(|update| Change::of(&update, now))
                    .collect();
                let parts = changes.chunks(FEED_PART);
                let count = parts.len();
                for (index, part) in parts.enumerate() {
                    send(FromParent::Snapshot {
                        at,
                        changes: part.to_vec(),
                        last: index + 1 == count,
                    });
                }
            }
        }
        child.at = Some(at);
    }

    /// Where a slave behind this host stands.
    #[must_use]
    pub fn state(&self, slave: SlaveId) -> Option<&SlaveState> {
        // Of two, the one of the newer link.
        let mut states = self.children.values().rev();
        states.find_map(|child| child.behind.get(&slave))
    }

    /// Every slave behind this host.
    #[must_use]
    pub fn slaves(&self) -> BTreeMap<SlaveId, &SlaveState> {
        let states = self.children.values().flat_map(|child| &child.behind);
        states.map(|(slave, state)| (*slave, state)).collect()
    }

    /// All that is known of those behind, for a new parent.
    pub(super) fn reports(&self) -> Vec<SlaveReport> {
        let slaves = self.slaves();
        slaves
            .into_iter()
            .map(|(slave, state)| state.report(slave))
            .collect()
    }
}
