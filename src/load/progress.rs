//! Where a run stands, on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sealcast_loadgen::outcome::Sample;
use sealcast_loadgen::run::Plan;
use sealcast_loadgen::source::Source;

/// A line on a terminal; nothing in a pipe.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of what has no end that is known.
    pub(super) fn endless() -> Self {
        Self(spinner())
    }

    /// Of a run; a bar if its length is known.
    pub(super) fn new(plan: &Plan) -> Self {
        let source = plan.source.as_ref().map(Source::duration);
        let Some(length) = source.or(plan.limit) else {
            return Self::endless();
        };
        let bar = ProgressBar::new(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
        Self(bar.with_style(style("{bar:30} {elapsed} {msg}")))
    }

    /// Where a run stands.
    pub(super) fn show(&self, sample: &Sample) {
        self.0.set_position(millis(sample));
        self.0.set_message(format!(
            "sent {}, received {}, lost {}",
            sample.sent, sample.received, sample.lost
        ));
    }

    /// What is being tried.
    pub(super) fn tick(&self, what: &str, sample: &Sample) {
        self.0.set_message(what.to_owned());
        self.0.set_position(millis(sample));
    }

    /// Where something else stands.
    pub(super) fn say(&self, what: String) {
        self.0.set_message(what);
        self.0.tick();
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// Milliseconds since the start.
fn millis(sample: &Sample) -> u64 {
    let at = Duration::try_from_secs_f64(sample.at).unwrap_or_default();
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

fn spinner() -> ProgressBar {
    ProgressBar::new_spinner().with_style(style("{spinner} {elapsed} {msg}"))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are good")
}
