//! The key door under hostile load: garbage, replays, forged cookies, sources that are spoofed. Honest devices must not notice.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use reqwest::Method;
use sealcast_objects::api::{Role, SessionReply, SessionRequest};
use sealcast_proto::door::{Answer, Session, SessionGrant};
use sealcast_proto::ids::{ChannelId, Time};
use sealcast_proto::wire::Wire as _;
use sealcast_proto::wire::door::Wanted;
use sealcast_terminal::https::Client;
use sealcast_terminal::identity::Identity;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::keyserver::{Device, KeyServer, MID_EPOCH, receiver, sender};
use crate::net::{Lan, can_run};
use crate::operations::get;
use crate::streams::assert_clean;

const DOOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), 8444);
/// A request is tried again after this, as devices do.
const RETRY: Duration = Duration::from_millis(250);

/// A session of a device, opened on its host.
fn session(lan: &Lan, host: usize, device: &Device) -> Session {
    lan.enter(host, || {
        let identity = Identity::load(&device.file, Role::Device).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let client = Client::new(&identity).unwrap();
        let request = SessionRequest::default();
        let reply: SessionReply = runtime
            .block_on(client.call(Method::POST, "/v1/session", Some(&request)))
            .unwrap();
        Session::new(SessionGrant::decode_all(&reply.grant).unwrap()).unwrap()
    })
}

fn wanted(rng: &mut StdRng) -> Wanted {
    Wanted {
        number: rng.next_u64(),
        channel: ChannelId(1),
        epoch: None,
        cookies: 0,
    }
}

/// An honest device: asks every 100 ms, tries again as devices do, and notes how long each answer took.
fn honest(
    socket: UdpSocket,
    mut session: Session,
    seed: u64,
    stop: Arc<AtomicBool>,
) -> JoinHandle<Vec<Duration>> {
    std::thread::spawn(move || {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut times, mut buffer) = (Vec::new(), [0; 2048]);
        socket.connect(DOOR).unwrap();
        while !stop.load(Ordering::Relaxed) {
            let (wanted, start) = (wanted(&mut rng), Instant::now());
            let mut answered = false;
            for _ in 0..20 {
                let datagram = session.request(Time(0), &wanted, &mut rng);
                let _ = socket.send(&datagram);
                let until = Instant::now() + RETRY;
                while !answered && Instant::now() < until {
                    let rest = until.saturating_duration_since(Instant::now());
                    let wait = rest.max(Duration::from_millis(1));
                    socket.set_read_timeout(Some(wait)).unwrap();
                    if let Ok(length) = socket.recv(&mut buffer)
                        && let Ok(Answer::Granted { granted, .. }) =
                            session.handle(&buffer[..length])
                    {
                        assert_eq!(granted.number, wanted.number);
                        answered = true;
                    }
                }
                if answered {
                    break;
                }
            }
            assert!(answered, "no answer in {:?}", start.elapsed());
            times.push(start.elapsed());
            sleep(Duration::from_millis(100).saturating_sub(start.elapsed()));
        }
        times
    })
}

/// An IPv4 packet with a UDP datagram from any source.
fn packet(source: Ipv4Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(28 + payload.len()).unwrap().to_be_bytes();
    let udp = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(source.octets());
    packet.extend([10, 77, 0, 1]);
    packet.extend(port.to_be_bytes());
    packet.extend(DOOR.port().to_be_bytes());
    packet.extend(udp);
    // No checksum of UDP; the kernel fills in that of IP.
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}

/// Hostile datagrams per millisecond beside other tests, which must not starve: about a third of what one thread can send.
const BESIDE_OTHERS: u64 = 60;

/// `per_ms` datagrams each millisecond; `None`: as much as one thread can send.
fn flood(
    raw: Socket,
    captured: Vec<Vec<u8>>,
    seed: u64,
    per_ms: Option<u64>,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
) {
    let mut rng = StdRng::seed_from_u64(seed);
    let to = SockAddr::from(SocketAddr::new(DOOR.ip(), 0));
    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let allowed =
            per_ms.map(|per_ms| u64::try_from(start.elapsed().as_millis()).unwrap() * per_ms);
        if allowed.is_some_and(|allowed| sent.load(Ordering::Relaxed) >= allowed) {
            sleep(Duration::from_millis(1));
            continue;
        }
        let mut payload = captured[rng.random_range(0..captured.len())].clone();
        match rng.random_range(0..4) {
            // Garbage, with and without the look of a request.
            0 => {
                payload.truncate(rng.random_range(1..payload.len()));
                rng.fill_bytes(&mut payload);
            }
            1 => {
                let at = rng.random_range(2..payload.len());
                rng.fill_bytes(&mut payload[at..]);
            }
            // A forged cookie.
            2 => {
                let at = rng.random_range(8..150);
                payload[at] ^= 1 << rng.random_range(0..8);
            }
            // A replay.
            _ => {}
        }
        // The honest devices' own addresses, others of this network, and far ones.
        let source = match rng.random_range(0..3) {
            0 => Ipv4Addr::new(10, 77, 0, rng.random_range(2..5)),
            1 => Ipv4Addr::new(10, 77, 0, rng.random_range(5..250)),
            _ => Ipv4Addr::from_bits(0x0A00_0000 | rng.random_range(0..1 << 24)),
        };
        let packet = packet(source, rng.random_range(1024..65_535), &payload);
        if raw.send_to(&packet, &to).is_ok() {
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn metric(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim().parse().ok())
        .unwrap_or_else(|| unreachable!("{name} is not in {text}"))
}

fn resident(server: &KeyServer) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.trim().parse::<u64>().unwrap() * 1024
}

