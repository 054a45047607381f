//! One channel at the authority: what it knows of its epochs and delivery servers, what of that must be durable, and when
//! something is due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sealcast_crypto::{Commitment, EpochRoot, VerifyingKey};

use super::deposit::Numbering;
use super::events::{AuthorityEvent, Fault};
use super::grants::{Grants, Groups};
use super::serve::Fingerprint;
use super::stored::{Depositor, StoredChannel, StoredEpoch};
use super::{ChannelConfig, ConnId, Ctx};
use crate::ids::{ChannelId, Epoch, ServerId, Term, Time};
use crate::limits::REPORT_INTERVAL;
use crate::wire::control::Notice;
use crate::wire::link::{Held, Mode, Report};

/// Epochs served besides current and next.
const SERVED_MAX: usize = 32;

/// One epoch as the authority knows it.
#[derive(Debug)]
pub(super) struct EpochKey {
    pub(super) epoch: Epoch,
    /// Who generated the root; only that term hands out its lanes.
    pub(super) term: Term,
    /// Brought back from what was stored or reported: runs that are not known here may have lanes of it, even of this term
    /// (the channel went and came back).
    pub(super) adopted: bool,
    /// `None` when another master generated it: known by its number only.
    pub(super) root: Option<EpochRoot>,
    pub(super) commitment: Option<Commitment>,
    pub(super) end: Time,
    /// Mode A: whose it is.
    pub(super) depositor: Option<Depositor>,
    pub(super) grants: Grants,
}

impl EpochKey {
    pub(super) fn new(
        channel: ChannelId,
        epoch: Epoch,
        term: Term,
        root: EpochRoot,
        end: Time,
    ) -> Self {
        let commitment = Some(root.prk().commitment(channel.0, epoch.0));
        Self {
            epoch,
            term,
            adopted: false,
            root: Some(root),
            commitment,
            end,
            depositor: None,
            grants: Grants::default(),
        }
    }

    /// An epoch of which only the number is known.
    pub(super) fn unknown(epoch: Epoch, term: Term) -> Self {
        Self {
            epoch,
            term,
            adopted: true,
            root: None,
            commitment: None,
            end: Time(0),
            depositor: None,
            grants: Grants::default(),
        }
    }

    /// Whether its lanes may be handed out here: all that ever were are known.
    pub(super) fn hands_out(&self, own: Term) -> bool {
        self.term == own && !self.adopted
    }

    fn to_stored(&self, opened: bool) -> Option<StoredEpoch> {
        let root = self.root.clone()?;
        Some(StoredEpoch {
            epoch: self.epoch,
            term: self.term,
            root,
            opened,
            depositor: self.depositor,
        })
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
    /// What takes the place of the announced next, or follows it at once.
    pub(super) replacement: Option<EpochKey>,
    pub(super) others: Vec<Served>,
    pub(super) servers: BTreeMap<ServerId, Server>,
    pub(super) groups: Groups,
    pub(super) numbering: Numbering,
    /// What was said in this epoch and need not be said again.
    pub(super) alarms: BTreeSet<AuthorityEvent>,
    /// Everything due up to here is done.
    advanced: Time,
    /// Differs from what is stored.
    dirty: bool,
    /// What the doors were told last.
    pub(super) served: Option<Fingerprint>,
}

impl Channel {
    /// Somebody has seen an epoch above the highest one known here: numbers go on above it. What is stored is old.
    pub(super) fn seen_above(&mut self, seen: Epoch) -> AuthorityEvent {
        AuthorityEvent::OldChannel {
            channel: self.config.channel,
            stored: std::mem::replace(&mut self.highest, seen),
            seen,
        }
    }

    pub(super) fn new(config: ChannelConfig, highest: Epoch, revision: u32) -> Self {
        Self {
            config,
            highest,
            revision,
            current: None,
            next: None,
            announcement: None,
            replacement: None,
            others: Vec::new(),
            servers: BTreeMap::new(),
            groups: Groups::default(),
            numbering: Numbering::default(),
            alarms: BTreeSet::new(),
            advanced: Time(0),
            dirty: true,
            served: None,
        }
    }

