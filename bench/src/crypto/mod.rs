//! Packet crypto: AES-GCM as sealcast does it beside the same by other libraries, in one process, in turns.
//!
//! | file | what it holds |
//! |---|---|
//! | `workload.rs` | keys, and packets in buffers as segmentation offload takes them |
//! | `contender.rs` | what is measured: each implementation under one key |
//! | `ours.rs`, `less_safe.rs`, `rust_crypto.rs`, `foreign/` | sealcast, aws-lc-rs and ring, aes-gcm, OpenSSL and ipsec-mb |
//! | `agree.rs` | all compute the same bytes |
//! | `measure.rs` | rounds, runs, medians |
//! | `ceiling.rs` | what the processor's ports allow |
//! | `report.rs` | tables, rows of JSON, plots |
//! | `options.rs`, `run.rs` | the command line, and what it does |
//!
//! To add an implementation: a file like `rust_crypto.rs`, and a line in [`contenders`]. Implementations that sealcast
//! gains appear by themselves.

mod agree;
mod ceiling;
mod contender;
mod foreign;
mod less_safe;
mod measure;
mod options;
mod ours;
mod report;
mod run;
mod rust_crypto;
mod workload;

pub use agree::agree;
pub use ceiling::{Vectors, ceiling_cycles};
pub use contender::{Aead, Calls, Contender, Field, contenders};
pub use measure::{Effort, Measured, measure};
pub use options::Options;
pub use report::Row;
pub use run::run;
pub use workload::{AAD_LEN, Arena, Key, KeyBits, Op, Placement, SIZES};
