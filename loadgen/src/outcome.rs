//! What a run found, and missing datagrams by cause.

use serde::Serialize;

use crate::generator::Sent;
use crate::latency::Times;
use crate::sink::Sunk;
use crate::verify::Counts;

/// Datagrams that the kernel joins in a receive buffer, at most (UDP_GRO_CNT_MAX): so many are lost with one that it drops.
pub const JOINED_MAX: u64 = 64;

/// Where a run stands.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Sample {
    /// Seconds since the start.
    pub at: f64,
    /// Datagrams sent, all in all.
    pub sent: u64,
    /// Datagrams received whole.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Datagrams missing.
    pub lost: u64,
    /// Buffers that the kernel dropped at the sinks.
    pub drops: u64,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of the generators.
    pub sent: Option<Sent>,
    /// Of the sinks.
    pub received: Option<Received>,
    /// Where it stood, over time.
    pub series: Vec<Sample>,
    /// What people should know.
    pub notes: Vec<String>,
}

/// What the sinks found.
#[derive(Clone, Debug)]
pub struct Received {
    /// Of all sinks.
    pub counts: Counts,
    /// What became of the missing ones.
    pub loss: Loss,
    /// Of each sink, in the order in which they were given.
    pub sinks: Vec<SinkResult>,
    /// From when each datagram should have been sent to when it was received.
    pub times: Times,
    /// Datagrams that have no such time, for their sender has another clock.
    pub other_clocks: u64,
    /// Nanoseconds from the first to the last datagram.
    pub span: u64,
}

/// What one sink found.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct SinkResult {
    /// As verified.
    pub counts: Counts,
    /// Buffers that the kernel dropped for want of room.
    pub drops: u64,
    /// Nanoseconds from when the socket was open, or the run had started, to the first whole datagram.
    pub join_ns: Option<u64>,
    /// When that came, nanoseconds of the boot clock.
    pub first_ns: Option<u64>,
}

/// Missing datagrams by cause. The kernel counts dropped buffers, each of 1 to [`JOINED_MAX`] datagrams: hence bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Loss {
    /// All.
    pub lost: u64,
    /// The generator's kernel refused them.
    pub refused: u64,
    /// They came, damaged.
    pub corrupt: u64,
    /// The sinks' receive buffers were full: so many at least.
    pub receive_buffer_min: u64,
    /// So many at most.
    pub receive_buffer_max: u64,
    /// Lost between generator and sink: so many at least.
    pub path_min: u64,
    /// So many at most.
    pub path_max: u64,
}

impl Loss {
    /// Shares `lost` out.
    #[must_use]
    pub fn of(lost: u64, refused: u64, corrupt: u64, drops: u64) -> Self {
        let refused = refused.min(lost);
        let corrupt = corrupt.min(lost - refused);
        let rest = lost - refused - corrupt;
        let (min, max) = (drops.min(rest), drops.saturating_mul(JOINED_MAX).min(rest));
        Self {
            lost,
            refused,
            corrupt,
            receive_buffer_min: min,
            receive_buffer_max: max,
            path_min: rest - max,
            path_max: rest - min,
        }
    }
}

impl Received {
    /// Puts together what the shards of sinks found.
    pub(crate) fn of(
        sunk: Vec<Sunk>,
        sent: Option<&Sent>,
        sinks: usize,
        start: u64,
        notes: &mut Vec<String>,
    ) -> Self {
        let mut received = Self {
            counts: Counts::default(),
            loss: Loss::default(),
            sinks: vec![SinkResult::default(); sinks],
            times: Times::default(),
            other_clocks: 0,
            span: 0,
        };
        let flows = sent.map(|sent| sent.flows.as_slice());
        let mut came = vec![false; flows.map_or(0, <[u64]>::len)];
        let mut span: Option<(u64, u64)> = None;
        for shard in sunk {
            let verified = shard.verifier.finish(flows);
            for (socket, (counts, first)) in shard.sockets.iter().zip(verified.sinks) {
                if socket.grant.is_short() {
                    notes.push(format!("sink {}: {}", socket.number + 1, socket.grant));
                }
                let waited = |first: u64| first.saturating_sub(socket.opened.max(start));
                received.counts.add(&counts);
                received.sinks[socket.number] = SinkResult {
                    counts,
                    drops: socket.drops,
                    join_ns: first.map(waited),
                    first_ns: first,
                };
            }
            for flow in verified
                .flows
                .iter()
                .filter_map(|&flow| usize::try_from(flow).ok())
            {
                if let Some(came) = came.get_mut(flow) {
                    *came = true;
                }
            }
            received.times.add(&verified.times);
            received.other_clocks += verified.other_clocks;
            span = match (span, verified.span) {
                (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
                (one, other) => one.or(other),
            };
        }
        received.span = span.map_or(0, |(first, last)| last - first);
        // Flows of which nothing came at any sink are unknown to them.
        let whole = came.iter().zip(flows.unwrap_or_default());
        received.counts.lost += whole
            .filter(|(came, _)| !**came)
            .map(|(_, sent)| sent)
            .sum::<u64>();
        let drops = received.sinks.iter().map(|sink| sink.drops).sum();
        let refused = sent.map_or(0, |sent| sent.now.refused);
        received.loss = Loss::of(
            received.counts.lost,
            refused,
            received.counts.corrupt,
            drops,
        );
        received
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn loss_is_shared_out_as_far_as_it_is_known() {
        let none = Loss::of(0, 3, 3, 3);
        assert_eq!(none, Loss::default());
        let known = Loss::of(10, 2, 3, 0);
        assert_eq!((known.refused, known.corrupt), (2, 3));
        assert_eq!(
            (known.receive_buffer_max, known.path_min, known.path_max),
            (0, 5, 5)
        );
        let buffers = Loss::of(100, 0, 0, 1);
        assert_eq!(
            (buffers.receive_buffer_min, buffers.receive_buffer_max),
            (1, 64)
        );
        assert_eq!((buffers.path_min, buffers.path_max), (36, 99));
    }

    proptest! {
        #[test]
        fn causes_add_up(lost in 0_u64..1000, refused in 0_u64..1000, corrupt in 0_u64..1000, drops in 0_u64..100) {
            let loss = Loss::of(lost, refused, corrupt, drops);
            let fixed = loss.refused + loss.corrupt;
            prop_assert_eq!(fixed + loss.receive_buffer_min + loss.path_max, lost);
            prop_assert_eq!(fixed + loss.receive_buffer_max + loss.path_min, lost);
        }
    }
}
