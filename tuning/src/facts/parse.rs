//! Texts of the kernel and of programs. What is not understood is passed over.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::Route;
use super::interface::{Feature, Link};

/// `6.18.44-fc` as (6, 18).
pub(crate) fn kernel(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|sign: char| !sign.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The soft limit of a line of /proc/PID/limits.
pub(crate) fn limit(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    match rest.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// /proc/net/route. Addresses are in the byte order of the host.
pub(crate) fn routes(text: &str) -> Vec<Route> {
    let address = |hex: &str| {
        let number = u32::from_str_radix(hex, 16).ok()?;
        Some(Ipv4Addr::from(number.to_ne_bytes()))
    };
    let route = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let &[interface, network, _, flags, _, _, metric, mask, ..] = fields.as_slice() else {
            return None;
        };
        // RTF_UP; RTF_REJECT leads nowhere.
        let flags = u32::from_str_radix(flags, 16).ok()?;
        if flags & 0x1 == 0 || flags & 0x200 != 0 {
            return None;
        }
        Some(Route {
            interface: interface.to_owned(),
            network: address(network)?,
            prefix: u32::from(address(mask)?).count_ones(),
            metric: metric.parse().ok()?,
        })
    };
    text.lines().skip(1).filter_map(route).collect()
}

/// /proc/net/snmp and /proc/net/netstat: pairs of lines, names and numbers.
pub(crate) fn counters(text: &str) -> Vec<(String, u64)> {
    let lines: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .collect();
    let mut found = Vec::new();
    for pair in lines.chunks_exact(2) {
        let &[(table, names), (same, numbers)] = pair else {
            continue;
        };
        if table != same {
            continue;
        }
        let both = names.split_whitespace().zip(numbers.split_whitespace());
        found.extend(
            both.filter_map(|(name, number)| {
                Some((format!("{table}.{name}"), number.parse().ok()?))
            }),
        );
    }
    found
}

/// /proc/net/softnet_stat, all cores together.
pub(crate) fn softnet(text: &str) -> [(String, u64); 2] {
    let sum = |column: usize| -> u64 {
        text.lines()
            .filter_map(|line| {
                let field = line.split_whitespace().nth(column)?;
                u64::from_str_radix(field, 16).ok()
            })
            .sum()
    };
    [
        ("softnet.dropped".to_owned(), sum(1)),
        ("softnet.squeezed".to_owned(), sum(2)),
    ]
}

/// The IGMP version that the kernel speaks on an interface (/proc/net/igmp).
pub(crate) fn igmp_version(text: &str, interface: &str) -> Option<u8> {
    let line = text.lines().find(|line| {
        line.split_whitespace()
            .nth(1)
            .is_some_and(|name| name.trim_end_matches(':') == interface)
    })?;
    line.split_whitespace()
        .find_map(|field| field.strip_prefix('V')?.parse().ok())
}

/// What `ethtool -k` prints.
pub(crate) fn features(text: &str) -> BTreeMap<String, Feature> {
    let feature = |line: &str| {
        let (name, state) = line.trim().split_once(':')?;
        let on = match state.split_whitespace().next()? {
            "on" => true,
            "off" => false,
            _ => return None,
        };
        let fixed = state.contains("[fixed]");
        Some((name.to_owned(), Feature { on, fixed }))
    };
    text.lines().filter_map(feature).collect()
}

/// Kinds of queueing disciplines of `tc qdisc show dev IF`, the root first as tc prints it.
pub(crate) fn qdiscs(text: &str) -> Vec<String> {
    let kind = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "qdisc").then(|| words.next().map(str::to_owned))?
    };
    let mut kinds: Vec<_> = text.lines().filter_map(kind).collect();
    kinds.dedup();
    kinds
}

/// What `ip -details link show` tells and /sys does not.
pub(crate) fn link(text: &str) -> Link {
    let words: Vec<_> = text.split_whitespace().collect();
    let after = |name: &str| {
        let pair = words.windows(2).find(|pair| pair.first() == Some(&name))?;
        pair.last()?.parse().ok()
    };
    Link {
        gso_max_size: after("gso_max_size"),
        gso_max_segs: after("gso_max_segs"),
        gro_max_size: after("gro_max_size"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_limits() {
        assert_eq!(kernel("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(kernel("5.8-rc1"), Some((5, 8)));
        assert_eq!(kernel("next"), None);
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max open files            1024                 unlimited            files\n\
                    Max locked memory         unlimited            unlimited            bytes\n";
        assert_eq!(limit(text, "Max open files"), Some(1024));
        assert_eq!(limit(text, "Max locked memory"), Some(u64::MAX));
        assert_eq!(limit(text, "Max cpu time"), None);
    }

    #[test]
    fn counters_stand_in_pairs_of_lines() {
        let text = "Udp: InDatagrams RcvbufErrors\nUdp: 5 3\nBroken: a\nOther: 1\nIp: x\n";
        assert_eq!(
            counters(text),
            [
                ("Udp.InDatagrams".to_owned(), 5),
                ("Udp.RcvbufErrors".to_owned(), 3)
            ]
        );
        let softnet: BTreeMap<_, _> = softnet("0a 01 02 00\n0b 0f 00 00\n").into();
        assert_eq!(softnet["softnet.dropped"], 16);
        assert_eq!(softnet["softnet.squeezed"], 2);
    }

    #[test]
    fn programs_print_for_people() {
        let found =
            features("Features for eth0:\n\ttx-udp-segmentation: off [fixed]\nrx-gro: on\n");
        assert_eq!(found.len(), 2);
        assert_eq!(
            found["tx-udp-segmentation"],
            Feature {
                on: false,
                fixed: true
            }
        );
        let text = "qdisc mq 0: root \nqdisc fq 0: parent :2 limit 10000p\nqdisc fq 0: parent :1 limit 10000p\n";
        assert_eq!(qdiscs(text), ["mq", "fq"]);
        let found = link("4: eth0: <UP> mtu 1500\\ gso_max_size 65536 gso_max_segs 64 x");
        assert_eq!(found.gso_max_size, Some(65_536));
        assert_eq!(found.gso_max_segs, Some(64));
        assert_eq!(found.gro_max_size, None);
    }

    #[test]
    fn igmp_is_per_interface() {
        let text = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
                    1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
                    4\teth0.7:     1      V2\n";
        assert_eq!(igmp_version(text, "lo"), Some(3));
        assert_eq!(igmp_version(text, "eth0.7"), Some(2));
        assert_eq!(igmp_version(text, "eth0"), None);
    }
}
