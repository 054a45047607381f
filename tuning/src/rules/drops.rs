//! What was lost on this host since it booted.

use crate::facts::{Facts, Interface};
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;

const ID: &str = "drops";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "counters of datagrams lost since boot: full buffers, interfaces",
    check,
};

const WHY: &str = "datagrams were lost on this host itself; look whether the counters still grow while sealcast runs";

fn check(facts: &Facts, _: &Profile) -> Vec<Finding> {
    let mut found = vec![of_sockets(facts)];
    found.extend(
        facts
            .interfaces
            .iter()
            .map(|interface| of_interface(interface).about(&interface.name)),
    );
    found
}

fn of_sockets(facts: &Facts) -> Finding {
    let counts = ["Udp.RcvbufErrors", "Udp.SndbufErrors"]
        .map(|name| Some((name, *facts.counters.get(name)?)));
    let [Some(received), Some(sent)] = counts else {
        return Finding::unknown(ID, "counters of UDP cannot be read", WHY);
    };
    let lost: Vec<_> = [received, sent]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect();
    if lost.is_empty() {
        return Finding::ok(ID, "no socket's buffer was ever full");
    }
    Finding::note(ID, told(&lost), WHY)
        .advise("a larger buffer= with the group, if the bound (socket-buffers) allows it, or a core of its own")
}

fn of_interface(interface: &Interface) -> Finding {
    if interface.losses.is_empty() {
        return Finding::unknown(ID, "its counters cannot be read", WHY);
    }
    let lost: Vec<_> = interface
        .losses
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| (*name, *count))
        .collect();
    if lost.is_empty() {
        return Finding::ok(ID, "no losses counted");
    }
    Finding::note(ID, told(&lost), WHY).advise(format!(
        "ethtool -S {} tells more; a longer ring: ethtool -G",
        interface.name
    ))
}

fn told(lost: &[(&str, u64)]) -> String {
    let lost: Vec<_> = lost
        .iter()
        .map(|(name, count)| format!("{name} = {count}"))
        .collect();
    lost.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Note, Ok};
    use crate::testing::{assert_unknown, found};

    #[test]
    fn what_was_lost_is_counted() {
        let host = |udp: &str, missed| {
            let snmp = format!("Udp: RcvbufErrors SndbufErrors\nUdp: {udp}\n");
            let files = [
                ("proc/net/snmp", snmp.as_str()),
                ("sys/class/net/eth0/statistics/rx_missed_errors", missed),
                ("sys/class/net/eth0/statistics/rx_errors", "0"),
            ];
            let found = found(&RULE, &files, "");
            found
                .into_iter()
                .map(|finding| (finding.severity, finding.what))
                .collect::<Vec<_>>()
        };
        let quiet = host("0 0", "0");
        assert!(quiet.iter().all(|(severity, _)| *severity == Ok));
        let lossy = host("7 0", "3");
        assert_eq!(lossy[0], (Note, "Udp.RcvbufErrors = 7".to_owned()));
        assert_eq!(lossy[1], (Note, "rx_missed_errors = 3".to_owned()));
        assert_unknown(&RULE, "");
    }
}
