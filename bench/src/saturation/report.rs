//! What was measured: medians over the rounds, for people and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::content::PAYLOAD;
use super::input::Taken;
use super::manifests::{Case, Vouched};
use super::options::Path;
use super::receiving::{Alone, Opened};
use super::sending::Sent;
use super::zero_copy::Cost;
use crate::stats::Spread;
use crate::table::Table;

/// All rounds of all that was measured.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) sent: Vec<(Path, Sent)>,
    pub(super) alone: Vec<(Path, Alone)>,
    pub(super) opened: Vec<(Path, u32, Opened)>,
    pub(super) taken: Vec<(u32, Taken)>,
    pub(super) zero_copy: Vec<Cost>,
    pub(super) vouched: Vec<(Path, Vouched)>,
}

/// A line of a table. Rates are millions of datagrams per second.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "part", rename_all = "lowercase")]
pub(super) enum Row {
    /// Sealing, sending, and a channel that does both.
    Send {
        /// Between which ends.
        path: Path,
        /// Nanoseconds of a datagram alone: copying in and sealing.
        seal_ns: Spread,
        /// Sending what is sealed.
        send_ns: Spread,
        /// What both would allow one after the other.
        model: Spread,
        /// What the channel sent.
        whole: Spread,
        /// Its share of the model.
        share: Spread,
        /// Key changes meanwhile, in all rounds.
        key_changes: u64,
        /// Packets that the other end has not got, in all rounds: its socket's buffer was full.
        missing: u64,
    },
    /// Receiving and opening alone.
    Parts {
        /// Between which ends.
        path: Path,
        /// Nanoseconds of a datagram: taking it off the socket.
        receive_ns: Spread,
        /// Opening it.
        open_ns: Spread,
        /// What both would allow one after the other.
        model: Spread,
    },
    /// A channel that receives.
    Receive {
        /// Between which ends.
        path: Path,
        /// As asked for.
        rate: u32,
        /// What was sent.
        offered: Spread,
        /// What was opened and right.
        opened: Spread,
        /// Payloads, in all rounds.
        lost: u64,
        /// Datagrams.
        wrong: u64,
        /// Key changes.
        key_changes: u64,
        /// Share of the receiving core.
        busy: Spread,
    },
    /// A channel that gets single datagrams.
    Input {
        /// As asked for.
        rate: u32,
        /// What it was sent.
        offered: Spread,
        /// What came at the far end, sealed.
        sealed: Spread,
        /// Datagrams, in all rounds, that were not sealed.
        lost: u64,
        /// Packets that the far end has not got.
        missing: u64,
        /// Key changes.
        key_changes: u64,
        /// Share of the sending core.
        busy: Spread,
    },
    /// Manifests and key blocks: sending and receiving with and without.
    Manifests {
        /// Between which ends.
        path: Path,
        /// What there is beside packets.
        case: Case,
        /// Nanoseconds of a datagram: filling, sealing, vouching and sending it.
        send_ns: Spread,
        /// Its rate beside that of packets alone.
        send_share: Spread,
        /// Receiving (as alone), opening and verifying.
        receive_ns: Spread,
        /// Its rate beside that of packets alone.
        receive_share: Spread,
        /// Bytes of manifests (both copies) or key blocks beside those of packets.
        overhead: Spread,
    },
    /// Sends to an interface, with a copy and without.
    ZeroCopy {
        /// Of one send.
        datagrams: usize,
        /// Nanoseconds of a datagram.
        ordinary_ns: Spread,
        /// The same without copies.
        zero_copy_ns: Spread,
        /// Its share of the ordinary.
        share: Spread,
    },
}