    /// What must be durable, if it changed since the last call.
    pub(super) fn take_stored(&mut self) -> Option<StoredChannel> {
        if !std::mem::take(&mut self.dirty) {
            return None;
        }
        let announced = self.announcement.is_some();
        let others = self
            .others
            .iter()
            .filter_map(|served| served.key.to_stored(true));
        let current = self.current.iter().filter_map(|key| key.to_stored(true));
        let next = self.next.iter().filter_map(|key| key.to_stored(announced));
        let replacement = self.replacement.iter();
        let replacement = replacement.filter_map(|key| key.to_stored(false));
        let mut epochs: Vec<_> = others
            .chain(current)
            .chain(next)
            .chain(replacement)
            .collect();
        epochs.sort_by_key(|stored| stored.epoch);
        Some(StoredChannel {
            highest: self.highest,
            revision: self.revision,
            epochs,
            announced: self
                .announcement
                .as_ref()
                .map(|announcement| announcement.notice.clone()),
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
        let silences = self
            .servers
            .values()
            .map(|server| server.last.after(self.silence()));
        let keeps = self.others.iter().map(|served| served.keep_until);
        let lockstep = self.current.iter().flat_map(|current| {
            let prepare = current.end.before(timing.prepare_ahead());
            match (&self.next, &self.announcement) {
                (_, Some(announcement)) => [announcement.sign_at, current.end],
                (Some(_), None) => [prepare, current.end.before(timing.deadline())],
                (None, None) => [prepare, prepare],
            }
        });
        silences
            .chain(keeps)
            .chain(lockstep)
            .filter(|&time| time > self.advanced)
            .min()
    }

    pub(super) fn serve_on(&mut self, key: EpochKey, now: Time) {
        if key.root.is_some() {
            self.others.push(Served {
                key,
                keep_until: now.after(self.config.timing.grace()),
            });
            let excess = self.others.len().saturating_sub(SERVED_MAX);
            self.others.drain(..excess);
        }
    }

    /// Former epochs are served until every server has left them or has been silent for long.
    fn drop_unserved(&mut self, ctx: &mut Ctx<'_>) {
        let before = self.others.len();
        let servers = &self.servers;
        self.others.retain(|served| {
            let in_use = |server: &Server| {
                server
                    .current()
                    .is_some_and(|held| held.epoch <= served.key.epoch)
            };
            ctx.now < served.keep_until || servers.values().any(in_use)
        });
        if self.others.len() < before {
            self.store(ctx);
        }
    }

    fn forget_silent(&mut self, ctx: &mut Ctx<'_>) {
        let silence = self.silence();
        let silent: Vec<_> = self
            .servers
            .iter()
            .filter(|(_, server)| ctx.now >= server.last.after(silence))
            .map(|(id, _)| *id)
            .collect();
        for server in silent {
            self.servers.remove(&server);
            self.store(ctx);
            ctx.event(AuthorityEvent::Silent {
                channel: self.config.channel,
                server,
            });
        }
    }

    /// After this long without a report nothing waits for a server: it has stopped by its own rule.
    pub(super) fn silence(&self) -> Duration {
        self.config.timing.hold_max().max(3 * REPORT_INTERVAL)
    }

    /// Says it unless it was said in this epoch.
    pub(super) fn alarm(&mut self, ctx: &mut Ctx<'_>, event: AuthorityEvent) {
        if self.alarms.insert(event.clone()) {
            ctx.event(event);
        }
    }

    pub(super) fn ignore(&mut self, ctx: &mut Ctx<'_>, server: ServerId, fault: Fault) {
        self.alarm(
            ctx,
            AuthorityEvent::Ignored {
                channel: self.config.channel,
                server: Some(server),
                fault,
            },
        );
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
