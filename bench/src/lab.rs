//! Two hosts as network namespaces that a veth joins. They are removed when the value is dropped; those that a killed run left
//! behind, when the next one begins.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::fd::AsFd as _;
use rustix::process::{Pid, Signal, getuid, kill_process, test_kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::host;

/// What our namespaces' names begin with; the process id, a count and a letter follow.
const PREFIX: &str = "scbench";
/// How many labs this process has made.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// Where iproute2 keeps namespaces.
const NAMESPACES: &str = "/run/netns";
/// The interface of either host.
pub(crate) const INTERFACE: &str = "eth0";

/// One of the two hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// Where streams come from.
    Sender,
    /// Where they go to.
    Receiver,
}

impl Side {
    const BOTH: [Self; 2] = [Self::Sender, Self::Receiver];

    const fn letter(self) -> char {
        match self {
            Self::Sender => 's',
            Self::Receiver => 'r',
        }
    }

    /// Its address.
    pub(crate) const fn ip(self) -> Ipv4Addr {
        match self {
            Self::Sender => Ipv4Addr::new(10, 77, 0, 1),
            Self::Receiver => Ipv4Addr::new(10, 77, 0, 2),
        }
    }
}

/// The two hosts.
#[derive(Debug)]
pub(crate) struct Lab {
    prefix: String,
}

impl Lab {
    /// Makes them.
    ///
    /// # Errors
    /// Without root, iproute2, or the kernel's namespaces and veth.
    pub(crate) fn new() -> Result<Self> {
        ensure!(
            getuid().is_root(),
            "network namespaces need root: run it as root, or with sudo"
        );
        remove_stale();
        // From here on, whatever is there is removed.
        let (owner, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let lab = Self {
            prefix: format!("{PREFIX}{owner}x{count}"),
        };
        let (sender, receiver) = (lab.name(Side::Sender), lab.name(Side::Receiver));
        for side in Side::BOTH {
            ip(&format!("netns add {}", lab.name(side)))?;
        }
        ip(&format!(
            "link add {INTERFACE} netns {sender} type veth peer name {INTERFACE} netns {receiver}"
        ))?;
        for side in Side::BOTH {
            let (name, address) = (lab.name(side), side.ip());
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} addr add {address}/24 dev {INTERFACE}"))?;
            ip(&format!("-n {name} link set {INTERFACE} up"))?;
            ip(&format!("-n {name} route add 239.0.0.0/8 dev {INTERFACE}"))?;
        }
        Ok(lab)
    }

    fn name(&self, side: Side) -> String {
        format!("{}{}", self.prefix, side.letter())
    }

    /// Acts on a thread that is on one of the hosts, and on these cores, if any are named. Programs that it starts are there, too,
    /// and sockets that it opens stay there.
    ///
    /// # Errors
    /// If it cannot get there, or `act` fails.
    pub(crate) fn on<T: Send>(
        &self,
        side: Side,
        cores: &[usize],
        act: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        let path = Path::new(NAMESPACES).join(self.name(side));
        let namespace = File::open(&path).with_context(|| path.display().to_string())?;
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .context("entering a network namespace")?;
                if !cores.is_empty() {
                    host::allow(cores)?;
                }
                act()
            });
            there
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a thread on the {side:?} host failed")))
        })
    }

    /// Datagrams that UDP sockets bound to `port` on a host have dropped for want of buffer space; None if there is no such
    /// socket.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub(crate) fn drops(&self, side: Side, port: u16) -> Result<Option<u64>> {
        let table = self.on(side, &[], || {
            Ok(fs::read_to_string("/proc/thread-self/net/udp")?)
        })?;
        Ok(drops(&table, port))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for side in Side::BOTH {
            let _ = ip(&format!("netns del {}", self.name(side)));
        }
    }
}

/// Runs `ip` with these words.
fn ip(words: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(words.split(' '))
        .output()
        .context("ip: install iproute2")?;
    if !output.status.success() {
        bail!(
            "ip {words}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Removes the namespaces of runs that are no more, and ends what they left running there.
fn remove_stale() {
    let Ok(entries) = fs::read_dir(NAMESPACES) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(owner) = owner(&name) else { continue };
        if test_kill_process(owner).is_ok() {
            continue;
        }
        let inside = Command::new("ip").args(["netns", "pids", &name]).output();
        let inside = inside.map_or_else(|_| Vec::new(), |output| output.stdout);
        for pid in String::from_utf8_lossy(&inside).lines() {
            if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = ip(&format!("netns del {name}"));
    }
}

/// The process that made a namespace, if one like this did.
fn owner(name: &str) -> Option<Pid> {
    let (pid, _) = name.strip_prefix(PREFIX)?.split_once('x')?;
    pid.parse()
        .ok()
        .filter(|&pid| pid > 0)
        .and_then(Pid::from_raw)
}

/// The sum of the last column of /proc/net/udp over the sockets bound to `port`.
fn drops(table: &str, port: u16) -> Option<u64> {
    let sockets = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (_, local) = fields.nth(1)?.rsplit_once(':')?;
        let is_its = u16::from_str_radix(local, 16) == Ok(port);
        is_its.then(|| fields.next_back()?.parse::<u64>().ok())?
    });
    sockets.fold(None, |sum, drops| Some(sum.unwrap_or(0) + drops))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// Two hosts, if this process may make them.
    #[expect(clippy::print_stdout, reason = "a test tells what it does not test")]
    pub(crate) fn lab() -> Option<Lab> {
        if !getuid().is_root() {
            println!("skipped: needs root for network namespaces");
            return None;
        }
        Some(Lab::new().unwrap())
    }

    const TABLE: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  501: 0100007F:1770 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 00000000 7
  502: 00000000:1771 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 00000000 5
  503: 050101EF:1771 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 00000000 30
  504: broken
";

    #[test]
    fn drops_are_of_all_sockets_of_a_port() {
        assert_eq!(drops(TABLE, 6000), Some(7));
        assert_eq!(drops(TABLE, 6001), Some(35));
        assert_eq!(drops(TABLE, 6002), None);
        assert_eq!(drops("", 6000), None);
    }

    #[test]
    fn only_our_namespaces_are_ours() {
        assert_eq!(owner("scbench77x0s"), Pid::from_raw(77));
        for name in [
            "scbench77",
            "scbenchx0s",
            "sc77x0b",
            "scbench-1x0r",
            "eth0",
            "",
        ] {
            assert_eq!(owner(name), None, "{name}");
        }
    }

    #[test]
    fn two_hosts_hear_each_other_and_are_gone_afterwards() {
        let Some(lab) = lab() else { return };
        let bind = |side: Side| {
            lab.on(side, &[], || Ok(UdpSocket::bind((side.ip(), 6000))?))
                .unwrap()
        };
        let (sender, receiver) = (bind(Side::Sender), bind(Side::Receiver));
        let wait = std::time::Duration::from_secs(5);
        receiver.set_read_timeout(Some(wait)).unwrap();
        sender
            .send_to(b"hello", (Side::Receiver.ip(), 6000))
            .unwrap();
        let mut buffer = [0; 16];
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 5);
        assert_eq!(lab.drops(Side::Receiver, 6000).unwrap(), Some(0));
        assert_eq!(lab.drops(Side::Receiver, 6001).unwrap(), None);
        let name = lab.name(Side::Sender);
        drop(lab);
        assert!(!Path::new(NAMESPACES).join(name).exists());
    }
}
