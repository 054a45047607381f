//! Batches: segmented by the kernel when sent, coalesced when received.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use futures_lite::future::or;
use sealcast_net::{
    GroupOptions, RecvBatch, UdpReceiver, UdpSender, UdpServer, clock, is_oversize, shard,
};

use crate::helpers::{Got, group_on_lo, numbered, on_shard, receive, silent, take, unicast};

/// A packet: 1316 bytes of payload, header and tag.
const PACKET: usize = 1344;

fn pair(options: &GroupOptions) -> (UdpSender, UdpReceiver) {
    let receiver = UdpReceiver::bind(options).unwrap();
    let options = GroupOptions {
        group: receiver.local_addr().unwrap(),
        ..options.clone()
    };
    (UdpSender::connect(&options).unwrap(), receiver)
}

#[test]
fn a_gso_batch_arrives_whole() {
    for options in [group_on_lo(), unicast()] {
        on_shard(async move || {
            let (mut sender, mut receiver) = pair(&options);
            let sent = numbered(48, PACKET);
            sender.send_batch(&sent, PACKET).await.unwrap();
            let got = receive(&mut receiver, 48).await;
            assert_eq!(got.lengths(), [PACKET; 48]);
            assert!(got.datagrams.concat() == sent, "content or order differ");
            assert!(sender.gso());
            assert_eq!(got.coalesced, 48, "one buffer, cut by the kernel's word");
            assert_eq!(got.sources, [sender.local_addr().unwrap().ip()]);
            silent(&mut receiver).await;
        });
    }
}

#[test]
fn a_batch_may_end_short_and_may_be_longer_than_a_call() {
    on_shard(async || {
        let (mut sender, mut receiver) = pair(&unicast());
        // By bytes, by segments, with a rest in the last call, and with a rest that is the last call.
        for (segment, bytes) in [(PACKET, 200), (100, 300), (100, 129), (9000, 9)]
            .map(|(segment, count)| (segment, segment * count + 7))
        {
            let mut sent = numbered(bytes.div_ceil(segment), segment);
            sent.truncate(bytes);
            sender.send_batch(&sent, segment).await.unwrap();
            let got = receive(&mut receiver, bytes.div_ceil(segment)).await;
            let lengths: Vec<_> = sent.chunks(segment).map(<[u8]>::len).collect();
            assert_eq!(got.lengths(), lengths);
            assert!(got.datagrams.concat() == sent, "content or order differ");
        }
    });
}

#[test]
fn a_longer_datagram_after_a_batch_is_not_cut() {
    on_shard(async || {
        let (mut sender, mut receiver) = pair(&unicast());
        sender.send_batch(&numbered(3, 500), 500).await.unwrap();
        sender.send_one(&[1; 1400]).await.unwrap();
        sender.send_one(&[2; 200]).await.unwrap();
        // An empty one is none.
        sender.send_one(&[]).await.unwrap();
        sender.send_batch(&numbered(2, 700), 700).await.unwrap();
        let got = receive(&mut receiver, 7).await;
        assert_eq!(got.lengths(), [500, 500, 500, 1400, 200, 700, 700]);
    });
}

#[test]
fn a_datagram_too_long_for_udp_is_told_and_nothing_else_changes() {
    on_shard(async || {
        let (mut sender, mut receiver) = pair(&unicast());
        // An IP packet is no longer, though loopback takes one byte more.
        assert_eq!(sender.path_mtu().unwrap(), 65_535);
        let error = sender.send_one(&[0; 65_508]).await.unwrap_err();
        assert!(is_oversize(&error), "{error}");
        let error = sender.send_batch(&[0; 140_000], 70_000).await.unwrap_err();
        assert!(is_oversize(&error), "{error}");
        assert!(sender.gso(), "the datagram was at fault");
        sender.send_one(&[0; 65_507]).await.unwrap();
        assert_eq!(receive(&mut receiver, 1).await.lengths(), [65_507]);
    });
}

#[test]
fn nobody_listening_is_no_error() {
    on_shard(async || {
        let (mut sender, receiver) = pair(&unicast());
        let options = GroupOptions::new(receiver.local_addr().unwrap());
        drop(receiver);
        // Each is answered by an ICMP error that the next call would report.
        for _ in 0..5 {
            sender.send_one(b"unheard").await.unwrap();
        }
        let mut receiver = UdpReceiver::bind(&options).unwrap();
        sender.send_one(b"heard").await.unwrap();
        assert_eq!(receive(&mut receiver, 1).await.datagrams, [b"heard"]);
    });
}

#[test]
fn what_the_kernel_drops_is_counted() {
    on_shard(async || {
        let options = GroupOptions {
            buffer: 20_000,
            ..unicast()
        };
        let (mut sender, mut receiver) = pair(&options);
        let mut lost = 0;
        for round in 1..=2 {
            for _ in 0..100 {
                sender.send_one(&[0; 1000]).await.unwrap();
            }
            let (mut got, mut batch) = (Got::default(), RecvBatch::new(8, 12));
            while receiver.recv(&mut batch).unwrap() > 0 {
                got.datagrams
                    .extend(batch.iter_mut().map(|it| it.data.to_vec()));
            }
            // The kernel tells with the next one that it delivers.
            sender.send_one(b"next").await.unwrap();
            receive(&mut receiver, 1).await;
            lost += 100 - got.datagrams.len();
            assert!(lost > round * 10, "{lost} lost: the buffer was small");
            assert_eq!(receiver.drops(), lost as u64);
        }
    });
}

