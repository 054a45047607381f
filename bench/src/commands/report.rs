//! What a run came to: rows, and a table of them.

use serde::Serialize;

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
        /// Connections.
        connections: u16,
        /// Commands of one request; 0: the time is asked.
        per_request: u16,
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
    /// One command per transaction, without HTTP.
    Plain {
        /// Commands per second.
        rate: Spread,
    },
}

pub(super) fn rows(turns: &[Turn], plain: &[f64]) -> Vec<Row> {
    let mut kinds: Vec<_> = turns
        .iter()
        .map(|turn| (turn.store, turn.connections, turn.per_request))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut rows: Vec<_> = kinds
        .into_iter()
        .map(|(store, connections, per_request)| {
            let its: Vec<_> = turns
                .iter()
                .filter(|turn| {
                    (turn.store, turn.connections, turn.per_request)
                        == (store, connections, per_request)
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
                connections,
                per_request,
                rate,
                ratio: rate.median / median(plain),
                batch: spread(&|turn| turn.batch),
                p50_ms: quantile(0.5),
                p99_ms: quantile(0.99),
            }
        })
        .collect();
    rows.push(Row::Plain {
        rate: Spread::of(plain),
    });
    rows
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
                connections,
                per_request,
                rate,
                ratio,
                batch,
                p50_ms,
                p99_ms,
            } => vec![
                match (per_request, store) {
                    (0, Kind::Embedded) => "none: the time is asked".to_owned(),
                    (0, Kind::Postgres) => "none: the time is asked, PostgreSQL".to_owned(),
                    (_, Kind::Embedded) => "over HTTPS".to_owned(),
                    (_, Kind::Postgres) => "over HTTPS, PostgreSQL".to_owned(),
                },
                connections.to_string(),
                per_request.to_string(),
                rate.words(0),
                format!("{ratio:.1}"),
                batch.words(0),
                p50_ms.words(2),
                p99_ms.words(2),
            ],
            Row::Plain { rate } => vec![
                "one per transaction".to_owned(),
                none(),
                none(),
                rate.words(0),
                "1.0".to_owned(),
                "1".to_owned(),
                none(),
                none(),
            ],
        });
    }
    table.to_string()
}
