//! Who receives which group, and what is refused.

use std::net::IpAddr;

use sealcast_net::{GroupOptions, Interface, SocketError, UdpReceiver, UdpSender};

use crate::helpers::{group_on_lo, on_shard, receive, silent, unicast};

#[test]
fn every_receiver_of_a_group_on_a_host_gets_all() {
    on_shard(async || {
        let options = group_on_lo();
        let mut receivers = [(); 2].map(|()| UdpReceiver::bind(&options).unwrap());
        let mut sender = UdpSender::connect(&options).unwrap();
        sender.send_batch(&[5; 2000], 100).await.unwrap();
        for receiver in &mut receivers {
            assert_eq!(receive(receiver, 20).await.lengths(), [100; 20]);
            silent(receiver).await;
        }
    });
}

#[test]
fn another_group_on_the_same_port_does_not_leak_in() {
    on_shard(async || {
        let ours = group_on_lo();
        let mut others = group_on_lo();
        others.group.set_port(ours.group.port());
        let mut receiver = UdpReceiver::bind(&ours).unwrap();
        // Another receiver has joined it, so that this host does receive it.
        let mut other = UdpReceiver::bind(&others).unwrap();
        let mut sender = UdpSender::connect(&others).unwrap();
        sender.send_one(b"not ours").await.unwrap();
        assert_eq!(receive(&mut other, 1).await.datagrams, [b"not ours"]);
        silent(&mut receiver).await;
    });
}

#[test]
fn only_the_chosen_source_is_received() {
    on_shard(async || {
        let group = group_on_lo();
        let chosen: IpAddr = "127.0.0.2".parse().unwrap();
        let from = |address: &str| GroupOptions {
            iface: Some(Interface::resolve(address).unwrap()),
            ..group.clone()
        };
        let mut senders =
            ["127.0.0.1", "127.0.0.2"].map(|address| UdpSender::connect(&from(address)).unwrap());
        let mut options = from("127.0.0.1");
        options.source = Some(chosen);
        let mut receiver = UdpReceiver::bind(&options).unwrap();
        for _ in 0..3 {
            for sender in &mut senders {
                let source = sender.local_addr().unwrap().ip().to_string();
                sender.send_one(source.as_bytes()).await.unwrap();
            }
        }
        let got = receive(&mut receiver, 3).await;
        assert_eq!(got.datagrams, [b"127.0.0.2"; 3]);
        assert!(got.sources.iter().all(|&source| source == chosen));
        silent(&mut receiver).await;
    });
}

#[test]
fn unicast_through_a_named_interface_arrives() {
    on_shard(async || {
        let lo = Some(Interface::resolve("lo").unwrap());
        let mut receiver = UdpReceiver::bind(&GroupOptions {
            iface: lo.clone(),
            ..unicast()
        })
        .unwrap();
        let mut sender = UdpSender::connect(&GroupOptions {
            iface: lo,
            ..GroupOptions::new(receiver.local_addr().unwrap())
        })
        .unwrap();
        sender.send_one(b"here").await.unwrap();
        assert_eq!(receive(&mut receiver, 1).await.datagrams, [b"here"]);
    });
}

/// The error that receiving with these options ends in.
fn refusal(options: GroupOptions) -> SocketError {
    on_shard(async move || UdpReceiver::bind(&options).unwrap_err())
}

#[test]
fn a_source_needs_a_group_of_its_family() {
    let mut of_unicast = unicast();
    of_unicast.source = Some("127.0.0.1".parse().unwrap());
    let mut of_other_family = group_on_lo();
    of_other_family.source = Some("::1".parse().unwrap());
    for options in [of_unicast, of_other_family] {
        let group = options.group;
        let error = refusal(options);
        assert!(
            matches!(error, SocketError::BadGroup { group: named, .. } if named == group),
            "{error}"
        );
    }
}

#[test]
fn an_address_in_use_and_one_of_another_host_are_named() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let error = refusal(GroupOptions::new(addr));
    assert!(
        matches!(error, SocketError::PortInUse { addr: named } if named == addr),
        "{error}"
    );
    let error = refusal(GroupOptions::new("192.0.2.1:5000".parse().unwrap()));
    assert!(matches!(error, SocketError::NotOurs { .. }), "{error}");
}

#[test]
fn a_privilege_that_is_missing_is_named() {
    // Broadcast is not asked for, so the kernel refuses it to everyone.
    let options = GroupOptions::new("255.255.255.255:5000".parse().unwrap());
    let error = on_shard(async move || UdpSender::connect(&options).unwrap_err());
    assert!(matches!(error, SocketError::NotPermitted { .. }), "{error}");
}
