//! One channel at the authority: its epochs, and the lockstep of a change (INT-17): prepare, acknowledge, announce, switch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sealcast_crypto::{Commitment, EpochRoot, VerifyingKey};

use super::deposit::Numbering;
use super::events::{AuthorityEvent, Cause, Fault};
use super::grants::{Grants, Groups, NoLanes};
use super::stored::{Depositor, StoredChannel, StoredEpoch};
use super::{ChannelConfig, ConnId, Ctx, random_root};
use crate::ids::{ChannelId, Epoch, Kid, Lane, Remaining, RunId, ServerId, Term, Time};
use crate::limits::{LANES_MAX, NOTICE_INTERVAL, REPORT_INTERVAL};
use crate::wire::control::{LaneCertificate, Notice, sign};
use crate::wire::link::{CipherHalf, FromAuthority, Held, Mode, NoticeRelay, Report};

/// Epochs served besides current and next.
const SERVED_MAX: usize = 32;

/// One epoch as the authority knows it.
#[derive(Debug)]
pub(super) struct EpochKey {
    pub(super) epoch: Epoch,
    /// Who generated the root; only that term hands out its lanes.
    pub(super) term: Term,
    /// `None` when another master generated it: known by its number only.
    pub(super) root: Option<EpochRoot>,
    pub(super) commitment: Option<Commitment>,
    pub(super) end: Time,
    /// Mode A: whose it is.
    pub(super) depositor: Option<Depositor>,
    pub(super) grants: Grants,
}

impl EpochKey {
    pub(super) fn new(channel: ChannelId, epoch: Epoch, term: Term, root: EpochRoot, end: Time) -> Self {
        let commitment = Some(root.prk().commitment(channel.0, epoch.0));
        Self { epoch, term, root: Some(root), commitment, end, depositor: None, grants: Grants::default() }
    }

    fn to_stored(&self, opened: bool) -> Option<StoredEpoch> {
        let root = self.root.clone()?;
        Some(StoredEpoch { epoch: self.epoch, term: self.term, root, opened, depositor: self.depositor })
    }
}

/// An epoch that is neither current nor next but may still be in use somewhere.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) key: EpochKey,
    /// Kept at least until then.
    pub(super) keep_until: Time,
}

/// The committed change to next.
#[derive(Debug)]
pub(super) struct Announcement {
    /// As announced; `remaining` is computed anew at each signing.
    pub(super) notice: Notice,
    pub(super) sign_at: Time,
}

/// The live link to a delivery server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) conn: ConnId,
    pub(super) key: VerifyingKey,
}

/// A delivery server of the channel: heard of within the last [`Channel::silence`].
#[derive(Debug)]
pub(super) struct Server {
    pub(super) last: Time,
    pub(super) link: Option<Link>,
    /// The last report; `None` for one known from a former term only.
    pub(super) report: Option<Report>,
}

impl Server {
    pub(super) fn current(&self) -> Option<Held> {
        self.report.as_ref().and_then(|report| report.current)
    }
}

/// Which epoch's lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slot {
    Current,
    Next,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) config: ChannelConfig,
    /// The highest number used, here or by any report. The next one is above.
    pub(super) highest: Epoch,
    /// Names the epoch that was last announced or opened; no two of them share a revision.
    pub(super) revision: u32,
    pub(super) current: Option<EpochKey>,
    pub(super) next: Option<EpochKey>,
    pub(super) announcement: Option<Announcement>,
    pub(super) others: Vec<Served>,
    pub(super) servers: BTreeMap<ServerId, Server>,
    pub(super) groups: Groups,
    pub(super) numbering: Numbering,
    /// What was said in this epoch and need not be said again.
    alarms: BTreeSet<AuthorityEvent>,
    /// Everything due up to here is done.
    advanced: Time,
    /// Differs from what is stored.
    dirty: bool,
}

impl Channel {
    pub(super) fn new(config: ChannelConfig, highest: Epoch, revision: u32) -> Self {
        Self {
            config,
            highest,
            revision,
            current: None,
            next: None,
            announcement: None,
            others: Vec::new(),
            servers: BTreeMap::new(),
            groups: Groups::default(),
            numbering: Numbering::default(),
            alarms: BTreeSet::new(),
            advanced: Time(0),
            dirty: true,
        }
    }

