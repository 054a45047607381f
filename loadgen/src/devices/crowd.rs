//! The devices of one core: their timers, and answers matched with requests. No socket and no clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_crypto::EpochRoot;
use sealcast_proto::discard::Discard;
use sealcast_proto::door::Answer;
use sealcast_proto::ids::{ChannelId, Epoch, Time};
use sealcast_proto::receiver::{Change, Changes, FetchOn, News, Trust};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::control::ControlType;
use sealcast_proto::wire::door::{DecipherHalf, Granted, KeyRequestView, NONCE_LEN, Reason};

use super::counts::{Counts, Kind};
use super::device::{Answered, Asked, Device, Leaving};
use super::sessions::Sessions;

/// An answer that takes longer is a stray one: devices have asked again several times by then.
const FORGOTTEN: Duration = Duration::from_secs(20);
/// Devices that are told of a Notice between two looks at what is due.
const TOLD_AT_ONCE: usize = 64;
/// Devices that are looked at in one poll: what they send leaves one socket.
const POLLED_AT_ONCE: usize = 8;

/// What the devices of a core are like.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Their sessions.
    pub sessions: Sessions,
    /// How many doors they know.
    pub doors: usize,
    /// What makes them ask by themselves.
    pub fetch_on: FetchOn,
    /// The first device is this one, and every `of`-th after it.
    pub index: u32,
    /// Cores that share the devices.
    pub of: u32,
    /// Devices of all cores.
    pub devices: u32,
    /// Chooses what is random.
    pub seed: u64,
}

/// Where a crowd stands, for whoever watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Devices that began.
    pub begun: u64,
    /// Devices that hold a key.
    pub holding: u64,
    /// Requests that wait for their answer.
    pub waiting: u64,
    /// Requests that left, retries included.
    pub sent: u64,
    /// Answers with keys.
    pub keys: u64,
}

impl Standing {
    /// Takes in another core's.
    pub fn add(&mut self, other: &Self) {
        self.begun += other.begun;
        self.holding += other.holding;
        self.waiting += other.waiting;
        self.sent += other.sent;
        self.keys += other.keys;
    }
}

/// A nonce is random: it needs no hash.
#[derive(Clone, Copy, Debug, Default)]
struct Nonces(u64);

impl Hasher for Nonces {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }
    fn write_u64(&mut self, nonce: u64) {
        self.0 = nonce;
    }
}

/// The devices of one core.
pub struct Crowd {
    setup: Setup,
    devices: Vec<Option<Device>>,
    timers: BinaryHeap<Reverse<(Time, u32)>>,
    /// Which device, at which door, waits for the answer to the request with this nonce.
    nonces: HashMap<u64, (u32, u8), BuildHasherDefault<Nonces>>,
    /// The same in the order in which they left.
    left: VecDeque<(Time, u64)>,
    /// Requests in the order in which they were due: device, number.
    oldest: VecDeque<(Time, u32, u64)>,
    trust: Vec<(ChannelId, Trust)>,
    /// The channel of a Notice of which devices are being told, and the next one to be told.
    telling: Vec<(ChannelId, usize)>,
    /// What the others got.
    roots: HashMap<(ChannelId, Epoch), EpochRoot>,
    counts: Counts,
    standing: Standing,
    /// The key times of the channel that answered last.
    timing: Option<Timing>,
    /// The epoch before the first that was seen: traces count from there.
    base: Option<u64>,
    rng: StdRng,
}

impl std::fmt::Debug for Crowd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crowd")
            .field("devices", &self.devices.len())
            .field("standing", &self.standing)
            .finish_non_exhaustive()
    }
}

impl Crowd {
    /// Devices none of which has begun; `counts` begins with the run.
    #[must_use]
    pub fn new(setup: Setup, counts: Counts) -> Self {
        let authority = setup.sessions.authority();
        let trust = |&channel: &ChannelId| {
            let mut trust = Trust::new(channel);
            trust.set_authority(authority.0, authority.1);
            (channel, trust)
        };
        let mine = (setup.devices.saturating_sub(setup.index)).div_ceil(setup.of.max(1));
        let mut devices = Vec::new();
        devices.resize_with(mine as usize, || None);
        Self {
            trust: setup.sessions.channels().iter().map(trust).collect(),
            rng: StdRng::seed_from_u64(setup.seed ^ u64::from(setup.index) << 40),
            setup,
            devices,
            timers: BinaryHeap::new(),
            nonces: HashMap::default(),
            left: VecDeque::new(),
            oldest: VecDeque::new(),
            telling: Vec::new(),
            roots: HashMap::new(),
            counts,
            standing: Standing::default(),
            timing: None,
            base: None,
        }
    }

