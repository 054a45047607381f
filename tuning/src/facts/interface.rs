//! Facts of one network interface.

use std::collections::BTreeMap;

use super::parse;
use crate::cores::CoreSet;
use crate::host::{Host, ProgramError};

/// Counters of the interface that tell of lost packets.
const LOSSES: [&str; 6] = [
    "rx_dropped",
    "rx_errors",
    "rx_fifo_errors",
    "rx_missed_errors",
    "tx_dropped",
    "tx_errors",
];

/// A network interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Flags as the kernel has them (`IFF_UP` 1, `IFF_MULTICAST` 0x1000).
    pub flags: Option<u32>,
    /// `up`, `down`, `unknown` ...
    pub state: Option<String>,
    /// Longest IP packet, bytes.
    pub mtu: Option<u64>,
    /// Packets that wait for the driver, at most.
    pub tx_queue_len: Option<u64>,
    /// The IGMP version that it speaks: that of the querier on the network, or the one forced.
    pub igmp_version: Option<u8>,
    /// The NUMA node it is attached to.
    pub node: Option<u32>,
    /// Its interrupts; none for interfaces without hardware.
    pub interrupts: Vec<Interrupt>,
    /// Features of the driver, or why they are not known.
    pub features: Result<BTreeMap<String, Feature>, ProgramError>,
    /// Kinds of its queueing disciplines, or why they are not known.
    pub qdiscs: Result<Vec<String>, ProgramError>,
    /// Bounds of batches, or why they are not known.
    pub link: Result<Link, ProgramError>,
    /// Counters since boot that tell of lost packets.
    pub losses: BTreeMap<&'static str, u64>,
}

/// A feature as `ethtool -k` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Whether it is on.
    pub on: bool,
    /// Whether the driver lets nobody change it.
    pub fixed: bool,
}

/// Bounds of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Bytes of one batch that is sent.
    pub gso_max_size: Option<u64>,
    /// Packets of one batch that is sent.
    pub gso_max_segs: Option<u64>,
    /// Bytes of one batch that is received.
    pub gro_max_size: Option<u64>,
}

/// An interrupt of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Its number.
    pub number: u32,
    /// Cores that serve it.
    pub cores: CoreSet,
}

impl Interface {
    pub(super) fn read(host: &Host, name: &str) -> Self {
        let read = |leaf: &str| host.read(&format!("/sys/class/net/{name}/{leaf}"));
        let number = |leaf: &str| read(leaf)?.parse().ok();
        let flags = read("flags")
            .and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok());
        let losses = LOSSES
            .iter()
            .filter_map(|&leaf| Some((leaf, number(&format!("statistics/{leaf}"))?)))
            .collect();
        Self {
            flags,
            state: read("operstate"),
            mtu: number("mtu"),
            tx_queue_len: number("tx_queue_len"),
            igmp_version: host
                .read("/proc/net/igmp")
                .and_then(|text| parse::igmp_version(&text, name)),
            // -1 says that there is none.
            node: read("device/numa_node").and_then(|text| text.parse().ok()),
            interrupts: interrupts(host, name),
            features: host
                .run("ethtool", &["-k", name])
                .map(|text| parse::features(&text)),
            qdiscs: host
                .run("tc", &["qdisc", "show", "dev", name])
                .map(|text| parse::qdiscs(&text)),
            link: host
                .run("ip", &["-details", "-oneline", "link", "show", "dev", name])
                .map(|text| parse::link(&text)),
            losses,
            name: name.to_owned(),
        }
    }
}

/// Message-signalled interrupts of the device, or of the PCI device above it (virtio).
fn interrupts(host: &Host, name: &str) -> Vec<Interrupt> {
    let device = format!("/sys/class/net/{name}/device");
    let numbers = [
        format!("{device}/msi_irqs"),
        format!("{device}/../msi_irqs"),
    ]
    .iter()
    .find_map(|folder| host.list(folder))
    .unwrap_or_default();
    let interrupt = |number: &String| {
        let read = |leaf: &str| host.read(&format!("/proc/irq/{number}/{leaf}"));
        let effective = read("effective_affinity_list").filter(|text| !text.is_empty());
        let cores = effective.or_else(|| read("smp_affinity_list"))?;
        Some(Interrupt {
            number: number.parse().ok()?,
            cores: cores.parse().ok()?,
        })
    };
    let mut found: Vec<_> = numbers.iter().filter_map(interrupt).collect();
    found.sort_by_key(|interrupt| interrupt.number);
    found
}
