//! What the tests share.

use std::future::Future;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures_lite::future::or;
use sealcast_net::shard::Placement;
use sealcast_net::{GroupOptions, Interface, RecvBatch, UdpReceiver, shard};

/// Longest wait for what must come, and wait for what must not.
const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(50);

/// Runs `main` on a shard of its own.
pub(crate) fn on_shard<T: Send + 'static, F: Future<Output = T> + 'static>(
    main: impl FnOnce() -> F + Send + 'static,
) -> T {
    shard::start("test", placement(), main)
        .unwrap()
        .join()
        .unwrap()
}

/// Any core, on the executor of this run.
pub(crate) fn placement() -> Placement {
    crate::EXECUTOR.anywhere()
}

/// A UDP port that nobody has now.
pub(crate) fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

pub(crate) fn group(port: u16) -> GroupOptions {
    static LAST: AtomicU8 = AtomicU8::new(1);
    let last = LAST.fetch_add(1, Ordering::Relaxed);
    GroupOptions::new(SocketAddr::new([239, 255, 77, last].into(), port))
}

/// A group that no other test has, on loopback.
pub(crate) fn group_on_lo() -> GroupOptions {
    GroupOptions {
        iface: Some(Interface::resolve("127.0.0.1").unwrap()),
        ..group(free_port())
    }
}

pub(crate) fn unicast() -> GroupOptions {
    GroupOptions::new("127.0.0.1:0".parse().unwrap())
}

/// What a receiver got.
#[derive(Default)]
pub(crate) struct Got {
    pub(crate) datagrams: Vec<Vec<u8>>,
    pub(crate) sources: Vec<IpAddr>,
    /// Most datagrams that came in one buffer.
    pub(crate) coalesced: usize,
}

impl Got {
    pub(crate) fn lengths(&self) -> Vec<usize> {
        self.datagrams.iter().map(Vec::len).collect()
    }
}

/// Receives until `count` datagrams are there, or nothing comes any more.
pub(crate) async fn receive(receiver: &mut UdpReceiver, count: usize) -> Got {
    let mut got = Got::default();
    let mut batch = RecvBatch::new(8, 12);
    while got.datagrams.len() < count && readable_within(receiver, LONG).await {
        take(receiver, &mut batch, &mut got);
    }
    got
}

/// Asserts that nothing (more) comes.
pub(crate) async fn silent(receiver: &mut UdpReceiver) {
    assert!(!readable_within(receiver, SHORT).await);
}

async fn readable_within(receiver: &UdpReceiver, time: Duration) -> bool {
    let readable = async { receiver.readable().await.is_ok() };
    let late = async {
        shard::sleep(time).await;
        false
    };
    or(readable, late).await
}

pub(crate) fn take(receiver: &mut UdpReceiver, batch: &mut RecvBatch, got: &mut Got) {
    receiver.recv(batch).unwrap();
    for mut received in batch.iter_mut() {
        got.sources.push(received.source.ip());
        let before = got.datagrams.len();
        got.datagrams
            .extend(received.segments().map(|datagram| datagram.to_vec()));
        got.coalesced = got.coalesced.max(got.datagrams.len() - before);
    }
}

/// `count` datagrams of `segment` bytes, each filled with its number, one after another.
pub(crate) fn numbered(count: usize, segment: usize) -> Vec<u8> {
    let datagram = |i: usize| i.to_le_bytes().into_iter().cycle().take(segment);
    (0..count).flat_map(datagram).collect()
}
