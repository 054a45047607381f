//! The packet path: classify by header, open a run of packets of one lane at once, then replay, source, order.

use std::collections::BTreeMap;
use std::ops::Range;

use rand_core::CryptoRng;
use sealcast_crypto::{BATCH_MAX, PacketDigest, PacketHasher, Span};

use super::order::{GapCount, Order, Refused};
use super::rtp::{Place, Sequence};
use super::source::{Choice, Sources};
use super::{Event, Merge, Receiver, ReceiverConfig, ReceiverStats};
use crate::discard::Discard;
use crate::ids::{Ctr, Epoch, GroupId, Kid, Lane, ServerId, Time};
use crate::limits::{CTR_FIRST, HEADER_LEN, OVERHEAD};
use crate::replay::Replay;
use crate::wire::header::PacketHeader;
use crate::wire::manifest::Unproven;

/// Stripe groups whose windows are remembered; the one heard longest ago is forgotten first.
const GROUPS_MAX: usize = 16;

/// A group whose numbers are below this has just begun.
const FRESH: u64 = 1024;

#[derive(Debug)]
struct Group {
    replay: Replay,
    heard: Time,
}

/// Where a run of packets of one lane comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) epoch: Epoch,
    pub(super) lane: Lane,
    pub(super) group: GroupId,
    pub(super) server: ServerId,
    pub(super) leg: usize,
}

/// What follows opening: windows per group, the choice among groups, and the order.
#[derive(Debug)]
pub(super) struct Streams {
    groups: BTreeMap<GroupId, Group>,
    sources: Sources,
    order: Order,
    sequence: Sequence,
    /// The run of packets of one lane that is being collected: lane index and where they lie.
    lane: Option<usize>,
    spans: Vec<Span>,
    hasher: PacketHasher,
    digests: Vec<PacketDigest>,
}

impl Streams {
    pub(super) fn new(config: &ReceiverConfig) -> Self {
        Self {
            groups: BTreeMap::new(),
            sources: Sources::new(config.preferred, config.source_timeout),
            order: Order::new(config.skew),
            sequence: Sequence::default(),
            lane: None,
            spans: Vec::with_capacity(BATCH_MAX),
            hasher: PacketHasher::default(),
            digests: Vec::new(),
        }
    }

    pub(super) fn gaps(&self) -> GapCount {
        self.order.count()
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.order.next_timeout()
    }

    pub(super) fn poll(
        &mut self,
        now: Time,
        stats: &mut ReceiverStats,
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        self.order.poll(now, &mut counted(stats, deliver));
    }

    pub(super) fn flush(&mut self, stats: &mut ReceiverStats, deliver: &mut dyn FnMut(&[u8])) {
        self.order.flush(&mut counted(stats, deliver));
    }

    fn check(&mut self, now: Time, group: GroupId, ctr: Ctr, leg: usize) -> Result<(), Discard> {
        if !self.groups.contains_key(&group) && self.groups.len() == GROUPS_MAX {
            let oldest = self
                .groups
                .iter()
                .min_by_key(|(_, group)| group.heard)
                .map(|(&id, _)| id);
            oldest.map(|oldest| self.groups.remove(&oldest));
        }
        let entry = self.groups.entry(group).or_insert_with(|| Group {
            replay: Replay::default(),
            heard: now,
        });
        entry.replay.check(ctr, leg).inspect_err(|&cause| {
            if cause == Discard::Duplicate {
                entry.replay.mark(ctr, leg);
            }
        })
    }
}

/// `deliver`, counting.
fn counted<'a>(
    stats: &'a mut ReceiverStats,
    deliver: &'a mut dyn FnMut(&[u8]),
) -> impl FnMut(&[u8]) + 'a {
    |payload| {
        stats.packets += 1;
        stats.bytes += payload.len() as u64;
        deliver(payload);
    }
}

impl Receiver {
    /// Looks at one packet's header and decides whether it is worth opening; opens the run so far if it belongs to another lane.
    pub(super) fn classify(
        &mut self,
        now: Time,
        leg: usize,
        buffer: &mut [u8],
        range: Range<usize>,
        rng: &mut dyn CryptoRng,
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        let packet = &buffer[range.clone()];
        let Some(header) = PacketHeader::parse(packet) else {
            return self.discards.count(Discard::Malformed);
        };
        if header.kid.channel() != self.config.channel {
            return self.discards.count(Discard::OtherChannel);
        }
        if packet.len() > self.config.payload_max + OVERHEAD {
            return self.discards.count(Discard::Oversize);
        }
        let lane = match self.follower.keys.lane(header.kid) {
            Some(lane) => lane,
            None => match self.derive(now, leg, header.kid, packet, rng) {
                Ok(lane) => lane,
                Err(Some(cause)) => return self.discards.count(cause),
                Err(None) => return,
            },
        };
        let (group, server) = (
            self.follower.keys.lane_at(lane).group,
            self.follower.keys.lane_at(lane).server,
        );
        if self.choose(now, group, server) == Choice::NotChosen {
            return self.discards.count(Discard::SourceNotChosen);
        }
        if let Err(cause) = self.streams.check(now, group, header.ctr, leg) {
            return self.discards.count(cause);
        }
        if self.streams.lane != Some(lane) || self.streams.spans.len() == BATCH_MAX {
            self.open_run(now, leg, buffer, deliver);
            self.streams.lane = Some(lane);
        }
        let payload_len = range.len() - OVERHEAD;
        self.streams.spans.push(Span {
            offset: range.start,
            header_len: HEADER_LEN,
            payload_len,
            ctr: header.ctr.0,
        });
    }

