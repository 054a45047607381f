//! Who is connected. Each class has places of its own; where one is full, those that idle longest make room, of networks that have many of
//! its places before others: a flood from some addresses is its own loss.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot, watch};

use super::callers::Callers;
use super::network::Network;
use super::stats::Counters;
use super::{HttpStats, Limits, Why};

/// A full class loses this part of its places at once, so that each newcomer costs little work.
const ROOM: usize = 16;
/// What an answer must have taken of it, so that it does not stall: more than the keep-alive frames of HTTP/2.
const TAKEN: u64 = 1024;
/// Limits are looked after at least this often.
const SWEEP: Duration = Duration::from_secs(1);

/// Which places a connection takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Class {
    Handshaking,
    Anonymous,
    Authenticated,
}

impl Class {
    const ALL: [Self; 3] = [Self::Handshaking, Self::Anonymous, Self::Authenticated];

    fn name(self) -> &'static str {
        match self {
            Self::Handshaking => "handshaking",
            Self::Anonymous => "anonymous",
            Self::Authenticated => "authenticated",
        }
    }
}

/// How a connection is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// After what is under way; the peer is told.
    Gently,
    /// At once.
    Now,
}

/// What is known of a connection while it lives.
#[derive(Debug)]
pub(crate) struct Watch {
    began: Instant,
    /// Requests that are not answered to their ends.
    under_way: AtomicUsize,
    /// Answers of which something waits for the peer to take it.
    wanting: AtomicUsize,
    /// Bytes.
    written: AtomicU64,
    /// A request has come.
    asked: AtomicBool,
    /// Milliseconds after `began`; of a connection without a request under way.
    idle_since: AtomicU64,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            under_way: AtomicUsize::new(0),
            wanting: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
        }
    }

    pub(super) fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn begin_request(&self) {
        self.asked.store(true, Relaxed);
        self.under_way.fetch_add(1, Relaxed);
    }

    pub(super) fn end_request(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.idle_since.store(now, Relaxed);
        self.under_way.fetch_sub(1, Relaxed);
    }

    /// An answer begins or ceases to wait for the peer.
    pub(super) fn set_wanting(&self, wanting: bool) {
        if wanting {
            self.wanting.fetch_add(1, Relaxed);
        } else {
            self.wanting.fetch_sub(1, Relaxed);
        }
    }

    /// Since when nothing is under way; nothing while something is.
    fn idle_since(&self) -> Option<Instant> {
        let idle = self.under_way.load(Relaxed) == 0;
        idle.then(|| self.began + Duration::from_millis(self.idle_since.load(Relaxed)))
    }
}

#[derive(Debug)]
struct Entry {
    class: Class,
    network: Network,
    watch: Arc<Watch>,
    end: oneshot::Sender<End>,
    /// How much was written when something was last seen to move, and when that was.
    moved: (u64, Instant),
}

impl Entry {
    /// Since when it is there for nothing, so that it may have to make room. A peer says something as soon as it is connected, and is soon
    /// done with the handshake. Those that say nothing go at once where their network has many places: if they were waited for, a flood
    /// would fill the system's queue, where nobody is told apart.
    fn idle_since(&self, now: Instant, limits: &Limits) -> Option<Instant> {
        let late = self.class == Class::Handshaking
            && now.saturating_duration_since(self.watch.began) >= limits.late();
        if late {
            return Some(self.watch.began);
        }
        self.watch.idle_since()
    }

    /// Which limit it is over.
    fn over(&mut self, now: Instant, limits: &Limits) -> Option<Why> {
        let idle_since = self.watch.idle_since();
        let written = self.watch.written.load(Relaxed);
        let moves = written >= self.moved.0 + TAKEN;
        if moves || self.watch.wanting.load(Relaxed) == 0 {
            self.moved = (written, now);
        }
        if now.duration_since(self.moved.1) >= limits.stalled {
            return Some(Why::Stalled);
        }
        let limit = match self.class {
            // Whoever accepts looks after that.
            Class::Handshaking => return None,
            _ if !self.watch.asked.load(Relaxed) => limits.handshake,
            Class::Anonymous => limits.idle_anonymous,
            Class::Authenticated => limits.idle_authenticated,
        };
        (now.saturating_duration_since(idle_since?) >= limit).then_some(Why::Idle)
    }
}

