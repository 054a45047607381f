//! The report of one run: what was sent, what came, what was missing and why, how long it took.

use super::{Axes, Cell, Fact, Plot, Report, Table, scaled};
use crate::generator::Sent;
use crate::latency::{Summary, Times};
use crate::outcome::{JOINED_MAX, Outcome, Received, Sample, SinkResult};

/// Sinks that are told one by one.
const SINKS_SHOWN: usize = 20;

const ABOUT: &str = "\
    Datagrams are due on a schedule that does not wait for anybody (open loop). Each carries the time at which it was due, \
    its number and a checksum. Latency is from when a datagram was due to when the sink received it, so a generator that \
    stood still shows in it. Sizes and rates are of UDP payloads.";

/// The report of a run with these parameters.
#[must_use]
pub fn of_stream(parameters: Vec<Fact>, outcome: &Outcome) -> Report {
    let (sent, received) = (outcome.sent.as_ref(), outcome.received.as_ref());
    let mut tables = vec![totals(sent, received)];
    if let Some(received) = received {
        tables.push(loss(received, sent.is_some()));
    }
    tables.extend(times(sent, received));
    tables.extend(received.and_then(sinks));
    let mut notes = outcome.notes.clone();
    notes.extend(sent.map_or_else(Vec::new, notes_of_sent));
    notes.extend(received.map_or_else(Vec::new, notes_of_received));
    let (good, result) = verdict(sent, received);
    Report {
        title: "sealcast load stream".to_owned(),
        about: ABOUT.to_owned(),
        parameters,
        result,
        good,
        tables,
        plots: plots(outcome),
        notes,
    }
}

/// Bits per second of so many bytes in so many nanoseconds.
#[must_use]
pub(crate) fn bits_per_second(bytes: u64, ns: u64) -> f64 {
    if ns == 0 {
        0.0
    } else {
        bytes as f64 * 8e9 / ns as f64
    }
}

fn per_second(count: u64, ns: u64) -> f64 {
    if ns == 0 {
        0.0
    } else {
        count as f64 * 1e9 / ns as f64
    }
}

fn columns(names: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    names
        .iter()
        .map(|&(key, name)| (key, name.to_owned()))
        .collect()
}

fn totals(sent: Option<&Sent>, received: Option<&Received>) -> Table {
    let row = |name: &str, packets, bytes, ns| {
        vec![
            Cell::words(name),
            Cell::count(packets),
            Cell::count(bytes),
            Cell::number(per_second(packets, ns).round(), 0),
            Cell::rate(bits_per_second(bytes, ns)),
        ]
    };
    let sent = sent.map(|sent| row("sent", sent.now.packets, sent.now.bytes, sent.took));
    let received = received.map(|received| {
        row(
            "received",
            received.counts.received,
            received.counts.bytes,
            received.span,
        )
    });
    Table {
        key: "totals",
        title: "Throughput".to_owned(),
        columns: columns(&[
            ("what", ""),
            ("datagrams", "datagrams"),
            ("bytes", "bytes"),
            ("per_second", "per second"),
            ("bits_per_second", "rate"),
        ]),
        rows: sent.into_iter().chain(received).collect(),
    }
}

