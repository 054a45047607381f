//! Interrupts of the interface beside the cores of shards.

use super::each_interface;
use crate::cores::CoreSet;
use crate::facts::{Facts, Interface};
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;
use crate::setting::file;

const ID: &str = "interrupts";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "the interface's interrupts are served by other cores than the shards' (needs cores)",
    check,
};

const WHY: &str =
    "an interrupt takes the core from its shard, and what it brings is worked off there first";

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    if profile.cores.is_empty() {
        return Vec::new();
    }
    each_interface(facts, |interface| judge(facts, profile, interface))
}

fn judge(facts: &Facts, profile: &Profile, interface: &Interface) -> Finding {
    if interface.interrupts.is_empty() {
        return Finding::unknown(ID, "it has none, or they cannot be read", WHY);
    }
    let numbers = |list: &[u32]| {
        let list: Vec<_> = list.iter().map(u32::to_string).collect();
        list.join(", ")
    };
    let on_shards: Vec<_> = interface
        .interrupts
        .iter()
        .filter(|interrupt| !interrupt.cores.common(&profile.cores).is_empty())
        .map(|interrupt| interrupt.number)
        .collect();
    if on_shards.is_empty() {
        let all = interface.interrupts.len();
        return Finding::ok(
            ID,
            format!("{all} interrupts on other cores than {}", profile.cores),
        );
    }
    let what = format!(
        "interrupts {} may come to the shards' cores {}",
        numbers(&on_shards),
        profile.cores
    );
    let online = facts.processor.online.clone().unwrap_or_default();
    let others = online.without(&profile.cores);
    if others.is_empty() {
        return Finding::note(ID, what, WHY).advise("leave one core to them");
    }
    let others = near(facts, interface, &others);
    let balances = facts
        .programs
        .as_ref()
        .is_some_and(|programs| programs.contains("irqbalance"));
    let mut finding = Finding::warning(ID, what, WHY);
    for number in on_shards {
        finding = finding.fix(file(
            format!("/proc/irq/{number}/smp_affinity_list"),
            &others,
        ));
    }
    match balances {
        true => finding.advise(format!(
            "irqbalance runs and moves them again: tell it IRQBALANCE_BANNED_CPULIST={}",
            profile.cores
        )),
        false => finding,
    }
}

/// Those on the interface's NUMA node, if there are any.
fn near(facts: &Facts, interface: &Interface, cores: &CoreSet) -> CoreSet {
    let node = interface
        .node
        .and_then(|node| facts.processor.nodes.get(&node));
    match node.map(|node| cores.common(node)) {
        Some(near) if !near.is_empty() => near,
        _ => cores.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Note, Ok, Warning};
    use crate::testing::{assert_unknown, found, one, told};

    const FILES: [(&str, &str); 8] = [
        ("sys/devices/system/cpu/online", "0-3"),
        ("sys/devices/system/node/node0/cpulist", "0,2"),
        ("sys/class/net/eth0/device/numa_node", "0"),
        ("sys/class/net/eth0/device/msi_irqs/41", ""),
        ("sys/class/net/eth0/device/msi_irqs/42", ""),
        ("proc/irq/41/smp_affinity_list", "0-3"),
        ("proc/irq/41/effective_affinity_list", "0"),
        ("proc/irq/42/smp_affinity_list", "0-3"),
    ];

    #[test]
    fn they_are_moved_to_cores_nearby() {
        let move_42 = "echo 0,2 > /proc/irq/42/smp_affinity_list".to_owned();
        let shared = one(&RULE, &FILES, "cores = \"3\"");
        assert_eq!(told(&shared), (Warning, vec![move_42]));
        let mut apart = FILES;
        apart[7].1 = "1";
        assert_eq!(told(&one(&RULE, &apart, "cores = \"3\"")).0, Ok);
        assert_eq!(told(&one(&RULE, &FILES, "cores = \"0-3\"")).0, Note);
        assert_eq!(found(&RULE, &FILES, ""), []);
        assert_unknown(&RULE, "cores = \"3\"");
    }

    #[test]
    fn who_moves_them_back_is_named() {
        let balancing = [&FILES[..], &[("proc/77/comm", "irqbalance\n")]].concat();
        let finding = one(&RULE, &balancing, "cores = \"3\"");
        let advice = finding.fixes.last().unwrap().to_string();
        assert!(advice.contains("IRQBALANCE_BANNED_CPULIST=3"), "{advice}");
    }
}
