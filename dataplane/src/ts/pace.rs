//! When each payload of a recorded TS is due, by the programme clock inside.
//!
//! Between two PCRs of one PID bytes are spread evenly (2.4.2.2: the rate is constant between PCRs), so a payload's time is
//! known when the PCR after it has been read: payloads are released up to there. A discontinuity, or a jump that no stream
//! makes, starts a new base without a gap in time: the rate before it goes on up to it. A TS without PCR gets a fixed rate.
//! All times are whole ticks of 27 MHz, so that no error adds up.

use std::collections::VecDeque;

use super::packet::{PACKET, Pcr, TsPacket};

/// A longer step between two PCRs is a discontinuity: the standard asks for one at least every 100 ms.
const STEP_MAX: u64 = Pcr::HZ;
/// Payloads taken in without a PCR before they are released at the last known rate: 16 MB, 100 ms at 1.3 Gbit/s.
const LOOK_AHEAD: usize = 12_800;

/// Time as a function of the byte, from `byte` on.
#[derive(Clone, Copy, Debug)]
struct Line {
    byte: u64,
    /// At `byte`.
    ticks: u64,
    /// So many ticks ...
    rise: u64,
    /// ... in so many bytes, above 0.
    run: u64,
}

impl Line {
    fn ticks_at(&self, byte: u64) -> u64 {
        let bytes = u128::from(byte.saturating_sub(self.byte));
        let ahead = bytes * u128::from(self.rise) / u128::from(self.run);
        self.ticks
            .saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX))
    }

    /// The same time, from `byte` on `rise` ticks in `run` bytes.
    fn turned(&self, byte: u64, rise: u64, run: u64) -> Self {
        let ticks = self.ticks_at(byte);
        Self {
            byte,
            ticks,
            rise,
            run,
        }
    }
}

/// Computes due times, nanoseconds since the first payload.
#[derive(Debug)]
pub struct PcrPacer {
    /// Lengths of payloads whose time is not known yet; the first starts at byte `at`.
    waiting: VecDeque<usize>,
    /// Due times that are known.
    ready: VecDeque<u64>,
    /// Bytes of all payloads whose time is known.
    at: u64,
    /// Bytes of all payloads taken in.
    read: u64,
    /// The PID whose clock is followed.
    pid: Option<u16>,
    /// Its last PCR, and the byte of the packet that held it.
    last: Option<(u64, Pcr)>,
    line: Line,
    measured: bool,
    unclocked: bool,
}

impl PcrPacer {
    /// A pacer that goes by `fallback` bits per second if there is no clock.
    #[must_use]
    pub fn new(fallback: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            at: 0,
            read: 0,
            pid: None,
            last: None,
            line: Line {
                byte: 0,
                ticks: 0,
                rise: Pcr::HZ * 8,
                run: fallback.max(1),
            },
            measured: false,
            unclocked: false,
        }
    }

    /// Takes in the next payload.
    pub fn push(&mut self, payload: &[u8]) {
        self.waiting.push_back(payload.len());
        for (packet, at) in payload.chunks(PACKET).zip((self.read..).step_by(PACKET)) {
            if let Some(packet) = TsPacket::parse(packet)
                && let Some(pcr) = packet.pcr
                && *self.pid.get_or_insert(packet.pid) == packet.pid
            {
                self.clock(at, pcr, packet.discontinuity);
            }
        }
        self.read += payload.len() as u64;
        if self.waiting.len() > LOOK_AHEAD {
            // This PID's clock has ended, or there never was one: the next that comes is taken.
            self.pid = None;
            self.last = None;
            self.release_all();
        }
    }

    /// A PCR in the packet at byte `at`.
    fn clock(&mut self, at: u64, pcr: Pcr, discontinuity: bool) {
        let last = self.last.replace((at, pcr));
        let step = last
            .filter(|_| !discontinuity)
            .map(|(byte, earlier)| (byte, pcr.since(earlier)))
            .filter(|&(byte, step)| byte < at && (1..=STEP_MAX).contains(&step));
        let started = self.at > 0;
        if let Some((byte, step)) = step {
            // What comes before the first PCR has the rate of the first interval.
            let from = if started { byte } else { 0 };
            self.line = self.line.turned(from, step, at - byte);
            self.measured = true;
            self.release(at);
            self.line = self.line.turned(at, step, at - byte);
        } else if started {
            self.release(at);
        }
    }

    /// Times of payloads that start before byte `until` are final.
    fn release(&mut self, until: u64) {
        while self.at < until
            && let Some(length) = self.waiting.pop_front()
        {
            let ticks = u128::from(self.line.ticks_at(self.at));
            let ns = u64::try_from(ticks * 1000 / 27).unwrap_or(u64::MAX);
            self.ready.push_back(ns);
            self.at += length as u64;
        }
    }

    fn release_all(&mut self) {
        self.unclocked |= !self.measured && !self.waiting.is_empty();
        self.release(u64::MAX);
    }

    /// What comes next does not go on from what came before (the file begins anew): a new base without a gap.
    pub fn restart(&mut self) {
        self.last = None;
    }

    /// There is no more input: everything is final.
    pub fn finish(&mut self) {
        self.release_all();
    }

    /// The due time of the next payload, once it is known.
    pub fn pop(&mut self) -> Option<u64> {
        self.ready.pop_front()
    }

    /// Whether payloads were timed by the fallback rate, since no clock had been found.
    #[must_use]
    pub fn is_unclocked(&self) -> bool {
        self.unclocked
    }
}

#[cfg(test)]
mod tests;
