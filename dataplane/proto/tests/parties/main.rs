//! Sender, receiver and authority by hand, one requirement at a time.
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

mod bench;
mod key_changes;
mod refusals;
mod requests;
mod succession;
