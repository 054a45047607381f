//! The receiver of one channel: from datagrams to payloads in order, holding previous, current and next key.
//!
//! [`Receiver::handle_batch`] takes what one or two legs brought, [`Receiver::handle_granted`] and [`Receiver::handle_refused`]
//! what a key door answers, [`Receiver::poll`] the passing of time. Payloads come out through a callback, requests and events
//! through [`Receiver::poll_request`] and [`Receiver::poll_event`].

mod budget;
mod keys;
mod open;
mod order;
mod parking;
mod requester;
mod rtp;
mod source;
mod trust;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_crypto::{EpochRoot, VerifyingKey};

pub use order::GapCount;
pub use parking::ParkingBudget;
pub use requester::FetchOn;

use crate::discard::{Discard, Discards};
use crate::ids::{ChannelId, Epoch, GroupId, Remaining, ServerId, Time};
use crate::limits;
use crate::tally::Tally;
use crate::timing::Timing;
use crate::wire::door::{DecipherHalf, Granted, Reason, Refused, Wanted};
use crate::wire::{Kind, kind};
use keys::KeyRing;
use open::Streams;
use parking::Parking;
use requester::Requester;
use trust::{News, Trust};

/// How several delivery servers of one channel are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Merge {
    /// One stripe group is delivered, another takes over when it falls silent.
    #[default]
    None,
    /// All are opened and merged by SSRC and sequence number of the RTP packets inside, so that the loss of a server costs
    /// nothing.
    Rtp,
}

/// Settings of one channel at a receiver.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// The channel.
    pub channel: ChannelId,
    /// The channel's key times until a key door says what they are.
    pub timing: Timing,
    /// When to ask for keys.
    pub fetch_on: FetchOn,
    /// How long a missing packet is waited for; with two legs, the skew between them. At most [`limits::SKEW_MAX`].
    pub skew: Duration,
    /// The delivery server to prefer at the start.
    pub preferred: Option<ServerId>,
    /// Silence after which another delivery server takes over.
    pub source_timeout: Duration,
    /// What to do with several delivery servers.
    pub merge: Merge,
    /// Longest payload taken.
    pub payload_max: usize,
    /// Whether [`Event::KeyLog`] is wanted.
    pub keylog: bool,
}

impl ReceiverConfig {
    /// The defaults for a channel.
    #[must_use]
    pub fn new(channel: ChannelId, timing: Timing) -> Self {
        Self {
            channel,
            timing,
            fetch_on: FetchOn::default(),
            skew: limits::SKEW_DEFAULT,
            preferred: None,
            source_timeout: limits::SOURCE_TIMEOUT,
            merge: Merge::None,
            payload_max: limits::DATAGRAM_MAX - limits::OVERHEAD,
            keylog: false,
        }
    }
}

/// What the driver should tell people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A root came and is held.
    KeyHeld {
        /// Its epoch.
        epoch: Epoch,
    },
    /// A packet was accepted under another epoch than before.
    Switched {
        /// The epoch now in use.
        epoch: Epoch,
    },
    /// Packets come under a key that is not held: said once per epoch, counted for each packet.
    KeyMissing {
        /// The epoch wanted.
        epoch: Epoch,
        /// The newest epoch held.
        held: Option<Epoch>,
    },
    /// A root does not match the commitment that the authority signed: it is not used. An alarm.
    CommitmentMismatch {
        /// Its epoch.
        epoch: Epoch,
    },
    /// A higher term put another root under this number (its master started from an old copy); the other one is fetched.
    RootReplaced {
        /// Its epoch.
        epoch: Epoch,
    },
    /// Another stripe group is delivered now.
    SourceSwitched {
        /// The group before.
        from: GroupId,
        /// The group now.
        to: GroupId,
    },
    /// A key door refuses keys.
    Refused {
        /// Why.
        reason: Reason,
    },
    /// A line for the key log (design: KID with lane 0, 10 hex digits; root).
    KeyLog(String),
}

