//! How processors choose their frequency.

use crate::cores::CoreSet;
use crate::facts::Facts;
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;
use crate::setting::file;

const ID: &str = "governor";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "cores keep their frequency (cpufreq governor)",
    check,
};

const WHY: &str =
    "a core that was idle begins slowly: packets of the first milliseconds of a burst are late";

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    let wanted = &profile.governor;
    if wanted.is_empty() {
        return Vec::new();
    }
    let all = &facts.processor.governors;
    if all.is_empty() {
        return vec![Finding::unknown(
            ID,
            "no governor can be read (virtual machines leave that to their host)",
            WHY,
        )];
    }
    let counts = |core: &u32| profile.cores.is_empty() || profile.cores.contains(*core);
    let others = all
        .iter()
        .filter(|(core, governor)| counts(core) && *governor != wanted);
    let others: Vec<_> = others.collect();
    let Some((_, governor)) = others.first() else {
        return vec![Finding::ok(ID, wanted.clone())];
    };
    let cores: CoreSet = others.iter().map(|(core, _)| **core).collect();
    let what = format!("{governor} on cores {cores}, {wanted} wanted");
    let mut finding = Finding::warning(ID, what, WHY);
    for core in cores.iter() {
        let path = format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor");
        finding = finding.fix(file(path, wanted));
    }
    vec![finding]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Ok, Warning};
    use crate::testing::{assert_unknown, found, one, told};

    #[test]
    fn cores_that_matter_get_it() {
        let path = |core: u32| format!("sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor");
        let (zero, one_) = (path(0), path(1));
        let files = [
            ("sys/devices/system/cpu/online", "0-1"),
            (zero.as_str(), "performance"),
            (one_.as_str(), "schedutil"),
        ];
        let profile = |cores: &str| format!("governor = \"performance\"\ncores = \"{cores}\"");
        let set = vec![format!("echo performance > /{one_}")];
        assert_eq!(
            told(&one(&RULE, &files, &profile(""))),
            (Warning, set.clone())
        );
        assert_eq!(told(&one(&RULE, &files, &profile("1"))), (Warning, set));
        assert_eq!(told(&one(&RULE, &files, &profile("0"))), (Ok, vec![]));
        assert_eq!(found(&RULE, &files, ""), []);
        assert_unknown(&RULE, &profile(""));
    }
}
