//! The report of devices that asked key doors: answers by kind, how long they took, the load of each door over time, who holds
//! which key.

use std::iter;

use sealcast_proto::ids::Time;
use sealcast_proto::wire::door::Reason;

use super::{Axes, Cell, Fact, Plot, Report, Table};
use crate::devices::counts::{Counts, Kind, Load};
use crate::devices::run::{Attack, ChangeWindow, Outcome, Plan};
use crate::devices::scenario::Scenario;
use crate::latency::{Summary, Times};

const ABOUT: &str = "\
    Devices ask by the rules of real ones, with sessions made in advance. Requests are due on a schedule that waits for nobody \
    (open loop); latency is from when a request was due to its keys, retries included. Each request is one datagram; no \
    segmentation offload is used.";

/// The report of a run with these parameters.
#[must_use]
pub fn of_keys(parameters: Vec<Fact>, plan: &Plan, outcome: &Outcome) -> Report {
    let mut tables = vec![
        answers(outcome),
        times(outcome),
        doors(plan, outcome),
        held(&outcome.counts),
    ];
    if let Some(change) = outcome.change {
        tables.insert(2, window(plan, &outcome.counts, change));
        tables.insert(3, whole_window(plan, &outcome.counts, change));
    }
    tables.extend(hostile(outcome));
    let (good, result) = verdict(plan, outcome);
    Report {
        title: "sealcast load keys".to_owned(),
        about: ABOUT.to_owned(),
        parameters,
        result,
        good,
        tables,
        plots: plots(plan, outcome),
        notes: notes(plan, outcome),
    }
}

/// Keys and names of columns.
#[must_use]
pub fn columns(names: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    names
        .iter()
        .map(|&(key, name)| (key, name.to_owned()))
        .collect()
}

/// A name and a count.
#[must_use]
pub fn row(name: &str, count: u64) -> Vec<Cell> {
    vec![Cell::words(name), Cell::count(count)]
}

fn answers(outcome: &Outcome) -> Table {
    let total = outcome.counts.total(None);
    let mut rows = vec![
        row("devices", outcome.counts.begun),
        row("requests", total.first.into()),
        row("retries", total.retries.into()),
    ];
    let keys = (Kind::Keys, outcome.counts.of(Kind::Keys));
    let others = outcome.counts.kinds().filter(|of| of.0 != Kind::Keys);
    for (kind, count) in iter::once(keys).chain(others) {
        rows.push(row(kind.name(), count));
    }
    rows.push(row("given_up", outcome.counts.given_up));
    rows.push(row("unanswered", outcome.standing.waiting));
    for (name, count) in [
        ("skipped", outcome.counts.skipped),
        ("dropped_here", outcome.drops),
        ("refused_here", outcome.refused),
        ("notices", outcome.counts.notices),
    ] {
        if count > 0 {
            rows.push(row(name, count));
        }
    }
    Table {
        key: "answers",
        title: "Requests and answers".to_owned(),
        columns: columns(&[("what", ""), ("count", "count")]),
        rows,
    }
}

fn times(outcome: &Outcome) -> Table {
    let counts = &outcome.counts;
    latency(
        "From when a request was due to its keys, us",
        &[
            ("tuning in", &counts.joining),
            ("next key", &counts.following),
            ("of it, generator late", &counts.lateness),
        ],
    )
}

/// Times by name, those of which there are some.
#[must_use]
pub fn latency(title: &str, all: &[(&str, &Times)]) -> Table {
    let row = |(name, times): &(&str, &Times)| {
        let Summary {
            count,
            p50,
            p90,
            p99,
            p99_9,
            max,
            ..
        } = times.summary()?;
        let times = [p50, p90, p99, p99_9, max].map(Cell::time);
        Some(
            [Cell::words(*name), Cell::count(count)]
                .into_iter()
                .chain(times)
                .collect(),
        )
    };
    Table {
        key: "latency",
        title: title.to_owned(),
        columns: columns(&[
            ("what", ""),
            ("count", "count"),
            ("p50", "p50"),
            ("p90", "p90"),
            ("p99", "p99"),
            ("p99_9", "p99.9"),
            ("max", "max"),
        ]),
        rows: all.iter().filter_map(row).collect(),
    }
}

const LOAD: [(&str, &str); 7] = [
    ("door", "door"),
    ("sent", "requests"),
    ("retries", "of which retries"),
    ("keys", "keys"),
    ("peak", "peak of a bin"),
    ("mean", "mean of a bin"),
    ("peak_over_mean", "peak/mean"),
];

