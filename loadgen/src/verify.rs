//! What a sink makes of the datagrams it gets: whole or damaged, in order or not, missing, and how long they took.
//!
//! No clock and no socket: the time of arrival is an argument.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::latency::Times;
use crate::order::{Arrival, FlowOrder};
use crate::schedule::FLOWS_MAX;
use crate::stamp::{Kind, Refused, Run, Stamp};

/// Flows of all sinks of a shard, at most: bytes from outside must not fill the memory.
const KNOWN_MAX: usize = 2 * FLOWS_MAX as usize;

/// What was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
    /// Datagrams that were whole, each number once.
    pub received: u64,
    /// Their bytes of payload.
    pub bytes: u64,
    /// Numbers that are missing.
    pub lost: u64,
    /// Datagrams that had been here before.
    pub duplicated: u64,
    /// Datagrams that came after one with a higher number; they are received.
    pub reordered: u64,
    /// Datagrams so far behind that it is not known whether they had been here before; not received.
    pub too_late: u64,
    /// Datagrams of a generator, damaged; not received.
    pub corrupt: u64,
    /// Datagrams of no generator, or of another run than was asked for.
    pub foreign: u64,
}

impl Counts {
    /// Adds those of another sink.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.too_late += other.too_late;
        self.corrupt += other.corrupt;
        self.foreign += other.foreign;
    }

    /// Whether everything came, whole, in order, once.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let wrong = [
            self.lost,
            self.duplicated,
            self.reordered,
            self.too_late,
            self.corrupt,
        ];
        self.received > 0 && wrong == [0; 5]
    }
}

/// Whose datagrams a sink wants, and from when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Those of this run, from the first on: the sink was there before it began.
    From(Run),
    /// Those of this run, from whichever comes first on.
    Later(Run),
    /// Those of any run.
    Any,
}

/// What latency is measured against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clocks {
    /// Datagrams stamped on this host (its boot's id) only.
    SameHost(u32),
    /// Other hosts' clocks count from another beginning: how much longer than the quickest datagram until then.
    Variation,
}

/// One sink's flows.
#[derive(Debug, Default)]
struct SinkState {
    counts: Counts,
    first_ns: Option<u64>,
}

/// The sinks of one shard.
#[derive(Debug)]
pub struct Verifier {
    expect: Expect,
    clocks: Clocks,
    sinks: Vec<SinkState>,
    /// By sink, run, flow: places in `flows`.
    index: BTreeMap<(usize, u64, u32), usize>,
    flows: Vec<((usize, u64, u32), FlowOrder)>,
    /// The flow of the last datagram: most come in rows.
    last: usize,
    times: Times,
    least: Option<i64>,
    /// Datagrams whose sender's clock is not this host's.
    other_clocks: u64,
    /// When the first and the last whole datagram came.
    span: Option<(u64, u64)>,
}

impl Verifier {
    /// For `sinks` sinks.
    #[must_use]
    pub fn new(sinks: usize, expect: Expect, clocks: Clocks) -> Self {
        Self {
            expect,
            clocks,
            sinks: (0..sinks).map(|_| SinkState::default()).collect(),
            index: BTreeMap::new(),
            flows: Vec::new(),
            last: 0,
            times: Times::default(),
            least: None,
            other_clocks: 0,
            span: None,
        }
    }

    /// Takes in a datagram that came to sink `sink` at `now`, nanoseconds of the boot clock.
    pub fn take(&mut self, sink: usize, now: u64, payload: &[u8]) {
        let stamp = match Stamp::read(payload) {
            Ok(stamp) if self.is_wanted(stamp.run) => stamp,
            Ok(_) | Err(Refused::Foreign) => return self.sinks[sink].counts.foreign += 1,
            Err(Refused::Corrupt) => return self.sinks[sink].counts.corrupt += 1,
        };
        let Some(place) = self.place(sink, &stamp) else {
            return self.sinks[sink].counts.foreign += 1;
        };
        let (_, flow) = &mut self.flows[place];
        if stamp.kind == Kind::End {
            return flow.ended(stamp.sequence);
        }
        let arrival = flow.take(stamp.sequence);
        let state = &mut self.sinks[sink];
        match arrival {
            Arrival::Duplicate => return state.counts.duplicated += 1,
            Arrival::TooLate => return state.counts.too_late += 1,
            Arrival::Reordered => state.counts.reordered += 1,
            Arrival::InOrder => {}
        }
        state.counts.received += 1;
        state.counts.bytes += payload.len() as u64;
        state.first_ns.get_or_insert(now);
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
        self.time(now, &stamp);
    }

