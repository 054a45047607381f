//! What a sending core says of its packets: their digests, in manifests that the delivery server signs (MD-03, SEC-05). Each lane has
//! manifests of its own, made on the core that seals.
//!
//! A manifest leaves twice: at once, and again [`ManifestConfig::apart`] later, so that one loss does not take both.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sealcast_crypto::{LaneSecret, ManifestKey, PacketDigest, PacketHasher, SigningKey, Span};

use crate::ids::{Ctr, GroupId, Kid, Time};
use crate::wire::manifest::{DIGESTS_MAX, LISTS_MAX, List, sign};

/// Packets under one signature, at most.
pub const PACKETS_PER_SIGNATURE_MAX: u16 = 512;
/// Second copies that wait; more leave early.
const LATER_MAX: usize = 1024;

const _: () = assert!(PACKETS_PER_SIGNATURE_MAX as usize == DIGESTS_MAX * LISTS_MAX);

/// When manifests are made. A receiver that verifies first delivers so much later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ManifestConfig {
    packets: u16,
    age: Duration,
    apart: Duration,
}

impl Default for ManifestConfig {
    /// A signature for 64 packets, or for those of 20 ms; the second copy 5 ms after the first.
    fn default() -> Self {
        Self {
            packets: 64,
            age: Duration::from_millis(20),
            apart: Duration::from_millis(5),
        }
    }
}

impl ManifestConfig {
    /// A signature for `packets`, 1 to [`PACKETS_PER_SIGNATURE_MAX`], or when the first of them is `age` old; the second copy leaves
    /// `apart` after the first. `None` if there are too many packets, or none.
    #[must_use]
    pub fn new(packets: u16, age: Duration, apart: Duration) -> Option<Self> {
        (1..=PACKETS_PER_SIGNATURE_MAX)
            .contains(&packets)
            .then_some(Self {
                packets,
                age,
                apart,
            })
    }

    /// The same with another number of packets under one signature, brought into its bounds.
    #[must_use]
    pub fn with_packets(self, packets: u16) -> Self {
        let packets = packets.clamp(1, PACKETS_PER_SIGNATURE_MAX);
        Self { packets, ..self }
    }

    /// Packets under one signature.
    #[must_use]
    pub fn packets(&self) -> u16 {
        self.packets
    }
}

/// What it takes to vouch for the packets of one lane in one epoch.
#[derive(Debug)]
pub struct Prover {
    kid: Kid,
    group: GroupId,
    /// Lanes of the stripe group: the numbers of one lane are so far apart.
    stride: u64,
    key: ManifestKey,
    signing: Arc<SigningKey>,
}

impl Prover {
    pub(super) fn new(
        kid: Kid,
        group: GroupId,
        lanes: u8,
        secret: &LaneSecret,
        signing: &Arc<SigningKey>,
    ) -> Self {
        Self {
            kid,
            group,
            stride: lanes.into(),
            key: secret.manifest_key(),
            signing: Arc::clone(signing),
        }
    }
}

/// Totals of one sending core.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ManifestCounts {
    /// Manifests, each counted once.
    pub manifests: u64,
    /// Signatures.
    pub signatures: u64,
    /// Bytes of the datagrams, both copies.
    pub bytes: u64,
}

impl ManifestCounts {
    /// The sum.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            manifests: self.manifests + other.manifests,
            signatures: self.signatures + other.signatures,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// Packets that no signature covers yet.
#[derive(Debug)]
struct Open {
    prover: Arc<Prover>,
    lists: Vec<List>,
    packets: u16,
    /// The number of the lane's next packet.
    next: u64,
    since: Time,
}

/// The manifests of one sending core.
#[derive(Debug)]
pub struct Manifests {
    config: ManifestConfig,
    hasher: PacketHasher,
    open: Option<Open>,
    /// To be sent now.
    ready: VecDeque<Vec<u8>>,
    /// Second copies, and when they are due.
    later: VecDeque<(Time, Vec<u8>)>,
    counts: ManifestCounts,
}

impl Manifests {
    /// None yet.
    #[must_use]
    pub fn new(config: ManifestConfig) -> Self {
        Self {
            config,
            hasher: PacketHasher::default(),
            open: None,
            ready: VecDeque::new(),
            later: VecDeque::new(),
            counts: ManifestCounts::default(),
        }
    }

    /// Takes a batch in that was sealed, before it is sent: what was sent must not come before what vouches for it for long.
    pub fn sealed(&mut self, now: Time, prover: &Arc<Prover>, buffer: &[u8], spans: &[Span]) {
        let hasher = self.hasher;
        let mut numbers = spans.iter().map(|span| span.ctr);
        let packets = spans.iter().map(|span| &buffer[span.offset..span.end()]);
        hasher.digest(packets, |digest| {
            if let Some(ctr) = numbers.next() {
                self.add(now, prover, ctr, &digest);
            }
        });
    }

