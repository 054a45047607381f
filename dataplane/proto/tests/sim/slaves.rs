//! Slave key servers in the world: they feed from the authority or from each other, and each has a door of its own. Their links
//! come and go, they die and begin again with what they kept, their clocks step.

use std::collections::BTreeMap;

use sealcast_proto::authority::{ConnId, SlaveQuorum};
use sealcast_proto::door::{Door, Update};
use sealcast_proto::feed::{Kept, Output, Slave, SlaveConfig, Source, ToChild, Up};
use sealcast_proto::ids::{Remaining, SlaveId, Term, Time};
use sealcast_proto::limits::LEASE;
use sealcast_proto::wire::feed::{FromParent, SlaveKey, ToParent};
use sealcast_proto::wire::link::Frame;

use super::{Event, World};

/// Ticks between two tries of a slave to find a parent.
const RETRY: u64 = 10;

/// A message of the feed on its way.
pub(super) enum Flying {
    Up(usize, Frame<ToParent>),
    Down(usize, Frame<FromParent>),
}

/// One slave: its process, and what outlives it.
pub(super) struct SlaveNode {
    /// `None` while it is dead.
    pub(super) process: Option<(Slave, Door)>,
    pub(super) clock: u64,
    kept: Option<Kept>,
    /// Who feeds it (`None`: the authority), over which link.
    parent: Option<(Option<usize>, ConnId)>,
    tries: usize,
    pub(super) dead_until: u64,
    pub(super) cut_until: u64,
    /// Frames arrive in order.
    last_due: BTreeMap<ConnId, u64>,
    /// The highest term it followed.
    term: u64,
}

fn key_of(slave: usize) -> SlaveKey {
    let number = u32::try_from(slave).expect("few") + 1;
    SlaveKey {
        slave: SlaveId(number),
        key: [u8::try_from(number).expect("few"); 32],
    }
}

pub(super) fn quorum(slaves: usize) -> SlaveQuorum {
    SlaveQuorum {
        known: (0..slaves).map(|slave| key_of(slave).slave).collect(),
        needed: None,
    }
}

impl World {
    pub(super) fn slave_time(&self, slave: usize) -> Time {
        self.now(self.slaves[slave].clock)
    }

    /// Slaves that have never run.
    pub(super) fn add_slaves(&mut self) {
        for _ in 0..self.scenario.slaves {
            let clock = self.below(1 << 50);
            self.slaves.push(SlaveNode {
                process: None,
                clock,
                kept: None,
                parent: None,
                tries: 0,
                dead_until: 0,
                cut_until: 0,
                last_due: BTreeMap::new(),
                term: 0,
            });
        }
    }

    /// The feed of an authority that has just started.
    pub(super) fn open_feed(&mut self) {
        self.source = Source::new(None);
        self.leads = false;
        let roster = (0..self.scenario.slaves).map(key_of).collect();
        self.publish(Update::Roster(roster));
    }

    /// What the authority's door hears, the slaves hear, too.
    pub(super) fn publish(&mut self, update: Update) {
        let (now, mut out) = (self.authority_time(), Vec::new());
        self.source.publish(now, update, &mut out);
        self.tell_children(None, out);
    }

    pub(super) fn lead(&mut self, term: Option<Term>) {
        let (now, mut out) = (self.authority_time(), Vec::new());
        self.leads = term.is_some();
        self.source.lead(now, term, &mut out);
        self.tell_children(None, out);
    }

    fn fly(&mut self, slave: usize, conn: ConnId, flying: Flying) {
        let latency = self.below(3);
        let last = self.slaves[slave].last_due.entry(conn).or_default();
        *last = (*last).max(self.tick + latency);
        let due = *last;
        self.schedule(due, Event::Feed(conn, flying));
    }

