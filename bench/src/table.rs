//! Tables as Markdown whose columns are aligned in the source, too: readable on a terminal, and as documentation.

use std::fmt;

/// A table. Its first columns hold words, all others numbers.
#[derive(Clone, Debug)]
pub struct Table {
    words: usize,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns, of which the first `words` hold words.
    #[must_use]
    pub fn new(words: usize, head: &[&str]) -> Self {
        Self {
            words,
            head: head.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it has not as many cells as the table has columns.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.head.len(), "cells of a row");
        self.rows.push(cells);
    }

    fn width(&self, column: usize) -> usize {
        self.rows
            .iter()
            .chain([&self.head])
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<_> = (0..self.head.len())
            .map(|column| self.width(column))
            .collect();
        let write = |f: &mut fmt::Formatter<'_>, row: &[String]| {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if column < self.words {
                    write!(f, "| {cell:<width$} ")?;
                } else {
                    write!(f, "| {cell:>width$} ")?;
                }
            }
            writeln!(f, "|")
        };
        write(f, &self.head)?;
        for (column, width) in widths.iter().enumerate() {
            let colon = if column < self.words { '-' } else { ':' };
            write!(f, "|{:-<1$}{colon}", "", width + 1)?;
        }
        writeln!(f, "|")?;
        self.rows.iter().try_for_each(|row| write(f, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let mut table = Table::new(1, &["who", "ns"]);
        table.row(vec!["sealcast".to_owned(), "72.1".to_owned()]);
        table.row(vec!["×".to_owned(), "1501.0".to_owned()]);
        assert_eq!(
            table.to_string(),
            "| who      |     ns |\n\
             |----------|-------:|\n\
             | sealcast |   72.1 |\n\
             | ×        | 1501.0 |\n"
        );
    }
}