/// What was wrong. Causes are told as far as they are known: alone, a sink does not know what was refused at the generator.
fn loss(received: &Received, with_generator: bool) -> Table {
    let (counts, loss) = (&received.counts, &received.loss);
    let drops = received.sinks.iter().map(|sink| sink.drops).sum();
    let mut rows = vec![("lost", "lost", loss.lost, loss.lost)];
    if with_generator {
        rows.push((
            "refused",
            "- refused by the generator's kernel",
            loss.refused,
            loss.refused,
        ));
    }
    rows.extend([
        ("lost_corrupt", "- came damaged", loss.corrupt, loss.corrupt),
        (
            "lost_receive_buffer",
            "- receive buffer of the sink full",
            loss.receive_buffer_min,
            loss.receive_buffer_max,
        ),
        (
            "lost_on_path",
            "- between generator and sink",
            loss.path_min,
            loss.path_max,
        ),
        (
            "drops",
            "buffers dropped by the sink's kernel",
            drops,
            drops,
        ),
        (
            "duplicated",
            "duplicated",
            counts.duplicated,
            counts.duplicated,
        ),
        ("reordered", "reordered", counts.reordered, counts.reordered),
        (
            "too_late",
            "too late to be judged",
            counts.too_late,
            counts.too_late,
        ),
        ("corrupt", "corrupt", counts.corrupt, counts.corrupt),
        ("foreign", "foreign", counts.foreign, counts.foreign),
    ]);
    let row = |(key, name, min, max): (&str, &str, u64, u64)| {
        let bounds = if min == max {
            Cell::count(min).text
        } else {
            format!("{} to {}", Cell::count(min).text, Cell::count(max).text)
        };
        let mut name = Cell::words(name);
        name.value = key.into();
        let mut least = Cell::count(min);
        least.text = bounds;
        let most = Cell {
            text: String::new(),
            ..Cell::count(max)
        };
        vec![name, least, most]
    };
    Table {
        key: "faults",
        title: "Verified".to_owned(),
        columns: columns(&[("what", ""), ("min", "datagrams"), ("max", "")]),
        rows: rows.into_iter().map(row).collect(),
    }
}

/// The columns and cells of a summary, for other tables too.
#[must_use]
pub(crate) fn time_columns() -> Vec<(&'static str, String)> {
    columns(&[
        ("count", "datagrams"),
        ("min_ns", "min"),
        ("mean_ns", "mean"),
        ("p50_ns", "p50"),
        ("p90_ns", "p90"),
        ("p99_ns", "p99"),
        ("p99_9_ns", "p99.9"),
        ("p99_99_ns", "p99.99"),
        ("max_ns", "max"),
    ])
}

/// The cells of a summary under [`time_columns`].
#[must_use]
pub(crate) fn time_cells(summary: &Summary) -> Vec<Cell> {
    let Summary {
        count,
        min,
        mean,
        p50,
        p90,
        p99,
        p99_9,
        p99_99,
        max,
    } = *summary;
    let mean = Cell {
        value: mean.into(),
        text: format!("{:.1}", mean / 1e3),
    };
    let rest = [p50, p90, p99, p99_9, p99_99, max].map(Cell::time);
    [Cell::count(count), Cell::time(min), mean]
        .into_iter()
        .chain(rest)
        .collect()
}

fn times(sent: Option<&Sent>, received: Option<&Received>) -> Option<Table> {
    let row = |name: &str, times: &Times| {
        let cells = time_cells(&times.summary()?);
        Some(std::iter::once(Cell::words(name)).chain(cells).collect())
    };
    let latency = received.and_then(|received| row("latency", &received.times));
    let lateness = sent.and_then(|sent| row("of it, generator late", &sent.lateness));
    let rows: Vec<Vec<Cell>> = latency.into_iter().chain(lateness).collect();
    let mut named = columns(&[("what", "")]);
    named.extend(time_columns());
    (!rows.is_empty()).then(|| Table {
        key: "times",
        title: "Latency, microseconds".to_owned(),
        columns: named,
        rows,
    })
}

fn sinks(received: &Received) -> Option<Table> {
    let row = |(number, sink): (usize, &SinkResult)| {
        vec![
            Cell::count(number as u64 + 1),
            Cell::count(sink.counts.received),
            Cell::count(sink.counts.lost),
            Cell::count(sink.counts.corrupt),
            Cell::count(sink.drops),
            sink.join_ns.map_or_else(Cell::none, Cell::time),
        ]
    };
    let shown = received.sinks.iter().enumerate().take(SINKS_SHOWN).map(row);
    Some(Table {
        key: "sinks",
        title: match received.sinks.len() {
            all @ ..=SINKS_SHOWN => format!("Sinks: {all}"),
            all => format!("Sinks: the first {SINKS_SHOWN} of {all}"),
        },
        columns: columns(&[
            ("sink", "sink"),
            ("received", "received"),
            ("lost", "lost"),
            ("corrupt", "corrupt"),
            ("drops", "drops"),
            ("join_ns", "first after us"),
        ]),
        rows: shown.collect(),
    })
}