#[test]
fn as_many_are_asked_for_as_come_and_arrivals_are_timed() {
    on_shard(async || {
        let (mut sender, mut receiver) = pair(&unicast());
        let mut batch = RecvBatch::new(32, 0);
        let before = clock::realtime();
        for _ in 0..100 {
            sender.send_one(&[0; 1000]).await.unwrap();
        }
        let sent = clock::realtime();
        let (mut counts, mut arrivals) = (Vec::new(), Vec::new());
        loop {
            counts.push(receiver.recv(&mut batch).unwrap());
            arrivals.extend(batch.arrival());
            if !receiver.may_have_more() {
                break;
            }
        }
        // Twice as many each time, up to what the batch holds.
        assert_eq!(counts, [4, 8, 16, 32, 32, 8]);
        assert_eq!(arrivals.len(), counts.len());
        assert!(arrivals.is_sorted() && before <= arrivals[0] && arrivals[5] <= sent);
        // Large buffers: few at a time.
        for _ in 0..6 {
            sender.send_batch(&[0; 20_000], 1000).await.unwrap();
        }
        let counts = [(); 3].map(|()| receiver.recv(&mut batch).unwrap());
        assert_eq!(counts, [6, 0, 0]);
        for _ in 0..6 {
            sender.send_batch(&[0; 20_000], 1000).await.unwrap();
        }
        let counts = [(); 3].map(|()| receiver.recv(&mut batch).unwrap());
        assert_eq!((counts, batch.arrival()), ([4, 2, 0], None));
    });
}

#[test]
fn waiting_can_be_given_up_and_begun_anew() {
    on_shard(async || {
        let (mut sender, mut receiver) = pair(&unicast());
        let mut batch = RecvBatch::new(1, 0);
        assert_eq!(receiver.recv(&mut batch).unwrap(), 0, "nothing is there");
        let mut got = Got::default();
        for i in 0..500_u32 {
            let readable = async { receiver.readable().await.is_ok() };
            let tick = async {
                shard::sleep(Duration::from_micros(50)).await;
                false
            };
            assert!(!or(readable, tick).await);
            sender.send_one(&i.to_be_bytes()).await.unwrap();
            receiver.readable().await.unwrap();
            take(&mut receiver, &mut batch, &mut got);
        }
        let sent: Vec<_> = (0..500_u32).map(|i| i.to_be_bytes().to_vec()).collect();
        assert_eq!(got.datagrams, sent);
    });
}

#[test]
fn sources_are_told_unless_it_is_said() {
    on_shard(async || {
        let (mut sender, mut receiver) = pair(&unicast());
        sender.send_one(b"one").await.unwrap();
        let got = receive(&mut receiver, 1).await;
        assert_eq!(got.sources, [sender.local_addr().unwrap().ip()]);
        let mut receiver = receiver.without_sources();
        sender.send_batch(&numbered(6, 500), 500).await.unwrap();
        let got = receive(&mut receiver, 6).await;
        assert_eq!(got.datagrams.concat(), numbered(6, 500));
        assert!(got.sources.iter().all(std::net::IpAddr::is_unspecified));
    });
}

/// A port that the kernel chose for one server is nobody else's, but for those who ask for it.
#[test]
fn a_chosen_port_is_shared_only_with_who_asks_for_it() {
    on_shard(|| async {
        let any = || UdpServer::bind((Ipv4Addr::LOCALHOST, 0).into(), 1 << 16).unwrap();
        let servers: Vec<_> = (0..400).map(|_| any()).collect();
        let addrs: Vec<_> = servers.iter().map(|it| it.local_addr().unwrap()).collect();
        let different: BTreeSet<_> = addrs.iter().collect();
        assert_eq!(different.len(), addrs.len());
        let second = UdpServer::bind(addrs[0], 1 << 16).unwrap();
        assert_eq!(second.local_addr().unwrap(), addrs[0]);
        // Both get some of what comes.
        let mut got = [0, 0];
        for _ in 0..64 {
            let asking = UdpSocket::bind("127.0.0.1:0").unwrap();
            asking.send_to(b"?", addrs[0]).unwrap();
        }
        let mut batch = RecvBatch::new(64, 0);
        let [mut first, mut second] = [servers.into_iter().next().unwrap(), second];
        shard::sleep(Duration::from_millis(20)).await;
        for (count, server) in got.iter_mut().zip([&mut first, &mut second]) {
            *count = server.recv(&mut batch).unwrap();
        }
        assert_eq!(got[0] + got[1], 64, "{got:?}");
        assert!(got[0] > 0 && got[1] > 0, "{got:?}");
    });
}
