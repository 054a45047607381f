//! Made-up key requests of a population of devices: who joins, and what everybody asks for at each change of key.
//!
//! Each device watches one channel. All channels change their key at the same moments, the multiples of the lifetime: the worst
//! case for key servers. A request is what a device asks first; retries are the replayer's.

use std::io::{self, Write};
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand_core::Rng as _;
use sealcast_proto::records::{Cause, Origin, RequestTrace, TraceIdentity, TracedRequest};

use super::file::TraceFile;

/// Devices of a population, at most.
pub const DEVICES_MAX: u32 = 10_000_000;
/// The longest trace.
pub const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
/// Joins per second, at most.
pub const JOINS_MAX: u32 = 1_000_000;

/// What makes devices ask for the next key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fetch {
    /// The second preset: `fetch_ahead` before the change.
    Timer,
    /// The Notice, halfway between the first preset (twice `fetch_ahead`) and the second.
    Notice,
    /// The first packet under the new key: at the change.
    Demand,
}

/// A population and what happens to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Population {
    /// How many.
    pub devices: u32,
    /// Of how many channels each watches one.
    pub channels: u16,
    /// From one change of key to the next.
    pub lifetime: Duration,
    /// The second preset.
    pub fetch_ahead: Duration,
    /// What makes devices ask.
    pub fetch: Fetch,
    /// Over how long after that moment requests are spread evenly; nothing: all in one instant.
    pub spread: Duration,
    /// Devices that turn to another channel, per second.
    pub joins: u32,
    /// How long.
    pub duration: Duration,
    /// Chooses what is random.
    pub seed: u64,
}

/// Why there can be no such population: what, and what to choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PopulationError {
    /// None, or more than can be told apart.
    #[error("{0} devices: choose 1 to {DEVICES_MAX}")]
    Devices(u32),
    /// Nothing to watch.
    #[error("no channels: choose 1 to 65535")]
    Channels,
    /// Requests must come between two changes.
    #[error(
        "a lifetime of {lifetime:?} with requests up to {needed:?} before the change: the lifetime must be longer"
    )]
    Lifetime {
        /// As asked for.
        lifetime: Duration,
        /// From the first request to the change.
        needed: Duration,
    },
    /// Requests would come after the change, or after the next one.
    #[error("a spread of {spread:?}: choose less than {limit:?}")]
    Spread {
        /// As asked for.
        spread: Duration,
        /// What there is.
        limit: Duration,
    },
    /// Too many.
    #[error("{0} joins per second: at most {JOINS_MAX}")]
    Joins(u32),
    /// Nothing, or nearly for ever.
    #[error("a trace of {0:?}: choose more than nothing, at most a day")]
    Duration(Duration),
}

impl Population {
    /// Whether it can be.
    ///
    /// # Errors
    /// [`PopulationError`] says what to choose.
    pub fn check(&self) -> Result<(), PopulationError> {
        let (ahead, limit) = match self.fetch {
            Fetch::Timer => (self.fetch_ahead, self.fetch_ahead),
            Fetch::Notice => (self.fetch_ahead * 3 / 2, self.fetch_ahead * 3 / 2),
            Fetch::Demand => (Duration::ZERO, self.lifetime),
        };
        if !(1..=DEVICES_MAX).contains(&self.devices) {
            return Err(PopulationError::Devices(self.devices));
        }
        if self.channels == 0 {
            return Err(PopulationError::Channels);
        }
        if self.lifetime <= ahead || self.lifetime.is_zero() {
            return Err(PopulationError::Lifetime {
                lifetime: self.lifetime,
                needed: ahead,
            });
        }
        if self.spread >= limit {
            return Err(PopulationError::Spread {
                spread: self.spread,
                limit,
            });
        }
        if self.joins > JOINS_MAX {
            return Err(PopulationError::Joins(self.joins));
        }
        if self.duration.is_zero() || self.duration > DURATION_MAX {
            return Err(PopulationError::Duration(self.duration));
        }
        Ok(())
    }

    /// Its requests, in order.
    ///
    /// # Errors
    /// As [`Population::check`].
    pub fn requests(&self) -> Result<impl Iterator<Item = TracedRequest> + use<>, PopulationError> {
        self.check()?;
        let end = nanos(self.duration);
        let mut lives = Lives::new(self.clone());
        let all = std::iter::from_fn(move || lives.next()).flatten();
        Ok(all.take_while(move |request| request.at < end))
    }

