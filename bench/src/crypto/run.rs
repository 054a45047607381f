//! The whole bench: who takes part, that they agree, how fast they are, what is told.

use anyhow::Result;

use super::report::{self, Row};
use super::{Field, Key, Op, Options, agree, contenders, measure};
use crate::host::Host;
use crate::record::{Origin, printed};

/// Runs the bench, and says what is to be printed.
///
/// # Errors
/// If the host does not let it run, contenders do not agree, or the plot cannot be written.
pub fn run(options: &Options) -> Result<String> {
    let host = Host::pinned(options.core)?;
    let field = Field::find(options.libcrypto.as_deref());
    let origin = Origin::new(host, field.versions());
    let sizes = once(&options.sizes);
    let mut rows = Vec::new();
    for &bits in &once(&options.key_bits) {
        let mut all = contenders(&Key::new(bits), &field);
        for &size in &sizes {
            agree(&mut all, size)?;
        }
        for op in [Op::Seal, Op::Open] {
            for &size in &sizes {
                let measured = measure(&mut all, op, size, options.effort())?;
                let row = |one| Row::new(bits, op, size, &all, one);
                rows.extend(measured.iter().map(row));
            }
        }
    }
    if let Some(file) = &options.plot {
        report::plot(file, &rows)?;
    }
    Ok(printed(options.json, &origin, &rows, report::text)?)
}

/// The values, each as often as it comes first.
fn once<Value: Copy + PartialEq>(values: &[Value]) -> Vec<Value> {
    let mut all = Vec::new();
    for &value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn options(args: &[&str]) -> Options {
        let always = ["crypto", "--quick", "--sizes", "188,33,188"];
        Options::parse_from(always.iter().chain(args))
    }

    #[test]
    fn a_quick_run_has_rows_of_everybody_for_every_length_and_operation() {
        let json = run(&options(&["--json"])).unwrap();
        let record: serde_json::Value = serde_json::from_str(&json).unwrap();
        let rows = record["rows"].as_array().unwrap();
        for (size, op) in [(188, "seal"), (188, "open"), (33, "seal"), (33, "open")] {
            for name in ["aws-lc-rs", "ring", "aes-gcm", "sealcast portable"] {
                let is_it = |row: &&serde_json::Value| {
                    (&row["size"], &row["op"]) == (&size.into(), &op.into())
                        && row["backend_or_library"] == name
                        && row["key_bits"] == 256
                };
                let found = rows.iter().filter(is_it).count();
                assert_eq!(found, if name == "sealcast portable" { 3 } else { 2 });
            }
        }
    }

    #[test]
    fn a_quick_run_is_told_in_tables() {
        let text = run(&options(&["--key-bits", "128", "--runs", "2"])).unwrap();
        for part in [
            "- processor: ",
            "### AES-128-GCM open: ns/packet",
            "× min–max",
        ] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
    }
}
