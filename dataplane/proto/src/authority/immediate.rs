//! A change at once, for a right that was taken away (SEC-11): devices that have the announced next must not have what is sent
//! under after it. Another key takes its place, with all the time that devices need, if every delivery server in reach holds it
//! soon enough; else it follows the announced one.

use std::time::Duration;

use rand_core::CryptoRng;

use super::channel::{Channel, EpochKey};
use super::events::{AuthorityEvent, Cause};
use super::offer::Slot;
use super::{Authority, Ctx, NotEarly, Output, Phase, random_root};
use crate::ids::{ChannelId, Time};
use crate::wire::link::{Early, Mode};

/// With less than this left an announced change is let through.
const LATEST: Duration = Duration::from_secs(1);

impl Authority {
    /// The operator wants another key than devices have or will have, as soon as lockstep allows.
    ///
    /// # Errors
    /// [`NotEarly`] when there is nothing to change here.
    pub fn immediate(
        &mut self,
        now: Time,
        channel: ChannelId,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Output>,
    ) -> Result<(), NotEarly> {
        let Phase::Leading(term) = self.phase else {
            return Err(NotEarly::NotLeading);
        };
        let channel = self
            .channels
            .get_mut(&channel)
            .filter(|channel| channel.current.is_some());
        let channel = channel.ok_or(NotEarly::NothingInUse)?;
        if channel.config.mode == Mode::DeliveryServer {
            return Err(NotEarly::ModeA);
        }
        let mut ctx = Ctx {
            now,
            term,
            keys: &self.config.keys,
            slaves: &self.slaves,
            rng,
            out,
            stored: false,
        };
        channel.immediate(&mut ctx);
        channel.advance(&mut ctx);
        self.settle(out);
        Ok(())
    }
}

impl Channel {
    fn immediate(&mut self, ctx: &mut Ctx<'_>) {
        if self.announcement.is_none() {
            // Devices have nothing but what is in use.
            return self.end_early(ctx, Cause::Asked(Early::Operator));
        }
        if self.replacement.is_some() {
            return;
        }
        let Some(end) = self.next.as_ref().map(|next| next.end) else {
            return;
        };
        self.highest = self.highest.successor();
        let (channel, epoch) = (self.config.channel, self.highest);
        let root = random_root(ctx.rng);
        self.replacement = Some(EpochKey::new(channel, epoch, ctx.term, root, end));
        self.store(ctx);
        ctx.event(AuthorityEvent::Prepared { channel, epoch });
        let servers: Vec<_> = self.servers.keys().copied().collect();
        for server in servers {
            self.offer(ctx, server, Slot::Replacement, false);
        }
    }

    /// Whether the replacement takes the place of the announced next now: every server in reach holds it, and there is time.
    pub(super) fn may_replace(&self, ctx: &Ctx<'_>) -> bool {
        let (Some(current), Some(replacement)) = (&self.current, &self.replacement) else {
            return false;
        };
        let least = LATEST.min(self.config.timing.fetch_ahead() / 2);
        let linked = || {
            let servers = self.servers.iter();
            servers.filter(|(_, server)| server.link.is_some())
        };
        let all = linked().all(|(id, server)| {
            let report = server.report.as_ref();
            report.is_some_and(|report| self.holds(replacement, ctx.term, *id, report))
        });
        ctx.now.after(least) < current.end && all && linked().next().is_some()
    }

    /// Announces the replacement instead. What it replaces is served on: a server out of reach may switch to it.
    pub(super) fn replace(&mut self, ctx: &mut Ctx<'_>) {
        let (Some(replacement), Some(current)) = (self.replacement.take(), &mut self.current)
        else {
            return;
        };
        let timing = self.config.timing;
        current.end = ctx.now.after(timing.fetch_ahead());
        let end = current.end.after(timing.lifetime());
        let (channel, epoch) = (self.config.channel, replacement.epoch);
        let former = self.next.replace(EpochKey { end, ..replacement });
        if let Some(former) = former {
            let instead = former.epoch;
            self.serve_on(former, ctx.now);
            ctx.event(AuthorityEvent::Replaced {
                channel,
                epoch,
                instead,
            });
        }
        self.revision += 1;
        self.set_announcement(ctx);
        self.store(ctx);
    }

    /// The announced change went through: the replacement is the next one, and comes early.
    pub(super) fn replacement_follows(&mut self, ctx: &mut Ctx<'_>) {
        let (Some(replacement), Some(current)) = (self.replacement.take(), &mut self.current)
        else {
            return;
        };
        let timing = self.config.timing;
        current.end = current.end.min(ctx.now.after(timing.prepare_ahead()));
        let end = current.end.after(timing.lifetime());
        self.next = Some(EpochKey { end, ..replacement });
        self.store(ctx);
    }
}