    fn tell_children(&mut self, parent: Option<usize>, out: Vec<ToChild>) {
        for one in out {
            let (ToChild::Send(conn, _) | ToChild::Cut(conn)) = &one;
            let link = Some((parent, *conn));
            let Some(child) = self.slaves.iter().position(|slave| slave.parent == link) else {
                continue;
            };
            match one {
                ToChild::Send(conn, message) => {
                    let sent = match parent {
                        None => self.authority_time(),
                        Some(parent) => self.slave_time(parent),
                    };
                    self.fly(child, conn, Flying::Down(child, Frame { sent, message }));
                }
                ToChild::Cut(_) => self.unlink_slave(child),
            }
        }
    }

    /// What a slave tells the authority.
    fn up(&mut self, up: Up) {
        let (now, mut out) = (self.authority_time(), Vec::new());
        if let Some(authority) = &mut self.authority {
            match up {
                Up::Seen(term) => authority.slave_seen(now, term, &mut out),
                Up::Report(report) => {
                    authority.slave_report(now, &report, &mut self.rng, &mut out);
                }
                Up::Gone(slave) => authority.slave_gone(slave),
            }
        }
        self.carry_out(out);
    }

    pub(super) fn fed(&mut self, conn: ConnId, flying: Flying) {
        match flying {
            Flying::Up(child, frame) => match self.slaves[child].parent {
                Some((None, link)) if link == conn => {
                    let lease = if self.leads {
                        LEASE
                    } else {
                        std::time::Duration::ZERO
                    };
                    let (now, mut out) = (self.authority_time(), Vec::new());
                    let lease = (Remaining::from(lease), 0);
                    let up = self
                        .source
                        .handle(now, conn, frame.message, lease, &mut out);
                    self.tell_children(None, out);
                    up.into_iter().for_each(|up| self.up(up));
                }
                Some((Some(parent), link)) if link == conn => {
                    let now = self.slave_time(parent);
                    if let Some((slave, _)) = &mut self.slaves[parent].process {
                        slave.handle_child(now, conn, frame.message);
                    }
                    self.carry_out_slave(parent);
                }
                _ => {}
            },
            Flying::Down(child, frame) => {
                let now = self.slave_time(child);
                let is_linked = self.slaves[child]
                    .parent
                    .is_some_and(|(_, link)| link == conn);
                if let Some((slave, _)) = self.slaves[child].process.as_mut().filter(|_| is_linked)
                {
                    slave.handle_parent(now, frame);
                }
                self.carry_out_slave(child);
            }
        }
    }

    fn carry_out_slave(&mut self, index: usize) {
        while let Some(output) = self.slaves[index]
            .process
            .as_mut()
            .and_then(|(slave, _)| slave.poll_output())
        {
            match output {
                Output::ToParent(message) => {
                    if let Some((_, conn)) = self.slaves[index].parent {
                        let sent = self.slave_time(index);
                        self.fly(index, conn, Flying::Up(index, Frame { sent, message }));
                    }
                }
                Output::ToChild(one) => self.tell_children(Some(index), vec![one]),
                Output::Door(update) => {
                    if let Some((_, door)) = &mut self.slaves[index].process {
                        door.update(update);
                    }
                }
                Output::Drop(_) => self.unlink_slave(index),
                Output::Keep => self.keep(index),
            }
        }
    }

    /// MD-28: terms never go back at a slave.
    fn keep(&mut self, index: usize) {
        let node = &mut self.slaves[index];
        node.kept = node.process.as_ref().and_then(|(slave, _)| slave.kept());
        let term = node.kept.as_ref().map_or(0, |kept| kept.at.term.number);
        assert!(
            term >= node.term,
            "slave {index} went back to a former term"
        );
        node.term = term;
    }

    pub(super) fn unlink_slave(&mut self, index: usize) {
        let now = self.slave_time(index);
        let Some((parent, conn)) = self.slaves[index].parent.take() else {
            return;
        };
        if let Some((slave, _)) = &mut self.slaves[index].process {
            slave.link_down(now);
        }
        match parent {
            None => {
                let ups = self.source.unlinked(conn);
                ups.into_iter().for_each(|up| self.up(up));
            }
            Some(parent) => {
                if let Some((slave, _)) = &mut self.slaves[parent].process {
                    slave.child_gone(conn);
                }
                self.carry_out_slave(parent);
            }
        }
        self.carry_out_slave(index);
    }

