//! What was measured, for people, for programs, as a picture.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::{AAD_LEN, Calls, Contender, KeyBits, Measured, Op, Placement, ceiling_cycles};
use crate::plot::{self, Axes, Line, Panel};
use crate::stats::Spread;
use crate::table::Table;

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Length of the key, in bits.
    pub key_bits: u16,
    /// What is done.
    pub op: Op,
    /// Length of the payload, in bytes.
    pub size: usize,
    /// Who does it.
    pub backend_or_library: String,
    /// Whether it is sealcast's.
    pub ours: bool,
    /// Whether it gets all packets of a batch with one call.
    pub batch: bool,
    /// Packets of one call.
    pub packets_per_call: usize,
    /// Whether the first payload of a batch begins on a line of the cache.
    pub aligned: bool,
    /// Nanoseconds of a packet: the median.
    pub ns: f64,
    /// Bytes of payload in a nanosecond.
    pub gb_per_s: f64,
    /// Times as fast as aws-lc-rs with packets at the same place: the median.
    pub ratio_to_aws_lc: f64,
    /// Cycles of a packet: the median.
    pub cycles: Option<f64>,
    /// The part of the speed that the processor's ports allow.
    pub ceiling_share: Option<f64>,
    /// The clock meanwhile, in GHz: the median.
    pub ghz: Option<f64>,
    /// Nanoseconds of a packet, over runs.
    pub ns_over_runs: Spread,
    /// Times as fast as aws-lc-rs, over runs.
    pub ratio_over_runs: Spread,
    /// Cycles of a packet, over runs.
    pub cycles_over_runs: Option<Spread>,
}

impl Row {
    pub(crate) fn new(
        key: KeyBits,
        op: Op,
        size: usize,
        contenders: &[Contender],
        measured: &Measured,
    ) -> Self {
        let contender = &contenders[measured.contender];
        let cycles = measured.cycles.map(|cycles| cycles.median);
        let ceiling = contender
            .vectors
            .and_then(|vectors| ceiling_cycles(key.bits(), vectors, size));
        Self {
            key_bits: key.bits(),
            op,
            size,
            backend_or_library: contender.name.clone(),
            ours: contender.ours,
            batch: contender.calls == Calls::Batch,
            packets_per_call: measured.packets_per_call,
            aligned: measured.placement == Placement::Aligned,
            ns: measured.ns.median,
            gb_per_s: size as f64 / measured.ns.median,
            ratio_to_aws_lc: measured.ratio.median,
            cycles,
            ceiling_share: ceiling
                .zip(cycles)
                .map(|(ceiling, cycles)| ceiling / cycles),
            ghz: measured.ghz.map(|ghz| ghz.median),
            ns_over_runs: measured.ns,
            ratio_over_runs: measured.ratio,
            cycles_over_runs: measured.cycles,
        }
    }

    /// How packets were handed over, in words.
    const fn shape(&self) -> &'static str {
        match (self.batch, self.aligned) {
            (true, true) => "batch",
            (true, false) => "batch, unaligned",
            (false, true) => "one per call",
            (false, false) => "one per call, unaligned",
        }
    }

    /// Whether this is how its makers would have it used: what plots and comparisons show.
    fn is_main(&self) -> bool {
        self.aligned && (!self.ours || self.batch)
    }

    fn same_work(&self, other: &Self) -> bool {
        (self.key_bits, self.op, self.size) == (other.key_bits, other.op, other.size)
    }
}

/// Tables for people: all numbers, the same in short, and where sealcast is slower than another.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    for (title, work) in works(rows) {
        let _ = writeln!(
            text,
            "### {title}, AAD of {AAD_LEN} bytes\n\n{}",
            table(work)
        );
    }
    for (title, work) in works(rows) {
        let _ = writeln!(
            text,
            "### {title}: ns/packet (× aws-lc-rs) by bytes\n\n{}",
            short(work)
        );
    }
    let slower = slower(rows);
    if slower.is_empty() {
        text += "sealcast is nowhere slower than another library.\n";
    } else {
        text += "Where sealcast is slower, and how many times as fast others are:\n\n";
        for line in slower {
            let _ = writeln!(text, "- {line}");
        }
    }
    text
}

