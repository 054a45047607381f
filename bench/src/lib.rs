//! What sealcast's speed is measured with. Nothing else depends on this package, and neither building nor testing
//! sealcast needs it.
//!
//! | file | what it holds |
//! |---|---|
//! | `clock.rs` | the processor's clock, measured: cycles without hardware counters |
//! | `stats.rs` | medians and spreads |
//! | `host.rs` | what a number depends on besides the code; pinning to a core |
//! | `record.rs` | a whole run as JSON: command, date, host, rows |
//! | `table.rs` | tables as Markdown |
//! | `plot.rs` | lines and bars as SVG |
//! | `crypto/` | packet crypto beside other libraries: `cargo run --release -p sealcast-bench --bin crypto` |
//! | `peers/` | sealcast beside other software, packets from end to end: `cargo run --release -p sealcast-bench --bin peers` |
//!
//! Rules that hold here:
//! - What is compared is measured in one run, in turns, and only ratios of one run are compared with others: hosts change
//!   their clock, and share their memory with others.
//! - Before anything is timed, all must have computed the same bytes.
//! - A library that the host lacks is told, and its rows are missing.

#![warn(missing_docs)]

pub mod clock;
pub mod crypto;
pub mod host;
pub mod peers;
pub mod plot;
pub mod record;
pub mod stats;
pub mod table;