    /// Whoever is fed over the authority, or over this slave, is not any more.
    pub(super) fn orphan(&mut self, parent: Option<usize>) {
        for index in 0..self.slaves.len() {
            if self.slaves[index]
                .parent
                .is_some_and(|(of, _)| of == parent)
            {
                self.unlink_slave(index);
            }
        }
    }

    pub(super) fn kill_slave(&mut self, index: usize, ticks: u64) {
        self.unlink_slave(index);
        self.orphan(Some(index));
        self.slaves[index].dead_until = self.tick + ticks;
        if let Some((_, mut door)) = self.slaves[index].process.take() {
            self.served.write(&mut door);
        }
    }

    /// Slaves begin, look for parents, and let time pass.
    pub(super) fn poll_slaves(&mut self) {
        for index in 0..self.slaves.len() {
            if self.slaves[index].process.is_none() && self.slaves[index].dead_until <= self.tick {
                self.begin_slave(index);
            }
            let looks = (self.tick + index as u64).is_multiple_of(RETRY);
            if looks
                && self.slaves[index].parent.is_none()
                && self.slaves[index].cut_until <= self.tick
            {
                self.link_slave(index);
            }
            let now = self.slave_time(index);
            if let Some((slave, _)) = &mut self.slaves[index].process {
                slave.poll(now);
            }
            self.carry_out_slave(index);
        }
    }

    fn begin_slave(&mut self, index: usize) {
        let config = SlaveConfig {
            slave: key_of(index).slave,
            doors: vec![([10, 2, 0, 1], 8444).into()],
            without_lease: self.scenario.without_lease,
        };
        let now = self.slave_time(index);
        let mut door = Door::new(&mut self.rng);
        door.note_given();
        let kept = self.slaves[index].kept.clone();
        self.slaves[index].process = Some((Slave::new(config, kept, now), door));
        self.carry_out_slave(index);
    }

    /// Slave 2 would rather be behind slave 1; the others behind the authority.
    fn link_slave(&mut self, index: usize) {
        let parents = match index {
            1 => [Some(0), None],
            0 => [None, Some(2)],
            _ => [None, Some(1)],
        };
        let tries = self.slaves[index].tries;
        self.slaves[index].tries += 1;
        let parent = parents[tries % parents.len()];
        if self.slaves[index].process.is_none() {
            return;
        }
        self.conns += 1;
        let conn = ConnId(self.conns);
        let admitted = match parent {
            None => {
                let admits = self.authority.is_some() && self.source.admits(&key_of(index));
                if admits {
                    self.source.linked(conn, key_of(index));
                }
                admits
            }
            Some(parent) => {
                let there = self
                    .slaves
                    .get_mut(parent)
                    .filter(|slave| slave.cut_until <= self.tick);
                let process = there.and_then(|slave| slave.process.as_mut());
                process.is_some_and(|(slave, _)| slave.child_linked(conn, key_of(index)))
            }
        };
        if admitted {
            let now = self.slave_time(index);
            self.slaves[index].parent = Some((parent, conn));
            if let Some((slave, _)) = &mut self.slaves[index].process {
                slave.link_up(now);
            }
            self.carry_out_slave(index);
        }
    }

    /// SEC-11: whether this door may still answer a device whose right was taken away `ago` ticks before: within the bound, and
    /// after it only one that has no contact and may go on with what was announced to it.
    pub(super) fn may_still_answer(&self, door: usize, ago: u64) -> bool {
        use sealcast_proto::feed::WithoutLease;
        let Some(slave) = door.checked_sub(1) else {
            return false;
        };
        let bound = u64::try_from(LEASE.as_nanos()).expect("short") / super::TICK + 10;
        let now = self.slave_time(slave);
        let process = self.slaves[slave].process.as_ref();
        let leased = process.is_some_and(|(slave, _)| slave.is_leased(now));
        ago <= bound || !leased && self.scenario.without_lease == WithoutLease::Announced
    }
}
