//! Key blocks: the root of an epoch for everybody who is entitled, multicast in band, so that a switch needs no request (INT-05).
//!
//! The master seals the root for the nodes that cover the entitled positions ([`Seal`]); a device opens it with the keys of its [`Path`].
//! How often a block is sent, and whether at all, is a [`Plan`]: it must not cost more than a share of the channel's own bytes.

use std::time::Duration;

use sealcast_crypto::{EpochRoot, NodeKey, RootOf, SigningKey, TreeTop};

use crate::ids::{ChannelId, Epoch, Term};
use crate::key_tree::{Node, Position, Tree};
use crate::wire::codec::{Malformed, Wire};
use crate::wire::control::sign;
use crate::wire::key_block::{ENTRIES_MAX, Entry, KeyBlock};

/// Times that a block is sent before the boundary, at most: each repeat makes its loss less likely.
const AHEAD_MAX: u64 = 5;
/// Shortest pause between two repeats for those who join later.
const REPEAT_MIN: Duration = Duration::from_secs(1);

/// A part without entries: type, version, fields, signature.
const PART_LEN: usize = 2 + 65 + 64;
/// Node and sealed root.
const ENTRY_LEN: usize = 4 + 32;

/// A generation of a channel's tree, as far as a block needs it.
#[derive(Debug)]
pub struct Generation {
    /// Its number.
    pub number: u32,
    /// Its shape.
    pub tree: Tree,
    /// What its node keys come from.
    pub top: TreeTop,
    /// How many of its positions have been given away, from 0 on.
    pub given: u32,
    /// Those that may have no more roots, ascending.
    pub gone: Vec<Position>,
}

/// What is sealed, and by whom.
#[derive(Debug)]
pub struct Seal<'a> {
    /// The channel.
    pub channel: ChannelId,
    /// The master's term.
    pub term: Term,
    /// The epoch.
    pub epoch: Epoch,
    /// Its root.
    pub root: &'a EpochRoot,
    /// The authority key.
    pub key: &'a SigningKey,
}

impl Generation {
    /// The nodes that cover all who are entitled.
    pub fn cover(&self) -> impl Iterator<Item = Node> {
        self.tree.cover(self.given, self.gone.iter().copied())
    }
}

impl Seal<'_> {
    /// The datagrams of the block, for all who are entitled in `generation`.
    #[must_use]
    pub fn block(&self, generation: &Generation) -> Vec<Vec<u8>> {
        let commitment = self.root.prk().commitment(self.channel.0, self.epoch.0);
        let of = RootOf {
            generation: generation.number,
            channel: self.channel.0,
            epoch: self.epoch.0,
            commitment,
        };
        let entry = |Node(node)| Entry {
            node,
            root: generation
                .top
                .node_key(generation.number, node)
                .seal(&of, self.root),
        };
        let entries: Vec<_> = generation.cover().map(entry).collect();
        let part = |entries: &[Entry]| {
            let part = KeyBlock {
                channel: self.channel,
                term: self.term,
                epoch: self.epoch,
                commitment,
                generation: generation.number,
                height: generation.tree.height(),
                entries: entries.to_vec(),
            };
            sign(&part, self.key)
        };
        entries.chunks(ENTRIES_MAX).map(part).collect()
    }
}

/// Bytes of the datagrams of a block that covers so many nodes.
#[must_use]
pub fn size(nodes: usize) -> u64 {
    (nodes.div_ceil(ENTRIES_MAX) * PART_LEN + nodes * ENTRY_LEN) as u64
}

/// How often a block is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Times before the boundary.
    pub ahead: u16,
    /// Times in the life of the epoch, for those who join then.
    pub after: u16,
}

impl Plan {
    /// For a block of `size` bytes on a channel that sends `rate` bytes a second, if the block may cost `permille` of them; nothing, if it
    /// cannot be sent even once.
    #[must_use]
    pub fn new(size: u64, rate: u64, lifetime: Duration, permille: u16) -> Option<Self> {
        let millis = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let of_life = u128::from(rate) * u128::from(millis) / 1000;
        let most = of_life * u128::from(permille) / 1000 / u128::from(size.max(1));
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        // Half for the switch first: whoever misses it asks a key door, whoever joins may wait or ask.
        let ahead = most.div_ceil(2).min(AHEAD_MAX);
        let repeats = millis / u64::try_from(REPEAT_MIN.as_millis()).unwrap_or(u64::MAX);
        let after = (most - ahead).min(repeats);
        let count = |count: u64| u16::try_from(count).unwrap_or(u16::MAX);
        (ahead > 0).then(|| Self {
            ahead: count(ahead),
            after: count(after),
        })
    }

    /// Thousandths of the channel's bytes that the block takes, rounded up.
    #[must_use]
    pub fn share(self, size: u64, rate: u64, lifetime: Duration) -> u64 {
        let sent = u128::from(size) * (u128::from(self.ahead) + u128::from(self.after));
        let of_life = u128::from(rate) * lifetime.as_millis() / 1000;
        u64::try_from((sent * 1000).div_ceil(of_life.max(1))).unwrap_or(u64::MAX)
    }
}

