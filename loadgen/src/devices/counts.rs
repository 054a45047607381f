//! What became of requests: by kind of answer, by door and by time. Counts of several cores add up.

use std::collections::BTreeMap;
use std::time::Duration;

use sealcast_proto::door;
use sealcast_proto::ids::{Epoch, Time};
use sealcast_proto::wire::door::Reason;

use crate::latency::Times;

/// Kinds of answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Keys.
    Keys,
    /// Refused.
    Refused(Reason),
    /// It does not open, or is no answer.
    Undecryptable,
    /// Keys with another root than others got, or than the authority has committed to.
    OtherRoot,
    /// To nothing that is waited for: a second answer, or one that came very late.
    Stray,
}

impl Kind {
    /// In JSON; reasons as in the metrics of doors.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Refused(reason) => door::Outcome::from(reason).name(),
            Self::Undecryptable => "undecryptable",
            Self::OtherRoot => "other_root",
            Self::Stray => "stray",
        }
    }
}

/// One door in one bin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AtDoor {
    /// Requests sent for the first time.
    pub first: u32,
    /// Requests sent again.
    pub retries: u32,
    /// Answers with keys.
    pub keys: u32,
    /// Other answers.
    pub others: u32,
}

impl AtDoor {
    /// Requests that left for it, retries included.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.first + self.retries
    }

    fn add(&mut self, other: &Self) {
        self.first += other.first;
        self.retries += other.retries;
        self.keys += other.keys;
        self.others += other.others;
    }
}

/// How devices came to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Holding {
    /// Devices that got it as the next one, before the 0 of the one before by their own countdown.
    pub in_time: u64,
    /// Devices that held an older one and got it after that 0.
    pub late: u64,
    /// Devices for which it was the first key.
    pub joined: u64,
    /// The least time that was left to one in time, nanoseconds.
    pub least_left: u64,
}

impl Holding {
    fn add(&mut self, other: &Self) {
        if self.in_time == 0 || other.in_time > 0 && other.least_left < self.least_left {
            self.least_left = other.least_left;
        }
        self.in_time += other.in_time;
        self.late += other.late;
        self.joined += other.joined;
    }
}

/// All that is counted.
#[derive(Clone, Debug)]
pub struct Counts {
    start: Time,
    bin: Duration,
    doors: usize,
    /// Bins one after the other, each with all doors.
    bins: Vec<AtDoor>,
    /// Nanoseconds that the oldest request had waited when a bin began.
    oldest: Vec<u64>,
    kinds: BTreeMap<Kind, u64>,
    /// Devices that began.
    pub begun: u64,
    /// Requests whose time had come while the device still waited for the same: they are not sent.
    pub skipped: u64,
    /// Requests that devices gave up: the key came otherwise, or is of no use any more.
    pub given_up: u64,
    /// Requests of devices that held no key, from when they were due to their keys.
    pub joining: Times,
    /// Those of devices that held a key.
    pub following: Times,
    /// From when a request was due to when it left first: how late the generator was.
    pub lateness: Times,
    /// How devices came to each epoch's key.
    pub held: BTreeMap<Epoch, Holding>,
    /// When each epoch ends, as the last answer said, by the clock of here.
    pub ends: BTreeMap<Epoch, Time>,
    /// Notices of the authority that said something new.
    pub notices: u64,
}

/// Bins that are kept: a day of 100 ms.
const BINS_MAX: usize = 864_000;

impl Counts {
    /// Nothing yet: bins of `bin` from `start` on, for so many doors.
    #[must_use]
    pub fn new(start: Time, bin: Duration, doors: usize) -> Self {
        Self {
            start,
            bin: bin.max(Duration::from_millis(1)),
            doors: doors.max(1),
            bins: Vec::new(),
            oldest: Vec::new(),
            kinds: BTreeMap::new(),
            begun: 0,
            skipped: 0,
            given_up: 0,
            joining: Times::default(),
            following: Times::default(),
            lateness: Times::default(),
            held: BTreeMap::new(),
            ends: BTreeMap::new(),
            notices: 0,
        }
    }

    /// How long a bin is.
    #[must_use]
    pub fn bin(&self) -> Duration {
        self.bin
    }

    /// When the first bin begins.
    #[must_use]
    pub fn start(&self) -> Time {
        self.start
    }

    /// The bin of a moment.
    #[must_use]
    pub fn bin_of(&self, at: Time) -> usize {
        let bin = at.since(self.start).as_nanos() / self.bin.as_nanos();
        usize::try_from(bin).unwrap_or(BINS_MAX).min(BINS_MAX - 1)
    }

    fn at(&mut self, at: Time, door: u8) -> &mut AtDoor {
        let place = self.bin_of(at) * self.doors + usize::from(door).min(self.doors - 1);
        if self.bins.len() <= place {
            let whole = (place / self.doors + 1) * self.doors;
            self.bins.resize(whole, AtDoor::default());
        }
        &mut self.bins[place]
    }

    /// A request that was due at `at` left. A generator that stood still sends the requests of a while at once: that is told as its
    /// lateness, and is no peak of the load that devices make.
    pub fn sent(&mut self, at: Time, door: u8, retry: bool) {
        let there = self.at(at, door);
        if retry {
            there.retries += 1;
        } else {
            there.first += 1;
        }
    }

