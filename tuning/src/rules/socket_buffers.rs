//! Socket buffers: how long a core may be late before packets are lost.

use super::bytes;
use crate::facts::Facts;
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;
use crate::setting::sysctl;

const ID: &str = "socket-buffers";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "sockets may have the buffers that sealcast asks for (rmem_max, wmem_max), and others decent ones",
    check,
};

/// What a datagram of 7 TS packets takes of a receive buffer when it comes alone: a page half and its head.
const IN_BUFFER: u64 = 2304;
/// A busy channel: 20,000 datagrams of 7 TS packets in a second are 210 Mbit/s.
const PER_SECOND: u64 = 20_000;

const BOUND: &str = "sealcast asks for 8 MiB per socket (buffer=); an unprivileged service gets no more than this bound, and a burst \
                     or a pause that it cannot hold loses packets";
const DEFAULT: &str = "encoders, players and probes beside sealcast that ask for nothing get this; sealcast asks by itself";

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    [
        ("net.core.rmem_max", profile.rmem_max),
        ("net.core.wmem_max", profile.wmem_max),
        ("net.core.rmem_default", profile.rmem_default),
        ("net.core.wmem_default", profile.wmem_default),
    ]
    .into_iter()
    .filter(|(_, wanted)| *wanted > 0)
    .map(|(key, wanted)| judge(facts, key, wanted))
    .collect()
}

fn judge(facts: &Facts, key: &'static str, wanted: u64) -> Finding {
    let is_bound = key.ends_with("_max");
    let why = if is_bound { BOUND } else { DEFAULT };
    let Some(value) = facts.sysctl(key) else {
        return Finding::unknown(ID, format!("{key} cannot be read"), why);
    };
    let what = format!(
        "{key} = {value} ({}), {} wanted",
        bytes(value),
        bytes(wanted)
    );
    if value >= wanted {
        return Finding::ok(ID, what);
    }
    // Of what a program asks for, the kernel makes twice as much; not of the default.
    let counts = if is_bound { 2 * value } else { value };
    let datagrams = counts / IN_BUFFER;
    let finding = match is_bound {
        true => Finding::warning(ID, what, why),
        false => Finding::note(ID, what, why),
    };
    let finding = match key.contains("rmem") {
        true => finding.costs(format!(
            "it holds about {datagrams} datagrams that come singly: {} ms at 210 Mbit/s",
            datagrams * 1000 / PER_SECOND
        )),
        false => finding.costs(format!(
            "it holds about {} batches of 48 datagrams",
            counts / 65_536
        )),
    };
    finding.fix(sysctl(key, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Note, Ok, Warning};
    use crate::testing::{assert_unknown, found, told};

    #[test]
    fn bounds_are_raised_and_defaults_told() {
        let files = [
            ("proc/sys/net/core/rmem_max", "212992"),
            ("proc/sys/net/core/wmem_max", "8388608"),
            ("proc/sys/net/core/rmem_default", "212992"),
        ];
        let profile =
            "rmem_max = 8388608\nwmem_max = 8388608\nrmem_default = 1048576\nwmem_default = 9";
        let all = found(&RULE, &files, profile);
        let severities: Vec<_> = all.iter().map(|finding| finding.severity).collect();
        assert_eq!(severities, [Warning, Ok, Note, Note]);
        assert_eq!(
            told(&all[0]).1,
            ["sysctl -w net.core.rmem_max=8388608"],
            "{all:?}"
        );
        assert_eq!(
            all[2].cost.as_deref(),
            Some("it holds about 92 datagrams that come singly: 4 ms at 210 Mbit/s")
        );
        assert!(all[3].unknown);
        assert_unknown(&RULE, profile);
        assert_eq!(found(&RULE, &files, ""), []);
    }
}
