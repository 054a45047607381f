//! Facts of the processors and their clocks.

use std::collections::{BTreeMap, BTreeSet};

use crate::cores::CoreSet;
use crate::host::Host;

/// Processors and clocks of a host.
#[derive(Clone, Debug, Default)]
pub struct Processor {
    /// Instruction sets as /proc/cpuinfo names them (`flags`, on Arm `Features`).
    pub flags: Option<BTreeSet<String>>,
    /// Cores that run.
    pub online: Option<CoreSet>,
    /// Cores that the scheduler leaves alone (`isolcpus=`).
    pub isolated: Option<CoreSet>,
    /// Cores without the periodic tick (`nohz_full=`).
    pub tickless: CoreSet,
    /// Frequency governors by core; empty where the host has none.
    pub governors: BTreeMap<u32, String>,
    /// Cores of each NUMA node.
    pub nodes: BTreeMap<u32, CoreSet>,
    /// The kernel's clock source.
    pub clock: Option<String>,
    /// Clock sources it could take.
    pub clocks: Vec<String>,
    /// Who makes the machine, by its firmware or hypervisor.
    pub vendor: Option<String>,
}

impl Processor {
    pub(super) fn read(host: &Host) -> Self {
        let cpu = "/sys/devices/system/cpu";
        let cores = |path: &str| {
            host.read(path)
                .and_then(|text| text.parse::<CoreSet>().ok())
        };
        let clock = |leaf: &str| {
            host.read(&format!(
                "/sys/devices/system/clocksource/clocksource0/{leaf}"
            ))
        };
        let online = cores(&format!("{cpu}/online"));
        let governors = online
            .iter()
            .flat_map(CoreSet::iter)
            .filter_map(|core| {
                let path = format!("{cpu}/cpu{core}/cpufreq/scaling_governor");
                Some((core, host.read(&path)?))
            })
            .collect();
        let nodes = host.list("/sys/devices/system/node").unwrap_or_default();
        let nodes = nodes
            .iter()
            .filter_map(|name| {
                let node = name.strip_prefix("node")?.parse().ok()?;
                let list = format!("/sys/devices/system/node/{name}/cpulist");
                Some((node, cores(&list)?))
            })
            .collect();
        Self {
            flags: host.read("/proc/cpuinfo").and_then(|text| flags(&text)),
            isolated: cores(&format!("{cpu}/isolated")),
            // "(null)" where none are.
            tickless: cores(&format!("{cpu}/nohz_full")).unwrap_or_default(),
            governors,
            nodes,
            clock: clock("current_clocksource"),
            clocks: clock("available_clocksource")
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            vendor: ["/sys/class/dmi/id/sys_vendor", "/sys/hypervisor/type"]
                .iter()
                .find_map(|path| host.read(path)),
            online,
        }
    }

    /// Whether the processor has all of these instruction sets; nothing when that is not known.
    #[must_use]
    pub fn has(&self, wanted: &[&str]) -> Option<bool> {
        let flags = self.flags.as_ref()?;
        Some(wanted.iter().all(|&flag| flags.contains(flag)))
    }
}

fn flags(cpuinfo: &str) -> Option<BTreeSet<String>> {
    let line = cpuinfo.lines().find_map(|line| {
        let (name, list) = line.split_once(':')?;
        matches!(name.trim(), "flags" | "Features").then_some(list)
    })?;
    Some(line.split_whitespace().map(str::to_owned).collect())
}
