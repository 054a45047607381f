//! A seeded UDP relay that spoils a multicast stream: loss, delay, jitter, reordering, duplicates, by kind of datagram, and
//! forgeries of its own. For hosts whose kernel has no netem.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// What a datagram is, by its first byte.
const NOTICE: u8 = 0x01;
const CERTIFICATE: u8 = 0x02;
const PACKET: u8 = 0xDC;

/// How the stream is spoilt. Probabilities in thousandths.
#[derive(Clone, Copy, Debug)]
pub struct Impairment {
    pub seed: u64,
    pub packet_loss: u64,
    pub notice_loss: u64,
    pub certificate_loss: u64,
    pub duplicates: u64,
    /// Delay of every datagram, and up to so much more at random: reorders.
    pub delay: Duration,
    pub jitter: Duration,
    /// Forged Notices per second: genuine ones with other content and a signature that does not fit.
    pub forged: u64,
}

/// What it has done.
#[derive(Debug, Default)]
pub struct Done {
    pub packets: AtomicU64,
    pub lost: AtomicU64,
    pub duplicated: AtomicU64,
    pub notices_lost: AtomicU64,
    pub forged: AtomicU64,
}

/// A running relay; stops when dropped.
pub struct Relay {
    done: Arc<Done>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The two sockets of a relay, made where they shall live.
pub struct Sockets {
    input: UdpSocket,
    output: UdpSocket,
    to: SocketAddr,
}

impl Sockets {
    /// Joins `from` and sends to `to`.
    pub fn open(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Self {
        let input = UdpSocket::bind(from).unwrap();
        input
            .join_multicast_v4(&from.0, &Ipv4Addr::UNSPECIFIED)
            .unwrap();
        input
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        let output = UdpSocket::bind("0.0.0.0:0").unwrap();
        output.set_multicast_ttl_v4(4).unwrap();
        Self {
            input,
            output,
            to: to.into(),
        }
    }
}

impl Relay {
    pub fn start(sockets: Sockets, impairment: Impairment) -> Self {
        let (done, stop) = (Arc::new(Done::default()), Arc::new(AtomicBool::new(false)));
        let work = Work {
            sockets,
            impairment,
            rng: ChaCha8Rng::seed_from_u64(impairment.seed),
            queue: BinaryHeap::new(),
            sequence: 0,
            genuine: None,
            forge_due: Instant::now(),
            done: Arc::clone(&done),
        };
        let stopped = Arc::clone(&stop);
        Self {
            done,
            stop,
            thread: Some(std::thread::spawn(move || work.run(&stopped))),
        }
    }

    /// What it has done so far.
    pub fn done(&self) -> &Done {
        &self.done
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    sockets: Sockets,
    impairment: Impairment,
    rng: ChaCha8Rng,
    queue: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    sequence: u64,
    /// The last genuine Notice: the pattern of forgeries.
    genuine: Option<Vec<u8>>,
    forge_due: Instant,
    done: Arc<Done>,
}

impl Work {
    fn run(mut self, stop: &AtomicBool) {
        let mut buffer = [0; 2048];
        // Ends by itself after two minutes, whatever happens.
        let end = Instant::now() + Duration::from_secs(120);
        while !stop.load(Ordering::Relaxed) && Instant::now() < end {
            if let Ok(length) = self.sockets.input.recv(&mut buffer) {
                self.take(&buffer[..length]);
            }
            self.forge();
            while self
                .queue
                .peek()
                .is_some_and(|Reverse((due, ..))| *due <= Instant::now())
            {
                if let Some(Reverse((_, _, bytes))) = self.queue.pop() {
                    let _ = self.sockets.output.send_to(&bytes, self.sockets.to);
                }
            }
        }
    }

    fn chance(&mut self, thousandths: u64) -> bool {
        self.rng.next_u64() % 1000 < thousandths
    }

    fn take(&mut self, bytes: &[u8]) {
        let Impairment {
            packet_loss,
            notice_loss,
            certificate_loss,
            duplicates,
            ..
        } = self.impairment;
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let loss = match bytes.first() {
            Some(&NOTICE) => notice_loss,
            Some(&CERTIFICATE) => certificate_loss,
            _ => packet_loss,
        };
        let is_packet = bytes.first() == Some(&PACKET);
        if is_packet {
            count(&self.done.packets);
        } else if bytes.first() == Some(&NOTICE) {
            self.genuine = Some(bytes.to_vec());
        }
        if self.chance(loss) {
            count(if is_packet {
                &self.done.lost
            } else {
                &self.done.notices_lost
            });
            return;
        }
        self.enqueue(bytes.to_vec());
        if self.chance(duplicates) {
            count(&self.done.duplicated);
            self.enqueue(bytes.to_vec());
        }
    }

    fn enqueue(&mut self, bytes: Vec<u8>) {
        let jitter = u64::try_from(self.impairment.jitter.as_micros()).unwrap();
        let extra = Duration::from_micros(self.rng.next_u64() % (jitter + 1));
        self.sequence += 1;
        self.queue.push(Reverse((
            Instant::now() + self.impairment.delay + extra,
            self.sequence,
            bytes,
        )));
    }

    fn forge(&mut self) {
        let Some(mut bytes) = self.genuine.clone() else {
            return;
        };
        if self.impairment.forged == 0 || Instant::now() < self.forge_due {
            return;
        }
        self.forge_due = Instant::now()
            + Duration::from_secs(1) / u32::try_from(self.impairment.forged).unwrap();
        // A term and epochs that look newer, so that the signature has to be looked at.
        bytes[11] = bytes[11].wrapping_add(1);
        let at = 12 + usize::try_from(self.rng.next_u64() % 8).unwrap();
        bytes[at] ^= self.rng.next_u64().to_be_bytes()[0] | 1;
        self.done.forged.fetch_add(1, Ordering::Relaxed);
        self.enqueue(bytes);
    }
}