    /// What must be durable, if it changed since the last call.
    pub(super) fn take_stored(&mut self) -> Option<StoredChannel> {
        if !std::mem::take(&mut self.dirty) {
            return None;
        }
        let announced = self.announcement.is_some();
        let others = self.others.iter().filter_map(|served| served.key.to_stored(true));
        let current = self.current.iter().filter_map(|key| key.to_stored(true));
        let next = self.next.iter().filter_map(|key| key.to_stored(announced));
        let mut epochs: Vec<_> = others.chain(current).chain(next).collect();
        epochs.sort_by_key(|stored| stored.epoch);
        Some(StoredChannel {
            highest: self.highest,
            revision: self.revision,
            epochs,
            announced: self.announcement.as_ref().map(|announcement| announcement.notice.clone()),
            servers: self.servers.keys().copied().collect(),
        })
    }

    /// Does all that is due; the last thing in every call.
    pub(super) fn advance(&mut self, ctx: &mut Ctx<'_>) {
        self.forget_silent(ctx);
        while self.step(ctx) {}
        self.drop_unserved(ctx);
        self.advanced = ctx.now;
    }

    /// When [`Channel::advance`] has something to do.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        let timing = &self.config.timing;
        let silences = self.servers.values().map(|server| server.last.after(self.silence()));
        let keeps = self.others.iter().map(|served| served.keep_until);
        let lockstep = self.current.iter().flat_map(|current| {
            let prepare = current.end.before(timing.prepare_ahead());
            match (&self.next, &self.announcement) {
                (_, Some(announcement)) => [announcement.sign_at, current.end],
                (Some(_), None) => [prepare, current.end.before(timing.deadline())],
                (None, None) => [prepare, prepare],
            }
        });
        silences.chain(keeps).chain(lockstep).filter(|&time| time > self.advanced).min()
    }

    /// One step of the lockstep that is due; false when none is.
    fn step(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let Some(current) = &self.current else { return false };
        if self.next.is_none() {
            let preset = current.end.before(self.config.timing.prepare_ahead());
            if !self.generates() || (current.root.is_some() && ctx.now < preset) {
                return false;
            }
            if current.root.is_none() {
                self.end_early(ctx, Cause::RootUnknown);
            } else {
                self.prepare(ctx);
            }
            return true;
        }
        match &self.announcement {
            None => self.try_announce(ctx),
            Some(_) if ctx.now >= current.end => {
                self.switch(ctx);
                true
            }
            Some(announcement) if ctx.now >= announcement.sign_at => {
                self.relay(ctx);
                true
            }
            Some(_) => false,
        }
    }

    /// Generates the next epoch, once, and offers it to everybody (MD-20, MD-24, MD-38).
    pub(super) fn prepare(&mut self, ctx: &mut Ctx<'_>) {
        let Some(current) = self.current.as_ref().filter(|_| self.generates() && self.next.is_none()) else { return };
        let end = current.end.max(ctx.now).after(self.config.timing.lifetime());
        self.highest = self.highest.successor();
        let (channel, epoch) = (self.config.channel, self.highest);
        self.next = Some(EpochKey::new(channel, epoch, ctx.term, random_root(ctx.rng), end));
        self.store(ctx);
        ctx.event(AuthorityEvent::Prepared { channel, epoch });
        let servers: Vec<_> = self.servers.keys().copied().collect();
        for server in servers {
            self.offer(ctx, server, Slot::Next, false);
        }
    }

    /// The epoch in use ends `prepare_ahead` from now if it would end later; the next one is prepared now (SEC-13).
    pub(super) fn end_early(&mut self, ctx: &mut Ctx<'_>, cause: Cause) {
        let Some(current) = &mut self.current else { return };
        let (epoch, end) = (current.epoch, ctx.now.after(self.config.timing.prepare_ahead()));
        let shortens = end < current.end;
        current.end = current.end.min(end);
        if shortens && let Some(announcement) = &mut self.announcement {
            announcement.sign_at = ctx.now;
        }
        let prepares = self.generates() && self.next.is_none();
        if shortens || prepares {
            ctx.event(AuthorityEvent::EndsEarly { channel: self.config.channel, epoch, cause });
        }
        self.prepare(ctx);
    }

    /// Announces when every server heard of lately acknowledged, or the deadline passed and at least one did; never before the
    /// first preset.
    fn try_announce(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let (Some(current), Some(next)) = (&self.current, &self.next) else { return false };
        let timing = &self.config.timing;
        if ctx.now < current.end.before(timing.prepare_ahead()) {
            return false;
        }
        let late = ctx.now >= current.end.before(timing.deadline());
        let missing = match self.config.mode {
            // Whoever deposited it holds it.
            Mode::DeliveryServer => Vec::new(),
            Mode::Authority => self.without(next, ctx.term),
        };
        if self.generates() && missing.len() == self.servers.len() {
            let epoch = next.epoch;
            if late {
                self.alarm(ctx, AuthorityEvent::NobodyAcknowledged { channel: self.config.channel, epoch });
            }
            return false;
        }
        if !missing.is_empty() && !late {
            return false;
        }
        self.announce(ctx, missing);
        true
    }

    /// The servers that do not hold `key`.
    fn without(&self, key: &EpochKey, own: Term) -> Vec<ServerId> {
        let holds = |id: ServerId, server: &Server| {
            let report = server.report.as_ref();
            report.is_some_and(|report| report.next.is_some_and(|held| self.is_held(key, own, id, report.run, &held)))
        };
        self.servers.iter().filter(|(id, server)| !holds(**id, server)).map(|(id, _)| *id).collect()
    }

    /// Whether what a run reports is what it was given of `key`. What a former term gave cannot be compared.
    pub(super) fn is_held(&self, key: &EpochKey, own: Term, server: ServerId, run: RunId, held: &Held) -> bool {
        if held.epoch != key.epoch || !self.generates() {
            return held.epoch == key.epoch;
        }
        let given = match key.grants.of(server, run) {
            Some(grant) => grant.first_lane == held.first_lane && grant.group == held.group,
            None => key.term != own,
        };
        held.term == key.term && given
    }

    /// Commits the change: durable, then announced until the boundary (MD-26).
    fn announce(&mut self, ctx: &mut Ctx<'_>, missing: Vec<ServerId>) {
        let (Some(current), Some(next)) = (&mut self.current, &mut self.next) else { return };
        let timing = &self.config.timing;
        let latest = ctx.now.after(timing.fetch_ahead());
        if current.end < latest {
            // Late: devices get their time all the same.
            current.end = latest;
            next.end = next.end.max(latest.after(timing.lifetime()));
        }
        self.revision += 1;
        let epoch = next.epoch;
        self.set_announcement(ctx);
        self.store(ctx);
        ctx.event(AuthorityEvent::Announced { channel: self.config.channel, epoch, missing });
    }

    /// The change from current to next is announced under the channel's revision.
    pub(super) fn set_announcement(&mut self, ctx: &Ctx<'_>) {
        let (Some(current), Some(next)) = (&self.current, &self.next) else { return };
        let notice = self.notice(ctx, current.epoch, current.commitment, next, current.end.remaining(ctx.now));
        self.announcement = Some(Announcement { notice, sign_at: ctx.now });
    }

    fn notice(
        &self,
        ctx: &Ctx<'_>,
        from: Epoch,
        commitment: Option<Commitment>,
        to: &EpochKey,
        remaining: Remaining,
    ) -> Notice {
        Notice {
            channel: self.config.channel,
            term: ctx.term,
            current: from,
            next: to.epoch,
            current_commitment: commitment,
            next_commitment: to.commitment,
            revision: self.revision,
            remaining,
        }
    }

    /// Signs the Notice with what remains now and sends it to every server.
    fn relay(&mut self, ctx: &mut Ctx<'_>) {
        let (Some(current), Some(announcement)) = (&self.current, &mut self.announcement) else { return };
        announcement.notice.remaining = current.end.remaining(ctx.now);
        announcement.sign_at = ctx.now.after(NOTICE_INTERVAL);
        let datagram = sign(&announcement.notice, ctx.key);
        for link in self.servers.values().filter_map(|server| server.link) {
            ctx.send(link.conn, FromAuthority::Notice(NoticeRelay { datagram: datagram.clone() }));
        }
    }

    /// A Notice for one server that missed the change from `from` to the epoch in use.
    pub(super) fn catch_up(&self, ctx: &mut Ctx<'_>, conn: ConnId, from: Epoch) {
        let Some(current) = &self.current else { return };
        let commitment = self.others.iter().find(|served| served.key.epoch == from).and_then(|served| served.key.commitment);
        let notice = self.notice(ctx, from, commitment, current, Remaining(0));
        ctx.send(conn, FromAuthority::Notice(NoticeRelay { datagram: sign(&notice, ctx.key) }));
    }

    /// The boundary: next is the epoch in use (MD-15).
    fn switch(&mut self, ctx: &mut Ctx<'_>) {
        let Some(next) = self.next.take() else { return };
        self.announcement = None;
        let epoch = next.epoch;
        self.put_in_use(ctx, next);
        ctx.event(AuthorityEvent::Switched { channel: self.config.channel, epoch });
    }

    /// A new epoch with a root of this term, in use from now (MD-16).
    pub(super) fn open_at_once(&mut self, ctx: &mut Ctx<'_>) {
        self.highest = self.highest.successor();
        let end = ctx.now.after(self.config.timing.lifetime());
        let key = EpochKey::new(self.config.channel, self.highest, ctx.term, random_root(ctx.rng), end);
        self.open(ctx, key);
    }

    /// Puts an epoch in use that nobody was told of before. A prepared next is dropped; an announced one is served on, because
    /// somebody out of reach may switch to it.
    pub(super) fn open(&mut self, ctx: &mut Ctx<'_>, key: EpochKey) {
        let announced = self.announcement.take();
        if let Some(next) = self.next.take().filter(|_| announced.is_some()) {
            self.serve_on(next, ctx.now);
        }
        self.revision += 1;
        let (channel, epoch) = (self.config.channel, key.epoch);
        self.put_in_use(ctx, key);
        ctx.event(AuthorityEvent::Opened { channel, epoch });
    }

    pub(super) fn put_in_use(&mut self, ctx: &mut Ctx<'_>, key: EpochKey) {
        if let Some(former) = self.current.replace(key) {
            self.serve_on(former, ctx.now);
        }
        self.alarms.clear();
        self.store(ctx);
    }

    fn serve_on(&mut self, key: EpochKey, now: Time) {
        if key.root.is_some() {
            self.others.push(Served { key, keep_until: now.after(self.config.timing.grace()) });
            let excess = self.others.len().saturating_sub(SERVED_MAX);
            self.others.drain(..excess);
        }
    }

    /// Former epochs are served until every server has left them or has been silent for long.
    fn drop_unserved(&mut self, ctx: &mut Ctx<'_>) {
        let before = self.others.len();
        let servers = &self.servers;
        self.others.retain(|served| {
            let in_use = |server: &Server| server.current().is_some_and(|held| held.epoch <= served.key.epoch);
            ctx.now < served.keep_until || servers.values().any(in_use)
        });
        if self.others.len() < before {
            self.store(ctx);
        }
    }

    fn forget_silent(&mut self, ctx: &mut Ctx<'_>) {
        let silence = self.silence();
        let silent: Vec<_> =
            self.servers.iter().filter(|(_, server)| ctx.now >= server.last.after(silence)).map(|(id, _)| *id).collect();
        for server in silent {
            self.servers.remove(&server);
            self.store(ctx);
            ctx.event(AuthorityEvent::Silent { channel: self.config.channel, server });
        }
    }

    /// After this long without a report nothing waits for a server: it has stopped by its own rule.
    pub(super) fn silence(&self) -> Duration {
        self.config.timing.hold_max().max(3 * REPORT_INTERVAL)
    }

    /// Hands lanes of an epoch to the run that reports as `id`: the same ones whenever it asks. False when it gets none.
    pub(super) fn offer(&mut self, ctx: &mut Ctx<'_>, id: ServerId, slot: Slot, at_once: bool) -> bool {
        let server = self.servers.get(&id);
        let Some((link, report)) = server.and_then(|server| server.link.zip(server.report.as_ref())) else { return false };
        let key = match slot {
            Slot::Current => &mut self.current,
            Slot::Next => &mut self.next,
        };
        // Lanes of a former term's root may be in use by runs this term knows nothing of.
        let Some(key) = key.as_mut().filter(|key| key.term == ctx.term) else { return false };
        let Some(prk) = key.root.as_ref().map(EpochRoot::prk) else { return false };
        let groups = &mut self.groups;
        let grant = match key.grants.give(id, report.run, report.lanes, || groups.next(id, report, ctx.rng)) {
            Ok(grant) => grant,
            Err(why) => {
                let epoch = key.epoch;
                self.no_lanes(ctx, id, epoch, slot, why);
                return false;
            }
        };
        let (channel, run, epoch) = (self.config.channel, report.run, key.epoch);
        let numbers = (0..grant.lanes).filter_map(|index| grant.first_lane.number().checked_add(index).and_then(Lane::new));
        let lanes = numbers.map(|lane| prk.lane_secret(Kid::new(lane, channel, epoch).value())).collect();
        let remaining = key.end.remaining(ctx.now);
        let certificate = certificate(ctx, channel, key, id, link.key, report.run);
        let half = CipherHalf { channel, run, epoch, lanes, remaining, at_once, certificate };
        ctx.send(link.conn, FromAuthority::CipherHalf(half));
        true
    }

    fn no_lanes(&mut self, ctx: &mut Ctx<'_>, server: ServerId, epoch: Epoch, slot: Slot, why: NoLanes) {
        let channel = self.config.channel;
        match why {
            NoLanes::Runs => self.alarm(ctx, AuthorityEvent::RunsExhausted { channel, epoch, server }),
            NoLanes::Exhausted => {
                self.alarm(ctx, AuthorityEvent::LanesExhausted { channel, epoch, server });
                // A new epoch helps only if it has room for all that send now.
                let live = self.servers.values().filter(|server| server.link.is_some());
                let demand: usize = live.filter_map(|server| server.report.as_ref()).map(|report| usize::from(report.lanes)).sum();
                if slot == Slot::Current && demand <= LANES_MAX {
                    self.end_early(ctx, Cause::LanesExhausted);
                }
            }
        }
    }

    /// Says it unless it was said in this epoch.
    pub(super) fn alarm(&mut self, ctx: &mut Ctx<'_>, event: AuthorityEvent) {
        if self.alarms.insert(event.clone()) {
            ctx.event(event);
        }
    }

    pub(super) fn ignore(&mut self, ctx: &mut Ctx<'_>, server: ServerId, fault: Fault) {
        self.alarm(ctx, AuthorityEvent::Ignored { channel: self.config.channel, server: Some(server), fault });
    }

    pub(super) fn generates(&self) -> bool {
        self.config.mode == Mode::Authority
    }

    pub(super) fn store(&mut self, ctx: &mut Ctx<'_>) {
        self.dirty = true;
        ctx.store();
    }

    /// The link is gone; what its server holds is not.
    pub(super) fn unlink(&mut self, conn: ConnId) {
        for server in self.servers.values_mut() {
            server.link = server.link.filter(|link| link.conn != conn);
        }
    }
}

/// The certificate of a run's lanes in one epoch; empty when it has none.
pub(super) fn certificate(
    ctx: &Ctx<'_>,
    channel: ChannelId,
    key: &EpochKey,
    server: ServerId,
    server_key: VerifyingKey,
    run: RunId,
) -> Vec<u8> {
    let Some(grant) = key.grants.of(server, run) else { return Vec::new() };
    let certificate = LaneCertificate {
        channel,
        term: ctx.term,
        group: grant.group,
        follows: grant.follows,
        server,
        server_key,
        first_lane: grant.first_lane,
        lanes: grant.lanes,
        first_epoch: key.epoch,
        last_epoch: key.epoch,
    };
    sign(&certificate, ctx.key)
}
