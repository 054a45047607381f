//! Devices: requests on a schedule, answers matched with them.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use sealcast_net::{RecvBatch, ReplyBatch, UdpServer, shard};
use sealcast_proto::door::Answer;
use sealcast_proto::wire::control::ControlType;
use sealcast_proto::wire::door::NONCE_LEN;

use super::mint::Requests;
use crate::cpu;

/// Requests that one socket sends at once.
const BURST: usize = 8;
/// Sockets that are looked at between two bursts.
const LOOKS: usize = 4;
/// Receive buffer of a socket.
const BUFFER: usize = 256 << 10;
/// What has not come so long after the last request is lost.
const DRAIN: Duration = Duration::from_millis(300);

/// What became of the requests.
pub(super) struct Got {
    /// Sent, per second.
    pub(super) offered: f64,
    /// Answered, per second of sending.
    pub(super) answered: f64,
    /// Not answered.
    pub(super) lost: u64,
    /// Answered with what is no key, or not the right one.
    pub(super) wrong: u64,
    /// Share of its core that the door used while they were sent.
    pub(super) busy: f64,
    /// From when a request was due to its answer, ns.
    pub(super) latency: Histogram<u64>,
}

/// Sockets and what they wait for.
struct Devices<'a> {
    requests: &'a mut Requests,
    sockets: Vec<Device>,
    rate: u32,
    start: Instant,
    batch: RecvBatch,
    /// The next one to be looked at.
    look: usize,
    answered: u64,
    refused: u64,
    wrong: u64,
    latency: Histogram<u64>,
}

struct Device {
    socket: UdpServer,
    waiting: VecDeque<usize>,
}

/// Sends all requests at `rate` to the door that is `thread` of this process, and takes the answers. Inside a shard.
pub(super) async fn ask(
    door: SocketAddr,
    thread: i32,
    requests: &mut Requests,
    sockets: u16,
    rate: u32,
) -> Result<Got> {
    let door_time = || cpu::of_thread(thread);
    let device = |_| {
        anyhow::Ok(Device {
            socket: UdpServer::bind((Ipv4Addr::LOCALHOST, 0).into(), BUFFER)?,
            waiting: VecDeque::new(),
        })
    };
    let (total, mut out) = (requests.count(), ReplyBatch::default());
    let mut devices = Devices {
        requests,
        sockets: (0..sockets).map(device).collect::<Result<_>>()?,
        rate,
        start: Instant::now(),
        batch: RecvBatch::new(BURST, 0),
        look: 0,
        answered: 0,
        refused: 0,
        wrong: 0,
        latency: Histogram::new_with_bounds(1, 60_000_000_000, 3)?,
    };
    let (mut sent, mut turn, before) = (0, 0, door_time()?);
    while sent < total {
        let due = devices.due(total);
        if sent < due {
            let burst = sent..due.min(sent + BURST);
            sent = burst.end;
            devices.send(turn, burst, door, &mut out);
            turn = (turn + 1) % devices.sockets.len();
        }
        (0..LOOKS).try_for_each(|_| devices.look())?;
        shard::yield_if_needed().await;
    }
    let (passed, used) = (devices.start.elapsed(), door_time()?.saturating_sub(before));
    while devices.start.elapsed() < passed + DRAIN && devices.answered < total as u64 {
        devices.look()?;
        shard::yield_if_needed().await;
    }
    Ok(Got {
        offered: total as f64 / passed.as_secs_f64(),
        answered: devices.answered as f64 / passed.as_secs_f64(),
        lost: total as u64 - devices.answered - devices.refused,
        wrong: devices.wrong + devices.refused,
        busy: used.as_secs_f64() / passed.as_secs_f64(),
        latency: devices.latency,
    })
}

impl Devices<'_> {
    /// How many of `total` should have been sent by now.
    fn due(&self, total: usize) -> usize {
        let due = self.start.elapsed().as_nanos() * u128::from(self.rate) / 1_000_000_000;
        usize::try_from(due).unwrap_or(total).min(total)
    }

    fn send(
        &mut self,
        turn: usize,
        burst: std::ops::Range<usize>,
        door: SocketAddr,
        out: &mut ReplyBatch,
    ) {
        let device = &mut self.sockets[turn];
        for index in burst {
            out.push(door, self.requests.get(index));
            device.waiting.push_back(index);
        }
        // What does not leave gets no answer.
        device.socket.send(out);
    }

    /// Takes what one socket has; sockets that wait for nothing are passed over.
    fn look(&mut self) -> Result<()> {
        let count = self.sockets.len();
        let next = (0..count)
            .map(|more| (self.look + more) % count)
            .find(|&index| !self.sockets[index].waiting.is_empty());
        let Some(index) = next else {
            return Ok(());
        };
        self.look = (index + 1) % count;
        let device = &mut self.sockets[index];
        if device.socket.recv(&mut self.batch)? == 0 {
            return Ok(());
        }
        let now = self.start.elapsed();
        for received in self.batch.iter_mut() {
            let answer = &*received.data;
            let echo: [u8; NONCE_LEN] = match answer.get(2..2 + NONCE_LEN) {
                Some(echo) if answer[0] == ControlType::KeyReply as u8 => echo.try_into()?,
                _ => {
                    self.refused += 1;
                    continue;
                }
            };
            // Requests before it on this socket were lost.
            let asked = loop {
                match device.waiting.pop_front() {
                    Some(asked) if self.requests.nonce(asked) == Some(echo) => break asked,
                    Some(_) => {}
                    None => anyhow::bail!("an answer to nothing that was asked"),
                }
            };
            self.answered += 1;
            let due = Duration::from_secs_f64(asked as f64 / f64::from(self.rate));
            let late = now.saturating_sub(due).as_nanos();
            self.latency
                .saturating_record(u64::try_from(late).unwrap_or(u64::MAX));
            if let Some(session) = self.requests.session(asked) {
                let granted = matches!(session.handle(answer), Ok(Answer::Granted { .. }));
                self.wrong += u64::from(!granted);
            }
        }
        Ok(())
    }
}