#[derive(Debug, Default)]
struct Open {
    /// The server stops: nobody enters any more.
    closed: bool,
    next: u64,
    entries: HashMap<u64, Entry>,
    of_class: [usize; Class::ALL.len()],
    of_network: HashMap<(Class, Network), usize>,
}

impl Open {
    /// Who was there.
    fn close(&mut self) -> impl Iterator<Item = Entry> + use<> {
        let open = Self {
            closed: true,
            ..Self::default()
        };
        std::mem::replace(self, open).entries.into_values()
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.of_class[entry.class as usize] -= 1;
        let of = (entry.class, entry.network);
        if let Some(count) = self.of_network.get_mut(&of) {
            *count -= 1;
            if *count == 0 {
                self.of_network.remove(&of);
            }
        }
        Some(entry)
    }

    /// Ends a part of a class: those that idle, the longest first, and of networks that have many there before others. How many.
    fn make_room(&mut self, class: Class, limits: &Limits) -> usize {
        let most = (self.of_class[class as usize] / ROOM).max(1);
        let counts = self.of_network.iter();
        let counts = counts.filter_map(|((of, _), count)| (*of == class).then_some(*count));
        let many = counts.max().unwrap_or(0) / 2;
        let now = Instant::now();
        let mut idle = match many {
            0 => Vec::new(),
            many => self.idle(class, many, now, limits),
        };
        if idle.is_empty() {
            // Nobody came in masses: who has just come is not the one to go.
            idle = self.idle(class, 0, now, limits);
            idle.retain(|(since, _)| now.saturating_duration_since(*since) >= limits.moment());
        }
        if idle.len() > most {
            idle.select_nth_unstable(most);
            idle.truncate(most);
        }
        for (_, id) in &idle {
            if let Some(entry) = self.remove(*id) {
                // It may have ended by itself.
                let _ = entry.end.send(End::Gently);
            }
        }
        idle.len()
    }

    /// Those that idle, of networks that have more than `many` in this class: since when, and which.
    fn idle(
        &self,
        class: Class,
        many: usize,
        now: Instant,
        limits: &Limits,
    ) -> Vec<(Instant, u64)> {
        let count = |of: &Entry| self.of_network.get(&(class, of.network)).copied();
        let of = |entry: &Entry| entry.class == class && count(entry) > Some(many);
        let entries = self.entries.iter().filter(|(_, entry)| of(entry));
        entries
            .filter_map(|(id, entry)| Some((entry.idle_since(now, limits)?, *id)))
            .collect()
    }
}

/// All connections.
#[derive(Debug)]
pub(crate) struct Register {
    limits: Limits,
    open: Mutex<Open>,
    counters: Counters,
    callers: Callers,
    /// Names of requests: a number, made random.
    request_ids: (RandomState, AtomicU64),
    anonymous_requests: Arc<Semaphore>,
    authenticated_requests: Arc<Semaphore>,
}