/// Totals of one channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReceiverStats {
    /// Datagrams that arrived, of any kind.
    pub datagrams: u64,
    /// Payloads delivered.
    pub packets: u64,
    /// Bytes delivered.
    pub bytes: u64,
    /// Epoch changes seen in accepted packets.
    pub switches: u64,
    /// Changes of the delivered stripe group.
    pub source_switches: u64,
    /// Packets that waited for their key and were delivered.
    pub unparked: u64,
    /// KeyRequests sent, retries included.
    pub requests: u64,
    /// Signatures checked.
    pub signature_checks: u64,
}

/// The receiver of one channel.
#[derive(Debug)]
pub struct Receiver {
    config: ReceiverConfig,
    trust: Trust,
    keys: KeyRing,
    streams: Streams,
    parking: Parking,
    requester: Requester,
    fetch_offset: Remaining,
    /// The timer asks no sooner than this: the last answer had nothing new.
    fetch_rest: Time,
    missing_told: Option<Epoch>,
    discards: Discards,
    stats: ReceiverStats,
    tally: Tally,
    events: VecDeque<Event>,
    requests: VecDeque<Wanted>,
}

impl Receiver {
    /// A receiver that holds nothing yet and asks for the current key at once.
    #[must_use]
    pub fn new(config: ReceiverConfig, budget: ParkingBudget, now: Time) -> Self {
        let mut requester = Requester::new(config.channel);
        requester.plan(None, now);
        Self {
            trust: Trust::new(config.channel),
            keys: KeyRing::new(config.timing),
            streams: Streams::new(&config),
            parking: Parking::new(budget),
            requester,
            fetch_offset: Remaining(0),
            fetch_rest: Time(0),
            missing_told: None,
            discards: Discards::default(),
            stats: ReceiverStats::default(),
            tally: Tally::default(),
            events: VecDeque::new(),
            requests: VecDeque::new(),
            config,
        }
    }

    /// Takes one buffer off a socket: datagrams of `segment` bytes each, the last may be shorter. `leg` is 0 or 1. Packets
    /// are opened in place; payloads go to `deliver` in order.
    pub fn handle_batch(
        &mut self,
        now: Time,
        source: IpAddr,
        leg: usize,
        buffer: &mut [u8],
        segment: usize,
        rng: &mut dyn CryptoRng,
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        let segment = segment.max(1);
        let mut offset = 0;
        while offset < buffer.len() {
            let end = buffer.len().min(offset + segment);
            self.stats.datagrams += 1;
            match kind(&buffer[offset..end]) {
                Kind::Packet => self.classify(now, leg, buffer, offset..end, rng, deliver),
                Kind::Control(kind) => {
                    self.open_run(now, leg, buffer, deliver);
                    self.control(now, source, kind, &buffer[offset..end], rng, deliver);
                }
                Kind::Other => self.discards.count(Discard::Malformed),
            }
            offset = end;
        }
        self.open_run(now, leg, buffer, deliver);
    }

    fn control(
        &mut self,
        now: Time,
        source: IpAddr,
        kind: u8,
        datagram: &[u8],
        rng: &mut dyn CryptoRng,
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        match self.trust.handle(now, source, kind, datagram) {
            // Somebody sends: whoever holds no key at all need not wait for his next try.
            Ok(News::Certificate) if self.keys.newest().is_none() => {
                self.requester.hasten(now, rng)
            }
            Ok(News::Certificate) => {}
            Ok(News::Superseded(epoch)) => self.replace_root(now, epoch),
            Ok(News::Notice) => self.noticed(now, rng, deliver),
            Err(cause) => self.discards.count(cause),
        }
    }

