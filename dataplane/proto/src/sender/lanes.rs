//! The lanes of one epoch at a sender, and the packet numbers of the stripe group.
//!
//! No nonce is used twice (SEC-06): every lane has its own key, a lane belongs to one stripe group, and inside the group
//! lane `i` of `n` takes the numbers that are `i` modulo `n`. Keys are used up before their limits (SEC-13).

use std::collections::VecDeque;
use std::sync::Arc;

use sealcast_crypto::{LaneSecret, SealKey, SigningKey};

use super::Prover;
use crate::ids::{ChannelId, Ctr, Epoch, GroupId, Kid, Lane, Term};
use crate::limits::{
    CTR_END, CTR_FIRST, CTR_SOFT, LANE_BYTES_HARD, LANE_BYTES_SOFT, LANE_PACKETS_HARD,
    LANE_PACKETS_SOFT,
};
use crate::wire::control::{AuthLevel, LaneCertificate};

#[derive(Debug)]
pub(crate) struct LaneKey {
    pub(super) kid: Kid,
    pub(super) key: Arc<SealKey>,
    /// If its packets count only with manifests.
    pub(super) prover: Option<Arc<Prover>>,
    packets: u64,
    bytes: u64,
}

/// The cipher half of one epoch, ready for use.
#[derive(Debug)]
pub(crate) struct LaneSet {
    lanes: Vec<LaneKey>,
    certificate: LaneCertificate,
    datagram: Vec<u8>,
    keylog: Vec<String>,
}

impl LaneSet {
    /// From the secrets of the certified lanes, lowest first; `None` when their number is not the certificate's.
    pub(crate) fn new(
        epoch: Epoch,
        secrets: &[LaneSecret],
        certificate: LaneCertificate,
        datagram: Vec<u8>,
        keylog: bool,
        signing: &Arc<SigningKey>,
    ) -> Option<Self> {
        if secrets.len() != usize::from(certificate.lanes) {
            return None;
        }
        let kids = kids(
            certificate.channel,
            certificate.first_lane,
            certificate.lanes,
            epoch,
        );
        let lines = kids
            .iter()
            .zip(secrets)
            .filter(|_| keylog)
            .map(|(kid, secret)| keylog_line(*kid, secret))
            .collect();
        let prover = |kid, secret: &LaneSecret| {
            let (group, lanes) = (certificate.group, certificate.lanes);
            let wanted = certificate.auth == AuthLevel::Manifest;
            wanted.then(|| Arc::new(Prover::new(kid, group, lanes, secret, signing)))
        };
        let lanes = kids
            .into_iter()
            .zip(secrets)
            .map(|(kid, secret)| LaneKey {
                kid,
                key: Arc::new(SealKey::new(secret)),
                prover: prover(kid, secret),
                packets: 0,
                bytes: 0,
            })
            .collect();
        Some(Self {
            lanes,
            certificate,
            datagram,
            keylog: lines,
        })
    }

    pub(crate) fn group(&self) -> GroupId {
        self.certificate.group
    }

    pub(crate) fn term(&self) -> Term {
        self.certificate.term
    }

    pub(crate) fn is_vouched(&self) -> bool {
        self.certificate.auth == AuthLevel::Manifest
    }

    pub(crate) fn first_lane(&self) -> Lane {
        self.certificate.first_lane
    }

    pub(crate) fn certificate(&self) -> &[u8] {
        &self.datagram
    }

    pub(crate) fn kid(&self, lane: usize) -> Option<Kid> {
        self.lanes.get(lane).map(|lane| lane.kid)
    }

    pub(crate) fn keylog(&self) -> Vec<String> {
        self.keylog.clone()
    }

    /// Takes `packets` and `bytes` off what `lane` may still seal, and gives its key; `None` when that is too much.
    pub(crate) fn reserve(&mut self, lane: usize, packets: u64, bytes: u64) -> Option<&LaneKey> {
        let lane = &mut self.lanes[lane];
        let total = (lane.packets + packets, lane.bytes + bytes);
        if total.0 > LANE_PACKETS_HARD || total.1 > LANE_BYTES_HARD {
            return None;
        }
        (lane.packets, lane.bytes) = total;
        Some(lane)
    }

    pub(crate) fn is_past_soft_limit(&self, lane: usize) -> bool {
        self.lanes[lane].packets >= LANE_PACKETS_SOFT || self.lanes[lane].bytes >= LANE_BYTES_SOFT
    }

    #[cfg(test)]
    pub(crate) fn set_used(&mut self, lane: usize, packets: u64, bytes: u64) {
        (self.lanes[lane].packets, self.lanes[lane].bytes) = (packets, bytes);
    }
}

/// The key ids of `count` lanes from `first` on.
pub(crate) fn kids(channel: ChannelId, first: Lane, count: u8, epoch: Epoch) -> Vec<Kid> {
    let numbers =
        (0..count).filter_map(|index| first.number().checked_add(index).and_then(Lane::new));
    numbers.map(|lane| Kid::new(lane, channel, epoch)).collect()
}

fn keylog_line(kid: Kid, secret: &LaneSecret) -> String {
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    };
    format!(
        "{:012x} {} {}",
        kid.value(),
        hex(secret.key()),
        hex(secret.salt())
    )
}

/// The packet numbers of a stripe group.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// The next number of each lane.
    next: Vec<u64>,
}

impl Numbers {
    pub(crate) fn new(lanes: u8) -> Self {
        Self {
            next: (0..u64::from(lanes)).map(|lane| CTR_FIRST + lane).collect(),
        }
    }

