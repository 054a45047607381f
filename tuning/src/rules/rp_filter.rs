//! The kernel's check of sources drops multicast of other networks without a word.

use std::net::Ipv4Addr;

use super::each_interface;
use crate::facts::{Facts, Interface};
use crate::finding::Finding;
use crate::profile::{Profile, SourceCheck};
use crate::registry::Rule;
use crate::setting::{in_key, sysctl};

const ID: &str = "rp-filter";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "the kernel's check of sources (rp_filter) lets multicast of other networks in",
    check,
};

const WHY: &str = "packets whose source the kernel would not answer through this interface are dropped silently; senders often \
                   stand in other networks";

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    each_interface(facts, |interface| judge(facts, profile, interface))
}

fn judge(facts: &Facts, profile: &Profile, interface: &Interface) -> Finding {
    let key = format!("net.ipv4.conf.{}.rp_filter", in_key(&interface.name));
    let (Some(all), Some(own)) = (
        facts.sysctl("net.ipv4.conf.all.rp_filter"),
        facts.sysctl(&key),
    ) else {
        return Finding::unknown(ID, format!("{key} cannot be read"), WHY);
    };
    // The kernel takes the larger of the two, although 2 is the looser check.
    let what = |is| format!("{key} = {own}, of all {all}: sources are checked {is}");
    let finding = match all.max(own) {
        0 => return Finding::ok(ID, "sources are not checked"),
        1 if profile.rp_filter == SourceCheck::Strict => {
            return Finding::note(ID, what("strictly"), WHY);
        }
        1 => Finding::warning(ID, what("strictly"), WHY).fix(sysctl(key, 2)),
        _ if profile.rp_filter == SourceCheck::Off => Finding::warning(ID, what("loosely"), WHY)
            .advise("both net.ipv4.conf.all.rp_filter=0 and that of the interface, with a packet filter in their place"),
        _ if facts.routes.is_some() && facts.route(Ipv4Addr::UNSPECIFIED).is_none() => {
            Finding::note(ID, format!("{}; there is no default route", what("loosely")), WHY)
                .advise("add a route to the networks of the senders")
        }
        _ => return Finding::ok(ID, what("loosely")),
    };
    match facts.counters.get("TcpExt.IPReversePathFilter") {
        Some(&count) if count > 0 => {
            finding.costs(format!("{count} packets dropped for it since boot"))
        }
        _ => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Note, Ok, Warning};
    use crate::testing::{assert_unknown, one, told};

    const ROUTES: &str = "Iface\neth0 00000000 0101000A 0003 0 0 0 00000000 0 0 0";

    fn host(all: &str, own: &str, routes: &str, profile: &str) -> Finding {
        let netstat = "TcpExt: IPReversePathFilter\nTcpExt: 17\n";
        let files = [
            ("proc/sys/net/ipv4/conf/all/rp_filter", all),
            ("proc/sys/net/ipv4/conf/eth0/rp_filter", own),
            ("proc/net/netstat", netstat),
            ("proc/net/route", routes),
        ];
        one(&RULE, &files, profile)
    }

    #[test]
    fn a_strict_check_is_loosened() {
        let loose = "rp_filter = \"loose\"";
        let fix = vec!["sysctl -w net.ipv4.conf.eth0.rp_filter=2".to_owned()];
        for (all, own) in [("1", "0"), ("0", "1"), ("1", "1")] {
            let finding = host(all, own, ROUTES, loose);
            assert_eq!(told(&finding), (Warning, fix.clone()));
            assert_eq!(
                finding.cost.as_deref(),
                Some("17 packets dropped for it since boot")
            );
        }
        assert_eq!(told(&host("1", "2", ROUTES, loose)).0, Ok);
        assert_eq!(told(&host("0", "0", ROUTES, loose)).0, Ok);
        assert_eq!(told(&host("0", "2", "Iface\n", loose)).0, Note);
        assert_eq!(told(&host("1", "1", ROUTES, "")).0, Note);
        assert_eq!(
            told(&host("2", "0", ROUTES, "rp_filter = \"off\"")).0,
            Warning
        );
        assert_unknown(&RULE, loose);
    }
}
