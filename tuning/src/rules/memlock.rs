//! Locked memory: executors that wait in io_uring refuse to start with too little.

use super::bytes;
use crate::facts::Facts;
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;

const ID: &str = "memlock";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "the limit of locked memory (ulimit -l) lets every executor that waits in io_uring start",
    check,
};

/// What one executor must be able to lock: measured, one byte less and it does not start.
const EXECUTOR_MIN: u64 = 512 * 1024;
/// What the three rings of an executor register when they may.
const EXECUTOR_FULL: u64 = 30 * 1024 * 1024;

const WHY: &str = "the three rings of an executor that waits in io_uring lock memory; with too little it does not start";
const ADVICE: &str = "services: LimitMEMLOCK=infinity in the unit (the units of docs/systemd have it); shells: ulimit -l, or \
                      /etc/security/limits.conf";

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    vec![judge(facts, profile.executors(), profile.io_uring)]
}

fn judge(facts: &Facts, executors: u64, io_uring: bool) -> Finding {
    let Some(limit) = facts.memlock else {
        return Finding::unknown(ID, "the limit cannot be read", WHY);
    };
    if limit == u64::MAX {
        return Finding::ok(ID, "unlimited");
    }
    let what = format!(
        "this shell may lock {}; {executors} executor(s) need {} at least",
        bytes(limit),
        bytes(executors * EXECUTOR_MIN)
    );
    if !io_uring {
        let why = "io_uring = false in the profile: nothing needs it";
        Finding::ok(ID, format!("may lock {}; {why}", bytes(limit)))
    } else if limit < EXECUTOR_MIN {
        Finding::error(ID, what, WHY).advise(ADVICE)
    } else if limit < executors * EXECUTOR_MIN {
        Finding::warning(ID, what, WHY).advise(ADVICE)
    } else if limit < executors * EXECUTOR_FULL {
        Finding::note(
            ID,
            what,
            "they run, but cannot register their buffers with the kernel",
        )
        .costs(format!(
            "all of it would be {}",
            bytes(executors * EXECUTOR_FULL)
        ))
        .advise(ADVICE)
    } else {
        Finding::ok(ID, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Error, Note, Ok, Warning};
    use crate::testing::{assert_unknown, severity};

    #[test]
    fn half_a_mebibyte_per_executor() {
        let judged = |limit: &str, profile: &str| {
            let text = format!("Max locked memory         {limit}   unlimited   bytes");
            severity(&RULE, &[("proc/self/limits", &text)], profile)
        };
        let host = |limit, profile| judged(limit, &format!("io_uring = true\n{profile}"));
        assert_eq!(judged("524287", ""), Ok);
        assert_eq!(host("unlimited", "executors = 64"), Ok);
        assert_eq!(host("524287", ""), Error);
        assert_eq!(host("524288", ""), Note);
        assert_eq!(host("524288", "cores = \"0-1\""), Warning);
        assert_eq!(host("8388608", "cores = \"0-1\""), Note);
        assert_eq!(host("67108864", "cores = \"0-1\""), Ok);
        assert_unknown(&RULE, "");
    }
}
