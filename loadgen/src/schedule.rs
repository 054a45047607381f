//! When each datagram is due, of which flow, how long: an absolute schedule that knows no clock, no socket and no receiver. A
//! generator that is late does not move it (open loop).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use sealcast_dataplane::source::Due;

use crate::stamp;
use spacing::{PICTURE, Spacing, Video};

mod spacing;

/// The longest payload that can be asked for: what fits one UDP datagram.
pub const LENGTH_MAX: usize = 65_507;
/// Flows of a run, at most.
pub const FLOWS_MAX: u32 = 4096;
/// Datagrams of a burst, at most.
pub const BURST_MAX: u32 = 10_000;
/// The highest rate, datagrams per second: one per nanosecond.
const PACKETS_MAX: u64 = 1_000_000_000;
/// The longest run.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// A datagram and when it is due, in nanoseconds since the start of the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// [`Due::Now`]: as soon as it can be sent.
    pub due: Due,
    /// Of which flow, counted from 0.
    pub flow: u32,
    /// Bytes of payload, at least [`stamp::length_min`] of it.
    pub len: usize,
}

/// What is to be sent: any iterator of slots, in the order in which they are due.
pub trait Schedule: Iterator<Item = Slot> + Send {}

impl<T: Iterator<Item = Slot> + Send> Schedule for T {}

/// How datagrams of a flow follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// At equal distances.
    Constant,
    /// As coded video: pictures of different size, 25 a second, the first of twelve several times as large. The mean is kept over
    /// each group of twelve (480 ms); the peak is at most four times the mean.
    Variable,
    /// So many at once, and then none until their time is over.
    Bursts(u32),
}

/// How much of all flows together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rate {
    /// Bits of payload per second.
    Bits(u64),
    /// Datagrams per second.
    Packets(u64),
    /// As many as the host can send.
    Unlimited,
}

/// What a run sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traffic {
    /// How the datagrams of a flow follow each other.
    pub shape: Shape,
    /// How much, of all flows together.
    pub rate: Rate,
    /// Bytes of each payload.
    pub len: usize,
    /// Streams with numbers of their own.
    pub flows: u32,
    /// How long.
    pub duration: Duration,
    /// Chooses what is random.
    pub seed: u64,
}

/// One of several equal parts: the flows of one core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Which, from 0.
    pub index: u32,
    /// Of how many, at least 1.
    pub of: u32,
}

/// Why traffic cannot be made.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum TrafficError {
    /// The stamp needs room, and UDP has an end.
    #[error(
        "payloads of {len} bytes: choose a size from {min} (so long is the stamp) to {LENGTH_MAX}"
    )]
    Length {
        /// As asked for.
        len: usize,
        /// The least of this kind.
        min: usize,
    },
    /// Nothing to send, or too much to tell apart.
    #[error("{0} flows: choose 1 to {FLOWS_MAX}")]
    Flows(u32),
    /// No rate.
    #[error(
        "a rate of {0} datagrams per second: choose 1 per second or more, at most {PACKETS_MAX}; `max` sends without a schedule"
    )]
    Rate(f64),
    /// No burst, or one that no buffer takes.
    #[error("bursts of {0} datagrams: choose 1 to {BURST_MAX}")]
    Burst(u32),
    /// A shape needs a rate to shape.
    #[error("an unlimited rate has no shape: give a rate, or leave the shape out")]
    NoShape,
    /// Nothing, or nearly for ever.
    #[error("a run of {0:?}: choose more than nothing, at most 30 days")]
    Duration(Duration),
}

impl Traffic {
    /// Whether it can be made.
    ///
    /// # Errors
    /// [`TrafficError`] says what to choose.
    pub fn check(&self) -> Result<(), TrafficError> {
        let min = stamp::length_min(self.len);
        if !(min..=LENGTH_MAX).contains(&self.len) {
            return Err(TrafficError::Length { len: self.len, min });
        }
        if !(1..=FLOWS_MAX).contains(&self.flows) {
            return Err(TrafficError::Flows(self.flows));
        }
        if self.duration.is_zero() || self.duration > DURATION_MAX {
            return Err(TrafficError::Duration(self.duration));
        }
        if let Shape::Bursts(burst) = self.shape
            && !(1..=BURST_MAX).contains(&burst)
        {
            return Err(TrafficError::Burst(burst));
        }
        match self.packets_per_second() {
            None if self.shape != Shape::Constant => Err(TrafficError::NoShape),
            Some(rate) if !(1.0..=PACKETS_MAX as f64).contains(&rate) => {
                Err(TrafficError::Rate(rate))
            }
            _ => Ok(()),
        }
    }

    /// Datagrams per second, of all flows; `None` if the rate is unlimited.
    #[must_use]
    pub fn packets_per_second(&self) -> Option<f64> {
        match self.rate {
            Rate::Bits(bits) => Some(bits as f64 / (self.len as f64 * 8.0)),
            Rate::Packets(packets) => Some(packets as f64),
            Rate::Unlimited => None,
        }
    }

