//! Key blocks of a channel's key tree with the device in it.

use sealcast_crypto::TreeTop;
use sealcast_proto::ids::Epoch;
use sealcast_proto::key_block::{Generation, Path, Seal};
use sealcast_proto::key_tree::{Position, Tree};

use super::{CHANNEL, TERM, key, root};

/// Where the device is in the channel's key tree.
const POSITION: Position = Position(4);

/// A tree in which it may have roots, or not.
fn generation(gone: bool) -> Generation {
    Generation {
        number: 1,
        tree: Tree::new(6).expect("within bounds"),
        top: TreeTop::from_bytes(&[9; 32]),
        given: 40,
        gone: [Position(2), POSITION][..1 + usize::from(gone)].to_vec(),
    }
}

/// What the device holds of it.
pub fn path() -> Path {
    Path::new(&generation(false), POSITION, Epoch(0)).expect("in the tree")
}

/// The block with the root of an epoch.
pub fn key_block(epoch: u8, gone: bool) -> Vec<Vec<u8>> {
    let seal = Seal {
        channel: CHANNEL,
        term: TERM,
        epoch: Epoch(epoch.max(1).into()),
        root: &root(epoch.max(1)),
        key: &key(),
    };
    seal.block(&generation(gone))
}
