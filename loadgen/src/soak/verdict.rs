//! What a soak measures, and what is wrong with it.

use std::io;
use std::time::Duration;

use sealcast_dataplane::histogram::Histogram;
use serde::Serialize;

use super::pair::{Pair, Totals};
use super::{Plan, process};

/// Until memory has settled.
const SETTLED: Duration = Duration::from_secs(120);
/// Samples that a mean is taken of, at either end.
const MEAN: usize = 10;
/// Bytes that memory may grow after it has settled.
const GROWTH_MAX: i64 = 1 << 20;
/// Nanoseconds by which departures may shift against their due times.
const DRIFT_MAX: i64 = 1_000_000;

/// Totals of all channels at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sample {
    /// Seconds since all channels run.
    pub seconds: f64,
    /// Packets sent.
    pub sent: u64,
    /// Payloads delivered.
    pub delivered: u64,
    /// Key changes at senders.
    pub switches: u64,
    /// Missing in order, discarded, corrupt, dropped by the kernel, continuity errors, not sent: all that may not be.
    pub faults: u64,
    /// Bytes of memory.
    pub resident: u64,
    /// Processor seconds, user and system.
    pub cpu_seconds: f64,
    /// Nanoseconds by which departures were late, all together, and how many were counted.
    #[serde(skip)]
    late: (u64, u64),
}

/// All that may not be, of one channel.
fn faults(totals: &Totals) -> [(&'static str, u64); 8] {
    let (sent, received) = (&totals.sent, &totals.received);
    // Notices and certificates are repeated: those that are known already are no fault.
    let known = sealcast_proto::discard::Discard::Known;
    let discarded = received
        .discards
        .iter()
        .filter(|(cause, _)| *cause != known);
    [
        ("lost", received.gaps.lost),
        ("discarded", discarded.map(|(_, count)| count).sum()),
        ("corrupt", totals.corrupt),
        ("continuity errors", received.continuity_errors),
        ("dropped by the kernel", received.kernel_drops),
        ("not sent", sent.stats.not_sent),
        ("holds", sent.stats.holds),
        ("send errors", sent.leg_errors.iter().sum()),
    ]
}

impl Sample {
    pub(super) fn of(at: Duration, pairs: &[Pair]) -> io::Result<Self> {
        let mut sample = Self {
            seconds: at.as_secs_f64(),
            resident: process::resident()?,
            cpu_seconds: process::cpu()?.as_secs_f64(),
            ..Self::default()
        };
        for pair in pairs {
            let totals = pair.totals();
            let latency = totals.sent.latency;
            sample.sent += totals.sent.stats.packets;
            sample.delivered += totals.received.stats.packets;
            sample.switches += totals.sent.stats.switches;
            sample.faults += faults(&totals).iter().map(|(_, count)| count).sum::<u64>();
            sample.late.0 += u64::try_from(latency.sum().as_nanos()).unwrap_or(u64::MAX);
            sample.late.1 += latency.count();
        }
        Ok(sample)
    }
}

/// Durations in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantiles {
    /// How many.
    pub count: u64,
    /// Half took no longer.
    pub p50_us: u64,
    /// 99 of 100 took no longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl From<Histogram> for Quantiles {
    fn from(histogram: Histogram) -> Self {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self {
            count: histogram.count(),
            p50_us: micros(histogram.quantile(50)),
            p99_us: micros(histogram.quantile(99)),
            max_us: micros(histogram.max()),
        }
    }
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Channels.
    pub channels: u16,
    /// Seconds that all of them ran.
    pub seconds: f64,
    /// Packets sent by all.
    pub sent: u64,
    /// Payloads delivered by all.
    pub delivered: u64,
    /// Packets sent per second in the run.
    pub packets_per_second: f64,
    /// Key changes of all senders; the fewest and the most of one channel.
    pub switches: (u64, u64, u64),
    /// Times that the additional channel began.
    pub visits: u32,
    /// Processor time per wall time: 1 is a whole core. Generators and checkers included.
    pub cores_used: f64,
    /// Processor time for a packet that was generated, sent, received and checked, microseconds.
    pub cpu_us_per_packet: f64,
    /// Bytes of memory at the end.
    pub resident: u64,
    /// Bytes that memory grew from the end of the second minute on; `None` in shorter runs.
    pub growth: Option<i64>,
    /// Nanoseconds by which departures shifted against their due times from the first ten seconds to the last.
    pub drift_ns: i64,
    /// From due to sent.
    pub send_latency: Quantiles,
    /// From arrival to output.
    pub receive_latency: Quantiles,
    /// How far clock references left from their places.
    pub pcr_jitter: Quantiles,
    /// What went wrong, with how often.
    pub faults: Vec<(String, u64)>,
    /// Whether nothing did.
    pub passed: bool,
}

