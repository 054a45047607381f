//! KeyBlock: a part of a key block, multicast beside the packets and signed by the channel's authority (INT-05, SEC-10). It holds the
//! root of one epoch, sealed for some nodes of the channel's key tree; whoever is under one of them needs no other part.

use sealcast_crypto::{Commitment, SealedRoot};

use super::codec::wire_struct;
use super::control::{ControlType, Signed};
use crate::ids::{ChannelId, Epoch, Term};
use crate::key_tree::{Node, Tree};

/// Entries of one part, at most: with them it has 1211 bytes, which every IPv6 path carries.
pub const ENTRIES_MAX: usize = 30;

/// The root, for everybody under one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Whose key opens it.
    pub node: u32,
    /// The root, sealed.
    pub root: SealedRoot,
}

wire_struct!(Entry { node, root });

/// One part of a key block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyBlock {
    /// The channel.
    pub channel: ChannelId,
    /// The master that made it.
    pub term: Term,
    /// The epoch whose root it holds.
    pub epoch: Epoch,
    /// What fixes that root.
    pub commitment: Commitment,
    /// The generation of the tree.
    pub generation: u32,
    /// The tree's height.
    pub height: u8,
    /// One for each node, in the order of their positions.
    pub entries: Vec<Entry>,
}

wire_struct!(KeyBlock {
    channel,
    term,
    epoch,
    commitment,
    generation,
    height,
    entries
});

impl Signed for KeyBlock {
    const TYPE: ControlType = ControlType::KeyBlock;

    fn channel(&self) -> ChannelId {
        self.channel
    }

    fn plausible(&self) -> bool {
        let Some(tree) = Tree::new(self.height) else {
            return false;
        };
        self.epoch.0 > 0
            && (1..=ENTRIES_MAX).contains(&self.entries.len())
            && self
                .entries
                .iter()
                .all(|entry| tree.under(Node(entry.node)).is_some())
    }
}

#[cfg(test)]
mod tests {
    use sealcast_crypto::{EpochRoot, SigningKey};

    use super::*;
    use crate::wire::Malformed;
    use crate::wire::control::{Unverified, sign};

    fn part(entries: usize) -> KeyBlock {
        let node = |index: usize| u32::try_from((1 << 20) + index).unwrap();
        KeyBlock {
            channel: ChannelId(0x1234),
            term: Term {
                number: 5,
                instance: 6,
            },
            epoch: Epoch(9),
            commitment: EpochRoot::from_bytes([1; 32]).prk().commitment(0x1234, 9),
            generation: 3,
            height: 20,
            entries: (0..entries)
                .map(|index| Entry {
                    node: node(index),
                    root: [7; 32],
                })
                .collect(),
        }
    }

    #[test]
    fn a_key_block_lies_as_the_wire_format_says() {
        let datagram = sign(&part(2), &SigningKey::from_seed(&[1; 32]));
        assert_eq!(datagram[..4], [0x04, 1, 0x12, 0x34]);
        assert_eq!(
            datagram[4..20],
            [[0, 0, 0, 0, 0, 0, 0, 5], [0, 0, 0, 0, 0, 0, 0, 6]].concat()
        );
        assert_eq!(datagram[20..28], [0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(datagram[28..60], *part(0).commitment.as_bytes());
        assert_eq!(datagram[60..67], [0, 0, 0, 3, 20, 0, 2]);
        assert_eq!(datagram[67..71], [0, 0x10, 0, 0]);
        assert_eq!(datagram[71..103], [7; 32]);
        assert_eq!(datagram.len(), 67 + 2 * 36 + 64);
        let longest = sign(&part(ENTRIES_MAX), &SigningKey::from_seed(&[1; 32]));
        assert_eq!(longest.len(), 1211);
    }

    /// SEC-10: nothing of it is used before the signature is checked.
    #[test]
    fn sec_10_int_05_an_altered_key_block_does_not_verify() {
        let key = SigningKey::from_seed(&[1; 32]);
        let datagram = sign(&part(3), &key);
        let parsed = Unverified::<KeyBlock>::parse(&datagram).unwrap();
        assert_eq!(parsed.verify(&key.verifying_key()).unwrap(), part(3));
        for index in 2..datagram.len() {
            let mut altered = datagram.clone();
            altered[index] ^= 1;
            let verified = Unverified::<KeyBlock>::parse(&altered)
                .map(|parsed| parsed.verify(&key.verifying_key()).is_ok());
            assert_ne!(verified, Ok(true), "byte {index}");
        }
    }

    #[test]
    fn what_cannot_be_is_malformed() {
        let key = SigningKey::from_seed(&[1; 32]);
        let parse = |part: &KeyBlock| Unverified::<KeyBlock>::parse(&sign(part, &key)).map(|_| ());
        assert_eq!(parse(&part(1)), Ok(()));
        for wrong in [
            part(0),
            part(ENTRIES_MAX + 1),
            KeyBlock {
                epoch: Epoch(0),
                ..part(1)
            },
            KeyBlock {
                height: 31,
                ..part(1)
            },
            KeyBlock {
                height: 19,
                ..part(1)
            },
        ] {
            assert_eq!(parse(&wrong), Err(Malformed));
        }
    }
}