/// Why a part of a key block says nothing to a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotForUs {
    /// It is of another generation, or for other positions.
    Elsewhere,
    /// The root inside is not the one that it names.
    Forged,
}

/// What a device holds of a channel's key tree: its position, and the keys from there to the top.
#[derive(Clone, Debug)]
pub struct Path {
    generation: u32,
    tree: Tree,
    position: Position,
    /// No block of an epoch before this one is for the device: it was there already when the path was given.
    since: Epoch,
    /// From the position up.
    keys: Vec<NodeKey>,
}

impl Path {
    /// Of a position; nothing, if the tree has none such. `since` is the epoch in use now.
    #[must_use]
    pub fn new(generation: &Generation, position: Position, since: Epoch) -> Option<Self> {
        let nodes = generation.tree.path(position)?;
        let key = |Node(node)| generation.top.node_key(generation.number, node);
        Some(Self {
            generation: generation.number,
            tree: generation.tree,
            position,
            since,
            keys: nodes.map(key).collect(),
        })
    }

    /// Generation of the tree.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The first epoch whose blocks are for this device.
    #[must_use]
    pub fn since(&self) -> Epoch {
        self.since
    }

    /// The root in a part that nobody has verified yet. Without the key of the node nobody makes one that opens.
    ///
    /// # Errors
    /// [`NotForUs`].
    pub fn open(&self, part: &KeyBlock) -> Result<EpochRoot, NotForUs> {
        if part.generation != self.generation || part.height != self.tree.height() {
            return Err(NotForUs::Elsewhere);
        }
        let ours = |entry: &&Entry| {
            let under = self.tree.under(Node(entry.node));
            under.is_some_and(|(first, last)| (first..=last).contains(&self.position))
        };
        let entry = part.entries.iter().find(ours);
        let entry = entry.ok_or(NotForUs::Elsewhere)?;
        let above = self.tree.level(Node(entry.node)).map(usize::from);
        let key = above.and_then(|level| self.keys.get(level));
        let of = RootOf {
            generation: self.generation,
            channel: part.channel.0,
            epoch: part.epoch.0,
            commitment: part.commitment,
        };
        key.and_then(|key| key.open(&of, &entry.root))
            .ok_or(NotForUs::Forged)
    }
}

/// As it goes to its device, over a private way.
impl Wire for Path {
    fn encode(&self, out: &mut Vec<u8>) {
        self.generation.encode(out);
        self.tree.height().encode(out);
        self.position.0.encode(out);
        self.since.encode(out);
        for key in &self.keys {
            key.as_bytes().encode(out);
        }
    }

