//! The lockstep of a key change (INT-17): prepare, acknowledge, announce, switch. And the exception: an epoch that opens at
//! once, when there is nothing that a change could disturb.

use sealcast_crypto::Commitment;

use super::channel::{Announcement, Channel, EpochKey, Server};
use super::events::{AuthorityEvent, Cause};
use super::offer::Slot;
use super::{ConnId, Ctx, random_root};
use crate::ids::{Epoch, Remaining, RunId, ServerId, SlaveId, Term, Time};
use crate::limits::NOTICE_INTERVAL;
use crate::wire::control::{Notice, sign};
use crate::wire::link::{FromAuthority, Held, Mode, NoticeRelay, Report};

impl Channel {
    /// One step of the lockstep that is due; false when none is.
    pub(super) fn step(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let Some(current) = &self.current else {
            return false;
        };
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
            Some(_) if self.may_replace(ctx) => {
                self.replace(ctx);
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
        let Some(current) = self
            .current
            .as_ref()
            .filter(|_| self.generates() && self.next.is_none())
        else {
            return;
        };
        let end = current
            .end
            .max(ctx.now)
            .after(self.config.timing.lifetime());
        self.highest = self.highest.successor();
        let (channel, epoch) = (self.config.channel, self.highest);
        self.next = Some(EpochKey::new(
            channel,
            epoch,
            ctx.term,
            random_root(ctx.rng),
            end,
        ));
        self.store(ctx);
        ctx.event(AuthorityEvent::Prepared { channel, epoch });
        let servers: Vec<_> = self.servers.keys().copied().collect();
        for server in servers {
            self.offer(ctx, server, Slot::Next, false);
        }
    }

    /// The epoch in use ends `prepare_ahead` from now if it would end later; the next one is prepared now (SEC-13).
    pub(super) fn end_early(&mut self, ctx: &mut Ctx<'_>, cause: Cause) {
        let Some(current) = &mut self.current else {
            return;
        };
        let (epoch, end) = (
            current.epoch,
            ctx.now.after(self.config.timing.prepare_ahead()),
        );
        let shortens = end < current.end;
        current.end = current.end.min(end);
        if shortens && let Some(announcement) = &mut self.announcement {
            announcement.sign_at = ctx.now;
        }
        let prepares = self.generates() && self.next.is_none();
        if shortens || prepares {
            ctx.event(AuthorityEvent::EndsEarly {
                channel: self.config.channel,
                epoch,
                cause,
            });
        }
        self.prepare(ctx);
    }

    /// Announces when every server heard of lately acknowledged and enough slaves hold it, or the deadline passed and at least one
    /// server did; never before the first preset.
    fn try_announce(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let (Some(current), Some(next)) = (&self.current, &self.next) else {
            return false;
        };
        let timing = &self.config.timing;
        if ctx.now < current.end.before(timing.prepare_ahead()) {
            return false;
        }
        let late = ctx.now >= current.end.before(timing.deadline());
        let slaves = ctx.slaves.missing(self.config.channel, next.epoch);
        let missing = match self.config.mode {
            // Whoever deposited it holds it.
            Mode::DeliveryServer => Vec::new(),
            Mode::Authority => self.without(next, ctx.term),
        };
        if self.generates() && missing.len() == self.servers.len() {
            let epoch = next.epoch;
            if late {
                self.alarm(
                    ctx,
                    AuthorityEvent::NobodyAcknowledged {
                        channel: self.config.channel,
                        epoch,
                    },
                );
            }
            return false;
        }
        if (!missing.is_empty() || !slaves.is_empty()) && !late {
            return false;
        }
        self.announce(ctx, missing, slaves);
        true
    }

    /// The servers that do not hold `key`.
    fn without(&self, key: &EpochKey, own: Term) -> Vec<ServerId> {
        let current = self.current.as_ref().map(|current| current.epoch);
        let holds = |id: ServerId, server: &Server| {
            let Some(report) = &server.report else {
                return false;
            };
            // A server to which a former master announced another change keeps `key` beside that. A Notice of the change away from what
            // is in use puts it in its place, but only where that is in use.
            let spare = report
                .spare
                .filter(|_| report.current.map(|held| held.epoch) == current);
            let mut held = [report.next, spare].into_iter().flatten();
            held.any(|held| self.is_held(key, own, id, report.run, &held))
        };
        self.servers
            .iter()
            .filter(|(id, server)| !holds(**id, server))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Whether a server has acknowledged `key`, as next or in its place.
    pub(super) fn holds(&self, key: &EpochKey, own: Term, id: ServerId, report: &Report) -> bool {
        let held = [report.next, report.spare].into_iter().flatten();
        held.into_iter()
            .any(|held| self.is_held(key, own, id, report.run, &held))
    }

    /// Whether what a run reports is what it was given of `key`. What a former term gave cannot be compared.
    pub(super) fn is_held(
        &self,
        key: &EpochKey,
        own: Term,
        server: ServerId,
        run: RunId,
        held: &Held,
    ) -> bool {
        if held.epoch != key.epoch || !self.generates() {
            return held.epoch == key.epoch;
        }
        let given = match key.grants.of(server, run) {
            Some(grant) => grant.first_lane == held.first_lane && grant.group == held.group,
            None => !key.hands_out(own),
        };
        held.term == key.term && given
    }

    /// Commits the change: durable, then announced until the boundary (MD-26).
    fn announce(&mut self, ctx: &mut Ctx<'_>, missing: Vec<ServerId>, slaves: Vec<SlaveId>) {
        let Some(epoch) = self.next.as_ref().map(|next| next.epoch) else {
            return;
        };
        self.leave_time_to_fetch(ctx.now);
        self.revision += 1;
        self.set_announcement(ctx);
        self.store(ctx);
        ctx.event(AuthorityEvent::Announced {
            channel: self.config.channel,
            epoch,
            missing,
            slaves,
        });
    }

    /// Late: devices get their time all the same.
    pub(super) fn leave_time_to_fetch(&mut self, now: Time) {
        let (Some(current), Some(next)) = (&mut self.current, &mut self.next) else {
            return;
        };
        let timing = &self.config.timing;
        let earliest = now.after(timing.fetch_ahead());
        if current.end < earliest {
            current.end = earliest;
            next.end = next.end.max(earliest.after(timing.lifetime()));
        }
    }

    /// The change from current to next is announced under the channel's revision.
    pub(super) fn set_announcement(&mut self, ctx: &Ctx<'_>) {
        let (Some(current), Some(next)) = (&self.current, &self.next) else {
            return;
        };
        let notice = self.notice(
            ctx,
            current.epoch,
            current.commitment,
            next,
            current.end.remaining(ctx.now),
        );
        self.announcement = Some(Announcement {
            notice,
            sign_at: ctx.now,
        });
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
        let (Some(current), Some(announcement)) = (&self.current, &mut self.announcement) else {
            return;
        };
        announcement.notice.remaining = current.end.remaining(ctx.now);
        announcement.sign_at = ctx.now.after(NOTICE_INTERVAL);
        let datagram = sign(&announcement.notice, &ctx.keys.signing);
        for link in self.servers.values().filter_map(|server| server.link) {
            ctx.send(
                link.conn,
                FromAuthority::Notice(NoticeRelay {
                    datagram: datagram.clone(),
                }),
            );
        }
    }

    /// A Notice for one server that missed the change from `from` to the epoch in use.
    pub(super) fn catch_up(&self, ctx: &mut Ctx<'_>, conn: ConnId, from: Epoch) {
        let Some(current) = &self.current else { return };
        let commitment = self
            .others
            .iter()
            .find(|served| served.key.epoch == from)
            .and_then(|served| served.key.commitment);
        let notice = self.notice(ctx, from, commitment, current, Remaining(0));
        ctx.send(
            conn,
            FromAuthority::Notice(NoticeRelay {
                datagram: sign(&notice, &ctx.keys.signing),
            }),
        );
    }

    /// The boundary: next is the epoch in use (MD-15).
    fn switch(&mut self, ctx: &mut Ctx<'_>) {
        let Some(next) = self.next.take() else { return };
        self.announcement = None;
        let epoch = next.epoch;
        self.put_in_use(ctx, next);
        ctx.event(AuthorityEvent::Switched {
            channel: self.config.channel,
            epoch,
        });
        self.replacement_follows(ctx);
    }

    /// A new epoch with a root of this term, in use from now (MD-16).
    pub(super) fn open_at_once(&mut self, ctx: &mut Ctx<'_>) {
        self.highest = self.highest.successor();
        let end = ctx.now.after(self.config.timing.lifetime());
        let key = EpochKey::new(
            self.config.channel,
            self.highest,
            ctx.term,
            random_root(ctx.rng),
            end,
        );
        self.open(ctx, key);
    }

    /// Puts an epoch in use that nobody was told of before.
    pub(super) fn open(&mut self, ctx: &mut Ctx<'_>, key: EpochKey) {
        self.drop_next(ctx.now);
        self.revision += 1;
        let (channel, epoch) = (self.config.channel, key.epoch);
        self.put_in_use(ctx, key);
        ctx.event(AuthorityEvent::Opened { channel, epoch });
    }

    /// A prepared next is dropped for good; an announced one is served on, because somebody out of reach may switch to it.
    pub(super) fn drop_next(&mut self, now: Time) {
        let announced = self.announcement.take().is_some();
        // Nobody but delivery servers and slaves was given it.
        self.replacement = None;
        if let Some(next) = self.next.take().filter(|_| announced) {
            self.serve_on(next, now);
        }
    }

    pub(super) fn put_in_use(&mut self, ctx: &mut Ctx<'_>, key: EpochKey) {
        if let Some(former) = self.current.replace(key) {
            self.serve_on(former, ctx.now);
        }
        self.alarms.clear();
        self.store(ctx);
    }
}
