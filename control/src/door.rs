//! Key doors: on each shard one [`Door`] behind a socket, all bound to the same addresses, and one more for HTTPS. None of them
//! keeps anything that another needs.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use sealcast_net::mailbox::{Receiver, Sender, mailbox};
use sealcast_net::shard::{self, Placement, ShardHandle};
use sealcast_net::{RecvBatch, ReplyBatch, UdpServer, clock};
use sealcast_proto::door::{Door, Outcome, Update};
use sealcast_proto::ids::Time;

use crate::usage::Tap;

/// Updates that may wait for a shard; whoever sends more waits.
const UPDATES: usize = 4096;
/// Requests of one receive call.
pub const BATCH: usize = 32;
/// Receive calls in a row before updates are looked at.
const CALLS_PER_TURN: usize = 8;
/// Pause of a door that has answered all there was: by then there is a batch again, and a wake, dear as it is, serves all of it.
pub const NAP: Duration = Duration::from_micros(250);
/// Receive buffer: a longer queue of requests would only hold what has been asked again by then.
pub const BUFFER: usize = 2 << 20;
/// How often totals are published.
const PUBLISH: Duration = Duration::from_millis(250);

/// Totals of all key doors.
#[derive(Clone, Debug)]
pub struct DoorStats {
    /// Datagrams by outcome.
    pub outcomes: Vec<(Outcome, u64)>,
    /// Bytes of requests.
    pub bytes_in: u64,
    /// Bytes of replies.
    pub bytes_out: u64,
    /// Replies that could not be sent.
    pub unsent: u64,
    /// Requests that the kernel dropped.
    pub kernel_drops: u64,
}

impl Default for DoorStats {
    fn default() -> Self {
        Self {
            outcomes: Outcome::ALL
                .into_iter()
                .map(|outcome| (outcome, 0))
                .collect(),
            bytes_in: 0,
            bytes_out: 0,
            unsent: 0,
            kernel_drops: 0,
        }
    }
}

impl DoorStats {
    fn add(&mut self, other: &Self) {
        for ((_, count), (_, more)) in self.outcomes.iter_mut().zip(&other.outcomes) {
            *count += more;
        }
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.unsent += other.unsent;
        self.kernel_drops += other.kernel_drops;
    }
}

/// The way news get to every key door of this host.
#[derive(Clone, Debug)]
pub struct Teller {
    shards: Vec<Sender<Update>>,
    https: Arc<HttpsDoor>,
}

impl Teller {
    /// Tells every door; waits for shards that are behind.
    pub fn tell(&self, update: Update) {
        self.https.lock().door.update(update.clone());
        for shard in &self.shards {
            // A shard ends only with the server, or with the process.
            let _ = shard.send_blocking(update.clone());
        }
    }
}

/// The door behind HTTPS.
#[derive(Debug)]
pub struct HttpsDoor(Mutex<HttpsState>);

#[derive(Debug)]
struct HttpsState {
    door: Door,
    tap: Option<Tap>,
    closed: bool,
    rng: StdRng,
    bytes_in: u64,
    bytes_out: u64,
}

impl HttpsDoor {
    fn lock(&self) -> MutexGuard<'_, HttpsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request that came by HTTPS; empty when there is no answer.
    #[must_use]
    pub fn answer(&self, source: SocketAddr, datagram: &[u8]) -> Vec<u8> {
        let mut state = self.lock();
        if state.closed {
            return Vec::new();
        }
        let HttpsState { door, tap, rng, .. } = &mut *state;
        let mut reply = Vec::new();
        door.answer(now(), source.ip(), datagram, rng, &mut reply);
        if let Some(tap) = tap {
            tap.take_from(door, true);
        }
        state.bytes_in += datagram.len() as u64;
        state.bytes_out += reply.len() as u64;
        reply
    }

    fn stats(&self) -> DoorStats {
        let state = self.lock();
        DoorStats {
            outcomes: state.door.outcomes().iter().collect(),
            bytes_in: state.bytes_in,
            bytes_out: state.bytes_out,
            ..DoorStats::default()
        }
    }
}

