//! One rule per file: an id, what it is about, a pure function over facts and profile, its tests.

pub(crate) mod backlog;
pub(crate) mod clock_source;
pub(crate) mod cores;
pub(crate) mod crypto;
pub(crate) mod drops;
pub(crate) mod governor;
pub(crate) mod igmp_memberships;
pub(crate) mod igmp_version;
pub(crate) mod interface;
pub(crate) mod interrupts;
pub(crate) mod io_uring;
pub(crate) mod memlock;
pub(crate) mod mtu;
pub(crate) mod multicast_route;
pub(crate) mod numa;
pub(crate) mod offloads;
pub(crate) mod open_files;
pub(crate) mod qdisc;
pub(crate) mod rp_filter;
pub(crate) mod segment_size;
pub(crate) mod socket_buffers;
pub(crate) mod time_sync;
pub(crate) mod tx_queue;
pub(crate) mod udp_memory;
pub(crate) mod virtual_host;

use crate::facts::{Facts, Interface};
use crate::finding::Finding;

/// One finding per interface. Where none is known the rule `interface` alone says so.
pub(crate) fn each_interface(facts: &Facts, check: impl Fn(&Interface) -> Finding) -> Vec<Finding> {
    facts
        .interfaces
        .iter()
        .map(|interface| check(interface).about(&interface.name))
        .collect()
}

/// Bytes for people: 8 MiB, 208 KiB.
pub(crate) fn bytes(number: u64) -> String {
    match number {
        0..1024 => format!("{number} bytes"),
        1024..1_048_576 => format!("{} KiB", number / 1024),
        _ => format!("{} MiB", number / 1_048_576),
    }
}
