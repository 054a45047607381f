//! All UDP sockets together share one bound.

use super::bytes;
use crate::facts::Facts;
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;

const ID: &str = "udp-memory";
const KEY: &str = "net.ipv4.udp_mem";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "all UDP sockets together may fill their buffers (udp_mem)",
    check,
};

/// The smallest page that Linux uses; the bound counts pages.
const PAGE: u64 = 4096;
const WHY: &str =
    "above this bound the kernel drops datagrams of every socket, whatever room its own buffer has";

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    let third = facts.sysctls.get(KEY).and_then(|text| {
        let number: u64 = text.split_whitespace().nth(2)?.parse().ok()?;
        Some(number.saturating_mul(PAGE))
    });
    let Some(bound) = third else {
        return vec![Finding::unknown(ID, format!("{KEY} cannot be read"), WHY)];
    };
    // The kernel makes twice of what is asked for.
    let sockets = profile.groups.max(1);
    let all = sockets.saturating_mul(2 * profile.rmem_max);
    let what = format!(
        "{KEY} lets UDP have {}; {sockets} full socket(s) would take {}",
        bytes(bound),
        bytes(all)
    );
    let finding = if bound < all / 10 {
        Finding::warning(ID, what, WHY)
    } else if bound < all {
        Finding::note(ID, what, WHY)
    } else {
        return vec![Finding::ok(ID, what)];
    };
    vec![
        finding
            .costs(format!(
                "{} of {sockets} sockets can be full at a time",
                bound / (2 * profile.rmem_max).max(1)
            ))
            .advise(format!(
                "raise the third number of {KEY} to {}, if the host has the memory",
                all / PAGE
            )),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Note, Ok, Warning};
    use crate::testing::{assert_unknown, severity};

    #[test]
    fn all_sockets_together() {
        let host = |text, profile| {
            let files = [("proc/sys/net/ipv4/udp_mem", text)];
            severity(&RULE, &files, profile)
        };
        // 16 MiB per full socket; the bound is 400 MiB.
        let text = "51200\t76800\t102400";
        assert_eq!(host(text, "groups = 25\nrmem_max = 8388608"), Ok);
        assert_eq!(host(text, "groups = 26\nrmem_max = 8388608"), Note);
        assert_eq!(host(text, "groups = 300\nrmem_max = 8388608"), Warning);
        assert_unknown(&RULE, "groups = 25\nrmem_max = 8388608");
    }
}
