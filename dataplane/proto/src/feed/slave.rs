//! The child's half of the feed, and the slave as a whole: takes the state in, holds a lease, tells the key doors, feeds those
//! behind it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::lease::{WithoutLease, has_expired, next_expiry, unexpired};
use super::source::{Source, ToChild, Up};
use crate::door::{Known, Update};
use crate::ids::{ChannelId, ConnId, Epoch, Remaining, SlaveId, Term, Time};
use crate::limits::{FEED_DEPTH_MAX, FEED_PING, LEASE, PARENT_PATIENCE, TICKETS_WITHOUT_CONTACT};
use crate::offset::ClockOffset;
use crate::wire::feed::{
    Change, FeedPong, FromParent, Position, SlaveHello, SlaveKey, SlaveReport, ToParent,
};
use crate::wire::link::{Frame, Ping};

/// Settings of a slave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlaveConfig {
    /// Which it is.
    pub slave: SlaveId,
    /// Where devices find its key doors.
    pub doors: Vec<SocketAddr>,
    /// What it does without a lease.
    pub without_lease: WithoutLease,
}

/// What a slave keeps over a restart. Its instants are of this boot of this host.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The state's position.
    pub at: Position,
    /// The highest term seen.
    pub term: Term,
    /// The state.
    pub known: Known,
    /// When its last lease ended, or will.
    pub leased_until: Time,
}

/// Why a slave gives up a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Dropped {
    /// The parent follows a master that is no more.
    #[error("the parent follows a former master")]
    FormerTerm,
    /// The parent is, over others, fed by this slave; or the chain is too long.
    #[error("too many slaves between this one and the master, or they feed each other in a circle")]
    TooDeep,
    /// The parent has had no lease for long.
    #[error("the parent has no contact with the master")]
    NoLease,
    /// Changes are missing.
    #[error("changes are missing in the feed")]
    Gap,
}

/// What the driver of a slave must do, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Say this to the parent; the driver stamps it.
    ToParent(ToParent),
    /// Deal with a slave behind this one.
    ToChild(ToChild),
    /// Tell every key door.
    Door(Update),
    /// End the link to the parent and try another.
    Drop(Dropped),
    /// What [`Slave::kept`] says has changed.
    Keep,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    Down,
    /// Clocks are being compared.
    Comparing,
    Up,
}

/// A slave.
#[derive(Debug)]
pub struct Slave {
    config: SlaveConfig,
    source: Source,
    /// The highest term seen.
    term: Term,
    offset: ClockOffset,
    link: Link,
    linked_at: Time,
    ping_at: Time,
    depth: u8,
    /// Parts of a snapshot that is not complete.
    parts: Option<(Position, Known)>,
    leased_until: Time,
    /// What the parent was told on this link.
    reported: BTreeMap<ChannelId, Epoch>,
    reported_lease: Option<bool>,
    /// What the doors were told last.
    serves: bool,
    /// Channels of which the doors were told less than is known, and when there is still less to tell.
    pruned: BTreeMap<ChannelId, Option<Time>>,
    polled: Time,
    out: VecDeque<Output>,
}

impl Slave {
    /// A slave that knows what it kept, and answers by it as its rule allows.
    #[must_use]
    pub fn new(config: SlaveConfig, kept: Option<Kept>, now: Time) -> Self {
        let mut slave = Self {
            source: Source::new(Some(config.slave)),
            config,
            term: Term::NONE,
            offset: ClockOffset::default(),
            link: Link::Down,
            linked_at: now,
            ping_at: now,
            depth: 0,
            parts: None,
            leased_until: Time(0),
            reported: BTreeMap::new(),
            reported_lease: None,
            serves: false,
            pruned: BTreeMap::new(),
            polled: now,
            out: VecDeque::new(),
        };
        if let Some(kept) = kept {
            (slave.term, slave.leased_until) = (kept.term, kept.leased_until.min(now));
            slave.replace(now, kept.at, kept.known);
        }
        slave.poll(now);
        slave
    }

    /// What is to be kept over a restart; `None` before anything is known.
    #[must_use]
    pub fn kept(&self) -> Option<Kept> {
        Some(Kept {
            at: self.source.at()?,
            term: self.term,
            known: self.source.known().clone(),
            leased_until: self.leased_until,
        })
    }

    /// The state and whoever is behind.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether it holds a lease.
    #[must_use]
    pub fn is_leased(&self, now: Time) -> bool {
        now < self.leased_until
    }

    /// How old what it knows may be; `None` before the first lease.
    #[must_use]
    pub fn staleness(&self, now: Time) -> Option<Duration> {
        let vouched = (self.leased_until != Time(0)).then(|| self.leased_until.before(LEASE))?;
        Some(now.since(vouched.min(now)))
    }

