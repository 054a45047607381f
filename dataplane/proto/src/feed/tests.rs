//! A master and a tree of slaves over links that come and go.

mod cases;
mod random;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sealcast_crypto::{EpochRoot, SigningKey};

use super::*;
use crate::door::{Known, Served, ServedKey, TicketKey, Tickets, Update};
use crate::ids::{AccountId, ChannelId, ConnId, Epoch, Remaining, SlaveId, Term, Time};
use crate::limits::{FEED_LOG, LEASE};
use crate::timing::Timing;
use crate::wire::feed::{FromParent, Position, SlaveKey, ToParent};
use crate::wire::link::Frame;

const CHANNEL: ChannelId = ChannelId(7);
const TERM: Term = Term {
    number: 3,
    instance: 33,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn account(number: u8) -> AccountId {
    AccountId([number; 16])
}

fn key_of(slave: u32) -> SlaveKey {
    SlaveKey {
        slave: SlaveId(slave),
        key: [u8::try_from(slave).unwrap(); 32],
    }
}

fn root(epoch: u64) -> EpochRoot {
    let mut bytes = [9; 32];
    bytes[..8].copy_from_slice(&epoch.to_be_bytes());
    EpochRoot::from_bytes(bytes)
}

fn tickets(period: u32) -> Tickets {
    let key = |period: u32| TicketKey::new(period, [u8::try_from(period % 251).unwrap(); 32]);
    Tickets::new(key(period), period.checked_sub(1).map(key))
}

/// `channel` with `epoch` in use until `end`, and the one after it prepared or announced.
fn channel(channel: ChannelId, epoch: u64, end: Time, announced: bool) -> Update {
    let key = |epoch, end| ServedKey {
        epoch: Epoch(epoch),
        root: root(epoch),
        end,
    };
    let timing = Timing::default();
    let next = key(epoch + 1, end.after(timing.lifetime()));
    Update::Channel(Box::new(Served {
        channel,
        timing,
        authority: SigningKey::from_seed(&[1; 32]).verifying_key(),
        successor: None,
        in_use: Some(key(epoch, end)),
        next: announced.then(|| next.clone()),
        prepared: (!announced).then_some(next),
        others: Vec::new(),
        expected: vec![Epoch(epoch), Epoch(epoch + 1)],
    }))
}

/// What a state says, without its instants.
fn digest(known: &Known) -> Vec<String> {
    let key = |key: &ServedKey| format!("{:?}/{:x?}", key.epoch, key.root.as_bytes());
    let words = |update| match update {
        Update::Channel(served) => format!(
            "channel {:?}: {:?}, {:?}, {:?}",
            served.channel,
            served.in_use.as_ref().map(key),
            served.next.as_ref().map(key),
            served.prepared.as_ref().map(key)
        ),
        Update::Tickets(tickets) => format!("tickets {}", tickets.period()),
        other => format!("{other:?}"),
    };
    known.updates().map(words).collect()
}

/// A host: its clock runs with the others', but reads otherwise.
struct Host {
    skew: u64,
    config: SlaveConfig,
    slave: Slave,
    /// To which parent: a host's number, or `None` for the master; and the number of the link.
    parent: Option<(Option<u32>, ConnId)>,
    doors: Known,
    serves: bool,
}

enum Flying {
    Up(u32, Frame<ToParent>),
    Down(u32, Frame<FromParent>),
}

/// The world: a master, slaves, links with a delay.
struct World {
    now: u64,
    rng: ChaCha8Rng,
    master: Source,
    leads: bool,
    /// What the master's state was at each change.
    history: BTreeMap<(u64, u64), Vec<String>>,
    hosts: BTreeMap<u32, Host>,
    /// In order per link; with the time of arrival and the link.
    flying: VecDeque<(u64, ConnId, Flying)>,
    ups: Vec<Up>,
    drops: Vec<Dropped>,
    conns: u64,
    delay: u64,
}

const MS: u64 = 1_000_000;

impl World {
    fn new(seed: u64, slaves: u32, rule: WithoutLease) -> Self {
        let mut world = Self {
            now: 5_000_000_000,
            rng: ChaCha8Rng::seed_from_u64(seed),
            master: Source::new(None),
            leads: false,
            history: BTreeMap::new(),
            hosts: BTreeMap::new(),
            flying: VecDeque::new(),
            ups: Vec::new(),
            drops: Vec::new(),
            conns: 0,
            delay: 2 * MS,
        };
        for number in 1..=slaves {
            let config = SlaveConfig {
                slave: SlaveId(number),
                doors: vec![([10, 0, 0, 1], 8444).into()],
                without_lease: rule,
            };
            let skew = u64::from(world.rng.next_u32()) * 1000;
            let host = Host {
                skew,
                slave: Slave::new(config.clone(), None, Time(world.now + skew)),
                config,
                parent: None,
                doors: Known::default(),
                serves: false,
            };
            world.hosts.insert(number, host);
        }
        world.publish(Update::Roster((1..=slaves).map(key_of).collect()));
        world.publish(Update::Tickets(tickets(4)));
        world
    }

    fn master_time(&self) -> Time {
        Time(self.now)
    }

    fn time(&self, host: u32) -> Time {
        Time(self.now + self.hosts[&host].skew)
    }

    fn lead(&mut self, term: Option<Term>) {
        self.leads = term.is_some();
        let mut out = Vec::new();
        self.master.lead(self.master_time(), term, &mut out);
        self.remember();
        self.send(None, out);
    }

    fn publish(&mut self, update: Update) {
        let mut out = Vec::new();
        self.master.publish(self.master_time(), update, &mut out);
        self.remember();
        self.send(None, out);
    }

    fn remember(&mut self) {
        if let Some(at) = self.master.at() {
            let digest = digest(self.master.known());
            self.history.insert((at.term.number, at.seq.0), digest);
        }
    }

    /// Links a slave to a parent, unless that one does not know it.
    fn link(&mut self, child: u32, parent: Option<u32>) {
        self.unlink(child);
        self.conns += 1;
        let conn = ConnId(self.conns);
        let admitted = match parent {
            None => {
                let admitted = self.master.admits(&key_of(child));
                self.master.linked(conn, key_of(child));
                admitted
            }
            Some(parent) => {
                let parent = self.hosts.get_mut(&parent).unwrap();
                parent.slave.child_linked(conn, key_of(child))
            }
        };
        if admitted {
            let now = self.time(child);
            let host = self.hosts.get_mut(&child).unwrap();
            host.parent = Some((parent, conn));
            host.slave.link_up(now);
            self.carry_out(child);
        }
    }

    fn unlink(&mut self, child: u32) {
        let now = self.time(child);
        let host = self.hosts.get_mut(&child).unwrap();
        let Some((parent, conn)) = host.parent.take() else {
            return;
        };
        host.slave.link_down(now);
        self.carry_out(child);
        self.flying.retain(|(_, other, _)| *other != conn);
        match parent {
            None => self.ups.extend(self.master.unlinked(conn)),
            Some(parent) => {
                self.hosts.get_mut(&parent).unwrap().slave.child_gone(conn);
                self.carry_out(parent);
            }
        }
    }

    fn send(&mut self, from: Option<u32>, out: Vec<ToChild>) {
        for one in out {
            let child = |conn: ConnId, world: &Self| {
                let linked = |host: &Host| host.parent == Some((from, conn));
                let mut hosts = world.hosts.iter();
                hosts
                    .find(|(_, host)| linked(host))
                    .map(|(number, _)| *number)
            };
            match one {
                ToChild::Send(conn, message) => {
                    if let Some(child) = child(conn, self) {
                        let sent = from.map_or_else(|| self.master_time(), |host| self.time(host));
                        let frame = Frame { sent, message };
                        let due = self.now + self.delay;
                        self.flying
                            .push_back((due, conn, Flying::Down(child, frame)));
                    }
                }
                ToChild::Cut(conn) => {
                    if let Some(child) = child(conn, self) {
                        self.unlink(child);
                    }
                }
            }
        }
    }

    fn carry_out(&mut self, host: u32) {
        while let Some(output) = self.hosts.get_mut(&host).unwrap().slave.poll_output() {
            match output {
                Output::ToParent(message) => {
                    if let Some((_, conn)) = self.hosts[&host].parent {
                        let sent = self.time(host);
                        let frame = Frame { sent, message };
                        let due = self.now + self.delay;
                        self.flying.push_back((due, conn, Flying::Up(host, frame)));
                    }
                }
                Output::ToChild(one) => self.send(Some(host), vec![one]),
                Output::Door(Update::Leads(serves)) => {
                    self.hosts.get_mut(&host).unwrap().serves = serves;
                }
                Output::Door(update) => {
                    self.hosts.get_mut(&host).unwrap().doors.update(update);
                }
                Output::Drop(why) => {
                    self.drops.push(why);
                    self.unlink(host);
                }
                Output::Keep => self.check_prefix(host),
            }
        }
    }

    /// What a slave holds is what the master held at that change.
    fn check_prefix(&self, host: u32) {
        let source = self.hosts[&host].slave.source();
        if let Some(at) = source.at() {
            let then = &self.history[&(at.term.number, at.seq.0)];
            assert_eq!(&digest(source.known()), then, "slave {host} at {at:?}");
        }
    }

    /// Lets time pass, with everything that is due in it.
    fn pass(&mut self, duration: Duration) {
        let until = self.now + u64::try_from(duration.as_nanos()).unwrap();
        for _ in 0..100_000 {
            let flying = self.flying.front().map(|(due, ..)| *due);
            let timers = self.hosts.values().filter_map(|host| {
                let due = host.slave.next_timeout()?;
                Some(due.0 - host.skew)
            });
            let due = timers.chain(flying).min().unwrap_or(u64::MAX);
            if due > until {
                break;
            }
            self.now = self.now.max(due);
            if flying == Some(due) {
                let (_, conn, flown) = self.flying.pop_front().unwrap();
                self.arrive(conn, flown);
            }
            let hosts: Vec<_> = self.hosts.keys().copied().collect();
            for number in hosts {
                let now = self.time(number);
                let host = self.hosts.get_mut(&number).unwrap();
                if host.slave.next_timeout().is_some_and(|due| due <= now) {
                    host.slave.poll(now);
                    self.carry_out(number);
                }
            }
        }
        self.now = until;
    }

    fn arrive(&mut self, conn: ConnId, flown: Flying) {
        match flown {
            Flying::Up(child, frame) => match self.hosts[&child].parent {
                Some((None, _)) => {
                    let lease = Remaining::from(if self.leads { LEASE } else { Duration::ZERO });
                    let (now, mut out) = (self.master_time(), Vec::new());
                    let up = self
                        .master
                        .handle(now, conn, frame.message, (lease, 0), &mut out);
                    self.ups.extend(up);
                    self.send(None, out);
                }
                Some((Some(parent), _)) => {
                    let now = self.time(parent);
                    let host = self.hosts.get_mut(&parent).unwrap();
                    host.slave.handle_child(now, conn, frame.message);
                    self.carry_out(parent);
                }
                None => {}
            },
            Flying::Down(child, frame) => {
                let now = self.time(child);
                self.hosts
                    .get_mut(&child)
                    .unwrap()
                    .slave
                    .handle_parent(now, frame);
                self.carry_out(child);
            }
        }
    }

    fn leased(&self, host: u32) -> bool {
        self.hosts[&host].slave.is_leased(self.time(host))
    }

    fn at(&self, host: u32) -> Option<Position> {
        self.hosts[&host].slave.source().at()
    }
}
