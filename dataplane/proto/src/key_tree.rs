//! The key tree of a channel: which nodes cover those who may have the next root, and nobody else (MV-15; the complete subtree method of Naor,
//! Naor and Lotspiech, 2001).
//!
//! A tree of height H has 2^H positions, its leaves. Positions are given away one after the other, and each once. Whoever has a position has the keys
//! of the nodes on its path to the top; what is sealed for a node can be opened by all positions under it. The cover of some positions are the fewest
//! nodes under which they all are, and no other one is.

/// Height of the highest tree: positions are numbers of 30 bits, nodes of 31.
pub const HEIGHT_MAX: u8 = 30;

/// A place at the bottom of a tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Position(pub u32);

/// A node: 1 is the top, 2n and 2n + 1 are under n, and position p of a tree of height H is 2^H + p.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Node(pub u32);

/// The shape of a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tree {
    height: u8,
}

impl Tree {
    /// Of this height; nothing, if it is above [`HEIGHT_MAX`].
    #[must_use]
    pub fn new(height: u8) -> Option<Self> {
        (height <= HEIGHT_MAX).then_some(Self { height })
    }

    /// Its height.
    #[must_use]
    pub fn height(self) -> u8 {
        self.height
    }

    /// How many positions it has.
    #[must_use]
    pub fn positions(self) -> u32 {
        1 << self.height
    }

    /// The nodes from a position to the top; nothing, if there is no such position.
    #[must_use]
    pub fn path(self, position: Position) -> Option<impl Iterator<Item = Node> + Clone> {
        let leaf = (position.0 < self.positions()).then(|| self.positions() + position.0)?;
        Some((0..=self.height).map(move |level| Node(leaf >> level)))
    }

    /// How far above the positions a node is; nothing, if there is no such node.
    #[must_use]
    pub fn level(self, node: Node) -> Option<u8> {
        let depth = u8::try_from(node.0.checked_ilog2()?).ok()?;
        self.height.checked_sub(depth)
    }

    /// The positions under a node, first and last; nothing, if there is no such node.
    #[must_use]
    pub fn under(self, node: Node) -> Option<(Position, Position)> {
        let level = self.level(node)?;
        let first = (node.0 << level) - self.positions();
        Some((Position(first), Position(first + ((1 << level) - 1))))
    }

    /// The cover of positions below `given` but `without`, which are ascending; its nodes in the order of their positions.
    pub fn cover(
        self,
        given: u32,
        without: impl IntoIterator<Item = Position>,
    ) -> impl Iterator<Item = Node> {
        let given = given.min(self.positions());
        let gaps = without
            .into_iter()
            .map(|Position(gone)| gone)
            .take_while(move |gone| *gone < given)
            .chain(std::iter::once(given))
            .scan(0, |from, gone| {
                let run = (*from, gone);
                *from = gone.saturating_add(1);
                Some(run)
            });
        gaps.flat_map(move |(from, until)| self.cover_of_run(from, until))
    }

    /// The cover of positions `from` to below `until`.
    fn cover_of_run(self, mut from: u32, until: u32) -> impl Iterator<Item = Node> {
        std::iter::from_fn(move || {
            let left = until.checked_sub(from).filter(|left| *left > 0)?;
            // The highest node that begins here and does not reach beyond the end.
            let begins = from.trailing_zeros().min(self.height.into());
            let level = begins.min(left.ilog2());
            let node = Node((self.positions() + from) >> level);
            from += 1 << level;
            Some(node)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand_chacha::ChaCha8Rng;
    use rand_core::{Rng as _, SeedableRng as _};

    use super::*;

    fn cover(height: u8, given: u32, without: &BTreeSet<u32>) -> Vec<Node> {
        let without = without.iter().map(|gone| Position(*gone));
        Tree::new(height).unwrap().cover(given, without).collect()
    }

    /// MV-15: everybody who is in it is in it once, nobody else is, and with fewer nodes it cannot be done: no two of them are all that is under
    /// another.
    #[test]
    fn mv_15_a_cover_has_everybody_once_nobody_else_and_no_node_too_many() {
        for seed in 0..500 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut below = |bound: u32| rng.next_u32() % bound;
            let height = u8::try_from(below(10)).unwrap();
            let tree = Tree::new(height).unwrap();
            let given = below(tree.positions() + 1);
            let gone = below(tree.positions() + 1);
            let without: BTreeSet<_> = (0..gone).map(|_| below(tree.positions())).collect();
            let nodes = cover(height, given, &without);
            let ranges = nodes.iter().map(|node| tree.under(*node).unwrap());
            let covered = ranges.flat_map(|(first, last)| first.0..=last.0);
            let wanted = (0..given).filter(|position| !without.contains(position));
            assert!(covered.eq(wanted), "seed {seed}: in order, each once");
            let pair = |pair: &[Node; 2]| pair[0].0.is_multiple_of(2) && pair[0].0 + 1 == pair[1].0;
            assert!(!nodes.array_windows().any(pair), "seed {seed}: {nodes:?}");
        }
    }

    #[test]
    fn mv_15_a_position_opens_what_is_sealed_for_a_node_of_its_path_only() {
        let tree = Tree::new(4).unwrap();
        for position in 0..16 {
            let path: BTreeSet<_> = tree.path(Position(position)).unwrap().collect();
            assert_eq!(path.len(), 5);
            for node in (1..32).map(Node) {
                let (first, last) = tree.under(node).unwrap();
                assert_eq!(path.contains(&node), (first.0..=last.0).contains(&position));
            }
        }
        assert!(tree.path(Position(16)).is_none());
        assert!(tree.under(Node(0)).is_none() && tree.under(Node(32)).is_none());
    }

    #[test]
    fn a_cover_is_as_small_as_it_is_known_to_be() {
        let none = BTreeSet::new();
        assert_eq!(cover(20, 1 << 20, &none), [Node(1)]);
        assert_eq!(cover(20, 0, &none), []);
        assert_eq!(cover(20, 1, &none), [Node(1 << 20)]);
        // One that is gone leaves a node on each level.
        assert_eq!(cover(20, 1 << 20, &BTreeSet::from([77])).len(), 20);
        // Spread evenly, r that are gone leave r log2(n / r) nodes, which is the most there can be.
        let spread: BTreeSet<_> = (0..1 << 10).map(|index| index << 10).collect();
        assert_eq!(cover(20, 1 << 20, &spread).len(), 10 << 10);
        // Side by side they leave hardly more than one.
        let cluster: BTreeSet<_> = (5000..15_000).collect();
        assert!(cover(20, 1 << 20, &cluster).len() < 40);
        let highest = Tree::new(HEIGHT_MAX).unwrap();
        assert_eq!(highest.cover(u32::MAX, []).collect::<Vec<_>>(), [Node(1)]);
        assert!(Tree::new(HEIGHT_MAX + 1).is_none());
    }
}
