#![no_main]

use libfuzzer_sys::fuzz_target;
use sealcast_fuzz::dataplane;

fuzz_target!(|bytes: &[u8]| dataplane::endpoint(bytes));
