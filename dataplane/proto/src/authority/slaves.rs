//! Slave key servers: a change is announced when enough of them hold the next key (MD-30, INT-17), so that devices that ask at
//! once find somebody who answers.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::CryptoRng;

use super::report::is_near;
use super::{Authority, Ctx, Output, Phase};
use crate::ids::{ChannelId, Epoch, SlaveId, Term, Time};
use crate::wire::feed::SlaveReport;

/// The slaves that there are, and how many of them must hold a key before it is announced.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SlaveQuorum {
    /// Those that may be fed.
    pub known: BTreeSet<SlaveId>,
    /// How many of them; `None`: more than half.
    pub needed: Option<usize>,
}

impl SlaveQuorum {
    fn needed(&self) -> usize {
        let half = self.known.len().div_ceil(2);
        let most = if self.known.len().is_multiple_of(2) && half > 0 {
            half + 1
        } else {
            half
        };
        self.needed.unwrap_or(most).min(self.known.len())
    }
}

/// What the slaves hold of the master's present term.
#[derive(Debug, Default)]
pub(super) struct Slaves {
    quorum: SlaveQuorum,
    held: BTreeMap<SlaveId, BTreeMap<ChannelId, Epoch>>,
}

impl Slaves {
    pub(super) fn new(quorum: SlaveQuorum) -> Self {
        Self {
            quorum,
            held: BTreeMap::new(),
        }
    }

    /// The slaves without this epoch, if they are too many for it to be announced; empty if enough hold it.
    pub(super) fn missing(&self, channel: ChannelId, epoch: Epoch) -> Vec<SlaveId> {
        let holds = |slave: &SlaveId| {
            let held = self.held.get(slave).and_then(|held| held.get(&channel));
            held.is_some_and(|held| *held >= epoch)
        };
        let known = &self.quorum.known;
        let without: Vec<_> = known
            .iter()
            .copied()
            .filter(|slave| !holds(slave))
            .collect();
        if known.len() - without.len() >= self.quorum.needed() {
            Vec::new()
        } else {
            without
        }
    }

    /// Another term: nothing is held of it yet.
    pub(super) fn forget(&mut self) {
        self.held.clear();
    }

    fn take(&mut self, report: &SlaveReport) {
        let held = self.held.entry(report.slave).or_default();
        for (channel, epoch) in &report.held {
            match epoch {
                Some(epoch) => drop(held.insert(*channel, *epoch)),
                None => drop(held.remove(channel)),
            }
        }
    }
}

impl Authority {
    /// These are the slaves from here on.
    pub fn set_slaves(
        &mut self,
        now: Time,
        quorum: SlaveQuorum,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Output>,
    ) {
        self.slaves
            .held
            .retain(|slave, _| quorum.known.contains(slave));
        self.slaves.quorum = quorum;
        self.poll(now, rng, out);
    }

    /// A slave has seen this term: a later one than ours means another master.
    pub fn slave_seen(&mut self, now: Time, term: Term, out: &mut Vec<Output>) {
        if let Some(rival) = self.is_deposed_by(std::iter::once(term)) {
            self.depose(now, rival, out);
        } else if let Phase::Collecting(collection) = &mut self.phase {
            collection.saw(std::iter::once(term));
        }
    }

    /// What a slave holds: an acknowledgement if it is of this term, evidence of what a former master did if it is not.
    pub fn slave_report(
        &mut self,
        now: Time,
        report: &SlaveReport,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Output>,
    ) {
        self.slave_seen(now, report.term, out);
        match &mut self.phase {
            Phase::Collecting(collection) => collection.slave(report),
            Phase::Leading(term) if *term == report.term => {
                self.slaves.take(report);
                self.slaves_changed(now, report, rng, out);
            }
            Phase::Leading(_) => {
                for (channel, epoch) in &report.held {
                    let known = self.channels.get_mut(channel);
                    if let (Some(channel), Some(seen)) = (known, *epoch)
                        && seen > channel.highest
                        && is_near(seen, channel.highest)
                    {
                        out.push(Output::Event(channel.seen_above(seen)));
                    }
                }
            }
        }
    }

    /// The channels of a report may be announced now.
    fn slaves_changed(
        &mut self,
        now: Time,
        report: &SlaveReport,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Output>,
    ) {
        let Phase::Leading(term) = self.phase else {
            return;
        };
        let mut ctx = Ctx {
            now,
            term,
            keys: &self.config.keys,
            slaves: &self.slaves,
            rng,
            out,
            stored: false,
        };
        for (channel, _) in &report.held {
            if let Some(channel) = self.channels.get_mut(channel) {
                channel.advance(&mut ctx);
            }
        }
        self.settle(out);
    }

    /// A slave is not linked any more: what it holds it may lose.
    pub fn slave_gone(&mut self, slave: SlaveId) {
        self.slaves.held.remove(&slave);
    }
}
