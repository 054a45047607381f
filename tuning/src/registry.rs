//! All rules, in the order in which findings of equal severity are told.

use crate::facts::Facts;
use crate::finding::Finding;
use crate::profile::Profile;
use crate::rules;

/// A rule: a pure function over facts and what a profile demands.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name in findings and in a profile's `skip`.
    pub id: &'static str,
    /// What it looks at, for the manual.
    pub about: &'static str,
    pub(crate) check: fn(&Facts, &Profile) -> Vec<Finding>,
}

/// All rules.
pub const RULES: [Rule; 25] = [
    rules::io_uring::RULE,
    rules::memlock::RULE,
    rules::open_files::RULE,
    rules::interface::RULE,
    rules::multicast_route::RULE,
    rules::rp_filter::RULE,
    rules::igmp_memberships::RULE,
    rules::igmp_version::RULE,
    rules::mtu::RULE,
    rules::socket_buffers::RULE,
    rules::udp_memory::RULE,
    rules::backlog::RULE,
    rules::offloads::RULE,
    rules::segment_size::RULE,
    rules::qdisc::RULE,
    rules::tx_queue::RULE,
    rules::crypto::RULE,
    rules::cores::RULE,
    rules::interrupts::RULE,
    rules::numa::RULE,
    rules::governor::RULE,
    rules::clock_source::RULE,
    rules::virtual_host::RULE,
    rules::time_sync::RULE,
    rules::drops::RULE,
];

/// The names of all rules.
#[must_use]
pub fn ids() -> Vec<&'static str> {
    RULES.iter().map(|rule| rule.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_told_apart() {
        let mut ids = ids();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), RULES.len());
        assert!(RULES.iter().all(|rule| !rule.about.is_empty()));
    }
}
