//! Sockets on the loopback interface: batches, groups, errors.
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use sealcast_net::{
    GroupOptions, Interface, RecvBatch, SocketError, UdpReceiver, UdpSender, shard,
};

const SEGMENT: usize = 1344;

/// A group on the loopback interface; the port is one that the kernel says is free.
fn group(last: u8) -> GroupOptions {
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut options = GroupOptions::new(SocketAddr::from(([239, 255, 88, last], port)));
    options.iface = Some(Interface::resolve("127.0.0.1").unwrap());
    options
}

/// Datagrams that are there within half a second.
async fn receive(socket: &mut UdpReceiver, batch: &mut RecvBatch, wanted: usize) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for _ in 0..50 {
        while socket.recv(batch).unwrap() > 0 {
            for received in batch.iter_mut() {
                found.extend(received.data.chunks(received.segment).map(<[u8]>::to_vec));
            }
        }
        if found.len() >= wanted {
            break;
        }
        shard::sleep(Duration::from_millis(10)).await;
    }
    found
}

fn on_a_shard<F: Future<Output = ()> + 'static>(main: impl FnOnce() -> F + Send + 'static) {
    shard::start("test", None, main).unwrap().join().unwrap();
}

#[test]
fn a_gso_batch_arrives_whole_at_every_receiver() {
    on_a_shard(|| async {
        let options = group(1);
        let mut receivers = [
            UdpReceiver::bind(&options).unwrap(),
            UdpReceiver::bind(&options).unwrap(),
        ];
        let mut sender = UdpSender::connect(&options).unwrap();
        // 100 segments and a short one: more than one call takes.
        let bytes: Vec<u8> = (0..100 * SEGMENT + 300)
            .map(|at| u8::try_from((at / SEGMENT + at) % 251).unwrap())
            .collect();
        sender.send_batch(&bytes, SEGMENT).await.unwrap();
        sender.send_one(b"a control datagram").await.unwrap();
        for receiver in &mut receivers {
            let found = receive(receiver, &mut RecvBatch::new(8), 102).await;
            assert_eq!(found.len(), 102);
            assert!(found[..101].concat() == bytes && found[101] == b"a control datagram");
            assert!(
                found[..100]
                    .iter()
                    .all(|datagram| datagram.len() == SEGMENT)
            );
        }
    });
}

#[test]
fn another_group_on_the_same_port_does_not_leak_in() {
    on_a_shard(|| async {
        let ours = group(2);
        let mut other = ours.clone();
        other
            .group
            .set_ip(IpAddr::V4(Ipv4Addr::new(239, 255, 88, 3)));
        let mut receiver = UdpReceiver::bind(&ours).unwrap();
        let _joined = UdpReceiver::bind(&other).unwrap();
        UdpSender::connect(&other)
            .unwrap()
            .send_one(b"other")
            .await
            .unwrap();
        UdpSender::connect(&ours)
            .unwrap()
            .send_one(b"ours")
            .await
            .unwrap();
        let found = receive(&mut receiver, &mut RecvBatch::new(2), 1).await;
        assert_eq!(found, [b"ours".to_vec()]);
    });
}

#[test]
fn source_specific_groups_take_only_their_source() {
    on_a_shard(|| async {
        let options = group(4);
        let mut wanted = options.clone();
        wanted.source = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9)));
        let mut receiver = UdpReceiver::bind(&wanted).unwrap();
        UdpSender::connect(&options)
            .unwrap()
            .send_one(b"from 127.0.0.1")
            .await
            .unwrap();
        let right = UdpSocket::bind("127.0.0.9:0").unwrap();
        right.send_to(b"from 127.0.0.9", options.group).unwrap();
        let found = receive(&mut receiver, &mut RecvBatch::new(2), 1).await;
        assert_eq!(found, [b"from 127.0.0.9".to_vec()]);
    });
}

#[test]
fn errors_say_what_to_do() {
    on_a_shard(|| async {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let in_use =
            UdpReceiver::bind(&GroupOptions::new(taken.local_addr().unwrap())).unwrap_err();
        assert!(
            matches!(in_use, SocketError::PortInUse { .. })
                && in_use.to_string().contains("another port"),
            "{in_use}"
        );
        let nowhere = Interface::resolve("nosuch0").unwrap_err().to_string();
        assert!(
            nowhere.contains("nosuch0") && nowhere.contains("lo (127.0.0.1)"),
            "{nowhere}"
        );
    });
}