    /// A Notice says when the change is and what the roots must be.
    fn noticed(&mut self, now: Time, rng: &mut dyn CryptoRng, deliver: &mut dyn FnMut(&[u8])) {
        let Some(announced) = self.trust.announced() else {
            return;
        };
        let (next, boundary) = (announced.notice.next, announced.boundary);
        self.keys
            .set_boundary(announced.notice.current, next, boundary);
        for (epoch, commitment) in [
            (
                announced.notice.current,
                announced.notice.current_commitment,
            ),
            (next, announced.notice.next_commitment),
        ] {
            if commitment.is_some_and(|commitment| {
                !self.keys.matches(self.config.channel, epoch, &commitment)
            }) {
                let replaced = self.keys.term_of(epoch) < Some(announced.notice.term.number);
                self.keys.drop_epoch(epoch);
                self.events.push_back(if replaced {
                    Event::RootReplaced { epoch }
                } else {
                    Event::CommitmentMismatch { epoch }
                });
                self.requester.plan(Some(epoch), now);
            }
        }
        let wanted =
            !self.keys.holds(next) && self.keys.newest().is_none_or(|newest| newest < next);
        let due = self.fetch_time(boundary).max(now);
        self.requester.announced(due);
        if self.config.fetch_on.notice && wanted {
            self.requester.plan(Some(next), due);
        }
        self.poll_timers(now, rng, deliver);
    }

    /// A higher term put another root under this number: what is held of it is dropped, and the other one fetched.
    fn replace_root(&mut self, now: Time, epoch: Epoch) {
        if self.keys.holds(epoch) {
            self.keys.drop_epoch(epoch);
            self.events.push_back(Event::RootReplaced { epoch });
            self.requester.plan(Some(epoch), now);
        }
    }

    /// When this device asks for the key after one that ends at `end`: at the second preset, offset as the server said.
    fn fetch_time(&self, end: Time) -> Time {
        let offset = self
            .fetch_offset
            .duration()
            .min(self.config.timing.fetch_ahead() * 7 / 10);
        end.before(self.config.timing.fetch_ahead()).after(offset)
    }

    /// The authority key and its successor, as enrolment told them.
    pub fn set_authority(&mut self, authority: VerifyingKey, successor: Option<VerifyingKey>) {
        self.trust.set_authority(authority, successor);
    }

    /// A key door refused.
    pub fn handle_refused(&mut self, now: Time, refused: &Refused, rng: &mut dyn CryptoRng) {
        if refused.channel == self.config.channel
            && self
                .requester
                .refused(refused.number, refused.retry_after, now, rng)
        {
            self.events.push_back(Event::Refused {
                reason: refused.reason,
            });
        }
    }

    /// The session with the key doors is a new one: what was refused is asked again.
    pub fn session_renewed(&mut self, now: Time, rng: &mut dyn CryptoRng) {
        self.requester.retry(now, rng);
    }

    /// A key door gave keys; `asked` is when the request left that this answers.
    pub fn handle_granted(
        &mut self,
        now: Time,
        asked: Time,
        granted: Granted,
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        if granted.channel != self.config.channel {
            return self.discards.count(Discard::OtherChannel);
        }
        if !self.requester.answered(granted.number) {
            return self.discards.count(Discard::Known);
        }
        self.trust
            .set_authority(granted.authority, granted.successor);
        self.fetch_offset = granted.fetch_offset;
        self.config.timing = granted.timing;
        self.keys.set_timing(granted.timing);
        let newest = self.keys.newest();
        for half in [Some(granted.current), granted.next].into_iter().flatten() {
            self.install(now, asked, half, deliver);
        }
        if self.keys.newest() == newest {
            // The next key is late. A Notice will tell; without one, it is not asked for at the speed of the network.
            let quarter = self.config.timing.fetch_ahead() / 4;
            self.fetch_rest = now.after(quarter + self.fetch_offset.duration().min(quarter));
        }
    }

    /// Takes in a root, unless the authority has signed that it must be another one.
    fn install(
        &mut self,
        now: Time,
        asked: Time,
        half: DecipherHalf,
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        let DecipherHalf {
            epoch,
            root,
            remaining,
        } = half;
        let channel = self.config.channel;
        let term = self.trust.term();
        let latest = self
            .trust
            .announced()
            .filter(|announced| announced.notice.term == term);
        let committed = latest.and_then(|announced| {
            let notice = &announced.notice;
            let pair = [
                (notice.current, notice.current_commitment),
                (notice.next, notice.next_commitment),
            ];
            pair.into_iter()
                .find(|&(named, _)| named == epoch)
                .and_then(|(_, commitment)| commitment)
        });
        if committed.is_some_and(|committed| root.prk().commitment(channel.0, epoch.0) != committed)
        {
            self.events.push_back(Event::CommitmentMismatch { epoch });
            return;
        }
        self.log_key(epoch, &root);
        // Counted from when it was asked for, so that fetching is never late (SEC-12).
        let end = asked.after(remaining.duration());
        if self.keys.install(now, epoch, &root, end, term.number) {
            self.events.push_back(Event::KeyHeld { epoch });
        }
        self.requester.satisfied(epoch);
        self.unpark(now, epoch, deliver);
    }

