//! A shard of devices: the schedule, the crowd, and sockets that take turns.

use std::iter::Peekable;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use sealcast_dataplane::status::Published;
use sealcast_net::{GroupOptions, RecvBatch, ReplyBatch, UdpReceiver, UdpServer, clock, shard};
use sealcast_proto::ids::{Epoch, Time};

use super::counts::Counts;
use super::crowd::{Crowd, Setup, Standing};
use super::scenario::{Act, Acts};
use crate::control::{Control, OpenError};

/// Receive buffer of a socket, and of a group.
const BUFFER: usize = 256 << 10;
/// Datagrams that are received in one call.
const FRAMES: usize = 16;
/// Acts that are taken from the schedule between two looks at the sockets.
const ACTS: usize = 32;
/// Sockets that are looked at while there is something to send.
const LOOKS: usize = 4;
/// A socket on which nothing was sent for so long is not looked at.
const LISTENS: u64 = 3_000_000_000;
/// Longest nap: what comes meanwhile counts as so much later.
const NAP: u64 = 250_000;
/// How often groups are looked at, and the shard tells where it stands.
const LOOK: u64 = 1_000_000;
const PUBLISH: u64 = 20_000_000;

/// The devices of one core.
pub(super) struct DriveTask {
    pub(super) setup: Setup,
    pub(super) bin: Duration,
    pub(super) doors: Vec<SocketAddr>,
    /// Sockets of this shard.
    pub(super) sockets: u16,
    /// Where the channels' Notices come.
    pub(super) groups: Vec<GroupOptions>,
    pub(super) acts: Acts,
    pub(super) control: Arc<Control>,
    pub(super) status: Published<Status>,
}

/// Where a shard stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    pub(super) standing: Standing,
    /// When the last epochs end.
    pub(super) ends: Vec<(Epoch, Time)>,
    /// Second preset and life of a key, once they are known.
    pub(super) timing: Option<(Duration, Duration)>,
    /// The schedule is over.
    pub(super) finished: bool,
}

/// What a shard did.
pub(super) struct Drove {
    pub(super) counts: Counts,
    pub(super) standing: Standing,
    /// How long the oldest request without an answer has waited at the end.
    pub(super) oldest: Duration,
    /// Answers that the kernel dropped because a receive buffer was full.
    pub(super) drops: u64,
    /// Requests that the kernel did not take.
    pub(super) refused: u64,
    /// Devices that hold the newest epoch that any device holds.
    pub(super) newest: Option<(Epoch, u64)>,
}

struct Socket {
    socket: UdpServer,
    /// Answers may come until then.
    until: u64,
    /// So many requests have left it without an answer, lost ones among them; with 0 it need not be looked at.
    waiting: u32,
}

/// Sockets, and what moves through them.
struct Sockets {
    all: Vec<Socket>,
    /// The next to send, and the next to be looked at.
    send: usize,
    look: usize,
    out: ReplyBatch,
    batch: RecvBatch,
    refused: u64,
}

