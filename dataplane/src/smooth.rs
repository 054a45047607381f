//! Output in even time: packets come in the bursts that the sender gathered and the network made of them, and decoders want them
//! as the encoder spaced them. Each payload gets a place in time and leaves `delay` after it.
//!
//! A TS has its places in it: a clock reference (PCR) is at home when it says, and between two of them bytes are even
//! (ISO/IEC 13818-1 2.4.2.2). What the clock of the encoder runs faster or slower than ours is followed slowly, by the packets
//! that were least delayed. What has no clock is spread over the time until more comes, at the rate of late.

use std::collections::VecDeque;
use std::time::Duration;

use crate::output::OutBatch;
use crate::rtp;
use crate::ts::packet::{Pcr, clock_references};

/// Payloads that leave at once: what decoders put up with.
pub const BURST: usize = 7;
/// The longest delay that can be asked for.
pub const DELAY_MAX: Duration = Duration::from_secs(1);
/// Payloads leave at multiples of this, so that all channels of a shard leave in one wake, which costs more than many packets do.
/// Above the rate at which [`BURST`] payloads take so long (147 Mbit/s) more leave at once.
const TICK: u64 = 500_000;
/// A longer step between two references is a discontinuity, and so much silence the end of a clock.
const STEP_MAX: u64 = Pcr::HZ;
const SECOND: u64 = 1_000_000_000;
/// Clocks are followed by at most so much in a second: 100 ppm.
const SLEW: i64 = 100_000;

/// A payload: when it came, and when it leaves.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    len: usize,
    came: u64,
    due: u64,
    /// It may have clock references.
    clocked: bool,
}

/// Spaces payloads. Times are nanoseconds of any steady clock.
#[derive(Debug)]
pub struct Smoother {
    delay: u64,
    bytes: VecDeque<u8>,
    waiting: VecDeque<Waiting>,
    /// TS bytes so far.
    position: u64,
    clock: Option<Clock>,
    flow: Flow,
    /// The place of the last payload, when there is no clock.
    last_place: u64,
    last_due: u64,
    /// No payload leaves before.
    not_before: u64,
}

/// The clock of the stream on ours.
#[derive(Clone, Copy, Debug)]
struct Clock {
    pid: u16,
    /// The last reference, its byte and its place.
    pcr: Pcr,
    byte: u64,
    place: u64,
    /// Nanoseconds that so many bytes took before it; 0: not known yet.
    rise: u64,
    run: u64,
    /// The least that a reference came after its place, in this second.
    least: i64,
    second: u64,
}

/// How fast bytes come, by the last tenths of a second.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    since: u64,
    bytes: u64,
    /// Nanoseconds of 1024 bytes.
    pace: u64,
}

impl Flow {
    fn saw(&mut self, bytes: usize, now: u64) {
        let passed = now.saturating_sub(self.since);
        if passed >= SECOND {
            // The first bytes, or those after a pause.
            (self.since, self.bytes) = (now, 0);
        } else if passed >= SECOND / 10 {
            let pace = passed * 1024 / self.bytes.max(1);
            let known = self.pace > 0;
            self.pace = if known {
                (3 * self.pace + pace) / 4
            } else {
                pace
            };
            (self.since, self.bytes) = (now, 0);
        }
        self.bytes += bytes as u64;
    }

    /// Nanoseconds that so many bytes take.
    fn time_of(&self, bytes: usize) -> u64 {
        (self.pace * bytes as u64 / 1024).min(SECOND)
    }
}

impl Smoother {
    /// Payloads leave `delay` after their place, so those that came up to that much late leave in time.
    #[must_use]
    pub fn new(delay: Duration) -> Self {
        let delay = u64::try_from(delay.min(DELAY_MAX).as_nanos()).unwrap_or(u64::MAX);
        Self {
            delay,
            bytes: VecDeque::new(),
            waiting: VecDeque::new(),
            position: 0,
            clock: None,
            flow: Flow::default(),
            last_place: 0,
            last_due: 0,
            not_before: 0,
        }
    }

    /// Takes a payload in that came `now`; `clocked`: it may have clock references.
    pub fn push(&mut self, payload: &[u8], clocked: bool, now: u64) {
        let ts = rtp::payload(payload).unwrap_or(payload);
        self.flow.saw(payload.len(), now);
        if clocked {
            self.follow(ts, now);
        }
        if self
            .clock
            .is_some_and(|clock| clock.is_silent(now, self.delay))
        {
            self.clock = None;
        }
        let due = match &self.clock {
            Some(clock) => clock.place_of(self.position).saturating_add(self.delay),
            None => self.spread(payload.len(), now),
        };
        let due = due.clamp(now, now + 2 * self.delay).max(self.last_due);
        self.last_due = due;
        self.position += ts.len() as u64;
        self.bytes.extend(payload);
        let len = payload.len();
        self.waiting.push_back(Waiting {
            len,
            came: now,
            due,
            clocked,
        });
    }

