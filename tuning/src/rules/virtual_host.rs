//! A virtual machine has rivals that it does not see.

use crate::facts::Facts;
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;

const ID: &str = "virtual-host";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "whether the host is a virtual machine",
    check,
};

const WHY: &str = "cores may be taken away for milliseconds, and the network's real features are those of the machine below";

fn check(facts: &Facts, _: &Profile) -> Vec<Finding> {
    vec![match facts.processor.has(&["hypervisor"]) {
        Some(true) => {
            let vendor = facts.processor.vendor.as_deref().unwrap_or("not named");
            Finding::note(ID, format!("a virtual machine (vendor: {vendor})"), WHY).advise(
                "pin its processors at the machine below, and measure there, too; give it a network function of its own (SR-IOV)",
            )
        }
        Some(false) => Finding::ok(ID, "not virtual, as far as the processor tells"),
        None => Finding::unknown(ID, "the processor's flags cannot be read", WHY),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Note, Ok};
    use crate::testing::{assert_unknown, one};

    #[test]
    fn a_virtual_machine_is_told() {
        let host = |flags| {
            let files = [
                ("proc/cpuinfo", flags),
                ("sys/class/dmi/id/sys_vendor", "QEMU\n"),
            ];
            one(&RULE, &files, "")
        };
        let virtual_one = host("flags : aes hypervisor");
        assert_eq!(virtual_one.severity, Note);
        assert!(virtual_one.what.contains("QEMU"));
        assert_eq!(host("flags : aes").severity, Ok);
        assert_unknown(&RULE, "");
    }
}
