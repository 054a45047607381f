//! The sender of one channel at a delivery server: seals payloads under the current key and switches in lockstep.
//!
//! [`Sender::seal`] is the packet path. Around it the usual verbs: [`Sender::handle_link`] takes what the authority says,
//! [`Sender::poll`] the passing of time, [`Sender::poll_output`] gives out messages for the link, control datagrams to
//! multicast, and events.

mod carousel;
mod lanes;
mod link;
mod manifests;
mod mode_a;
mod seal;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_crypto::{SigningKey, VerifyingKey};

use crate::ids::{ChannelId, Epoch, GroupId, Kid, Remaining, RunId, ServerId, Time};
use crate::limits::{ANNOUNCED_LATELY, CERTIFICATE_INTERVAL, OVERHEAD, PING_INTERVAL};
use crate::notice::Announcement;
use crate::offset::ClockOffset;
use crate::schedule::Schedule;
use crate::tally::Tally;
use crate::timing::Timing;
use crate::wire::control::LaneCertificate;
use crate::wire::link::{Early, Mode, Ping, ToAuthority};
use carousel::{Carousel, Stand};
use lanes::{GroupNumbers, LaneSet};
pub use manifests::{ManifestConfig, ManifestCounts, Manifests, PACKETS_PER_SIGNATURE_MAX, Prover};
use mode_a::Generation;
pub use seal::{NotSending, Reserved};

/// What to do at the end of a key when there is no next (MD-39). Never clear data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Hold {
    /// Go on under the current key with an alarm, at most [`Timing::hold_max`], then stop.
    #[default]
    Hold,
    /// Stop sending at once.
    Stop,
}

/// Settings of one channel at a delivery server.
#[derive(Clone, Debug)]
pub struct SenderConfig {
    /// The channel.
    pub channel: ChannelId,
    /// This delivery server.
    pub server: ServerId,
    /// This run: random, new at every start.
    pub run: RunId,
    /// Who generates keys.
    pub mode: Mode,
    /// Sending cores of this channel, 1..=255.
    pub lanes: u8,
    /// The channel's key times until the authority says what they are.
    pub timing: Timing,
    /// What to do without a next key.
    pub hold: Hold,
    /// Longest payload: MTU minus [`crate::limits::MTU_COST_V4`] or [`crate::limits::MTU_COST_V6`].
    pub payload_max: usize,
    /// Whether [`Event::KeyLog`] is wanted.
    pub keylog: bool,
}

/// What comes out of a sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// For the authority.
    Link(ToAuthority),
    /// To every group of the channel, at once.
    Multicast(Vec<u8>),
    /// To every group of the channel: a part of a key block, best behind packets that are about to leave.
    KeyBlock(Vec<u8>),
    /// For people.
    Event(Event),
}

/// What the driver should tell people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The first key is there: sending begins.
    Started {
        /// Its epoch.
        epoch: Epoch,
    },
    /// The next key is held.
    NextHeld {
        /// Its epoch.
        epoch: Epoch,
    },
    /// Packets are sealed under another epoch from here on.
    Switched {
        /// Which.
        epoch: Epoch,
    },
    /// An alarm: the key's time is over and there is no next.
    Holding {
        /// The epoch that is used on.
        epoch: Epoch,
    },
    /// An alarm: sending has stopped for want of a key.
    Stopped {
        /// The epoch that is over.
        epoch: Epoch,
    },
    /// Something from the authority was not acceptable.
    Rejected {
        /// What and why.
        why: Rejection,
    },
    /// A line for the key log (design: KID with lane, 12 hex digits; lane key; lane salt).
    KeyLog(String),
}

/// Why a message from the authority was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// Another master of an earlier term, or another instance of the same number.
    Term,
    /// Signature or content of a certificate or Notice does not fit.
    Certificate,
    /// A Notice that was signed too long ago.
    OldNotice,
    /// Another root stands under the number that was deposited.
    DepositDiffers,
    /// The channel's keys are generated elsewhere than this delivery server is set to.
    Mode,
}

