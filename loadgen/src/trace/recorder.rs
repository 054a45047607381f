//! From datagrams to records of a packet trace. Knows no socket and no clock.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use sealcast_dataplane::rtp;
use sealcast_proto::records::{Content, TracedPacket};

use super::TS;

/// Every address that is sent to is a channel, and these have 16 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("datagrams to more than 65535 addresses: choose some, for example pcap:FILE?dst=ADDR:PORT")]
pub struct TooManyChannels;

/// What a trace holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Datagrams.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Channels.
    pub channels: u16,
    /// Nanoseconds from the first to the last.
    pub length: u64,
}

impl Summary {
    /// Takes in a record.
    pub fn add(&mut self, packet: TracedPacket) {
        self.packets += 1;
        self.bytes += u64::from(packet.length);
        self.channels = self.channels.max(packet.channel);
        self.length = packet.at;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = Duration::from_nanos(self.length);
        write!(
            f,
            "{} datagrams, {} bytes, {} channel{}, {length:.3?}",
            self.packets,
            self.bytes,
            self.channels,
            if self.channels == 1 { "" } else { "s" },
        )
    }
}

/// Makes records of datagrams in the order in which they came.
#[derive(Debug, Default)]
pub struct Recorder {
    start: Option<u64>,
    channels: BTreeMap<SocketAddr, u16>,
    summary: Summary,
}

impl Recorder {
    /// A datagram that came at `time` (nanoseconds of any clock) for `dst`. A clock that steps back does not take the trace back.
    ///
    /// # Errors
    /// [`TooManyChannels`].
    pub fn record(
        &mut self,
        time: u64,
        dst: SocketAddr,
        payload: &[u8],
    ) -> Result<TracedPacket, TooManyChannels> {
        let next = u16::try_from(self.channels.len() + 1).map_err(|_| TooManyChannels);
        let channel = match self.channels.get(&dst) {
            Some(&channel) => channel,
            None => *self.channels.entry(dst).or_insert(next?),
        };
        let start = *self.start.get_or_insert(time);
        let packet = TracedPacket {
            at: time.saturating_sub(start).max(self.summary.length),
            channel,
            length: u16::try_from(payload.len()).unwrap_or(u16::MAX),
            content: content(payload),
        };
        self.summary.add(packet);
        Ok(packet)
    }

    /// What was recorded so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.summary
    }
}

fn content(payload: &[u8]) -> Content {
    if is_ts(payload) {
        Content::Ts
    } else if rtp::payload(payload).is_some_and(is_ts) {
        Content::RtpTs
    } else {
        Content::Opaque
    }
}

fn is_ts(payload: &[u8]) -> bool {
    let (packets, rest) = payload.as_chunks::<TS>();
    !packets.is_empty() && rest.is_empty() && packets.iter().all(|packet| packet[0] == 0x47)
}
