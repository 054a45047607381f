//! Hosts as network namespaces on one bridge. Names carry the process id; everything is removed when the test ends.

use std::fs::File;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Runs a command; panics with its words when it fails.
pub fn sh(command: &str) {
    let output = Command::new("sh")
        .args(["-c", command])
        .output()
        .expect("sh runs");
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Whether `program` is there.
pub fn has(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Whether this process may make namespaces and has all of `programs`; says what is missing.
pub fn can_run(programs: &[&str]) -> bool {
    if !rustix::process::getuid().is_root() {
        println!("skipped: needs root for network namespaces");
        return false;
    }
    let missing: Vec<_> = programs.iter().filter(|program| !has(program)).collect();
    assert!(
        missing.is_empty(),
        "{missing:?} are missing: run tests/run, which installs them"
    );
    true
}

/// One LAN of hosts.
pub struct Lan {
    prefix: String,
    hosts: Vec<String>,
}

impl Lan {
    /// A bridge (in a namespace of its own) and `hosts`, each with the address 10.77.0.N on `eth0`, N counting from 1.
    pub fn new(hosts: usize) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("sc{}x{number}", std::process::id());
        let mut lan = Self {
            prefix: prefix.clone(),
            hosts: Vec::new(),
        };
        sh(&format!(
            "ip netns add {prefix}b && ip -n {prefix}b link add br0 type bridge mcast_snooping 0 && ip -n {prefix}b link set br0 up"
        ));
        for index in 1..=hosts {
            let host = format!("{prefix}h{index}");
            lan.hosts.push(host.clone());
            sh(&format!(
                "ip netns add {host} && ip -n {host} link set lo up \
                 && ip link add eth0 netns {host} type veth peer name p{index} netns {prefix}b \
                 && ip -n {prefix}b link set p{index} master br0 up \
                 && ip -n {host} addr add 10.77.0.{index}/24 dev eth0 && ip -n {host} link set eth0 up \
                 && ip -n {host} route add 239.0.0.0/8 dev eth0"
            ));
        }
        lan
    }

    /// Namespace of host `index`, counting from 1.
    pub fn host(&self, index: usize) -> &str {
        &self.hosts[index - 1]
    }

    /// Drops every `every`-th UDP datagram to `group` that arrives at a host, beginning with number `phase`.
    pub fn lose(&self, index: usize, group: &str, every: u32, phase: u32) {
        let host = self.host(index);
        let table = format!("loss{}", phase);
        sh(&format!(
            "ip netns exec {host} nft 'add table ip {table}; add chain ip {table} pre {{ type filter hook prerouting priority -300; }}; \
             add rule ip {table} pre ip daddr {group} udp dport 1-65535 numgen inc mod {every} {phase} counter drop'"
        ));
    }

    /// Nothing that host `index` sends to this UDP port leaves it, as behind a firewall.
    pub fn block_udp(&self, index: usize, port: u16) {
        let host = self.host(index);
        sh(&format!(
            "ip netns exec {host} nft 'add table ip block; add chain ip block out {{ type filter hook output priority 0; }}; \
             add rule ip block out udp dport {port} drop'"
        ));
    }

    /// Lets packets of far sources reach host `index`; what it answers goes to host `gateway`.
    pub fn accept_any_source(&self, index: usize, gateway: usize) {
        let host = self.host(index);
        sh(&format!(
            "ip netns exec {host} sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 && \
             ip -n {host} route add default via 10.77.0.{gateway}"
        ));
    }

    /// A socket on host `index`.
    pub fn socket(&self, index: usize) -> UdpSocket {
        self.enter(index, || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.set_multicast_ttl_v4(4).expect("TTL");
            socket
        })
    }

    /// Runs `act` on a thread of host `index`.
    pub fn enter<T: Send>(&self, index: usize, act: impl FnOnce() -> T + Send) -> T {
        let namespace =
            File::open(format!("/run/netns/{}", self.host(index))).expect("the namespace is there");
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(
                    rustix::fd::AsFd::as_fd(&namespace),
                    Some(LinkNameSpaceType::Network),
                )
                .expect("entering a namespace");
                act()
            });
            inside.join().expect("the thread ends well")
        })
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for namespace in self.hosts.iter().chain([&format!("{}b", self.prefix)]) {
            let _ = Command::new("ip")
                .args(["netns", "del", namespace])
                .output();
        }
    }
}
