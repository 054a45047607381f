//! How much one core does: sealing, sending, receiving and opening alone, and the whole paths made of them, in turns of one run.
//! What can be said of a path then is a share of its *model*: of the rate that its parts alone would allow one after the other.
//!
//! | file | what it holds |
//! |---|---|
//! | `content.rs` | payloads that lie in memory before anything is timed, and whoever checks that they arrive |
//! | `stage.rs` | paths (loopback, veth), one shard at each end, channels with a key each second |
//! | `sending.rs` | sealing, sending, and a channel that sends from memory |
//! | `receiving.rs` | receiving, opening, and a channel that receives at set rates |
//! | `input.rs` | a channel that gets single datagrams |
//! | `zero_copy.rs` | sending without copies beside ordinary sends |
//! | `report.rs` | rows, tables |
//! | `options.rs`, `run.rs` | the command line, and what it does |

mod content;
mod input;
mod manifests;
mod options;
mod receiving;
mod report;
mod run;
mod sending;
mod stage;
mod zero_copy;

pub use options::Options;
pub use run::run;