    fn log_key(&mut self, epoch: Epoch, root: &EpochRoot) {
        if self.config.keylog && !self.keys.holds(epoch) {
            let kid = crate::ids::Kid::root(self.config.channel, epoch);
            let line = root
                .as_bytes()
                .iter()
                .fold(format!("{kid:010x} "), |line, byte| {
                    line + &format!("{byte:02x}")
                });
            self.events.push_back(Event::KeyLog(line));
        }
    }

    /// Lets time pass: key expiry, gaps, parking, requests.
    pub fn poll(&mut self, now: Time, rng: &mut dyn CryptoRng, deliver: &mut dyn FnMut(&[u8])) {
        self.streams.poll(now, &mut self.stats, deliver);
        self.poll_timers(now, rng, deliver);
    }

    fn poll_timers(&mut self, now: Time, rng: &mut dyn CryptoRng, _deliver: &mut dyn FnMut(&[u8])) {
        let expired = self.parking.expire(now);
        self.discards.add(Discard::UnknownKey, expired);
        self.keys.expire(now);
        if let Some(oldest) = self.keys.oldest() {
            self.trust.forget_below(oldest);
            self.requester.forget_below(oldest);
        }
        if self.fetch_due().is_some_and(|due| due <= now) {
            self.requester.plan(None, now);
        }
        let (requests, stats) = (&mut self.requests, &mut self.stats);
        self.requester.poll(now, rng, |wanted| {
            stats.requests += 1;
            requests.push_back(wanted);
        });
    }

    /// When the timer makes this device ask for the key after the newest one it holds.
    fn fetch_due(&self) -> Option<Time> {
        if self.requester.is_pending_any() {
            return None;
        }
        match self.keys.newest_end() {
            // Whoever holds nothing asks, whatever the settings: he may not even know the authority key of now.
            None => Some(self.fetch_rest),
            Some(_) if !self.config.fetch_on.timer => None,
            // Next is held: the one after it is nobody's concern before the switch.
            Some(_) if self.keys.next_epoch().is_some() && !self.keys.current_is_over() => None,
            Some(end) => Some(self.fetch_time(end).max(self.fetch_rest)),
        }
    }

    /// When [`Receiver::poll`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        [
            self.streams.next_timeout(),
            self.parking.next_timeout(),
            self.keys.next_expiry(),
            self.requester.next_timeout(),
            self.fetch_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next request for a key door.
    pub fn poll_request(&mut self) -> Option<Wanted> {
        self.requests.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Ends the stream: delivers what waits behind gaps.
    pub fn finish(&mut self, deliver: &mut dyn FnMut(&[u8])) {
        self.streams.flush(&mut self.stats, deliver);
    }

    /// Counters by cause.
    #[must_use]
    pub fn discards(&self) -> &Discards {
        &self.discards
    }

    /// Totals.
    #[must_use]
    pub fn stats(&self) -> ReceiverStats {
        ReceiverStats {
            signature_checks: self.trust.checks(),
            ..self.stats
        }
    }

    /// What was opened and taken in, by epoch and lane, until it is fetched: after [`Receiver::finish`], all that was delivered.
    pub fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// Gaps in what was delivered.
    #[must_use]
    pub fn gaps(&self) -> GapCount {
        self.streams.gaps()
    }

    /// The epoch in use and what remains of it.
    #[must_use]
    pub fn current(&self, now: Time) -> Option<(Epoch, Remaining)> {
        self.keys.current(now)
    }

    /// The epoch held for after it.
    #[must_use]
    pub fn next_epoch(&self) -> Option<Epoch> {
        self.keys.next_epoch()
    }
}