fn load_row(name: String, load: &Load) -> Vec<Cell> {
    vec![
        Cell::words(name),
        Cell::count(load.sent),
        Cell::count(load.retries),
        Cell::count(load.keys),
        Cell::count(load.peak.into()),
        Cell::number(load.mean, 1),
        Cell::number(load.ratio(), 2),
    ]
}

/// The load of every door and of all between two moments.
fn loads(plan: &Plan, counts: &Counts, from: Time, until: Time) -> Vec<Vec<Cell>> {
    let each =
        plan.doors.iter().enumerate().map(|(index, door)| {
            load_row(door.to_string(), &counts.load(Some(index), from, until))
        });
    let all = load_row("all".to_owned(), &counts.load(None, from, until));
    each.chain([all]).collect()
}

/// The window of the change: from the second preset over the time in which the key server spreads requests.
fn window(plan: &Plan, counts: &Counts, change: ChangeWindow) -> Table {
    Table {
        key: "window",
        title: "While devices fetch the next key: the spread of the fetch window".to_owned(),
        columns: columns(&LOAD),
        rows: loads(plan, counts, change.begins, change.spread),
    }
}

/// The same to the change: the last part holds retries only.
fn whole_window(plan: &Plan, counts: &Counts, change: ChangeWindow) -> Table {
    Table {
        key: "whole_window",
        title: "The whole fetch window".to_owned(),
        columns: columns(&LOAD),
        rows: loads(plan, counts, change.begins, change.boundary),
    }
}

fn doors(plan: &Plan, outcome: &Outcome) -> Table {
    let counts = &outcome.counts;
    let until = counts.start().after(outcome.took);
    Table {
        key: "doors",
        title: "All of the run".to_owned(),
        columns: columns(&LOAD),
        rows: loads(plan, counts, counts.start(), until),
    }
}

fn held(counts: &Counts) -> Table {
    let rows = counts.held.iter().map(|(epoch, holding)| {
        vec![
            Cell::count(epoch.0),
            Cell::count(holding.in_time),
            Cell::count(holding.late),
            Cell::count(holding.joined),
            if holding.in_time > 0 {
                Cell::number(holding.least_left as f64 / 1e6, 1)
            } else {
                Cell::none()
            },
        ]
    });
    Table {
        key: "held",
        title: "Who came to which key".to_owned(),
        columns: columns(&[
            ("epoch", "epoch"),
            ("in_time", "before its 0"),
            ("late", "after it"),
            ("joined", "as first key"),
            ("least_left_ms", "least time left, ms"),
        ]),
        rows: rows.collect(),
    }
}

fn hostile(outcome: &Outcome) -> Option<Table> {
    let flooded = outcome.flooded?;
    let seconds = outcome.took.as_secs_f64().max(f64::MIN_POSITIVE);
    let rows = Attack::ALL.into_iter().zip(flooded).map(|(attack, count)| {
        vec![
            Cell::words(attack.name()),
            Cell::count(count),
            Cell::number((count as f64 / seconds).round(), 0),
        ]
    });
    Some(Table {
        key: "hostile",
        title: "Hostile datagrams".to_owned(),
        columns: columns(&[
            ("kind", "kind"),
            ("sent", "sent"),
            ("per_second", "per second"),
        ]),
        rows: rows.collect(),
    })
}

/// Devices that hold no key for after the change, and those that came to it too late.
fn without(plan: &Plan, outcome: &Outcome) -> (u64, u64) {
    let Some((epoch, holders)) = outcome.newest else {
        return (plan.devices.into(), 0);
    };
    let late = outcome.counts.held.get(&epoch).map_or(0, |held| held.late);
    (u64::from(plan.devices).saturating_sub(holders), late)
}