    /// An answer came of this door.
    pub fn answered(&mut self, at: Time, door: u8, kind: Kind) {
        self.count(kind);
        let there = self.at(at, door);
        if kind == Kind::Keys {
            there.keys += 1;
        } else {
            there.others += 1;
        }
    }

    /// Something came that is of no door.
    pub fn stray(&mut self) {
        self.count(Kind::Stray);
    }

    fn count(&mut self, kind: Kind) {
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// So long had the oldest request waited at `at`.
    pub fn waited(&mut self, at: Time, longest: Duration) {
        let bin = self.bin_of(at);
        if self.oldest.len() <= bin {
            self.oldest.resize(bin + 1, 0);
        }
        let waited = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        self.oldest[bin] = self.oldest[bin].max(waited);
    }

    /// A device got the key of `epoch`; `left` is what remains of the one before by its own countdown, `None` without one.
    pub fn holds(&mut self, epoch: Epoch, left: Option<Duration>) {
        let mut one = Holding::default();
        match left {
            None => one.joined = 1,
            Some(left) if left.is_zero() => one.late = 1,
            Some(left) => {
                one.in_time = 1;
                one.least_left = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
            }
        }
        self.held.entry(epoch).or_default().add(&one);
    }

    /// Answers of this kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> u64 {
        self.kinds.get(&kind).copied().unwrap_or(0)
    }

    /// Kinds of answers that came, and how many of each.
    pub fn kinds(&self) -> impl Iterator<Item = (Kind, u64)> {
        self.kinds.iter().map(|(kind, count)| (*kind, *count))
    }

    /// Bins, each with all doors in their order.
    pub fn bins(&self) -> impl Iterator<Item = &[AtDoor]> {
        self.bins.chunks_exact(self.doors)
    }

    /// Nanoseconds that the oldest request had waited, by bin.
    #[must_use]
    pub fn oldest(&self) -> &[u64] {
        &self.oldest
    }

    /// All of one door, or of all.
    #[must_use]
    pub fn total(&self, door: Option<usize>) -> AtDoor {
        let mut total = AtDoor::default();
        for bin in self.bins() {
            for (index, at) in bin.iter().enumerate() {
                if door.is_none_or(|door| door == index) {
                    total.add(at);
                }
            }
        }
        total
    }

    /// Takes in what another core counted from the same start on.
    pub fn add(&mut self, other: &Self) {
        let bins = self.bins.len().max(other.bins.len());
        self.bins.resize(bins, AtDoor::default());
        for (mine, theirs) in self.bins.iter_mut().zip(&other.bins) {
            mine.add(theirs);
        }
        let oldest = self.oldest.len().max(other.oldest.len());
        self.oldest.resize(oldest, 0);
        for (mine, theirs) in self.oldest.iter_mut().zip(&other.oldest) {
            *mine = (*mine).max(*theirs);
        }
        for (kind, theirs) in other.kinds() {
            *self.kinds.entry(kind).or_default() += theirs;
        }
        self.begun += other.begun;
        self.skipped += other.skipped;
        self.given_up += other.given_up;
        self.notices = self.notices.max(other.notices);
        self.joining.add(&other.joining);
        self.following.add(&other.following);
        self.lateness.add(&other.lateness);
        for (epoch, holding) in &other.held {
            self.held.entry(*epoch).or_default().add(holding);
        }
        for (epoch, end) in &other.ends {
            let known = self.ends.entry(*epoch).or_insert(*end);
            *known = (*known).max(*end);
        }
    }
}

/// Requests in a stretch of time, at one door or at all.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Load {
    /// Requests, retries included.
    pub sent: u64,
    /// Of these, retries.
    pub retries: u64,
    /// Answers with keys.
    pub keys: u64,
    /// The most in one whole bin.
    pub peak: u32,
    /// The mean of all whole bins.
    pub mean: f64,
}

impl Load {
    /// How much higher the highest bin is than the mean.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        if self.mean > 0.0 {
            f64::from(self.peak) / self.mean
        } else {
            0.0
        }
    }
}

impl Counts {
    /// The load from `from` to `until`, in the bins that lie wholly between them.
    #[must_use]
    pub fn load(&self, door: Option<usize>, from: Time, until: Time) -> Load {
        let begins_inside =
            self.bin_of(from) + usize::from(self.start_of(self.bin_of(from)) < from);
        let range = begins_inside..self.bin_of(until).max(begins_inside);
        let mut load = Load::default();
        for bin in range.clone() {
            let all = self
                .bins
                .get(bin * self.doors..(bin + 1) * self.doors)
                .unwrap_or_default();
            let mine = all
                .iter()
                .enumerate()
                .filter(|(index, _)| door.is_none_or(|door| door == *index));
            let mut sent = 0;
            for (_, at) in mine {
                sent += at.sent();
                load.retries += u64::from(at.retries);
                load.keys += u64::from(at.keys);
            }
            load.sent += u64::from(sent);
            load.peak = load.peak.max(sent);
        }
        if !range.is_empty() {
            load.mean = load.sent as f64 / range.len() as f64;
        }
        load
    }

    /// When a bin begins.
    #[must_use]
    pub fn start_of(&self, bin: usize) -> Time {
        let nanos = self.bin.as_nanos() * bin as u128;
        self.start.after(Duration::from_nanos(
            u64::try_from(nanos).unwrap_or(u64::MAX),
        ))
    }
}
