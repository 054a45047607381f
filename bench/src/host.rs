//! What a number depends on besides the code: the host, its kernel, the compiler. And pinning, without which a run is
//! spread over cores and their caches.

use std::fmt;
use std::fs;
use std::thread::available_parallelism;

use anyhow::{Context as _, bail};
use rustix::system::uname;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use sealcast_net::shard::Executor;
use serde::Serialize;

use crate::clock;

/// Extensions of the instruction set that decide which code runs.
const EXTENSIONS: [&str; 7] = [
    "aes",
    "pclmulqdq",
    "avx2",
    "vaes",
    "vpclmulqdq",
    "avx512f",
    "avx512bw",
];

/// What is known of the host.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Name, family and model of the processor.
    pub cpu: String,
    /// Those of its extensions that matter here.
    pub extensions: Vec<String>,
    /// Cores that the process may use.
    pub cores: usize,
    /// The core that it is pinned to.
    pub core: usize,
    /// Clock of that core at the start, in GHz.
    pub ghz: Option<f64>,
    /// The kernel's name and release.
    pub kernel: String,
    /// The compiler.
    pub rustc: String,
}

impl Host {
    /// Pins the thread to `core`, or else to the last core it may use (the first ones serve more interrupts), and looks
    /// around.
    ///
    /// # Errors
    /// If the thread may not run there.
    pub fn pinned(core: Option<usize>) -> anyhow::Result<Self> {
        let cores = available_parallelism().map_or(1, usize::from);
        let core = pin(core)?;
        let uname = uname();
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = field(&info, "flags").unwrap_or_default();
        Ok(Self {
            cpu: cpu(&info),
            extensions: flags
                .split(' ')
                .filter(|flag| EXTENSIONS.contains(flag))
                .map(str::to_owned)
                .collect(),
            cores,
            core,
            ghz: clock::ghz(),
            kernel: format!(
                "{} {}",
                uname.sysname().to_string_lossy(),
                uname.release().to_string_lossy()
            ),
            rustc: env!("SEALCAST_BENCH_RUSTC").to_owned(),
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "- processor: {}", self.cpu)?;
        writeln!(f, "- extensions: {}", self.extensions.join(", "))?;
        writeln!(f, "- cores: {}, pinned to core {}", self.cores, self.core)?;
        if let Some(ghz) = self.ghz {
            writeln!(f, "- clock of that core at the start: {ghz:.2} GHz")?;
        }
        writeln!(f, "- kernel: {}", self.kernel)?;
        writeln!(f, "- compiler: {}", self.rustc)
    }
}

pub(crate) fn pin(core: Option<usize>) -> anyhow::Result<usize> {
    let allowed = sched_getaffinity(None).context("asking for the cores it may use")?;
    let last = (0..CpuSet::MAX_CPU)
        .rev()
        .find(|&core| allowed.is_set(core));
    let Some(core) = core.or(last) else {
        bail!("no core to run on");
    };
    allow(&[core])?;
    Ok(core)
}

/// What shards of a bench wait in.
pub(crate) fn executor(io_uring: bool) -> Executor {
    if io_uring {
        Executor::IoUring
    } else {
        Executor::default()
    }
}

/// Lets the thread, and whatever it starts, run on these cores only.
pub(crate) fn allow(cores: &[usize]) -> anyhow::Result<()> {
    let mut only = CpuSet::new();
    for &core in cores {
        if core >= CpuSet::MAX_CPU {
            bail!("core {core}: there are not so many");
        }
        only.set(core);
    }
    sched_setaffinity(None, &only).with_context(|| format!("pinning to cores {cores:?}"))
}

fn cpu(info: &str) -> String {
    let number = |name| field(info, name).unwrap_or("?");
    format!(
        "{} ({} family {} model {} stepping {})",
        field(info, "model name").unwrap_or("unknown"),
        number("vendor_id"),
        number("cpu family"),
        number("model"),
        number("stepping"),
    )
}

/// The value of the first line of /proc/cpuinfo that has this name.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(key, value)| (key.trim() == name).then_some(value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 207\n\
        model name\t: Some Processor\nstepping\t: 2\nflags\t\t: fpu aes vaes\n\nprocessor\t: 1\n";

    #[test]
    fn the_processor_is_named() {
        assert_eq!(
            cpu(INFO),
            "Some Processor (GenuineIntel family 6 model 207 stepping 2)"
        );
        assert_eq!(cpu(""), "unknown (? family ? model ? stepping ?)");
        assert_eq!(field(INFO, "flags"), Some("fpu aes vaes"));
    }

    #[test]
    fn a_pinned_thread_may_use_one_core() {
        let host = Host::pinned(None).unwrap();
        let allowed = sched_getaffinity(None).unwrap();
        assert!(allowed.is_set(host.core) && allowed.count() == 1);
        assert!(!host.rustc.is_empty() && !host.kernel.is_empty());
        assert!(Host::pinned(Some(CpuSet::MAX_CPU)).is_err());
    }
}
