//! Names and quantities of the protocol as types, so that two numbers cannot swap places.
//!
//! Times are [`Time`] (nanoseconds of the host's boot clock); only [`Remaining`] (milliseconds) travels (SEC-12).

use std::fmt;
use std::num::NonZeroU8;
use std::time::Duration;

use crate::limits;

/// The key domain of one programme.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChannelId(pub u16);

/// The number of one key life of a channel. 0 is never used: it means "none" or "whichever is current" on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn successor(self) -> Self {
        Self(self.0 + 1)
    }

    /// The low 24 bits, as they stand in a key id.
    #[must_use]
    pub fn low(self) -> u32 {
        u32::try_from(self.0 & 0xFF_FFFF).expect("24 bits fit")
    }
}

/// One sending core of one run of one delivery server, 1..=255.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lane(pub NonZeroU8);

impl Lane {
    /// The lane with this number; `None` for 0.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        NonZeroU8::new(number).map(Self)
    }

    /// The number, 1..=255.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0.get()
    }
}

/// The key id of every packet, 48 bits: lane (8) | channel (16) | low 24 bits of the epoch.
///
/// It names the *pair* of cipher and decipher half, not one of them (MD-02).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kid(u64);

impl Kid {
    /// The key id of `lane` on `channel` in `epoch`.
    #[must_use]
    pub fn new(lane: Lane, channel: ChannelId, epoch: Epoch) -> Self {
        Self(u64::from(lane.number()) << 40 | Self::root(channel, epoch))
    }

    /// The key id of the epoch root itself: lane 0, which no packet carries (key logs use it).
    #[must_use]
    pub fn root(channel: ChannelId, epoch: Epoch) -> u64 {
        u64::from(channel.0) << 24 | u64::from(epoch.low())
    }

    /// A key id off the wire; `None` when it has more than 48 bits or lane 0.
    #[must_use]
    pub fn from_wire(value: u64) -> Option<Self> {
        (value >> 48 == 0 && value >> 40 != 0).then_some(Self(value))
    }

    /// The 48 bits.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }

    /// The lane.
    #[must_use]
    pub fn lane(self) -> Lane {
        let [_, _, lane, ..] = self.0.to_be_bytes();
        Lane::new(lane).expect("both constructors refuse lane 0")
    }

    /// The channel.
    #[must_use]
    pub fn channel(self) -> ChannelId {
        let [_, _, _, high, low, ..] = self.0.to_be_bytes();
        ChannelId(u16::from_be_bytes([high, low]))
    }

    /// The low 24 bits of the epoch.
    #[must_use]
    pub fn epoch_low(self) -> u32 {
        let [.., a, b, c] = self.0.to_be_bytes();
        u32::from_be_bytes([0, a, b, c])
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Kid(lane {} channel {} epoch ..{:06x})",
            self.lane().number(),
            self.channel().0,
            self.epoch_low()
        )
    }
}

/// Packet number of a stripe group, from [`limits::CTR_FIRST`] to below [`limits::CTR_END`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ctr(pub u64);

/// A stripe group: the lanes of one delivery server's run on one channel. Random, never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupId({:016x})", self.0)
    }
}

/// A delivery server, as the operator numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerId(pub u32);

/// A slave key server, as the operator numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SlaveId(pub u32);

/// A link to somebody, numbered by the driver. No number is used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u64);

/// One run of one delivery server process on one channel: random, new at every start, so that a restart is seen (SEC-06).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunId(pub u64);

macro_rules! random_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:032x})"), u128::from_be_bytes(self.0))
            }
        }
    )*};
}
random_id!(
    /// A person or household that pays and owns devices: 128 bits, a label and never a proof (SEC-02).
    AccountId,
    /// A device of an account: 128 bits, a label and never a proof (SEC-02).
    DeviceId,
    /// One session of a device with the key doors: 128 random bits.
    SessionId,
);

/// Fences masters: of two terms the one with the higher number leads; the same number with two instances is a conflict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Term {
    /// Rises with every start of a master.
    pub number: u64,
    /// Random per start: tells two masters apart that chose the same number.
    pub instance: u64,
}

impl Term {
    /// Below every real term.
    pub const NONE: Self = Self {
        number: 0,
        instance: 0,
    };

    /// Whether something signed under `other` may replace what this term said: a higher number, or this very term.
    /// A node keeps to the first instance of a number.
    #[must_use]
    pub fn admits(self, other: Self) -> bool {
        other.number > self.number || other == self
    }
}

/// An instant of the host's boot clock (CLOCK_BOOTTIME, counts through suspend), nanoseconds. Never travels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

impl Time {
    /// `duration` later, saturating.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// `duration` earlier, saturating at the start of the clock.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// From `earlier` to here; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// What remains from `now` until this instant; zero when it is past.
    #[must_use]
    pub fn remaining(self, now: Self) -> Remaining {
        Remaining::from(self.since(now))
    }
}

/// Remaining effective time of a key, milliseconds: the only form in which time travels (MD-10, SEC-12).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Remaining(pub u32);

impl Remaining {
    /// As a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.0))
    }
}

impl From<Duration> for Remaining {
    fn from(duration: Duration) -> Self {
        Self(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX))
    }
}

/// `epoch`'s full number from its low 24 bits: the one nearest to `near`. `None` when that would be 0 or below.
#[must_use]
pub fn nearest_epoch(low: u32, near: Epoch) -> Option<Epoch> {
    let span = 1_i128 << limits::EPOCH_BITS;
    let base = i128::from(near.0) - i128::from(near.low()) + i128::from(low & 0xFF_FFFF);
    [base - span, base, base + span]
        .into_iter()
        .min_by_key(|candidate| (candidate - i128::from(near.0)).abs())
        .and_then(|epoch| u64::try_from(epoch).ok())
        .filter(|&epoch| epoch != 0)
        .map(Epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_names_lane_channel_and_epoch() {
        let kid = Kid::new(
            Lane::new(7).unwrap(),
            ChannelId(0x1234),
            Epoch(0x5_0000_0001),
        );
        assert_eq!(kid.value(), 0x0712_3400_0001);
        assert_eq!(
            (kid.lane().number(), kid.channel(), kid.epoch_low()),
            (7, ChannelId(0x1234), 1)
        );
        assert_eq!(
            Kid::from_wire(0x0012_3400_0001),
            None,
            "lane 0 is no packet's"
        );
        assert_eq!(Kid::from_wire(1 << 48), None);
    }

    #[test]
    fn epochs_resolve_to_the_nearest() {
        assert_eq!(nearest_epoch(0, Epoch(0xFF_FFFF)), Some(Epoch(0x100_0000)));
        assert_eq!(
            nearest_epoch(0xFF_FFFF, Epoch(0x100_0001)),
            Some(Epoch(0xFF_FFFF))
        );
        assert_eq!(nearest_epoch(5, Epoch(3)), Some(Epoch(5)));
        assert_eq!(nearest_epoch(0, Epoch(3)), None, "epoch 0 does not exist");
    }

    #[test]
    fn a_node_keeps_to_the_first_instance_of_a_term_number() {
        let first = Term {
            number: 4,
            instance: 9,
        };
        assert!(
            first.admits(first)
                && first.admits(Term {
                    number: 5,
                    instance: 1
                })
        );
        assert!(
            !first.admits(Term {
                number: 4,
                instance: 10
            }) && !first.admits(Term {
                number: 3,
                instance: 9
            })
        );
    }
}
