//! The packet path of a sender: which key and numbers a batch gets.

use std::sync::Arc;

use sealcast_crypto::{SealKey, Span};

use super::{Prover, Sender};
use crate::ids::{GroupId, Time};
use crate::limits::HEADER_LEN;
use crate::wire::header::PacketHeader;
use crate::wire::link::Early;

/// Why nothing is sealed now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotSending {
    /// No key has come yet.
    #[error("no key yet")]
    NoKey,
    /// The key's time is over and the channel's setting (or the bound on holding) says stop.
    #[error("stopped: the key's time is over and there is no next")]
    Stopped,
    /// A lane's packets, bytes or numbers under this key are used up (SEC-13).
    #[error("the limit of packets or bytes under one key is reached")]
    Limit,
}

/// The key for a batch whose headers and numbers are set. It goes with the batch to the core that seals it.
#[derive(Debug)]
#[must_use = "what is reserved is counted as sent"]
pub struct Reserved {
    key: Arc<SealKey>,
    prover: Option<Arc<Prover>>,
}

impl Reserved {
    /// Seals the batch that it was reserved for, in place.
    ///
    /// # Panics
    /// As [`SealKey::seal`], if the batch is another.
    pub fn seal(self, buffer: &mut [u8], spans: &[Span]) {
        self.key.seal(buffer, spans);
    }

    /// What vouches for the batch, if receivers want that: once it is sealed, [`Manifests::sealed`](super::Manifests::sealed) must
    /// take it in, or they drop it.
    #[must_use]
    pub fn prover(&self) -> Option<Arc<Prover>> {
        self.prover.clone()
    }
}

fn payload_bytes(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.payload_len as u64).sum()
}

impl Sender {
    /// Seals a batch of `lane` (0-based core index) in place: [`Sender::reserve`] and [`Reserved::seal`].
    ///
    /// # Errors
    /// [`NotSending`]; the payloads are counted and must not be sent.
    pub fn seal(
        &mut self,
        now: Time,
        lane: usize,
        buffer: &mut [u8],
        spans: &mut [Span],
    ) -> Result<(), NotSending> {
        let reserved = self.reserve(now, lane, buffer, spans)?;
        reserved.seal(buffer, spans);
        Ok(())
    }

    /// Makes a batch of `lane` (0-based core index) ready to be sealed, on this core or another: each span's payload lies at
    /// `offset + 12`, with room for 16 bytes of tag after it. Writes the headers, fills in the spans' numbers, and reads key id
    /// and key as one unit: one batch has one epoch (MD-01).
    ///
    /// Lane `i` of `n` takes the numbers that are `i` modulo `n`, so payloads are dealt to the lanes one by one, beginning
    /// with lane 0 in each stripe group ([`Sender::group_at`]): then numbers are in the order of payloads.
    ///
    /// # Errors
    /// [`NotSending`]; the payloads are counted and must not be sent.
    pub fn reserve(
        &mut self,
        now: Time,
        lane: usize,
        buffer: &mut [u8],
        spans: &mut [Span],
    ) -> Result<Reserved, NotSending> {
        self.advance(now);
        let reserved = self.try_reserve(lane, buffer, spans);
        match reserved {
            Ok(_) => {
                self.stats.packets += spans.len() as u64;
                self.stats.bytes += payload_bytes(spans);
            }
            Err(_) => self.stats.not_sent += spans.len() as u64,
        }
        reserved
    }

    fn try_reserve(
        &mut self,
        lane: usize,
        buffer: &mut [u8],
        spans: &mut [Span],
    ) -> Result<Reserved, NotSending> {
        if self.stopped {
            return Err(NotSending::Stopped);
        }
        let Some(current) = self.schedule.current_mut() else {
            return Err(NotSending::NoKey);
        };
        let (epoch, set) = (current.epoch, &mut current.key);
        let numbers = self.numbers.of(set.group());
        // Numbers first: payloads that one lane cannot seal must not move those of the others.
        let first = numbers
            .reserve(lane, spans.len() as u64)
            .ok_or(NotSending::Limit)?;
        let lane_key = set
            .reserve(lane, spans.len() as u64, payload_bytes(spans))
            .ok_or(NotSending::Limit)?;
        let kid = lane_key.kid;
        self.tally
            .add(epoch, kid.lane(), spans.len() as u64, payload_bytes(spans));
        for (span, ctr) in spans.iter_mut().zip(first) {
            debug_assert!(
                span.payload_len <= self.config.payload_max && span.header_len == HEADER_LEN
            );
            span.ctr = ctr.0;
            PacketHeader { kid, ctr }.write(&mut buffer[span.offset..]);
        }
        let reserved = Reserved {
            key: Arc::clone(&lane_key.key),
            prover: lane_key.prover.clone(),
        };
        if set.is_past_soft_limit(lane) {
            self.early.get_or_insert(Early::Limit);
        } else if numbers.is_past_soft_limit() {
            self.early.get_or_insert(Early::Numbers);
        }
        Ok(reserved)
    }

    /// Whether what is sealed now has to be vouched for ([`Reserved::prover`]).
    #[must_use]
    pub fn is_vouched(&self) -> bool {
        self.schedule
            .current()
            .is_some_and(|current| current.key.is_vouched())
    }

    /// The stripe group whose numbers the next batch gets; `None` while there is no key.
    pub fn group_at(&mut self, now: Time) -> Option<GroupId> {
        self.advance(now);
        self.schedule.current().map(|current| current.key.group())
    }
}
