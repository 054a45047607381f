//! What attacks doors while honest devices ask: as much as a core sends, from several sockets, without waiting for answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand_core::Rng as _;
use sealcast_net::{ReplyBatch, UdpServer, clock, shard};
use sealcast_proto::ids::Time;
use sealcast_proto::limits::CONTROL_MAX;
use sealcast_proto::wire::door::Wanted;

use super::sessions::Sessions;
use crate::control::{Control, OpenError};

/// Answers are not read: little room for them.
const BUFFER: usize = 4096;
/// Datagrams of one call.
const BURST: u64 = 32;
/// The longest datagram that is sent.
const OVERSIZE: usize = 8000;
/// Longest nap of one with a rate.
const NAP: Duration = Duration::from_millis(1);

/// Kinds of hostile datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Attack {
    /// Any bytes.
    Garbage,
    /// A request that is cut off.
    CutOff,
    /// A request whose cookie was changed.
    ForgedCookie,
    /// A genuine cookie with a request that is not its own.
    ForgedRequest,
    /// A genuine request again and again.
    Replay,
    /// Longer than any request may be.
    Oversize,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Garbage,
        Self::CutOff,
        Self::ForgedCookie,
        Self::ForgedRequest,
        Self::Replay,
        Self::Oversize,
    ];

    /// In JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::CutOff => "cut_off",
            Self::ForgedCookie => "forged_cookie",
            Self::ForgedRequest => "forged_request",
            Self::Replay => "replay",
            Self::Oversize => "oversize",
        }
    }
}

/// Datagrams sent, by kind.
pub type Flooded = [u64; Attack::ALL.len()];

/// One core of attackers.
pub(super) struct HostileTask {
    pub(super) doors: Vec<SocketAddr>,
    pub(super) sockets: u16,
    /// Datagrams per second; `None`: as many as can be sent.
    pub(super) rate: Option<u64>,
    pub(super) sessions: Sessions,
    /// The session that is misused.
    pub(super) device: u32,
    pub(super) seed: u64,
    pub(super) control: Arc<Control>,
}

impl HostileTask {
    /// Opens the sockets, says so, and attacks from the start until the run is stopped.
    pub(super) async fn run(self, ready: mpsc::Sender<Result<(), OpenError>>) -> Option<Flooded> {
        let any: IpAddr = match self.doors.first() {
            Some(SocketAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        let sockets = (0..self.sockets.max(1)).map(|_| UdpServer::bind((any, 0).into(), BUFFER));
        let sockets = match sockets.collect::<Result<Vec<_>, _>>() {
            Ok(sockets) => sockets,
            Err(error) => {
                let _ = ready.send(Err(error.into()));
                return None;
            }
        };
        let _ = ready.send(Ok(()));
        drop(ready);
        let start = self.control.started().await?;
        let mut forge = Forge::new(&self.sessions, self.device, self.seed)?;
        let (mut flooded, mut out, mut sent) = (Flooded::default(), ReplyBatch::default(), 0);
        while !self.control.stop.load(Ordering::Relaxed) {
            if self.is_ahead(start, sent) {
                shard::sleep(NAP).await;
                continue;
            }
            let door = self.doors[usize::try_from(sent / BURST).unwrap_or(0) % self.doors.len()];
            let socket = &sockets[usize::try_from(sent / BURST).unwrap_or(0) % sockets.len()];
            for number in sent..sent + BURST {
                let attack = Attack::ALL[usize::try_from(number).unwrap_or(0) % Attack::ALL.len()];
                out.push(door, forge.datagram(attack));
                flooded[attack as usize] += 1;
            }
            sent += BURST;
            socket.send(&mut out);
            shard::yield_if_needed().await;
        }
        Some(flooded)
    }

    fn is_ahead(&self, start: u64, sent: u64) -> bool {
        let passed = clock::boottime().saturating_sub(start);
        self.rate.is_some_and(|rate| {
            u128::from(sent) * 1_000_000_000 > u128::from(passed) * u128::from(rate)
        })
    }
}

/// Makes hostile datagrams of a genuine one.
pub(super) struct Forge {
    genuine: Vec<u8>,
    made: Vec<u8>,
    rng: StdRng,
}

impl Forge {
    /// Of the session of this device; `None` if there is none.
    pub(super) fn new(sessions: &Sessions, device: u32, seed: u64) -> Option<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut session = sessions.session(device)?;
        let wanted = Wanted {
            number: 1,
            channel: sessions.channel_of(device),
            epoch: None,
            cookies: 0,
        };
        Some(Self {
            genuine: session.request(Time(clock::boottime()), &wanted, &mut rng),
            made: Vec::with_capacity(OVERSIZE),
            rng,
        })
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.rng.next_u64() % (limit.max(1) as u64)).unwrap_or(0)
    }

    /// Another one of this kind.
    pub(super) fn datagram(&mut self, attack: Attack) -> &[u8] {
        let cookie_end = 4 + usize::from(u16::from_be_bytes([self.genuine[2], self.genuine[3]]));
        let (length, cookie_end) = (self.genuine.len(), cookie_end.min(self.genuine.len()));
        self.made.clear();
        match attack {
            Attack::Garbage => {
                let length = 1 + self.below(CONTROL_MAX);
                self.made.resize(length, 0);
                self.rng.fill_bytes(&mut self.made);
            }
            Attack::CutOff => {
                let length = 2 + self.below(length - 3);
                self.made.extend_from_slice(&self.genuine[..length]);
            }
            Attack::Replay => self.made.extend_from_slice(&self.genuine),
            // Behind the period, which tells which key opens it.
            Attack::ForgedCookie => self.changed(8, cookie_end),
            Attack::ForgedRequest => self.changed(cookie_end, length),
            Attack::Oversize => {
                let more = 1 + self.below(OVERSIZE - CONTROL_MAX - 1);
                self.made.extend_from_slice(&self.genuine);
                self.made.resize(CONTROL_MAX + more, 0);
            }
        }
        &self.made
    }

    fn changed(&mut self, from: usize, until: usize) {
        let place = from + self.below(until.saturating_sub(from));
        let change = u8::try_from(1 + self.below(255)).unwrap_or(1);
        self.made.extend_from_slice(&self.genuine);
        if let Some(byte) = self.made.get_mut(place) {
            *byte ^= change;
        }
    }
}
