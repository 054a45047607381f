//! Generator and checker: one thread on one core that never sleeps, so that neither is late and neither costs the contenders
//! a wake. The generator is open loop: each payload is due at a moment of an absolute schedule, whatever becomes of the others.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use nix::sys::socket::{setsockopt, sockopt::UdpGroSegment};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use super::checker::Checker;
use super::payload::{Framing, Maker};
use crate::host;
use crate::lab::{Lab, Side};

/// Where a contender's sender listens, on the sender's host.
pub(super) const INPUT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 6000);
/// Where the checker listens, on the receiver's host.
pub(super) const OUTPUT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 6001);

/// The checker's socket buffer, in bytes: 60 ms at 200 000 packets/s.
const BUFFER: usize = 32 << 20;
/// Datagrams that are sent or received before the other gets a turn.
const TURN: u32 = 32;
/// Longest datagram that may come.
const DATAGRAM_MAX: usize = 65_535;

/// A stream, and what becomes of it. It ends when dropped.
pub(super) struct Traffic {
    asks: SyncSender<Ask>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

type Ask = Box<dyn FnOnce(&mut State) + Send>;

/// What the thread works on.
pub(super) struct State {
    generator: UdpSocket,
    receiver: UdpSocket,
    maker: Maker,
    /// What arrived.
    pub(super) checker: Checker,
    /// Bytes of each datagram in what is received.
    datagram: usize,
    rate: u32,
    /// When the stream began.
    pub(super) begin: Instant,
    /// Payloads sent, which is the number of the next.
    pub(super) sent: u64,
    /// The longest that a payload was sent after it was due.
    pub(super) lateness: Duration,
    /// Whether the checker had nothing left to read a moment ago.
    pub(super) caught_up: bool,
}

impl Traffic {
    /// Begins a stream of `rate` payloads per second on the sender's host; what comes back is checked on the receiver's. With `gro`
    /// that socket takes datagrams that were sent as one batch as one, as a player made for it would.
    ///
    /// # Errors
    /// If sockets cannot be opened.
    pub(super) fn start(
        lab: &Lab,
        core: usize,
        rate: u32,
        framing: Framing,
        gro: bool,
    ) -> Result<Self> {
        let generator = lab.on(Side::Sender, &[], || {
            Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?)
        })?;
        let receiver = lab.on(Side::Receiver, &[], || {
            let socket = UdpSocket::bind(OUTPUT).context("the checker's socket")?;
            set_socket_recv_buffer_size_force(&socket, BUFFER)?;
            if gro {
                setsockopt(&socket, UdpGroSegment, &true).context("UDP_GRO")?;
            }
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        let state = State {
            generator,
            receiver,
            maker: Maker::new(framing),
            checker: Checker::new(framing),
            datagram: framing.datagram(),
            rate,
            begin: Instant::now(),
            sent: 0,
            lateness: Duration::ZERO,
            caught_up: true,
        };
        let (asks, asked) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("traffic".to_owned())
            .spawn(move || {
                if host::pin(Some(core)).is_ok() {
                    state.run(&asked, &stopped);
                }
            })?;
        Ok(Self {
            asks,
            stop,
            thread: Some(thread),
        })
    }

    /// Acts between two packets.
    ///
    /// # Errors
    /// If the thread has ended.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = sync_channel(1);
        let ask: Ask = Box::new(move |state| {
            let _ = answer.send(act(state));
        });
        let ended = || anyhow!("generator and checker have ended");
        self.asks.send(ask).map_err(|_| ended())?;
        answered.recv().map_err(|_| ended())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn run(mut self, asked: &Receiver<Ask>, stop: &AtomicBool) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        self.begin = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            asked.try_iter().for_each(|ask| ask(&mut self));
            self.generate();
            if !self.collect(&mut buffer) {
                return;
            }
        }
    }

    /// Sends what is due.
    fn generate(&mut self) {
        for _ in 0..TURN {
            let now = self.begin.elapsed();
            let due = due(self.sent, self.rate);
            if now < due {
                return;
            }
            self.lateness = self.lateness.max(now - due);
            let datagram = self.maker.make(self.sent, nanoseconds(now));
            // Nobody need be there to hear it: whether it arrives is the checker's to say.
            let _ = self.generator.send_to(datagram, INPUT);
            self.sent += 1;
        }
    }

