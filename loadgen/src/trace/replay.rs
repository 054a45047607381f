//! A packet trace as a schedule: its times and lengths, faster or slower, once or again and again. Content is made up, as of any
//! stream of load.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use sealcast_dataplane::source::Due;
use sealcast_proto::records::TracedPacket;

use super::Packets;
use super::packets::length_sent;
use crate::schedule::{DURATION_MAX, Part, Schedule, Slot};

/// Parts of a [`Speed`] of 1.
const THOUSAND: u64 = 1000;
/// The highest [`Speed`].
const SPEED_MAX: u64 = 1000;

/// How many times faster, from 0.001 to 1000, in steps of 0.001: exact, so that no error adds up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Speed {
    thousandths: u64,
}

impl Default for Speed {
    fn default() -> Self {
        Self {
            thousandths: THOUSAND,
        }
    }
}

/// What is no speed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "write how many times faster, from 0.001 to {SPEED_MAX} with up to three decimals, for example 2 or 0.5"
)]
pub struct BadSpeed;

impl FromStr for Speed {
    type Err = BadSpeed;

    fn from_str(text: &str) -> Result<Self, BadSpeed> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 3 {
            return Err(BadSpeed);
        }
        let number = |text: &str| text.parse::<u64>().map_err(|_| BadSpeed);
        let whole = number(whole)?.checked_mul(THOUSAND).ok_or(BadSpeed)?;
        let thousandths = whole.saturating_add(number(&format!("{decimals:0<3}"))?);
        if !(1..=SPEED_MAX * THOUSAND).contains(&thousandths) {
            return Err(BadSpeed);
        }
        Ok(Self { thousandths })
    }
}

impl Speed {
    /// As a number.
    #[must_use]
    pub fn factor(self) -> f64 {
        self.thousandths as f64 / THOUSAND as f64
    }

    /// When something of the trace is due in the run, both in nanoseconds. What is beyond all runs is the greatest number.
    pub(crate) fn due(self, at: u128) -> u64 {
        let due = at.saturating_mul(THOUSAND.into()) / u128::from(self.thousandths);
        u64::try_from(due).unwrap_or(u64::MAX)
    }
}

/// How long a trace is replayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// So many times.
    Rounds(NonZeroU32),
    /// So long: a shorter trace is repeated, a longer one cut.
    Time(Duration),
}

/// Why a trace cannot be replayed like this.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no distance to keep between two rounds.
    #[error(
        "all datagrams of the trace are of one moment, so it cannot be repeated: replay it once"
    )]
    OneMoment,
    /// Nothing, or nearly for ever.
    #[error("a run of {0:?}: choose more than nothing, at most 30 days")]
    Duration(Duration),
}

/// A trace, and how it is replayed.
#[derive(Clone, Debug)]
pub struct Replay {
    packets: Packets,
    speed: Speed,
    rounds: u64,
    /// Nanoseconds of the run; what would be due then or later is not sent.
    duration: u64,
}

impl Replay {
    /// Of `packets`, `speed` times as fast, `until` then.
    ///
    /// # Errors
    /// [`ReplayError`] says what to choose.
    pub fn new(packets: Packets, speed: Speed, until: Until) -> Result<Self, ReplayError> {
        let period = packets.period();
        if period == 0 && until != Until::Rounds(NonZeroU32::MIN) {
            return Err(ReplayError::OneMoment);
        }
        let (rounds, duration) = match until {
            Until::Rounds(rounds) => {
                let rounds = u64::from(rounds.get());
                let end = u128::from(rounds) * u128::from(period) + u128::from(packets.first());
                // The last moment, when nothing is known to come after it, is still to be sent.
                let duration = Duration::from_nanos(speed.due(end).saturating_add(1));
                (rounds, duration)
            }
            Until::Time(duration) => (u64::MAX, duration),
        };
        if duration.is_zero() || duration > DURATION_MAX {
            return Err(ReplayError::Duration(duration));
        }
        Ok(Self {
            packets,
            speed,
            rounds,
            duration: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
        })
    }

    /// The trace.
    #[must_use]
    pub fn packets(&self) -> &Packets {
        &self.packets
    }

    /// How many times faster than it was.
    #[must_use]
    pub fn speed(&self) -> Speed {
        self.speed
    }

    /// How long the run is.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.duration)
    }

    /// The schedule of a part of the flows: those whose number leaves `part.index` when divided by `part.of`.
    #[must_use]
    pub fn schedule(&self, part: Part) -> Box<dyn Schedule> {
        let step = usize::try_from(part.of.max(1)).unwrap_or(1);
        let mut flows = (part.index..self.packets.flows()).step_by(step);
        // Without any of its own it would look through round after round.
        if !flows.any(|flow| self.packets.has(flow)) {
            return Box::new(std::iter::empty());
        }
        Box::new(Played {
            replay: self.clone(),
            part,
            round: 0,
            place: 0,
        })
    }
}

/// On the way through the trace. What belongs to other parts is passed over.
#[derive(Debug)]
struct Played {
    replay: Replay,
    part: Part,
    round: u64,
    place: usize,
}

impl Iterator for Played {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        loop {
            let packet = self.next_packet()?;
            let start = u128::from(self.round) * u128::from(self.replay.packets.period());
            let due = self.replay.speed.due(start + u128::from(packet.at));
            if due >= self.replay.duration {
                return None;
            }
            let flow = u32::from(packet.channel) - 1;
            if flow % self.part.of.max(1) == self.part.index {
                return Some(Slot {
                    due: Due::At(due),
                    flow,
                    len: length_sent(packet),
                });
            }
        }
    }
}

impl Played {
    /// The next record; after the last one the first again, as long as there are rounds.
    fn next_packet(&mut self) -> Option<TracedPacket> {
        while self.round < self.replay.rounds {
            if let Some(packet) = self.replay.packets.get(self.place) {
                self.place += 1;
                return Some(packet);
            }
            (self.round, self.place) = (self.round + 1, 0);
        }
        None
    }
}
