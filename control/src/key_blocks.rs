//! Key blocks as the store has them: the secrets of key trees, the paths of devices, and the sealing of a root for all who are entitled
//! (INT-05, MV-15). Only the master holds these secrets.

use std::sync::Arc;
use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_crypto::{Commitment, EpochRoot, SigningKey, TreeTop};
use sealcast_domain::key_trees::{self, KeyTree, Place};
use sealcast_domain::{Error, Read, Tx, channels, epochs, rights};
use sealcast_objects::DeviceId;
use sealcast_objects::api::KeyPath;
use sealcast_objects::problem::Problem;
use sealcast_objects::time::Timestamp;
use sealcast_proto::ids::{ChannelId, Epoch, Term};
use sealcast_proto::key_block::{Generation, Path, Plan, Seal, size};
use sealcast_proto::key_tree::{Position, Tree};
use sealcast_proto::wire::Wire as _;
use zeroize::Zeroizing;

use crate::http::{App, internal};
use crate::store::Store;
use crate::vault::{NotOurs, Vault};

/// Longest block that is made while nobody knows what the channel sends.
const UNMEASURED_MAX: u64 = 4 << 20;

/// What the secret of a tree is sealed as.
fn what(channel: u16) -> String {
    format!("key tree {channel}")
}

/// A new secret, sealed.
pub(crate) fn new_secret(vault: &Vault, channel: u16, rng: &mut dyn CryptoRng) -> Vec<u8> {
    let mut secret = Zeroizing::new([0; 32]);
    rng.fill_bytes(secret.as_mut());
    vault.seal(&what(channel), secret.as_ref(), rng)
}

/// A channel that is to have key blocks has a tree.
pub(crate) fn ensure(
    tx: &mut dyn Tx,
    now: Timestamp,
    channel: u16,
    secret: &[u8],
) -> Result<(), Error> {
    if key_trees::of_channel(tx, channel)?.is_empty() {
        key_trees::renew(tx, now, channel, secret)?;
    }
    Ok(())
}

fn generation(
    vault: &Vault,
    channel: u16,
    tree: &KeyTree,
    gone: Vec<u32>,
) -> Result<Generation, NotOurs> {
    let secret = vault.open_key(&what(channel), &tree.secret)?;
    Ok(Generation {
        number: tree.generation,
        tree: Tree::new(tree.height).ok_or(NotOurs)?,
        top: TreeTop::from_bytes(&secret),
        given: tree.given,
        gone: gone.into_iter().map(Position).collect(),
    })
}

/// What opens the key blocks of those `channels` that have some, for a device that has just been found entitled to them.
pub(crate) async fn paths(
    app: &App,
    now: Timestamp,
    device: DeviceId,
    channels: &[u16],
) -> Result<Vec<KeyPath>, Problem> {
    let wanted = channels.to_vec();
    let known = app.read(move |store| places(store, device, &wanted));
    let mut places = known.await?;
    if places.iter().any(|(_, place, _)| place.is_none()) {
        let wanted: Vec<_> = places.iter().map(|(channel, _, _)| *channel).collect();
        // Entitled in the same transaction: what was taken away meanwhile is not given back.
        let placed = app.write(move |tx| {
            for channel in rights::entitled(tx, now, device, &wanted)?.channels {
                key_trees::place(tx, channel, device)?;
            }
            self::places(tx, device, &wanted)
        });
        places = placed.await?;
    }
    let mut paths = Vec::new();
    for (channel, place, since) in places {
        if let Some(Place { tree, position }) = place {
            let generation =
                generation(app.vault(), channel, &tree, Vec::new()).map_err(internal)?;
            let path = Path::new(&generation, Position(position), Epoch(since));
            let mut bytes = Vec::new();
            path.ok_or_else(|| internal("a position beyond its tree"))?
                .encode(&mut bytes);
            paths.push(KeyPath {
                channel,
                path: bytes,
            });
        }
    }
    Ok(paths)
}

/// Of each channel that has key blocks: its number, where the device is, and the epoch that is in use at the earliest.
type Places = Vec<(u16, Option<Place>, u64)>;