    fn decode(input: &mut &[u8]) -> Result<Self, Malformed> {
        let generation = Wire::decode(input)?;
        let tree = Tree::new(Wire::decode(input)?).ok_or(Malformed)?;
        let position = Position(Wire::decode(input)?);
        let since = Wire::decode(input)?;
        let nodes = tree.path(position).ok_or(Malformed)?;
        let key = |_| Wire::decode(input).map(NodeKey::from_bytes);
        Ok(Self {
            generation,
            tree,
            position,
            since,
            keys: nodes.map(key).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand_chacha::ChaCha8Rng;
    use rand_core::{Rng as _, SeedableRng as _};

    use super::*;
    use crate::wire::control::Unverified;

    const ROOT: EpochRoot = EpochRoot::from_bytes([0x5a; 32]);

    fn generation(number: u32, height: u8, given: u32, gone: &BTreeSet<u32>) -> Generation {
        Generation {
            number,
            tree: Tree::new(height).unwrap(),
            top: TreeTop::from_bytes(&[9; 32]),
            given,
            gone: gone.iter().copied().map(Position).collect(),
        }
    }

    fn block(generation: &Generation, root: &EpochRoot, epoch: u64) -> Vec<Vec<u8>> {
        let seal = Seal {
            channel: ChannelId(7),
            term: Term {
                number: 1,
                instance: 1,
            },
            epoch: Epoch(epoch),
            root,
            key: &SigningKey::from_seed(&[3; 32]),
        };
        seal.block(generation)
    }

    fn parts(generation: &Generation, root: &EpochRoot, epoch: u64) -> Vec<KeyBlock> {
        let parse = |datagram: Vec<u8>| {
            Unverified::<KeyBlock>::parse(&datagram)
                .unwrap()
                .claimed()
                .clone()
        };
        let block = block(generation, root, epoch);
        block.into_iter().map(parse).collect()
    }

    fn length(generation: &Generation) -> u64 {
        let lengths = block(generation, &ROOT, 9);
        lengths.iter().map(|datagram| datagram.len() as u64).sum()
    }

    /// INT-05, SEC-11: everybody who is entitled opens exactly one part, by itself; nobody else opens any.
    #[test]
    fn int_05_sec_11_whoever_is_entitled_opens_one_part_and_nobody_else_any() {
        for seed in 0..40 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let height = 4 + u8::try_from(rng.next_u32() % 6).unwrap();
            let given = 1 + rng.next_u32() % (1 << height);
            let gone = (0..rng.next_u32() % 60)
                .map(|_| rng.next_u32() % given)
                .collect();
            let generation = generation(3, height, given, &gone);
            assert_eq!(length(&generation), size(generation.cover().count()));
            let parts = parts(&generation, &ROOT, 9);
            for position in 0..1 << height {
                let path = Path::new(&generation, Position(position), Epoch(1)).unwrap();
                let opened = parts.iter().map(|part| path.open(part));
                let roots: Vec<_> = opened
                    .filter(|opened| !matches!(opened, Err(NotForUs::Elsewhere)))
                    .collect();
                if position < given && !gone.contains(&position) {
                    assert_eq!(roots, [Ok(ROOT)], "seed {seed}, position {position}");
                } else {
                    assert_eq!(roots, [], "seed {seed}, position {position}");
                }
            }
        }
    }

    /// What was recorded before somebody came does not open for him, nor what was made after he went, with the keys that he has.
    #[test]
    fn int_05_a_newcomer_opens_no_recorded_block_of_before_and_another_generation_none() {
        let none = BTreeSet::new();
        let before = parts(&generation(1, 8, 100, &none), &ROOT, 5);
        let after = generation(1, 8, 101, &none);
        let newcomer = Path::new(&after, Position(100), Epoch(6)).unwrap();
        assert!(
            before
                .iter()
                .all(|part| newcomer.open(part) == Err(NotForUs::Elsewhere))
        );
        let opens =
            |path: &Path, parts: &[KeyBlock]| parts.iter().any(|part| path.open(part).is_ok());
        assert!(opens(&newcomer, &parts(&after, &ROOT, 6)));
        let next = generation(2, 8, 101, &none);
        assert!(!opens(&newcomer, &parts(&next, &ROOT, 6)));
    }

    /// An entry that somebody of another node made, or that is of another epoch, opens nothing.
    #[test]
    fn sec_10_a_root_that_is_not_the_committed_one_is_forged() {
        let generation = generation(1, 8, 256, &BTreeSet::from([3, 90]));
        let path = Path::new(&generation, Position(200), Epoch(1)).unwrap();
        let part = &parts(&generation, &ROOT, 5)[0];
        assert_eq!(path.open(part), Ok(ROOT));
        let mut altered = part.clone();
        altered
            .entries
            .iter_mut()
            .for_each(|entry| entry.root[0] ^= 1);
        let later = KeyBlock {
            epoch: Epoch(6),
            ..part.clone()
        };
        for wrong in [altered, later] {
            assert_eq!(path.open(&wrong), Err(NotForUs::Forged));
        }
    }

    #[test]
    fn a_path_travels_and_what_cannot_be_is_malformed() {
        let generation = generation(4, 5, 32, &BTreeSet::new());
        let path = Path::new(&generation, Position(17), Epoch(44)).unwrap();
        let mut bytes = Vec::new();
        path.encode(&mut bytes);
        assert_eq!(bytes.len(), 4 + 1 + 4 + 8 + 6 * 32);
        let back = Path::decode_all(&bytes).unwrap();
        assert_eq!((back.generation(), back.since()), (4, Epoch(44)));
        assert_eq!(back.open(&parts(&generation, &ROOT, 50)[0]), Ok(ROOT));
        assert!(Path::decode_all(&bytes[..bytes.len() - 1]).is_err());
        bytes[4] = 31;
        assert!(Path::decode_all(&bytes).is_err(), "too high");
        bytes[4..9].copy_from_slice(&[5, 0, 0, 0, 32]);
        assert!(Path::decode_all(&bytes).is_err(), "no such position");
        assert!(!format!("{path:?}").contains("9, 9"));
    }

    /// The block never takes more than its share of the channel's bytes, and is off where it could not be sent once.
    #[test]
    fn int_05_a_plan_keeps_to_the_share_of_the_channel() {
        let minute = Duration::from_secs(60);
        // 4 Mbit/s, 60 s, 1 %: 300 kB. A hundred that are gone of a million take about 54 kB, ten thousand 2.9 MB.
        let rate = 500_000;
        let of = |size| Plan::new(size, rate, minute, 10);
        assert_eq!(of(54_000), Some(Plan { ahead: 3, after: 2 }));
        assert_eq!(of(300_000), Some(Plan { ahead: 1, after: 0 }));
        assert_eq!(of(300_001), None);
        assert_eq!(
            of(200),
            Some(Plan {
                ahead: 5,
                after: 60
            })
        );
        assert_eq!(Plan::new(1, 0, minute, 10), None, "nothing is sent");
        assert_eq!(Plan::new(1, rate, minute, 0), None, "nothing is allowed");
        for seed in 0..2000 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut below = |bound: u64| rng.next_u64() % bound;
            let (size, rate) = (1 + below(1 << (1 + seed % 30)), below(1 << 28));
            let lifetime = Duration::from_millis(500 + below(100_000));
            let permille = u16::try_from(below(1001)).unwrap();
            if let Some(plan) = Plan::new(size, rate, lifetime, permille) {
                let share = plan.share(size, rate, lifetime);
                assert!(share <= permille.into(), "seed {seed}: {plan:?}, {share}");
            }
        }
    }
}
