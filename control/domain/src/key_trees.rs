//! Key trees of channels with key blocks: which device has which position, and which positions may have the next root (MV-15, INT-05).
//!
//! A device gets its position when it opens its first session for the channel, the next one that nobody has had, and keeps it while the
//! generation lasts. Whatever takes a right from an account makes its positions *gone*, as cookies from before count no more; a device
//! that may still have the channel is back when it has opened a session.

use std::time::Duration;

use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId, id::Id as _};

use crate::{Read, Result, Row, StoreError, Tx, params, read_rows, refuse};

/// Height of a tree: 16,777,216 positions.
pub const HEIGHT: u8 = 24;
/// Both generations are in blocks for so long; devices come to the new one when they open a session.
pub const SPREAD: Duration = Duration::from_secs(3 * 24 * 3600);

/// A generation of a channel's tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyTree {
    /// Its number, from 1.
    pub generation: u32,
    /// Its height.
    pub height: u8,
    /// Positions given away, from 0 on.
    pub given: u32,
    /// The secret of its top, sealed.
    pub secret: Vec<u8>,
    /// When it was made.
    pub made_at: Timestamp,
}

fn read(row: &Row) -> std::result::Result<KeyTree, StoreError> {
    let height = u8::try_from(row.get::<u16>(1)?);
    Ok(KeyTree {
        generation: row.get(0)?,
        height: height.map_err(|_| StoreError::Damaged("the height of a key tree".to_owned()))?,
        given: row.get(2)?,
        secret: row.get(3)?,
        made_at: Timestamp(row.get(4)?),
    })
}

/// The generations that are in blocks of a channel, the newest first.
///
/// # Errors
/// The store's.
pub fn of_channel(store: &mut dyn Read, channel: u16) -> Result<Vec<KeyTree>> {
    let rows = store.query(
        "SELECT generation, height, given, secret, made_at FROM key_tree WHERE channel = $1 ORDER BY generation DESC",
        params![channel],
    )?;
    read_rows(&rows, read)
}

/// Positions of a generation that may have no more roots, ascending.
///
/// # Errors
/// The store's.
pub fn gone(store: &mut dyn Read, channel: u16, generation: u32) -> Result<Vec<u32>> {
    let rows = store.query(
        "SELECT position FROM tree_position WHERE channel = $1 AND generation = $2 AND gone = 1 ORDER BY position",
        params![channel, generation],
    )?;
    read_rows(&rows, |row| row.get(0))
}

/// How many positions of a generation may have no more roots.
///
/// # Errors
/// The store's.
pub fn count_gone(store: &mut dyn Read, channel: u16, generation: u32) -> Result<u32> {
    let row = store.first(
        "SELECT COUNT(*) FROM tree_position WHERE channel = $1 AND generation = $2 AND gone = 1",
        params![channel, generation],
    )?;
    Ok(row.map(|row| row.get(0)).transpose()?.unwrap_or(0))
}

/// Makes the next generation, with a sealed secret of its own. The former one stays in blocks for [`SPREAD`].
///
/// # Errors
/// The former one still spreads; the store's.
pub fn renew(tx: &mut dyn Tx, now: Timestamp, channel: u16, secret: &[u8]) -> Result<KeyTree> {
    let known = of_channel(tx, channel)?;
    if let [newest, _, ..] = known.as_slice() {
        let until = newest.made_at.after(SPREAD);
        return refuse(
            Kind::Conflict,
            format!(
                "generation {} of the key tree of channel {channel} still spreads to its devices, until {until}: wait for that",
                newest.generation
            ),
        );
    }
    let last = tx.first(
        "SELECT MAX(generation) FROM key_tree WHERE channel = $1",
        params![channel],
    )?;
    let last: Option<u32> = last.map(|row| row.get(0)).transpose()?.flatten();
    let made = KeyTree {
        generation: last.unwrap_or(0) + 1,
        height: HEIGHT,
        given: 0,
        secret: secret.to_vec(),
        made_at: now,
    };
    tx.execute(
        "INSERT INTO key_tree (channel, generation, height, given, secret, made_at) VALUES ($1, $2, $3, 0, $4, $5)",
        params![channel, made.generation, u16::from(HEIGHT), secret, now.0],
    )?;
    Ok(made)
}