/// Medians over the rounds.
pub(super) fn rows(rounds: &Rounds) -> Vec<Row> {
    let mut rows = Vec::new();
    for sent in groups(&rounds.sent, |(path, _)| *path) {
        rows.push(send(&sent));
    }
    for alone in groups(&rounds.alone, |(path, _)| *path) {
        rows.push(Row::Parts {
            path: alone[0].0,
            receive_ns: spread(&alone, |(_, alone)| alone.receive),
            open_ns: spread(&alone, |(_, alone)| alone.open),
            model: spread(&alone, |(_, alone)| 1e3 / (alone.receive + alone.open)),
        });
    }
    for opened in groups(&rounds.opened, |(path, rate, _)| (*path, *rate)) {
        let sum = |of: fn(&Opened) -> u64| opened.iter().map(|(_, _, opened)| of(opened)).sum();
        rows.push(Row::Receive {
            path: opened[0].0,
            rate: opened[0].1,
            offered: spread(&opened, |(_, _, opened)| opened.offered / 1e6),
            opened: spread(&opened, |(_, _, opened)| opened.opened / 1e6),
            lost: sum(|opened| opened.lost),
            wrong: sum(|opened| opened.wrong),
            key_changes: sum(|opened| opened.key_changes),
            busy: spread(&opened, |(_, _, opened)| opened.busy),
        });
    }
    for taken in groups(&rounds.taken, |(rate, _)| *rate) {
        let sum = |of: fn(&Taken) -> u64| taken.iter().map(|(_, taken)| of(taken)).sum();
        rows.push(Row::Input {
            rate: taken[0].0,
            offered: spread(&taken, |(_, taken)| taken.offered / 1e6),
            sealed: spread(&taken, |(_, taken)| taken.sealed / 1e6),
            lost: sum(|taken| taken.lost),
            missing: sum(|taken| taken.missing),
            key_changes: sum(|taken| taken.key_changes),
            busy: spread(&taken, |(_, taken)| taken.busy),
        });
    }
    for costs in groups(&rounds.vouched, |(path, cost)| (*path, cost.case)) {
        rows.push(Row::Manifests {
            path: costs[0].0,
            case: costs[0].1.case,
            send_ns: spread(&costs, |(_, cost)| cost.send),
            send_share: spread(&costs, |(_, cost)| cost.plain_send / cost.send),
            receive_ns: spread(&costs, |(_, cost)| cost.receive),
            receive_share: spread(&costs, |(_, cost)| cost.plain_receive / cost.receive),
            overhead: spread(&costs, |(_, cost)| cost.overhead),
        });
    }
    for costs in groups(&rounds.zero_copy, |cost| cost.datagrams) {
        rows.push(Row::ZeroCopy {
            datagrams: costs[0].datagrams,
            ordinary_ns: spread(&costs, |cost| cost.ordinary),
            zero_copy_ns: spread(&costs, |cost| cost.zero_copy),
            share: spread(&costs, |cost| cost.zero_copy / cost.ordinary),
        });
    }
    rows
}

fn send(sent: &[&(Path, Sent)]) -> Row {
    let model = |sent: &Sent| 1e3 / (sent.seal + sent.send);
    Row::Send {
        path: sent[0].0,
        seal_ns: spread(sent, |(_, sent)| sent.seal),
        send_ns: spread(sent, |(_, sent)| sent.send),
        model: spread(sent, |(_, sent)| model(sent)),
        whole: spread(sent, |(_, sent)| 1e3 / sent.whole),
        share: spread(sent, |(_, sent)| 1e3 / sent.whole / model(sent)),
        key_changes: sent.iter().map(|(_, sent)| sent.key_changes).sum(),
        missing: sent.iter().map(|(_, sent)| sent.missing).sum(),
    }
}

