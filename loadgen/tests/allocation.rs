//! Whole channels on shards, fed with single datagrams: while they run, and keys change, what they allocate does not grow with packets.
//!
//! Counted is what the channels' own tasks allocate, each time they are polled. The executor makes some more for each of its
//! wakes, at ticks as here however many packets there are.
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]
#![expect(clippy::print_stdout, reason = "the figures are for people")]

use std::future::{Future, poll_fn};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_dataplane::coalesce::BUDGET_DEFAULT;
use sealcast_dataplane::fleet::{Fleet, Running};
use sealcast_dataplane::ingest::{Header, Ingest};
use sealcast_dataplane::output::Sink;
use sealcast_dataplane::status::{Published, ReceiveStatus, SendStatus};
use sealcast_loadgen::channels::Identity;
use sealcast_loadgen::keys::LocalKeys;
use sealcast_net::shard::Executor;
use sealcast_net::{GroupOptions, UdpReceiver, UdpSender};
use sealcast_proto::ids::ChannelId;
use sealcast_proto::receiver::ParkingBudget;
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::control::AuthLevel;

const CHANNEL: ChannelId = ChannelId(1);
const PAYLOAD: [u8; 1316] = [0x47; 1316];
/// Before counting: buffers grow to their sizes.
const WARM_UP: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(2);
/// Datagrams per second.
const SLOW: u64 = 2000;
const FAST: u64 = 20_000;
/// Allocations of sender and receiver together per second, at most: some for each key (about 30), some when a tick finds a channel that
/// had become quiet; none for a packet, none for a tick (500 per second and channel).
const PER_SECOND_MAX: u64 = 200;

fn identity() -> Identity {
    let ms = Duration::from_millis;
    Identity {
        channel: CHANNEL,
        timing: Timing::new(ms(1000), ms(500), ms(250), ms(50)).unwrap(),
    }
}

fn free() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

type Channel = Running<Option<String>>;

/// Runs a channel and adds up what is allocated while it is polled.
async fn counting<T>(channel: impl Future<Output = T>, total: Arc<AtomicU64>) -> T {
    let mut channel = Box::pin(channel);
    poll_fn(move |context| {
        let mut result = None;
        let counted = allocation_counter::measure(|| {
            result = Some(channel.as_mut().poll(context));
        });
        total.fetch_add(counted.count_total, Ordering::Relaxed);
        result.unwrap()
    })
    .await
}

fn sending(
    fleet: &Fleet,
    keys: &LocalKeys,
    [input, group]: [SocketAddr; 2],
    allocated: Arc<AtomicU64>,
) -> (Channel, Published<SendStatus>) {
    let (link, status) = (keys.sends(CHANNEL), Published::default());
    let published = status.clone();
    let channel = fleet.spawn(0, move |stop| async move {
        let socket = UdpReceiver::bind(&GroupOptions::new(input)).unwrap();
        let ingest = Ingest::udp(socket, false, Header::Keep, PAYLOAD.len());
        let leg = UdpSender::connect(&GroupOptions::new(group)).unwrap();
        let channel = identity().sending(link, ingest, leg, status, stop).unwrap();
        counting(channel.run(), allocated).await
    });
    (channel, published)
}

fn receiving(
    fleet: &Fleet,
    keys: &LocalKeys,
    [group, output]: [SocketAddr; 2],
    allocated: Arc<AtomicU64>,
) -> (Channel, Published<ReceiveStatus>) {
    let (link, status) = (keys.receives(CHANNEL), Published::default());
    let published = status.clone();
    let channel = fleet.spawn(1, move |stop| async move {
        let leg = UdpReceiver::bind(&GroupOptions::new(group)).unwrap();
        let output = UdpSender::connect(&GroupOptions::new(output)).unwrap();
        let (sink, parking) = (Sink::udp(output, None), ParkingBudget::default());
        let mut channel = identity()
            .receiving(link, leg, sink, parking, status, stop)
            .unwrap();
        // At once, each wake costs two allocations of glommio: of the socket's readiness, and of the timer beside it.
        channel.budget = BUDGET_DEFAULT;
        counting(channel.run(), allocated).await
    });
    (channel, published)
}

