//! Auth level 1: a sender with two lanes, its manifests, a network with faults, an insider with every decipher half, a receiver.
//!
//! `SEALCAST_MANIFEST_PACKETS=N` asks for at least N packets through the network with faults (default 1,000,000 of all cases together).
#![expect(clippy::print_stdout, reason = "says what was simulated")]
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

mod faults;
mod insider;
mod world;
