//! Terms: how a master comes to lead, and how it stops (design: terms fence masters).

use std::collections::BTreeMap;

use super::channel::{Channel, Link};
use super::events::AuthorityEvent;
use super::{Authority, ConnId, Ctx, Output, Phase, random_id};
use crate::door::Update;
use crate::ids::{ChannelId, Epoch, ServerId, Term, Time};
use crate::wire::feed::SlaveReport;
use crate::wire::link::{Deposit, Hello, Report, ToAuthority};
use rand_core::CryptoRng;

/// Deposits kept while reports are collected; beyond that, servers deposit again at their next link.
const DEPOSITS_MAX: usize = 1024;
/// No term number reaches this by counting starts.
const TERM_MAX: u64 = u64::MAX / 2;

/// The last report of one server on one channel.
#[derive(Debug)]
pub(super) struct Collected {
    /// `None` when the link broke since.
    pub(super) link: Option<Link>,
    pub(super) at: Time,
    pub(super) report: Report,
}

/// What a master that does not lead yet has heard.
#[derive(Debug)]
pub(super) struct Collection {
    pub(super) until: Time,
    /// It led before, and another master was seen.
    pub(super) deposed: bool,
    /// The highest term number heard of.
    number: u64,
    reports: BTreeMap<(ChannelId, ServerId), Collected>,
    deposits: Vec<(ConnId, Deposit)>,
    /// The highest epoch of each channel that a slave holds.
    slaves: BTreeMap<ChannelId, Epoch>,
}

impl Collection {
    pub(super) fn new(until: Time, deposed: bool, number: u64) -> Self {
        Self {
            until,
            deposed,
            number,
            reports: BTreeMap::new(),
            deposits: Vec::new(),
            slaves: BTreeMap::new(),
        }
    }

    pub(super) fn saw(&mut self, terms: impl Iterator<Item = Term>) {
        let plausible = terms
            .map(|term| term.number)
            .filter(|&number| number < TERM_MAX);
        self.number = plausible.max().unwrap_or(0).max(self.number);
    }

    pub(super) fn report(&mut self, id: ServerId, collected: Collected) {
        self.saw(terms_of(&collected.report));
        self.reports
            .insert((collected.report.channel, id), collected);
    }

    pub(super) fn slave(&mut self, report: &SlaveReport) {
        for (channel, epoch) in &report.held {
            let known = self.slaves.entry(*channel).or_insert(Epoch(0));
            *known = (*known).max(epoch.unwrap_or(Epoch(0)));
        }
    }

    pub(super) fn deposit(&mut self, conn: ConnId, deposit: Deposit) {
        self.deposits.retain(|(_, known)| {
            (known.channel, known.run, known.epoch) != (deposit.channel, deposit.run, deposit.epoch)
        });
        if self.deposits.len() < DEPOSITS_MAX {
            self.deposits.push((conn, deposit));
        }
    }

    pub(super) fn unlink(&mut self, conn: ConnId) {
        for collected in self.reports.values_mut() {
            collected.link = collected.link.filter(|link| link.conn != conn);
        }
        self.deposits.retain(|(from, _)| *from != conn);
    }
}

impl Authority {
    /// Leads when every known server has reported, or the wait is over.
    pub(super) fn try_lead(&mut self, now: Time, rng: &mut dyn CryptoRng, out: &mut Vec<Output>) {
        let Phase::Collecting(collection) = &mut self.phase else {
            return;
        };
        let complete = !collection.deposed && {
            let stored = || {
                self.stored
                    .channels
                    .iter()
                    .flat_map(|(id, stored)| stored.servers.iter().map(|server| (*id, *server)))
            };
            let configured = |id: &ChannelId| {
                self.config
                    .channels
                    .iter()
                    .any(|channel| channel.channel == *id)
            };
            let mut known = stored()
                .filter(|(channel, _)| configured(channel))
                .peekable();
            let listed = &self.config.known_servers;
            let any = known.peek().is_some() || !listed.is_empty();
            any && known.all(|pair| collection.reports.contains_key(&pair))
                && listed
                    .iter()
                    .all(|id| collection.reports.keys().any(|(_, server)| server == id))
        };
        if now < collection.until && !complete {
            return;
        }
        let mut servers = self.nodes.values().peekable();
        if collection.deposed
            && (servers.peek().is_none() || servers.any(|hello| hello.other_master))
        {
            collection.until = now.after(self.config.start_wait);
            if !std::mem::replace(&mut self.waiting_told, true) {
                out.push(Output::Event(AuthorityEvent::Waiting));
            }
            return;
        }
        let number = collection.number.max(self.stored.term.number) + 1;
        let term = Term {
            number,
            instance: random_id(rng),
        };
        let leading = Phase::Leading(term);
        if let Phase::Collecting(collection) = std::mem::replace(&mut self.phase, leading) {
            self.lead(now, term, collection, rng, out);
        }
    }

