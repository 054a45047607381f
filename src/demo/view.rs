//! A live table on a terminal, plain lines in a pipe.

use std::io::IsTerminal as _;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use super::child::Child;

pub(super) struct View {
    lines: Vec<(&'static str, ProgressBar)>,
    all: MultiProgress,
}

impl View {
    pub(super) fn new() -> Self {
        let all = MultiProgress::new();
        let names = if std::io::stderr().is_terminal() {
            &["delivery server", "stays", "leaves", "joins"][..]
        } else {
            &[]
        };
        let style = ProgressStyle::with_template("  {prefix:16} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let line = |name: &&'static str| {
            let bar = all.add(ProgressBar::new_spinner().with_style(style.clone()));
            bar.set_prefix(*name);
            (*name, bar)
        };
        Self {
            lines: names.iter().map(line).collect(),
            all,
        }
    }

    /// Something happens.
    pub(super) fn say(&self, what: &str) {
        self.all.suspend(|| println!("- {what}"));
    }

    pub(super) fn show(&self, sender: &Child, receivers: [&Option<Child>; 3]) {
        let parts = std::iter::once(Some(sender)).chain(receivers.into_iter().map(Option::as_ref));
        for ((_, bar), child) in self.lines.iter().zip(parts) {
            bar.set_message(match child {
                None => "has not joined yet".to_owned(),
                Some(child) if child.has_ended() => "has left".to_owned(),
                Some(child) => line(&child.status()),
            });
        }
    }

    pub(super) fn clear(&self) {
        let _ = self.all.clear();
    }
}

fn line(status: &Value) -> String {
    let keys = &status["keys"];
    match keys["epoch"].as_u64() {
        None => "no key".to_owned(),
        Some(epoch) => format!(
            "epoch {epoch}, {} packets, {} switches{}{}",
            status["packets"],
            status["switches"],
            if status["holding"] == true {
                ", HOLDING"
            } else {
                ""
            },
            if keys["linked"] == false {
                ", no key server"
            } else {
                ""
            }
        ),
    }
}
