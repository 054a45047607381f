//! Many transfers, from a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use reqwest::Method;
use sealcast_objects::api::{NamedTransfer, TransferList, TransferOutcome, TransferOutcomes};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_terminal::https::RequestError;

use super::{Api, Done};

/// Transfers of one request: with notes of 200 characters they are still within a body.
const AT_ONCE: usize = 64;

fn unreadable(what: &str, why: impl std::fmt::Display) -> RequestError {
    RequestError::Refused(Problem::new(Kind::Invalid, format!("{what}: {why}")))
}

/// All of the file, before anything is made.
fn read(file: &Path) -> Result<Vec<NamedTransfer>, RequestError> {
    let name = file.display().to_string();
    let lines: Box<dyn BufRead> = if name == "-" {
        Box::new(io::stdin().lock())
    } else {
        let opened = File::open(file).map_err(|error| unreadable(&name, error))?;
        Box::new(BufReader::new(opened))
    };
    let mut transfers = Vec::new();
    for (number, line) in (1..).zip(lines.lines()) {
        let at = format!("{name}, line {number}");
        let line = line.map_err(|error| unreadable(&at, error))?;
        if !line.trim().is_empty() {
            let named = serde_json::from_str(&line).map_err(|error| unreadable(&at, error))?;
            transfers.push(named);
        }
    }
    Ok(transfers)
}

/// Makes the transfers of a file: the same file again makes what was not made.
pub(super) fn run(api: &Api, file: &Path) -> Done {
    let (mut counts, mut first) = (BTreeMap::<_, u64>::new(), None);
    for part in read(file)?.chunks(AT_ONCE) {
        let list = TransferList {
            transfers: part.to_vec(),
        };
        let done: TransferOutcomes = api.call(Method::PUT, "/v1/transfers", Some(&list))?;
        for (named, outcome) in part.iter().zip(&done.outcomes) {
            let (word, why) = match outcome {
                TransferOutcome::Made { .. } => ("made", None),
                TransferOutcome::Before { .. } => ("made before", None),
                TransferOutcome::Waits { .. } => ("waiting for a second person", None),
                TransferOutcome::Refused { problem } => ("refused", Some(problem)),
            };
            *counts.entry(word).or_default() += 1;
            if let Some(problem) = why {
                api.show(outcome, |_| format!("{}: {}", named.id, problem.detail));
                first.get_or_insert_with(|| problem.clone());
            } else if api.json {
                api.show(outcome, |_| String::new());
            }
        }
    }
    if !api.json {
        let words = counts.iter().map(|(word, count)| format!("{count} {word}"));
        api.show(&(), |()| words.collect::<Vec<_>>().join(", "));
    }
    first.map_or(Ok(()), |problem| Err(RequestError::Refused(problem)))
}
