//! What the authority of the channels must not forget, as rows: its term, and of each channel its numbers, its roots (sealed),
//! what it announced and its delivery servers.

use crate::{Read, Result, Row, StoreError, Tx, params};

/// A term.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Term {
    /// Rises with every start of a master.
    pub number: u64,
    /// Random per start.
    pub instance: u64,
}

/// One channel's numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChannelKeys {
    /// The highest epoch number used.
    pub highest: u64,
    /// The last revision.
    pub revision: u32,
    /// The announced change, encoded.
    pub announced: Option<Vec<u8>>,
    /// Its delivery servers.
    pub servers: Vec<u32>,
    /// Its roots.
    pub epochs: Vec<Epoch>,
}

/// One root.
#[derive(Clone, PartialEq, Eq)]
pub struct Epoch {
    /// The epoch.
    pub epoch: u64,
    /// The term that generated it, or took its deposit.
    pub term: Term,
    /// The sealed root.
    pub sealed: Vec<u8>,
    /// It has been in use or announced.
    pub opened: bool,
    /// Mode A: delivery server and run that deposited it.
    pub depositor: Option<(u32, u64)>,
}

impl std::fmt::Debug for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epoch")
            .field("epoch", &self.epoch)
            .field("term", &self.term)
            .field("opened", &self.opened)
            .finish_non_exhaustive()
    }
}

/// The last term.
///
/// # Errors
/// The store's.
pub fn term(store: &mut dyn Read) -> Result<Option<Term>> {
    let row = store.first("SELECT number, instance FROM term WHERE id = 1", &[])?;
    let read = |row: Row| {
        Ok::<_, StoreError>(Term {
            number: row.get(0)?,
            instance: row.get(1)?,
        })
    };
    Ok(row.map(read).transpose()?)
}

/// Keeps the term.
///
/// # Errors
/// The store's.
pub fn put_term(tx: &mut dyn Tx, term: Term) -> Result<()> {
    tx.execute("DELETE FROM term WHERE id = 1", &[])?;
    tx.execute(
        "INSERT INTO term (id, number, instance) VALUES (1, $1, $2)",
        params![term.number, term.instance],
    )?;
    Ok(())
}

/// Every channel that ever was.
///
/// # Errors
/// The store's.
pub fn channels(store: &mut dyn Read) -> Result<Vec<(u16, ChannelKeys)>> {
    let rows = store.query(
        "SELECT channel, highest, revision, announced FROM channel_keys ORDER BY channel",
        &[],
    )?;
    let mut channels = Vec::new();
    for row in rows {
        let channel: u16 = row.get(0)?;
        let servers = store.query(
            "SELECT server FROM channel_server WHERE channel = $1 ORDER BY server",
            params![channel],
        )?;
        let epochs = store.query(
            "SELECT epoch, term_number, term_instance, sealed, opened, depositor, depositor_run FROM epoch \
             WHERE channel = $1 ORDER BY epoch, term_number",
            params![channel],
        )?;
        let keys = ChannelKeys {
            highest: row.get(1)?,
            revision: row.get(2)?,
            announced: row.get(3)?,
            servers: servers
                .iter()
                .map(|row| row.get(0))
                .collect::<std::result::Result<_, _>>()?,
            epochs: epochs
                .iter()
                .map(read_epoch)
                .collect::<std::result::Result<_, _>>()?,
        };
        channels.push((channel, keys));
    }
    Ok(channels)
}

/// The last epoch of a channel that has been in use or announced; 0, if there was none.
///
/// # Errors
/// The store's.
pub fn last_opened(store: &mut dyn Read, channel: u16) -> Result<u64> {
    let row = store.first(
        "SELECT MAX(epoch) FROM epoch WHERE channel = $1 AND opened = 1",
        params![channel],
    )?;
    let last = row.map(|row| row.get::<Option<u64>>(0)).transpose()?;
    Ok(last.flatten().unwrap_or(0))
}

fn read_epoch(row: &Row) -> std::result::Result<Epoch, StoreError> {
    let depositor = match (row.get::<Option<u32>>(5)?, row.get::<Option<u64>>(6)?) {
        (Some(server), Some(run)) => Some((server, run)),
        (None, None) => None,
        _ => return Err(StoreError::Damaged("half a depositor".to_owned())),
    };
    Ok(Epoch {
        epoch: row.get(0)?,
        term: Term {
            number: row.get(1)?,
            instance: row.get(2)?,
        },
        sealed: row.get(3)?,
        opened: row.get(4)?,
        depositor,
    })
}

/// Keeps one channel's keys in the place of what was kept of it before.
///
/// # Errors
/// The store's.
pub fn put_channel(tx: &mut dyn Tx, channel: u16, keys: &ChannelKeys) -> Result<()> {
    tx.execute(
        "DELETE FROM channel_keys WHERE channel = $1",
        params![channel],
    )?;
    tx.execute(
        "DELETE FROM channel_server WHERE channel = $1",
        params![channel],
    )?;
    tx.execute("DELETE FROM epoch WHERE channel = $1", params![channel])?;
    tx.execute(
        "INSERT INTO channel_keys (channel, highest, revision, announced) VALUES ($1, $2, $3, $4)",
        params![channel, keys.highest, keys.revision, keys.announced.clone()],
    )?;
    for server in &keys.servers {
        tx.execute(
            "INSERT INTO channel_server (channel, server) VALUES ($1, $2)",
            params![channel, *server],
        )?;
    }
    for epoch in &keys.epochs {
        tx.execute(
            "INSERT INTO epoch (channel, epoch, term_number, term_instance, sealed, opened, depositor, depositor_run) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            params![
                channel,
                epoch.epoch,
                epoch.term.number,
                epoch.term.instance,
                epoch.sealed.as_slice(),
                epoch.opened,
                epoch.depositor.map(|(server, _)| server),
                epoch.depositor.map(|(_, run)| run)
            ],
        )?;
    }
    Ok(())
}