    /// Checks what has come; false if the socket fails.
    fn collect(&mut self, buffer: &mut [u8]) -> bool {
        self.caught_up = false;
        for _ in 0..TURN {
            match self.receiver.recv(buffer) {
                Ok(length) => {
                    let now = nanoseconds(self.begin.elapsed());
                    // Of another length only if they are corrupt.
                    for datagram in buffer[..length].chunks(self.datagram) {
                        self.checker.arrived(datagram, now);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.caught_up = true;
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}

/// When a payload is due, since the stream began.
fn due(number: u64, rate: u32) -> Duration {
    let rate = u64::from(rate);
    let (seconds, rest) = (number / rate, number % rate);
    Duration::from_secs(seconds) + Duration::from_nanos(rest * 1_000_000_000 / rate)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::sockopt::UdpGsoSegment;

    use super::*;
    use crate::lab::tests::lab;

    #[test]
    fn the_schedule_is_absolute() {
        assert_eq!(due(0, 3), Duration::ZERO);
        assert_eq!(due(1, 3), Duration::from_nanos(333_333_333));
        assert_eq!(due(2, 3), Duration::from_nanos(666_666_666));
        assert_eq!(due(3, 3), Duration::from_secs(1));
        let year = 365 * 24 * 3600;
        assert_eq!(due(200_000 * year, 200_000), Duration::from_secs(year));
    }

    /// Without a contender between them: what is sent to the checker's own address arrives.
    #[test]
    fn a_stream_keeps_its_rate_and_is_checked() {
        let Some(lab) = lab() else { return };
        let traffic = Traffic::start(&lab, 0, 2000, Framing::Rtp, false).unwrap();
        let forward = lab
            .on(Side::Sender, &[], || Ok(UdpSocket::bind(INPUT)?))
            .unwrap();
        let back = lab
            .on(Side::Receiver, &[], || {
                Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?)
            })
            .unwrap();
        forward
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let open = |state: &mut State| state.checker.open(state.sent).map(|()| state.sent);
        let first = traffic.ask(open).unwrap().unwrap();
        let mut buffer = [0; 2048];
        let mut relayed = 0_u64;
        while relayed < 1000 {
            let length = forward.recv(&mut buffer).unwrap();
            // Every hundredth is spoilt.
            relayed += 1;
            if relayed.is_multiple_of(100) {
                buffer[600] ^= 1;
            }
            back.send_to(&buffer[..length], OUTPUT).unwrap();
        }
        let close = |state: &mut State| {
            state.checker.close(state.sent);
            (state.sent, state.begin.elapsed())
        };
        let (sent, time) = traffic.ask(close).unwrap();
        thread::sleep(Duration::from_millis(200));
        let (arrivals, corrupt) = traffic
            .ask(|state| (state.checker.take(), state.checker.corrupt()))
            .unwrap();
        let arrivals = arrivals.unwrap();
        assert_eq!(corrupt, 10);
        assert_eq!(arrivals.sent, sent - first);
        // Some were on their way before the window opened.
        assert!((500..=990).contains(&arrivals.delivered), "{arrivals:?}");
        // Never early; late only as far as the host lets it run.
        assert!(sent as f64 <= time.as_secs_f64() * 2000.0 + 1.0);
        assert!(sent >= 1000);
    }

    #[test]
    fn batches_that_are_taken_whole_are_checked_one_by_one() {
        let Some(lab) = lab() else { return };
        let traffic = Traffic::start(&lab, 0, 100, Framing::Bare, true).unwrap();
        let back = lab
            .on(Side::Receiver, &[], || {
                Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?)
            })
            .unwrap();
        let segment = i32::try_from(Framing::Bare.datagram()).unwrap();
        setsockopt(&back, UdpGsoSegment, &segment).unwrap();
        let mut maker = Maker::new(Framing::Bare);
        let batch: Vec<_> = (0..10)
            .flat_map(|number| maker.make(number, 0).to_vec())
            .collect();
        back.send_to(&batch, OUTPUT).unwrap();
        thread::sleep(Duration::from_millis(200));
        let counts = |state: &mut State| (state.checker.genuine(), state.checker.corrupt());
        assert_eq!(traffic.ask(counts).unwrap(), (10, 0));
    }
}
