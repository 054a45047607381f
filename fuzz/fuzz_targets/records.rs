#![no_main]

use libfuzzer_sys::fuzz_target;
use sealcast_fuzz::proto;

fuzz_target!(|bytes: &[u8]| proto::records(bytes));
