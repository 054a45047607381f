//! What loopback cannot show: queues that fill, routes, IPv6 multicast, an MTU of 1500. Each test has network namespaces of its
//! own, which end with the threads that are in them.
#![expect(unsafe_code, reason = "unshare")]

use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{UnshareFlags, gettid, unshare_unsafe};
use sealcast_net::{GroupOptions, Interface, SocketError, UdpReceiver, UdpSender, is_oversize};

use crate::helpers::{group, group_on_lo, numbered, on_shard, receive};

/// Whether this process may make namespaces and has `programs`; says why not.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn can_run(programs: &[&str]) -> bool {
    let found = |program: &&&str| Command::new(program).arg("-V").output().is_ok();
    let missing = programs.iter().find(|program| !found(program));
    match missing {
        _ if !rustix::process::geteuid().is_root() => {
            println!("skipped: needs root for network namespaces");
            false
        }
        Some(program) => {
            println!("skipped: {program} is missing (Debian: iproute2)");
            false
        }
        None => true,
    }
}

/// Moves this thread, and what it starts, into a new network namespace.
fn leave_network() {
    // SAFETY: only the network namespace changes; file descriptors and memory stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
}

fn sh(command: &str) {
    let output = Command::new("sh").args(["-ec", command]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}");
}

/// Runs `act` in a namespace that `setup` made.
pub(crate) fn alone<T: Send>(setup: &str, act: impl FnOnce() -> T + Send) -> T {
    let inside = || {
        leave_network();
        sh(setup);
        act()
    };
    thread::scope(|scope| scope.spawn(inside).join().unwrap())
}

/// Runs `act` on the first of two hosts: `eth0` 10.77.0.1 and fd77::1, on a wire to 10.77.0.2 and fd77::2. The other host
/// receives `count` datagrams of `options`; returns what both have.
pub(crate) fn wired<T: Send>(
    options: fn() -> GroupOptions,
    count: usize,
    act: impl FnOnce(GroupOptions) -> T + Send,
) -> (T, Vec<Vec<u8>>) {
    let address = |host: u8| {
        format!(
            "ip link set lo up && ip link set eth0 up && ip addr add 10.77.0.{host}/24 dev eth0 \
             && ip addr add fd77::{host}/64 dev eth0 nodad && ip route add 239.0.0.0/8 dev eth0"
        )
    };
    let (there, thread_of_other) = channel();
    let (wire, is_wired) = channel();
    let (bound, is_bound) = channel();
    let other = move || {
        leave_network();
        there.send(gettid().as_raw_nonzero()).unwrap();
        is_wired.recv().unwrap();
        sh(&address(2));
        let options = options();
        on_shard(async move || {
            let mut receiver = UdpReceiver::bind(&options).unwrap();
            bound.send(options).unwrap();
            receive(&mut receiver, count).await.datagrams
        })
    };
    thread::scope(|scope| {
        let other = scope.spawn(other);
        let this = scope.spawn(move || {
            leave_network();
            let namespace = thread_of_other.recv().unwrap();
            sh(&format!(
                "ip link add eth0 type veth peer name eth0 netns {namespace}"
            ));
            wire.send(()).unwrap();
            sh(&address(1));
            let options = is_bound.recv().unwrap();
            act(options)
        });
        (this.join().unwrap(), other.join().unwrap())
    })
}

#[test]
fn every_datagram_is_whole_under_back_pressure() {
    const LENGTH: usize = 1000;
    const EACH: usize = 200;
    if !can_run(&["ip", "tc"]) {
        return;
    }
    // 8 Mbit/s: 400 datagrams of 1000 bytes take 0.4 s, the socket's buffer holds a few.
    let setup = "ip link set lo up mtu 1500 && tc qdisc add dev lo root tbf rate 8mbit burst 5000 limit 4000000";
    alone(setup, || {
        let options = group_on_lo();
        on_shard(async move || {
            let mut receiver = UdpReceiver::bind(&options).unwrap();
            let options = GroupOptions {
                buffer: 4096,
                ..options
            };
            let mut sender = UdpSender::connect(&options).unwrap();
            let sent = numbered(EACH, LENGTH);
            let start = Instant::now();
            for datagram in sent.chunks(LENGTH) {
                sender.send_one(datagram).await.unwrap();
            }
            for batch in sent.chunks(10 * LENGTH) {
                sender.send_batch(batch, LENGTH).await.unwrap();
            }
            assert!(
                start.elapsed() > Duration::from_millis(200),
                "the sender had to wait: {:?}",
                start.elapsed()
            );
            let got = receive(&mut receiver, 2 * EACH).await;
            assert_eq!(got.lengths(), [LENGTH; 2 * EACH]);
            assert!(got.datagrams.concat() == [sent.clone(), sent].concat());
            assert!(sender.gso());
        });
    });
}

