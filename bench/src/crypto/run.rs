//! The whole bench: who takes part, that they agree, how fast they are, what is told.

use anyhow::{Result, ensure};
use sealcast_crypto::PAYLOAD_MAX;

use super::report::{self, Row};
use super::{Field, Key, Op, Options, agree, contenders, measure};
use crate::host::Host;
use crate::record::{Origin, Record};

/// Runs the bench, and says what is to be printed.
///
/// # Errors
/// If the host does not let it run, contenders do not agree, or the plot cannot be written.
pub fn run(options: &Options) -> Result<String> {
    ensure!(
        options
            .sizes
            .iter()
            .all(|size| (1..PAYLOAD_MAX.min(1 << 24)).contains(size)),
        "sizes are from 1 to {}",
        1 << 24
    );
    let host = Host::pinned(options.core)?;
    let field = Field::find(options.libcrypto.as_deref());
    let origin = Origin::new(host, field.versions());
    let mut rows = Vec::new();
    for &bits in &options.key_bits {
        let mut all = contenders(&Key::new(bits), &field);
        for &size in &options.sizes {
            agree(&mut all, size)?;
        }
        for op in [Op::Seal, Op::Open] {
            for &size in &options.sizes {
                let measured = measure(&mut all, op, size, options.effort())?;
                let row = |one| Row::new(bits, op, size, &all, one);
                rows.extend(measured.iter().map(row));
            }
        }
    }
    if let Some(file) = &options.plot {
        report::plot(file, &rows)?;
    }
    if options.json {
        let record = Record {
            origin: &origin,
            rows: &rows,
        };
        return Ok(record.json()? + "\n");
    }
    Ok(format!("{origin}\n{}", report::text(&rows)))
}