    fn add(&mut self, now: Time, prover: &Arc<Prover>, ctr: u64, digest: &PacketDigest) {
        // Another lane, epoch or run of numbers is another list's.
        let ends = |open: &Open| open.next != ctr || !Arc::ptr_eq(&open.prover, prover);
        if self.open.as_ref().is_some_and(ends) {
            self.close(now);
        }
        let open = self.open.get_or_insert_with(|| Open {
            prover: Arc::clone(prover),
            lists: Vec::with_capacity(LISTS_MAX),
            packets: 0,
            next: ctr,
            since: now,
        });
        match open.lists.last_mut() {
            Some(list) if list.len() < DIGESTS_MAX => list.push(digest),
            _ => {
                let mut list = List::new(prover.kid, Ctr(ctr));
                list.push(digest);
                open.lists.push(list);
            }
        }
        open.next = ctr + prover.stride;
        open.packets += 1;
        if open.packets >= self.config.packets {
            self.close(now);
        }
    }

    /// Signs what is open.
    fn close(&mut self, now: Time) {
        let Some(Open { prover, lists, .. }) = self.open.take() else {
            return;
        };
        self.counts.signatures += 1;
        let again = now.after(self.config.apart);
        for datagram in sign(lists, prover.group, &prover.signing, &prover.key) {
            self.counts.manifests += 1;
            self.later.push_back((again, datagram.clone()));
            self.ready.push_back(datagram);
        }
        while self.later.len() > LATER_MAX {
            self.ready
                .extend(self.later.pop_front().map(|(_, datagram)| datagram));
        }
    }

    /// Lets time pass: what has waited long enough is signed, and second copies become due.
    pub fn poll(&mut self, now: Time) {
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.since.after(self.config.age) <= now)
        {
            self.close(now);
        }
        while self.later.front().is_some_and(|&(due, _)| due <= now) {
            self.ready
                .extend(self.later.pop_front().map(|(_, datagram)| datagram));
        }
    }

    /// The stream ends: what is open is signed, and all copies are due.
    pub fn finish(&mut self, now: Time) {
        self.close(now);
        self.ready
            .extend(self.later.drain(..).map(|(_, datagram)| datagram));
    }

