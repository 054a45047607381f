//! How many groups a socket may join.

use crate::facts::Facts;
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;
use crate::setting::sysctl;

const ID: &str = "igmp-memberships";
const KEY: &str = "net.ipv4.igmp_max_memberships";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "a socket may join as many groups as there are channels",
    check,
};

const WHY: &str = "one more and joining fails with ENOBUFS; sealcast has a socket per group, but players, probes and relays beside \
                   it join all channels on one";

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    let Some(limit) = facts.sysctl(KEY) else {
        return vec![Finding::unknown(ID, format!("{KEY} cannot be read"), WHY)];
    };
    let wanted = profile.groups.max(1);
    let what = format!("{KEY} = {limit}, {wanted} group(s) expected");
    vec![match limit {
        0 => Finding::error(ID, what, "no socket may join any group").fix(sysctl(KEY, wanted)),
        limit if limit < wanted => Finding::warning(ID, what, WHY).fix(sysctl(KEY, wanted)),
        _ => Finding::ok(ID, what),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Error, Ok, Warning};
    use crate::testing::{assert_unknown, one, told};

    #[test]
    fn as_many_as_there_are_groups() {
        let host = |limit, profile| {
            let files = [("proc/sys/net/ipv4/igmp_max_memberships", limit)];
            told(&one(&RULE, &files, profile))
        };
        let raise = |to| vec![format!("sysctl -w net.ipv4.igmp_max_memberships={to}")];
        assert_eq!(host("20", "groups = 20"), (Ok, vec![]));
        assert_eq!(host("20", "groups = 21"), (Warning, raise(21)));
        assert_eq!(host("0", ""), (Error, raise(1)));
        assert_unknown(&RULE, "groups = 20");
    }
}
