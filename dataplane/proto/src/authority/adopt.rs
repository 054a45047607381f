//! A channel after a restart: what is in use is decided by the reports, not by what was stored (the copy may be old).

use sealcast_crypto::{Commitment, EpochRoot};

use super::channel::{Channel, EpochKey, Served, Server};
use super::events::AuthorityEvent;
use super::report::{held_end, is_near, is_plausible};
use super::start::Collected;
use super::stored::{StoredChannel, StoredEpoch};
use super::{ChannelConfig, Ctx};
use crate::ids::{Epoch, Time};
use crate::wire::control::Notice;
use crate::wire::link::{Held, Mode};

/// What the reports and the stored announcement say about one channel.
struct Evidence {
    /// Every epoch in use, and when that was reported.
    current: Vec<(Held, Time)>,
    /// Every epoch held for after it.
    next: Vec<(Held, Time)>,
    /// What should have taken the place of next.
    spares: Vec<Epoch>,
    /// What former masters of this authority key announced.
    notices: Vec<Notice>,
}

impl Channel {
    /// The channel as the reports show it. Numbers go on above everything stored or reported; nothing that this function
    /// brings back has lanes to hand out, because its root is of a former term. `slaves`: the highest epoch that one of them holds.
    pub(super) fn adopt(
        config: &ChannelConfig,
        stored: StoredChannel,
        reports: &[&Collected],
        slaves: Option<Epoch>,
        ctx: &mut Ctx<'_>,
    ) -> Self {
        let evidence = Evidence::new(config, &stored, reports, ctx);
        let slaves = slaves.filter(|held| is_near(*held, stored.highest));
        let seen = slaves.max(Some(evidence.highest())).unwrap_or(Epoch(0));
        if seen > stored.highest {
            ctx.event(AuthorityEvent::OldChannel {
                channel: config.channel,
                stored: stored.highest,
                seen,
            });
        }
        let highest = seen.max(stored.highest);
        let revision = evidence
            .notices
            .iter()
            .map(|notice| notice.revision)
            .max()
            .max(Some(stored.revision))
            .unwrap_or(0);
        // Whatever is announced or opened from here on has a revision of its own.
        let mut channel = Self::new(config.clone(), highest, revision.saturating_add(1));
        let unheard = |id| {
            (
                id,
                Server {
                    last: ctx.now,
                    link: None,
                    report: None,
                },
            )
        };
        channel.servers = stored.servers.iter().copied().map(unheard).collect();
        channel.current = latest(&evidence.current)
            .map(|held| evidence.revive(&channel, held, &evidence.current, &stored));
        if let Some(next) = channel
            .current
            .as_ref()
            .and_then(|current| evidence.announced_after(current.epoch))
        {
            channel.next = Some(evidence.revive(&channel, next, &evidence.next, &stored));
            // While no master was there, no device could fetch it.
            channel.leave_time_to_fetch(ctx.now);
            channel.set_announcement(ctx);
        } else if let Some(next) = evidence.deposited_after(&channel, &stored) {
            channel.next = Some(evidence.revive(&channel, next, &evidence.next, &stored));
        }
        channel.others = channel.still_served(stored.epochs, ctx.now);
        if let Some(current) = &channel.current {
            let (channel, epoch, root_known) =
                (config.channel, current.epoch, current.root.is_some());
            ctx.event(AuthorityEvent::Adopted {
                channel,
                epoch,
                root_known,
            });
        }
        channel
    }

    /// Servers that did not report may be under any epoch that was opened before: all are served until they have surely stopped.
    fn still_served(&self, stored: Vec<StoredEpoch>, now: Time) -> Vec<Served> {
        let taken = |epoch: Epoch| {
            [&self.current, &self.next]
                .into_iter()
                .flatten()
                .any(|key| key.epoch == epoch)
        };
        let keep_until = now.after(self.silence());
        let opened = stored
            .into_iter()
            .filter(|stored| stored.opened && !taken(stored.epoch));
        opened
            .map(|stored| {
                let key = EpochKey::new(
                    self.config.channel,
                    stored.epoch,
                    stored.term,
                    stored.root,
                    now,
                );
                Served {
                    key: EpochKey {
                        adopted: true,
                        depositor: stored.depositor,
                        ..key
                    },
                    keep_until,
                }
            })
            .collect()
    }
}