    /// The schedule of a part of the flows: those whose number leaves `part.index` when divided by `part.of`.
    #[must_use]
    pub fn schedule(&self, part: Part) -> Box<dyn Schedule> {
        let flows = (part.index..self.flows).step_by(usize::try_from(part.of.max(1)).unwrap_or(1));
        let Some(spacing) = Spacing::of(self) else {
            let len = self.len;
            return Box::new(
                flows
                    .collect::<Vec<_>>()
                    .into_iter()
                    .cycle()
                    .map(move |flow| Slot {
                        due: Due::Now,
                        flow,
                        len,
                    }),
            );
        };
        let mut flows: Vec<_> = flows
            .map(|flow| Flow::new(self.shape, spacing, flow, self.seed))
            .collect();
        let first =
            |(index, flow): (usize, &mut Flow)| Reverse((flow.next_due(), flow.number, index));
        Box::new(Merged {
            next: flows.iter_mut().enumerate().map(first).collect(),
            flows,
            len: self.len,
            end: u64::try_from(self.duration.as_nanos()).unwrap_or(u64::MAX),
        })
    }
}

/// The datagrams of one flow.
#[derive(Debug)]
struct Flow {
    number: u32,
    spacing: Spacing,
    /// Datagrams so far.
    count: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Even,
    Bursts(u64),
    Video(Box<Video>),
}

impl Flow {
    fn new(shape: Shape, spacing: Spacing, number: u32, seed: u64) -> Self {
        let kind = match shape {
            Shape::Constant => Kind::Even,
            Shape::Bursts(burst) => Kind::Bursts(u64::from(burst.max(1))),
            Shape::Variable => Kind::Video(Box::new(Video::new(seed ^ u64::from(number) << 32))),
        };
        Self {
            number,
            spacing,
            count: 0,
            kind,
        }
    }

    /// When the next datagram is due. Flows take turns, so that together they keep the rate, too.
    fn next_due(&mut self) -> u64 {
        let count = self.count;
        self.count += 1;
        let (spacing, turn) = (self.spacing, u64::from(self.number));
        match &mut self.kind {
            Kind::Even => spacing.due(count * spacing.flows + turn),
            Kind::Bursts(size) => spacing.due((count / *size * spacing.flows + turn) * *size),
            Kind::Video(video) => video
                .due(spacing, count)
                .saturating_add(turn * PICTURE / spacing.flows),
        }
    }
}

/// The flows of a part, in the order in which they are due.
#[derive(Debug)]
struct Merged {
    /// When each flow is due next: time, number of the flow, its place in `flows`.
    next: BinaryHeap<Reverse<(u64, u32, usize)>>,
    flows: Vec<Flow>,
    len: usize,
    end: u64,
}

impl Iterator for Merged {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let mut first = self.next.peek_mut()?;
        let Reverse((due, number, index)) = &mut *first;
        if *due >= self.end {
            return None;
        }
        let slot = Slot {
            due: Due::At(*due),
            flow: *number,
            len: self.len,
        };
        *due = self.flows[*index].next_due();
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::spacing::PICTURES;
    use super::*;

    const WHOLE: Part = Part { index: 0, of: 1 };

    fn traffic(shape: Shape, rate: Rate, flows: u32) -> Traffic {
        Traffic {
            shape,
            rate,
            len: 1316,
            flows,
            duration: Duration::from_secs(3),
            seed: 7,
        }
    }

    fn slots(traffic: &Traffic, part: Part) -> Vec<(u64, u32)> {
        let due = |slot: Slot| match slot.due {
            Due::At(due) => (due, slot.flow),
            Due::Now => panic!("a rate gives times"),
        };
        traffic.schedule(part).map(due).collect()
    }

    fn between(slots: &[(u64, u32)], from: u64, to: u64) -> usize {
        slots
            .iter()
            .filter(|(due, _)| (from..to).contains(due))
            .count()
    }

