//! What the kernel takes of an interface before it has to drop or to pause.

use crate::facts::Facts;
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;
use crate::setting::sysctl;

const ID: &str = "backlog";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "the kernel's queue and budget for packets that arrive (netdev_max_backlog, netdev_budget)",
    check,
};

const QUEUE: &str =
    "packets of lo, veth and steered queues wait here; what does not fit is dropped";
const BUDGET: &str =
    "so many packets are taken off interfaces in one go; then packets wait in the driver's ring";

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    [
        (
            "net.core.netdev_max_backlog",
            profile.netdev_max_backlog,
            "softnet.dropped",
            "packets dropped",
            QUEUE,
        ),
        (
            "net.core.netdev_budget",
            profile.netdev_budget,
            "softnet.squeezed",
            "times out of budget",
            BUDGET,
        ),
    ]
    .into_iter()
    .filter(|(_, wanted, ..)| *wanted > 0)
    .map(|(key, wanted, counter, events, why)| {
        let Some(value) = facts.sysctl(key) else {
            return Finding::unknown(ID, format!("{key} cannot be read"), why);
        };
        let what = format!("{key} = {value}, {wanted} wanted");
        let count = facts.counters.get(counter).copied();
        let finding = match count {
            _ if value >= wanted => return Finding::ok(ID, what),
            // What has never been short is no reason to change a host.
            Some(0) => Finding::note(ID, what, why),
            _ => Finding::warning(ID, what, why),
        };
        let finding = match count {
            Some(count) => finding.costs(format!("{count} {events} since boot")),
            None => finding,
        };
        finding.fix(sysctl(key, wanted))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Note, Ok, Warning};
    use crate::testing::{assert_unknown, found, told};

    #[test]
    fn a_queue_that_was_too_short_is_made_longer() {
        let host = |softnet: &str, profile| {
            let files = [
                ("proc/sys/net/core/netdev_max_backlog", "1000"),
                ("proc/sys/net/core/netdev_budget", "300"),
                ("proc/net/softnet_stat", softnet),
            ];
            found(&RULE, &files, profile)
                .iter()
                .map(told)
                .collect::<Vec<_>>()
        };
        let profile = "netdev_max_backlog = 5000\nnetdev_budget = 600";
        let longer = vec!["sysctl -w net.core.netdev_max_backlog=5000".to_owned()];
        let larger = vec!["sysctl -w net.core.netdev_budget=600".to_owned()];
        assert_eq!(
            host("ff 2 0", profile),
            [(Warning, longer.clone()), (Note, larger.clone())]
        );
        assert_eq!(
            host("ff 0 1", profile),
            [(Note, longer.clone()), (Warning, larger.clone())]
        );
        assert_eq!(host("", profile), [(Note, longer), (Note, larger)]);
        assert_eq!(host("ff 2 0", "netdev_max_backlog = 1000"), [(Ok, vec![])]);
        assert_eq!(host("ff 2 0", ""), []);
        assert_unknown(&RULE, profile);
    }
}
