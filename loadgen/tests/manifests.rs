//! Auth level 1 over real sockets: a sender on two shards, a receiver, and an insider who has every packet and every key of the receiver,
//! and sends what he likes to it (MD-02, MD-03, SEC-05).
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_crypto::{EpochRoot, SealKey, Span};
use sealcast_dataplane::fleet::{Fleet, Running};
use sealcast_dataplane::ingest::{Header, Ingest};
use sealcast_dataplane::lanes::lane;
use sealcast_dataplane::link::{KeyEvent, KeyLink};
use sealcast_dataplane::output::Sink;
use sealcast_dataplane::status::{Published, ReceiveStatus, SendStatus};
use sealcast_loadgen::channels::Identity;
use sealcast_loadgen::keys::LocalKeys;
use sealcast_net::mailbox::{Receiver, Sender, mailbox};
use sealcast_net::shard::Executor;
use sealcast_net::{GroupOptions, UdpReceiver, UdpSender};
use sealcast_proto::discard::Discard;
use sealcast_proto::ids::{ChannelId, Kid, Lane, RunId, ServerId};
use sealcast_proto::limits::{HEADER_LEN, OVERHEAD};
use sealcast_proto::receiver::ParkingBudget;
use sealcast_proto::sender::{self, Hold, ManifestConfig, SenderConfig};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::control::AuthLevel;
use sealcast_proto::wire::door::Wanted;
use sealcast_proto::wire::header::PacketHeader;
use sealcast_proto::wire::link::Mode;

const CHANNEL: ChannelId = ChannelId(1);
const LEN: usize = 1316;
const LANES: u8 = 2;
/// What the insider writes.
const FORGED: [u8; LEN] = [0x66; LEN];
/// Datagrams per second, and how long they come.
const RATE: u64 = 2000;
const TIME: Duration = Duration::from_secs(4);

fn timing() -> Timing {
    let ms = Duration::from_millis;
    Timing::new(ms(1000), ms(500), ms(250), ms(50)).unwrap()
}

fn identity() -> Identity {
    Identity {
        channel: CHANNEL,
        timing: timing(),
    }
}

/// The payload of this number.
fn payload(number: u64) -> [u8; LEN] {
    let mut payload = [0x47; LEN];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload
}

fn free() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

fn legs(groups: [SocketAddr; 2]) -> Vec<UdpSender> {
    let connect = |group| UdpSender::connect(&GroupOptions::new(group)).unwrap();
    groups.map(connect).into()
}

/// The sender: lane 0 on shard 0, the other on shard 1.
fn sending(
    fleet: &Fleet,
    keys: &LocalKeys,
    input: SocketAddr,
    groups: [SocketAddr; 2],
) -> (Running<Option<String>>, Published<SendStatus>) {
    let (link, status) = (keys.sends(CHANNEL), Published::default());
    let (published, (other, work)) = (status.clone(), lane());
    drop(fleet.spawn(1, move |_| {
        work.run(Ok(legs(groups)), ManifestConfig::default())
    }));
    let channel = fleet.spawn(0, move |stop| async move {
        let socket = UdpReceiver::bind(&GroupOptions::new(input)).unwrap();
        let ingest = Ingest::udp(socket, false, Header::Keep, LEN);
        let leg = UdpSender::connect(&GroupOptions::new(groups[0])).unwrap();
        let mut channel = identity().sending(link, ingest, leg, status, stop).unwrap();
        let config = SenderConfig {
            channel: CHANNEL,
            server: ServerId(1),
            run: RunId(1),
            mode: Mode::Authority,
            lanes: LANES,
            timing: timing(),
            hold: Hold::Hold,
            payload_max: LEN,
            keylog: false,
        };
        channel.sender = sender::Sender::new(config, &[7; 32]);
        (channel.legs, channel.lanes) = (legs(groups), vec![other]);
        channel.run().await
    });
    (channel, published)
}

/// The receiver; `seen` gets each payload.
fn receiving(
    fleet: &Fleet,
    link: KeyLink,
    group: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
) -> (Running<Option<String>>, Published<ReceiveStatus>) {
    let status = Published::default();
    let published = status.clone();
    let channel = fleet.spawn(2, move |stop| async move {
        let leg = UdpReceiver::bind(&GroupOptions::new(group)).unwrap();
        let watch = move |payload: &[u8]| seen.lock().unwrap().push(payload.to_vec());
        let (sink, parking) = (Sink::Watcher(Box::new(watch)), ParkingBudget::default());
        let channel = identity().receiving(link, leg, sink, parking, status, stop);
        channel.unwrap().run().await
    });
    (channel, published)
}

/// Between the receiver and its keys, and on the path of its packets.
struct Insider {
    keys: KeyLink,
    events: Sender<KeyEvent>,
    wanted: Receiver<Wanted>,
    tap: UdpSocket,
    group: SocketAddr,
    roots: Vec<(u32, EpochRoot)>,
    forged: u64,
}

impl Insider {
    /// Hands on what the keys' link says, and keeps the roots.
    fn hand_on(&mut self) {
        while let Some(wanted) = self.wanted.try_recv() {
            self.keys.say(wanted);
        }
        while let Some(event) = self.keys.try_recv() {
            if let KeyEvent::Granted(granted, _) = &event {
                let halves = [Some(&granted.current), granted.next.as_ref()];
                for half in halves.into_iter().flatten() {
                    self.roots.push((half.epoch.low(), half.root.clone()));
                }
            }
            let _ = self.events.try_send(event);
        }
    }