/// Where a device is in a channel's tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The generation.
    pub tree: KeyTree,
    /// Its position.
    pub position: u32,
}

/// The position of a device in the newest generation, if it has one and may have the next root; nothing, if [`place`] is to be called.
///
/// # Errors
/// The store's.
pub fn placed(store: &mut dyn Read, channel: u16, device: DeviceId) -> Result<Option<Place>> {
    let Some(tree) = of_channel(store, channel)?.into_iter().next() else {
        return Ok(None);
    };
    let row = store.first(
        "SELECT p.position FROM tree_position AS p JOIN device AS d ON d.leaf = p.leaf \
         WHERE d.id = $1 AND p.channel = $2 AND p.generation = $3 AND p.gone = 0",
        params![device.to_bytes(), channel, tree.generation],
    )?;
    let position = row.map(|row| row.get(0)).transpose()?;
    Ok(position.map(|position| Place { tree, position }))
}

/// Gives a device that may have the channel its position, or its former one back. Nothing, if the channel has no tree or the tree is full.
///
/// # Errors
/// The store's.
pub fn place(tx: &mut dyn Tx, channel: u16, device: DeviceId) -> Result<Option<Place>> {
    let trees = of_channel(tx, channel)?;
    let row = tx.first(
        "SELECT leaf FROM device WHERE id = $1",
        params![device.to_bytes()],
    )?;
    let (Some(newest), Some(row)) = (trees.first(), row) else {
        return Ok(None);
    };
    let leaf: u32 = row.get(0)?;
    // In a generation that is about to go, too: until then it has a path of that.
    tx.execute(
        "UPDATE tree_position SET gone = 0 WHERE leaf = $1 AND channel = $2 AND gone = 1",
        params![leaf, channel],
    )?;
    if let Some(known) = placed(tx, channel, device)? {
        return Ok(Some(known));
    }
    if newest.given >> newest.height > 0 {
        return Ok(None);
    }
    tx.execute(
        "INSERT INTO tree_position (channel, generation, position, leaf, gone) VALUES ($1, $2, $3, $4, 0)",
        params![channel, newest.generation, newest.given, leaf],
    )?;
    tx.execute(
        "UPDATE key_tree SET given = given + 1 WHERE channel = $1 AND generation = $2",
        params![channel, newest.generation],
    )?;
    placed(tx, channel, device)
}

/// A right was taken from an account: its devices are in no block until they have opened a session.
pub(crate) fn account_lost(tx: &mut dyn Tx, account: AccountId) -> Result<()> {
    tx.execute(
        "UPDATE tree_position SET gone = 1 WHERE gone = 0 AND leaf IN (SELECT leaf FROM device WHERE account = $1)",
        params![account.to_bytes()],
    )?;
    Ok(())
}

/// Removes generations whose successor has spread. Returns of how many.
///
/// # Errors
/// The store's.
pub fn end_former(tx: &mut dyn Tx, now: Timestamp) -> Result<usize> {
    let over = former(tx, now)?;
    for (channel, generation) in &over {
        remove(tx, *channel, Some(*generation))?;
    }
    Ok(over.len())
}

/// Generations that [`end_former`] would remove: channel and generation.
///
/// # Errors
/// The store's.
pub fn former(store: &mut dyn Read, now: Timestamp) -> Result<Vec<(u16, u32)>> {
    let rows = store.query(
        "SELECT o.channel, o.generation FROM key_tree AS o JOIN key_tree AS n ON n.channel = o.channel AND n.generation > o.generation \
         WHERE n.made_at <= $1 ORDER BY o.channel, o.generation",
        params![now.before(SPREAD).0],
    )?;
    read_rows(&rows, |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Removes one generation of a channel's tree, or all of them.
pub(crate) fn remove(tx: &mut dyn Tx, channel: u16, generation: Option<u32>) -> Result<()> {
    tx.execute(
        "DELETE FROM tree_position WHERE channel = $1 AND (generation = $2 OR $2 IS NULL)",
        params![channel, generation],
    )?;
    tx.execute(
        "DELETE FROM key_tree WHERE channel = $1 AND (generation = $2 OR $2 IS NULL)",
        params![channel, generation],
    )?;
    Ok(())
}
