//! io_uring, for executors that wait in it and for sends without copies.

use crate::facts::Facts;
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;
use crate::setting::sysctl;

const ID: &str = "io-uring";
const SWITCH: &str = "kernel.io_uring_disabled";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "io_uring is there and allowed: Linux 5.8 or newer, kernel.io_uring_disabled=0",
    check,
};

/// The oldest kernel that has what the executors need.
const KERNEL_MIN: (u32, u32) = (5, 8);
/// The kernel that brought the switch; one that has it not and is newer was built without io_uring.
const SWITCH_SINCE: (u32, u32) = (6, 6);

const WHY: &str =
    "executors that wait in io_uring and sends without copies need it; all else does without";

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    vec![judge(facts, profile.io_uring)]
}

fn judge(facts: &Facts, needed: bool) -> Finding {
    let lacking = if needed {
        Finding::error
    } else {
        Finding::note
    };
    let Some((major, minor)) = facts.kernel else {
        return Finding::unknown(ID, "the kernel's version cannot be read", WHY);
    };
    if (major, minor) < KERNEL_MIN {
        return lacking(ID, format!("Linux {major}.{minor} is too old"), WHY)
            .advise("install Linux 5.8 or newer");
    }
    match facts.sysctl(SWITCH) {
        Some(0) => Finding::ok(ID, format!("Linux {major}.{minor}, io_uring allowed")),
        Some(1) => lacking(
            ID,
            format!("{SWITCH} = 1: only privileged processes and one group may use io_uring"),
            WHY,
        )
        .fix(sysctl(SWITCH, 0))
        .advise("or put the service's group into kernel.io_uring_group"),
        Some(_) => lacking(ID, format!("{SWITCH} = 2: io_uring is switched off"), WHY)
            .fix(sysctl(SWITCH, 0)),
        None if (major, minor) < SWITCH_SINCE => Finding::ok(ID, format!("Linux {major}.{minor}")),
        None if facts.sysctls.contains_key("kernel.ostype") => lacking(
            ID,
            format!("Linux {major}.{minor} without {SWITCH}: built without io_uring"),
            WHY,
        )
        .advise("use a kernel with CONFIG_IO_URING=y"),
        None => Finding::unknown(ID, format!("{SWITCH} cannot be read"), WHY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Error, Note, Ok};
    use crate::testing::{assert_unknown, one, told};

    #[test]
    fn it_is_there_and_allowed() {
        let judged = |release, switch: Option<&'static str>, profile| {
            let mut files = vec![
                ("proc/sys/kernel/osrelease", release),
                ("proc/sys/kernel/ostype", "Linux"),
            ];
            files.extend(switch.map(|value| ("proc/sys/kernel/io_uring_disabled", value)));
            told(&one(&RULE, &files, profile))
        };
        let host = |release, switch| judged(release, switch, "io_uring = true");
        let allow = vec!["sysctl -w kernel.io_uring_disabled=0".to_owned()];
        assert_eq!(host("6.18.4", Some("0\n")), (Ok, vec![]));
        assert_eq!(host("5.10.0-9", None), (Ok, vec![]));
        assert_eq!(host("6.12.0", Some("1")), (Error, allow.clone()));
        assert_eq!(host("6.12.0", Some("2")), (Error, allow.clone()));
        assert_eq!(judged("6.12.0", Some("2"), ""), (Note, allow));
        assert_eq!(judged("5.4.0", None, ""), (Note, vec![]));
        assert_eq!(host("6.12.0", None), (Error, vec![]));
        assert_eq!(host("5.4.0", None), (Error, vec![]));
        assert_unknown(&RULE, "");
    }
}