/// The running doors. Dropping it stops them.
#[derive(Debug)]
pub struct Doors {
    teller: Teller,
    addrs: Vec<SocketAddr>,
    stats: Vec<Arc<Mutex<DoorStats>>>,
    // Their ends stop the shards.
    stops: Vec<Sender<()>>,
    shards: Vec<ShardHandle<()>>,
}

fn now() -> Time {
    Time(clock::boottime())
}

fn door(notes: bool) -> Door {
    let mut door = Door::new(&mut crate::rng());
    if notes {
        door.note_given();
    }
    door
}

impl Doors {
    /// Starts one shard for each of `placements`, each listening at every address of `listen`. What they give goes to `tap`.
    ///
    /// # Errors
    /// When an address cannot be bound or a shard cannot run; the message says what to do.
    pub fn start(
        listen: &[SocketAddr],
        placements: &[Placement],
        tap: Option<Tap>,
    ) -> std::io::Result<Self> {
        let https = Arc::new(HttpsDoor(Mutex::new(HttpsState {
            door: door(tap.is_some()),
            tap: tap.clone(),
            closed: false,
            rng: crate::rng(),
            bytes_in: 0,
            bytes_out: 0,
        })));
        let teller = Teller {
            shards: Vec::new(),
            https,
        };
        let mut doors = Self {
            teller,
            addrs: listen.to_vec(),
            stats: Vec::new(),
            stops: Vec::new(),
            shards: Vec::new(),
        };
        for (index, placement) in placements.iter().enumerate() {
            // Where the kernel chose ports, the next shard takes the same.
            doors.start_shard(index, *placement, tap.clone())?;
        }
        Ok(doors)
    }

    fn start_shard(
        &mut self,
        index: usize,
        placement: Placement,
        tap: Option<Tap>,
    ) -> std::io::Result<()> {
        let (updates_in, updates) = mailbox(UPDATES);
        let (stop_in, stop) = mailbox(1);
        let (up, is_up) = std::sync::mpsc::sync_channel(1);
        let published = Arc::new(Mutex::new(DoorStats::default()));
        let (addrs, publish) = (self.addrs.clone(), Arc::clone(&published));
        let main = move || async move {
            let bound: Result<Vec<_>, _> = addrs
                .iter()
                .map(|addr| UdpServer::bind(*addr, BUFFER))
                .collect();
            let sockets = match bound {
                Ok(sockets) => sockets,
                Err(error) => {
                    let _ = up.send(Err(std::io::Error::other(error.to_string())));
                    return;
                }
            };
            let addrs = sockets.iter().map(UdpServer::local_addr).collect();
            let _ = up.send(addrs);
            Shard::new(sockets, updates, publish, tap).run(stop).await;
        };
        let handle = shard::start(&format!("door-{index}"), placement, main)?;
        self.addrs = is_up
            .recv()
            .unwrap_or_else(|_| Err(std::io::Error::other("a key door ended before it began")))?;
        self.teller.shards.push(updates_in);
        self.stops.push(stop_in);
        self.stats.push(published);
        self.shards.push(handle);
        Ok(())
    }

    /// Where they listen.
    #[must_use]
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The way news get to them.
    #[must_use]
    pub fn teller(&self) -> Teller {
        self.teller.clone()
    }

    /// The one behind HTTPS.
    #[must_use]
    pub fn https(&self) -> Arc<HttpsDoor> {
        Arc::clone(&self.teller.https)
    }

    /// What reads the totals.
    #[must_use]
    pub fn stats(&self) -> DoorCounters {
        DoorCounters {
            shards: self.stats.clone(),
            https: self.https(),
        }
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        // What would be given from here on would be counted by nobody.
        self.teller.https.lock().closed = true;
        self.stops.clear();
        for shard in self.shards.drain(..) {
            if let Err(error) = shard.join() {
                tracing::error!(%error, "a key door failed");
            }
        }
    }
}

/// Reads the totals of all doors.
#[derive(Clone, Debug)]
pub struct DoorCounters {
    shards: Vec<Arc<Mutex<DoorStats>>>,
    https: Arc<HttpsDoor>,
}