/// What has the same key, in the order in which keys first come.
fn groups<T, K: PartialEq>(all: &[T], key: impl Fn(&T) -> K) -> Vec<Vec<&T>> {
    let mut groups: Vec<Vec<&T>> = Vec::new();
    for one in all {
        match groups.iter_mut().find(|group| key(group[0]) == key(one)) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

fn spread<T>(all: &[&T], of: impl Fn(&T) -> f64) -> Spread {
    Spread::of(&all.iter().map(|one| of(one)).collect::<Vec<_>>())
}

/// Tables for people.
pub(super) fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    let sending = Table::new(
        1,
        &[
            "path",
            "seal ns",
            "send ns",
            "model M/s",
            "channel M/s",
            "Gbit/s",
            "of model",
            "key changes",
            "missing",
        ],
    );
    let parts = Table::new(1, &["path", "receive ns", "open ns", "model M/s"]);
    let receiving = Table::new(
        1,
        &[
            "path",
            "sent M/s",
            "opened M/s",
            "Gbit/s",
            "lost",
            "wrong",
            "key changes",
            "core busy",
        ],
    );
    let input = Table::new(
        0,
        &[
            "offered M/s",
            "sealed M/s",
            "Gbit/s",
            "lost",
            "missing",
            "key changes",
            "core busy",
        ],
    );
    let zero_copy = Table::new(0, &["datagrams", "ordinary ns", "zero-copy ns", "share"]);
    let manifests = Table::new(
        1,
        &[
            "path",
            "beside packets",
            "send ns",
            "of level 0",
            "receive ns",
            "of level 0",
            "bytes added",
        ],
    );
    let mut tables = [
        ("One core sends, from memory", sending),
        ("One core receives: parts alone", parts),
        ("One core receives: a channel", receiving),
        ("One core sends what comes in single datagrams", input),
        ("Sends to an interface that takes batches whole", zero_copy),
        ("Manifests (auth level 1) and key blocks", manifests),
    ];
    let mut filled = [false; 6];
    for row in rows {
        let (table, cells) = cells(row);
        tables[table].1.row(cells);
        filled[table] = true;
    }
    for ((title, table), _) in tables.iter().zip(filled).filter(|(_, filled)| *filled) {
        let _ = writeln!(text, "### {title}\n\n{table}");
    }
    text
}

/// Which table, and what stands in it.
fn cells(row: &Row) -> (usize, Vec<String>) {
    let gigabits =
        |millions: &Spread| format!("{:.1}", millions.median * PAYLOAD as f64 * 8.0 / 1e3);
    match row {
        Row::Send {
            path,
            seal_ns,
            send_ns,
            model,
            whole,
            share,
            key_changes,
            missing,
        } => (
            0,
            vec![
                path.text().to_owned(),
                seal_ns.words(1),
                send_ns.words(1),
                model.words(2),
                whole.words(2),
                gigabits(whole),
                share.words(2),
                key_changes.to_string(),
                missing.to_string(),
            ],
        ),
        Row::Parts {
            path,
            receive_ns,
            open_ns,
            model,
        } => (
            1,
            vec![
                path.text().to_owned(),
                receive_ns.words(1),
                open_ns.words(1),
                model.words(2),
            ],
        ),
        Row::Receive {
            path,
            offered,
            opened,
            lost,
            wrong,
            key_changes,
            busy,
            ..
        } => (
            2,
            vec![
                path.text().to_owned(),
                offered.words(2),
                opened.words(2),
                gigabits(opened),
                lost.to_string(),
                wrong.to_string(),
                key_changes.to_string(),
                busy.percent(),
            ],
        ),
        Row::Input {
            offered,
            sealed,
            lost,
            missing,
            key_changes,
            busy,
            ..
        } => (
            3,
            vec![
                offered.words(2),
                sealed.words(2),
                gigabits(sealed),
                lost.to_string(),
                missing.to_string(),
                key_changes.to_string(),
                busy.percent(),
            ],
        ),
        Row::Manifests {
            path,
            case,
            send_ns,
            send_share,
            receive_ns,
            receive_share,
            overhead,
        } => (
            5,
            vec![
                path.text().to_owned(),
                case.words(),
                send_ns.words(1),
                send_share.words(2),
                receive_ns.words(1),
                receive_share.words(2),
                format!("{:.2} %", overhead.median * 100.0),
            ],
        ),
        Row::ZeroCopy {
            datagrams,
            ordinary_ns,
            zero_copy_ns,
            share,
        } => (
            4,
            vec![
                datagrams.to_string(),
                ordinary_ns.words(1),
                zero_copy_ns.words(1),
                share.words(2),
            ],
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_rounds_stand_in_tables() {
        let sent = |seal: f64, whole: f64| Sent {
            seal,
            send: 150.0,
            whole,
            key_changes: 2,
            missing: 3,
        };
        let rounds = Rounds {
            sent: vec![
                (Path::Lo, sent(100.0, 250.0)),
                (Path::Veth, sent(50.0, 200.0)),
                (Path::Lo, sent(50.0, 250.0)),
                (Path::Lo, sent(150.0, 500.0)),
            ],
            ..Rounds::default()
        };
        let rows = rows(&rounds);
        let Row::Send {
            share,
            model,
            key_changes,
            missing,
            ..
        } = &rows[0]
        else {
            panic!("the first is of sending");
        };
        assert_eq!((share.median, model.median), (0.8, 4.0));
        assert_eq!((*key_changes, *missing), (6, 9));
        let text = text(&rows);
        assert!(text.contains("| lo   | 100.0 (50.0–150.0) |"), "{text}");
        assert!(!text.contains("receives"), "{text}");
        let json = serde_json::to_value(&rows).unwrap();
        assert_eq!(
            (&json[1]["part"], &json[1]["path"]),
            (&"send".into(), &"veth".into())
        );
    }
}
