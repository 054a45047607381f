//! Between what the authority must not forget and rows; roots are sealed on the way.

use rand_core::CryptoRng;
use sealcast_crypto::EpochRoot;
use sealcast_domain::{Error, Tx, epochs};
use sealcast_proto::authority::{Depositor, Stored, StoredChannel, StoredEpoch};
use sealcast_proto::ids::{ChannelId, Epoch, RunId, ServerId, Term};
use sealcast_proto::wire::Wire as _;
use sealcast_proto::wire::control::Notice;

use super::LoadError;
use crate::store::Store;
use crate::vault::Vault;

/// What differs from what is kept.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    term: Option<epochs::Term>,
    channels: Vec<(u16, epochs::ChannelKeys)>,
}

/// What a root is sealed as.
fn what(channel: ChannelId, epoch: Epoch, term: Term) -> String {
    let (number, instance) = (term.number, term.instance);
    format!("root {} {} {number} {instance:016x}", channel.0, epoch.0)
}

fn term_row(term: Term) -> epochs::Term {
    epochs::Term {
        number: term.number,
        instance: term.instance,
    }
}

fn term_of(row: epochs::Term) -> Term {
    Term {
        number: row.number,
        instance: row.instance,
    }
}

pub(super) fn changes(
    kept: &Stored,
    stored: &Stored,
    vault: &Vault,
    rng: &mut dyn CryptoRng,
) -> Changes {
    let changed = stored
        .channels
        .iter()
        .filter(|(id, channel)| kept.channels.get(id) != Some(channel));
    Changes {
        term: (kept.term != stored.term).then(|| term_row(stored.term)),
        channels: changed
            .map(|(id, channel)| (id.0, channel_rows(*id, channel, vault, rng)))
            .collect(),
    }
}

fn channel_rows(
    id: ChannelId,
    channel: &StoredChannel,
    vault: &Vault,
    rng: &mut dyn CryptoRng,
) -> epochs::ChannelKeys {
    let mut row = |stored: &StoredEpoch| epochs::Epoch {
        epoch: stored.epoch.0,
        term: term_row(stored.term),
        sealed: vault.seal(
            &what(id, stored.epoch, stored.term),
            stored.root.as_bytes(),
            rng,
        ),
        opened: stored.opened,
        depositor: stored
            .depositor
            .map(|depositor| (depositor.server.0, depositor.run.0)),
    };
    epochs::ChannelKeys {
        highest: channel.highest.0,
        revision: channel.revision,
        announced: channel.announced.as_ref().map(|notice| {
            let mut bytes = Vec::new();
            notice.encode(&mut bytes);
            bytes
        }),
        servers: channel.servers.iter().map(|server| server.0).collect(),
        epochs: channel.epochs.iter().map(&mut row).collect(),
    }
}

pub(super) fn write(tx: &mut dyn Tx, changes: &Changes) -> Result<(), Error> {
    if let Some(term) = changes.term {
        epochs::put_term(tx, term)?;
    }
    for (channel, keys) in &changes.channels {
        epochs::put_channel(tx, *channel, keys)?;
    }
    Ok(())
}

pub(super) fn load(store: &Store, vault: &Vault) -> Result<Stored, LoadError> {
    let (term, channels) =
        store.read_blocking(|store| Ok((epochs::term(store)?, epochs::channels(store)?)))?;
    let mut stored = Stored {
        term: term.map_or(Term::NONE, term_of),
        ..Stored::default()
    };
    for (number, keys) in channels {
        let id = ChannelId(number);
        stored.channels.insert(id, channel(id, keys, vault)?);
    }
    Ok(stored)
}

fn channel(
    id: ChannelId,
    keys: epochs::ChannelKeys,
    vault: &Vault,
) -> Result<StoredChannel, LoadError> {
    let announced = keys
        .announced
        .map(|bytes| Notice::decode_all(&bytes).map_err(|_| LoadError::Damaged(id.0)))
        .transpose()?;
    let epoch = |row: epochs::Epoch| -> Result<StoredEpoch, LoadError> {
        let (epoch, term) = (Epoch(row.epoch), term_of(row.term));
        let root = vault.open_key(&what(id, epoch, term), &row.sealed)?;
        Ok(StoredEpoch {
            epoch,
            term,
            root: EpochRoot::from_bytes(*root),
            opened: row.opened,
            depositor: row.depositor.map(|(server, run)| Depositor {
                server: ServerId(server),
                run: RunId(run),
            }),
        })
    };
    Ok(StoredChannel {
        highest: Epoch(keys.highest),
        revision: keys.revision,
        epochs: keys
            .epochs
            .into_iter()
            .map(epoch)
            .collect::<Result<_, _>>()?,
        announced,
        servers: keys.servers.into_iter().map(ServerId).collect(),
    })
}
