//! The receiver of one channel: from datagrams to payloads in order, holding previous, current and next key.
//!
//! [`Receiver::handle_batch`] takes what one or two legs brought, [`Receiver::handle_granted`] and [`Receiver::handle_refused`]
//! what a key door answers, [`Receiver::set_path`] what opens key blocks, [`Receiver::poll`] the passing of time. Payloads come out through a callback, requests and events
//! through [`Receiver::poll_request`] and [`Receiver::poll_event`].

mod block;
mod budget;
mod follower;
mod keys;
mod open;
mod order;
mod parking;
mod proofs;
mod requester;
mod rtp;
mod source;
mod trust;
mod vouch;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_crypto::{EpochRoot, VerifyingKey};

pub use follower::{Change, Changes, Follower};
pub use order::GapCount;
pub use parking::ParkingBudget;
pub use proofs::{Missing, Verify, VerifyConfig, VerifyCounts};
pub use requester::FetchOn;
pub use trust::{News, Trust};

use crate::discard::{Discard, Discards};
use crate::ids::{ChannelId, Epoch, GroupId, Remaining, ServerId, Time};
use crate::limits;
use crate::tally::Tally;
use crate::timing::Timing;
use crate::wire::control::ControlType;
use crate::wire::door::{Granted, Reason, Refused, Wanted};
use crate::wire::{Kind, kind};
use block::Paths;
use open::Streams;
use parking::Parking;
use proofs::Proofs;
use vouch::Told;

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
    /// What to do with lanes whose certificate asks for manifests.
    pub verify: VerifyConfig,
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
            verify: VerifyConfig::default(),
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
    /// An alarm: a member sealed packets that were not its to seal. Not said more often than once a second.
    Forged {
        /// How many since it was last said.
        packets: u64,
        /// Of these, how many had been delivered.
        delivered: u64,
    },
    /// An alarm: packets came without any manifest. Not said more often than once a second.
    Unverified {
        /// How many since it was last said.
        packets: u64,
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
    /// Roots that key blocks brought.
    pub key_blocks: u64,
    /// Signatures checked.
    pub signature_checks: u64,
    /// Of lanes with manifests.
    pub verify: VerifyCounts,
}

/// The receiver of one channel.
#[derive(Debug)]
pub struct Receiver {
    config: ReceiverConfig,
    trust: Trust,
    follower: Follower,
    paths: Paths,
    streams: Streams,
    parking: Parking,
    proofs: Proofs,
    told: Told,
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
        let ReceiverConfig {
            channel,
            timing,
            fetch_on,
            ..
        } = config;
        Self {
            trust: Trust::new(channel),
            follower: Follower::new(channel, timing, fetch_on, now),
            paths: Paths::default(),
            streams: Streams::new(&config),
            parking: Parking::new(budget),
            proofs: Proofs::new(config.verify),
            told: Told::default(),
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
                    let datagram = &buffer[offset..end];
                    if kind == ControlType::Manifest as u8 {
                        self.manifest(now, leg, datagram, rng, deliver);
                    } else if kind == ControlType::KeyBlock as u8 {
                        self.key_block(now, source, datagram, deliver);
                    } else {
                        self.control(now, source, kind, datagram, rng, deliver);
                    }
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
            Ok(News::Certificate) if self.follower.keys.newest().is_none() => {
                self.follower.requester.hasten(now, rng);
            }
            Ok(News::Certificate) => {}
            Ok(News::Superseded(epoch)) => {
                let change = self.follower.superseded(now, epoch);
                self.tell([change, None]);
            }
            Ok(News::Notice) => {
                let changes = self.follower.noticed(now, &self.trust, rng);
                self.tell(changes);
                self.poll_timers(now, rng, deliver);
            }
            Err(cause) => self.discards.count(cause),
        }
    }

    fn tell(&mut self, changes: Changes) {
        let event = |change| match change {
            Change::Held(epoch) => Some(Event::KeyHeld { epoch }),
            Change::Known(_) => None,
            Change::Mismatch(epoch) => Some(Event::CommitmentMismatch { epoch }),
            Change::Replaced(epoch) => Some(Event::RootReplaced { epoch }),
        };
        let events = changes.into_iter().flatten().filter_map(event);
        self.events.extend(events);
    }

    /// The authority key and its successor, as enrolment told them.
    pub fn set_authority(&mut self, authority: VerifyingKey, successor: Option<VerifyingKey>) {
        self.trust.set_authority(authority, successor);
    }

    /// A key door refused.
    pub fn handle_refused(&mut self, now: Time, refused: &Refused, rng: &mut dyn CryptoRng) {
        if self.follower.refused(now, refused, rng) {
            self.events.push_back(Event::Refused {
                reason: refused.reason,
            });
        }
    }

    /// The session with the key doors is a new one: what was refused is asked again.
    pub fn session_renewed(&mut self, now: Time, rng: &mut dyn CryptoRng) {
        self.follower.session_renewed(now, rng);
    }

    /// A key door gave keys; `asked` is when the request left that this answers.
    pub fn handle_granted(
        &mut self,
        now: Time,
        asked: Time,
        granted: Granted,
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        let changes = match self.follower.granted(now, asked, &granted, &self.trust) {
            Ok(changes) => changes,
            Err(cause) => return self.discards.count(cause),
        };
        self.trust
            .set_authority(granted.authority, granted.successor);
        let halves = [Some(&granted.current), granted.next.as_ref()];
        for (change, half) in changes.into_iter().zip(halves) {
            if let (Some(Change::Held(epoch)), Some(half)) = (change, half) {
                self.log_key(epoch, &half.root);
            }
            self.tell([change, None]);
            if let Some(Change::Held(epoch) | Change::Known(epoch)) = change {
                self.unpark(now, epoch, deliver);
            }
        }
    }

    fn log_key(&mut self, epoch: Epoch, root: &EpochRoot) {
        if self.config.keylog {
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
        self.poll_proofs(now, deliver);
        self.streams.poll(now, &mut self.stats, deliver);
        self.poll_timers(now, rng, deliver);
    }

    fn poll_timers(&mut self, now: Time, rng: &mut dyn CryptoRng, _deliver: &mut dyn FnMut(&[u8])) {
        let expired = self.parking.expire(now);
        self.discards.add(Discard::UnknownKey, expired);
        let (requests, stats) = (&mut self.requests, &mut self.stats);
        self.follower.poll(now, rng, |wanted| {
            stats.requests += 1;
            requests.push_back(wanted);
        });
        if let Some(oldest) = self.follower.keys.oldest() {
            self.trust.forget_below(oldest);
        }
    }

    /// When [`Receiver::poll`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        [
            self.streams.next_timeout(),
            self.proofs.next_timeout(),
            self.parking.next_timeout(),
            self.follower.next_timeout(),
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
        self.finish_proofs(deliver);
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
            signature_checks: self.stats.signature_checks + self.trust.checks(),
            verify: self.proofs.counts(),
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
        self.follower.current(now)
    }

    /// The epoch held for after it.
    #[must_use]
    pub fn next_epoch(&self) -> Option<Epoch> {
        self.follower.next_epoch()
    }
}