    /// When [`Manifests::poll`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        let age = self
            .open
            .as_ref()
            .map(|open| open.since.after(self.config.age));
        let again = self.later.front().map(|&(due, _)| due);
        [age, again].into_iter().flatten().min()
    }

    /// The next datagram to send, if it has at most `longest` bytes.
    pub fn poll_datagram(&mut self, longest: usize) -> Option<Vec<u8>> {
        let datagram = self
            .ready
            .pop_front_if(|datagram| datagram.len() <= longest)?;
        self.counts.bytes += datagram.len() as u64;
        Some(datagram)
    }

    /// Totals.
    #[must_use]
    pub fn counts(&self) -> ManifestCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use sealcast_crypto::{BATCH_MAX, SealKey, TAG_LEN};

    use super::*;
    use crate::ids::{ChannelId, Epoch, Lane};
    use crate::limits::{CTR_FIRST, HEADER_LEN};
    use crate::wire::manifest::{MANIFEST_MAX, Unproven};

    const GROUP: GroupId = GroupId(5);
    const LANES: u8 = 3;

    fn secret() -> LaneSecret {
        LaneSecret::from_parts([1; 32], [2; 12])
    }

    fn prover(epoch: u64) -> Arc<Prover> {
        let kid = Kid::new(Lane::new(1).unwrap(), ChannelId(7), Epoch(epoch));
        Arc::new(Prover::new(
            kid,
            GROUP,
            LANES,
            &secret(),
            &Arc::new(SigningKey::from_seed(&[3; 32])),
        ))
    }

    fn ms(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    /// A sealed batch of packets with these numbers.
    fn batch(numbers: impl Iterator<Item = u64>) -> (Vec<u8>, Vec<Span>) {
        let (mut buffer, mut spans) = (Vec::new(), Vec::new());
        for ctr in numbers {
            spans.push(Span {
                offset: buffer.len(),
                header_len: HEADER_LEN,
                payload_len: 20,
                ctr,
            });
            buffer.extend_from_slice(&[ctr.to_le_bytes()[0]; HEADER_LEN + 20 + TAG_LEN]);
        }
        SealKey::new(&secret()).seal(&mut buffer, &spans);
        (buffer, spans)
    }

    fn seal(manifests: &mut Manifests, now: Time, prover: &Arc<Prover>, first: u64, count: u64) {
        let numbers: Vec<_> = (first..first + count)
            .map(|index| CTR_FIRST + index * u64::from(LANES))
            .collect();
        for part in numbers.chunks(BATCH_MAX) {
            let (buffer, spans) = batch(part.iter().copied());
            manifests.sealed(now, prover, &buffer, &spans);
        }
    }

    /// What is ready: (first packet's index, digests, epoch).
    fn ready(manifests: &mut Manifests) -> Vec<(u64, usize, u32)> {
        let said = |datagram: Vec<u8>| {
            let member = Unproven::parse(&datagram)
                .unwrap()
                .of_member(&secret().manifest_key())
                .unwrap();
            assert!(
                member
                    .statement()
                    .holds(GROUP, &SigningKey::from_seed(&[3; 32]).verifying_key())
            );
            let kid = Unproven::parse(&datagram).unwrap().kid;
            (
                (member.first().0 - CTR_FIRST) / u64::from(LANES),
                member.digests().len(),
                kid.epoch_low(),
            )
        };
        std::iter::from_fn(|| manifests.poll_datagram(MANIFEST_MAX))
            .map(said)
            .collect()
    }

    fn config(packets: u16) -> ManifestConfig {
        ManifestConfig::new(packets, Duration::from_millis(20), Duration::from_millis(5)).unwrap()
    }

    #[test]
    fn sec_05_every_packet_is_listed_once_and_every_manifest_leaves_twice() {
        let (mut manifests, prover) = (Manifests::new(config(64)), prover(1));
        for turn in 0..4 {
            seal(&mut manifests, ms(turn), &prover, turn * 48, 48);
        }
        assert_eq!(
            ready(&mut manifests),
            [(0, 64, 1), (64, 64, 1), (128, 64, 1)]
        );
        assert_eq!(
            manifests.next_timeout(),
            Some(ms(6)),
            "the first was signed at 1 ms"
        );
        manifests.poll(ms(6));
        assert_eq!(ready(&mut manifests), [(0, 64, 1)]);
        manifests.poll(ms(8));
        assert_eq!(ready(&mut manifests), [(64, 64, 1), (128, 64, 1)]);
        assert_eq!(manifests.next_timeout(), None);
        assert_eq!(
            (manifests.counts().manifests, manifests.counts().signatures),
            (3, 3)
        );
    }

    #[test]
    fn one_signature_covers_up_to_512_packets() {
        let (mut manifests, prover) = (Manifests::new(config(512)), prover(1));
        seal(&mut manifests, ms(0), &prover, 0, 511);
        assert_eq!(ready(&mut manifests), []);
        seal(&mut manifests, ms(0), &prover, 511, 1);
        assert_eq!(
            ready(&mut manifests),
            (0..8).map(|list| (list * 64, 64, 1)).collect::<Vec<_>>()
        );
        assert_eq!(manifests.counts().signatures, 1);
        assert!(ManifestConfig::new(513, Duration::ZERO, Duration::ZERO).is_none());
        assert!(ManifestConfig::new(0, Duration::ZERO, Duration::ZERO).is_none());
    }

    #[test]
    fn time_another_key_and_a_gap_end_a_list() {
        let (mut manifests, first, second) = (Manifests::new(config(64)), prover(1), prover(2));
        seal(&mut manifests, ms(0), &first, 0, 5);
        assert_eq!(manifests.next_timeout(), Some(ms(20)));
        manifests.poll(ms(19));
        assert_eq!(ready(&mut manifests), []);
        manifests.poll(ms(20));
        assert_eq!(ready(&mut manifests), [(0, 5, 1)]);
        seal(&mut manifests, ms(21), &first, 5, 5);
        seal(&mut manifests, ms(22), &second, 10, 5);
        assert_eq!(ready(&mut manifests), [(5, 5, 1)]);
        seal(&mut manifests, ms(23), &second, 20, 5);
        assert_eq!(ready(&mut manifests), [(10, 5, 2)]);
        manifests.finish(ms(24));
        assert_eq!(
            ready(&mut manifests).len(),
            1 + 4,
            "the last one, and all second copies"
        );
        assert_eq!(manifests.next_timeout(), None);
    }

    /// Issue 9: at most 1.6 % of bytes sent once, 3 % twice, of 1316-byte payloads.
    #[test]
    fn manifests_cost_few_bytes() {
        for packets in [64, 512] {
            let (mut manifests, prover) = (Manifests::new(config(packets)), prover(1));
            seal(&mut manifests, ms(0), &prover, 0, 4096);
            manifests.finish(ms(0));
            ready(&mut manifests);
            let twice = manifests.counts().bytes as f64 / (4096.0 * 1344.0);
            assert!(twice / 2.0 <= 0.016 && twice <= 0.03, "{packets}: {twice}");
        }
    }

    #[test]
    fn second_copies_are_bounded() {
        let (mut manifests, prover) = (Manifests::new(config(1)), prover(1));
        seal(&mut manifests, ms(0), &prover, 0, 3000);
        assert_eq!(manifests.later.len(), LATER_MAX);
        assert_eq!(ready(&mut manifests).len(), 3000 + 3000 - LATER_MAX);
    }
}
