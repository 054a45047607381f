//! Batches: one system call, many datagrams, also in the driver.

use crate::facts::{Facts, Interface};
use crate::finding::Finding;
use crate::host::ProgramError;
use crate::profile::Profile;
use crate::registry::Rule;
use crate::setting::{Change, Setting};

const ID: &str = "offloads";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "the interface sends and receives in batches (GSO, USO, GRO), by ethtool -k",
    check,
};

const WHY: &str =
    "a batch of 48 datagrams crosses the kernel as one packet; without, each one pays alone";

/// What it costs to be without: measured on two cores, only the ratios carry over.
fn cost(feature: &str) -> Option<&'static str> {
    match feature {
        "generic-segmentation-offload" | "scatter-gather" => Some(
            "measured: 0.7 M datagrams/s and core one by one, 2.3 M/s in batches that the kernel cuts, 8.6 M/s in whole ones",
        ),
        "tx-udp-segmentation" => Some(
            "measured: 3.4 M datagrams/s and core where the kernel cuts batches, 22 M/s where it need not",
        ),
        "generic-receive-offload" | "rx-udp-gro-forwarding" => Some(
            "measured over veth: 1.2 to 1.6 M datagrams/s and core singly, 2.3 to 2.5 M/s in batches; both GRO features are needed",
        ),
        _ => None,
    }
}

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    if profile.features.is_empty() {
        return Vec::new();
    }
    let of = |interface: &Interface| -> Vec<Finding> {
        judge(interface, &profile.features)
            .into_iter()
            .map(|finding| finding.about(&interface.name))
            .collect()
    };
    facts.interfaces.iter().flat_map(of).collect()
}

fn judge(interface: &Interface, wanted: &[String]) -> Vec<Finding> {
    let features = match &interface.features {
        Ok(features) => features,
        Err(error) => {
            let finding = Finding::unknown(ID, error.to_string(), WHY);
            return vec![match error {
                ProgramError::Missing(_) => finding.advise("install the package ethtool"),
                ProgramError::Failed { .. } => finding,
            }];
        }
    };
    let mut on = Vec::new();
    let mut found = Vec::new();
    for feature in wanted {
        let finding = match features.get(feature) {
            Some(state) if state.on => {
                on.push(feature.as_str());
                continue;
            }
            Some(state) if state.fixed => {
                Finding::note(ID, format!("{feature} is off: the driver has it not"), WHY)
            }
            Some(_) => Finding::warning(ID, format!("{feature} is off"), WHY).fix(Change {
                setting: Setting::Feature {
                    interface: interface.name.clone(),
                    feature: feature.clone(),
                },
                value: "on".to_owned(),
            }),
            None => Finding::unknown(ID, format!("ethtool does not name {feature}"), WHY),
        };
        found.push(match cost(feature) {
            Some(cost) => finding.costs(cost),
            None => finding,
        });
    }
    if !on.is_empty() {
        found.push(Finding::ok(ID, format!("on: {}", on.join(", "))));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::parse;
    use crate::finding::Severity::{Note, Ok, Warning};
    use crate::testing::{assert_unknown, facts, told};

    const WANTED: &str = "features = [\"tx-udp-segmentation\", \"generic-receive-offload\", \"rx-udp-gro-forwarding\", \"new\"]";

    #[test]
    fn what_can_be_switched_on_is() {
        let mut facts = facts(&[]);
        facts.interfaces[0].features = Result::Ok(parse::features(
            "tx-udp-segmentation: off [fixed]\ngeneric-receive-offload: on\nrx-udp-gro-forwarding: off\n",
        ));
        let found = check(&facts, &Profile::parse(WANTED).unwrap());
        let all: Vec<_> = found.iter().map(told).collect();
        let switch = "ethtool -K eth0 rx-udp-gro-forwarding on".to_owned();
        assert_eq!(
            all,
            [
                (Note, vec![]),
                (Warning, vec![switch]),
                (Note, vec![]),
                (Ok, vec![])
            ]
        );
        assert!(found[2].unknown && found[1].cost.is_some());
    }

    #[test]
    fn without_ethtool_it_says_so() {
        assert_unknown(&RULE, WANTED);
        let finding = crate::testing::one(&RULE, &[], WANTED);
        assert_eq!(finding.what, "ethtool is not installed");
    }
}
