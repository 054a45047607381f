//! What runs per core: sending and receiving channels, their inputs and outputs.
//!
//! ```text
//! ingest (udp, rtp, or feeder thread) -> SealBatch -> proto::Sender -> GSO send to 1-2 legs
//! 1-2 legs -> recvmmsg + GRO -> proto::Receiver (open in place, order) -> OutBatch -> output
//! ```
//! Channels meet the control plane only through mailboxes ([`link`]) and published totals ([`status`]).
#![forbid(unsafe_code)]

pub mod batch;
pub mod coalesce;
pub mod endpoint;
pub mod feeder;
pub mod fleet;
pub mod histogram;
pub mod ingest;
pub mod lanes;
pub mod link;
pub mod meter;
pub mod output;
pub mod pacer;
pub mod pcap;
pub mod receive;
pub mod rtp;
mod scratch;
pub mod send;
pub mod smooth;
pub mod source;
pub mod status;
pub mod ts;
pub mod vouch;

pub use scratch::zero_copy;
