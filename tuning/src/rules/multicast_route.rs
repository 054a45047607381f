//! A route for groups, for sockets that name no interface.

use super::each_interface;
use crate::facts::{ANY_GROUP, Facts};
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;

const ID: &str = "multicast-route";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "a route leads to multicast groups, through the interface that is meant",
    check,
};

const WHY: &str = "a group without iface= goes where the routing table says; without a route: \"Network is unreachable\"";

fn check(facts: &Facts, _: &Profile) -> Vec<Finding> {
    let Some(routes) = &facts.routes else {
        return vec![Finding::unknown(ID, "the routes cannot be read", WHY)];
    };
    let advice = |interface: &str| {
        format!("ip route add 239.0.0.0/8 dev {interface}, or iface={interface} with every group")
    };
    let Some(route) = facts.route(ANY_GROUP) else {
        let interface = facts.interfaces.first().map_or("IF", |found| &found.name);
        let what = format!("none of {} routes leads to 239.0.0.0/8", routes.len());
        return vec![Finding::warning(ID, what, WHY).advise(advice(interface))];
    };
    each_interface(facts, |interface| {
        if route.interface == interface.name {
            return Finding::ok(ID, "groups without iface= go through it");
        }
        let what = format!("groups without iface= go through {}", route.interface);
        // With two legs one of them is always there.
        Finding::note(ID, what, WHY).advise(advice(&interface.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Note, Ok, Warning};
    use crate::testing::{assert_unknown, severity};

    const TITLE: &str = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";

    #[test]
    fn groups_leave_by_the_interface_that_is_meant() {
        let host = |routes: &[&str]| {
            let text = format!("{TITLE}{}", routes.join("\n"));
            severity(&RULE, &[("proc/net/route", &text)], "")
        };
        let default = "eth0 00000000 0101000A 0003 0 0 0 00000000 0 0 0";
        let own = "eth0 0001000A 00000000 0001 0 0 0 00FFFFFF 0 0 0";
        let other = "eth1 000000EF 00000000 0001 0 0 0 000000FF 0 0 0";
        let costly = "eth1 00000000 0101000A 0003 0 0 100 00000000 0 0 0";
        assert_eq!(host(&[default, own]), Ok);
        assert_eq!(host(&[costly, default]), Ok);
        assert_eq!(host(&[default, other]), Note);
        assert_eq!(host(&[own]), Warning);
        assert_eq!(host(&[]), Warning);
        assert_unknown(&RULE, "");
    }
}
