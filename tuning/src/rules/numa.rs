//! The interface and the shards' cores on one NUMA node.

use super::each_interface;
use crate::facts::{Facts, Interface};
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;

const ID: &str = "numa";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "the interface is attached to the NUMA node of the shards' cores (needs cores)",
    check,
};

const WHY: &str = "packets would cross the link between processors, twice";

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    if profile.cores.is_empty() {
        return Vec::new();
    }
    each_interface(facts, |interface| judge(facts, profile, interface))
}

fn judge(facts: &Facts, profile: &Profile, interface: &Interface) -> Finding {
    if facts.processor.nodes.len() == 1 {
        return Finding::ok(ID, "the host has one node");
    }
    let near = interface
        .node
        .and_then(|node| Some((node, facts.processor.nodes.get(&node)?)));
    let Some((node, near)) = near else {
        return Finding::unknown(ID, "the interface's node cannot be read", WHY);
    };
    let far = profile.cores.without(near);
    if far.is_empty() {
        return Finding::ok(
            ID,
            format!("cores {} and it are on node {node}", profile.cores),
        );
    }
    Finding::warning(
        ID,
        format!("it is on node {node} (cores {near}), cores {far} are not"),
        WHY,
    )
    .advise(format!("choose among cores {near}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Ok, Warning};
    use crate::testing::{assert_unknown, found, one, severity};

    #[test]
    fn near_cores_are_named() {
        let files = [
            ("sys/devices/system/node/node0/cpulist", "0-3"),
            ("sys/devices/system/node/node1/cpulist", "4-7"),
            ("sys/class/net/eth0/device/numa_node", "1"),
        ];
        assert_eq!(severity(&RULE, &files, "cores = \"4-5\""), Ok);
        let far = one(&RULE, &files, "cores = \"3-4\"");
        assert_eq!(far.severity, Warning);
        assert_eq!(far.fixes[0].to_string(), "choose among cores 4-7");
        assert_eq!(severity(&RULE, &files[..1], "cores = \"3-4\""), Ok);
        let nowhere = [files[0], files[1], (files[2].0, "-1")];
        assert!(one(&RULE, &nowhere, "cores = \"3\"").unknown);
        assert_eq!(found(&RULE, &files, ""), []);
        assert_unknown(&RULE, "cores = \"3\"");
    }
}