fn verdict(plan: &Plan, outcome: &Outcome) -> (bool, String) {
    let counts = &outcome.counts;
    let unknown = Kind::Refused(Reason::CookieUnknown);
    let wrong = [Kind::Undecryptable, Kind::OtherRoot, unknown];
    let wrong: u64 = wrong.into_iter().map(|kind| counts.of(kind)).sum();
    let unanswered = outcome.standing.waiting;
    let worst = [&counts.joining, &counts.following]
        .into_iter()
        .filter_map(Times::summary)
        .map(|summary| summary.max)
        .max();
    let waited = worst.unwrap_or(0).max(nanos(outcome.oldest)) as f64 / 1e9;
    let mut faults = Vec::new();
    if wrong > 0 {
        faults.push(format!("{wrong} answers gave no key that is one"));
    }
    if unanswered > 0 {
        faults.push(format!("{unanswered} requests have no answer"));
    }
    if matches!(plan.scenario, Scenario::Switch { .. }) {
        match outcome.change {
            None => faults.push("no change of key came".to_owned()),
            Some(_) => match without(plan, outcome) {
                (0, 0) => {}
                (without, late) => faults.push(format!(
                    "{without} devices have not the next key, {late} came to it after its 0"
                )),
            },
        }
    }
    if counts.begun < plan.devices.into()
        && !matches!(plan.scenario, Scenario::Steady { .. } | Scenario::Trace(_))
    {
        faults.push("not all devices have begun".to_owned());
    }
    let keys = counts.of(Kind::Keys);
    if keys == 0 {
        faults.push("nobody got any key".to_owned());
    }
    let longest = format!("the longest wait was {waited:.3} s");
    if faults.is_empty() {
        let what = match outcome.change {
            Some(_) => "every device held the next key before its 0",
            None => "every request was answered with keys",
        };
        (true, format!("good: {what}; {longest}"))
    } else {
        (false, format!("NOT GOOD: {}; {longest}", faults.join("; ")))
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn notes(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let mut notes = Vec::new();
    let late = outcome.counts.lateness.summary();
    if let Some(late) = late.filter(|late| late.p99 > 10_000_000) {
        notes.push(format!(
            "the generator itself was up to {:.0} ms late (p99 {:.0} ms), which is in every latency: it needs more cores, or a \
             lower rate",
            late.max as f64 / 1e6,
            late.p99 as f64 / 1e6
        ));
    }
    if outcome.drops > 0 {
        notes.push(format!(
            "{} answers were dropped in front of the devices, because a receive buffer was full: more sockets, or more cores",
            outcome.drops
        ));
    }
    if outcome.flooded.is_some() {
        notes.push("latency and answers are those of the honest devices".to_owned());
    }
    if outcome.counts.skipped > 0 {
        notes.push(format!(
            "{} requests were not sent, because their devices still waited for the same: give more devices",
            outcome.counts.skipped
        ));
    }
    if plan.groups.is_empty() && matches!(plan.scenario, Scenario::Switch { .. }) {
        notes.push("no --group: devices asked by timer, and knew of no Notice".to_owned());
    }
    notes
}

fn plots(plan: &Plan, outcome: &Outcome) -> Vec<Plot> {
    let counts = &outcome.counts;
    let width = counts.bin().as_secs_f64();
    let at = |bin: usize| bin as f64 * width;
    let each =
        |of: &dyn Fn(&crate::devices::counts::AtDoor) -> u32| -> Vec<(String, Vec<(f64, f64)>)> {
            let line = |(index, door): (usize, &std::net::SocketAddr)| {
                let points = counts.bins().enumerate();
                let points = points.map(|(bin, doors)| (at(bin), f64::from(of(&doors[index]))));
                (door.to_string(), points.collect())
            };
            plan.doors.iter().enumerate().map(line).collect()
        };
    let waits = counts.oldest().iter().enumerate();
    let curve = |times: &Times| {
        let points = times.curve().into_iter();
        points
            .map(|point| (point.quantile, point.ns as f64 / 1e3))
            .collect()
    };
    vec![
        Plot {
            key: "sent",
            title: "Requests by door, retries included".to_owned(),
            axes: Axes::Seconds,
            y: "in a bin".to_owned(),
            lines: each(&|at| at.sent()),
        },
        Plot {
            key: "retries",
            title: "Of these, retries".to_owned(),
            axes: Axes::Seconds,
            y: "in a bin".to_owned(),
            lines: each(&|at| at.retries),
        },
        Plot {
            key: "keys",
            title: "Answers with keys by door".to_owned(),
            axes: Axes::Seconds,
            y: "in a bin".to_owned(),
            lines: each(&|at| at.keys),
        },
        Plot {
            key: "oldest",
            title: "How long the oldest request has waited".to_owned(),
            axes: Axes::Seconds,
            y: "ms".to_owned(),
            lines: vec![(
                "oldest".to_owned(),
                waits.map(|(bin, &ns)| (at(bin), ns as f64 / 1e6)).collect(),
            )],
        },
        Plot {
            key: "latency_curve",
            title: "Latency".to_owned(),
            axes: Axes::Quantiles,
            y: "us".to_owned(),
            lines: vec![
                ("tuning in".to_owned(), curve(&counts.joining)),
                ("next key".to_owned(), curve(&counts.following)),
            ],
        },
    ]
}
