//! Bounds in fixed memory. Each table has a slot per hash and forgets the slot's former owner: a forgotten replay is answered
//! once more, a forgotten session begins with a full allowance.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::IpAddr;

use rand_core::CryptoRng;

use crate::ids::{SessionId, Time};
use crate::limits::{HINTS_PER_SECOND, HINTS_PER_SOURCE, SESSION_BURST, SESSION_RATE};
use crate::wire::door::NONCE_LEN;

/// Requests remembered: about 1 MiB.
const REPLAYS: usize = 1 << 17;
/// Sessions and sources remembered.
const PACES: usize = 1 << 14;

/// An allowance that fills again with time.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    owner: u64,
    /// Nanoseconds of allowance used; falls with time.
    used_until: u64,
}

impl Pace {
    /// Takes one of `rate` per second, of which `burst` may be taken at once.
    fn take(&mut self, owner: u64, now: Time, rate: u32, burst: u32) -> bool {
        let cost = 1_000_000_000 / u64::from(rate);
        let used_until = if self.owner == owner {
            self.used_until.max(now.0)
        } else {
            now.0
        };
        if used_until + cost > now.0 + cost * u64::from(burst) {
            return false;
        }
        *self = Self {
            owner,
            used_until: used_until + cost,
        };
        true
    }
}

/// The bounds of one door.
pub(super) struct Guard {
    /// So that nobody outside can aim at a slot.
    seed: u64,
    replays: Box<[u64]>,
    sessions: Box<[Pace]>,
    sources: Box<[Pace]>,
    hints: Pace,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard(..)")
    }
}

impl Guard {
    pub(super) fn new(rng: &mut dyn CryptoRng) -> Self {
        Self {
            seed: rng.next_u64(),
            replays: vec![0; REPLAYS].into_boxed_slice(),
            sessions: vec![Pace::default(); PACES].into_boxed_slice(),
            sources: vec![Pace::default(); PACES].into_boxed_slice(),
            hints: Pace::default(),
        }
    }

    /// Never 0, which marks an empty slot.
    fn hash(&self, what: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, what).hash(&mut hasher);
        hasher.finish().max(1)
    }

    /// Whether this request has not been seen, as far as remembered; from now on it has.
    pub(super) fn is_new(&mut self, session: &SessionId, nonce: &[u8; NONCE_LEN]) -> bool {
        let hash = self.hash((session, nonce));
        let slot = slot(&mut self.replays, hash);
        std::mem::replace(slot, hash) != hash
    }

    /// Whether the session may ask once more.
    pub(super) fn may_ask(&mut self, now: Time, session: &SessionId) -> bool {
        let hash = self.hash(session);
        slot(&mut self.sessions, hash).take(hash, now, SESSION_RATE, SESSION_BURST)
    }

    /// Whether `source`, whose cookie did not open, is told so.
    pub(super) fn may_hint(&mut self, now: Time, source: IpAddr) -> bool {
        let hash = self.hash(network(source));
        slot(&mut self.sources, hash).take(hash, now, HINTS_PER_SOURCE, 2 * HINTS_PER_SOURCE)
            && self
                .hints
                .take(1, now, HINTS_PER_SECOND, HINTS_PER_SECOND / 4)
    }
}

fn slot<T>(table: &mut [T], hash: u64) -> &mut T {
    let len = table.len() as u64;
    &mut table[usize::try_from(hash % len).expect("below the length")]
}

/// Whoever has an address has its neighbours, too: /24 of IPv4, /64 of IPv6.
fn network(source: IpAddr) -> [u8; 8] {
    match source {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            [4, a, b, c, 0, 0, 0, 0]
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h, ..] = v6.octets();
            [a, b, c, d, e, f, g, h]
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn guard() -> Guard {
        Guard::new(&mut ChaCha8Rng::seed_from_u64(5))
    }

    #[test]
    fn a_session_has_a_burst_and_then_a_rate() {
        let (mut guard, session) = (guard(), SessionId([1; 16]));
        let mut asked = |now| {
            (0..1000)
                .filter(|_| guard.may_ask(Time(now), &session))
                .count()
        };
        assert_eq!(asked(SECOND), SESSION_BURST as usize);
        assert_eq!(asked(2 * SECOND), SESSION_RATE as usize);
        assert_eq!(asked(100 * SECOND), SESSION_BURST as usize);
        assert!(guard.may_ask(Time(100 * SECOND), &SessionId([2; 16])));
    }

    #[test]
    fn sec_08_a_request_counts_once() {
        let (mut guard, session) = (guard(), SessionId([1; 16]));
        assert!(guard.is_new(&session, &[7; NONCE_LEN]));
        assert!((0..100).all(|_| !guard.is_new(&session, &[7; NONCE_LEN])));
        assert!(guard.is_new(&session, &[8; NONCE_LEN]));
        assert!(guard.is_new(&SessionId([2; 16]), &[7; NONCE_LEN]));
    }

    #[test]
    fn hints_are_bounded_per_network_and_in_all() {
        let mut guard = guard();
        let near = (0..200).filter(|&last| guard.may_hint(Time(SECOND), [10, 0, 0, last].into()));
        assert_eq!(near.count(), 2 * HINTS_PER_SOURCE as usize);
        let far = (0..60_000_u32).filter(|index| {
            let [_, _, a, b] = index.to_be_bytes();
            guard.may_hint(Time(SECOND), [11, a, b, 1].into())
        });
        assert!(far.count() <= HINTS_PER_SECOND as usize / 4);
    }
}