/// Totals of one channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SenderStats {
    /// Packets sealed.
    pub packets: u64,
    /// Payload bytes sealed.
    pub bytes: u64,
    /// Epoch changes.
    pub switches: u64,
    /// Payloads that came while nothing could be sealed.
    pub not_sent: u64,
    /// Times the end of a key was passed without a next.
    pub holds: u64,
    /// Datagrams of key blocks.
    pub block_datagrams: u64,
    /// Their bytes.
    pub block_bytes: u64,
}

/// The sender of one channel.
#[derive(Debug)]
pub struct Sender {
    config: SenderConfig,
    signing: Arc<SigningKey>,
    authority: Option<VerifyingKey>,
    successor: Option<VerifyingKey>,
    announcement: Announcement,
    /// Datagram of the last Notice that verified: proof for a new master.
    notice: Option<Vec<u8>>,
    offset: ClockOffset,
    schedule: Schedule<LaneSet>,
    /// Held for the epoch that may take the place of the announced next.
    spare: Option<crate::schedule::Slot<LaneSet>>,
    numbers: GroupNumbers,
    generation: Generation,
    early: Option<Early>,
    linked: bool,
    /// When the last Notice came over the link that is up.
    announced_at: Option<Time>,
    holding: bool,
    stopped: bool,
    due: Due,
    stats: SenderStats,
    tally: Tally,
    carousel: Carousel,
    out: VecDeque<Output>,
}

/// When the recurring things are due.
#[derive(Debug, Default)]
struct Due {
    report: Time,
    ping: Time,
    certificate: Time,
}

impl Sender {
    /// A sender that holds nothing yet. `seed` makes its own signing key.
    #[must_use]
    pub fn new(config: SenderConfig, seed: &[u8; 32]) -> Self {
        assert!(config.lanes > 0, "a sender has at least one lane");
        Self {
            numbers: GroupNumbers::new(config.lanes),
            config,
            signing: Arc::new(SigningKey::from_seed(seed)),
            authority: None,
            successor: None,
            announcement: Announcement::default(),
            notice: None,
            offset: ClockOffset::default(),
            schedule: Schedule::default(),
            spare: None,
            generation: Generation::default(),
            early: None,
            linked: false,
            announced_at: None,
            holding: false,
            stopped: false,
            due: Due::default(),
            stats: SenderStats::default(),
            tally: Tally::default(),
            carousel: Carousel::default(),
            out: VecDeque::new(),
        }
    }

    /// Lets time pass: switches at the boundary, repeats certificates, reports, asks for the next key.
    pub fn poll(&mut self, now: Time, rng: &mut dyn CryptoRng) {
        self.advance(now);
        if self.schedule.current().is_some() && self.due.certificate <= now {
            self.repeat_certificates(now);
        }
        self.send_blocks(now);
        self.poll_generation(now, rng);
        if !self.linked {
            return;
        }
        if self.due.ping <= now {
            self.due.ping = now.after(PING_INTERVAL);
            self.out
                .push_back(Output::Link(ToAuthority::Ping(Ping { echo: now })));
        }
        if self.due.report <= now || self.preset_reached(now) {
            self.report(now);
        }
    }

    /// Key blocks go round beside the packets.
    fn send_blocks(&mut self, now: Time) {
        let Some(current) = self.schedule.current() else {
            return;
        };
        let timing = &self.config.timing;
        let announced = self.announcement.get().map(|announced| {
            let asked = announced.boundary.before(timing.fetch_ahead());
            (announced.notice.next, asked)
        });
        let stand = Stand {
            current: current.epoch,
            lifetime: timing.lifetime(),
            next: announced,
        };
        let (stats, out) = (&mut self.stats, &mut self.out);
        self.carousel.poll(now, &stand, |datagram| {
            stats.block_datagrams += 1;
            stats.block_bytes += datagram.len() as u64;
            out.push_back(Output::KeyBlock(datagram.to_vec()));
        });
    }

