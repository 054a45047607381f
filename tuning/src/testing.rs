//! Trees of files that stand for hosts, for the tests of rules.

use std::fs;
use std::path::Path;

use crate::facts::Facts;
use crate::finding::{Finding, Fix, Severity};
use crate::host::Host;
use crate::profile::Profile;
use crate::registry::Rule;

/// Puts a file into a tree.
pub(crate) fn put(root: &Path, path: &str, text: &str) {
    let file = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// Facts of a host with these files and the interface eth0.
pub(crate) fn facts(files: &[(&str, &str)]) -> Facts {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("sys/class/net/eth0")).unwrap();
    for (path, text) in files {
        put(folder.path(), path, text);
    }
    Facts::read(&Host::at(folder.path()), &["eth0".to_owned()]).unwrap()
}

/// What a rule finds on a host with these files under a profile.
pub(crate) fn found(rule: &Rule, files: &[(&str, &str)], profile: &str) -> Vec<Finding> {
    (rule.check)(&facts(files), &Profile::parse(profile).unwrap())
}

/// The same, where a rule finds one thing.
pub(crate) fn one(rule: &Rule, files: &[(&str, &str)], profile: &str) -> Finding {
    let mut all = found(rule, files, profile);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Severity, and the fixes as a person would type them.
pub(crate) fn told(finding: &Finding) -> (Severity, Vec<String>) {
    if finding.severity > Severity::Ok {
        assert!(!finding.why.is_empty(), "no reason: {finding:?}");
    }
    let settings = finding
        .fixes
        .iter()
        .filter(|fix| matches!(fix, Fix::Set(_)));
    (
        finding.severity,
        settings.map(ToString::to_string).collect(),
    )
}

/// Severity alone.
pub(crate) fn severity(rule: &Rule, files: &[(&str, &str)], profile: &str) -> Severity {
    told(&one(rule, files, profile)).0
}

/// On a host that tells nothing the rule says that it does not know.
pub(crate) fn assert_unknown(rule: &Rule, profile: &str) {
    for finding in found(rule, &[], profile) {
        assert!(
            finding.unknown && finding.severity == Severity::Note,
            "{finding:?}"
        );
        assert!(!finding.why.is_empty(), "{finding:?}");
    }
}
