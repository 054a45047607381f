//! The interface's queue of packets to send.

use super::each_interface;
use crate::facts::{Facts, Interface};
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;
use crate::setting::file;

const ID: &str = "tx-queue";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "the interface's queue takes bursts (tx_queue_len)",
    check,
};

const WHY: &str = "a burst of several channels that finds it full is lost at this host";

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    if profile.tx_queue_len == 0 {
        return Vec::new();
    }
    each_interface(facts, |interface| judge(profile.tx_queue_len, interface))
}

fn judge(wanted: u64, interface: &Interface) -> Finding {
    let Some(length) = interface.tx_queue_len else {
        return Finding::unknown(ID, "its length cannot be read", WHY);
    };
    let has_none = matches!(interface.qdiscs.as_deref(), Ok([kind]) if kind == "noqueue");
    if length >= wanted || has_none {
        return Finding::ok(ID, format!("{length} packets"));
    }
    let path = format!("/sys/class/net/{}/tx_queue_len", interface.name);
    Finding::warning(ID, format!("{length} packets, {wanted} wanted"), WHY)
        .costs(match interface.losses.get("tx_dropped") {
            Some(count) => format!("{count} packets dropped when sending since boot"),
            None => "not known: the interface has no counter of drops".to_owned(),
        })
        .fix(file(path, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Ok, Warning};
    use crate::testing::{assert_unknown, facts, found, one, told};

    const WANTED: &str = "tx_queue_len = 1000";

    #[test]
    fn a_short_queue_is_made_longer() {
        let files = |length| [("sys/class/net/eth0/tx_queue_len", length)];
        assert_eq!(told(&one(&RULE, &files("1000"), WANTED)), (Ok, vec![]));
        let longer = "echo 1000 > /sys/class/net/eth0/tx_queue_len".to_owned();
        assert_eq!(
            told(&one(&RULE, &files("100"), WANTED)),
            (Warning, vec![longer])
        );
        assert_eq!(found(&RULE, &files("100"), ""), []);
        let mut facts = facts(&files("0"));
        facts.interfaces[0].qdiscs = Result::Ok(vec!["noqueue".to_owned()]);
        let found = check(&facts, &Profile::parse(WANTED).unwrap());
        assert_eq!(found[0].severity, Ok);
        assert_unknown(&RULE, WANTED);
    }
}
