//! What a rule found: what, why it matters, what it costs, what to do.

use std::fmt;

use serde::Serialize;

use crate::setting::Change;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Good to know, or not known.
    Note,
    /// It works, but slower, or at a risk.
    Warning,
    /// sealcast will not run, or will lose packets.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// What puts it right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Fix {
    /// A setting that `--fix` changes (of warnings and errors).
    Set(Change),
    /// What a person has to do.
    Advice(Advice),
}

/// What a person has to do, in words. In JSON of kind `advice`, beside the kinds of settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename = "advice")]
pub struct Advice {
    /// The words.
    pub text: String,
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(change) => write!(f, "{change}"),
            Self::Advice(advice) => f.write_str(&advice.text),
        }
    }
}

/// One finding of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which rule.
    pub rule: &'static str,
    /// What it is about when a rule speaks of several: an interface.
    pub subject: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// The fact could not be read; the severity is then a note.
    pub unknown: bool,
    /// What is so.
    pub what: String,
    /// Why it matters; empty when all is well.
    pub why: String,
    /// What it costs, in numbers where they are known.
    pub cost: Option<String>,
    /// What puts it right; empty when nothing has to be done or nothing can.
    pub fixes: Vec<Fix>,
}

impl Finding {
    fn new(
        rule: &'static str,
        severity: Severity,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self {
            rule,
            subject: None,
            severity,
            unknown: false,
            what: what.into(),
            why: why.into(),
            cost: None,
            fixes: Vec::new(),
        }
    }

    pub(crate) fn ok(rule: &'static str, what: impl Into<String>) -> Self {
        Self::new(rule, Severity::Ok, what, "")
    }

    pub(crate) fn note(
        rule: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self::new(rule, Severity::Note, what, why)
    }

    pub(crate) fn warning(
        rule: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self::new(rule, Severity::Warning, what, why)
    }

    pub(crate) fn error(
        rule: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self::new(rule, Severity::Error, what, why)
    }

    /// The fact could not be read.
    pub(crate) fn unknown(
        rule: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self {
            unknown: true,
            ..Self::new(rule, Severity::Note, what, why)
        }
    }

    pub(crate) fn about(mut self, subject: &str) -> Self {
        self.subject = Some(subject.to_owned());
        self
    }

    pub(crate) fn costs(mut self, cost: impl Into<String>) -> Self {
        self.cost = Some(cost.into());
        self
    }

    pub(crate) fn fix(mut self, change: Change) -> Self {
        self.fixes.push(Fix::Set(change));
        self
    }

    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        let text = advice.into();
        self.fixes.push(Fix::Advice(Advice { text }));
        self
    }
}
