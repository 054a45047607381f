//! How far the clock references of a TS are from their places in time: PCR_OJ of ETSI TR 101 290 without its filter. Between
//! two references of a PID as much time should pass as they say.

use super::packet::{Pcr, TsPacket, clock_references};
use crate::histogram::Histogram;
use crate::rtp;

/// A longer step between two references is a discontinuity or a loss, as in [`super::pace`].
const STEP_MAX: u64 = Pcr::HZ;

/// Measures what leaves: payloads of a TS, bare or in RTP.
#[derive(Clone, Copy, Debug, Default)]
pub struct PcrMeter {
    jitter: PcrJitter,
    seen: Histogram,
}

impl PcrMeter {
    /// A payload leaves `at` nanoseconds of any steady clock.
    pub fn saw(&mut self, payload: &[u8], at: u64) {
        let ts = rtp::payload(payload).unwrap_or(payload);
        if let Some(jitter) = self.jitter.push(ts, at) {
            self.seen.record(jitter);
        }
    }

    /// How far clock references were from their places.
    #[must_use]
    pub fn seen(&self) -> Histogram {
        self.seen
    }
}

/// Follows the first PID that carries references, until it falls silent.
#[derive(Clone, Copy, Debug, Default)]
pub struct PcrJitter {
    last: Option<Last>,
}

/// The last reference.
#[derive(Clone, Copy, Debug)]
struct Last {
    pid: u16,
    pcr: Pcr,
    /// Nanoseconds.
    at: u64,
}

impl PcrJitter {
    /// Looks at a payload that was at its place `at` nanoseconds of any steady clock, and tells how many nanoseconds more or
    /// less passed since the reference before than the two say. Payloads that are not whole TS packets tell nothing.
    pub fn push(&mut self, payload: &[u8], at: u64) -> Option<u64> {
        let mut jitter = None;
        for (_, packet) in clock_references(payload) {
            if let TsPacket {
                pid,
                pcr: Some(pcr),
                discontinuity,
                ..
            } = packet
            {
                jitter = self.reference(pid, pcr, at, discontinuity).or(jitter);
            }
        }
        jitter
    }

    fn reference(&mut self, pid: u16, pcr: Pcr, at: u64, discontinuity: bool) -> Option<u64> {
        let now = Last { pid, pcr, at };
        let Some(last) = self.last else {
            self.last = Some(now);
            return None;
        };
        if last.pid != pid {
            // Another clock takes over when the one followed is gone.
            if at.saturating_sub(last.at) > 1_000_000_000 {
                self.last = Some(now);
            }
            return None;
        }
        self.last = Some(now);
        let ticks = pcr.since(last.pcr);
        if discontinuity || ticks > STEP_MAX {
            return None;
        }
        let stated = ticks * 1000 / 27;
        Some(at.saturating_sub(last.at).abs_diff(stated))
    }
}

#[cfg(test)]
mod tests {
    use super::super::generate::TsGenerator;
    use super::super::packet::PACKET;
    use super::*;

    /// Payloads of `seconds`, each with its place in time.
    fn payloads(seconds: u64) -> Vec<(u64, Vec<u8>)> {
        let mut ts = TsGenerator::new(4_000_000, 1);
        std::iter::from_fn(|| {
            let (due, mut payload) = (ts.due(), Vec::new());
            ts.next_payload(&mut payload);
            (due < seconds * 1_000_000_000).then_some((due, payload))
        })
        .collect()
    }

    fn jitter(payloads: &[(u64, Vec<u8>)]) -> Vec<u64> {
        let mut jitter = PcrJitter::default();
        payloads
            .iter()
            .filter_map(|(at, payload)| jitter.push(payload, *at))
            .collect()
    }

    #[test]
    fn in_its_place_there_is_nearly_none() {
        let jitter = jitter(&payloads(5));
        assert!(jitter.len() > 100);
        // A reference says when its byte is due; payloads of seven packets go as one, 2.6 ms at this rate.
        assert!(jitter.iter().all(|&ns| ns < 2_700_000), "{jitter:?}");
    }

    #[test]
    fn one_that_is_late_shows_twice() {
        let mut payloads = payloads(2);
        let with_pcr = |payload: &[u8]| {
            payload
                .chunks(PACKET)
                .any(|it| TsPacket::parse(it).is_some_and(|it| it.pcr.is_some()))
        };
        let late = payloads.iter().rposition(|(_, it)| with_pcr(it)).unwrap() - 30;
        let late = payloads[..late]
            .iter()
            .rposition(|(_, it)| with_pcr(it))
            .unwrap();
        payloads[late].0 += 15_000_000;
        let far = jitter(&payloads)
            .into_iter()
            .filter(|&ns| ns > 10_000_000)
            .count();
        assert_eq!(far, 2);
    }

    #[test]
    fn jumps_and_other_clocks_tell_nothing() {
        let mut payloads = payloads(1);
        let before = jitter(&payloads).len();
        // A stream that begins anew: its clock goes back.
        let again: Vec<_> = payloads
            .iter()
            .map(|(at, it)| (at + 1_000_000_000, it.clone()))
            .collect();
        payloads.extend(again);
        assert_eq!(jitter(&payloads).len(), 2 * before);
        assert!(jitter(&[(0, vec![0; 1316]), (5, vec![1; 100])]).is_empty());
    }
}
