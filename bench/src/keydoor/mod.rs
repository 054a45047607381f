//! How many devices one core answers: the key doors of `sealcast serve` on one core, devices with sessions of their own on the
//! other, over loopback.
//!
//! | file | what it holds |
//! |---|---|
//! | `options.rs` | the command line |
//! | `mint.rs` | sessions and their requests, sealed before anything is timed |
//! | `parts.rs` | what an answer costs without a network, and the cryptography in it |
//! | `bare.rs` | what the same datagrams cost without a door: the same calls, and nothing in between |
//! | `devices.rs` | the load: requests on a schedule from many sockets, answers verified |
//! | `run.rs` | rounds |
//! | `report.rs` | tables |
//!
//! Every request is one datagram of a session of its own, sent without segmentation offload and when it is due, whether the door
//! keeps up or not; latency counts from when it was due. All answers are matched with their requests; one in 64 is opened.

mod bare;
mod devices;
mod mint;
mod options;
mod parts;
mod report;
mod run;

pub use options::Options;
pub use run::run;
