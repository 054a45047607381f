//! Load: streams into groups on an absolute schedule, and sinks that verify what comes; devices that ask key doors; traces of feeds
//! and of key requests.
//!
//! ```text
//! schedule (due, flow, length) -> generator (stamp, batch) -> GSO send -> ... -> GRO receive -> verify -> report
//! ```
//! Schedules, stamps and verification know no clock and no socket. Latency counts from when a datagram *should* have been sent, so
//! that a generator that stood still does not hide what its receivers would have felt (coordinated omission).
#![forbid(unsafe_code)]

pub mod channels;
pub mod control;
pub mod devices;
mod generator;
pub mod keys;
pub mod latency;
pub mod order;
pub mod outcome;
pub mod parties;
mod records;
pub mod report;
pub mod run;
pub mod scenario;
pub mod schedule;
mod sink;
pub mod soak;
pub mod source;
pub mod stamp;
pub mod trace;
pub mod verify;

pub use generator::{Sent, SentNow};
