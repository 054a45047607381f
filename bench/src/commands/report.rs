//! What a run came to: rows, and a table of them.

use std::collections::BTreeSet;

use serde::Serialize;

use super::load::Ask;
use super::run::{Kind, Turn};
use crate::stats::{Spread, median};
use crate::table::Table;

/// One line of the table: medians over the rounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub(super) enum Row {
    /// Over HTTPS.
    Https {
        /// Which database.
        store: Kind,
        /// What is asked for.
        #[serde(flatten)]
        ask: Ask,
        /// Connections.
        connections: u16,
        /// Commands per second.
        rate: Spread,
        /// Times the baseline of the same run.
        ratio: f64,
        /// Commands in one transaction.
        batch: Spread,
        /// Milliseconds from the command to its answer.
        p50_ms: Spread,
        /// The same.
        p99_ms: Spread,
    },
    /// Without HTTP, so many at a time: of the first all others are multiples.
    Store {
        /// Commands that are under way together.
        batch: u16,
        /// Commands per second.
        rate: Spread,
        /// Times the baseline.
        ratio: f64,
    },
}

pub(super) fn rows(turns: &[Turn], plain: &[(u16, f64)]) -> Vec<Row> {
    let batches: BTreeSet<_> = plain.iter().map(|(batch, _)| *batch).collect();
    let of = |batch: u16| {
        let its = plain.iter().filter(|(its, _)| *its == batch);
        its.map(|(_, rate)| *rate).collect::<Vec<_>>()
    };
    let baseline = median(&of(1));
    let mut kinds: Vec<_> = turns
        .iter()
        .map(|turn| (turn.store, turn.connections, turn.ask))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut rows: Vec<_> = kinds
        .into_iter()
        .map(|(store, connections, ask)| {
            let its: Vec<_> = turns
                .iter()
                .filter(|turn| {
                    (turn.store, turn.connections, turn.ask) == (store, connections, ask)
                })
                .collect();
            let spread = |of: &dyn Fn(&Turn) -> f64| {
                Spread::of(&its.iter().map(|turn| of(turn)).collect::<Vec<_>>())
            };
            let quantile =
                |q: f64| spread(&|turn| turn.got.latency.value_at_quantile(q) as f64 / 1e6);
            let rate = spread(&|turn| turn.got.rate);
            Row::Https {
                store,
                ask,
                connections,
                rate,
                ratio: rate.median / baseline,
                batch: spread(&|turn| turn.batch),
                p50_ms: quantile(0.5),
                p99_ms: quantile(0.99),
            }
        })
        .collect();
    rows.extend(batches.into_iter().map(|batch| {
        let rate = Spread::of(&of(batch));
        Row::Store {
            batch,
            ratio: rate.median / baseline,
            rate,
        }
    }));
    rows
}

fn what(store: Kind, ask: Ask) -> String {
    let what = match ask {
        Ask::Time => "none: the time is asked",
        Ask::Transfers { .. } => "over HTTPS",
        Ask::Proved => "over HTTPS, proved each time",
    };
    match store {
        Kind::Embedded => what.to_owned(),
        Kind::Postgres => format!("{what}, PostgreSQL"),
    }
}

pub(super) fn text(rows: &[Row]) -> String {
    let mut table = Table::new(
        1,
        &[
            "commands",
            "connections",
            "in a request",
            "commands/s",
            "times the baseline",
            "in a transaction",
            "p50 ms",
            "p99 ms",
        ],
    );
    let none = || "-".to_owned();
    for row in rows {
        table.row(match row {
            Row::Https {
                store,
                ask,
                connections,
                rate,
                ratio,
                batch,
                p50_ms,
                p99_ms,
            } => vec![
                what(*store, *ask),
                connections.to_string(),
                match ask {
                    Ask::Time => none(),
                    Ask::Transfers { each } => each.to_string(),
                    Ask::Proved => "1".to_owned(),
                },
                rate.words(0),
                format!("{ratio:.1}"),
                batch.words(0),
                p50_ms.words(2),
                p99_ms.words(2),
            ],
            Row::Store { batch, rate, ratio } => vec![
                "without HTTP".to_owned(),
                none(),
                none(),
                rate.words(0),
                format!("{ratio:.1}"),
                batch.to_string(),
                none(),
                none(),
            ],
        });
    }
    table.to_string()
}