impl DoorCounters {
    /// The totals.
    #[must_use]
    pub fn read(&self) -> DoorStats {
        let mut all = self.https.stats();
        for shard in &self.shards {
            all.add(&shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
        all
    }
}

/// What a look at a socket found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Nothing,
    /// Requests, all of which are answered.
    Some,
    /// More than are answered in a turn.
    More,
}

/// One shard's door.
struct Shard {
    door: Door,
    sockets: Vec<UdpServer>,
    updates: Receiver<Update>,
    rng: StdRng,
    batch: RecvBatch,
    replies: ReplyBatch,
    reply: Vec<u8>,
    stats: DoorStats,
    publish: Arc<Mutex<DoorStats>>,
    tap: Option<Tap>,
}

impl Shard {
    fn new(
        sockets: Vec<UdpServer>,
        updates: Receiver<Update>,
        publish: Arc<Mutex<DoorStats>>,
        tap: Option<Tap>,
    ) -> Self {
        Self {
            door: door(tap.is_some()),
            sockets,
            updates,
            rng: crate::rng(),
            batch: RecvBatch::new(BATCH, 0),
            replies: ReplyBatch::default(),
            reply: Vec::new(),
            stats: DoorStats::default(),
            publish,
            tap,
        }
    }

    async fn run(mut self, mut stop: Receiver<()>) {
        let mut publish = Time(0);
        loop {
            while let Some(update) = self.updates.try_recv() {
                self.door.update(update);
            }
            let found = (0..self.sockets.len()).map(|socket| self.serve(socket));
            let found = found.max().unwrap_or(Found::Nothing);
            let must_publish = publish <= now();
            if must_publish {
                publish = now().after(PUBLISH);
                self.publish();
            }
            self.hand_over(must_publish);
            let goes_on = match found {
                Found::Nothing => self.wait(&mut stop).await,
                Found::Some => {
                    shard::sleep(NAP).await;
                    !stop.is_closed()
                }
                Found::More => {
                    shard::yield_if_needed().await;
                    !stop.is_closed()
                }
            };
            if !goes_on {
                self.hand_over(true);
                return;
            }
        }
    }

    fn hand_over(&mut self, must: bool) {
        if let Some(tap) = &self.tap {
            tap.take_from(&mut self.door, must);
        }
    }

    fn publish(&mut self) {
        self.stats.outcomes = self.door.outcomes().iter().collect();
        self.stats.kernel_drops = self.sockets.iter().map(UdpServer::drops).sum();
        *self.publish.lock().unwrap_or_else(PoisonError::into_inner) = self.stats.clone();
    }

    /// Waits for a request, an update or the time to publish; false when it must stop.
    async fn wait(&mut self, stop: &mut Receiver<()>) -> bool {
        use futures_lite::future::or;
        let stopped = async {
            stop.ready().await;
            false
        };
        let updated = async {
            if !self.updates.ready().await {
                pending::<()>().await;
            }
            true
        };
        let sockets = &self.sockets;
        let readable = async |index: usize| match sockets.get(index) {
            Some(socket) => drop(socket.readable().await),
            None => pending().await,
        };
        let asked = async {
            or(or(readable(0), readable(1)), or(readable(2), readable(3))).await;
            true
        };
        let timer = async {
            shard::sleep(PUBLISH).await;
            true
        };
        or(stopped, or(updated, or(asked, timer))).await
    }

    /// Answers what a socket has, a bounded number of calls.
    fn serve(&mut self, socket: usize) -> Found {
        for call in 0..CALLS_PER_TURN {
            let Ok(count @ 1..) = self.sockets[socket].recv(&mut self.batch) else {
                return if call == 0 {
                    Found::Nothing
                } else {
                    Found::Some
                };
            };
            let now = now();
            for received in self.batch.iter_mut() {
                let (source, datagram) = (received.source, &*received.data);
                self.stats.bytes_in += datagram.len() as u64;
                self.door
                    .answer(now, source.ip(), datagram, &mut self.rng, &mut self.reply);
                if !self.reply.is_empty() {
                    self.stats.bytes_out += self.reply.len() as u64;
                    self.replies.push(source, &self.reply);
                }
            }
            self.stats.unsent += self.sockets[socket].send(&mut self.replies) as u64;
            if count < BATCH {
                return Found::Some;
            }
        }
        Found::More
    }
}

/// Addresses that one door listens at, at most.
pub const ADDRS_MAX: usize = 4;