    fn is_wanted(&self, run: Run) -> bool {
        match self.expect {
            Expect::From(wanted) | Expect::Later(wanted) => wanted.id == run.id,
            Expect::Any => true,
        }
    }

    /// The place of the datagram's flow, which may be new; `None` when there are too many.
    fn place(&mut self, sink: usize, stamp: &Stamp) -> Option<usize> {
        let key = (sink, stamp.run.id, stamp.flow);
        if self
            .flows
            .get(self.last)
            .is_some_and(|(known, _)| *known == key)
        {
            return Some(self.last);
        }
        self.last = match self.index.get(&key) {
            Some(&place) => place,
            None if self.flows.len() == KNOWN_MAX => return None,
            None => {
                let first = match (self.expect, stamp.kind) {
                    (Expect::From(_), _) => 0,
                    // Nothing of it came: what was sent before the sink is not its loss.
                    (_, Kind::Data | Kind::End) => stamp.sequence,
                };
                self.flows.push((key, FlowOrder::new(first)));
                self.index.insert(key, self.flows.len() - 1);
                self.flows.len() - 1
            }
        };
        Some(self.last)
    }

    /// Notes how long the datagram took since it should have been sent.
    fn time(&mut self, now: u64, stamp: &Stamp) {
        let took = now.wrapping_sub(stamp.due).cast_signed();
        let base = match self.clocks {
            Clocks::SameHost(host) if host == stamp.run.host => 0,
            Clocks::SameHost(_) => return self.other_clocks += 1,
            Clocks::Variation => {
                let least = self.least.map_or(took, |least| least.min(took));
                self.least = Some(least);
                least
            }
        };
        self.times
            .record(u64::try_from(took.saturating_sub(base)).unwrap_or(0));
    }

    /// Totals of all sinks up to now.
    #[must_use]
    pub fn totals(&self) -> Counts {
        let mut totals = Counts::default();
        self.sinks.iter().for_each(|sink| totals.add(&sink.counts));
        totals.lost = self.flows.iter().map(|(_, flow)| flow.lost()).sum();
        totals
    }

    /// Whether something came, and all flows that are known have ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !self.flows.is_empty() && self.flows.iter().all(|(_, flow)| flow.has_ended())
    }

    /// What came, of each sink, when nothing comes any more. `sent`, if it is known, is how many each flow sent, by its number.
    #[must_use]
    pub fn finish(mut self, sent: Option<&[u64]>) -> Verified {
        for ((_, _, number), flow) in &mut self.flows {
            let place = usize::try_from(*number).unwrap_or(usize::MAX);
            if let Some(&sent) = sent.and_then(|sent| sent.get(place)) {
                flow.ended(sent);
            }
        }
        let mut sinks: Vec<_> = self
            .sinks
            .into_iter()
            .map(|state| (state.counts, state.first_ns))
            .collect();
        for ((sink, ..), flow) in &self.flows {
            sinks[*sink].0.lost += flow.lost();
        }
        let flows = self.flows.iter().map(|((_, _, flow), _)| *flow).collect();
        Verified {
            sinks,
            flows,
            times: self.times,
            other_clocks: self.other_clocks,
            span: self.span,
        }
    }
}