    /// The lane switches at its own countdown if it has next and the Notice, and devices could fetch until then; else it
    /// holds (MD-15, MD-39).
    fn advance(&mut self, now: Time) {
        let Some(current) = self.schedule.current() else {
            return;
        };
        if now < current.end {
            return;
        }
        let (epoch, end) = (current.epoch, current.end);
        let announced = self
            .announcement
            .get()
            .map(|announced| (announced.notice.next, announced.boundary));
        let next = self.schedule.next().map(|next| next.epoch);
        if let (Some((named, boundary)), Some(next)) = (announced, next)
            && named == next
            && boundary <= now
            && (self.was_heard_before(boundary) || !self.may_hold(now, end))
        {
            self.switch(now);
        } else if !self.stopped {
            self.hold(now, epoch, end);
        }
    }

    /// Whether the authority announced this change over the link that is up, and did so until just before `boundary`. If not,
    /// it may have been away since, and devices without next would lose the stream.
    fn was_heard_before(&self, boundary: Time) -> bool {
        self.announced_at
            .is_some_and(|heard| heard.after(ANNOUNCED_LATELY) >= boundary)
    }

    /// Whether the setting and the bound on holding let the key that ended at `end` be used on.
    fn may_hold(&self, now: Time, end: Time) -> bool {
        self.config.hold == Hold::Hold && now < end.after(self.config.timing.hold_max())
    }

    fn switch(&mut self, now: Time) {
        if !self.schedule.promote(now) {
            return;
        }
        // The sender never goes back: what it no longer seals under, it does not keep.
        self.schedule
            .expire(now, Duration::ZERO, self.config.timing.expiry());
        let Some(current) = self.schedule.current() else {
            return;
        };
        let epoch = current.epoch;
        (self.early, self.holding, self.stopped) = (None, false, false);
        self.stats.switches += 1;
        self.due.report = now;
        // What should have taken its place follows it.
        if let Some(spare) = self.spare.take() {
            self.schedule.install(spare);
        }
        self.out.push_back(Output::Event(Event::Switched { epoch }));
    }

    fn hold(&mut self, now: Time, epoch: Epoch, end: Time) {
        if !self.may_hold(now, end) {
            self.stopped = true;
            self.out.push_back(Output::Event(Event::Stopped { epoch }));
        } else if !self.holding {
            self.holding = true;
            self.stats.holds += 1;
            // The authority may know of a change that did not reach us.
            self.due.report = now;
            self.out.push_back(Output::Event(Event::Holding { epoch }));
        }
    }

    /// Puts a set of lanes in as current (`at_once`) or next, and makes its certificate known.
    fn install(&mut self, now: Time, epoch: Epoch, set: LaneSet, end: Time, at_once: bool) {
        let is_spare = self
            .spare
            .as_ref()
            .is_some_and(|spare| spare.epoch == epoch);
        if self.schedule.get(epoch).is_some() || is_spare {
            return;
        }
        self.log_lanes(&set);
        let slot = crate::schedule::Slot {
            epoch,
            key: set,
            end,
        };
        if !at_once && self.next_is_announced(epoch) {
            self.spare = Some(slot);
            self.out.push_back(Output::Event(Event::NextHeld { epoch }));
        } else if !at_once && self.schedule.current().is_some() {
            if self.schedule.install(slot) {
                self.out.push_back(Output::Event(Event::NextHeld { epoch }));
            }
        } else if at_once
            && self
                .schedule
                .current()
                .is_none_or(|current| current.epoch < epoch)
        {
            // Whatever was held is given up: the schedule starts anew at this epoch.
            self.schedule = Schedule::default();
            self.schedule.install(slot);
            (self.generation.waiting, self.spare) = (None, None);
            (self.early, self.holding, self.stopped) = (None, false, false);
            self.out.push_back(Output::Event(Event::Started { epoch }));
        } else if !at_once {
            self.wait_for(slot);
        }
        self.due.certificate = now;
        self.due.report = now;
    }

    /// Whether the change to the next that is held is announced, and is no change to `epoch`, which comes later: the announced
    /// one stands until another Notice says otherwise.
    fn next_is_announced(&self, epoch: Epoch) -> bool {
        let announced = self
            .announcement
            .get()
            .map(|announced| announced.notice.next);
        let next = self.schedule.next().map(|next| next.epoch);
        next.is_some_and(|next| announced == Some(next) && next < epoch)
    }

    /// A first set that begins only at the next boundary: an older term's root has no lanes for this run.
    fn wait_for(&mut self, slot: crate::schedule::Slot<LaneSet>) {
        self.generation.waiting = Some(slot);
    }

