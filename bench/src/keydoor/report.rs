//! What a run came to: rows, and tables of them.

use std::fmt::Write as _;

use serde::Serialize;

use super::parts::Alone;
use super::run::Turn;
use crate::stats::Spread;
use crate::table::Table;

/// One line of a table: medians over the rounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub(super) enum Row {
    /// An answer without a network.
    Parts {
        /// Bytes of a request.
        request: usize,
        /// Bytes of its reply.
        reply: usize,
        /// Nanoseconds of sealing and opening.
        crypto_ns: Spread,
        /// Nanoseconds of all that the door does.
        answer_ns: Spread,
    },
    /// Requests at a rate.
    Rate {
        /// Who answers: a door, or nobody (`bare`: the same system calls, and replies without content).
        server: &'static str,
        /// Per second, as asked for.
        rate: u32,
        /// Per second that were sent, thousands.
        offered: Spread,
        /// Per second that were answered, thousands.
        answered: Spread,
        /// Requests without any answer, in all rounds.
        lost: u64,
        /// Of which the kernel dropped in front of the door, as it tells.
        dropped: u64,
        /// Answers that gave no key, or not this one.
        wrong: u64,
        /// Share of the door's core.
        busy: Spread,
        /// Microseconds of it for one answer.
        each_us: Spread,
        /// Share of that in system calls (all that is not the answer as it is alone), and in sealing and opening.
        calls: Spread,
        /// The same.
        crypto: Spread,
        /// Milliseconds from when a request was due to its answer.
        p50_ms: Spread,
        /// The same.
        p99_ms: Spread,
    },
}

pub(super) fn rows(parts: &[Alone], turns: &[Turn], bare: &[Turn]) -> Vec<Row> {
    let alone = |of: fn(&Alone) -> f64| Spread::of(&parts.iter().map(of).collect::<Vec<_>>());
    let (request, reply) = parts[0].lengths;
    let mut rows = vec![Row::Parts {
        request,
        reply,
        crypto_ns: alone(|part| part.crypto),
        answer_ns: alone(|part| part.answer),
    }];
    let own = (
        alone(|part| part.answer).median,
        alone(|part| part.crypto).median,
    );
    rows.extend(rates("door", turns, own));
    rows.extend(rates("bare", bare, (0.0, 0.0)));
    rows
}

/// Rows of one server; `answer` and `crypto` nanoseconds are its own.
fn rates(server: &'static str, turns: &[Turn], (answer, crypto): (f64, f64)) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut rates: Vec<u32> = turns.iter().map(|turn| turn.rate).collect();
    rates.sort_unstable();
    rates.dedup();
    for rate in rates {
        let its: Vec<_> = turns.iter().filter(|turn| turn.rate == rate).collect();
        let spread = |of: &dyn Fn(&Turn) -> f64| {
            Spread::of(&its.iter().map(|turn| of(turn)).collect::<Vec<_>>())
        };
        let sum = |of: fn(&Turn) -> u64| its.iter().map(|turn| of(turn)).sum();
        let quantile = |q: f64| spread(&|turn| turn.got.latency.value_at_quantile(q) as f64 / 1e6);
        let each_ns = |turn: &Turn| turn.got.busy * 1e9 / turn.got.answered.max(1.0);
        rows.push(Row::Rate {
            server,
            rate,
            offered: spread(&|turn| turn.got.offered / 1e3),
            answered: spread(&|turn| turn.got.answered / 1e3),
            lost: sum(|turn| turn.got.lost),
            dropped: sum(|turn| turn.dropped),
            wrong: sum(|turn| turn.got.wrong),
            busy: spread(&|turn| turn.got.busy),
            each_us: spread(&|turn| each_ns(turn) / 1e3),
            calls: spread(&|turn| (1.0 - answer / each_ns(turn)).max(0.0)),
            crypto: spread(&|turn| crypto / each_ns(turn)),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
        });
    }
    rows
}

pub(super) fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut rates = Table::new(
        0,
        &[
            "server",
            "offered k/s",
            "answered k/s",
            "lost",
            "dropped",
            "wrong",
            "core busy",
            "us an answer",
            "calls",
            "crypto",
            "p50 ms",
            "p99 ms",
        ],
    );
    for row in rows {
        match row {
            Row::Parts {
                request,
                reply,
                crypto_ns,
                answer_ns,
            } => {
                let _ = writeln!(
                    text,
                    "A request has {request} bytes, its reply {reply}. An answer without a network takes {} ns, of which sealing and \
                     opening {} ns.\n",
                    answer_ns.words(0),
                    crypto_ns.words(0)
                );
            }
            Row::Rate {
                server,
                offered,
                answered,
                lost,
                dropped,
                wrong,
                busy,
                each_us,
                calls,
                crypto,
                p50_ms,
                p99_ms,
                ..
            } => {
                rates.row(vec![
                    (*server).to_owned(),
                    offered.words(0),
                    answered.words(0),
                    lost.to_string(),
                    dropped.to_string(),
                    wrong.to_string(),
                    busy.percent(),
                    each_us.words(2),
                    calls.percent(),
                    crypto.percent(),
                    p50_ms.words(2),
                    p99_ms.words(2),
                ]);
            }
        }
    }
    let _ = write!(text, "{rates}");
    text
}
