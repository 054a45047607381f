//! Time between datagrams: as an exact fraction, and in pictures of different size.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand_core::Rng as _;

use super::{Rate, Traffic};

/// Of a variable rate: nanoseconds of a picture, pictures of a group, as of 25 pictures a second.
pub(super) const PICTURE: u64 = 40_000_000;
pub(super) const PICTURES: usize = 12;

/// Time between datagrams as an exact fraction, so that no error adds up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spacing {
    /// Nanoseconds ...
    numerator: u64,
    /// ... of so many datagrams of all flows.
    denominator: u64,
    pub(super) flows: u64,
}

impl Spacing {
    pub(super) fn of(traffic: &Traffic) -> Option<Self> {
        const SECOND: u64 = 1_000_000_000;
        let (numerator, denominator) = match traffic.rate {
            Rate::Bits(bits) => (traffic.len as u64 * 8 * SECOND, bits),
            Rate::Packets(packets) => (SECOND, packets),
            Rate::Unlimited => return None,
        };
        Some(Self {
            numerator,
            denominator: denominator.max(1),
            flows: u64::from(traffic.flows),
        })
    }

    /// When the datagram with this number among all flows is due.
    pub(super) fn due(self, number: u64) -> u64 {
        let scaled = u128::from(number) * u128::from(self.numerator);
        u64::try_from(scaled / u128::from(self.denominator)).unwrap_or(u64::MAX)
    }

    /// How many datagrams of one flow belong before `ns`.
    fn of_flow_before(self, ns: u64) -> u64 {
        let scaled = u128::from(ns) * u128::from(self.denominator);
        let per = u128::from(self.numerator) * u128::from(self.flows);
        u64::try_from(scaled / per).unwrap_or(u64::MAX)
    }
}

/// Pictures of different size: the group of pictures that is being sent.
#[derive(Debug)]
pub(super) struct Video {
    seed: u64,
    /// The number of the group, from 0.
    group: u64,
    /// Before which datagram of the flow each picture begins; the last is the end of the group.
    starts: [u64; PICTURES + 1],
}

impl Video {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            group: 0,
            starts: [0; PICTURES + 1],
        }
    }

    pub(super) fn due(&mut self, spacing: Spacing, count: u64) -> u64 {
        if self.starts == [0; PICTURES + 1] {
            self.plan(spacing);
        }
        while count >= self.starts[PICTURES] {
            self.group += 1;
            self.plan(spacing);
        }
        let picture = self.starts.partition_point(|&start| start <= count) - 1;
        let (start, end) = (self.starts[picture], self.starts[picture + 1]);
        let begin = (self.group * PICTURES as u64 + picture as u64) * PICTURE;
        begin + (count - start) * PICTURE / (end - start)
    }

    /// Shares the group's datagrams out among its pictures: the first weighs 3 to 4, each other 0.75 to 1.25.
    fn plan(&mut self, spacing: Spacing) {
        let mut rng = StdRng::seed_from_u64(self.seed.wrapping_add(self.group));
        let length = PICTURE * PICTURES as u64;
        let first = spacing.of_flow_before(self.group * length);
        let all = spacing.of_flow_before((self.group + 1) * length) - first;
        let weights: [u64; PICTURES] = std::array::from_fn(|picture| match picture {
            0 => 3000 + u64::from(rng.next_u32() % 1000),
            _ => 750 + u64::from(rng.next_u32() % 500),
        });
        let total: u64 = weights.iter().sum();
        let mut sum = 0;
        self.starts[0] = first;
        for (start, weight) in self.starts[1..].iter_mut().zip(weights) {
            sum += weight;
            *start = first
                + u64::try_from(u128::from(all) * u128::from(sum) / u128::from(total))
                    .unwrap_or(all);
        }
    }
}