/// Rows of one key length and operation, and their name.
fn works(rows: &[Row]) -> impl Iterator<Item = (String, &[Row])> {
    rows.chunk_by(|one, next| (one.key_bits, one.op) == (next.key_bits, next.op))
        .filter_map(|work| {
            let first = work.first()?;
            Some((format!("AES-{}-GCM {}", first.key_bits, first.op), work))
        })
}

fn sizes(rows: &[Row]) -> Vec<usize> {
    let mut sizes: Vec<usize> = Vec::new();
    for row in rows {
        if !sizes.contains(&row.size) {
            sizes.push(row.size);
        }
    }
    sizes
}

/// A row for each implementation, a column for each length.
fn short(rows: &[Row]) -> Table {
    let sizes: Vec<_> = sizes(rows).iter().map(usize::to_string).collect();
    let head = ["implementation", "calls"].into_iter();
    let head: Vec<_> = head.chain(sizes.iter().map(String::as_str)).collect();
    let mut lines: Vec<Vec<String>> = Vec::new();
    for row in rows {
        let cell = format!("{:.1} ({:.2})", row.ns, row.ratio_to_aws_lc);
        let is_its = |line: &&mut Vec<String>| line[..2] == [&row.backend_or_library, row.shape()];
        match lines.iter_mut().find(is_its) {
            Some(line) => line.push(cell),
            None => lines.push(vec![
                row.backend_or_library.clone(),
                row.shape().to_owned(),
                cell,
            ]),
        }
    }
    let mut table = Table::new(2, &head);
    lines.into_iter().for_each(|line| table.row(line));
    table
}

fn table(rows: &[Row]) -> Table {
    let runs = rows
        .iter()
        .any(|row| row.ns_over_runs.min < row.ns_over_runs.max);
    let mut head = vec![
        "bytes",
        "implementation",
        "calls",
        "packets/call",
        "ns/packet",
        "GB/s",
        "× aws-lc-rs",
        "cycles",
        "of ceiling",
    ];
    if runs {
        head.extend(["ns min–max", "× min–max"]);
    }
    let mut table = Table::new(3, &head);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    for row in rows {
        let mut cells = vec![
            row.size.to_string(),
            row.backend_or_library.clone(),
            row.shape().to_owned(),
            row.packets_per_call.to_string(),
            format!("{:.1}", row.ns),
            format!("{:.2}", row.gb_per_s),
            format!("{:.2}", row.ratio_to_aws_lc),
            or_none(row.cycles.map(|cycles| format!("{cycles:.0}"))),
            or_none(
                row.ceiling_share
                    .map(|share| format!("{:.0} %", share * 100.0)),
            ),
        ];
        if runs {
            let (ns, ratio) = (row.ns_over_runs, row.ratio_over_runs);
            cells.push(format!("{:.1}–{:.1}", ns.min, ns.max));
            cells.push(format!("{:.2}–{:.2}", ratio.min, ratio.max));
        }
        table.row(cells);
    }
    table
}

/// Who is not this many times as fast is as fast.
const DEAD_HEAT: f64 = 1.01;

/// Where the fastest of ours is behind a library, and how many times as fast that one is.
fn slower(rows: &[Row]) -> Vec<String> {
    let main = || rows.iter().filter(|row| row.is_main());
    let mut lines = Vec::new();
    for work in main().filter(|row| row.backend_or_library == "aws-lc-rs") {
        let same = || main().filter(|row| row.same_work(work));
        let ours = same()
            .filter(|row| row.ours)
            .min_by(|one, other| one.ns.total_cmp(&other.ns));
        let Some(ours) = ours else { continue };
        let ahead: Vec<_> = same()
            .filter(|row| !row.ours)
            .map(|row| (row, row.ratio_to_aws_lc / ours.ratio_to_aws_lc))
            .filter(|&(_, times)| times > DEAD_HEAT)
            .map(|(row, times)| format!("{} {times:.2} ×", row.backend_or_library))
            .collect();
        if !ahead.is_empty() {
            lines.push(format!(
                "AES-{} {} of {} bytes, {}: {}",
                work.key_bits,
                work.op,
                work.size,
                ours.backend_or_library,
                ahead.join(", ")
            ));
        }
    }
    lines
}

