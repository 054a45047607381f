//! Something keeps the wall clock right.

use crate::facts::Facts;
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;

const ID: &str = "time-sync";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "a program keeps the wall clock right (chrony, ntpd, systemd-timesyncd, PTP)",
    check,
};

/// Names of processes, cut to 15 characters as the kernel does.
const KEEPERS: [&str; 8] = [
    "chronyd",
    "ntpd",
    "ntpsec",
    "ntp-daemon",
    "openntpd",
    "phc2sys",
    "ptp4l",
    "systemd-timesyn",
];
const WHY: &str = "keys need no common clock, but certificates do: a clock that is two days off is refused; and logs of several hosts \
                   can only be read together if their clocks agree";

fn check(facts: &Facts, _: &Profile) -> Vec<Finding> {
    if facts.clock_set {
        return vec![Finding::ok(ID, "systemd-timesyncd has set the clock")];
    }
    let Some(programs) = &facts.programs else {
        return vec![Finding::unknown(
            ID,
            "running programs cannot be listed",
            WHY,
        )];
    };
    let keeper = KEEPERS.iter().find(|name| programs.contains(**name));
    vec![match keeper {
        Some(name) => Finding::ok(ID, format!("{name} runs")),
        None => Finding::warning(ID, "no program that keeps the clock is seen running", WHY)
            .advise("install chrony (in a container: at the host)"),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Ok, Warning};
    use crate::testing::{assert_unknown, severity};

    #[test]
    fn somebody_keeps_the_clock() {
        let init = ("proc/1/comm", "init");
        assert_eq!(severity(&RULE, &[init], ""), Warning);
        assert_eq!(
            severity(&RULE, &[init, ("proc/9/comm", "chronyd\n")], ""),
            Ok
        );
        let set = ("run/systemd/timesync/synchronized", "");
        assert_eq!(severity(&RULE, &[init, set], ""), Ok);
        assert_unknown(&RULE, "");
    }
}
