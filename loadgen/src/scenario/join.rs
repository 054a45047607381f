//! From joining to the first datagram, while the stream runs (RFC 3918, group join delay). With a command, from its start: a
//! receiver that decrypts has to start, renew its session, fetch its key and join before anything comes out of it.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sealcast_net::clock;

use super::{ScenarioError, Setup, Watch};
use crate::control::OpenError;
use crate::latency::Times;
use crate::outcome::Outcome;
use crate::report::{Cell, Fact, Report, Table};
use crate::run::{Plan, run};
use crate::source::Source;

/// So long at most is waited for the first datagram.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// How long the generator runs before the first trial.
const LEAD: Duration = Duration::from_millis(300);

const ABOUT: &str = "\
    Group join delay after RFC 3918, seen from the host that joins: the stream runs; in each trial a sink is opened and the \
    time to its first whole datagram is measured. Half the distance between two datagrams is part of it. With a command, \
    that is started in each trial while the sink waits at its output, the time is from its start: it has everything in it \
    that a new receiver has to do until the first decrypted datagram.";

pub(super) fn run_scenario(setup: &Setup, watch: Watch<'_>) -> Result<Report, ScenarioError> {
    let size = setup.plan.source.as_ref().map_or(1316, Source::longest);
    let mut sending = setup.plan.clone();
    sending.sinks.clear();
    let mut traffic = setup.traffic(size)?;
    traffic.duration = LEAD + (WAIT_MAX + Duration::from_secs(1)) * setup.repeats;
    sending.source = Some(Source::Shape(traffic));
    let done = AtomicBool::new(false);
    let trials = std::thread::scope(|scope| {
        let generator = scope.spawn(|| run(&sending, &mut |_| !done.load(Ordering::Relaxed)));
        std::thread::sleep(LEAD);
        let trials = trials(setup, watch);
        done.store(true, Ordering::Relaxed);
        match generator.join() {
            Ok(Ok(_)) => trials,
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                Err(OpenError::Io(std::io::Error::other("the generator's thread failed")).into())
            }
        }
    })?;
    Ok(report(setup, &trials))
}

/// Nanoseconds of each trial; `None` where nothing came.
fn trials(setup: &Setup, watch: Watch<'_>) -> Result<Vec<Option<u64>>, ScenarioError> {
    let mut alone = setup.plan.clone();
    (alone.source, alone.limit) = (None, Some(WAIT_MAX));
    (1..=setup.repeats)
        .map(|trial| {
            let what = format!("trial {trial} of {}", setup.repeats);
            match &setup.command {
                None => first(&alone, &what, watch).map(|outcome| joined(&outcome)),
                Some(command) => started(&alone, command, &what, watch),
            }
        })
        .collect()
}

/// Runs sinks alone until something comes.
fn first(alone: &Plan, what: &str, watch: Watch<'_>) -> Result<Outcome, ScenarioError> {
    let mut stopped = false;
    let outcome = run(alone, &mut |sample| {
        stopped |= !watch(what, sample);
        !stopped && sample.received == 0
    })?;
    if stopped {
        Err(ScenarioError::Stopped)
    } else {
        Ok(outcome)
    }
}

fn joined(outcome: &Outcome) -> Option<u64> {
    let sinks = outcome.received.iter().flat_map(|received| &received.sinks);
    sinks.filter_map(|sink| sink.join_ns).min()
}

/// Starts the command while the sinks wait at its output.
fn started(
    alone: &Plan,
    command: &str,
    what: &str,
    watch: Watch<'_>,
) -> Result<Option<u64>, ScenarioError> {
    let failed = |why: String| ScenarioError::Command {
        command: command.to_owned(),
        why,
    };
    let mut child: Option<(u64, Child)> = None;
    let mut trouble = None;
    let begin = Instant::now();
    let outcome = first(alone, what, &mut |what, sample| {
        match &mut child {
            // The sinks are open once there is something to see; a moment later nothing of the last trial is under way.
            None if begin.elapsed() < LEAD => {}
            None => match shell(command).spawn() {
                Ok(running) => child = Some((clock::boottime(), running)),
                Err(error) => trouble = Some(error.to_string()),
            },
            Some((_, running)) => {
                if let Ok(Some(status)) = running.try_wait() {
                    trouble = Some(format!("it ended ({status}) before anything came"));
                }
            }
        }
        watch(what, sample) && trouble.is_none()
    });
    let start = child.as_ref().map(|(start, _)| *start);
    if let Some((_, mut running)) = child {
        // It may have ended by itself.
        let _ = running.kill();
        let _ = running.wait();
    }
    match (trouble, outcome) {
        (Some(why), _) => Err(failed(why)),
        (None, outcome) => {
            let outcome = outcome?;
            let Some(start) = start else {
                return Err(failed(
                    "datagrams come without it: stop what sends to the sink".to_owned(),
                ));
            };
            let sinks = outcome.received.iter().flat_map(|received| &received.sinks);
            let first = sinks.filter_map(|sink| sink.first_ns).min();
            Ok(first.map(|first| first.saturating_sub(start)))
        }
    }
}

/// The command in place of a shell, so that killing it kills no shell only.
fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("exec {command}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    shell
}

fn report(setup: &Setup, trials: &[Option<u64>]) -> Report {
    let mut times = Times::default();
    trials.iter().flatten().for_each(|&ns| times.record(ns));
    let row = |(trial, ns): (usize, &Option<u64>)| {
        let ms = ns.map_or_else(Cell::none, |ns| Cell::number(ns as f64 / 1e6, 2));
        vec![Cell::count(trial as u64 + 1), ms]
    };
    let came = trials.iter().flatten().count();
    let mut parameters = setup.facts();
    let command = setup
        .command
        .as_deref()
        .unwrap_or("none: the sink itself joins");
    parameters.push(Fact {
        key: "command",
        name: "command",
        cell: Cell::words(command),
    });
    Report {
        title: "join".to_owned(),
        about: ABOUT.to_owned(),
        parameters,
        result: times.summary().map_or_else(
            || "nothing came in any trial".to_owned(),
            |summary| {
                let ms = |ns: u64| ns as f64 / 1e6;
                format!(
                    "first datagram after {:.2} ms (median), {:.2} to {:.2} ms, in {came} of {} trials",
                    ms(summary.p50),
                    ms(summary.min),
                    ms(summary.max),
                    trials.len()
                )
            },
        ),
        good: came == trials.len() && came > 0,
        tables: vec![Table {
            key: "trials",
            title: "Milliseconds to the first datagram".to_owned(),
            columns: vec![("trial", "trial".to_owned()), ("first_ms", "ms".to_owned())],
            rows: trials.iter().enumerate().map(row).collect(),
        }],
        plots: Vec::new(),
        notes: Vec::new(),
    }
}
