//! Facts of a host, read once. What cannot be read is absent, and rules say that they do not know.

pub mod interface;
pub mod parse;
pub mod processor;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::host::Host;
use crate::setting::{in_key, sysctl_path};
pub use interface::Interface;
pub use processor::Processor;

/// Sysctls that rules ask for, beside those of interfaces.
const SYSCTLS: [&str; 15] = [
    "kernel.io_uring_disabled",
    "kernel.ostype",
    "net.core.default_qdisc",
    "net.core.netdev_budget",
    "net.core.netdev_budget_usecs",
    "net.core.netdev_max_backlog",
    "net.core.rmem_default",
    "net.core.rmem_max",
    "net.core.wmem_default",
    "net.core.wmem_max",
    "net.ipv4.conf.all.force_igmp_version",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.igmp_max_memberships",
    "net.ipv4.igmp_max_msf",
    "net.ipv4.udp_mem",
];
/// Sysctls of each interface.
const OF_INTERFACE: [&str; 2] = ["force_igmp_version", "rp_filter"];

/// An address that stands for all groups of administrative scope when routes are asked.
pub const ANY_GROUP: Ipv4Addr = Ipv4Addr::new(239, 0, 0, 0);

/// What the doctor knows of a host.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Major and minor version of the kernel.
    pub kernel: Option<(u32, u32)>,
    /// Sysctls by key; those that cannot be read are absent.
    pub sysctls: BTreeMap<String, String>,
    /// Soft limit of locked memory, bytes; `u64::MAX` is unlimited.
    pub memlock: Option<u64>,
    /// Soft limit of open files.
    pub open_files: Option<u64>,
    /// Processors and clocks.
    pub processor: Processor,
    /// IPv4 routes of the main table.
    pub routes: Option<Vec<Route>>,
    /// Interfaces that were asked for, or the one that multicast would take.
    pub interfaces: Vec<Interface>,
    /// Counters since boot, `Udp.RcvbufErrors` and the like, and `softnet.dropped`, `softnet.squeezed`.
    pub counters: BTreeMap<String, u64>,
    /// Names of running programs, at most 15 characters each.
    pub programs: Option<BTreeSet<String>>,
    /// systemd-timesyncd says that it has set the clock.
    pub clock_set: bool,
}

/// An IPv4 route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its interface.
    pub interface: String,
    /// Destination network.
    pub network: Ipv4Addr,
    /// Bits of the destination that count.
    pub prefix: u32,
    /// The lowest one of equal prefixes is taken.
    pub metric: u32,
}

/// The facts cannot be read as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// An interface was named that is not there.
    #[error("there is no network interface {asked}; there are: {existing}")]
    NoSuchInterface {
        /// As the user wrote it.
        asked: String,
        /// Those that exist.
        existing: String,
    },
}

impl Facts {
    /// Reads them. Without names of interfaces it looks at the one that multicast would take, if there is one.
    ///
    /// # Errors
    /// [`FactsError::NoSuchInterface`].
    pub fn read(host: &Host, interfaces: &[String]) -> Result<Self, FactsError> {
        let existing = host.list("/sys/class/net");
        if let Some(existing) = &existing
            && let Some(asked) = interfaces.iter().find(|name| !existing.contains(name))
        {
            return Err(FactsError::NoSuchInterface {
                asked: asked.clone(),
                existing: existing.join(", "),
            });
        }
        let routes = host
            .read("/proc/net/route")
            .map(|text| parse::routes(&text));
        let names = if interfaces.is_empty() {
            let taken = routes.as_deref().and_then(|all| route_to(all, ANY_GROUP));
            taken
                .map(|route| route.interface.clone())
                .into_iter()
                .collect()
        } else {
            interfaces.to_vec()
        };
        Ok(Self {
            kernel: host
                .read("/proc/sys/kernel/osrelease")
                .and_then(|text| parse::kernel(&text)),
            sysctls: sysctls(host, &names),
            memlock: limit(host, "Max locked memory"),
            open_files: limit(host, "Max open files"),
            processor: Processor::read(host),
            interfaces: names
                .iter()
                .map(|name| Interface::read(host, name))
                .collect(),
            counters: counters(host),
            programs: programs(host),
            clock_set: host.read("/run/systemd/timesync/synchronized").is_some(),
            routes,
        })
    }

    /// A sysctl that is one number.
    #[must_use]
    pub fn sysctl(&self, key: &str) -> Option<u64> {
        self.sysctls.get(key)?.parse().ok()
    }

    /// The route to an address.
    #[must_use]
    pub fn route(&self, to: Ipv4Addr) -> Option<&Route> {
        route_to(self.routes.as_deref()?, to)
    }
}

/// The longest prefix, then the lowest metric.
fn route_to(routes: &[Route], to: Ipv4Addr) -> Option<&Route> {
    let mask = |prefix: u32| u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    routes
        .iter()
        .filter(|route| (u32::from(to) ^ u32::from(route.network)) & mask(route.prefix) == 0)
        .min_by_key(|route| (32 - route.prefix, route.metric))
}

fn sysctls(host: &Host, interfaces: &[String]) -> BTreeMap<String, String> {
    let of_interfaces = interfaces
        .iter()
        .flat_map(|name| OF_INTERFACE.map(|leaf| format!("net.ipv4.conf.{}.{leaf}", in_key(name))));
    SYSCTLS
        .map(str::to_owned)
        .into_iter()
        .chain(of_interfaces)
        .filter_map(|key| Some((key.clone(), host.read(&sysctl_path(&key))?)))
        .collect()
}

fn limit(host: &Host, name: &str) -> Option<u64> {
    parse::limit(&host.read("/proc/self/limits")?, name)
}

fn counters(host: &Host) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for file in ["/proc/net/snmp", "/proc/net/netstat"] {
        counters.extend(parse::counters(&host.read(file).unwrap_or_default()));
    }
    if let Some(text) = host.read("/proc/net/softnet_stat") {
        counters.extend(parse::softnet(&text));
    }
    counters
}

fn programs(host: &Host) -> Option<BTreeSet<String>> {
    let processes = host.list("/proc")?.into_iter();
    let numbers = processes.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let names: BTreeSet<_> = numbers
        .filter_map(|process| host.read(&format!("/proc/{process}/comm")))
        .collect();
    (!names.is_empty()).then_some(names)
}