#[test]
fn without_an_interface_the_route_decides() {
    if !can_run(&["ip"]) {
        return;
    }
    let send = |options: GroupOptions| {
        on_shard(async move || {
            let mut sender = UdpSender::connect(&options).unwrap();
            sender.send_one(b"routed").await.unwrap();
            sender.local_addr().unwrap().ip().to_string()
        })
    };
    let (source, got) = wired(|| group(5000), 1, send);
    assert_eq!(source, "10.77.0.1");
    assert_eq!(got, [b"routed"]);
}

#[test]
fn without_interface_and_route_the_error_says_so() {
    if !can_run(&["ip"]) {
        return;
    }
    alone("ip link set lo up", || {
        let (sending, receiving) = on_shard(async || {
            let options = group(5000);
            let sending = UdpSender::connect(&options).unwrap_err();
            (sending, UdpReceiver::bind(&options).unwrap_err())
        });
        for error in [sending, receiving] {
            assert!(matches!(error, SocketError::NoRoute { .. }), "{error}");
        }
        // Loopback needs no route if it is named.
        let options = group_on_lo();
        on_shard(async move || {
            let mut receiver = UdpReceiver::bind(&options).unwrap();
            let mut sender = UdpSender::connect(&options).unwrap();
            sender.send_one(b"here").await.unwrap();
            assert_eq!(receive(&mut receiver, 1).await.datagrams, [b"here"]);
        });
    });
}

#[test]
fn ipv6_groups_arrive() {
    if !can_run(&["ip"]) {
        return;
    }
    let of_one_source = || GroupOptions {
        source: Some("fd77::1".parse().unwrap()),
        ..on_eth0("[ff35::77:3]:5000")
    };
    let all: [fn() -> GroupOptions; 3] = [
        || on_eth0("[ff15::77:1]:5000"),
        || on_eth0("[ff12::77:2]:5000"),
        of_one_source,
    ];
    for options in all {
        let sent = numbered(48, 1344);
        let batch = sent.clone();
        let send = |options: GroupOptions| {
            on_shard(async move || {
                let mut sender = UdpSender::connect(&GroupOptions {
                    ttl: Some(3),
                    dscp: Some(46),
                    ..options
                })
                .unwrap();
                sender.send_batch(&batch, 1344).await.unwrap();
            })
        };
        let ((), got) = wired(options, 48, send);
        assert_eq!(got.len(), 48);
        assert!(got.concat() == sent, "content or order differ");
    }
}

fn on_eth0(group: &str) -> GroupOptions {
    GroupOptions {
        iface: Some(Interface::resolve("eth0").unwrap()),
        ..GroupOptions::new(group.parse().unwrap())
    }
}

#[test]
fn a_datagram_longer_than_the_path_takes_is_told_beforehand_and_when_sent() {
    if !can_run(&["ip"]) {
        return;
    }
    let send = |options: GroupOptions| {
        on_shard(async move || {
            let mut sender = UdpSender::connect(&options).unwrap();
            // Headers of IPv4 and UDP.
            let fits = sender.path_mtu().unwrap() - 28;
            assert_eq!(fits, 1472);
            let error = sender.send_one(&[0; 1473]).await.unwrap_err();
            assert!(is_oversize(&error), "{error}");
            let too_long = numbered(10, 1473);
            let error = sender.send_batch(&too_long, 1473).await.unwrap_err();
            assert!(is_oversize(&error), "{error}");
            assert!(sender.gso(), "the datagrams were at fault");
            sender.send_batch(&numbered(10, fits), fits).await.unwrap();
        })
    };
    let ((), got) = wired(|| group(5000), 10, send);
    assert!(got.concat() == numbered(10, 1472));
}