    fn shapes() -> impl Strategy<Value = Shape> {
        prop_oneof![
            Just(Shape::Constant),
            Just(Shape::Variable),
            (1_u32..50).prop_map(Shape::Bursts)
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn a_constant_rate_is_exact_over_any_window(
            packets in 1_u64..20_000, flows in 1_u32..20, from in 0_u64..2_000_000_000, length in 1_u64..1_000_000_000,
        ) {
            let slots = slots(&traffic(Shape::Constant, Rate::Packets(packets), flows), WHOLE);
            let expected = packets as f64 * length as f64 / 1e9;
            let found = between(&slots, from, from + length) as f64;
            prop_assert!((found - expected).abs() <= 1.0, "{found} of {expected}");
            prop_assert_eq!(slots.len() as u64, packets * 3);
        }

        #[test]
        fn a_variable_rate_keeps_its_mean_and_bounds_its_peak(packets in 300_u64..20_000, seed: u64) {
            let mut traffic = traffic(Shape::Variable, Rate::Packets(packets), 1);
            (traffic.seed, traffic.duration) = (seed, Duration::from_millis(480 * 4));
            let slots = slots(&traffic, WHOLE);
            let group = PICTURE * PICTURES as u64;
            for index in 0..4 {
                let expected = packets as f64 * group as f64 / 1e9;
                let found = between(&slots, index * group, (index + 1) * group) as f64;
                prop_assert!((found - expected).abs() <= 1.0, "{found} of {expected}");
            }
            let pictures = (0..48).map(|index| between(&slots, index * PICTURE, (index + 1) * PICTURE) as f64);
            let mean = packets as f64 * PICTURE as f64 / 1e9;
            let peak = pictures.fold(0.0, f64::max);
            prop_assert!(peak <= 4.0 * mean + 1.0 && peak >= 2.0 * mean - 1.0, "{peak} of {mean}");
        }

        #[test]
        fn bursts_are_bounded_and_keep_the_rate(packets in 100_u64..20_000, burst in 1_u32..50) {
            let slots = slots(&traffic(Shape::Bursts(burst), Rate::Packets(packets), 1), WHOLE);
            let mut sizes = std::collections::BTreeMap::<u64, u32>::new();
            slots.iter().for_each(|(due, _)| *sizes.entry(*due).or_default() += 1);
            prop_assert!(sizes.values().all(|&size| size == burst));
            let expected = packets * 3;
            prop_assert!((expected..expected + u64::from(burst)).contains(&(slots.len() as u64)), "{} of {expected}", slots.len());
        }

        #[test]
        fn parts_are_the_whole_in_order_and_the_same_each_time(
            shape in shapes(), packets in 1_u64..5000, flows in 1_u32..20, of in 1_u32..5, seed: u64,
        ) {
            let mut traffic = traffic(shape, Rate::Packets(packets), flows);
            traffic.seed = seed;
            let whole = slots(&traffic, WHOLE);
            prop_assert!(whole.is_sorted());
            prop_assert_eq!(&whole, &slots(&traffic, WHOLE));
            let mut parts: Vec<_> = (0..of).flat_map(|index| slots(&traffic, Part { index, of })).collect();
            parts.sort_unstable();
            prop_assert_eq!(whole, parts);
        }
    }

    #[test]
    fn bits_are_bits_of_payload() {
        // 1316 bytes each: 1000 datagrams a second.
        let slots = slots(&traffic(Shape::Constant, Rate::Bits(10_528_000), 1), WHOLE);
        assert_eq!((slots.len(), slots[1].0), (3000, 1_000_000));
    }

    #[test]
    fn another_seed_gives_another_variable_rate() {
        let with = |seed| {
            let mut traffic = traffic(Shape::Variable, Rate::Packets(5000), 1);
            traffic.seed = seed;
            slots(&traffic, WHOLE)
        };
        assert_ne!(with(1), with(2));
    }

    #[test]
    fn an_unlimited_rate_takes_flows_in_turn() {
        let schedule =
            traffic(Shape::Constant, Rate::Unlimited, 5).schedule(Part { index: 1, of: 2 });
        let flows: Vec<_> = schedule.take(5).map(|slot| (slot.flow, slot.due)).collect();
        assert_eq!(flows, [1, 3, 1, 3, 1].map(|flow| (flow, Due::Now)));
        // A part without flows has nothing to send.
        assert_eq!(
            traffic(Shape::Constant, Rate::Unlimited, 1)
                .schedule(Part { index: 1, of: 2 })
                .next(),
            None
        );
    }

    type Case<'a> = (&'a dyn Fn(&mut Traffic), &'a str);

    #[test]
    fn what_cannot_be_made_is_told() {
        let good = traffic(Shape::Constant, Rate::Packets(10), 1);
        assert_eq!(good.check(), Ok(()));
        let said = |change: &dyn Fn(&mut Traffic)| {
            let mut traffic = good.clone();
            change(&mut traffic);
            traffic.check().unwrap_err().to_string()
        };
        let cases: [Case<'_>; 7] = [
            (&|t| t.len = 20, "choose a size from 48"),
            (&|t| t.len = 65_508, "to 65507"),
            (&|t| t.flows = 0, "0 flows"),
            (&|t| t.rate = Rate::Packets(0), "1 per second or more"),
            (&|t| t.shape = Shape::Bursts(0), "bursts of 0"),
            (&|t| t.duration = Duration::ZERO, "more than nothing"),
            (
                &|t| (t.shape, t.rate) = (Shape::Variable, Rate::Unlimited),
                "has no shape",
            ),
        ];
        for (change, words) in cases {
            let said = said(change);
            assert!(said.contains(words), "{said}");
        }
    }
}
