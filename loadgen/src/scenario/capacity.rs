//! How many groups, or channels, carry datagrams at once without loss (RFC 3918, multicast group capacity).

use super::{ScenarioError, Setup, Watch, is_clean};
use crate::outcome::Outcome;
use crate::report::{Cell, Report, Table};
use crate::source::Source;

const ABOUT: &str = "\
    Multicast group capacity after RFC 3918: the same rate in all is spread over more and more groups (targets), each joined \
    by a sink of its own, as long as every sink gets every datagram of its group. The number told is the highest that passed \
    with all below it. RFC 2544 asks for trials of 60 s; these are as long as the parameters say.";

/// Numbers of groups to try, up to `all`, which is the last.
fn steps(all: usize) -> Vec<usize> {
    let decades = [10, 100, 1000]
        .into_iter()
        .flat_map(|ten| [ten, ten * 2, ten * 5]);
    decades.filter(|&step| step < all).chain([all]).collect()
}

pub(super) fn run(setup: &Setup, watch: Watch<'_>) -> Result<Report, ScenarioError> {
    let all = setup.plan.targets.len();
    if setup.plan.sinks.len() != all {
        return Err(ScenarioError::Missing(
            "group-capacity needs as many sinks as targets: give both the same --groups or --ports",
        ));
    }
    let size = setup
        .traffic(1316)?
        .len
        .min(setup.sizes.first().copied().unwrap_or(1316));
    let (mut rows, mut capacity, mut failed) = (Vec::new(), None, false);
    for groups in steps(all) {
        let mut plan = setup.plan.clone();
        plan.targets.truncate(groups);
        plan.sinks.truncate(groups);
        let mut traffic = setup.traffic(size)?;
        traffic.flows = u32::try_from(groups).unwrap_or(u32::MAX);
        traffic.check()?;
        plan.source = Some(Source::Shape(traffic));
        for _ in 0..setup.repeats {
            let outcome = Setup::trial(&plan, &format!("{groups} groups"), watch)?;
            let passed = is_clean(&outcome, setup.trial) && all_served(&outcome);
            failed |= !passed;
            rows.push(row(groups, &outcome, passed));
        }
        if failed {
            break;
        }
        capacity = Some(groups);
    }
    Ok(Report {
        title: "group-capacity".to_owned(),
        about: ABOUT.to_owned(),
        parameters: setup.facts(),
        result: match capacity {
            Some(groups) if groups == all => format!("all {all} groups at once, without loss"),
            Some(groups) => format!("{groups} groups at once, without loss"),
            None => "not even the fewest groups came without loss".to_owned(),
        },
        good: capacity.is_some(),
        tables: vec![Table {
            key: "capacity",
            title: "Groups at once".to_owned(),
            columns: [
                ("groups", "groups"),
                ("sent", "sent"),
                ("received", "received"),
                ("lost", "lost"),
                ("least_of_a_group", "least of a group"),
                ("passed", "passed"),
            ]
            .map(|(key, name)| (key, name.to_owned()))
            .to_vec(),
            rows,
        }],
        plots: Vec::new(),
        notes: Vec::new(),
    })
}

/// The fewest datagrams that a sink got.
fn least(outcome: &Outcome) -> u64 {
    let sinks = outcome.received.iter().flat_map(|received| &received.sinks);
    sinks.map(|sink| sink.counts.received).min().unwrap_or(0)
}

fn all_served(outcome: &Outcome) -> bool {
    least(outcome) > 0
}

fn row(groups: usize, outcome: &Outcome, passed: bool) -> Vec<Cell> {
    let counts = outcome
        .received
        .as_ref()
        .map(|received| received.counts)
        .unwrap_or_default();
    let sent = outcome.sent.as_ref().map_or(0, |sent| sent.now.packets);
    vec![
        Cell::count(groups as u64),
        Cell::count(sent),
        Cell::count(counts.received),
        Cell::count(counts.lost),
        Cell::count(least(outcome)),
        Cell {
            value: passed.into(),
            text: if passed { "yes" } else { "no" }.to_owned(),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_is_all_of_them() {
        assert_eq!(steps(1), [1]);
        assert_eq!(steps(60), [10, 20, 50, 60]);
        assert_eq!(steps(100), [10, 20, 50, 100]);
    }
}
