//! Where the kernel reads the time.

use crate::facts::Facts;
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;
use crate::setting::file;

const ID: &str = "clock-source";
const PATH: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "the clock is read without a system call (tsc, arch_sys_counter and the like)",
    check,
};

/// Sources that programs read without a system call.
const FAST: [&str; 4] = [
    "tsc",
    "arch_sys_counter",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
];
const WHY: &str = "the time is read at every batch; with this source each reading is a system call or goes to a device";

fn check(facts: &Facts, _: &Profile) -> Vec<Finding> {
    let processor = &facts.processor;
    let Some(clock) = &processor.clock else {
        return vec![Finding::unknown(ID, "the clock source cannot be read", WHY)];
    };
    if FAST.contains(&clock.as_str()) {
        return vec![Finding::ok(ID, clock.clone())];
    }
    let finding = Finding::warning(ID, clock.clone(), WHY);
    let better = FAST
        .iter()
        .find(|fast| processor.clocks.iter().any(|clock| clock == *fast));
    vec![match better {
        Some(better) => finding.fix(file(PATH, better)),
        None => finding.advise(
            "the kernel offers none that is faster: see in its log why it left tsc (clocksource, unstable)",
        ),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Ok, Warning};
    use crate::testing::{assert_unknown, one, told};

    #[test]
    fn a_faster_one_is_taken_if_there_is_one() {
        let host = |current, available| {
            let files = [
                (PATH, current),
                (
                    "sys/devices/system/clocksource/clocksource0/available_clocksource",
                    available,
                ),
            ];
            told(&one(&RULE, &files, ""))
        };
        assert_eq!(host("tsc", "tsc hpet"), (Ok, vec![]));
        assert_eq!(host("kvm-clock", "kvm-clock"), (Ok, vec![]));
        let take = vec![format!("echo tsc > {PATH}")];
        assert_eq!(host("hpet", "tsc hpet acpi_pm"), (Warning, take));
        assert_eq!(host("hpet", "hpet acpi_pm"), (Warning, vec![]));
        assert_unknown(&RULE, "");
    }
}
