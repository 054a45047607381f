//! Answers as tables for people.

use std::fmt::Write as _;

/// Rows under headings, columns as wide as they must be.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = headings.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &[String; N]| {
        let mut out = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(out, "{cell:width$}  ");
        }
        text.push_str(out.trim_end());
        text.push('\n');
    };
    line(&headings.map(str::to_owned));
    rows.iter().for_each(&mut line);
    text
}

/// A page, and how to see the next one.
pub(crate) fn page(shown: &str, next: Option<String>) -> String {
    let next = next.map(|next| format!("\n\nMore: --after {next}"));
    shown.trim_end().to_owned() + &next.unwrap_or_default()
}

/// A number, or a dash.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
