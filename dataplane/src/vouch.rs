//! What leaves beside packets: manifests of a sealing core's batches, and parts of key blocks. It goes behind packets, as the shorter last
//! segment of the same call where it fits, else in calls of its own.

use std::collections::VecDeque;
use std::io;

use sealcast_net::UdpSender;
use sealcast_proto::ids::Time;
use sealcast_proto::sender::{ManifestConfig, ManifestCounts, Manifests, Reserved};
use sealcast_proto::wire::manifest::MANIFEST_MAX;

use crate::batch::{Runs, SealBatch};

/// The manifests of one sealing core, and what else leaves behind its packets. Nothing is kept, and nothing costs, until a batch has to be
/// vouched for.
#[derive(Debug)]
pub struct Vouching {
    config: ManifestConfig,
    manifests: Option<Manifests>,
    /// Parts of key blocks that wait for packets to leave behind.
    riders: VecDeque<Vec<u8>>,
    /// Datagrams that go out now, one after the other.
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

impl Vouching {
    /// None so far.
    #[must_use]
    pub fn new(config: ManifestConfig) -> Self {
        Self {
            config,
            manifests: None,
            riders: VecDeque::new(),
            bytes: Vec::new(),
            lengths: Vec::new(),
        }
    }

    /// A datagram that may leave behind packets.
    pub fn take_rider(&mut self, datagram: Vec<u8>) {
        self.riders.push_back(datagram);
    }

    /// Whether one waits: the next batch should [keep room](SealBatch::keep_room_behind).
    #[must_use]
    pub fn has_riders(&self) -> bool {
        !self.riders.is_empty()
    }

    /// Seals a batch; if it has to be vouched for, takes it in. Puts a manifest that is due behind it, or else what waits to ride.
    pub fn seal(&mut self, now: Time, reserved: Reserved, batch: &mut SealBatch) {
        let prover = reserved.prover();
        let (buffer, spans) = batch.parts();
        reserved.seal(buffer, spans);
        let config = self.config;
        if let Some(prover) = &prover {
            let manifests = self.manifests.get_or_insert_with(|| Manifests::new(config));
            manifests.sealed(now, prover, buffer, spans);
            manifests.poll(now);
        }
        let room = batch.room_behind();
        let vouched = self.manifests.as_mut().filter(|_| prover.is_some());
        let manifest = vouched.and_then(|manifests| manifests.poll_datagram(room));
        let fits = |rider: &mut Vec<u8>| rider.len() <= room;
        let behind = manifest.or_else(|| self.riders.pop_front_if(fits));
        if let Some(datagram) = behind {
            batch.put_behind(&datagram);
        }
    }

    /// Sends manifests that are due over one or two legs. Returns the last failure of each.
    pub async fn send(&mut self, now: Time, legs: &mut [UdpSender]) -> [Option<io::Error>; 2] {
        let Some(manifests) = &mut self.manifests else {
            return [None, None];
        };
        manifests.poll(now);
        while let Some(datagram) = manifests.poll_datagram(MANIFEST_MAX) {
            self.bytes.extend_from_slice(&datagram);
            self.lengths.push(datagram.len());
        }
        self.send_all(legs).await
    }

    /// Sends what waits to ride, because there are no packets to leave behind. Returns the last failure of each leg.
    pub async fn send_riders(&mut self, legs: &mut [UdpSender]) -> [Option<io::Error>; 2] {
        for datagram in self.riders.drain(..) {
            self.bytes.extend_from_slice(&datagram);
            self.lengths.push(datagram.len());
        }
        self.send_all(legs).await
    }

    async fn send_all(&mut self, legs: &mut [UdpSender]) -> [Option<io::Error>; 2] {
        let mut failed = [None, None];
        for (range, segment) in Runs::new(self.lengths.iter().copied()) {
            for (leg, failed) in legs.iter_mut().zip(&mut failed) {
                let sent = leg.send_batch(&self.bytes[range.clone()], segment).await;
                *failed = sent.err().or_else(|| failed.take());
            }
        }
        self.bytes.clear();
        self.lengths.clear();
        failed
    }

    /// The stream ends: all that is left is due.
    pub fn finish(&mut self, now: Time) {
        if let Some(manifests) = &mut self.manifests {
            manifests.finish(now);
        }
    }

    /// When [`Vouching::send`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.manifests.as_ref()?.next_timeout()
    }

    /// Totals.
    #[must_use]
    pub fn counts(&self) -> ManifestCounts {
        self.manifests
            .as_ref()
            .map(Manifests::counts)
            .unwrap_or_default()
    }
}