/// Counts what comes out.
fn count(socket: UdpSocket, stop: Arc<AtomicBool>, came: Arc<AtomicU64>) {
    let mut buffer = [0; 2000];
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    while !stop.load(Ordering::Relaxed) {
        if let Ok(length) = socket.recv(&mut buffer) {
            came.fetch_add(u64::from(buffer[..length] == PAYLOAD), Ordering::Relaxed);
        }
    }
}

/// Single datagrams at `rate` for `time`; how many.
fn feed(socket: &UdpSocket, rate: u64, time: Duration) -> u64 {
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < time {
        let due = start.elapsed().as_micros() * u128::from(rate) / 1_000_000;
        // What a thread that was kept waiting has to make up does not come at once.
        for _ in 0..due.saturating_sub(sent.into()).min(100) {
            socket.send(&PAYLOAD).unwrap();
            sent += 1;
        }
        sleep(Duration::from_micros(500));
    }
    sent
}

#[test]
fn allocations_do_not_grow_with_packets() {
    Executor::ALL.into_iter().for_each(measure);
}

fn measure(executor: Executor) {
    let (input, group) = (free(), free());
    let output = UdpSocket::bind("127.0.0.1:0").unwrap();
    let out = output.local_addr().unwrap();
    let (stop, came) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let counter = {
        let (stop, came) = (Arc::clone(&stop), Arc::clone(&came));
        std::thread::spawn(move || count(output, stop, came))
    };
    let keys = LocalKeys::start(
        [CHANNEL],
        identity().timing,
        AuthLevel::Group,
        StdRng::seed_from_u64(3),
    )
    .unwrap();
    let fleet = Fleet::start(&[executor.anywhere(); 2]).unwrap();
    let (by_sender, by_receiver) = (Arc::default(), Arc::default());
    let (receiver, received) = receiving(&fleet, &keys, [group, out], Arc::clone(&by_receiver));
    let (sender, sent) = sending(&fleet, &keys, [input, group], Arc::clone(&by_sender));
    let start = Instant::now();
    while sent.read().keys.current.is_none() || received.read().keys.current.is_none() {
        assert!(start.elapsed() < Duration::from_secs(10), "no keys");
        sleep(Duration::from_millis(20));
    }
    let feeder = UdpSocket::bind("127.0.0.1:0").unwrap();
    feeder.connect(input).unwrap();
    feed(&feeder, FAST, WARM_UP);
    let epoch = received.read().keys.current;
    let now = || [&by_sender, &by_receiver, &came].map(|count| count.load(Ordering::Relaxed));
    let window = |rate| {
        let before = now();
        let packets = feed(&feeder, rate, WINDOW);
        let after = now();
        let [sender, receiver, came] = [0, 1, 2].map(|which| after[which] - before[which]);
        println!(
            "{executor}: {packets} packets in {WINDOW:?}, of which {came} came out: sender {sender}, receiver {receiver} allocations"
        );
        (packets, came, sender + receiver)
    };
    let [slow, fast] = [window(SLOW), window(FAST)];
    let later = received.read().keys.current;
    sender.stop_and_wait();
    receiver.stop_and_wait();
    fleet.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    counter.join().unwrap();
    assert!(
        later.map(|key| key.0) > epoch.map(|key| key.0),
        "keys changed"
    );
    let ((few, ..), (many, came, _)) = (slow, fast);
    assert!(many > 5 * few && came > many / 2, "{slow:?} {fast:?}");
    for (packets, _, allocations) in [slow, fast] {
        assert!(
            allocations <= PER_SECOND_MAX * WINDOW.as_secs(),
            "{allocations} allocations with {packets} packets"
        );
    }
}
