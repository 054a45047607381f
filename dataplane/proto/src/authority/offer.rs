//! Cipher halves (MD-17, MD-18, MD-20): lanes of an epoch, their secrets and their certificate, for one run of one delivery
//! server. They reveal neither the root nor another lane.

use sealcast_crypto::{EpochRoot, VerifyingKey};

use super::Ctx;
use super::channel::{Channel, EpochKey};
use super::events::{AuthorityEvent, Cause};
use super::grants::NoLanes;
use crate::ids::{ChannelId, Epoch, Kid, Lane, RunId, ServerId};
use crate::limits::LANES_MAX;
use crate::wire::control::{AuthLevel, LaneCertificate, sign};
use crate::wire::link::{CipherHalf, FromAuthority};

/// Which epoch's lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slot {
    Current,
    Next,
    /// What may take the place of the announced next.
    Replacement,
}

impl Channel {
    /// Hands lanes of an epoch to the run that reports as `id`: the same ones whenever it asks. False when it gets none.
    pub(super) fn offer(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: ServerId,
        slot: Slot,
        at_once: bool,
    ) -> bool {
        let server = self.servers.get(&id);
        let Some((link, report)) =
            server.and_then(|server| server.link.zip(server.report.as_ref()))
        else {
            return false;
        };
        let key = match slot {
            Slot::Current => &mut self.current,
            Slot::Next => &mut self.next,
            Slot::Replacement => &mut self.replacement,
        };
        // Lanes of a former term's root may be in use by runs this term knows nothing of.
        let Some(key) = key.as_mut().filter(|key| key.hands_out(ctx.term)) else {
            return false;
        };
        let Some(prk) = key.root.as_ref().map(EpochRoot::prk) else {
            return false;
        };
        let groups = &mut self.groups;
        let grant = match key.grants.give(id, report.run, report.lanes, || {
            groups.next(id, report, ctx.rng)
        }) {
            Ok(grant) => grant,
            Err(why) => {
                let epoch = key.epoch;
                self.no_lanes(ctx, id, epoch, slot, why);
                return false;
            }
        };
        let (channel, run, epoch) = (self.config.channel, report.run, key.epoch);
        let numbers = (0..grant.lanes).filter_map(|index| {
            grant
                .first_lane
                .number()
                .checked_add(index)
                .and_then(Lane::new)
        });
        let lanes = numbers
            .map(|lane| prk.lane_secret(Kid::new(lane, channel, epoch).value()))
            .collect();
        let remaining = key.end.remaining(ctx.now);
        let certificate = certificate(
            ctx,
            channel,
            key,
            id,
            link.key,
            report.run,
            self.config.auth,
        );
        let half = CipherHalf {
            channel,
            run,
            epoch,
            lanes,
            remaining,
            at_once,
            certificate,
        };
        ctx.send(link.conn, FromAuthority::CipherHalf(half));
        // Whoever gets the next key during its announcement hears of the change at once.
        if let (Slot::Next, Some(announcement)) = (slot, &mut self.announcement) {
            announcement.sign_at = ctx.now;
        }
        true
    }

    fn no_lanes(
        &mut self,
        ctx: &mut Ctx<'_>,
        server: ServerId,
        epoch: Epoch,
        slot: Slot,
        why: NoLanes,
    ) {
        let channel = self.config.channel;
        match why {
            NoLanes::Runs => self.alarm(
                ctx,
                AuthorityEvent::RunsExhausted {
                    channel,
                    epoch,
                    server,
                },
            ),
            NoLanes::Exhausted => {
                self.alarm(
                    ctx,
                    AuthorityEvent::LanesExhausted {
                        channel,
                        epoch,
                        server,
                    },
                );
                // A new epoch helps only if it has room for all that send now.
                let live = self.servers.values().filter(|server| server.link.is_some());
                let demand: usize = live
                    .filter_map(|server| server.report.as_ref())
                    .map(|report| usize::from(report.lanes))
                    .sum();
                if slot == Slot::Current && demand <= LANES_MAX {
                    self.end_early(ctx, Cause::LanesExhausted);
                }
            }
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
    auth: AuthLevel,
) -> Vec<u8> {
    let Some(grant) = key.grants.of(server, run) else {
        return Vec::new();
    };
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
        auth,
    };
    sign(&certificate, &ctx.keys.signing)
}
