//! Manifests on their way out: a sealing core's batches are taken in, and what vouches for them leaves behind their packets, as the
//! shorter last segment of the same call where it fits, else in calls of its own.

use std::io;

use sealcast_net::UdpSender;
use sealcast_proto::ids::Time;
use sealcast_proto::sender::{ManifestConfig, ManifestCounts, Manifests, Reserved};
use sealcast_proto::wire::manifest::MANIFEST_MAX;

use crate::batch::{Runs, SealBatch};

/// The manifests of one sealing core. Nothing is kept, and nothing costs, until a batch has to be vouched for.
#[derive(Debug)]
pub struct Vouching {
    config: ManifestConfig,
    manifests: Option<Manifests>,
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
            bytes: Vec::new(),
            lengths: Vec::new(),
        }
    }

    /// Seals a batch; if it has to be vouched for, takes it in, and puts a manifest that is due behind it.
    pub fn seal(&mut self, now: Time, reserved: Reserved, batch: &mut SealBatch) {
        let prover = reserved.prover();
        let (buffer, spans) = batch.parts();
        reserved.seal(buffer, spans);
        let Some(prover) = prover else {
            return;
        };
        let config = self.config;
        let manifests = self.manifests.get_or_insert_with(|| Manifests::new(config));
        manifests.sealed(now, &prover, buffer, spans);
        manifests.poll(now);
        if let Some(datagram) = manifests.poll_datagram(batch.room_behind()) {
            batch.put_behind(&datagram);
        }
    }

    /// Sends what is due over one or two legs. Returns the last failure of each.
    pub async fn send(&mut self, now: Time, legs: &mut [UdpSender]) -> [Option<io::Error>; 2] {
        let mut failed = [None, None];
        let Some(manifests) = &mut self.manifests else {
            return failed;
        };
        manifests.poll(now);
        while let Some(datagram) = manifests.poll_datagram(MANIFEST_MAX) {
            self.bytes.extend_from_slice(&datagram);
            self.lengths.push(datagram.len());
        }
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
