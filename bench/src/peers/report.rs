//! What was measured, for people and as a picture.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::row::Row;
use crate::plot::{self, Bars, Group};
use crate::stats::Spread;
use crate::table::Table;

/// Tables for people: for each rate one of processor time and one of what arrived.
pub(super) fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    for rows in rows.chunk_by(|one, next| one.rate == next.rate) {
        let Some(Row { rate, .. }) = rows.first() else {
            continue;
        };
        let _ = writeln!(
            text,
            "### {rate} packets/s: µs of processor time per packet delivered, median (min–max)\n\n{}",
            cost(rows)
        );
        let _ = writeln!(text, "{}", wake(&rows[0]));
        let _ = writeln!(
            text,
            "### {rate} packets/s: what arrived, and when\n\n{}",
            arrived(rows)
        );
        for note in rows.iter().filter_map(note) {
            let _ = writeln!(text, "- {note}");
        }
        text.push('\n');
    }
    text
}

fn cost(rows: &[Row]) -> Table {
    let head = [
        "",
        "cipher",
        "to",
        "sender",
        "× sealcast",
        "receiver",
        "× sealcast",
        "key server",
    ];
    let mut table = Table::new(3, &head);
    for row in rows {
        table.row(vec![
            row.name.text().to_owned(),
            row.cipher.to_owned(),
            row.addressing.to_owned(),
            in_words(Some(row.sender_us), 2),
            in_words(row.sender_ratio, 2),
            in_words(Some(row.receiver_us), 2),
            in_words(row.receiver_ratio, 2),
            in_words(row.key_server_us, 2),
        ]);
    }
    table
}

/// What waking alone costs, beside which the other numbers must be seen.
fn wake(row: &Row) -> String {
    let each = row.empty_wake_us.median;
    let every_packet = "a process that wakes for every packet pays up to that for each";
    format!(
        "A wake on a 2 ms tick that finds nothing to do costs {} µs here: {:.2} µs per packet at this rate; {every_packet}.\n",
        in_words(Some(row.empty_wake_us), 1),
        each * TICKS_PER_SECOND / f64::from(row.rate),
    )
}

/// Of the tick of 2 ms.
const TICKS_PER_SECOND: f64 = 500.0;

fn arrived(rows: &[Row]) -> Table {
    let head = [
        "",
        "sent",
        "lost",
        "corrupt",
        "twice",
        "out of order",
        "key changes",
        "delay ms",
        "delay p99 ms",
        "join ms",
        "late join ms",
    ];
    let mut table = Table::new(1, &head);
    for row in rows {
        table.row(vec![
            row.name.text().to_owned(),
            row.sent.to_string(),
            lost(row),
            row.corrupt.to_string(),
            row.duplicated.to_string(),
            row.reordered.to_string(),
            row.key_changes.to_string(),
            in_words(Some(row.delay_ms), 1),
            in_words(Some(row.delay_p99_ms), 1),
            in_words(Some(row.join_ms), 0),
            late_join(row),
        ]);
    }
    table
}

fn lost(row: &Row) -> String {
    if row.lost == 0 {
        return "0".to_owned();
    }
    let share = row.lost as f64 * 100.0 / row.sent.max(1) as f64;
    format!("{} ({share:.2} %)", row.lost)
}

fn late_join(row: &Row) -> String {
    if row.late_joins == row.turns {
        return in_words(row.late_join_ms, 0);
    }
    let never = format!("never in {} of {}", row.turns - row.late_joins, row.turns);
    match row.late_join_ms {
        None => never,
        some => format!("{}, {never}", in_words(some, 0)),
    }
}

/// What else must be known of a row.
fn note(row: &Row) -> Option<String> {
    let mut notes = Vec::new();
    if row.input_drops > 0 {
        notes.push(format!(
            "its sender's input dropped {} datagrams",
            row.input_drops
        ));
    }
    if row.network_drops > 0 {
        notes.push(format!(
            "its receiver's socket dropped {} datagrams",
            row.network_drops
        ));
    }
    if row.checker_drops > 0 {
        let drops = row.checker_drops;
        notes.push(format!(
            "the checker was too slow for {drops} datagrams, counted as lost"
        ));
    }
    if row.offered.median < f64::from(row.rate) * 0.99 {
        notes.push(format!(
            "the generator sent {:.0} packets/s only",
            row.offered.median
        ));
    }
    if row.generator_late_ms.median > 5.0 {
        let late = in_words(Some(row.generator_late_ms), 1);
        notes.push(format!("the generator was up to {late} ms late"));
    }
    (!notes.is_empty()).then(|| format!("{}: {}", row.name.text(), notes.join("; ")))
}

/// Median and, if there is one, spread.
fn in_words(spread: Option<Spread>, digits: usize) -> String {
    match spread {
        None => "–".to_owned(),
        Some(spread) if spread.min < spread.max => spread.words(digits),
        Some(Spread { median, .. }) => format!("{median:.digits$}"),
    }
}

/// µs per packet: a panel for each rate, a group for each contender.
pub(super) fn plot(file: &Path, rows: &[Row]) -> Result<()> {
    let panels: Vec<_> = rows
        .chunk_by(|one, next| one.rate == next.rate)
        .map(|rows| Bars {
            title: format!("{} packets/s", rows[0].rate),
            y: "µs of processor time per packet".to_owned(),
            bars: vec!["sender".to_owned(), "receiver".to_owned()],
            groups: rows.iter().map(group).collect(),
        })
        .collect();
    plot::bars(file, &panels)
}

fn group(row: &Row) -> Group {
    Group {
        name: row.name.text().to_owned(),
        values: vec![row.sender_us, row.receiver_us],
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::table;
    use super::*;

    #[test]
    fn tables_tell_all_of_it() {
        let text = text(&table());
        for part in [
            "### 20000 packets/s: µs of processor time",
            "2.25 (1.50–3.00)",
            "20.0 µs here: 0.50 µs per packet",
            "3 (0.10 %)",
            "90, never in 2 of 3",
            "- SRT: the checker was too slow for 9 datagrams",
        ] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        assert!(!text.contains("librist"));
    }

    #[test]
    fn a_plot_shows_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("peers.svg");
        plot(&file, &table()).unwrap();
        let svg = std::fs::read_to_string(file).unwrap();
        for text in ["20000 packets/s", "sealcast", "SRT", "sender", "receiver"] {
            assert!(svg.contains(text), "{text}");
        }
    }
}