/// SEC-04, SEC-08, SEC-09: hostile load at full rate; honest devices get their keys in time, memory is bounded, nothing is
/// amplified. `tests/run --long` makes it a minute at full rate, alone.
#[test]
fn honest_devices_get_their_keys_under_hostile_load() {
    if !can_run(&["ip"]) {
        return;
    }
    let long = std::env::var_os("SEALCAST_LONG").is_some();
    let length = Duration::from_secs(if long { 60 } else { 10 });
    let seed = std::env::var("SEALCAST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let (lan, folder) = (Lan::new(5), tempfile::tempdir().unwrap());
    let folder = folder.path();
    // Spoofed far sources must reach the door, or it would be too easy.
    lan.accept_any_source(1, 5);
    let server = KeyServer::start(
        Some((&lan, 1)),
        folder,
        &["--start-wait", "300ms", "--metrics", "127.0.0.1:9100"],
    );
    // Answers come within a second (p99): so much time, and more, devices have for each key.
    let times = [
        ["--lifetime", "3s"],
        ["--prepare-ahead", "2200ms"],
        ["--fetch-ahead", "1500ms"],
        ["--grace", "500ms"],
    ];
    server.admin(&[&["channel", "add", "1"], &times.concat()[..]].concat());
    let metrics = || lan.enter(1, || get(([127, 0, 0, 1], 9100).into(), "/metrics"));
    let group = ["udp://239.1.1.1:5000?ttl=4"];
    let seconds = length.as_secs() + 6;
    let input = format!("gen:?rate=1M&seconds={seconds}&seed=1");
    let more = ["--input", &input, "--start-delay", MID_EPOCH];
    let mut stream = sender(&lan, 1, folder, "s", (&server, 1), &group, &more);
    let mut player = receiver(&lan, 2, folder, "r", &server, &group, &[]);
    player.wait_for_key(1);
    let device = server.device("asks", &[1]);
    let (stop, sent) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let devices: Vec<_> = (0..8)
        .map(|index| {
            let host = 3 + index % 2;
            let session = session(&lan, host, &device);
            let index = u64::try_from(index).unwrap();
            honest(lan.socket(host), session, seed + index, Arc::clone(&stop))
        })
        .collect();
    // What the attacker has seen on the wire: real requests of a session.
    let mut seen = session(&lan, 5, &device);
    let mut rng = StdRng::seed_from_u64(seed);
    let wire = lan.socket(5);
    let captured: Vec<_> = (0..64)
        .map(|_| seen.request(Time(0), &wanted(&mut rng), &mut rng))
        .collect();
    for datagram in &captured {
        wire.send_to(datagram, DOOR).unwrap();
    }
    sleep(Duration::from_secs(2));
    let (before, memory) = (metrics(), resident(&server));
    let raw = lan.enter(5, || {
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
        raw.set_header_included_v4(true).unwrap();
        raw
    });
    let flooding = {
        let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
        let per_ms = (!long).then_some(BESIDE_OTHERS);
        std::thread::spawn(move || flood(raw, captured, seed, per_ms, stop, sent))
    };
    sleep(length);
    let (after, memory_after) = (metrics(), resident(&server));
    stop.store(true, Ordering::Relaxed);
    flooding.join().unwrap();
    let mut times: Vec<_> = devices
        .into_iter()
        .flat_map(|device| device.join().expect("it was always answered"))
        .collect();
    times.sort();
    let p99 = times[times.len() * 99 / 100];
    let status = stream.wait(Duration::from_secs(30));
    assert!(status.success(), "{}", stream.errors());
    sleep(Duration::from_millis(700));
    player.stop();
    let rate = sent.load(Ordering::Relaxed) / length.as_secs();
    println!(
        "seed {seed}: {rate} hostile datagrams/s for {length:?}, {} honest requests, median {:?}, p99 {p99:?}, longest {:?}, \
         {} dropped by the kernel",
        times.len(),
        times[times.len() / 2],
        times[times.len() - 1],
        metric(&after, "sealcast_door_kernel_drops_total ")
    );
    assert!(rate > 20_000, "{rate} datagrams/s are no flood");
    assert!(p99 < Duration::from_secs(1), "p99 {p99:?}");
    // None after its boundary: whoever plays has had every key in time.
    assert_clean("player", &player.channel(1));
    assert_eq!(
        player.channel(1)["switches"],
        stream.channel(1)["switches"],
        "it followed every change"
    );
    let grown = |name: &str| metric(&after, name) - metric(&before, name);
    assert!(
        grown("sealcast_door_bytes_out_total ") <= grown("sealcast_door_bytes_in_total "),
        "nothing is amplified"
    );
    for outcome in ["malformed", "forged", "replayed", "cookie_unknown_silent"] {
        let name = format!("sealcast_door_requests_total{{outcome=\"{outcome}\"}} ");
        assert!(grown(&name) > 100, "{outcome} was not met");
    }
    assert!(
        memory_after < memory + (32 << 20),
        "memory grew from {memory} to {memory_after}"
    );
}