/// The result of a shard's sinks.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Of each sink, what it counted and when its first datagram came, nanoseconds of the boot clock.
    pub sinks: Vec<(Counts, Option<u64>)>,
    /// Flows of which something came, perhaps several times.
    pub flows: Vec<u32>,
    /// From when a datagram should have been sent to when it was received.
    pub times: Times,
    /// Datagrams of which that is not known.
    pub other_clocks: u64,
    /// When the first and the last whole datagram came, nanoseconds of the boot clock.
    pub span: Option<(u64, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run = Run { id: 4, host: 1 };
    const START: u64 = 1_000_000_000;

    fn payload(run: Run, kind: Kind, flow: u32, sequence: u64, due: u64) -> Vec<u8> {
        let mut payload = vec![0; 188];
        Stamp {
            run,
            kind,
            flow,
            sequence,
            due,
        }
        .write(&mut payload, &mut 0);
        payload
    }

    fn data(flow: u32, sequence: u64) -> Vec<u8> {
        payload(RUN, Kind::Data, flow, sequence, START)
    }

    fn verifier(expect: Expect) -> Verifier {
        Verifier::new(2, expect, Clocks::SameHost(1))
    }

    #[test]
    fn each_fault_is_counted_under_its_name_and_at_its_sink() {
        let mut verifier = verifier(Expect::From(RUN));
        let mut damaged = data(0, 3);
        damaged[100] ^= 4;
        for payload in [
            data(0, 0),
            data(0, 2),
            data(0, 1),
            data(0, 1),
            damaged,
            vec![1; 188],
            data(0, 5),
        ] {
            verifier.take(0, START + 10, &payload);
        }
        verifier.take(1, START + 10, &data(0, 0));
        let other = Run { id: 5, host: 1 };
        verifier.take(1, START, &payload(other, Kind::Data, 0, 0, START));
        let finished = verifier.finish(None);
        let expected = Counts {
            received: 4,
            bytes: 4 * 188,
            lost: 2,
            duplicated: 1,
            reordered: 1,
            too_late: 0,
            corrupt: 1,
            foreign: 1,
        };
        assert_eq!(finished.sinks[0], (expected, Some(START + 10)));
        assert!(!finished.sinks[0].0.is_whole());
        let other = finished.sinks[1].0;
        assert_eq!(
            (other.received, other.foreign, other.is_whole()),
            (1, 1, true)
        );
    }

    #[test]
    fn a_sink_that_came_later_counts_from_there() {
        let mut verifier = verifier(Expect::Any);
        verifier.take(0, START, &data(0, 70));
        verifier.take(0, START, &data(1, 3));
        assert!(!verifier.has_ended());
        for flow in [0, 1] {
            verifier.take(0, START, &payload(RUN, Kind::End, flow, 80, 0));
        }
        assert!(verifier.has_ended());
        // 71 to 79 of flow 0, 4 to 79 of flow 1.
        assert_eq!(verifier.totals().lost, 9 + 76);
        assert_eq!(verifier.totals().received, 2);
    }

    #[test]
    fn what_is_missing_at_the_end_is_lost_when_the_generator_tells_how_many_there_were() {
        let mut verifier = verifier(Expect::From(RUN));
        (0..3).for_each(|number| verifier.take(0, START, &data(1, number)));
        assert_eq!(verifier.totals().lost, 0);
        let finished = verifier.finish(Some(&[50, 10]));
        assert_eq!((finished.sinks[0].0.lost, finished.flows), (7, vec![1]));
    }

    /// Coordinated omission: a generator that stood still for 100 ms sends what was due meanwhile in a row. Measured from when they
    /// were sent all would look quick; measured from when they were due, a tenth of a second of them is slow.
    #[test]
    fn a_generator_that_stood_still_shows_in_the_latency() {
        let mut verifier = verifier(Expect::From(RUN));
        for number in 0..1000_u64 {
            let due = START + number * 1_000_000;
            let stalled = (500..600).contains(&number);
            let sent = if stalled { START + 600_000_000 } else { due };
            verifier.take(0, sent + 20_000, &payload(RUN, Kind::Data, 0, number, due));
        }
        let times = verifier.finish(None).times.summary().unwrap();
        assert!(times.p50 < 21_000, "{times:?}");
        assert!(
            times.p99 > 89_000_000 && times.p99 < 91_000_000,
            "{times:?}"
        );
        assert!(times.max > 99_000_000, "{times:?}");
    }

    #[test]
    fn another_hosts_clock_gives_no_latency_but_its_variation() {
        let there = Run { id: 4, host: 2 };
        let send = |verifier: &mut Verifier| {
            for (number, delay) in [50, 20, 90].into_iter().enumerate() {
                let due = number as u64 * 1000;
                verifier.take(
                    0,
                    START + due + delay,
                    &payload(there, Kind::Data, 0, number as u64, due),
                );
            }
        };
        let mut plain = verifier(Expect::Any);
        send(&mut plain);
        let finished = plain.finish(None);
        assert_eq!((finished.times.summary(), finished.other_clocks), (None, 3));
        let mut variation = Verifier::new(1, Expect::Any, Clocks::Variation);
        send(&mut variation);
        let times = variation.finish(None).times.summary().unwrap();
        assert_eq!((times.count, times.min, times.max), (3, 0, 70));
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let mut verifier = verifier(Expect::Any);
        for id in 0..KNOWN_MAX as u64 + 10 {
            // Only the place is looked for: a flow's memory is what matters.
            let stamp = Stamp {
                run: Run { id, host: 1 },
                kind: Kind::End,
                flow: 0,
                sequence: 0,
                due: 0,
            };
            let known = verifier.place(0, &stamp).is_some();
            assert_eq!(known, id < KNOWN_MAX as u64);
        }
    }
}
