//! Named measurements after RFC 3918 (and the trials of RFC 2544 that it builds on), as far as they apply to one sender and its
//! receivers. Trials are shorter and fewer than the RFCs ask for: each report says how long and how many.

mod capacity;
mod encapsulation;
mod join;
mod latency;
mod throughput;

use std::time::Duration;

use crate::control::OpenError;
use crate::outcome::{Outcome, Sample};
use crate::report::{Cell, Fact, Report};
use crate::run::{Plan, run};
use crate::schedule::{Traffic, TrafficError};
use crate::source::Source;

pub use throughput::Search;

/// Bytes of payload that are tried where none are named: from 64 to what fills an Ethernet frame, and seven TS packets.
pub const SIZES: [usize; 7] = [64, 128, 256, 512, 1024, 1316, 1472];

/// A named measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scenario {
    /// Aggregated multicast throughput: the highest rate at which nothing is lost.
    AggregatedThroughput,
    /// Multicast group capacity: how many groups at once.
    GroupCapacity,
    /// Multicast latency, and min/max latency: least, mean, greatest.
    Latency,
    /// Group join delay: from joining to the first datagram; with a command, from its start.
    Join,
    /// Encapsulation and decapsulation throughput: what sealing and opening cost.
    Encapsulation,
}

/// With what.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where to send and receive, and what; its duration is replaced by the trial's.
    pub plan: Plan,
    /// Of one trial.
    pub trial: Duration,
    /// Trials of each point, at least 1.
    pub repeats: u32,
    /// Bytes of payload, one after the other.
    pub sizes: Vec<usize>,
    /// Of [`Scenario::Join`]: what is started for each trial, and killed after it.
    pub command: Option<String>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A socket or shard.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The traffic.
    #[error(transparent)]
    Traffic(#[from] TrafficError),
    /// Nothing to measure with.
    #[error("{0}")]
    Missing(&'static str),
    /// A command that is to bring datagrams.
    #[error("the command {command:?}: {why}")]
    Command {
        /// As given.
        command: String,
        /// Why.
        why: String,
    },
    /// It was told to stop.
    #[error("stopped before there was a result")]
    Stopped,
}

/// Sees what is being tried and where it stands; says whether to go on.
pub type Watch<'a> = &'a mut dyn FnMut(&str, &Sample) -> bool;

impl Scenario {
    /// Runs it.
    ///
    /// # Errors
    /// [`ScenarioError`] when it has no result.
    pub fn run(self, setup: &Setup, watch: Watch<'_>) -> Result<Report, ScenarioError> {
        for &size in &setup.sizes {
            setup.traffic(size)?.check()?;
        }
        if self != Self::Encapsulation
            && (setup.plan.targets.is_empty() || setup.plan.sinks.is_empty())
        {
            return Err(ScenarioError::Missing(
                "this scenario needs a target and a sink (--sink)",
            ));
        }
        match self {
            Self::AggregatedThroughput => throughput::run(setup, watch),
            Self::GroupCapacity => capacity::run(setup, watch),
            Self::Latency => latency::run(setup, watch),
            Self::Join => join::run_scenario(setup, watch),
            Self::Encapsulation => encapsulation::run(setup, watch),
        }
    }
}

impl Setup {
    /// The traffic of a trial with payloads of `size` bytes.
    fn traffic(&self, size: usize) -> Result<Traffic, ScenarioError> {
        let traffic = match &self.plan.source {
            Some(Source::Shape(traffic)) => traffic,
            Some(Source::Trace(_)) => {
                return Err(ScenarioError::Missing(
                    "scenarios choose rates and sizes themselves: leave the trace out",
                ));
            }
            None => return Err(ScenarioError::Missing("this scenario needs a target")),
        };
        Ok(Traffic {
            len: size,
            duration: self.trial,
            ..traffic.clone()
        })
    }

    /// Runs a trial of `plan`.
    fn trial(plan: &Plan, what: &str, watch: Watch<'_>) -> Result<Outcome, ScenarioError> {
        let mut stopped = false;
        let outcome = run(plan, &mut |sample| {
            stopped |= !watch(what, sample);
            !stopped
        })?;
        if stopped {
            Err(ScenarioError::Stopped)
        } else {
            Ok(outcome)
        }
    }

    fn facts(&self) -> Vec<Fact> {
        let fact = |key, name, cell| Fact { key, name, cell };
        vec![
            fact(
                "trial_s",
                "seconds of a trial",
                Cell::number(self.trial.as_secs_f64(), 1),
            ),
            fact(
                "repeats",
                "trials of each point",
                Cell::count(self.repeats.into()),
            ),
        ]
    }
}

/// Whether everything was sent when it was due, about, and came whole.
fn is_clean(outcome: &Outcome, duration: Duration) -> bool {
    let in_time = duration.mul_f64(1.05) + Duration::from_millis(50);
    let sent = outcome.sent.as_ref().is_some_and(|sent| {
        sent.unsent == 0 && sent.now.refused == 0 && u128::from(sent.took) <= in_time.as_nanos()
    });
    sent && outcome.received.as_ref().is_some_and(|received| {
        received.counts.received > 0 && received.counts.lost == 0 && received.counts.corrupt == 0
    })
}
