//! A delivery server's report: request, acknowledgement and heartbeat in one. Each one brings that server up to date, so
//! nothing depends on any single message (MD-16, MD-19, MD-40).

use super::Ctx;
use super::channel::{Channel, EpochKey, Link, Server};
use super::events::{AuthorityEvent, Cause, Fault};
use super::offer::Slot;
use crate::ids::{Epoch, ServerId, Term, Time};
use crate::limits::EPOCH_BITS;
use crate::wire::link::{Held, Mode, Report};

/// Where a mode B server stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// It has nothing to send under.
    Without,
    /// It sends under the epoch in use.
    UpToDate,
    /// Its countdown was ahead of ours by a moment: it sends under the announced next already.
    Ahead,
    /// It sends under that number with lanes it was not given.
    Conflict(Epoch),
    /// It sends under an older epoch and holds the one in use.
    Due(Epoch),
    /// It sends under an older epoch.
    Behind(Epoch),
}

impl Channel {
    /// Takes a report that came over `link` at `at`. Without a link (it broke while a starting master collected reports) the
    /// report only counts as evidence.
    pub(super) fn report(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: ServerId,
        link: Option<Link>,
        at: Time,
        report: Report,
    ) {
        if let Some(link) = link {
            self.introduce(ctx, id, link);
        }
        if report.mode != self.config.mode {
            return self.ignore(ctx, id, Fault::Mode);
        }
        if !is_plausible(&report, self.highest) {
            return self.ignore(ctx, id, Fault::Implausible);
        }
        self.note(ctx, id, link, at, report.clone());
        if link.is_some() {
            match self.config.mode {
                Mode::Authority => self.bring_up_to_date(ctx, id, &report),
                Mode::DeliveryServer => self.follow(ctx, id, &report),
            }
        }
        self.advance(ctx);
    }

    /// A server that speaks over a new link is told first what the channel is.
    pub(super) fn introduce(&self, ctx: &mut Ctx<'_>, id: ServerId, link: Link) {
        let known = self.servers.get(&id).and_then(|server| server.link);
        if known != Some(link) {
            ctx.send(link.conn, self.config.settings());
        }
    }

    fn note(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: ServerId,
        link: Option<Link>,
        at: Time,
        mut report: Report,
    ) {
        report.notice = None;
        if let Some(held) = report.current {
            self.groups.learn(id, report.run, held.group);
        }
        let reported = [report.current, report.next, report.spare]
            .into_iter()
            .flatten()
            .map(|held| held.epoch)
            .max();
        let known = self
            .servers
            .insert(
                id,
                Server {
                    last: at,
                    link,
                    report: Some(report),
                },
            )
            .is_some();
        let seen = reported.filter(|seen| *seen > self.highest);
        if let Some(seen) = seen {
            let old = self.seen_above(seen);
            // In mode A servers number epochs themselves.
            if self.config.mode == Mode::Authority {
                ctx.event(old);
            }
        }
        if !known || seen.is_some() {
            self.store(ctx);
        }
    }

    fn bring_up_to_date(&mut self, ctx: &mut Ctx<'_>, id: ServerId, report: &Report) {
        // What is prepared during this call is offered to everybody then.
        let prepared = self.next.as_ref().map(|next| next.epoch);
        self.adopt_later(ctx, id, report);
        match self.standing(ctx.term, id, report) {
            Standing::Without => self.start_server(ctx, id),
            Standing::UpToDate => self.wishes(ctx, report),
            Standing::Ahead => {}
            Standing::Conflict(epoch) => {
                self.alarm(
                    ctx,
                    AuthorityEvent::Conflict {
                        channel: self.config.channel,
                        epoch,
                        server: id,
                    },
                );
                self.end_early(ctx, Cause::Conflict);
            }
            // Once the change after is announced, these servers leave their old epoch with it, too.
            Standing::Due(_) | Standing::Behind(_) if self.announcement.is_some() => {}
            // One step per report: next is offered when the server has come up to the epoch in use.
            Standing::Due(from) => return self.send_catch_up(ctx, id, from),
            Standing::Behind(from) => {
                if self.offer(ctx, id, Slot::Current, false) {
                    return self.send_catch_up(ctx, id, from);
                }
                if !self.is_own(ctx.term) {
                    self.end_early(ctx, Cause::EarlierTerm);
                }
            }
        }
        let lacks = |next: &EpochKey| {
            let mut held = [report.next, report.current].into_iter().flatten();
            prepared == Some(next.epoch)
                && !held.any(|held| self.is_held(next, ctx.term, id, report.run, &held))
        };
        if self.next.as_ref().is_some_and(lacks) {
            self.offer(ctx, id, Slot::Next, false);
        }
        let replaces = |key: &EpochKey| !self.holds(key, ctx.term, id, report);
        if self.announcement.is_some() && self.replacement.as_ref().is_some_and(replaces) {
            self.offer(ctx, id, Slot::Replacement, false);
        }
    }

    fn standing(&self, own: Term, id: ServerId, report: &Report) -> Standing {
        let (Some(current), Some(held)) = (&self.current, &report.current) else {
            return Standing::Without;
        };
        if held.epoch < current.epoch {
            return match report.next {
                Some(next) if self.is_held(current, own, id, report.run, &next) => {
                    Standing::Due(held.epoch)
                }
                _ => Standing::Behind(held.epoch),
            };
        }
        if self.is_held(current, own, id, report.run, held) {
            Standing::UpToDate
        } else if held.epoch > current.epoch {
            Standing::Ahead
        } else {
            Standing::Conflict(held.epoch)
        }
    }