impl Report {
    pub(super) fn new(plan: &Plan, samples: &[Sample], ends: &[Totals], visits: u32) -> Self {
        let (first, last) = (samples[0], samples[samples.len() - 1]);
        let seconds = (last.seconds - first.seconds).max(f64::MIN_POSITIVE);
        let sent_in_run = (last.sent - first.sent).max(1) as f64;
        let cpu = last.cpu_seconds - first.cpu_seconds;
        let merged = |of: fn(&Totals) -> Histogram| {
            let mut all = Histogram::default();
            ends.iter().for_each(|end| all.merge(&of(end)));
            Quantiles::from(all)
        };
        let switches = || ends.iter().map(|end| end.sent.stats.switches);
        let (growth, drift_ns) = (growth(samples), drift(samples));
        let mut report = Self {
            channels: plan.channels,
            seconds,
            sent: ends.iter().map(|end| end.sent.stats.packets).sum(),
            delivered: ends.iter().map(|end| end.received.stats.packets).sum(),
            packets_per_second: sent_in_run / seconds,
            switches: (
                switches().sum(),
                switches().min().unwrap_or(0),
                switches().max().unwrap_or(0),
            ),
            visits: if plan.churn.is_some() { visits } else { 0 },
            cores_used: cpu / seconds,
            cpu_us_per_packet: cpu * 1e6 / sent_in_run,
            resident: last.resident,
            growth,
            drift_ns,
            send_latency: merged(|end| end.sent.latency),
            receive_latency: merged(|end| end.received.latency),
            pcr_jitter: merged(|end| end.sent.pcr_jitter),
            faults: Vec::new(),
            passed: false,
        };
        report.judge(ends);
        report
    }

    fn judge(&mut self, ends: &[Totals]) {
        let mut add = |what: &str, count: u64| {
            if count == 0 {
                return;
            }
            match self.faults.iter_mut().find(|(known, _)| known == what) {
                Some((_, known)) => *known += count,
                None => self.faults.push((what.to_owned(), count)),
            }
        };
        for end in ends {
            faults(end)
                .iter()
                .for_each(|(what, count)| add(what, *count));
            // Each receiver was there before its sender began.
            let missing = end
                .sent
                .stats
                .packets
                .saturating_sub(end.received.stats.packets);
            add("packets sent and not delivered", missing);
            let unfollowed = end
                .sent
                .stats
                .switches
                .abs_diff(end.received.stats.switches);
            add(
                "key changes that a receiver did not follow",
                unfollowed.saturating_sub(1),
            );
        }
        let grown = self.growth.filter(|growth| *growth > GROWTH_MAX);
        add(
            "bytes of memory too many",
            grown.map_or(0, i64::unsigned_abs),
        );
        let drifted = self.drift_ns.abs() > DRIFT_MAX;
        add(
            "ns of drift",
            if drifted {
                self.drift_ns.unsigned_abs()
            } else {
                0
            },
        );
        self.passed = self.faults.is_empty();
    }
}

fn mean(values: impl ExactSizeIterator<Item = u64>) -> i64 {
    let count = values.len().max(1) as u64;
    i64::try_from(values.sum::<u64>() / count).unwrap_or(i64::MAX)
}

/// By how much memory grew once it had settled.
fn growth(samples: &[Sample]) -> Option<i64> {
    let settled = samples.partition_point(|sample| sample.seconds < SETTLED.as_secs_f64());
    let rest = &samples[settled..];
    if rest.len() < 2 * MEAN {
        return None;
    }
    let resident = |samples: &[Sample]| mean(samples.iter().map(|sample| sample.resident));
    Some(resident(&rest[rest.len() - MEAN..]) - resident(&rest[..MEAN]))
}

/// By how much departures got later.
fn drift(samples: &[Sample]) -> i64 {
    let late = |from: &Sample, to: &Sample| {
        let count = (to.late.1 - from.late.1).max(1);
        i64::try_from((to.late.0 - from.late.0) / count).unwrap_or(i64::MAX)
    };
    let last = samples.len() - 1;
    let early = late(&samples[0], &samples[MEAN.min(last)]);
    late(&samples[last.saturating_sub(MEAN)], &samples[last]) - early
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(
        seconds: u32,
        resident: impl Fn(u32) -> u64,
        late: impl Fn(u32) -> u64,
    ) -> Vec<Sample> {
        let mut all = (0, 0);
        (0..seconds)
            .map(|second| {
                all = (all.0 + 100 * late(second), all.1 + 100);
                Sample {
                    seconds: second.into(),
                    resident: resident(second),
                    late: all,
                    ..Sample::default()
                }
            })
            .collect()
    }

    #[test]
    fn growth_counts_from_the_third_minute_on() {
        let flat = samples(
            600,
            |second| {
                if second < 100 {
                    u64::from(second) << 20
                } else {
                    100 << 20
                }
            },
            |_| 5,
        );
        assert_eq!(growth(&flat), Some(0));
        let leak = samples(600, |second| u64::from(second) << 14, |_| 5);
        assert!(
            (470 << 14..480 << 14).contains(&growth(&leak).unwrap()),
            "{:?}",
            growth(&leak)
        );
        assert_eq!(growth(&samples(130, |_| 5, |_| 5)), None);
    }

    #[test]
    fn drift_is_how_much_later_departures_get() {
        let steady = samples(100, |_| 0, |_| 1_000_000);
        assert_eq!(drift(&steady), 0);
        let slow = samples(100, |_| 0, |second| 1_000_000 + u64::from(second) * 20_000);
        assert!(
            (1_700_000..1_900_000).contains(&drift(&slow)),
            "{}",
            drift(&slow)
        );
    }
}