fn notes_of_sent(sent: &Sent) -> Vec<String> {
    let mut notes = Vec::new();
    if sent.unsent > 0 {
        notes.push(format!(
            "the generator was too slow for this rate: {} datagrams or more were due and never sent; give it more cores, or \
             ask for less",
            sent.unsent
        ));
    }
    if let Some(error) = &sent.error {
        notes.push(format!(
            "the generator's kernel refused {} datagrams: {error}",
            sent.now.refused
        ));
    }
    if !sent.batches {
        notes.push(
            "the kernel or device takes no batches (UDP_SEGMENT): datagrams were sent one by one"
                .to_owned(),
        );
    }
    notes
}

fn notes_of_received(received: &Received) -> Vec<String> {
    let mut notes = Vec::new();
    if received.other_clocks > 0 {
        notes.push(
            "the datagrams come from a host with another clock: no latency; --variation shows how it varies".to_owned(),
        );
    }
    if received.loss.receive_buffer_max > received.loss.receive_buffer_min {
        notes.push(format!(
            "the kernel counts dropped buffers of 1 to {JOINED_MAX} datagrams each: causes of loss are told as bounds"
        ));
    }
    notes
}

fn verdict(sent: Option<&Sent>, received: Option<&Received>) -> (bool, String) {
    let all_sent =
        sent.is_none_or(|sent| sent.unsent == 0 && sent.now.refused == 0 && sent.now.packets > 0);
    let short = if all_sent {
        ""
    } else {
        "; not everything that was due was sent"
    };
    let Some(received) = received else {
        return (all_sent, format!("sent{short}"));
    };
    let counts = &received.counts;
    let rate = scaled(bits_per_second(counts.bytes, received.span));
    let text = if counts.received == 0 {
        "nothing was received".to_owned()
    } else if counts.is_whole() {
        format!(
            "all {} datagrams came, whole and in order, at {rate}bit/s",
            counts.received
        )
    } else {
        format!(
            "{} datagrams came at {rate}bit/s; {} lost, {} corrupt, {} duplicated, {} reordered",
            counts.received, counts.lost, counts.corrupt, counts.duplicated, counts.reordered
        )
    };
    (all_sent && counts.is_whole(), format!("{text}{short}"))
}

/// A total of a sample.
type Total = fn(&Sample) -> u64;

fn plots(outcome: &Outcome) -> Vec<Plot> {
    let mut plots = Vec::new();
    let curve = |name: &str, times: &Times| {
        let points = times
            .curve()
            .into_iter()
            .map(|point| (point.quantile, point.ns as f64 / 1e3));
        (name.to_owned(), points.collect::<Vec<_>>())
    };
    let latency = outcome
        .received
        .as_ref()
        .map(|received| curve("latency", &received.times));
    let lateness = outcome
        .sent
        .as_ref()
        .map(|sent| curve("of it, generator late", &sent.lateness));
    plots.push(Plot {
        key: "latency",
        title: "Latency by share of datagrams".to_owned(),
        axes: Axes::Quantiles,
        y: "microseconds".to_owned(),
        lines: latency.into_iter().chain(lateness).collect(),
    });
    let over_time = |key, title: &str, y: &str, lines: &[(&str, Total)], scale: f64| Plot {
        key,
        title: title.to_owned(),
        axes: Axes::Seconds,
        y: y.to_owned(),
        lines: lines
            .iter()
            .map(|(name, value)| ((*name).to_owned(), rates(&outcome.series, *value, scale)))
            .collect(),
    };
    plots.push(over_time(
        "throughput",
        "Throughput",
        "thousand datagrams per second",
        &[
            ("sent", |sample| sample.sent),
            ("received", |sample| sample.received),
        ],
        1e-3,
    ));
    if outcome.received.is_some() {
        plots.push(over_time(
            "loss",
            "Loss",
            "datagrams lost per second",
            &[("lost", |sample| sample.lost)],
            1.0,
        ));
    }
    plots
}