impl DriveTask {
    /// Opens the sockets, says so, waits for the start, and runs until it is stopped.
    pub(super) async fn run(self, ready: mpsc::Sender<Result<(), OpenError>>) -> Option<Drove> {
        let opened = self.open();
        let (mut sockets, mut groups) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let _ = ready.send(Err(error));
                return None;
            }
        };
        let _ = ready.send(Ok(()));
        drop(ready);
        let start = self.control.started().await?;
        let counts = Counts::new(Time(start), self.bin, self.doors.len());
        let mut crowd = Crowd::new(self.setup.clone(), counts);
        let mut acts = self.acts.clone().peekable();
        let (mut look, mut publish, mut bin) = (0, 0, start);
        while !self.control.stop.load(Ordering::Relaxed) {
            let now = clock::boottime();
            begin(&mut crowd, &mut acts, start, now);
            let sent = sockets.send(&mut crowd, now, &self.doors);
            let received = sockets.receive(&mut crowd, sent);
            if now >= look {
                look = now + LOOK;
                groups
                    .iter_mut()
                    .for_each(|group| listen(group, &mut sockets.batch, &mut crowd));
            }
            if now >= bin {
                crowd.look(Time(now));
                bin += u64::try_from(self.bin.as_nanos()).unwrap_or(LOOK).max(LOOK);
            }
            if now >= publish {
                publish = now + PUBLISH;
                self.publish(&crowd, acts.peek().is_none());
            }
            if sent || received {
                shard::yield_if_needed().await;
            } else {
                nap(&crowd, acts.peek(), start).await;
            }
        }
        Some(self.finish(crowd, &sockets))
    }

    fn open(&self) -> Result<(Sockets, Vec<UdpReceiver>), OpenError> {
        let any: IpAddr = match self.doors.first() {
            Some(SocketAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        let socket = |_| {
            Ok(Socket {
                socket: UdpServer::bind((any, 0).into(), BUFFER)?,
                until: 0,
                waiting: 0,
            })
        };
        let all = (0..self.sockets.max(1))
            .map(socket)
            .collect::<Result<_, OpenError>>()?;
        let groups = self.groups.iter().map(UdpReceiver::bind);
        let sockets = Sockets {
            all,
            send: 0,
            look: 0,
            out: ReplyBatch::default(),
            batch: RecvBatch::new(FRAMES, 0),
            refused: 0,
        };
        Ok((sockets, groups.collect::<Result<_, _>>()?))
    }

    fn publish(&self, crowd: &Crowd, finished: bool) {
        let ends = crowd.counts().ends.iter().rev().take(4);
        let timing = crowd.timing();
        self.status.publish_last(Status {
            standing: crowd.standing(),
            ends: ends.map(|(epoch, end)| (*epoch, *end)).collect(),
            timing: timing.map(|timing| (timing.fetch_ahead(), timing.lifetime())),
            finished,
        });
    }

    fn finish(&self, crowd: Crowd, sockets: &Sockets) -> Drove {
        let newest = crowd.counts().held.keys().last().copied();
        let newest = newest.map(|epoch| (epoch, crowd.holders(epoch)));
        let (counts, standing, oldest) = crowd.finish(Time(clock::boottime()));
        Drove {
            counts,
            standing,
            oldest,
            drops: sockets.all.iter().map(|socket| socket.socket.drops()).sum(),
            refused: sockets.refused,
            newest,
        }
    }
}

/// Devices do what is due.
fn begin(crowd: &mut Crowd, acts: &mut Peekable<Acts>, start: u64, now: u64) {
    let mut taken = 0;
    while taken < ACTS
        && let Some(act) = acts.next_if(|act| start.saturating_add(act.at) <= now)
    {
        // Acts of other cores cost nothing.
        if crowd.has(act.device) {
            crowd.ask(act.device, act.wanted, Time(start + act.at));
            taken += 1;
        }
    }
}

/// Waits for what is due next, but not for long: answers come meanwhile.
async fn nap(crowd: &Crowd, act: Option<&Act>, start: u64) {
    let now = clock::boottime();
    let timer = crowd.next_timeout().map_or(u64::MAX, |at| at.0);
    let act = act.map_or(u64::MAX, |act| start.saturating_add(act.at));
    let until = timer.min(act).min(now + NAP);
    if until > now {
        shard::sleep(Duration::from_nanos(until - now)).await;
    } else {
        shard::yield_if_needed().await;
    }
}

fn listen(group: &mut UdpReceiver, batch: &mut RecvBatch, crowd: &mut Crowd) {
    while let Ok(1..) = group.recv(batch) {
        let now = Time(clock::boottime());
        for mut received in batch.iter_mut() {
            let source = received.source.ip();
            for datagram in received.segments() {
                crowd.multicast(now, source, datagram);
            }
        }
        if !group.may_have_more() {
            break;
        }
    }
}

impl Sockets {
    /// Sends what is due, from the socket whose turn it is; says whether there was something.
    fn send(&mut self, crowd: &mut Crowd, now: u64, doors: &[SocketAddr]) -> bool {
        let out = &mut self.out;
        let more = crowd.poll(Time(now), &mut |door, datagram| {
            out.push(doors[usize::from(door) % doors.len()], datagram);
        });
        if self.out.is_empty() {
            return more;
        }
        let socket = &mut self.all[self.send];
        socket.waiting += u32::try_from(self.out.len()).unwrap_or(u32::MAX);
        self.refused += socket.socket.send(&mut self.out) as u64;
        socket.until = now + LISTENS;
        self.send = (self.send + 1) % self.all.len();
        true
    }

    /// Takes what came: from a few sockets while there is something to send, else from all.
    fn receive(&mut self, crowd: &mut Crowd, busy: bool) -> bool {
        let count = self.all.len();
        let looks = if busy { LOOKS.min(count) } else { count };
        let (mut any, mut passed, mut looked) = (false, 0, 0);
        let now = clock::boottime();
        while looked < looks && passed < count {
            passed += 1;
            self.look = (self.look + 1) % count;
            let socket = &mut self.all[self.look];
            if socket.waiting == 0 || socket.until < now {
                continue;
            }
            looked += 1;
            if let Ok(count @ 1..) = socket.socket.recv(&mut self.batch) {
                any = true;
                let came = u32::try_from(count).unwrap_or(u32::MAX);
                socket.waiting = socket.waiting.saturating_sub(came);
                let now = Time(clock::boottime());
                for received in self.batch.iter_mut() {
                    crowd.datagram(now, received.data);
                }
            }
        }
        any
    }
}
