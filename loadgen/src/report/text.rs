//! A report for a terminal.

use std::fmt::Write as _;

use super::{Report, Table};

/// The report as text.
#[must_use]
pub fn to_text(report: &Report) -> String {
    let mut text = format!("{}\n", report.title);
    for fact in &report.parameters {
        let _ = writeln!(text, "  {}: {}", fact.name, fact.cell.text);
    }
    for table in &report.tables {
        let _ = write!(text, "\n{}\n{}", table.title, in_columns(table));
    }
    if !report.notes.is_empty() {
        text.push('\n');
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = writeln!(text, "\n{}", report.result);
    text
}

/// Right-aligned columns, as wide as need be; the first is left-aligned.
fn in_columns(table: &Table) -> String {
    let names: Vec<_> = table
        .columns
        .iter()
        .map(|(_, name)| name.as_str())
        .collect();
    let rows = table
        .rows
        .iter()
        .map(|row| row.iter().map(|cell| cell.text.as_str()).collect());
    let lines: Vec<Vec<&str>> = std::iter::once(names).chain(rows).collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..table.columns.len()).map(width).collect();
    let mut text = String::new();
    for line in lines {
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(text, "  {cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let text = to_text(&super::super::tests::sample());
        assert!(text.starts_with("sample <1>\n  to: udp://"), "{text}");
        let table = "\nRates\n  size              rate\n  1 234 567  2.50 Gbit/s\n  64                   -\n";
        assert!(text.contains(table), "{text}");
        assert!(text.ends_with("\nnote: a note\n\nall well\n"), "{text}");
    }
}
