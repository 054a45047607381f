//! A report as a page that needs nothing else: no script, no style sheet, no picture from elsewhere.

use std::fmt::Write as _;

use super::plot::to_svg;
use super::{Report, Table};

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse}\
td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}\
td:first-child,th:first-child{text-align:left}.good{color:#047857}.bad{color:#b91c1c}svg{max-width:100%;height:auto}";

/// The report as a page.
#[must_use]
pub fn to_html(report: &Report) -> String {
    let title = escaped(&report.title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\n<style>{STYLE}</style></head>\n\
         <body><h1>{title}</h1>\n<p>{}</p>\n",
        escaped(&report.about)
    );
    let class = if report.good { "good" } else { "bad" };
    let _ = writeln!(
        page,
        "<p class=\"{class}\"><strong>{}</strong></p>",
        escaped(&report.result)
    );
    page.push_str("<table>\n");
    for fact in &report.parameters {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td></tr>",
            escaped(fact.name),
            escaped(&fact.cell.text)
        );
    }
    page.push_str("</table>\n");
    for table in &report.tables {
        let _ = write!(page, "<h2>{}</h2>\n{}", escaped(&table.title), rows(table));
    }
    for plot in &report.plots {
        let svg = to_svg(plot);
        if !svg.is_empty() {
            let _ = writeln!(page, "<h2>{}</h2>\n{svg}", escaped(&plot.title));
        }
    }
    if !report.notes.is_empty() {
        page.push_str("<h2>Notes</h2>\n<ul>\n");
        for note in &report.notes {
            let _ = writeln!(page, "<li>{}</li>", escaped(note));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("</body></html>\n");
    page
}

fn rows(table: &Table) -> String {
    let line = |cells: &mut dyn Iterator<Item = &str>, tag: &str| {
        let cells: String = cells
            .map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell)))
            .collect();
        format!("<tr>{cells}</tr>\n")
    };
    let mut text = line(
        &mut table.columns.iter().map(|(_, name)| name.as_str()),
        "th",
    );
    for row in &table.rows {
        text.push_str(&line(&mut row.iter().map(|cell| cell.text.as_str()), "td"));
    }
    format!("<table>\n{text}</table>\n")
}

/// Text as it stands in a page: no mark-up, inside of an attribute neither.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_whole_and_needs_nothing_from_elsewhere() {
        let page = to_html(&super::super::tests::sample());
        for part in [
            "<h1>sample &lt;1&gt;</h1>",
            "udp://[::1]:5?a=1&amp;b=2",
            "<td>1 234 567</td><td>2.50 Gbit/s</td>",
            "class=\"good\"",
            "<h2>Latency</h2>\n<svg",
            "90 %",
            "</html>\n",
        ] {
            assert!(page.contains(part), "{part} is missing: {page}");
        }
        assert_eq!(page.matches("<svg").count(), 2);
        let without = page.replace("http://www.w3.org/2000/svg", "");
        for elsewhere in ["http:", "https:", "<script", "<link", "src="] {
            assert!(!without.contains(elsewhere), "{elsewhere}: {without}");
        }
    }
    #[test]
    fn what_others_write_is_text_in_a_page() {
        assert_eq!(escaped("<script>\"'&"), "&lt;script&gt;&quot;&#39;&amp;");
    }
}