    fn log_lanes(&mut self, set: &LaneSet) {
        if self.config.keylog {
            self.out.extend(
                set.keylog()
                    .into_iter()
                    .map(|line| Output::Event(Event::KeyLog(line))),
            );
        }
    }

    fn repeat_certificates(&mut self, now: Time) {
        self.due.certificate = now.after(CERTIFICATE_INTERVAL);
        let waiting = self.generation.waiting.as_ref();
        for slot in self
            .schedule
            .current()
            .into_iter()
            .chain(self.schedule.next())
            .chain(&self.spare)
            .chain(waiting)
        {
            self.out
                .push_back(Output::Multicast(slot.key.certificate().to_vec()));
        }
    }

    /// The first preset is reached and there is no next (MD-19); true only when it has just become so.
    fn preset_reached(&mut self, now: Time) -> bool {
        let reached = self.wants_next(now);
        let news = reached && !self.generation.preset_told;
        self.generation.preset_told = reached;
        news
    }

    fn wants_next(&self, now: Time) -> bool {
        let due = |slot: &crate::schedule::Slot<LaneSet>| {
            self.early.is_some() || slot.end.since(now) <= self.config.timing.prepare_ahead()
        };
        self.schedule.next().is_none() && self.schedule.current().is_some_and(due)
    }

    /// When [`Sender::poll`] has something to do.
    #[must_use]
    pub fn next_timeout(&self, now: Time) -> Option<Time> {
        let current = self.schedule.current();
        let boundary = current.map(|slot| slot.end).filter(|&end| end > now);
        let stop = current
            .filter(|_| !self.stopped)
            .map(|slot| slot.end.after(self.config.timing.hold_max()));
        let preset = current
            .map(|slot| slot.end.before(self.config.timing.prepare_ahead()))
            .filter(|_| {
                self.schedule.next().is_none() && !self.generation.preset_told && self.linked
            });
        let certificate = current.map(|_| self.due.certificate);
        let waiting = self
            .generation
            .waiting
            .as_ref()
            .and_then(|_| self.announcement.get())
            .map(|announced| announced.boundary);
        let link = self.linked.then(|| self.due.ping.min(self.due.report));
        let block = self.carousel.next_timeout();
        [boundary, stop, preset, certificate, waiting, link, block]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next thing to send or to tell.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Totals.
    #[must_use]
    pub fn stats(&self) -> SenderStats {
        self.stats
    }

    /// What was sealed, by epoch and lane, until it is fetched.
    pub fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// The epoch in use and what remains of it (0 while holding).
    #[must_use]
    pub fn current(&self, now: Time) -> Option<(Epoch, Remaining)> {
        self.schedule
            .current()
            .map(|slot| (slot.epoch, slot.end.remaining(now)))
    }

    /// The epoch held for after it.
    #[must_use]
    pub fn next_epoch(&self) -> Option<Epoch> {
        self.schedule.next().map(|slot| slot.epoch)
    }

    /// Whether the key's time is over and it is used on.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.holding
    }

    /// The stripe group of the packets that are sealed now.
    #[must_use]
    pub fn group(&self) -> Option<GroupId> {
        self.schedule.current().map(|slot| slot.key.group())
    }

    /// The key id that `lane` (0-based) seals under now.
    #[must_use]
    pub fn kid(&self, lane: usize) -> Option<Kid> {
        self.schedule.current().and_then(|slot| slot.key.kid(lane))
    }

    /// Bytes that a datagram of this payload takes.
    #[must_use]
    pub fn datagram_len(payload_len: usize) -> usize {
        payload_len + OVERHEAD
    }
}

/// A certificate that names this run's lanes as expected.
fn certificate_fits(
    certificate: &LaneCertificate,
    config: &SenderConfig,
    key: &VerifyingKey,
    epoch: Epoch,
) -> bool {
    certificate.channel == config.channel
        && certificate.server == config.server
        && certificate.server_key == *key
        && certificate.lanes == config.lanes
        && certificate.covers(certificate.first_lane, epoch)
}

#[cfg(test)]
mod tests;
