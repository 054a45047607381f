//! Open files: sockets, rings, connections.

use crate::facts::Facts;
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;

const ID: &str = "open-files";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "the limit of open files (ulimit -n) is enough for sockets and rings",
    check,
};

/// Three rings and their event file per executor.
const PER_EXECUTOR: u64 = 4;
/// Socket in and out of a group, and one for its second leg.
const PER_GROUP: u64 = 3;
/// Standard streams, metrics, files of keys.
const REST: u64 = 64;

const WHY: &str =
    "every group has a socket of its own, every executor three rings; what cannot be opened fails";

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    let needs = profile.executors() * PER_EXECUTOR + profile.groups * PER_GROUP + REST;
    let wanted = needs.max(profile.open_files);
    let Some(limit) = facts.open_files else {
        return vec![Finding::unknown(ID, "the limit cannot be read", WHY)];
    };
    let what = match limit {
        u64::MAX => "unlimited".to_owned(),
        limit => format!("this shell may open {limit} files; {wanted} are asked for"),
    };
    let finding = if limit < needs {
        Finding::error(ID, what, WHY)
    } else if limit < wanted {
        Finding::warning(ID, what, WHY)
    } else {
        return vec![Finding::ok(ID, what)];
    };
    vec![finding.advise(
        "services: LimitNOFILE=65536 in the unit (the units of docs/systemd have it); shells: ulimit -n",
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Error, Ok, Warning};
    use crate::testing::{assert_unknown, severity};

    #[test]
    fn sockets_rings_and_the_rest() {
        let host = |limit: &str, profile| {
            let text = format!("Max open files            {limit}    unlimited   files");
            severity(&RULE, &[("proc/self/limits", &text)], profile)
        };
        assert_eq!(host("1024", "groups = 20\nopen_files = 1024"), Ok);
        assert_eq!(host("1024", "groups = 20\nopen_files = 4096"), Warning);
        assert_eq!(host("1024", "groups = 400"), Error);
        assert_eq!(host("unlimited", "groups = 400"), Ok);
        assert_unknown(&RULE, "");
    }
}
