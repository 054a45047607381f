//! The interface is up and takes multicast.

use super::each_interface;
use crate::facts::{Facts, Interface};
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;

const ID: &str = "interface";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "the interface is up, has a carrier, and takes multicast",
    check,
};

const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_MULTICAST: u32 = 0x1000;

const WHY: &str = "packets go nowhere through an interface that is down or takes no multicast";

fn check(facts: &Facts, _: &Profile) -> Vec<Finding> {
    if facts.interfaces.is_empty() {
        return vec![
            Finding::unknown(
                ID,
                "none is named, and no route leads to multicast groups",
                WHY,
            )
            .advise("name those that carry streams with --interface"),
        ];
    }
    each_interface(facts, judge)
}

fn judge(interface: &Interface) -> Finding {
    let name = &interface.name;
    let Some(flags) = interface.flags else {
        return Finding::unknown(ID, "its flags cannot be read", WHY);
    };
    if flags & IFF_UP == 0 {
        return Finding::error(ID, "it is down", WHY).advise(format!("ip link set {name} up"));
    }
    if flags & (IFF_MULTICAST | IFF_LOOPBACK) == 0 {
        return Finding::error(ID, "it is up, but takes no multicast", WHY)
            .advise(format!("ip link set {name} multicast on"));
    }
    match interface.state.as_deref() {
        Some(state @ ("down" | "lowerlayerdown" | "dormant" | "notpresent")) => {
            Finding::error(ID, format!("it is up, but its state is {state}"), WHY)
                .advise("look at cable, switch port or the interface below it")
        }
        _ => Finding::ok(ID, "up, takes multicast"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Error, Ok};
    use crate::testing::{assert_unknown, one, severity};

    #[test]
    fn it_is_up_and_takes_multicast() {
        let host = |flags, state| {
            let files = [
                ("sys/class/net/eth0/flags", flags),
                ("sys/class/net/eth0/operstate", state),
            ];
            severity(&RULE, &files, "")
        };
        assert_eq!(host("0x1003", "up"), Ok);
        assert_eq!(host("0x9", "unknown"), Ok, "loopback");
        assert_eq!(host("0x1002", "down"), Error);
        assert_eq!(host("0x3", "up"), Error);
        assert_eq!(host("0x1003", "lowerlayerdown"), Error);
        assert_unknown(&RULE, "");
        let finding = one(&RULE, &[("sys/class/net/eth0/flags", "0x1003")], "");
        assert_eq!(finding.subject.as_deref(), Some("eth0"));
        let none = check(&Facts::default(), &Profile::default());
        assert!(none.len() == 1 && none[0].unknown, "{none:?}");
    }
}
