//! Latency of each size at the rate that was asked for (RFC 3918, multicast latency and min/max latency).

use super::{ScenarioError, Setup, Watch};
use crate::latency::Times;
use crate::report::{Axes, Cell, Plot, Report, Table, stream};
use crate::source::Source;

const ABOUT: &str = "Multicast latency after RFC 3918, with percentiles: from when each datagram was due (not from when it was \
    sent: a generator that stood still shows) to when the sink received it, at the rate that was asked for. All trials of a size \
    are one distribution. RFC 2544 asks for 20 trials of 120 s; these are as many and as long as the parameters say.";

pub(super) fn run(setup: &Setup, watch: Watch<'_>) -> Result<Report, ScenarioError> {
    let (mut rows, mut lines, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    let mut whole = true;
    for &size in &setup.sizes {
        let (mut times, mut lost, mut late) = (Times::default(), 0, 0);
        let mut plan = setup.plan.clone();
        plan.source = Some(Source::Shape(setup.traffic(size)?));
        for _ in 0..setup.repeats {
            let outcome = Setup::trial(&plan, &format!("{size} bytes"), watch)?;
            if let Some(received) = &outcome.received {
                times.add(&received.times);
                lost += received.counts.lost;
            }
            late = late.max(
                outcome
                    .sent
                    .as_ref()
                    .and_then(|sent| sent.lateness.summary())
                    .map_or(0, |late| late.max),
            );
            notes.extend(outcome.notes);
        }
        whole &= lost == 0;
        let Some(summary) = times.summary() else {
            return Err(ScenarioError::Missing(
                "nothing came: is what is between target and sink running?",
            ));
        };
        let mut cells = vec![
            Cell::count(size as u64),
            Cell::count(lost),
            Cell::time(late),
        ];
        cells.extend(stream::time_cells(&summary));
        rows.push(cells);
        let points = times
            .curve()
            .into_iter()
            .map(|point| (point.quantile, point.ns as f64 / 1e3));
        lines.push((format!("{size} bytes"), points.collect()));
    }
    notes.dedup();
    let mut columns: Vec<_> = [
        ("size", "bytes"),
        ("lost", "lost"),
        ("late_max_ns", "latest sent"),
    ]
    .map(|(key, name)| (key, name.to_owned()))
    .to_vec();
    columns.extend(stream::time_columns());
    Ok(Report {
        title: "latency".to_owned(),
        about: ABOUT.to_owned(),
        parameters: setup.facts(),
        result: if whole {
            "latency without loss".to_owned()
        } else {
            "datagrams were lost: latency is of those that came".to_owned()
        },
        good: whole,
        tables: vec![Table {
            key: "latency",
            title: "Latency, microseconds".to_owned(),
            columns,
            rows,
        }],
        plots: vec![Plot {
            key: "latency",
            title: "Latency by share of datagrams".to_owned(),
            axes: Axes::Quantiles,
            y: "microseconds".to_owned(),
            lines,
        }],
        notes,
    })
}
