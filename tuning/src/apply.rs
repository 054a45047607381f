//! From findings to changes: a plan, what it would do, doing it with a journal, undoing it.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::finding::{Fix, Severity};
use crate::host::Host;
use crate::journal::{Journal, JournalError};
use crate::report::Report;
use crate::setting::{Change, Setting, SettingError, same};

/// Changes to make, each setting once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    changes: Vec<Change>,
}

/// What became of one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was, or would be, changed.
    #[serde(flatten)]
    pub setting: Setting,
    /// The value it had; absent if it cannot be read.
    pub from: Option<String>,
    /// The value it is to have.
    pub to: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it failed or was left.
    pub reason: Option<String>,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It would be done (dry run).
    Would,
    /// Done.
    Done,
    /// It had the value already.
    Already,
    /// Undoing: somebody changed it since, so it was left as it is.
    Left,
    /// Undoing: it is not there any more, for example an interface.
    Gone,
    /// It failed.
    Failed,
}

impl Plan {
    /// What would put right warnings and errors. Notes are not acted upon.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let mut changes: Vec<Change> = Vec::new();
        let findings = report.findings.iter();
        let matter = findings.filter(|finding| finding.severity >= Severity::Warning);
        for fix in matter.flat_map(|finding| &finding.fixes) {
            if let Fix::Set(change) = fix
                && !changes.iter().any(|other| other.setting == change.setting)
            {
                changes.push(change.clone());
            }
        }
        Self { changes }
    }

    /// The changes.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What [`Self::apply`] would do now. Touches nothing.
    #[must_use]
    pub fn dry_run(&self, host: &Host) -> Vec<Step> {
        let step = |change: &Change| {
            let now = change.setting.read(host);
            let outcome = match &now {
                Ok(now) if same(now, &change.value) => Outcome::Already,
                Ok(_) => Outcome::Would,
                Err(_) => Outcome::Failed,
            };
            let reason = now.as_ref().err().map(SettingError::to_string);
            Step::new(change, now.ok(), outcome, reason)
        };
        self.changes.iter().map(step).collect()
    }

    /// Makes the changes, each noted in the journal before. A step that fails does not stop the others.
    ///
    /// # Errors
    /// When the journal cannot be written: nothing more is changed then.
    pub fn apply(&self, host: &Host, journal: &Path) -> Result<Vec<Step>, JournalError> {
        let mut journal = Journal::begin(host, journal)?;
        self.changes
            .iter()
            .map(|change| make(host, &mut journal, change))
            .collect()
    }
}

impl Step {
    fn new(
        change: &Change,
        from: Option<String>,
        outcome: Outcome,
        reason: Option<String>,
    ) -> Self {
        Self {
            setting: change.setting.clone(),
            from,
            to: change.value.clone(),
            outcome,
            reason,
        }
    }
}

fn make(host: &Host, journal: &mut Journal, change: &Change) -> Result<Step, JournalError> {
    let Change { setting, value } = change;
    let now = match setting.read(host) {
        Ok(now) => now,
        Err(error) => {
            return Ok(Step::new(
                change,
                None,
                Outcome::Failed,
                Some(error.to_string()),
            ));
        }
    };
    let step = |outcome, reason| Step::new(change, Some(now.clone()), outcome, reason);
    if same(&now, value) {
        return Ok(step(Outcome::Already, None));
    }
    let earlier = journal.note(setting, &now, value)?;
    let Err(error) = setting.write(host, value) else {
        return Ok(step(Outcome::Done, None));
    };
    match &error {
        // Something was changed: it stays noted, with the value it has.
        SettingError::NotTaken { has } if !same(has, &now) => {
            journal.note(setting, &now, has)?;
        }
        _ => journal.put_back(setting, earlier)?,
    }
    Ok(step(Outcome::Failed, Some(error.to_string())))
}

/// Puts former values back, the last change first, and removes the journal when nothing in it failed. What somebody else
/// has changed since is left alone.
///
/// # Errors
/// When there is no journal, or it cannot be read or written.
pub fn undo(host: &Host, journal: &Path) -> Result<Vec<Step>, JournalError> {
    let mut journal = Journal::open(host, journal)?;
    let entries = journal.entries().to_vec();
    let mut steps = Vec::new();
    for entry in entries.iter().rev() {
        let change = Change {
            setting: entry.setting.clone(),
            value: entry.former.clone(),
        };
        let step = take_back(host, &change, &entry.given);
        if step.outcome != Outcome::Failed {
            journal.remove(&entry.setting)?;
        }
        steps.push(step);
    }
    // A journal of an earlier boot has no entries, and goes here.
    journal.save()?;
    Ok(steps)
}

fn take_back(host: &Host, change: &Change, given: &str) -> Step {
    let now = match change.setting.read(host) {
        Ok(now) => now,
        Err(SettingError::Gone) => return Step::new(change, None, Outcome::Gone, None),
        Err(error) => return Step::new(change, None, Outcome::Failed, Some(error.to_string())),
    };
    let step = |outcome, reason| Step::new(change, Some(now.clone()), outcome, reason);
    if same(&now, &change.value) {
        return step(Outcome::Already, None);
    }
    if !same(&now, given) {
        let reason = format!("it was changed since: the doctor had set {given}");
        return step(Outcome::Left, Some(reason));
    }
    match change.setting.write(host, &change.value) {
        Ok(()) => step(Outcome::Done, None),
        Err(error) => step(Outcome::Failed, Some(error.to_string())),
    }
}

/// Steps for people, one a line, each with what a person would type for it.
#[must_use]
pub fn to_text(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        let word = match step.outcome {
            Outcome::Would => "would do",
            Outcome::Done => "done",
            Outcome::Already => "is so",
            Outcome::Left => "left",
            Outcome::Gone => "gone",
            Outcome::Failed => "FAILED",
        };
        let from = step.from.as_deref().unwrap_or("not known");
        let by_hand = step.setting.by_hand(&step.to);
        let _ = write!(text, "{word:<9} {by_hand}   (was {from})");
        let _ = match &step.reason {
            Some(reason) => writeln!(text, ": {reason}"),
            None => writeln!(text),
        };
    }
    text
}
