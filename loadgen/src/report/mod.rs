//! What a run is told as: one report, rendered as text, JSON and a page.

mod html;
mod keys;
mod plot;
pub(crate) mod stream;
mod text;

use serde_json::{Map, Value, json};

pub use html::{escaped, to_html};
pub use keys::{columns, latency, of_keys, row};
pub use stream::of_stream;
pub use text::to_text;

/// The version of the JSON.
const FORMAT: u32 = 1;

/// A report.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was done.
    pub title: String,
    /// What is measured and how, in sentences.
    pub about: String,
    /// With what.
    pub parameters: Vec<Fact>,
    /// The result in a sentence.
    pub result: String,
    /// Whether everything was as it must be.
    pub good: bool,
    /// Numbers.
    pub tables: Vec<Table>,
    /// Curves; only in JSON and pages.
    pub plots: Vec<Plot>,
    /// What people should know.
    pub notes: Vec<String>,
}

/// Something that is known.
#[derive(Clone, Debug)]
pub struct Fact {
    /// In JSON.
    pub key: &'static str,
    /// For people.
    pub name: &'static str,
    /// Its value.
    pub cell: Cell,
}

/// A value, for scripts and for people.
#[derive(Clone, Debug)]
pub struct Cell {
    /// In JSON.
    pub value: Value,
    /// For people.
    pub text: String,
}

/// Rows of cells.
#[derive(Clone, Debug)]
pub struct Table {
    /// In JSON.
    pub key: &'static str,
    /// For people.
    pub title: String,
    /// Key and name of each column.
    pub columns: Vec<(&'static str, String)>,
    /// As many cells each as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

/// Lines in one frame.
#[derive(Clone, Debug)]
pub struct Plot {
    /// In JSON.
    pub key: &'static str,
    /// For people.
    pub title: String,
    /// What the axes are.
    pub axes: Axes,
    /// The name of the vertical axis, with its unit.
    pub y: String,
    /// Names and points.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// Horizontal axes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Axes {
    /// Seconds since the start.
    Seconds,
    /// Shares of 0 to 1, each step nearer to 1 by a factor of ten; the vertical axis is logarithmic.
    Quantiles,
    /// What the columns of a scenario are.
    Steps(&'static str),
}

impl Cell {
    /// A count.
    #[must_use]
    pub fn count(count: u64) -> Self {
        Self {
            value: json!(count),
            text: grouped(count),
        }
    }

    /// A number with `digits` after the point.
    #[must_use]
    pub fn number(number: f64, digits: usize) -> Self {
        Self {
            value: json!(number),
            text: format!("{number:.digits$}"),
        }
    }

    /// Bits per second.
    #[must_use]
    pub fn rate(bits: f64) -> Self {
        Self {
            value: json!(bits.round()),
            text: format!("{}bit/s", scaled(bits)),
        }
    }

    /// Nanoseconds.
    #[must_use]
    pub fn time(ns: u64) -> Self {
        Self {
            value: json!(ns),
            text: micros(ns),
        }
    }

    /// Words.
    #[must_use]
    pub fn words(words: impl Into<String>) -> Self {
        let text = words.into();
        Self {
            value: json!(text),
            text,
        }
    }

    /// Nothing is known.
    #[must_use]
    pub fn none() -> Self {
        Self {
            value: Value::Null,
            text: "-".to_owned(),
        }
    }
}

impl Report {
    /// The report for scripts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let facts = self.parameters.iter();
        let parameters: Map<_, _> = facts
            .map(|fact| (fact.key.to_owned(), fact.cell.value.clone()))
            .collect();
        let tables = self
            .tables
            .iter()
            .map(|table| (table.key.to_owned(), table.to_json()));
        let plots = self
            .plots
            .iter()
            .map(|plot| (plot.key.to_owned(), json!(plot.lines)));
        json!({
            "format": FORMAT,
            "what": self.title,
            "about": self.about,
            "parameters": parameters,
            "result": self.result,
            "good": self.good,
            "tables": tables.collect::<Map<_, _>>(),
            "plots": plots.collect::<Map<_, _>>(),
            "notes": self.notes,
        })
    }
}

impl Table {
    fn to_json(&self) -> Value {
        let row = |row: &Vec<Cell>| {
            let cells = self.columns.iter().zip(row);
            cells
                .map(|((key, _), cell)| ((*key).to_owned(), cell.value.clone()))
                .collect::<Map<_, _>>()
        };
        self.rows.iter().map(row).collect()
    }
}

/// `1 234 567`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `12.3 M`, for a unit to follow.
#[must_use]
pub fn scaled(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n => format!("{n:.0} "),
    }
}

/// Nanoseconds in microseconds.
fn micros(ns: u64) -> String {
    format!("{:.1}", ns as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn sample() -> Report {
        Report {
            title: "sample <1>".to_owned(),
            about: "What is measured.".to_owned(),
            parameters: vec![Fact {
                key: "to",
                name: "to",
                cell: Cell::words("udp://[::1]:5?a=1&b=2"),
            }],
            result: "all well".to_owned(),
            good: true,
            tables: vec![Table {
                key: "rates",
                title: "Rates".to_owned(),
                columns: vec![("size", "size".to_owned()), ("rate", "rate".to_owned())],
                rows: vec![
                    vec![Cell::count(1_234_567), Cell::rate(2.5e9)],
                    vec![Cell::count(64), Cell::none()],
                ],
            }],
            plots: vec![
                Plot {
                    key: "latency",
                    title: "Latency".to_owned(),
                    axes: Axes::Quantiles,
                    y: "us".to_owned(),
                    lines: vec![(
                        "all".to_owned(),
                        vec![(0.0, 3.0), (0.5, 10.0), (0.999, 200.0), (1.0, 900.0)],
                    )],
                },
                Plot {
                    key: "throughput",
                    title: "Throughput".to_owned(),
                    axes: Axes::Seconds,
                    y: "Mbit/s".to_owned(),
                    lines: vec![("received".to_owned(), vec![(0.0, 0.0), (1.0, 5.0)])],
                },
            ],
            notes: vec!["a note".to_owned()],
        }
    }

    #[test]
    fn scripts_find_values_by_key() {
        let json = sample().to_json();
        assert_eq!(json["tables"]["rates"][0]["size"], 1_234_567);
        assert_eq!(json["tables"]["rates"][1]["rate"], Value::Null);
        assert_eq!(json["parameters"]["to"], "udp://[::1]:5?a=1&b=2");
        assert_eq!(json["plots"]["throughput"][0][1][1][1], 5.0);
        assert_eq!((&json["format"], &json["good"]), (&json!(1), &json!(true)));
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1 000", "1 234 567"]
        );
        assert_eq!(
            [12.0, 1500.0, 2.5e6, 4.2e9].map(scaled),
            ["12 ", "1.5 k", "2.50 M", "4.20 G"]
        );
        assert_eq!(Cell::time(1234).text, "1.2");
    }
}
