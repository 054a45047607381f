//! All findings on a host, for people and for scripts.

use std::fmt::Write as _;

use serde::Serialize;

use crate::facts::Facts;
use crate::finding::{Finding, Fix, Severity};
use crate::profile::Profile;
use crate::registry::RULES;

/// The version of the JSON form; it grows when a field changes its meaning or goes.
const FORMAT: u32 = 1;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    format: u32,
    /// Name or file of the profile.
    pub profile: String,
    /// Interfaces that were looked at.
    pub interfaces: Vec<String>,
    /// The packet cipher's backend that suits the processor, if that is known.
    pub backend: Option<&'static str>,
    /// The worst severity among the findings.
    pub worst: Severity,
    /// The worst first; in the order of the rules among equals.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Judges facts by all rules that the profile does not skip.
    #[must_use]
    pub fn of(facts: &Facts, name: &str, profile: &Profile) -> Self {
        let mut findings: Vec<_> = RULES
            .iter()
            .filter(|rule| !profile.skip.iter().any(|id| id == rule.id))
            .flat_map(|rule| (rule.check)(facts, profile))
            .collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Self {
            format: FORMAT,
            profile: name.to_owned(),
            interfaces: facts
                .interfaces
                .iter()
                .map(|interface| interface.name.clone())
                .collect(),
            backend: crate::rules::crypto::backend(&facts.processor),
            worst: findings
                .first()
                .map_or(Severity::Ok, |finding| finding.severity),
            findings,
        }
    }

    /// For people: errors, warnings and notes with reasons, then what is well, then the sums.
    #[must_use]
    pub fn to_text(&self) -> String {
        let interfaces = match self.interfaces.is_empty() {
            true => "no interface".to_owned(),
            false => self.interfaces.join(", "),
        };
        let mut text = format!("profile {}, {interfaces}\n", self.profile);
        let (matter, well): (Vec<_>, Vec<_>) = self
            .findings
            .iter()
            .partition(|finding| finding.severity > Severity::Ok);
        for finding in matter {
            text.push('\n');
            write_finding(&mut text, finding);
        }
        text.push('\n');
        for finding in well {
            write_finding(&mut text, finding);
        }
        let count = |severity| {
            let of_it = |finding: &&Finding| finding.severity == severity;
            self.findings.iter().filter(of_it).count()
        };
        let _ = writeln!(
            text,
            "\n{} errors, {} warnings, {} notes, {} ok",
            count(Severity::Error),
            count(Severity::Warning),
            count(Severity::Note),
            count(Severity::Ok)
        );
        text
    }
}

fn write_finding(text: &mut String, finding: &Finding) {
    let Finding {
        rule,
        severity,
        what,
        why,
        ..
    } = finding;
    let subject = match &finding.subject {
        Some(subject) => format!(" ({subject})"),
        None => String::new(),
    };
    let what = match finding.unknown {
        true => format!("not known: {what}"),
        false => what.clone(),
    };
    let _ = writeln!(text, "{severity:<7} {rule}{subject}: {what}");
    if !why.is_empty() {
        let _ = writeln!(text, "        why:  {why}");
    }
    if let Some(cost) = &finding.cost {
        let _ = writeln!(text, "        cost: {cost}");
    }
    for fix in &finding.fixes {
        // Notes are not acted upon.
        let word = match fix {
            Fix::Set(_) if *severity > Severity::Note => "fix:  ",
            _ => "do:   ",
        };
        let _ = writeln!(text, "        {word}{fix}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts;

    #[test]
    fn the_worst_comes_first_and_skipped_rules_do_not_come() {
        let files = [
            ("proc/sys/kernel/osrelease", "5.4.0"),
            ("proc/sys/net/ipv4/igmp_max_memberships", "20"),
            ("sys/class/net/eth0/mtu", "9000"),
        ];
        let text = "io_uring = true\ngroups = 30\nskip = [\"time-sync\"]";
        let report = Report::of(&facts(&files), "own.toml", &Profile::parse(text).unwrap());
        assert_eq!(report.worst, Severity::Error);
        let severities: Vec<_> = report.findings.iter().map(|found| found.severity).collect();
        assert!(severities.is_sorted_by(|one, next| one >= next));
        let rules: Vec<_> = report.findings.iter().map(|found| found.rule).collect();
        assert_eq!(rules[..2], ["io-uring", "igmp-memberships"]);
        assert!(!rules.contains(&"time-sync") && rules.contains(&"drops"));
        let text = report.to_text();
        assert!(text.starts_with("profile own.toml, eth0\n\nerror   io-uring: Linux 5.4"));
        assert!(text.contains("fix:  sysctl -w net.ipv4.igmp_max_memberships=30"));
        assert!(text.contains("\nok      mtu (eth0): MTU 9000"));
        assert!(text.contains("1 errors, 1 warnings"), "{text}");
    }

    #[test]
    fn json_has_a_form_that_stays() {
        let files = [("proc/sys/net/ipv4/igmp_max_memberships", "20")];
        let profile = Profile::parse("groups = 30\nfeatures = [\"rx-gro\"]").unwrap();
        let report = Report::of(&facts(&files), "x", &profile);
        let json = serde_json::to_value(&report).unwrap();
        let all = json["findings"].as_array().unwrap();
        let advised = all.iter().find(|found| found["rule"] == "offloads");
        assert_eq!(
            advised.unwrap()["fixes"],
            serde_json::json!([{"kind": "advice", "text": "install the package ethtool"}])
        );
        let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        let fields = [
            "backend",
            "findings",
            "format",
            "interfaces",
            "profile",
            "worst",
        ];
        assert_eq!(keys, fields);
        assert_eq!(json["worst"], "warning");
        assert_eq!(
            json["findings"][0],
            serde_json::json!({
                "rule": "igmp-memberships",
                "subject": null,
                "severity": "warning",
                "unknown": false,
                "what": "net.ipv4.igmp_max_memberships = 20, 30 group(s) expected",
                "why": report.findings[0].why,
                "cost": null,
                "fixes": [{"kind": "sysctl", "key": "net.ipv4.igmp_max_memberships", "value": "30"}],
            })
        );
    }
}