    fn seal(&self, header: PacketHeader, payload: &[u8]) -> Option<Vec<u8>> {
        let low = header.kid.epoch_low();
        let (_, root) = self.roots.iter().rev().find(|(epoch, _)| *epoch == low)?;
        let mut packet = vec![0; payload.len() + OVERHEAD];
        header.write(&mut packet);
        packet[HEADER_LEN..HEADER_LEN + payload.len()].copy_from_slice(payload);
        let span = Span {
            offset: 0,
            header_len: HEADER_LEN,
            payload_len: payload.len(),
            ctr: header.ctr.0,
        };
        SealKey::new(&root.prk().lane_secret(header.kid.value())).seal(&mut packet, &[span]);
        Some(packet)
    }

    /// What he makes of a packet: ones in its place and ahead of it, one of the other lane, itself again, itself altered.
    fn attack(&mut self, packet: &[u8]) {
        let Some(header) = PacketHeader::parse(packet) else {
            return;
        };
        let mut ahead = header;
        ahead.ctr.0 += 8 * u64::from(LANES);
        let mut other = header;
        let lane = header.kid.lane().number();
        let turned = Lane::new(if lane == 1 { 2 } else { 1 }).unwrap();
        let moved = u64::from(turned.number()) << 40 | header.kid.value() & 0xFF_FFFF_FFFF;
        other.kid = Kid::from_wire(moved).unwrap();
        let made = [header, ahead, other].map(|header| self.seal(header, &FORGED));
        let mut altered = packet.to_vec();
        altered[100] ^= 1;
        let made = made.into_iter().flatten();
        for datagram in made.chain([altered, packet.to_vec()]) {
            self.forged += 1;
            self.tap.send_to(&datagram, self.group).unwrap();
        }
    }

    fn run(mut self, stop: &AtomicBool) -> u64 {
        let mut buffer = [0; 2000];
        while !stop.load(Ordering::Relaxed) {
            self.hand_on();
            while let Ok(length) = self.tap.recv(&mut buffer) {
                self.attack(&buffer[..length]);
            }
            sleep(Duration::from_micros(200));
        }
        self.forged
    }
}

fn feed(socket: &UdpSocket) -> u64 {
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < TIME {
        let due = start.elapsed().as_micros() * u128::from(RATE) / 1_000_000;
        for _ in 0..due.saturating_sub(sent.into()).min(20) {
            socket.send(&payload(sent)).unwrap();
            sent += 1;
        }
        sleep(Duration::from_micros(500));
    }
    sent
}

#[test]
fn md_03_sec_05_an_insider_on_the_path_makes_nothing_that_comes_out() {
    let [input, group] = [free(), free()];
    let tap = UdpSocket::bind("127.0.0.1:0").unwrap();
    tap.set_nonblocking(true).unwrap();
    let rng = StdRng::seed_from_u64(3);
    let keys = LocalKeys::start([CHANNEL], timing(), AuthLevel::Manifest, rng).unwrap();
    let fleet = Fleet::start(&[Executor::default().anywhere(); 3]).unwrap();
    let (messages, wanted) = mailbox(256);
    let (link, events) = KeyLink::new(messages);
    let (seen, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
    let groups = [group, tap.local_addr().unwrap()];
    let insider = Insider {
        keys: keys.receives(CHANNEL),
        events,
        wanted,
        tap,
        group,
        roots: Vec::new(),
        forged: 0,
    };
    let stopped = Arc::clone(&stop);
    let insider = std::thread::spawn(move || insider.run(&stopped));
    let (receiver, received) = receiving(&fleet, link, group, Arc::clone(&seen));
    let (sender, sent) = sending(&fleet, &keys, input, groups);
    let start = Instant::now();
    while sent.read().keys.current.is_none() || received.read().keys.current.is_none() {
        assert!(start.elapsed() < Duration::from_secs(10), "no keys");
        sleep(Duration::from_millis(20));
    }
    let feeder = UdpSocket::bind("127.0.0.1:0").unwrap();
    feeder.connect(input).unwrap();
    let count = feed(&feeder);
    sleep(Duration::from_millis(300));
    assert_eq!(sender.stop_and_wait(), Some(None));
    sleep(Duration::from_millis(300));
    stop.store(true, Ordering::Relaxed);
    let forged = insider.join().unwrap();
    assert_eq!(receiver.stop_and_wait(), Some(None));
    drop(keys);
    fleet.join().unwrap();
    let (sent, received) = (sent.read(), received.read());
    let seen = seen.lock().unwrap();
    let mut next = 0;
    for came in seen.iter() {
        let number = u64::from_be_bytes(*came.first_chunk().unwrap());
        assert!(
            came[..] == payload(number),
            "somebody else's payload came out"
        );
        assert!(number >= next, "{number} after {next}");
        next = number + 1;
    }
    let counts = received.stats.verify;
    assert_eq!((sent.stats.packets, sent.leg_errors), (count, [0; 2]));
    assert!(
        sent.manifests.manifests > 0 && sent.stats.switches > 0,
        "{sent:?}"
    );
    assert_eq!(seen.len() as u64, counts.verified, "{received:?}");
    assert_eq!(counts.alarmed, 0);
    // Nothing is lost for the insider's sake but what the kernel drops for want of buffers.
    if received.kernel_drops == 0 {
        assert!(
            seen.len() as u64 + 200 > count,
            "{} of {count}: {received:?}",
            seen.len()
        );
    }
    assert!(
        forged > count && counts.forged > count / 2,
        "{forged} {received:?}"
    );
    assert!(received.discards.of(Discard::BadTag) > count / 2);
}
