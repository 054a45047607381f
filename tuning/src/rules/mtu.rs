//! A sealed datagram fits in one packet: nothing is ever fragmented.

use super::each_interface;
use crate::facts::{Facts, Interface};
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;

const ID: &str = "mtu";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "a sealed datagram fits the interface's MTU",
    check,
};

/// The shortest MTU of IPv6 (RFC 8200 5).
const IPV6_MIN: u64 = 1280;
const WHY: &str = "packets are never fragmented: what is longer is refused when the channel opens, or counted and not sent";

fn check(facts: &Facts, profile: &Profile) -> Vec<Finding> {
    each_interface(facts, |interface| judge(profile, interface))
}

fn judge(profile: &Profile, interface: &Interface) -> Finding {
    let Some(mtu) = interface.mtu else {
        return Finding::unknown(ID, "the MTU cannot be read", WHY);
    };
    let needs = profile.packet();
    let what = format!(
        "MTU {mtu}; payloads of {} bytes make packets of {needs}",
        profile.payload
    );
    if mtu < needs {
        let fits = mtu.saturating_sub(needs - profile.payload);
        return Finding::error(ID, what, WHY)
            .costs(format!("payloads of at most {fits} bytes fit: {} TS packets", fits / 188))
            .advise(format!(
                "ip link set {} mtu 1500 if the network takes it, or fewer TS packets per datagram at the encoder",
                interface.name
            ));
    }
    if profile.ipv6 && mtu < IPV6_MIN {
        return Finding::error(ID, format!("MTU {mtu}: IPv6 needs {IPV6_MIN}"), WHY)
            .advise(format!("ip link set {} mtu 1500", interface.name));
    }
    Finding::ok(ID, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Error, Ok};
    use crate::testing::{assert_unknown, one, severity};

    #[test]
    fn seven_ts_packets_fit() {
        let host = |mtu, profile| severity(&RULE, &[("sys/class/net/eth0/mtu", mtu)], profile);
        assert_eq!(host("1372", "payload = 1316"), Ok);
        assert_eq!(host("1371", "payload = 1316"), Error);
        assert_eq!(host("1391", "payload = 1316\nipv6 = true"), Error);
        assert_eq!(host("1392", "payload = 1316\nipv6 = true"), Ok);
        assert_eq!(host("1279", "payload = 188\nipv6 = true"), Error);
        assert_unknown(&RULE, "payload = 1316");
        let finding = one(
            &RULE,
            &[("sys/class/net/eth0/mtu", "1280")],
            "payload = 1316",
        );
        assert_eq!(
            finding.cost.as_deref(),
            Some("payloads of at most 1224 bytes fit: 6 TS packets")
        );
    }
}