    /// Commits the term, brings the channels back from the reports, and answers everybody who waited.
    fn lead(
        &mut self,
        now: Time,
        term: Term,
        collection: Collection,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Output>,
    ) {
        self.waiting_told = false;
        self.slaves.forget();
        let former = std::mem::replace(&mut self.stored.term, term);
        let mut ctx = Ctx {
            now,
            term,
            keys: &self.config.keys,
            slaves: &self.slaves,
            rng,
            out,
            stored: false,
        };
        ctx.store();
        ctx.event(AuthorityEvent::TermStarted { term });
        if collection.number > former.number {
            ctx.event(AuthorityEvent::OldCopy {
                stored: former,
                seen: collection.number,
            });
        }
        for conn in self.nodes.keys() {
            ctx.send(*conn, ctx.keys.welcome(term));
        }
        for config in &self.config.channels {
            let id = config.channel;
            let reports: Vec<_> = collection
                .reports
                .iter()
                .filter(|((channel, _), _)| *channel == id)
                .map(|(_, collected)| collected)
                .collect();
            let stored = self.stored.channels.get(&id).cloned().unwrap_or_default();
            let held = collection.slaves.get(&id).copied();
            let channel = Channel::adopt(config, stored, &reports, held, &mut ctx);
            self.channels.insert(id, channel);
        }
        for ((channel, server), Collected { link, at, report }) in collection.reports {
            if let Some(channel) = self.channels.get_mut(&channel) {
                channel.report(&mut ctx, server, link, at, report);
            }
        }
        for channel in self.channels.values_mut() {
            channel.advance(&mut ctx);
        }
        // What the channels are comes first.
        self.settle(out);
        out.push(Output::Leads(Some(term)));
        for (conn, deposit) in collection.deposits {
            self.handle(now, conn, ToAuthority::Deposit(deposit), rng, out);
        }
    }

    /// A node has seen `terms`. A higher number than ours, or ours with another instance, means another master.
    pub(super) fn is_deposed_by(
        &self,
        mut terms: impl Iterator<Item = Term>,
    ) -> Option<(Term, Term)> {
        let Phase::Leading(own) = self.phase else {
            return None;
        };
        let rival = terms
            .find(|&seen| seen.number < TERM_MAX && seen.number >= own.number && seen != own)?;
        Some((own, rival))
    }

    /// Stops leading: the lanes handed out are forgotten with the channels, and what follows is like a start.
    pub(super) fn depose(&mut self, now: Time, (own, seen): (Term, Term), out: &mut Vec<Output>) {
        out.push(Output::Event(AuthorityEvent::Deposed { own, seen }));
        out.push(Output::Leads(None));
        for id in std::mem::take(&mut self.channels).into_keys() {
            out.push(Output::Door(Update::ChannelGone(id)));
        }
        self.phase = Phase::Collecting(Collection::new(
            now.after(self.config.start_wait),
            true,
            seen.number,
        ));
    }
}

/// The terms that a report proves.
pub(super) fn terms_of(report: &Report) -> impl Iterator<Item = Term> + use<> {
    [report.current, report.next]
        .into_iter()
        .flatten()
        .map(|held| held.term)
}

/// The term that a delivery server has seen.
pub(super) fn term_of(hello: &Hello) -> impl Iterator<Item = Term> + use<> {
    std::iter::once(hello.term)
}