    /// A server that has nothing gets lanes of the epoch in use, or a new epoch if nobody sends under one; if the epoch in use
    /// is a former term's, it waits for the next.
    fn start_server(&mut self, ctx: &mut Ctx<'_>, id: ServerId) {
        let in_use = self.current.as_ref().is_some_and(|current| {
            self.servers.values().any(|server| {
                server
                    .current()
                    .is_some_and(|held| held.epoch == current.epoch)
            })
        });
        let lives = self
            .current
            .as_ref()
            .is_some_and(|current| current.end > ctx.now);
        let usable = lives && self.is_own(ctx.term);
        if !in_use && !usable {
            self.open_at_once(ctx);
        }
        if self.is_own(ctx.term) {
            self.offer(ctx, id, Slot::Current, true);
        } else {
            self.end_early(ctx, Cause::EarlierTerm);
        }
    }

    /// MD-19, MD-23: the next key is wanted, at any time; the boundary moves only for a reason.
    fn wishes(&mut self, ctx: &mut Ctx<'_>, report: &Report) {
        match report.early {
            Some(why) => self.end_early(ctx, Cause::Asked(why)),
            None if report.wants_next => self.prepare(ctx),
            None => {}
        }
    }

    /// Mode A: the authority follows what the server does.
    fn follow(&mut self, ctx: &mut Ctx<'_>, id: ServerId, report: &Report) {
        self.adopt_later(ctx, id, report);
        if let (Some(current), Some(held)) = (
            self.current.as_ref().map(|current| current.epoch),
            report.current,
        ) {
            if held.epoch == current
                && let Some(why) = report.early
            {
                self.end_early(ctx, Cause::Asked(why));
            }
            let due = held.epoch < current && report.next.is_some_and(|next| next.epoch == current);
            if due && self.announcement.is_none() {
                self.send_catch_up(ctx, id, held.epoch);
            }
        }
        self.deposit_waiting(ctx, id, report.run);
    }

    /// A server that was out of reach while this term started sends under a later epoch than anybody reported: that one is in
    /// use. A change that is announced already stands.
    fn adopt_later(&mut self, ctx: &mut Ctx<'_>, id: ServerId, report: &Report) {
        let Some(held) = report.current else { return };
        let known = self
            .current
            .as_ref()
            .is_some_and(|current| current.epoch >= held.epoch);
        let ahead = self
            .next
            .as_ref()
            .is_some_and(|next| self.is_held(next, ctx.term, id, report.run, &held));
        if known || (ahead && self.announcement.is_some()) {
            return;
        }
        let same = |key: &EpochKey| {
            key.epoch == held.epoch && (!self.generates() || key.term == held.term)
        };
        let kept = self.others.iter().position(|served| same(&served.key));
        let stands = self.announcement.is_some()
            && self
                .next
                .as_ref()
                .is_some_and(|next| next.epoch > held.epoch);
        let end = match &self.current {
            // Its boundary is announced, too.
            Some(former) if stands => former.end,
            _ => held_end(ctx.now, held, self),
        };
        let key = match kept {
            Some(index) => self.others.remove(index).key,
            None => EpochKey::unknown(held.epoch, held.term),
        };
        let key = EpochKey { end, ..key };
        if !stands {
            self.drop_next(ctx.now);
            self.revision += 1;
        }
        let (channel, epoch, root_known) = (self.config.channel, key.epoch, key.root.is_some());
        self.put_in_use(ctx, key);
        ctx.event(AuthorityEvent::Adopted {
            channel,
            epoch,
            root_known,
        });
    }

    fn send_catch_up(&self, ctx: &mut Ctx<'_>, id: ServerId, from: Epoch) {
        if let Some(link) = self.servers.get(&id).and_then(|server| server.link) {
            self.catch_up(ctx, link.conn, from);
        }
    }

    /// Whether this term generated the epoch in use, and knows all who have lanes of it.
    fn is_own(&self, own: Term) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.hands_out(own))
    }
}

/// When a reported epoch ends; no countdown is longer than two lives.
pub(super) fn held_end(at: Time, held: Held, channel: &Channel) -> Time {
    at.after(
        held.remaining
            .duration()
            .min(2 * channel.config.timing.lifetime()),
    )
}

/// Whether a report can be: lanes, and numbers that receivers could still resolve from `highest`.
pub(super) fn is_plausible(report: &Report, highest: Epoch) -> bool {
    let epochs = || {
        [report.current, report.next, report.spare]
            .into_iter()
            .flatten()
            .map(|held| held.epoch)
    };
    report.lanes > 0
        && epochs().all(|epoch| epoch.0 > 0)
        && epochs().all(|epoch| is_near(epoch, highest))
}

/// Whether a number is not so far above `highest` that key ids would become ambiguous.
pub(super) fn is_near(epoch: Epoch, highest: Epoch) -> bool {
    epoch.0.saturating_sub(highest.0) < 1 << (EPOCH_BITS - 1)
}