    /// Whether this device is of this core.
    #[must_use]
    pub fn has(&self, device: u32) -> bool {
        device % self.setup.of.max(1) == self.setup.index && device < self.setup.devices
    }

    fn place(&self, device: u32) -> usize {
        (device / self.setup.of.max(1)) as usize
    }

    fn number(&self, place: usize) -> u32 {
        u32::try_from(place).unwrap_or(u32::MAX) * self.setup.of.max(1) + self.setup.index
    }

    /// A device of this core asks at `due` for the key of `wanted`, counted from 1 at the first epoch that was seen, or (`None`)
    /// for what is current. One that has not begun tunes in.
    pub fn ask(&mut self, device: u32, wanted: Option<u64>, due: Time) {
        let wanted = wanted.and_then(|wanted| Some(Epoch(self.base? + wanted)));
        let place = self.place(device);
        let Some(slot) = self.devices.get_mut(place) else {
            return;
        };
        match slot {
            Some(known) => {
                if !known.follower.ask(wanted, due) {
                    self.counts.skipped += 1;
                }
            }
            None => {
                let Some(session) = self.setup.sessions.session(device) else {
                    return;
                };
                let channel = self.setup.sessions.channel_of(device);
                let (doors, fetch_on) = (self.setup.doors, self.setup.fetch_on);
                let new = Device::new(session, channel, doors, fetch_on, due, &mut self.rng);
                *slot = Some(new);
                self.standing.begun += 1;
                self.counts.begun += 1;
            }
        }
        self.queue(place);
    }

    /// Puts the device's next timer into the queue, if it is earlier than what is there.
    fn queue(&mut self, place: usize) {
        let number = self.number(place);
        let Some(Some(device)) = self.devices.get_mut(place) else {
            return;
        };
        if let Some(at) = device.follower.next_timeout()
            && at < device.queued
        {
            device.queued = at;
            self.timers.push(Reverse((at, number)));
        }
    }

