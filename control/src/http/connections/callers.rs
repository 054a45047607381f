//! Who asks, as far as rates go. Operators and servers ask as often as they like: what they may is bounded by the store's queue.
//!
//! | who | bucket |
//! |---|---|
//! | device, by its certificate | its own |
//! | person, by a token | the token's; and while the network is over its rate, nothing |
//! | machine, packager, by a token | none; and while the network is over its rate, nothing |
//! | anybody else | the network's |
//!
//! What is refused with 401 is counted for the network it came from, so that guesses are no more than that.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use sealcast_objects::api::Role;
use sealcast_objects::problem::{Kind, Problem};

use super::super::bearer;
use super::super::error::ApiError;
use super::limits::Limits;
use super::network::Network;
use super::rates::{Buckets, Left, Rate};
use crate::ca::Peer;

/// The door behind HTTPS: whole networks of devices ask there, each with a sealed ticket, and an answer costs less than a refusal.
const DOOR: &str = "/v1/door";

/// Buckets of all who have one.
#[derive(Debug)]
pub(super) struct Callers {
    start: Instant,
    devices: Buckets,
    persons: Buckets,
    networks: Buckets,
}

/// A request, as it was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Counted {
    /// There is no limit for it.
    Freely,
    /// It may be worked on.
    Within(Policy, Left),
    /// It came too soon.
    TooSoon(Policy, Duration),
}

/// A limit, as it is told: its name, and the rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Policy(&'static str, Rate);

impl Callers {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            start: Instant::now(),
            devices: Buckets::new(limits.device_rate),
            persons: Buckets::new(limits.person_rate),
            networks: Buckets::new(limits.network_rate),
        }
    }

    /// Counts a request of `peer`, or of `source` where there is no certificate.
    pub(super) fn count(&self, peer: Option<&Peer>, source: IpAddr, request: &Parts) -> Counted {
        let now = self.start.elapsed();
        let network = Network::from(source);
        match peer {
            Some(peer) if peer.role == Role::Device => {
                self.take("device", &self.devices, now, &peer.subject)
            }
            Some(_) => Counted::Freely,
            None if request.uri.path() == DOOR => Counted::Freely,
            None => match bearer::borne(request) {
                None => self.take("network", &self.networks, now, network),
                Some(token) => match self.networks.wait(now, network) {
                    Some(wait) => Counted::TooSoon(Policy("network", self.networks.rate()), wait),
                    None if token.starts_with(bearer::PERSONS) => {
                        self.take("person", &self.persons, now, token)
                    }
                    None => Counted::Freely,
                },
            },
        }
    }

    fn take(
        &self,
        name: &'static str,
        buckets: &Buckets,
        now: Duration,
        who: impl std::hash::Hash,
    ) -> Counted {
        let policy = Policy(name, buckets.rate());
        match buckets.take(now, who) {
            None => Counted::Freely,
            Some(Ok(left)) => Counted::Within(policy, left),
            Some(Err(wait)) => Counted::TooSoon(policy, wait),
        }
    }

    /// Nobody is known by what a request of `source` bore.
    pub(super) fn refused(&self, source: IpAddr) {
        let _ = self
            .networks
            .take(self.start.elapsed(), Network::from(source));
    }
}

/// Whole seconds, not less, and one at least.
fn seconds(time: Duration) -> u64 {
    let seconds = time.as_millis().div_ceil(1000).max(1);
    seconds.try_into().unwrap_or(u64::MAX)
}

impl Counted {
    /// The refusal of a request that came too soon.
    pub(super) fn refusal(self) -> Option<ApiError> {
        let Self::TooSoon(Policy(name, rate), wait) = self else {
            return None;
        };
        let why = format!(
            "too many requests of one {name}: {} per second in the long run, {} at once; nothing was done; try again in {} s",
            rate.per_second,
            rate.burst,
            seconds(wait)
        );
        Some(Problem::new(Kind::TooMany, why).into())
    }

    /// Tells the caller of his limit: `RateLimit-Policy`, `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11), `Retry-After`.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        let (Policy(name, rate), requests, full_in) = match self {
            Self::Freely => return,
            Self::Within(policy, left) => (policy, left.requests, left.full_in),
            Self::TooSoon(policy, wait) => {
                headers.insert(header::RETRY_AFTER, seconds(wait).into());
                (policy, 0, policy.1.window() + wait)
            }
        };
        let policy = format!("\"{name}\";q={};w={}", rate.burst, seconds(rate.window()));
        let state = format!("\"{name}\";r={requests};t={}", seconds(full_in));
        for (name, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}