    fn choose(&mut self, now: Time, group: GroupId, server: ServerId) -> Choice {
        match self.config.merge {
            Merge::Rtp => Choice::Chosen,
            Merge::None => self.streams.sources.choose(now, group, server, |chosen| {
                self.trust.follows(group, chosen)
            }),
        }
    }

    /// The key of a lane that has not been derived yet. `Err(None)`: the packet, or the manifest, is parked.
    pub(super) fn derive(
        &mut self,
        now: Time,
        leg: usize,
        kid: Kid,
        packet: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<usize, Option<Discard>> {
        let (certificate, epoch) = self
            .trust
            .lookup(kid.lane(), kid.epoch_low())
            .ok_or(Discard::Uncertified)?;
        if let Some(lane) = self.follower.keys.derive(kid, epoch, certificate) {
            return Ok(lane);
        }
        let (group, server) = (certificate.group, certificate.server);
        self.missing(now, epoch, rng);
        // Only what would be delivered is parked, and only under the key that is on its way.
        let awaited =
            self.follower.requester.is_pending(epoch) || self.follower.requester.is_pending_any();
        let successor = self
            .follower
            .keys
            .current_epoch()
            .is_some_and(|current| current < epoch);
        let delivered = self.choose(now, group, server) != Choice::NotChosen;
        if awaited && successor && delivered && self.parking.park(now, epoch, leg, packet) {
            return Err(None);
        }
        Err(Some(Discard::UnknownKey))
    }

    /// A certified packet shows a key that is not held (MD-25): asks for it, and says so once.
    fn missing(&mut self, now: Time, epoch: Epoch, rng: &mut dyn CryptoRng) {
        if self.config.fetch_on.demand
            && self
                .follower
                .keys
                .oldest()
                .is_none_or(|oldest| epoch >= oldest)
        {
            self.follower.requester.demand(epoch, now, rng);
        }
        // Epochs only rise: what was told once is not told again for a straggler.
        if self.missing_told < Some(epoch) {
            self.missing_told = Some(epoch);
            self.events.push_back(Event::KeyMissing {
                epoch,
                held: self.follower.keys.newest(),
            });
        }
    }

    /// Opens the collected run of one lane in place and takes in what is genuine.
    pub(super) fn open_run(
        &mut self,
        now: Time,
        leg: usize,
        buffer: &mut [u8],
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        let Some(lane) = self.streams.lane.take() else {
            return;
        };
        let mut spans = std::mem::take(&mut self.streams.spans);
        let lane = self.follower.keys.lane_at(lane);
        let origin = Origin {
            epoch: lane.epoch,
            lane: lane.kid.lane(),
            group: lane.group,
            server: lane.server,
            leg,
        };
        let (kid, lanes) = (
            lane.kid,
            lane.vouching.as_ref().map(|vouching| vouching.lanes),
        );
        // What a manifest lists is the packet as it came.
        let mut digests = std::mem::take(&mut self.streams.digests);
        if lanes.is_some() {
            let packets = spans.iter().map(|span| &buffer[span.offset..span.end()]);
            self.streams
                .hasher
                .digest(packets, |digest| digests.push(digest));
        }
        let verdicts = lane.key.open(buffer, &spans);
        for (index, span) in spans.iter().enumerate() {
            if !verdicts.is_ok(index) {
                self.discards.count(Discard::BadTag);
                continue;
            }
            let (ctr, start) = (Ctr(span.ctr), span.offset + span.header_len);
            let payload = &buffer[start..start + span.payload_len];
            match (lanes, digests.get(index)) {
                (Some(lanes), Some(digest)) => {
                    self.examine(now, (kid, origin, lanes), ctr, digest, payload, deliver);
                }
                _ => {
                    self.accept(now, origin, ctr, payload, deliver);
                }
            }
        }
        spans.clear();
        digests.clear();
        self.streams.digests = digests;
        self.streams.spans = spans;
    }

    /// A genuine packet. Returns whether it was taken in.
    pub(super) fn accept(
        &mut self,
        now: Time,
        origin: Origin,
        ctr: Ctr,
        payload: &[u8],
        deliver: &mut dyn FnMut(&[u8]),
    ) -> bool {
        let Origin {
            epoch,
            lane,
            group,
            server,
            leg,
        } = origin;
        // Another group may have taken over since this packet was found worth opening.
        if self.choose(now, group, server) == Choice::NotChosen {
            self.discards.count(Discard::SourceNotChosen);
            return false;
        }
        // The same number may stand twice in one run: the window decides again.
        if let Err(cause) = self.streams.check(now, group, ctr, leg) {
            self.discards.count(cause);
            return false;
        }
        if let Some(entry) = self.streams.groups.get_mut(&group) {
            entry.replay.accept(ctr, leg);
            entry.heard = now;
        }
        if self.follower.keys.accepted(now, epoch) {
            self.stats.switches += 1;
            self.events.push_back(Event::Switched { epoch });
        }
        let from = match self.config.merge {
            Merge::None => self.streams.sources.accepted(now, group),
            Merge::Rtp => None,
        };
        if let Some(from) = from {
            self.stats.source_switches += 1;
            self.events
                .push_back(Event::SourceSwitched { from, to: group });
            self.streams.flush(&mut self.stats, deliver);
            // The run that takes over began just now: its first packets may still be on their way, out of order.
            if self.trust.follows(group, from) && ctr.0 - CTR_FIRST < FRESH {
                self.streams.order.expect(CTR_FIRST);
            }
        }
        if self.config.merge == Merge::None && !self.streams.order.has_begun() {
            let beginning = self.proofs.beginning(group, ctr);
            self.streams.order.expect(beginning.0);
        }
        let mut deliver = counted(&mut self.stats, deliver);
        let placed = match self.config.merge {
            Merge::None => self.streams.order.push(now, ctr.0, payload, &mut deliver),
            Merge::Rtp => match self.streams.sequence.place(payload) {
                None => {
                    self.discards.count(Discard::Malformed);
                    return false;
                }
                Some(Place::At(number)) => {
                    self.streams.order.push(now, number, payload, &mut deliver)
                }
                Some(Place::Restart(number)) => {
                    self.streams.order.flush(&mut deliver);
                    self.streams.order.push(now, number, payload, &mut deliver)
                }
            },
        };
        let refused = match placed {
            Ok(()) => {
                self.tally.add(epoch, lane, 1, payload.len() as u64);
                return true;
            }
            Err(Refused::Late) if self.config.merge == Merge::Rtp => Discard::Duplicate,
            Err(Refused::Late) => Discard::Late,
            Err(Refused::Held) => Discard::Duplicate,
        };
        self.discards.count(refused);
        false
    }

    /// A key has come: what waited for it is opened, in the order of arrival.
    pub(super) fn unpark(&mut self, now: Time, epoch: Epoch, deliver: &mut dyn FnMut(&[u8])) {
        while let Some(mut parked) = self.parking.take(epoch) {
            let before = self.stats.packets;
            let leg = parked.leg;
            self.open_parked(now, leg, &mut parked.packet, deliver);
            self.stats.unparked += u64::from(self.stats.packets > before);
            self.parking.recycle(parked.packet);
        }
    }

    fn open_parked(
        &mut self,
        now: Time,
        leg: usize,
        packet: &mut [u8],
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        if let Ok(unproven) = Unproven::parse(packet) {
            if let Some(lane) = self.known_lane(unproven.kid) {
                self.prove(now, leg, lane, unproven, deliver);
            }
            return;
        }
        let Some(header) = PacketHeader::parse(packet) else {
            return;
        };
        let Some(lane) = self.known_lane(header.kid) else {
            return self.discards.count(Discard::UnknownKey);
        };
        let group = self.follower.keys.lane_at(lane).group;
        if let Err(cause) = self.streams.check(now, group, header.ctr, leg) {
            return self.discards.count(cause);
        }
        let payload_len = packet.len() - OVERHEAD;
        self.streams.lane = Some(lane);
        self.streams.spans.push(Span {
            offset: 0,
            header_len: HEADER_LEN,
            payload_len,
            ctr: header.ctr.0,
        });
        self.open_run(now, leg, packet, deliver);
    }

    /// The key of a certified lane, if it is there or can be derived.
    fn known_lane(&mut self, kid: Kid) -> Option<usize> {
        self.follower.keys.lane(kid).or_else(|| {
            let (certificate, epoch) = self.trust.lookup(kid.lane(), kid.epoch_low())?;
            self.follower.keys.derive(kid, epoch, certificate)
        })
    }
}
