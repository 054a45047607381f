//! Lanes and stripe groups: who may use which lanes of an epoch (SEC-06).
//!
//! A lane of an epoch is handed out once, to one run of one delivery server, and only by the term that generated the
//! epoch's root: the record below lives in memory and dies with the term.

use std::collections::BTreeMap;

use rand_core::CryptoRng;

use super::random_id;
use crate::ids::{GroupId, Lane, RunId, ServerId};
use crate::limits::{LANES_MAX, RUNS_PER_EPOCH};
use crate::wire::link::Report;

/// Contiguous lanes of one epoch, and the stripe group they make up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Grant {
    pub(super) first_lane: Lane,
    pub(super) lanes: u8,
    pub(super) group: GroupId,
    pub(super) follows: Option<GroupId>,
}

/// Why a run gets no lanes of an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoLanes {
    /// Its server restarted too often within the epoch.
    Runs,
    /// All are handed out.
    Exhausted,
}

/// The lanes handed out in one epoch. None is ever taken back.
#[derive(Clone, Default, Debug)]
pub(super) struct Grants {
    used: u8,
    given: BTreeMap<(ServerId, RunId), Grant>,
}

impl Grants {
    pub(super) fn of(&self, server: ServerId, run: RunId) -> Option<&Grant> {
        self.given.get(&(server, run))
    }

    /// Lanes handed out.
    pub(super) fn used(&self) -> u8 {
        self.used
    }

    /// The grant of this run; a first one takes the group that `membership` makes.
    pub(super) fn give(
        &mut self,
        server: ServerId,
        run: RunId,
        lanes: u8,
        membership: impl FnOnce() -> (GroupId, Option<GroupId>),
    ) -> Result<Grant, NoLanes> {
        if let Some(grant) = self.of(server, run) {
            return Ok(*grant);
        }
        let runs = self
            .given
            .range((server, RunId(0))..=(server, RunId(u64::MAX)))
            .count();
        if runs >= RUNS_PER_EPOCH {
            return Err(NoLanes::Runs);
        }
        let used = self
            .used
            .checked_add(lanes)
            .filter(|&used| usize::from(used) <= LANES_MAX);
        let (used, first_lane) = used
            .zip(self.used.checked_add(1).and_then(Lane::new))
            .ok_or(NoLanes::Exhausted)?;
        let (group, follows) = membership();
        let grant = Grant {
            first_lane,
            lanes,
            group,
            follows,
        };
        self.used = used;
        self.given.insert((server, run), grant);
        Ok(grant)
    }
}

#[derive(Clone, Copy, Debug)]
struct Membership {
    run: RunId,
    group: GroupId,
    follows: Option<GroupId>,
}

/// The last stripe group of each delivery server. A run keeps its group across epochs, so that its packet numbers run on.
#[derive(Clone, Default, Debug)]
pub(super) struct Groups(BTreeMap<ServerId, Membership>);

impl Groups {
    /// A server reports a group that an earlier term gave it.
    pub(super) fn learn(&mut self, server: ServerId, run: RunId, group: GroupId) {
        if group.0 != 0 && self.0.values().all(|known| known.group != group) {
            self.0.entry(server).or_insert(Membership {
                run,
                group,
                follows: None,
            });
        }
    }

    /// The group for new lanes of the reporting run, and the group it follows. A new run gets a new one; so does a run whose
    /// packet numbers run out, unless it has not even begun to use the last one it got.
    pub(super) fn next(
        &mut self,
        server: ServerId,
        report: &Report,
        rng: &mut dyn CryptoRng,
    ) -> (GroupId, Option<GroupId>) {
        let known = self.0.get(&server).copied();
        let in_use = report.current.map(|held| held.group);
        let membership = match known {
            Some(known)
                if known.run == report.run
                    && !(report.new_group && in_use == Some(known.group)) =>
            {
                known
            }
            _ => {
                let follows = known.map(|known| known.group);
                Membership {
                    run: report.run,
                    group: GroupId(random_id(rng)),
                    follows,
                }
            }
        };
        self.0.insert(server, membership);
        (membership.group, membership.follows)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn give(grants: &mut Grants, server: u32, run: u64, lanes: u8) -> Result<Grant, NoLanes> {
        grants.give(ServerId(server), RunId(run), lanes, || (GroupId(run), None))
    }

    #[test]
    fn sec_06_lanes_are_contiguous_and_never_given_twice() {
        let mut grants = Grants::default();
        let mut seen = BTreeSet::new();
        for (server, run, lanes) in [(1, 1, 4), (2, 1, 1), (1, 2, 100), (3, 9, 150)] {
            let grant = give(&mut grants, server, run, lanes).unwrap();
            assert_eq!(
                give(&mut grants, server, run, lanes),
                Ok(grant),
                "the same run gets the same"
            );
            let first = u16::from(grant.first_lane.number());
            assert!(
                (first..first + u16::from(grant.lanes))
                    .all(|lane| lane <= 255 && seen.insert(lane))
            );
        }
        assert_eq!(grants.used(), 255);
        assert_eq!(give(&mut grants, 4, 1, 1), Err(NoLanes::Exhausted));
        assert_eq!(
            give(&mut Grants::default(), 1, 1, 255)
                .unwrap()
                .first_lane
                .number(),
            1
        );
    }

    #[test]
    fn sec_06_a_crash_loop_does_not_burn_all_lanes() {
        let mut grants = Grants::default();
        for run in 0..RUNS_PER_EPOCH as u64 {
            assert!(give(&mut grants, 1, run, 2).is_ok());
        }
        assert_eq!(give(&mut grants, 1, 999, 2), Err(NoLanes::Runs));
        assert!(
            give(&mut grants, 1, 0, 2).is_ok(),
            "an earlier run may ask again"
        );
        assert!(
            give(&mut grants, 2, 999, 2).is_ok(),
            "others are not affected"
        );
    }
}
