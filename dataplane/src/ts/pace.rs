//! When each payload of a recorded TS is due, by the programme clock inside.
//!
//! Between two PCRs of one PID bytes are spread evenly (2.4.2.2: the rate is constant between PCRs), so a payload's time is
//! known when the PCR after it has been read: payloads are released up to there. A discontinuity, or a jump that no stream
//! makes, starts a new base without a gap in time. A TS without PCR gets a fixed rate.

use std::collections::VecDeque;

use super::packet::{PACKET, Pcr, TsPacket};

/// A longer step between two PCRs is a discontinuity: the standard asks for one at least every 100 ms.
const STEP_MAX: u64 = Pcr::HZ;
/// Payloads read without finding a PCR before the fixed rate is used: 8 MB.
const LOOK_AHEAD: usize = 6_400;

/// Computes due times, nanoseconds since the first payload.
#[derive(Debug)]
pub struct PcrPacer {
    /// Payload lengths whose time is not known yet; the first starts at byte `at`.
    waiting: VecDeque<usize>,
    /// Bytes of all payloads given out.
    at: u64,
    /// Bytes of all payloads taken in.
    read: u64,
    pid: Option<u16>,
    /// Last PCR: where, which, and its time on our scale (ns).
    last: Option<(u64, Pcr, u64)>,
    /// Nanoseconds per 2^20 bytes, of the last interval.
    pace: u64,
    /// Time of byte `base_byte`.
    base: (u64, u64),
    ready: VecDeque<u64>,
}

impl PcrPacer {
    /// A pacer that goes by `fallback` bits per second until the first two PCRs are known.
    #[must_use]
    pub fn new(fallback: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            at: 0,
            read: 0,
            pid: None,
            last: None,
            pace: (8_000_000_000_u64 << 20) / fallback.max(1),
            base: (0, 0),
            ready: VecDeque::new(),
        }
    }

    /// Takes in the next payload.
    pub fn push(&mut self, payload: &[u8]) {
        for (index, packet) in payload.chunks(PACKET).enumerate() {
            let Some(TsPacket {
                pid,
                pcr: Some(pcr),
                discontinuity,
                ..
            }) = TsPacket::parse(packet)
            else {
                continue;
            };
            if *self.pid.get_or_insert(pid) == pid {
                self.clock(self.read + (index * PACKET) as u64, pcr, discontinuity);
            }
        }
        self.read += payload.len() as u64;
        self.waiting.push_back(payload.len());
        if self.waiting.len() > LOOK_AHEAD {
            self.release(self.read);
        }
    }

    /// A PCR at byte `at`.
    fn clock(&mut self, at: u64, pcr: Pcr, discontinuity: bool) {
        let mut time = self.time(at);
        if let Some((before, earlier, base)) = self.last {
            let step = pcr.since(earlier);
            let bytes = at - before;
            if !discontinuity && step <= STEP_MAX && bytes > 0 {
                let ns = step * 1000 / 27;
                self.base = (before, base);
                self.pace =
                    u64::try_from((u128::from(ns) << 20) / u128::from(bytes)).unwrap_or(u64::MAX);
                // Not by the rounded pace: errors would add up.
                time = base + ns;
            }
            self.release(at);
        }
        self.base = (at, time);
        self.last = Some((at, pcr, time));
        if self.waiting.is_empty() && self.at == at {
            self.base = (at, time);
        }
    }

    fn time(&self, at: u64) -> u64 {
        let (byte, time) = self.base;
        let ahead = (u128::from(at.saturating_sub(byte)) * u128::from(self.pace)) >> 20;
        let behind = (u128::from(byte.saturating_sub(at)) * u128::from(self.pace)) >> 20;
        (time + u64::try_from(ahead).unwrap_or(u64::MAX))
            .saturating_sub(u64::try_from(behind).unwrap_or(u64::MAX))
    }

    /// Times of payloads that start before byte `until` are final.
    fn release(&mut self, until: u64) {
        while self.at < until
            && let Some(length) = self.waiting.pop_front()
        {
            let due = self.time(self.at);
            self.ready.push_back(due);
            self.at += length as u64;
        }
    }

    /// There is no more input: everything is final.
    pub fn finish(&mut self) {
        self.release(u64::MAX);
    }

    /// The due time of the next payload, once it is known.
    pub fn pop(&mut self) -> Option<u64> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::super::generate::TsGenerator;
    use super::*;

    fn dues(payloads: &[Vec<u8>]) -> Vec<u64> {
        let mut pacer = PcrPacer::new(1_000_000);
        payloads.iter().for_each(|payload| pacer.push(payload));
        pacer.finish();
        std::iter::from_fn(|| pacer.pop()).collect()
    }

    fn generated(count: usize, rate: u64) -> Vec<Vec<u8>> {
        let mut generator = TsGenerator::new(rate, 1);
        (0..count)
            .map(|_| {
                let mut payload = Vec::new();
                generator.next_payload(&mut payload);
                payload
            })
            .collect()
    }

    #[test]
    fn payloads_are_due_when_the_clock_says() {
        let rate = 4_000_000;
        let payloads = generated(3000, rate);
        let dues = dues(&payloads);
        assert_eq!(dues.len(), payloads.len());
        assert!(dues.is_sorted());
        // After the first PCR interval, every payload is within 10 us of its place in a constant rate.
        let ns_per_payload = 1316 * 8 * 1_000_000_000 / rate;
        let start = dues[200];
        for (index, due) in dues.iter().enumerate().skip(200) {
            let expected = start + (index as u64 - 200) * ns_per_payload;
            assert!(
                due.abs_diff(expected) < 10_000,
                "payload {index}: {due} instead of {expected}"
            );
        }
    }

    #[test]
    fn a_clock_that_jumps_makes_no_gap() {
        let rate = 4_000_000;
        let twice = [generated(1000, rate), generated(1000, rate)].concat();
        let dues = dues(&twice);
        let steps = dues.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(
            steps.max().unwrap() < 50_000_000,
            "the second part begins where the first ended"
        );
        assert!(dues.is_sorted());
    }

    #[test]
    fn without_a_clock_the_fallback_rate_holds() {
        let payloads = vec![vec![0x47; 1316]; 10_000];
        let dues = dues(&payloads);
        assert_eq!(dues.len(), payloads.len());
        assert_eq!(dues[9_999] / 1_000_000, 9_999 * 1316 * 8 / 1000);
    }
}
