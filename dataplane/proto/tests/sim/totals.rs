//! What was simulated, in numbers.

use std::fmt;

/// What was simulated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub seeds: u64,
    pub switches: u64,
    /// Key changes that were announced, and were checked to be so in time.
    pub announced: u64,
    pub packets: u64,
    pub unknown_key: u64,
    pub parked: u64,
    pub holds: u64,
    pub terms: u64,
    pub forged: u64,
    pub replaced: u64,
    pub requests: u64,
    pub by_slaves: u64,
    pub with_slaves: u64,
    pub revoked: u64,
    /// Standbys that took a master's place.
    pub standbys: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.seeds += 1;
        self.switches += other.switches;
        self.announced += other.announced;
        self.replaced += other.replaced;
        self.packets += other.packets;
        self.unknown_key += other.unknown_key;
        self.parked += other.parked;
        self.holds += other.holds;
        self.terms += other.terms;
        self.forged += other.forged;
        self.requests += other.requests;
        self.by_slaves += other.by_slaves;
        self.with_slaves += other.with_slaves;
        self.revoked += other.revoked;
        self.standbys += other.standbys;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} seeds, {} key changes at senders ({} seen to be announced in time), {} packets delivered, {} dropped for want of a key and counted, \
             {} waited for their key, {} holds, {} announced changes replaced, {} terms, {} forged datagrams, {} requests answered and \
             counted ({} answers by slaves, of which {} seeds have three), {} devices revoked, {} standbys",
            self.seeds,
            self.switches,
            self.announced,
            self.packets,
            self.unknown_key,
            self.parked,
            self.holds,
            self.replaced,
            self.terms,
            self.forged,
            self.requests,
            self.by_slaves,
            self.with_slaves,
            self.revoked,
            self.standbys
        )
    }
}