    /// When [`Crowd::poll`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        if !self.telling.is_empty() {
            return Some(Time(0));
        }
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Lets time pass: `send` gets requests that are due, with the number of their door. True if there is more to do at once.
    pub fn poll(&mut self, now: Time, send: &mut dyn FnMut(u8, &[u8])) -> bool {
        self.tell(now);
        for _ in 0..POLLED_AT_ONCE {
            match self.timers.peek() {
                Some(Reverse((at, _))) if *at <= now => {}
                _ => return !self.telling.is_empty(),
            }
            if let Some(Reverse((at, device))) = self.timers.pop() {
                self.poll_device(now, at, device, send);
            }
        }
        true
    }

    fn poll_device(&mut self, now: Time, at: Time, number: u32, send: &mut dyn FnMut(u8, &[u8])) {
        let place = self.place(number);
        let Some(Some(device)) = self.devices.get_mut(place) else {
            return;
        };
        if device.queued != at {
            // An earlier timer came before this one.
            return;
        }
        device.queued = Time(u64::MAX);
        let (nonces, left, oldest) = (&mut self.nonces, &mut self.left, &mut self.oldest);
        let (counts, standing) = (&mut self.counts, &mut self.standing);
        let mut leave = |leaving: Leaving<'_>| {
            let Leaving {
                door,
                datagram,
                retry,
                asked,
            } = leaving;
            if let Ok(view) = KeyRequestView::parse(datagram) {
                let nonce = word(&view.nonce);
                nonces.insert(nonce, (number, door));
                left.push_back((now, nonce));
            }
            if !retry {
                oldest.push_back((asked.due, number, asked.number));
                let late = now.since(asked.due).as_nanos();
                counts
                    .lateness
                    .record(u64::try_from(late).unwrap_or(u64::MAX));
                standing.waiting += 1;
            }
            counts.sent(if retry { at } else { asked.due }, door, retry);
            standing.sent += 1;
            send(door, datagram);
        };
        device.poll(now, at, self.setup.doors, &mut self.rng, &mut leave);
        let waiting = device.asked.len();
        device.forget();
        self.given_up(waiting, place);
        self.queue(place);
    }

    /// A device that waited for so many requests has forgotten some.
    fn given_up(&mut self, before: usize, place: usize) {
        let after = self.devices[place]
            .as_ref()
            .map_or(0, |device| device.asked.len());
        let gone = before.saturating_sub(after) as u64;
        self.counts.given_up += gone;
        self.standing.waiting = self.standing.waiting.saturating_sub(gone);
    }

    /// Takes a datagram that came to one of the sockets.
    pub fn datagram(&mut self, now: Time, datagram: &[u8]) {
        let found = echo(datagram).and_then(|nonce| self.nonces.remove(&nonce));
        let Some((number, door)) = found else {
            return self.counts.stray();
        };
        let place = self.place(number);
        let Some(Some(device)) = self.devices.get_mut(place) else {
            return self.counts.stray();
        };
        let channel = device.follower.channel();
        let Some((_, trust)) = self.trust.iter().find(|(of, _)| *of == channel) else {
            return;
        };
        let (left, waiting) = (time_left(device, trust, now), device.asked.len());
        match device.datagram(now, datagram, trust, &mut self.rng) {
            Ok(answered) => {
                let done = usize::from(answered.asked.is_some());
                self.standing.waiting = self.standing.waiting.saturating_sub(done as u64);
                self.given_up(waiting - done, place);
                self.note(now, door, left, answered);
            }
            // The second answer to one request.
            Err(Discard::Known) => self.counts.answered(now, door, Kind::Stray),
            Err(_) => self.counts.answered(now, door, Kind::Undecryptable),
        }
        self.queue(place);
    }

    fn note(&mut self, now: Time, door: u8, left: Option<Duration>, answered: Answered) {
        let unknown = Kind::Refused(Reason::CookieUnknown);
        let (mut left, mut kind, mut joins) = (left, unknown, false);
        match &answered.answer {
            Answer::Granted { granted, asked } => {
                self.learn(*asked, granted);
                kind = self.kind(granted, &answered);
                joins = left.is_none();
                // Beside its first key, it needs the other when that one ends; if it is over, the other one is its first.
                let lasts = granted.current.remaining.duration();
                left = left.or_else(|| Some(lasts).filter(|lasts| !lasts.is_zero()));
            }
            Answer::Refused(refused) => kind = Kind::Refused(refused.reason),
            Answer::CookieUnknown => {}
        }
        self.counts.answered(now, door, kind);
        if let (Kind::Keys, Some(asked)) = (kind, answered.asked) {
            self.standing.keys += 1;
            self.took(now, asked);
        }
        for (change, is_first) in answered.changes.into_iter().zip([true, false]) {
            if let Some(Change::Held(epoch)) = change {
                let join = joins && is_first;
                self.standing.holding += u64::from(join);
                self.counts.holds(epoch, left.filter(|_| !join));
            }
        }
    }

    fn kind(&mut self, granted: &Granted, answered: &Answered) -> Kind {
        if self.differs(granted, answered.changes) {
            Kind::OtherRoot
        } else if answered.asked.is_none() {
            Kind::Stray
        } else {
            Kind::Keys
        }
    }

    fn took(&mut self, now: Time, asked: Asked) {
        let took = u64::try_from(now.since(asked.due).as_nanos()).unwrap_or(u64::MAX);
        if asked.joins {
            self.counts.joining.record(took);
        } else {
            self.counts.following.record(took);
        }
    }

    /// When keys end, for the report and for whoever watches.
    fn learn(&mut self, asked: Time, granted: &Granted) {
        self.timing = Some(granted.timing);
        self.base
            .get_or_insert_with(|| granted.current.epoch.0.saturating_sub(1));
        for half in halves(granted) {
            let end = asked.after(half.remaining.duration());
            self.counts.ends.insert(half.epoch, end);
        }
    }

    /// Whether a root is another one than the devices before got.
    fn differs(&mut self, granted: &Granted, changes: Changes) -> bool {
        let mut differs = false;
        for half in halves(granted) {
            let known = self.roots.entry((granted.channel, half.epoch));
            differs |= *known.or_insert_with(|| half.root.clone()) != half.root;
        }
        differs
            || changes
                .iter()
                .any(|change| matches!(change, Some(Change::Mismatch(_))))
    }

    /// Takes a datagram of a channel's multicast group: packets are passed over, Notices go to all its devices.
    pub fn multicast(&mut self, now: Time, source: IpAddr, datagram: &[u8]) {
        for (channel, trust) in &mut self.trust {
            if trust.datagram(now, source, datagram) == Ok(News::Notice) {
                self.counts.notices += 1;
                self.telling.retain(|(told, _)| told != channel);
                self.telling.push((*channel, 0));
                if let Some((current, _, boundary)) = trust.change() {
                    self.counts.ends.insert(current, boundary);
                }
            }
        }
    }

    /// Tells some devices of what was announced.
    fn tell(&mut self, now: Time) {
        let Some((channel, next)) = self.telling.pop() else {
            return;
        };
        let end = (next + TOLD_AT_ONCE).min(self.devices.len());
        for place in next..end {
            let trust = self.trust.iter().find(|(of, _)| *of == channel);
            let (Some((_, trust)), Some(device)) = (trust, &mut self.devices[place]) else {
                continue;
            };
            if device.follower.channel() == channel {
                device.follower.noticed(now, trust, &mut self.rng);
                let waiting = device.asked.len();
                device.forget();
                self.given_up(waiting, place);
                self.queue(place);
            }
        }
        if end < self.devices.len() {
            self.telling.push((channel, end));
        }
    }

    /// Looks at the oldest request, and forgets what nobody waits for: about once in a bin.
    pub fn look(&mut self, now: Time) {
        while let Some(&(due, device, number)) = self.oldest.front() {
            let place = self.place(device);
            let waits = self.devices[place]
                .as_ref()
                .is_some_and(|device| device.waits_for(number));
            if waits {
                self.counts.waited(now, now.since(due));
                break;
            }
            self.oldest.pop_front();
        }
        while let Some(&(left, nonce)) = self.left.front() {
            if now.since(left) < FORGOTTEN {
                break;
            }
            self.left.pop_front();
            self.nonces.remove(&nonce);
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The key times of the channel that answered last.
    #[must_use]
    pub fn timing(&self) -> Option<Timing> {
        self.timing
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Devices that hold a key of `epoch` or a newer one.
    #[must_use]
    pub fn holders(&self, epoch: Epoch) -> u64 {
        let newer = |device: &&Device| device.newest() >= Some(epoch);
        self.devices.iter().flatten().filter(newer).count() as u64
    }

    /// Ends: what was counted, and what the oldest request without an answer has waited.
    #[must_use]
    pub fn finish(mut self, now: Time) -> (Counts, Standing, Duration) {
        self.look(now);
        let oldest = self.oldest.front().map(|(due, ..)| now.since(*due));
        let holding = self
            .devices
            .iter()
            .flatten()
            .filter(|device| device.holds_any());
        self.standing.holding = holding.count() as u64;
        (self.counts, self.standing, oldest.unwrap_or_default())
    }
}

fn halves(granted: &Granted) -> impl Iterator<Item = &DecipherHalf> {
    std::iter::once(&granted.current).chain(&granted.next)
}

/// How long the device needs no newer key than it has: until the 0 of the one in use, or, if that is over, of the newest. A change
/// that is announced says it better. `None` without any key.
fn time_left(device: &Device, trust: &Trust, now: Time) -> Option<Duration> {
    let (current, left) = device.follower.current(now)?;
    let newest = device.follower.newest_end()?;
    Some(match trust.change() {
        Some((before, next, boundary)) if before == current && device.newest() < Some(next) => {
            boundary.since(now)
        }
        _ if left.duration().is_zero() => newest.since(now),
        _ => left.duration(),
    })
}

/// The first bytes of a nonce.
fn word(nonce: &[u8; NONCE_LEN]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&nonce[..8]);
    u64::from_le_bytes(word)
}

/// What an answer echoes: behind type and version, and in a refusal behind what says whether it is sealed.
fn echo(datagram: &[u8]) -> Option<u64> {
    const REFUSAL: u8 = ControlType::Refusal as u8;
    let at = if *datagram.first()? == REFUSAL { 3 } else { 2 };
    let nonce = datagram.get(at..at + NONCE_LEN)?.first_chunk()?;
    Some(word(nonce))
}