/// How a total grew, per second. What filled a gap later does not count as negative loss.
fn rates(series: &[Sample], value: Total, scale: f64) -> Vec<(f64, f64)> {
    let steps = series.windows(2).filter_map(|pair| match pair {
        [before, after] if after.at > before.at => {
            let grown = value(after).saturating_sub(value(before)) as f64;
            Some((after.at, grown / (after.at - before.at) * scale))
        }
        _ => None,
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::SentNow;
    use crate::outcome::Loss;
    use crate::verify::Counts;

    fn outcome(lost: u64, drops: u64, corrupt: u64) -> Outcome {
        let counts = Counts {
            received: 900,
            bytes: 900 * 1316,
            lost,
            corrupt,
            ..Counts::default()
        };
        let mut times = Times::default();
        (1..1000).for_each(|time| times.record(time * 1000));
        let sample = |at: f64, total| Sample {
            at,
            sent: total,
            received: total,
            ..Sample::default()
        };
        Outcome {
            sent: Some(Sent {
                now: SentNow {
                    packets: 1000,
                    bytes: 1_316_000,
                    refused: 0,
                    finished: true,
                },
                flows: vec![1000],
                lateness: times.clone(),
                took: 1_000_000_000,
                batches: true,
                ..Sent::default()
            }),
            received: Some(Received {
                counts,
                loss: Loss::of(lost, 0, corrupt, drops),
                sinks: vec![SinkResult {
                    counts,
                    drops,
                    join_ns: Some(1500),
                    first_ns: Some(1),
                }],
                times,
                other_clocks: 0,
                span: 1_000_000_000,
            }),
            series: vec![sample(0.0, 0), sample(0.5, 400), sample(1.0, 1000)],
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_clean_run_is_good_and_says_how_fast() {
        let report = of_stream(Vec::new(), &outcome(0, 0, 0));
        assert!(
            report.good && report.result.contains("9.48 Mbit/s"),
            "{}",
            report.result
        );
        assert_eq!(
            report.to_json()["tables"]["totals"][1]["bits_per_second"],
            900.0 * 1316.0 * 8.0
        );
        assert_eq!(report.plots[1].lines[1].1, [(0.5, 0.8), (1.0, 1.2)]);
        assert!(report.notes.is_empty());
    }

    #[test]
    fn loss_is_told_by_cause_with_its_bounds() {
        let report = of_stream(Vec::new(), &outcome(100, 1, 4));
        assert!(!report.good);
        let faults = report.to_json()["tables"]["faults"].clone();
        let of = |what: &str| {
            let row = faults
                .as_array()
                .unwrap()
                .iter()
                .find(|row| row["what"] == what)
                .unwrap()
                .clone();
            (row["min"].as_u64().unwrap(), row["max"].as_u64().unwrap())
        };
        assert_eq!(of("lost"), (100, 100));
        assert_eq!(of("lost_corrupt"), (4, 4));
        assert_eq!(of("lost_receive_buffer"), (1, 64));
        assert_eq!(of("lost_on_path"), (32, 95));
        let text = super::super::to_text(&report);
        assert!(
            text.contains("1 to 64") && text.contains("told as bounds"),
            "{text}"
        );
    }

    #[test]
    fn a_rate_that_was_not_kept_is_no_good_run() {
        let mut slow = outcome(0, 0, 0);
        slow.sent.as_mut().unwrap().unsent = 5;
        let report = of_stream(Vec::new(), &slow);
        assert!(
            !report.good && report.notes[0].contains("too slow"),
            "{report:?}"
        );
        let mut silent = outcome(0, 0, 0);
        silent.received.as_mut().unwrap().counts = Counts::default();
        assert_eq!(
            of_stream(Vec::new(), &silent).result,
            "nothing was received"
        );
    }
}
