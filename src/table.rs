//! Answers as tables for people.

use std::convert::Infallible;
use std::fmt::Write as _;

use reqwest::Url;
use sealcast_objects::api::Cursor;

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

/// Which part of a list.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Page {
    /// The part after another one, which said what to give here
    // One cursor in 64 begins with a hyphen: it is base64url.
    #[arg(long, value_parser = cursor, value_name = "CURSOR", allow_hyphen_values = true)]
    pub(crate) after: Option<Cursor>,
    /// How many at most [default: 200]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: Option<u32>,
}

fn cursor(text: &str) -> Result<Cursor, Infallible> {
    Ok(Cursor(text.to_owned()))
}

impl Page {
    /// The path of this part of the list at `path`, of those that `filter` leaves.
    pub(crate) fn of(&self, path: &str, filter: &[(&str, Option<String>)]) -> String {
        let place = [
            ("after", self.after.as_ref().map(Cursor::to_string)),
            ("limit", self.limit.map(|limit| limit.to_string())),
        ];
        let mut url = Url::parse("https://localhost").expect("a literal");
        for (name, value) in filter.iter().chain(&place) {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let query = url.query().map(|query| format!("?{query}"));
        path.to_owned() + &query.unwrap_or_default()
    }
}

/// A page, and how to see the next one.
pub(crate) fn page(shown: &str, next: Option<&Cursor>) -> String {
    let next = next.map(|next| format!("\n\nMore: --after {next}"));
    shown.trim_end().to_owned() + &next.unwrap_or_default()
}

/// A number, or a dash.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct List {
        #[command(flatten)]
        page: Page,
    }

    #[test]
    fn a_cursor_may_begin_with_hyphens() {
        for cursor in [
            "-QkXRihWPFMJ6Jg2wb2bqg",
            "--kXRihWPFMJ6Jg2wb2bqg",
            "AQkXRihWPFMJ6Jg2wb2bqg",
        ] {
            let list = List::try_parse_from(["list", "--after", cursor, "--limit", "3"]);
            let page = list.unwrap_or_else(|error| panic!("{error}")).page;
            assert_eq!(
                page.after.map(|after| after.to_string()).as_deref(),
                Some(cursor)
            );
            assert_eq!(page.limit, Some(3));
        }
    }
}
