//! RFC 9605 headers.
#![no_main]

#[path = "../../dataplane/proto/tests/fuzz/checks.rs"]
#[allow(dead_code, reason = "each target uses some of the checks")]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::header(bytes));