    /// Whether it answers devices.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.serves
    }

    /// The link to a parent is up.
    pub fn link_up(&mut self, now: Time) {
        self.offset.reset();
        (self.link, self.linked_at, self.ping_at) = (Link::Comparing, now, now);
        (self.parts, self.reported_lease) = (None, None);
        self.reported.clear();
        self.out
            .retain(|output| !matches!(output, Output::ToParent(_)));
        self.poll(now);
    }

    /// The link is down.
    pub fn link_down(&mut self, now: Time) {
        (self.link, self.parts) = (Link::Down, None);
        self.poll(now);
    }

    /// Takes a message of the parent.
    pub fn handle_parent(&mut self, now: Time, frame: Frame<FromParent>) {
        if self.link == Link::Down {
            // Left over from a link that was given up.
            return;
        }
        let spoken = now.before(self.offset.age(frame.sent, now));
        match frame.message {
            FromParent::Pong(pong) => self.pong(now, frame.sent, &pong),
            FromParent::Snapshot { at, changes, last } => {
                self.snapshot(now, spoken, at, changes, last);
            }
            FromParent::Tail { at, changes } => self.tail(now, spoken, at, changes),
        }
        self.poll(now);
    }

    fn drop_link(&mut self, why: Dropped) {
        (self.link, self.parts) = (Link::Down, None);
        self.out.push_back(Output::Drop(why));
    }

    fn pong(&mut self, now: Time, sent: Time, pong: &FeedPong) {
        // One that was asked before the link, or that names the future, says nothing.
        if pong.echo < self.linked_at || pong.echo > now {
            return;
        }
        if pong.depth >= FEED_DEPTH_MAX {
            return self.drop_link(Dropped::TooDeep);
        }
        self.depth = pong.depth + 1;
        self.offset.pong(pong.echo, sent, now);
        if self.link == Link::Comparing {
            self.link = Link::Up;
            let hello = SlaveHello {
                term: self.term,
                at: self.source.at(),
            };
            self.say(ToParent::Hello(hello));
            for report in self.source.reports() {
                self.say(ToParent::Report(report));
            }
        } else if pong.lease.0 > 0 {
            let lease = pong.lease.duration().min(LEASE);
            self.leased_until = self.leased_until.max(pong.echo.after(lease));
        }
    }

    fn say(&mut self, message: ToParent) {
        self.out.push_back(Output::ToParent(message));
    }

    /// A part of a snapshot.
    fn snapshot(
        &mut self,
        now: Time,
        spoken: Time,
        at: Position,
        changes: Vec<Change>,
        last: bool,
    ) {
        if !self.term.admits(at.term) {
            return self.drop_link(Dropped::FormerTerm);
        }
        let ahead = self
            .source
            .at()
            .is_some_and(|ours| ours.term == at.term && ours.seq > at.seq);
        let (begun, mut known) = self.parts.take().unwrap_or_else(|| (at, Known::default()));
        if ahead || begun != at {
            return self.drop_link(Dropped::Gap);
        }
        for change in changes {
            known.update(change.into_update(spoken));
        }
        if last {
            self.term = at.term;
            self.replace(now, at, known);
        } else {
            self.parts = Some((at, known));
        }
    }

    fn replace(&mut self, now: Time, at: Position, known: Known) {
        let gone: Vec<_> = {
            let former = self.source.known().channels().map(|served| served.channel);
            former
                .filter(|channel| known.channel(*channel).is_none())
                .collect()
        };
        let doors = gone
            .into_iter()
            .map(Update::ChannelGone)
            .chain(known.updates());
        self.out.extend(doors.map(Output::Door));
        self.pruned.clear();
        if self.source.at().is_none_or(|former| former.term != at.term) {
            // What is held of another term is told from the beginning.
            (self.reported, self.reported_lease) = (BTreeMap::new(), None);
        }
        let mut to_children = Vec::new();
        self.source.replace(now, at, known, &mut to_children);
        self.out
            .extend(to_children.into_iter().map(Output::ToChild));
        self.out.push_back(Output::Keep);
    }

    /// Changes that follow what is known.
    fn tail(&mut self, now: Time, spoken: Time, at: Position, changes: Vec<Change>) {
        if !self.term.admits(at.term) {
            return self.drop_link(Dropped::FormerTerm);
        }
        let follows = self.source.at().is_some_and(|ours| {
            ours.term == at.term && ours.seq.0 + changes.len() as u64 == at.seq.0
        });
        if !follows || self.parts.is_some() {
            return self.drop_link(Dropped::Gap);
        }
        let mut to_children = Vec::new();
        for change in changes {
            let update = change.into_update(spoken);
            if let Update::Channel(served) = &update {
                self.pruned.remove(&served.channel);
            }
            self.out.push_back(Output::Door(update.clone()));
            self.source.publish(now, update, &mut to_children);
        }
        self.out
            .extend(to_children.into_iter().map(Output::ToChild));
        self.out.push_back(Output::Keep);
    }

    /// A slave has linked up to this one; whether it may be fed.
    pub fn child_linked(&mut self, conn: ConnId, key: SlaveKey) -> bool {
        let admitted = self.source.admits(&key);
        if admitted {
            self.source.linked(conn, key);
        }
        admitted
    }

    /// Its link is gone.
    pub fn child_gone(&mut self, conn: ConnId) {
        for up in self.source.unlinked(conn) {
            self.pass_up(up);
        }
    }

    /// Takes a message of a slave behind this one.
    pub fn handle_child(&mut self, now: Time, conn: ConnId, message: ToParent) {
        let left = self.leased_until.remaining(now);
        let mut out = Vec::new();
        let up = self
            .source
            .handle(now, conn, message, (left, self.depth), &mut out);
        self.out.extend(out.into_iter().map(Output::ToChild));
        if let Some(up) = up {
            self.pass_up(up);
        }
    }

    /// What is not said now is said when the next link is up.
    fn pass_up(&mut self, up: Up) {
        if self.link != Link::Up {
            return;
        }
        match up {
            // The master hears of a later term by the slave that follows it.
            Up::Seen(_) => {}
            Up::Report(report) => self.say(ToParent::Report(report)),
            Up::Gone(slave) => self.say(ToParent::Gone(slave)),
        }
    }

    /// Lets time pass.
    pub fn poll(&mut self, now: Time) {
        self.polled = now;
        if self.link != Link::Down && self.ping_at <= now {
            self.ping_at = now.after(FEED_PING);
            self.say(ToParent::Ping(Ping { echo: now }));
        }
        let waited = now >= self.linked_at.max(self.leased_until).after(PARENT_PATIENCE);
        if self.link != Link::Down && waited {
            self.drop_link(Dropped::NoLease);
        }
        self.tell_doors(now);
        if self.link == Link::Up {
            self.report(now);
        }
    }

    /// What the doors may answer, if that changed.
    fn tell_doors(&mut self, now: Time) {
        let leased = self.is_leased(now);
        let known = self.source.at().is_some();
        let serves = known
            && match self.config.without_lease {
                WithoutLease::Strict => leased,
                WithoutLease::Announced => {
                    self.leased_until != Time(0)
                        && now < self.leased_until.after(TICKETS_WITHOUT_CONTACT)
                }
            };
        if leased {
            for (channel, _) in std::mem::take(&mut self.pruned) {
                if let Some(served) = self.source.known().channel(channel) {
                    let whole = Update::Channel(Box::new(served.clone()));
                    self.out.push_back(Output::Door(whole));
                }
            }
        } else if serves {
            self.prune(now);
        }
        if std::mem::replace(&mut self.serves, serves) != serves {
            self.out.push_back(Output::Door(Update::Leads(serves)));
        }
    }

    /// Without a lease, keys that have expired everywhere are given out no more.
    fn prune(&mut self, now: Time) {
        for served in self.source.known().channels() {
            let due = match self.pruned.get(&served.channel) {
                Some(next) => next.is_some_and(|next| next <= now),
                None => has_expired(served, now),
            };
            if due {
                self.pruned.insert(served.channel, next_expiry(served, now));
                let left = Update::Channel(Box::new(unexpired(served, now)));
                self.out.push_back(Output::Door(left));
            }
        }
    }

    /// Tells the parent what changed since it was told last.
    fn report(&mut self, now: Time) {
        let held: BTreeMap<_, _> = self.source.known().held().collect();
        let leased = self.is_leased(now);
        if held == self.reported && self.reported_lease == Some(leased) {
            return;
        }
        let changed = held
            .iter()
            .filter(|(id, epoch)| self.reported.get(id) != Some(epoch));
        let gone = self.reported.keys().filter(|id| !held.contains_key(id));
        let news: Vec<_> = changed
            .map(|(id, epoch)| (*id, Some(*epoch)))
            .chain(gone.map(|id| (*id, None)))
            .collect();
        let report = SlaveReport {
            slave: self.config.slave,
            term: self.source.at().map_or(Term::NONE, |at| at.term),
            parent: None,
            doors: self.config.doors.clone(),
            leased,
            held: news,
        };
        (self.reported, self.reported_lease) = (held, Some(leased));
        self.say(ToParent::Report(report));
    }

    /// When [`Slave::poll`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        let linked = self.link != Link::Down;
        let patience = self.linked_at.max(self.leased_until).after(PARENT_PATIENCE);
        let link = linked
            .then_some([self.ping_at, patience])
            .into_iter()
            .flatten();
        let lease = [
            self.leased_until,
            self.leased_until.after(TICKETS_WITHOUT_CONTACT),
        ];
        let expiries = self.source.known().channels();
        let expiries = expiries.filter_map(|served| next_expiry(served, self.polled));
        link.chain(lease)
            .chain(expiries)
            .filter(|at| *at > self.polled)
            .min()
    }

    /// What is left of the lease.
    #[must_use]
    pub fn lease(&self, now: Time) -> Remaining {
        self.leased_until.remaining(now)
    }

    /// What the driver must do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
}