    /// The next `count` numbers of `lane`; `None` when they run out.
    pub(crate) fn reserve(
        &mut self,
        lane: usize,
        count: u64,
    ) -> Option<impl Iterator<Item = Ctr> + use<>> {
        let stride = self.next.len() as u64;
        let first = self.next[lane];
        let end = first + count * stride;
        if end > CTR_END {
            return None;
        }
        self.next[lane] = end;
        Some((0..count).map(move |index| Ctr(first + index * stride)))
    }

    pub(crate) fn is_past_soft_limit(&self) -> bool {
        self.next.iter().any(|&next| next >= CTR_SOFT)
    }

    #[cfg(test)]
    pub(crate) fn set(&mut self, lane: usize, next: u64) {
        self.next[lane] = next;
    }
}

/// Stripe groups whose numbers a run remembers; it has more than one only when numbers are used up, or terms change.
const GROUPS_KEPT: usize = 8;

/// The packet numbers of every stripe group that a run has used. Whatever comes between, a group's numbers run on: receivers
/// remember them.
#[derive(Debug)]
pub(crate) struct GroupNumbers {
    lanes: u8,
    groups: VecDeque<(GroupId, Numbers)>,
}

impl GroupNumbers {
    pub(crate) fn new(lanes: u8) -> Self {
        Self {
            lanes,
            groups: VecDeque::new(),
        }
    }

    /// The numbers of `group`; a new one begins.
    pub(crate) fn of(&mut self, group: GroupId) -> &mut Numbers {
        let known = self.groups.iter().position(|(known, _)| *known == group);
        let index = known.unwrap_or_else(|| {
            if self.groups.len() == GROUPS_KEPT {
                self.groups.pop_front();
            }
            self.groups.push_back((group, Numbers::new(self.lanes)));
            self.groups.len() - 1
        });
        &mut self.groups[index].1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn sec_06_no_number_is_used_by_two_lanes() {
        let mut numbers = Numbers::new(3);
        let mut seen = BTreeSet::new();
        for (lane, count) in [(0, 5), (2, 1), (1, 7), (0, 2), (2, 9), (1, 1)] {
            for ctr in numbers.reserve(lane, count).unwrap() {
                assert_eq!((ctr.0 - CTR_FIRST) % 3, lane as u64);
                assert!(seen.insert(ctr), "{ctr:?} twice");
            }
        }
    }

    #[test]
    fn sec_06_the_numbers_of_a_group_run_on_whatever_comes_between() {
        let mut groups = GroupNumbers::new(1);
        let mut first = |group| groups.of(GroupId(group)).reserve(0, 1).unwrap().next();
        let begin = Some(Ctr(CTR_FIRST));
        assert_eq!((first(5), first(5)), (begin, Some(Ctr(CTR_FIRST + 1))));
        assert_eq!(first(6), begin);
        assert_eq!(first(5), Some(Ctr(CTR_FIRST + 2)));
        for other in 7..100 {
            assert_eq!(first(other), begin);
        }
        assert_eq!(groups.groups.len(), GROUPS_KEPT);
    }

    #[test]
    fn sec_06_numbers_never_wrap() {
        let mut numbers = Numbers::new(1);
        numbers.set(0, CTR_END - 2);
        assert!(numbers.is_past_soft_limit());
        assert!(numbers.reserve(0, 3).is_none());
        assert_eq!(
            numbers.reserve(0, 2).unwrap().last(),
            Some(Ctr(CTR_END - 1))
        );
        assert!(numbers.reserve(0, 1).is_none());
    }

    fn set() -> LaneSet {
        let certificate = LaneCertificate {
            channel: ChannelId(1),
            term: Term {
                number: 1,
                instance: 1,
            },
            group: GroupId(1),
            follows: None,
            server: crate::ids::ServerId(1),
            server_key: SigningKey::from_seed(&[1; 32]).verifying_key(),
            first_lane: Lane::new(5).unwrap(),
            lanes: 2,
            first_epoch: Epoch(1),
            last_epoch: Epoch(1),
            auth: AuthLevel::Group,
        };
        let secrets = [1, 2].map(|byte| LaneSecret::from_parts([byte; 32], [byte; 12]));
        let signing = Arc::new(SigningKey::from_seed(&[1; 32]));
        LaneSet::new(Epoch(1), &secrets, certificate, Vec::new(), false, &signing).unwrap()
    }

    #[test]
    fn sec_13_a_lane_warns_before_its_limits_and_refuses_at_them() {
        let mut set = set();
        set.set_used(0, LANE_PACKETS_SOFT - 1, 0);
        assert!(!set.is_past_soft_limit(0));
        assert!(set.reserve(0, 1, 1316).is_some() && set.is_past_soft_limit(0));
        assert!(!set.is_past_soft_limit(1), "each lane counts for itself");
        set.set_used(0, LANE_PACKETS_HARD - 2, 0);
        assert!(
            set.reserve(0, 3, 0).is_none(),
            "never more than the hard limit"
        );
        assert!(set.reserve(0, 2, 0).is_some() && set.reserve(0, 1, 0).is_none());
        set.set_used(1, 0, LANE_BYTES_SOFT);
        assert!(set.is_past_soft_limit(1));
        set.set_used(1, 0, LANE_BYTES_HARD - 1);
        assert!(set.reserve(1, 1, 2).is_none() && set.reserve(1, 1, 1).is_some());
    }

    #[test]
    fn md_01_each_lane_seals_under_its_own_key_id() {
        let set = set();
        let lanes = [0, 1].map(|lane| set.kid(lane).unwrap().lane().number());
        assert_eq!(lanes, [5, 6]);
        assert_eq!(set.kid(2), None);
    }
}