    /// When [`Smoother::release`] has something to do.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        let first = self.waiting.front()?;
        Some(first.due.max(self.not_before).next_multiple_of(TICK))
    }

    /// Moves payloads that are due to `out`: a burst, or what comes in two ticks if that is more, so that it catches up after a stall.
    /// The next have to wait for the next tick. Returns when the first of them came, if any are due.
    pub fn release(&mut self, now: u64, out: &mut OutBatch) -> Option<u64> {
        let oldest = self.waiting.front().filter(|first| first.due <= now)?.came;
        if self.not_before > now {
            return None;
        }
        let (mut count, mut bytes) = (0, 0);
        while let Some(first) = self.waiting.front()
            && first.due <= now
            && (count < BURST || (1..2 * TICK).contains(&self.flow.time_of(bytes)))
        {
            (count, bytes) = (count + 1, bytes + first.len);
            self.take(out);
        }
        self.not_before = now / TICK * TICK + TICK;
        Some(oldest)
    }

    /// Moves everything to `out`.
    pub fn release_all(&mut self, out: &mut OutBatch) {
        while !self.waiting.is_empty() {
            self.take(out);
        }
    }

    fn take(&mut self, out: &mut OutBatch) {
        let Some(Waiting { len, clocked, .. }) = self.waiting.pop_front() else {
            return;
        };
        let (front, back) = self.bytes.as_slices();
        let (front, back) = (
            &front[..len.min(front.len())],
            &back[..len.saturating_sub(front.len())],
        );
        out.push_parts(front, back, clocked);
        self.bytes.drain(..len);
    }

    /// The place of a payload that has no clock: when the one before it is through at the rate of late, but no later than `delay`
    /// after it came. A little faster than the rate, so that none is ever left behind.
    fn spread(&mut self, len: usize, now: u64) -> u64 {
        let place = self.last_place.clamp(now, now + self.delay);
        self.last_place = place + self.flow.time_of(len) * 15 / 16;
        place
    }

    /// Sets the clock by the references in a payload that came `now`.
    fn follow(&mut self, ts: &[u8], now: u64) {
        for (offset, reference) in clock_references(ts) {
            let Some(pcr) = reference.pcr else { continue };
            let byte = self.position + offset as u64;
            match &mut self.clock {
                Some(clock) if clock.pid == reference.pid => {
                    if reference.discontinuity
                        || !clock.step(pcr, byte, self.position, now, self.delay)
                    {
                        *clock = Clock::begin(reference.pid, pcr, byte, now);
                    }
                }
                Some(clock) if !clock.is_silent(now, self.delay) => {}
                other => *other = Some(Clock::begin(reference.pid, pcr, byte, now)),
            }
        }
    }
}

impl Clock {
    /// Whether no reference has come for long.
    fn is_silent(&self, now: u64, delay: u64) -> bool {
        now.saturating_sub(self.place) > SECOND + 2 * delay
    }

    fn begin(pid: u16, pcr: Pcr, byte: u64, now: u64) -> Self {
        Self {
            pid,
            pcr,
            byte,
            place: now,
            rise: 0,
            run: 0,
            least: i64::MAX,
            second: now / SECOND,
        }
    }

    /// Goes on to the next reference, in a payload that begins with byte `begin` and came `now`; false if it does not fit to the
    /// last or to our clock.
    fn step(&mut self, pcr: Pcr, byte: u64, begin: u64, now: u64, delay: u64) -> bool {
        let ticks = pcr.since(self.pcr);
        if ticks > STEP_MAX {
            return false;
        }
        (self.rise, self.run) = (ticks * 1000 / 27, byte - self.byte);
        (self.pcr, self.byte) = (pcr, byte);
        self.place += self.rise;
        let late = now.cast_signed() - self.place_of(begin).cast_signed();
        if late.unsigned_abs() > SECOND / 2 + 2 * delay {
            return false;
        }
        self.least = self.least.min(late);
        if now / SECOND != self.second {
            self.place = self
                .place
                .saturating_add_signed(self.least.clamp(-SLEW, SLEW));
            (self.least, self.second) = (i64::MAX, now / SECOND);
        }
        true
    }

    /// The place of a byte, before the last reference or behind it.
    fn place_of(&self, byte: u64) -> u64 {
        let bytes = byte.cast_signed() - self.byte.cast_signed();
        let away = i128::from(bytes) * i128::from(self.rise) / i128::from(self.run.max(1));
        let away = i64::try_from(away).unwrap_or(0);
        self.place.saturating_add_signed(away)
    }
}

#[cfg(test)]
mod tests;
