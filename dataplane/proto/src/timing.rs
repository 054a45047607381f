//! The times of a channel's keys, and the relations that must hold between them.

use std::time::Duration;

use crate::limits::{HOLD_LIFETIMES, HOLD_LIFETIMES_MAX};
use crate::wire::codec::{Malformed, Wire};

/// Key life, presets and grace of one channel. Only valid combinations exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    lifetime: Duration,
    prepare_ahead: Duration,
    fetch_ahead: Duration,
    grace: Duration,
    hold_lifetimes: u32,
}

/// Which relation does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TimingError {
    /// MD-14.
    #[error(
        "fetch_ahead (second preset, {fetch:?}) must be smaller than prepare_ahead (first preset, {prepare:?}): devices can fetch only what has been prepared; lower fetch_ahead or raise prepare_ahead"
    )]
    SecondPresetNotSmaller {
        /// The first preset.
        prepare: Duration,
        /// The second preset.
        fetch: Duration,
    },
    /// The next key would have to be prepared before the current one exists.
    #[error(
        "lifetime ({lifetime:?}) must be greater than prepare_ahead ({prepare:?}); raise lifetime or lower both presets"
    )]
    LifetimeTooShort {
        /// The life of a key.
        lifetime: Duration,
        /// The first preset.
        prepare: Duration,
    },
    /// Devices would have no time at all.
    #[error("fetch_ahead must be greater than 0")]
    NoFetchTime,
    /// The previous key would live as long as the current one.
    #[error("grace ({grace:?}) must be smaller than lifetime ({lifetime:?})")]
    GraceTooLong {
        /// The grace.
        grace: Duration,
        /// The life of a key.
        lifetime: Duration,
    },
    /// Remaining times travel as 32 bits of milliseconds.
    #[error("lifetime ({0:?}) is too long: at most 24 days")]
    LifetimeTooLong(Duration),
    /// A sender that never holds is set to stop instead; one that holds for ever is none.
    #[error(
        "hold_max ({0} lifetimes) must be 1 to {HOLD_LIFETIMES_MAX}; to stop at the end of a key at once, set hold = \"stop\" at the delivery server"
    )]
    HoldOutOfRange(u32),
}

impl Timing {
    /// Checks `lifetime > prepare_ahead > fetch_ahead > 0` and `grace < lifetime`.
    ///
    /// # Errors
    /// [`TimingError`] names the first relation that does not hold.
    pub fn new(
        lifetime: Duration,
        prepare_ahead: Duration,
        fetch_ahead: Duration,
        grace: Duration,
    ) -> Result<Self, TimingError> {
        if fetch_ahead.is_zero() {
            return Err(TimingError::NoFetchTime);
        }
        if fetch_ahead >= prepare_ahead {
            return Err(TimingError::SecondPresetNotSmaller {
                prepare: prepare_ahead,
                fetch: fetch_ahead,
            });
        }
        if prepare_ahead >= lifetime {
            return Err(TimingError::LifetimeTooShort {
                lifetime,
                prepare: prepare_ahead,
            });
        }
        if grace >= lifetime {
            return Err(TimingError::GraceTooLong { grace, lifetime });
        }
        // Two lives must fit in the 32 bits of milliseconds that travel.
        if lifetime.as_millis() > u128::from(u32::MAX / 2) {
            return Err(TimingError::LifetimeTooLong(lifetime));
        }
        Ok(Self {
            lifetime,
            prepare_ahead,
            fetch_ahead,
            grace,
            hold_lifetimes: HOLD_LIFETIMES,
        })
    }

    /// The same times with another bound on holding, in lives of a key (default 10).
    ///
    /// # Errors
    /// [`TimingError::HoldOutOfRange`].
    pub fn with_hold_max(self, lifetimes: u32) -> Result<Self, TimingError> {
        if (1..=HOLD_LIFETIMES_MAX).contains(&lifetimes) {
            Ok(Self {
                hold_lifetimes: lifetimes,
                ..self
            })
        } else {
            Err(TimingError::HoldOutOfRange(lifetimes))
        }
    }

    /// How long a key is in use.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// First preset: the next key is prepared when this remains.
    #[must_use]
    pub fn prepare_ahead(&self) -> Duration {
        self.prepare_ahead
    }