/// GB/s over lengths: a panel for each key length and operation.
pub(crate) fn plot(file: &Path, rows: &[Row]) -> Result<()> {
    let axes = Axes {
        x: "bytes of payload".to_owned(),
        y: "GB/s on one core".to_owned(),
        places: sizes(rows).iter().map(usize::to_string).collect(),
    };
    let panels: Vec<_> = works(rows)
        .map(|(title, work)| panel(title, work))
        .collect();
    plot::lines(file, &axes, &panels)
}

fn panel(title: String, work: &[Row]) -> Panel {
    let mut lines: Vec<Line> = Vec::new();
    for row in work.iter().filter(|row| row.is_main()) {
        match lines
            .iter_mut()
            .find(|line| line.name == row.backend_or_library)
        {
            Some(line) => line.values.push(row.gb_per_s),
            None => lines.push(Line {
                name: row.backend_or_library.clone(),
                values: vec![row.gb_per_s],
            }),
        }
    }
    // aws-lc-rs has rows for all lengths, and is held against the widest vectors.
    let reference = work
        .iter()
        .filter(|row| row.is_main() && row.backend_or_library == "aws-lc-rs");
    let ceiling: Option<Vec<_>> = reference
        .map(|row| Some(row.gb_per_s / row.ceiling_share?))
        .collect();
    if let Some(values) = ceiling {
        let name = "ceiling of the ports".to_owned();
        lines.insert(0, Line { name, values });
    }
    Panel { title, lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, packets_per_call: usize, ns: f64) -> Row {
        let spread = |value| Spread::of(&[value]);
        Row {
            key_bits: 256,
            op: Op::Seal,
            size: 1000,
            backend_or_library: name.to_owned(),
            ours: name.starts_with("sealcast"),
            batch: packets_per_call > 1,
            packets_per_call,
            aligned: true,
            ns,
            gb_per_s: 1000.0 / ns,
            ratio_to_aws_lc: 100.0 / ns,
            cycles: Some(ns * 3.0),
            ceiling_share: None,
            ghz: Some(3.0),
            ns_over_runs: spread(ns),
            ratio_over_runs: spread(100.0 / ns),
            cycles_over_runs: None,
        }
    }

    #[test]
    fn who_is_faster_than_the_best_of_ours_is_named() {
        let mut rows = vec![
            row("aws-lc-rs", 1, 100.0),
            row("ring", 1, 300.0),
            row("sealcast slow", 32, 400.0),
            row("sealcast fast", 32, 200.0),
            row("sealcast fast", 1, 50.0),
        ];
        let text = text(&rows);
        assert!(
            text.contains("| sealcast fast  | batch        |           32 |     200.0 |  5.00 |"),
            "{text}"
        );
        assert!(text.ends_with("- AES-256 seal of 1000 bytes, sealcast fast: aws-lc-rs 2.00 ×\n"));
        rows[3] = row("sealcast fast", 32, 99.0);
        assert!(slower(&rows).is_empty());
    }

    #[test]
    fn rows_have_the_names_that_programs_read() {
        let json = serde_json::to_value(row("ring", 1, 100.0)).unwrap();
        for name in [
            "size",
            "op",
            "backend_or_library",
            "ns",
            "gb_per_s",
            "ratio_to_aws_lc",
            "ceiling_share",
        ] {
            assert!(json.get(name).is_some(), "{name}");
        }
        assert_eq!(json["op"], "seal");
    }
}
