//! What sealcast's speed is measured with. Nothing else depends on this package, and neither building nor testing
//! sealcast needs it.
//!
//! | file | what it holds |
//! |---|---|
//! | `clock.rs` | the processor's clock, measured: cycles without hardware counters |
//! | `stats.rs` | medians and spreads |
//! | `host.rs` | what a number depends on besides the code; pinning to a core |
//! | `progress.rs` | how far a bench is, on a terminal |
//! | `record.rs` | a whole run as JSON: command, date, host, rows |
//! | `table.rs` | tables as Markdown |
//! | `plot.rs` | lines and bars as SVG |
//! | `crypto/` | packet crypto beside other libraries: `cargo run --release -p sealcast-bench --bin crypto` |
//! | `lab.rs` | two hosts as network namespaces; what their UDP sockets lost |
//! | `cpu.rs` | processor time of processes and threads, and of a wake that does nothing |
//! | `interrupt.rs` | Ctrl-C |
//! | `keydoor/` | how many key requests one core answers: `cargo run --release -p sealcast-bench --bin keydoor` |
//! | `billing/` | a month of metered devices: usage counted, bills made and verified: `cargo run --release -p sealcast-bench --bin billing` |
//! | `commands/` | how many durable commands a master takes: `cargo run --release -p sealcast-bench --bin commands` |
//! | `saturation/` | how much one core does: seal, send, receive, open, whole path: `cargo run --release -p sealcast-bench --bin saturation` |
//! | `peers/` | sealcast beside other software, packets from end to end: `cargo run --release -p sealcast-bench --bin peers` |
//!
//! Rules that hold here:
//! - What is compared is measured in one run, in turns, and only ratios of one run are compared with others: hosts change
//!   their clock, and share their memory with others.
//! - Before anything is timed, all must have computed the same bytes.
//! - A library that the host lacks is told, and its rows are missing.

#![warn(missing_docs)]

pub mod billing;
pub mod clock;
pub mod commands;
mod cpu;
pub mod crypto;
pub mod host;
mod interrupt;
pub mod keydoor;
mod lab;
pub mod peers;
pub mod plot;
mod progress;
pub mod record;
pub mod saturation;
pub mod stats;
pub mod table;