    /// Second preset: devices fetch the next key from when this remains.
    #[must_use]
    pub fn fetch_ahead(&self) -> Duration {
        self.fetch_ahead
    }

    /// How long devices keep the previous key after its last accepted packet.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// The next key must be acknowledged when this remains, else the alarm: halfway between the presets.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        (self.prepare_ahead + self.fetch_ahead) / 2
    }

    /// How long a sender may go on under a key past its end.
    #[must_use]
    pub fn hold_max(&self) -> Duration {
        self.lifetime * self.hold_lifetimes
    }

    /// The same in lives of a key.
    #[must_use]
    pub fn hold_lifetimes(&self) -> u32 {
        self.hold_lifetimes
    }

    /// A device drops any key at the latest this long after the key's end: a sender that holds, and hears of a change at the last
    /// moment, goes on until that change, and the device may hear of it a little later.
    #[must_use]
    pub fn expiry(&self) -> Duration {
        self.hold_max() + self.prepare_ahead + self.grace
    }
}

impl Default for Timing {
    /// 60 s, 20 s, 10 s, grace 2 s.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            lifetime: seconds(60),
            prepare_ahead: seconds(20),
            fetch_ahead: seconds(10),
            grace: seconds(2),
            hold_lifetimes: HOLD_LIFETIMES,
        }
    }
}

/// Four times in milliseconds, then the bound on holding.
impl Wire for Timing {
    fn encode(&self, out: &mut Vec<u8>) {
        for time in [
            self.lifetime,
            self.prepare_ahead,
            self.fetch_ahead,
            self.grace,
        ] {
            u32::try_from(time.as_millis())
                .expect("checked when made")
                .encode(out);
        }
        self.hold_lifetimes.encode(out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        let mut time = || u32::decode(input).map(|time| Duration::from_millis(u64::from(time)));
        let timing = Self::new(time()?, time()?, time()?, time()?).map_err(|_| Malformed)?;
        timing
            .with_hold_max(u32::decode(input)?)
            .map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(lifetime: u64, prepare: u64, fetch: u64, grace: u64) -> Result<Timing, TimingError> {
        let ms = Duration::from_millis;
        Timing::new(ms(lifetime), ms(prepare), ms(fetch), ms(grace))
    }

    #[test]
    fn md_14_second_preset_must_be_smaller_than_the_first() {
        assert!(matches!(
            timing(100, 40, 40, 10),
            Err(TimingError::SecondPresetNotSmaller { .. })
        ));
        assert!(matches!(
            timing(100, 40, 41, 10),
            Err(TimingError::SecondPresetNotSmaller { .. })
        ));
        assert!(timing(100, 40, 39, 10).is_ok());
    }

    #[test]
    fn the_other_relations_hold_too() {
        assert!(matches!(
            timing(40, 40, 20, 10),
            Err(TimingError::LifetimeTooShort { .. })
        ));
        assert_eq!(timing(100, 40, 0, 10), Err(TimingError::NoFetchTime));
        assert!(matches!(
            timing(100, 40, 20, 100),
            Err(TimingError::GraceTooLong { .. })
        ));
        assert!(matches!(
            timing(1 << 40, 40, 20, 10),
            Err(TimingError::LifetimeTooLong(_))
        ));
        let default = Timing::default();
        assert_eq!(
            Timing::new(
                default.lifetime,
                default.prepare_ahead,
                default.fetch_ahead,
                default.grace
            ),
            Ok(default)
        );
        assert_eq!(default.deadline(), Duration::from_secs(15));
        assert_eq!(default.hold_max(), Duration::from_secs(600));
        assert_eq!(
            default.with_hold_max(3).unwrap().hold_max(),
            Duration::from_secs(180)
        );
        for lifetimes in [0, HOLD_LIFETIMES_MAX + 1] {
            assert_eq!(
                default.with_hold_max(lifetimes),
                Err(TimingError::HoldOutOfRange(lifetimes))
            );
        }
    }

    #[test]
    fn times_travel_and_what_cannot_be_is_refused() {
        let times = Timing::default().with_hold_max(3).unwrap();
        let mut bytes = Vec::new();
        times.encode(&mut bytes);
        assert_eq!(Timing::decode_all(&bytes), Ok(times));
        bytes[..4].fill(0);
        assert_eq!(Timing::decode_all(&bytes), Err(Malformed));
    }
}