    /// Writes its requests as a trace; returns how many.
    ///
    /// # Errors
    /// As `out` says, or as [`Population::check`].
    pub fn write(&self, out: impl Write) -> io::Result<u64> {
        let identity = TraceIdentity {
            origin: Origin::Synthetic,
            seed: self.seed,
        };
        let requests = self
            .requests()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let mut file = TraceFile::<RequestTrace, _>::create(out, &identity)?;
        let mut count = 0;
        for request in requests {
            file.push(request)?;
            count += 1;
        }
        file.finish()?;
        Ok(count)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The lives of one key after another, each with the requests that come during it.
struct Lives {
    population: Population,
    rng: StdRng,
    /// The epoch whose life comes next, from 1.
    epoch: u64,
    /// What each device watches.
    watched: Vec<u16>,
}

impl Lives {
    fn new(population: Population) -> Self {
        let channels = u32::from(population.channels);
        let number = |device| u16::try_from(device % channels + 1).unwrap_or(u16::MAX);
        Self {
            rng: StdRng::seed_from_u64(population.seed),
            epoch: 1,
            watched: (0..population.devices).map(number).collect(),
            population,
        }
    }

    fn next(&mut self) -> Option<Vec<TracedRequest>> {
        let lifetime = nanos(self.population.lifetime);
        let start = (self.epoch - 1).checked_mul(lifetime)?;
        if start >= nanos(self.population.duration) {
            return None;
        }
        let mut requests = Vec::new();
        if self.epoch == 1 {
            self.begin(&mut requests);
        }
        let (when, wanted, cause) = self.occasion(start, start + lifetime);
        if wanted > 1 {
            self.fetch(when, wanted, cause, &mut requests);
        }
        self.join(start, &mut requests);
        requests.sort_by_key(|request| (request.at, request.device));
        self.watch(&mut requests);
        self.epoch += 1;
        Some(requests)
    }

    /// When devices begin to ask for which epoch during this life, and why.
    fn occasion(&self, start: u64, end: u64) -> (u64, u64, Cause) {
        let ahead = nanos(self.population.fetch_ahead);
        match self.population.fetch {
            Fetch::Timer => (end - ahead, self.epoch + 1, Cause::Timer),
            Fetch::Notice => (end - ahead * 3 / 2, self.epoch + 1, Cause::Notice),
            Fetch::Demand => (start, self.epoch, Cause::UnknownKey),
        }
    }

    /// Everybody is new at the start, over the same spread as later.
    fn begin(&mut self, requests: &mut Vec<TracedRequest>) {
        self.fetch(0, 0, Cause::Join, requests);
    }

    fn fetch(&mut self, when: u64, epoch: u64, cause: Cause, requests: &mut Vec<TracedRequest>) {
        let spread = nanos(self.population.spread);
        for (device, &channel) in (0..).zip(&self.watched) {
            requests.push(TracedRequest {
                at: when + below(&mut self.rng, spread.max(1)),
                device,
                channel,
                epoch,
                cause,
            });
        }
    }

    /// Devices turn to other channels: in the first life, once all have begun.
    fn join(&mut self, start: u64, requests: &mut Vec<TracedRequest>) {
        let lifetime = nanos(self.population.lifetime);
        let from = match self.epoch {
            1 => nanos(self.population.spread),
            _ => 0,
        };
        let time = lifetime - from;
        let joins = u128::from(self.population.joins) * u128::from(time) / 1_000_000_000;
        for _ in 0..joins {
            let device = below(&mut self.rng, u64::from(self.population.devices));
            let channel = 1 + below(&mut self.rng, u64::from(self.population.channels));
            requests.push(TracedRequest {
                at: start + from + below(&mut self.rng, time),
                device: u32::try_from(device).unwrap_or(u32::MAX),
                channel: u16::try_from(channel).unwrap_or(u16::MAX),
                epoch: 0,
                cause: Cause::Join,
            });
        }
    }

    /// A device asks for the key of what it watches at that moment.
    fn watch(&mut self, requests: &mut [TracedRequest]) {
        for request in requests {
            let watched = &mut self.watched[request.device as usize];
            match request.cause {
                Cause::Join => *watched = request.channel,
                Cause::Timer | Cause::Notice | Cause::UnknownKey => request.channel = *watched,
            }
        }
    }
}

/// Evenly from 0 to below `limit`, which is not 0.
fn below(rng: &mut StdRng, limit: u64) -> u64 {
    let scaled = (u128::from(rng.next_u64()) * u128::from(limit)) >> 64;
    u64::try_from(scaled).unwrap_or(0)
}
