//! The queueing discipline of the interface.

use super::each_interface;
use crate::facts::{Facts, Interface};
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;

const ID: &str = "qdisc";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "the queueing discipline neither drops, delays nor cuts batches",
    check,
};

const WHY: &str = "every packet that is sent goes through it";

fn check(facts: &Facts, _: &Profile) -> Vec<Finding> {
    each_interface(facts, judge)
}

fn judge(interface: &Interface) -> Finding {
    let kinds = match &interface.qdiscs {
        Ok(kinds) if !kinds.is_empty() => kinds,
        Ok(_) => return Finding::unknown(ID, "tc names none", WHY),
        Err(error) => return Finding::unknown(ID, error.to_string(), WHY),
    };
    let what = kinds.join(", ");
    let has = |wanted: &[&str]| kinds.iter().any(|kind| wanted.contains(&kind.as_str()));
    let advice = format!(
        "tc qdisc del dev {} root, unless it is meant",
        interface.name
    );
    if has(&["blackhole"]) {
        return Finding::error(ID, what, "blackhole drops whatever is sent").advise(advice);
    }
    if has(&["netem"]) {
        return Finding::warning(ID, what, "netem delays and loses on purpose").advise(advice);
    }
    if has(&["tbf", "htb", "hfsc", "cake"]) {
        return Finding::warning(
            ID,
            what,
            "it shapes: batches are cut up again, and what is above its rate waits, then is lost",
        )
        .costs("measured with tbf: about 0.9 of a core for 1 Gbit/s")
        .advise(advice);
    }
    if has(&["fq", "etf"]) {
        return Finding::note(
            ID,
            what,
            "it paces only sockets that ask for it, and sealcast paces by itself; fq lets one flow have 100 packets in its queue",
        );
    }
    if has(&["fq_codel", "codel", "fq_pie", "pie", "red"]) {
        return Finding::note(
            ID,
            what,
            "it drops early when packets wait: a stream is not slowed by that, it just loses them",
        )
        .advise(format!(
            "on an interface that carries streams: tc qdisc replace dev {} root mq (or pfifo_fast)",
            interface.name
        ));
    }
    Finding::ok(ID, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::parse;
    use crate::finding::Severity::{Error, Note, Ok, Warning};
    use crate::testing::{assert_unknown, facts};

    #[test]
    fn plain_queues_are_best() {
        let host = |text| {
            let mut facts = facts(&[]);
            facts.interfaces[0].qdiscs = Result::Ok(parse::qdiscs(text));
            check(&facts, &Profile::default()).remove(0)
        };
        let severities = [
            ("qdisc noqueue 0: root refcnt 2", Ok),
            ("qdisc mq 0: root\nqdisc pfifo_fast 0: parent :1", Ok),
            ("qdisc mq 0: root\nqdisc fq_codel 0: parent :1", Note),
            ("qdisc fq 8001: root refcnt 2", Note),
            ("qdisc tbf 8001: root rate 1Gbit", Warning),
            ("qdisc netem 8001: root", Warning),
            ("qdisc blackhole 8001: root", Error),
        ];
        for (text, severity) in severities {
            assert_eq!(host(text).severity, severity, "{text}");
        }
        assert!(host("").unknown);
        assert_unknown(&RULE, "");
    }
}