impl Register {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let requests = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self {
            open: Mutex::default(),
            counters: Counters::default(),
            callers: Callers::new(&limits),
            request_ids: Default::default(),
            anonymous_requests: requests(limits.anonymous_requests),
            authenticated_requests: requests(limits.authenticated_requests),
            limits,
        })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Who asks how often.
    pub(super) fn callers(&self) -> &Callers {
        &self.callers
    }

    /// A name for another request.
    pub(super) fn request_id(&self) -> u128 {
        let (random, next) = &self.request_ids;
        let number = next.fetch_add(1, Relaxed);
        let [high, low] = [0, 1].map(|half: u8| random.hash_one((number, half)));
        u128::from(high) << 64 | u128::from(low)
    }

    /// Places for requests that are worked on.
    pub(super) fn requests(&self, class: Class) -> Arc<Semaphore> {
        Arc::clone(match class {
            Class::Authenticated => &self.authenticated_requests,
            _ => &self.anonymous_requests,
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn places(&self, class: Class) -> usize {
        match class {
            Class::Handshaking => self.limits.handshaking,
            Class::Anonymous => self.limits.anonymous,
            Class::Authenticated => self.limits.authenticated,
        }
    }

    /// A place for a connection; nothing where all are taken and nobody idles.
    pub(crate) fn enter(self: &Arc<Self>, class: Class, source: IpAddr) -> Option<Ticket> {
        let (places, network) = (self.places(class), Network::from(source));
        let full = |open: &Open| open.of_class[class as usize] >= places;
        let mut open = self.open();
        if full(&open) {
            let made = open.make_room(class, &self.limits);
            self.counters.ended(Why::MadeRoom, made);
        }
        if open.closed || full(&open) {
            return None;
        }
        let (id, watch) = (open.next, Arc::new(Watch::new()));
        let (end, ended) = oneshot::channel();
        let entry = Entry {
            class,
            network,
            watch: Arc::clone(&watch),
            end,
            moved: (0, watch.began),
        };
        open.next += 1;
        open.entries.insert(id, entry);
        open.of_class[class as usize] += 1;
        *open.of_network.entry((class, network)).or_default() += 1;
        Some(Ticket {
            register: Arc::clone(self),
            class,
            id,
            watch,
            ended,
        })
    }

    /// The system has no file descriptors left: the anonymous make room.
    pub(crate) fn relieve(&self) {
        let mut open = self.open();
        for class in [Class::Handshaking, Class::Anonymous] {
            let made = open.make_room(class, &self.limits);
            self.counters.ended(Why::MadeRoom, made);
        }
    }

    pub(crate) fn note(&self, why: Why) {
        self.counters.ended(why, 1);
    }

    pub(super) fn sweep(&self, now: Instant) {
        let mut open = self.open();
        let entries = open.entries.iter_mut();
        let over: Vec<_> = entries
            .filter_map(|(id, entry)| Some((*id, entry.over(now, &self.limits)?)))
            .collect();
        for (id, why) in over {
            if let Some(entry) = open.remove(id) {
                self.counters.ended(why, 1);
                let how = match why {
                    Why::Stalled => End::Now,
                    _ => End::Gently,
                };
                let _ = entry.end.send(how);
            }
        }
    }

    /// Looks after the limits until `stop` says so; then all are told to end after what is under way.
    pub(crate) async fn keep(&self, mut stop: watch::Receiver<bool>) {
        let Limits {
            handshake,
            idle_anonymous,
            stalled,
            ..
        } = self.limits;
        let often = handshake.min(idle_anonymous).min(stalled) / 4;
        let mut ticks = tokio::time::interval(often.clamp(Duration::from_millis(10), SWEEP));
        loop {
            tokio::select! {
                _ = ticks.tick() => self.sweep(Instant::now()),
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        for entry in self.open().close() {
            let _ = entry.end.send(End::Gently);
        }
    }

    /// Totals.
    pub(crate) fn stats(&self) -> HttpStats {
        let of_class = self.open().of_class;
        let open = Class::ALL.into_iter().zip(of_class);
        let open = open.map(|(class, count)| (class.name(), count as u64));
        self.counters.read(open.collect())
    }
}

/// A place that a connection has.
#[derive(Debug)]
pub(crate) struct Ticket {
    register: Arc<Register>,
    class: Class,
    id: u64,
    watch: Arc<Watch>,
    ended: oneshot::Receiver<End>,
}

impl Ticket {
    pub(crate) fn register(&self) -> &Arc<Register> {
        &self.register
    }

    pub(crate) fn class(&self) -> Class {
        self.class
    }

    pub(crate) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// How long no request has been under way.
    pub(crate) fn idle_for(&self) -> Option<Duration> {
        self.watch.idle_since().map(|since| since.elapsed())
    }

    /// Returns when the connection is to end; after that it is not to be asked again.
    pub(crate) async fn ended(&mut self) -> End {
        (&mut self.ended).await.unwrap_or(End::Gently)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.register.open().remove(self.id);
    }
}
