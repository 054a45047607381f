//! Key blocks of a channel with a million positions, on the air: what a switch costs, who can open what (INT-05, SEC-11).
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]
#![expect(clippy::print_stdout, reason = "what it comes to is of interest")]

mod figures;
mod switches;
mod world;
