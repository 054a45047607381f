//! IGMPv3 is what SSM (`source=`) needs.

use super::each_interface;
use crate::facts::{Facts, Interface};
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;
use crate::setting::{in_key, sysctl};

const ID: &str = "igmp-version";
const OF_ALL: &str = "net.ipv4.conf.all.force_igmp_version";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "IGMPv3 is spoken, so that groups with source= work across routers",
    check,
};

const WHY: &str =
    "only IGMPv3 tells the network from which source a group is wanted (source=, SSM)";

fn check(facts: &Facts, _: &Profile) -> Vec<Finding> {
    each_interface(facts, |interface| judge(facts, interface))
}

fn judge(facts: &Facts, interface: &Interface) -> Finding {
    let key = format!(
        "net.ipv4.conf.{}.force_igmp_version",
        in_key(&interface.name)
    );
    // That of all counts before that of the interface.
    for key in [OF_ALL, &key] {
        if let Some(version @ (1 | 2)) = facts.sysctl(key) {
            return Finding::warning(ID, format!("{key} = {version} forces an old version"), WHY)
                .fix(sysctl(key, 0));
        }
    }
    match interface.igmp_version {
        Some(3) => Finding::ok(ID, "IGMPv3"),
        Some(version) => Finding::note(
            ID,
            format!("a querier on this network speaks IGMPv{version}, so this host does, too"),
            WHY,
        )
        .advise("set the querier (router, switch) to IGMPv3, or leave source= away"),
        None => Finding::unknown(ID, "the version in use cannot be read", WHY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Note, Ok, Warning};
    use crate::testing::{assert_unknown, one, told};

    #[test]
    fn neither_forced_nor_asked_down() {
        let host = |all, own, spoken: &str| {
            let igmp = format!("Idx Device : Count Querier\n4\teth0      :     1      {spoken}\n");
            let files = [
                ("proc/sys/net/ipv4/conf/all/force_igmp_version", all),
                ("proc/sys/net/ipv4/conf/eth0/force_igmp_version", own),
                ("proc/net/igmp", igmp.as_str()),
            ];
            told(&one(&RULE, &files, ""))
        };
        let free = |of| vec![format!("sysctl -w net.ipv4.conf.{of}.force_igmp_version=0")];
        assert_eq!(host("0", "0", "V3"), (Ok, vec![]));
        assert_eq!(host("0", "3", "V3"), (Ok, vec![]));
        assert_eq!(host("0", "2", "V2"), (Warning, free("eth0")));
        assert_eq!(host("1", "0", "V1"), (Warning, free("all")));
        assert_eq!(host("0", "0", "V2"), (Note, vec![]));
        assert_unknown(&RULE, "");
    }
}
