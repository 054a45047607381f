//! The bound on signature checks: forged control datagrams must not cost a receiver its CPU, nor keep genuine ones out.
//!
//! Per channel and second at most [`SIGNATURE_CHECKS_PER_SECOND`]. Half of them are kept for source addresses that passed a
//! check before; the rest is split between the kinds of datagram, so that a flood of one kind leaves the other its share,
//! and one source address gets only a part of a share.

use std::net::IpAddr;
use std::time::Duration;

use crate::ids::Time;
use crate::limits::{SIGNATURE_CHECKS_KEPT, SIGNATURE_CHECKS_PER_SECOND};
use crate::wire::control::ControlType;

const WINDOW: Duration = Duration::from_secs(1);
/// Addresses remembered as having passed; the oldest is forgotten first.
const PASSED_MAX: usize = 8;
/// Checks per second that strangers get for one kind of datagram.
const SHARE: u32 = (SIGNATURE_CHECKS_PER_SECOND - SIGNATURE_CHECKS_KEPT) / 2;
/// Of these, for one address.
const PER_STRANGER: u32 = 3;

#[derive(Debug, Default)]
pub(crate) struct Budget {
    window: Option<Time>,
    passed: Vec<IpAddr>,
    kept_used: u32,
    /// Checks of strangers in this window: which kind, from where.
    strangers: Vec<(ControlType, IpAddr)>,
}

impl Budget {
    /// Whether one more check may be made for a datagram of this kind from `source`.
    pub(crate) fn take(&mut self, now: Time, kind: ControlType, source: IpAddr) -> bool {
        if self.window.is_none_or(|start| now.since(start) >= WINDOW) {
            self.window = Some(now);
            self.kept_used = 0;
            self.strangers.clear();
        }
        if self.passed.contains(&source) && self.kept_used < SIGNATURE_CHECKS_KEPT {
            self.kept_used += 1;
            return true;
        }
        let of_kind = self.strangers.iter().filter(|(used, _)| *used == kind);
        let from_here = of_kind
            .clone()
            .filter(|(_, address)| *address == source)
            .count();
        let free = of_kind.count() < SHARE as usize && from_here < PER_STRANGER as usize;
        if free {
            self.strangers.push((kind, source));
        }
        free
    }

    /// A datagram from `source` verified.
    pub(crate) fn passed(&mut self, source: IpAddr) {
        if self.passed.contains(&source) {
            return;
        }
        if self.passed.len() == PASSED_MAX {
            self.passed.remove(0);
        }
        self.passed.push(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 66));
    const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn sec_10_a_flood_gets_at_most_its_share_and_leaves_the_rest() {
        let mut budget = Budget::default();
        let forged = (0..10_000)
            .filter(|_| budget.take(Time(0), ControlType::Notice, FORGER))
            .count();
        assert_eq!(forged, PER_STRANGER as usize);
        assert!(
            budget.take(Time(1), ControlType::Notice, SERVER),
            "another stranger still gets a check"
        );
        assert!(
            budget.take(Time(1), ControlType::LaneCertificate, FORGER),
            "another kind has its own share"
        );
        budget.passed(SERVER);
        let genuine = (0..100)
            .filter(|_| budget.take(Time(2), ControlType::Notice, SERVER))
            .count();
        assert!(genuine >= SIGNATURE_CHECKS_KEPT as usize);
    }

    #[test]
    fn never_more_than_the_bound_in_a_second() {
        let mut budget = Budget::default();
        budget.passed(SERVER);
        let mut taken = 0;
        for host in 0..=255 {
            for kind in [ControlType::Notice, ControlType::LaneCertificate] {
                let stranger = IpAddr::from([10, 1, 0, host]);
                taken += [stranger, SERVER]
                    .into_iter()
                    .filter(|&source| budget.take(Time(0), kind, source))
                    .count();
            }
        }
        assert_eq!(taken, SIGNATURE_CHECKS_PER_SECOND as usize);
        assert!(
            budget.take(Time(0).after(WINDOW), ControlType::Notice, FORGER),
            "the next second has its own"
        );
    }
}
