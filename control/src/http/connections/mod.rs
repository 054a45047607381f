//! Connections within bounds: who idles, stalls or comes in masses never keeps others out.
//!
//! | who | what happens |
//! |---|---|
//! | says nothing after TCP, or is slow with TLS | has 10 s; those silent for 0.6 s, or at it for 2.5 s, make room for new ones, the oldest first; of networks with many places all that are silent |
//! | idles without a certificate | has 10 s; those that idle longest make room, first those of networks that have many places |
//! | idles with a certificate | has 2 min, and places of its own, so anonymous ones never take them |
//! | is slow with headers | is idle: no request is under way until it is whole (and HTTP/1 has 10 s for each) |
//! | is slow with a body | 408, where the body is to be had whole ([`paced`]) and where it is an upload |
//! | does not take its answer | is cut off when nearly nothing was taken for 30 s |
//! | asks more often than he may | 429 with `Retry-After`; each answer tells of the limit |
//! | asks more than can be worked on | 503 with `Retry-After` |
//!
//! A connection with a request under way is never idle, and one whose answer waits for us (links, events) never stalls.
//!
//! | file | what |
//! |---|---|
//! | `limits.rs` | the numbers |
//! | `register.rs` | who is connected, who makes room, who is over the limits |
//! | `network.rs` | where somebody comes from |
//! | `served.rs` | requests of one connection |
//! | `callers.rs` | who asks, as far as rates go |
//! | `rates.rs` | how often somebody may ask |
//! | `bodies.rs` | bodies of requests that must come, bodies of answers that are watched |
//! | `counted.rs` | the stream under a connection: how much of the answers was taken |
//! | `stats.rs` | totals |

mod bodies;
mod callers;
mod counted;
mod limits;
mod network;
mod rates;
mod register;
mod served;
mod stats;
#[cfg(test)]
mod tests;

pub(super) use bodies::{TooSlow, paced};
pub(super) use counted::Counted;
pub use limits::Limits;
pub use rates::Rate;
pub(crate) use register::Register;
pub(super) use register::{Class, End, Ticket};
pub(super) use served::Served;
pub use stats::HttpStats;
pub(super) use stats::Why;