fn places(store: &mut dyn Read, device: DeviceId, wanted: &[u16]) -> Result<Places, Error> {
    let mut places = Vec::new();
    for channel in channels::list(store)? {
        if channel.key_block_permille > 0 && wanted.contains(&channel.id) {
            let place = key_trees::placed(store, channel.id, device)?;
            // The last one that was opened may be the announced one.
            let since = epochs::last_opened(store, channel.id)?.saturating_sub(1);
            places.push((channel.id, place, since));
        }
    }
    Ok(places)
}

/// The root of an epoch that is to be sealed for all who are entitled.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) channel: ChannelId,
    pub(crate) term: Term,
    pub(crate) epoch: Epoch,
    pub(crate) root: EpochRoot,
    pub(crate) lifetime: Duration,
    /// Bytes that the channel sends in a second, if that is known.
    pub(crate) rate: Option<u64>,
    pub(crate) key: Arc<SigningKey>,
}

/// A block that was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) channel: ChannelId,
    pub(crate) term: Term,
    pub(crate) epoch: Epoch,
    pub(crate) commitment: Commitment,
    pub(crate) lifetime: Duration,
    /// The share of the channel that it may take.
    pub(crate) permille: u16,
    /// Nodes that it covers.
    pub(crate) nodes: usize,
    /// Bytes of its datagrams.
    pub(crate) size: u64,
    /// None, if it would be too long to be sent.
    pub(crate) datagrams: Vec<Vec<u8>>,
}

/// Makes the block of an epoch; nothing, if the channel has none. Who may have the root is read now: after it was announced.
pub(crate) async fn make(
    store: &Store,
    vault: &Arc<Vault>,
    wanted: Wanted,
) -> Result<Option<Made>, Problem> {
    let channel = wanted.channel.0;
    let rows = store
        .read(move |store| {
            let known = channels::list(store)?;
            let known = known.into_iter().find(|known| known.id == channel);
            let permille = known.map_or(0, |known| known.key_block_permille);
            let mut trees = Vec::new();
            if permille > 0 {
                for tree in key_trees::of_channel(store, channel)? {
                    let gone = key_trees::gone(store, channel, tree.generation)?;
                    trees.push((tree, gone));
                }
            }
            Ok((permille, trees))
        })
        .await
        .map_err(crate::http::problem)?;
    let (permille, trees) = rows;
    if trees.is_empty() {
        return Ok(None);
    }
    let vault = Arc::clone(vault);
    let made = tokio::task::spawn_blocking(move || {
        let generations = trees
            .into_iter()
            .map(|(tree, gone)| generation(&vault, channel, &tree, gone))
            .collect::<Result<Vec<_>, _>>()?;
        Ok::<_, NotOurs>(seal(wanted, permille, &generations))
    });
    made.await.map_err(internal)?.map(Some).map_err(internal)
}

fn seal(wanted: Wanted, permille: u16, generations: &[Generation]) -> Made {
    let counts = generations
        .iter()
        .map(|generation| generation.cover().count());
    let (nodes, size) = counts.fold((0, 0), |(nodes, bytes), count| {
        (nodes + count, bytes + size(count))
    });
    let fits = match wanted.rate {
        Some(rate) => Plan::new(size, rate, wanted.lifetime, permille).is_some(),
        None => size <= UNMEASURED_MAX,
    };
    let seal = Seal {
        channel: wanted.channel,
        term: wanted.term,
        epoch: wanted.epoch,
        root: &wanted.root,
        key: &wanted.key,
    };
    let blocks = generations
        .iter()
        .filter(|_| fits)
        .flat_map(|generation| seal.block(generation));
    Made {
        channel: wanted.channel,
        term: wanted.term,
        epoch: wanted.epoch,
        commitment: commitment(wanted.channel, wanted.epoch, &wanted.root),
        lifetime: wanted.lifetime,
        permille,
        nodes,
        size,
        datagrams: blocks.collect(),
    }
}

/// What fixes a root.
pub(crate) fn commitment(channel: ChannelId, epoch: Epoch, root: &EpochRoot) -> Commitment {
    root.prk().commitment(channel.0, epoch.0)
}
