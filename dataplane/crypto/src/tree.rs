//! Keys of a channel's key tree: from the secret of its top to the keys of its nodes, and a root sealed for all who have a node's key. HKDF
//! (RFC 5869) with SHA-512, as everywhere here.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::kdf::{Commitment, EpochRoot, Prk};

const KEY_LEN: usize = 32;

/// What all node keys of a tree come from; only the master has it.
pub struct TreeTop(Prk);

/// What devices under a node share. Whoever has it knows nothing of any other node.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct NodeKey([u8; KEY_LEN]);

/// The root of an epoch, sealed for those who have a node's key. Who opens it knows by the commitment that it is the right one.
pub type SealedRoot = [u8; KEY_LEN];

/// Which root it is. Each is sealed under a key of its own, for the commitment is of one root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RootOf {
    /// The tree's generation.
    pub generation: u32,
    /// The channel.
    pub channel: u16,
    /// The epoch.
    pub epoch: u64,
    /// What fixes the root.
    pub commitment: Commitment,
}

impl TreeTop {
    /// Takes 32 bytes, which must be random.
    #[must_use]
    pub fn from_bytes(secret: &[u8; KEY_LEN]) -> Self {
        Self(Prk::extract(secret))
    }

    /// The key of a node of a generation.
    #[must_use]
    pub fn node_key(&self, generation: u32, node: u32) -> NodeKey {
        let mut key = NodeKey([0; KEY_LEN]);
        let label: [&[u8]; 3] = [
            b"sealcast tree node",
            &generation.to_be_bytes(),
            &node.to_be_bytes(),
        ];
        self.0.expand(&label, &mut key.0);
        key
    }
}

impl NodeKey {
    /// Takes a key as it came over a private way.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Seals a root for everybody under this node.
    #[must_use]
    pub fn seal(&self, of: &RootOf, root: &EpochRoot) -> SealedRoot {
        let mut sealed = self.mask(of);
        xor(&mut sealed, root.as_bytes());
        sealed
    }

    /// Opens what [`NodeKey::seal`] made; nothing, if it is not the root of the commitment.
    #[must_use]
    pub fn open(&self, of: &RootOf, sealed: &SealedRoot) -> Option<EpochRoot> {
        let mut bytes = self.mask(of);
        xor(&mut bytes, sealed);
        let root = EpochRoot::from_bytes(bytes);
        bytes.zeroize();
        let commitment = root.prk().commitment(of.channel, of.epoch);
        (commitment == of.commitment).then_some(root)
    }

    /// As long as a root, and for one root only: the commitment is in it.
    fn mask(&self, of: &RootOf) -> [u8; KEY_LEN] {
        let mut mask = [0; KEY_LEN];
        let label: [&[u8]; 5] = [
            b"sealcast tree root",
            &of.generation.to_be_bytes(),
            &of.channel.to_be_bytes(),
            &of.epoch.to_be_bytes(),
            of.commitment.as_bytes(),
        ];
        Prk::extract(&self.0).expand(&label, &mut mask);
        mask
    }
}

fn xor(bytes: &mut [u8; KEY_LEN], with: &[u8; KEY_LEN]) {
    for (byte, with) in bytes.iter_mut().zip(with) {
        *byte ^= with;
    }
}

impl fmt::Debug for TreeTop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TreeTop(..)")
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: EpochRoot = EpochRoot::from_bytes([0xab; KEY_LEN]);

    fn top() -> TreeTop {
        TreeTop::from_bytes(&std::array::from_fn(|index| u8::try_from(index).unwrap()))
    }

    fn of(generation: u32, channel: u16, epoch: u64) -> RootOf {
        RootOf {
            generation,
            channel,
            epoch,
            commitment: ROOT.prk().commitment(channel, epoch),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Against HMAC-SHA-512 of another library, put together by RFC 5869.
    #[test]
    fn int_05_known_answers() {
        let of = of(3, 0x1234, 9);
        let key = top().node_key(3, 0x0010_0007);
        assert_eq!(
            hex(key.as_bytes()),
            "4a93ee188a8079aafa1d37a33c4b5bf0439ef72e21e4b352082237cb669c3ac7"
        );
        assert_eq!(
            hex(of.commitment.as_bytes()),
            "f480b53d5427347d0d65ec07d49a9f24900779f6aeda8f852f33d59eeea32fa7"
        );
        assert_eq!(
            hex(&key.seal(&of, &ROOT)),
            "051244d23b38a46f170e32ad275d4debf5e01a8fbae31d64a46f35fab9f19ea2"
        );
    }

    /// INT-05, SEC-11: with the key of any other node, or for any other root, nothing opens.
    #[test]
    fn int_05_sec_11_only_the_key_of_the_node_opens_only_its_root() {
        let (top, it) = (top(), of(3, 1, 9));
        let key = top.node_key(3, 77);
        let sealed = key.seal(&it, &ROOT);
        assert!(key.open(&it, &sealed).is_some_and(|root| root == ROOT));
        for other in [
            top.node_key(3, 76),
            top.node_key(3, 38),
            top.node_key(2, 77),
        ] {
            assert!(other.open(&it, &sealed).is_none());
        }
        for other in [of(2, 1, 9), of(3, 2, 9), of(3, 1, 10)] {
            assert!(key.open(&other, &sealed).is_none());
            assert_ne!(key.seal(&other, &ROOT), sealed);
        }
        // Another root of the same epoch has a mask of its own: both together tell nothing of either.
        let second = EpochRoot::from_bytes([0xac; KEY_LEN]);
        let instead = RootOf {
            commitment: second.prk().commitment(1, 9),
            ..it
        };
        let mut both = key.seal(&instead, &second);
        xor(&mut both, &sealed);
        assert_ne!(both, [0xab ^ 0xac; KEY_LEN]);
        for bit in 0..256 {
            let mut altered = sealed;
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(&it, &altered).is_none());
        }
    }
}
