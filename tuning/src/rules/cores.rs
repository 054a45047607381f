//! The cores that shards are pinned to: there, and left to them.

use crate::facts::Facts;
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;

const ID: &str = "cores";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "cores named for shards exist and are kept free of other work (isolcpus, nohz_full)",
    check,
};

const WHY: &str =
    "other work on a shard's core makes packets late: what shares it takes turns of milliseconds";

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    vec![judge(facts, profile)]
}

fn judge(facts: &Facts, profile: &Profile) -> Finding {
    let Some(online) = &facts.processor.online else {
        return Finding::unknown(ID, "the cores cannot be listed", WHY);
    };
    let isolated = facts.processor.isolated.clone().unwrap_or_default();
    let cores = &profile.cores;
    if cores.is_empty() {
        let what = match isolated.is_empty() {
            true => format!("no cores are named; {online} run"),
            false => format!("no cores are named; {online} run, {isolated} isolated"),
        };
        return Finding::note(ID, what, WHY)
            .advise("name the cores of `cores = [...]` or --cores of the program with --cores");
    }
    let missing = cores.without(online);
    if !missing.is_empty() {
        return Finding::error(
            ID,
            format!("{missing} of {cores} do not run; {online} do"),
            "a shard on a core that is not there does not start",
        )
        .advise("name others");
    }
    if online.without(cores).is_empty() && online.len() > 1 {
        return Finding::warning(ID, format!("shards have all cores ({cores})"), WHY)
            .advise("leave one core to the kernel, interrupts and other programs");
    }
    let shared = cores.without(&isolated);
    if !shared.is_empty() {
        return Finding::note(ID, format!("{shared} of {cores} are not isolated"), WHY)
            .advise(format!("boot with isolcpus={cores} nohz_full={cores}"));
    }
    let ticking = cores.without(&facts.processor.tickless);
    match ticking.is_empty() {
        true => Finding::ok(ID, format!("{cores}, isolated, without tick")),
        false => Finding::ok(ID, format!("{cores}, isolated; {ticking} with tick")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Error, Note, Ok, Warning};
    use crate::testing::{assert_unknown, severity};

    #[test]
    fn cores_exist_and_are_free() {
        let host = |isolated, cores: &str| {
            let files = [
                ("sys/devices/system/cpu/online", "0-3"),
                ("sys/devices/system/cpu/isolated", isolated),
                ("sys/devices/system/cpu/nohz_full", "(null)"),
            ];
            severity(&RULE, &files, &format!("cores = \"{cores}\""))
        };
        assert_eq!(host("2-3", "2-3"), Ok);
        assert_eq!(host("", "2-3"), Note);
        assert_eq!(host("", ""), Note);
        assert_eq!(host("", "0-3"), Warning);
        assert_eq!(host("", "3-4"), Error);
        assert_unknown(&RULE, "");
    }
}