impl Evidence {
    fn new(
        config: &ChannelConfig,
        stored: &StoredChannel,
        reports: &[&Collected],
        ctx: &Ctx<'_>,
    ) -> Self {
        let counts = |collected: &&&Collected| {
            collected.report.mode == config.mode && is_plausible(&collected.report, stored.highest)
        };
        let reports = || reports.iter().filter(counts);
        let verified = |datagram: &Vec<u8>| {
            let notice = ctx.keys.verify::<Notice>(datagram)?;
            (notice.channel == config.channel && is_near(notice.next, stored.highest))
                .then_some(notice)
        };
        let notices = reports()
            .filter_map(|collected| collected.report.notice.as_ref())
            .filter_map(verified);
        Self {
            current: reports()
                .filter_map(|collected| Some((collected.report.current?, collected.at)))
                .collect(),
            next: reports()
                .filter_map(|collected| Some((collected.report.next?, collected.at)))
                .collect(),
            spares: reports()
                .filter_map(|collected| collected.report.spare)
                .map(|held| held.epoch)
                .collect(),
            notices: notices.chain(stored.announced.clone()).collect(),
        }
    }

    fn highest(&self) -> Epoch {
        let held = self
            .current
            .iter()
            .chain(&self.next)
            .map(|(held, _)| held.epoch)
            .chain(self.spares.iter().copied());
        held.chain(self.notices.iter().map(|notice| notice.next))
            .max()
            .unwrap_or(Epoch(0))
    }

    /// The change away from `current` that was announced and whose next somebody holds: it is committed.
    fn announced_after(&self, current: Epoch) -> Option<Held> {
        let announced = |epoch: Epoch| self.notices.iter().any(|notice| notice.next == epoch);
        let held = self
            .next
            .iter()
            .filter(|(held, _)| held.epoch > current && announced(held.epoch));
        held.map(|(held, _)| *held)
            .max_by_key(|held| (held.epoch, held.term))
    }

    /// Mode A: the next epoch whose deposit was acknowledged; its server counts on it. (In mode B one that was only prepared is
    /// abandoned: its lanes cannot be handed out any more.)
    fn deposited_after(&self, channel: &Channel, stored: &StoredChannel) -> Option<Held> {
        let current = channel
            .current
            .as_ref()
            .filter(|_| channel.config.mode == Mode::DeliveryServer)?;
        let deposited = |epoch: Epoch| stored.epochs.iter().any(|stored| stored.epoch == epoch);
        self.next
            .iter()
            .map(|(held, _)| *held)
            .find(|held| held.epoch > current.epoch && deposited(held.epoch))
    }

    /// The epoch that `held` names, with its root if it is stored, and else known by number and commitment only.
    fn revive(
        &self,
        channel: &Channel,
        held: Held,
        holders: &[(Held, Time)],
        stored: &StoredChannel,
    ) -> EpochKey {
        let same = holders
            .iter()
            .filter(|(other, _)| (other.epoch, other.term) == (held.epoch, held.term));
        let end = same
            .map(|&(held, at)| held_end(at, held, channel))
            .min()
            .unwrap_or(Time(0));
        // A number alone does not tell roots apart: two masters may have used it. In mode A the deposits are compared.
        let is_it = |stored: &&StoredEpoch| {
            stored.epoch == held.epoch
                && (channel.config.mode == Mode::DeliveryServer || stored.term == held.term)
        };
        let stored = stored.epochs.iter().find(is_it);
        let root = stored.map(|stored| stored.root.clone());
        let (id, epoch) = (channel.config.channel.0, held.epoch);
        let own = root
            .as_ref()
            .map(|root| EpochRoot::prk(root).commitment(id, epoch.0));
        EpochKey {
            root,
            commitment: own.or_else(|| self.commitment(epoch)),
            end,
            depositor: stored.and_then(|stored| stored.depositor),
            ..EpochKey::unknown(epoch, held.term)
        }
    }

    /// What the latest term's Notice commits to for `epoch`.
    fn commitment(&self, epoch: Epoch) -> Option<Commitment> {
        let named = self.notices.iter().filter_map(|notice| {
            let pair = [
                (notice.current, notice.current_commitment),
                (notice.next, notice.next_commitment),
            ];
            let commitment = pair
                .into_iter()
                .find(|&(named, _)| named == epoch)
                .and_then(|(_, commitment)| commitment);
            commitment.map(|commitment| (notice.term, commitment))
        });
        named
            .max_by_key(|&(term, _)| term)
            .map(|(_, commitment)| commitment)
    }
}

/// The highest epoch in use; of two roots under one number, the later term's.
fn latest(held: &[(Held, Time)]) -> Option<Held> {
    held.iter()
        .map(|(held, _)| *held)
        .max_by_key(|held| (held.epoch, held.term))
}
