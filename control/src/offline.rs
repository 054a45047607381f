//! What is read out of a store beside a running server; nothing is changed. Auditors check its log and its ledger. Load generators make
//! sessions of their own. The keys of contents are there; whoever can do that has the store and its master key, and could do anything.

use std::path::Path;
use std::time::Duration;

use sealcast_crypto::VerifyingKey;
use sealcast_domain::{audit, billing, catalogue, channels, keys, ledger, metering};
use sealcast_objects::api::UsageRow;
use sealcast_objects::audit::{AuditFault, Head};
use sealcast_objects::content::ContentKey;
use sealcast_objects::month::Month;
use sealcast_objects::problem::Problem;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, ContentId};
use sealcast_proto::door::Tickets;
use sealcast_proto::ids::ChannelId;

use crate::content::key_name;
use crate::http::{authority_keys, internal, now, problem};
use crate::server::StartError;
use crate::server::tickets::tickets;
use crate::store::{self, Location};
use crate::usage::Counted;
use crate::vault::{PROBE, Vault};

/// What sessions are made of.
#[derive(Clone, Debug)]
pub struct Material {
    /// The ticket keys.
    pub tickets: Tickets,
    /// Sessions that are sealed under the newest of them end then.
    pub until: Timestamp,
    /// The channels' authority key and its successor, as devices are told.
    pub authority: (VerifyingKey, Option<VerifyingKey>),
    /// The channels that there are.
    pub channels: Vec<ChannelId>,
}

/// Why there is no such material: what, why, what to do.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The store, its master key, or what is in it.
    #[error(transparent)]
    Store(#[from] StartError),
    /// Sessions would have ended before they begin.
    #[error(
        "the newest ticket key in the store is over since {0}: start the key server, which makes another one, and try again"
    )]
    Over(Timestamp),
}

/// Reads the store of the server in `data`, whose secrets open with the key in `master_key`; `period` is how long a ticket key seals.
///
/// # Errors
/// [`OfflineError`].
pub fn material(
    data: &Path,
    location: &Location,
    master_key: &Path,
    period: Duration,
) -> Result<Material, OfflineError> {
    let failed = |error: StartError| OfflineError::Store(error);
    let rows = store::peek(data, location, |store| {
        Ok((
            keys::secret(store, PROBE)?,
            keys::ticket_keys(store)?,
            keys::authority_keys(store)?,
            channels::list(store)?,
        ))
    });
    let (probe, kept, authority, channels) = rows
        .map_err(|error| failed(error.into()))?
        .map_err(|error| failed(error.into()))?;
    let vault =
        Vault::of_store(probe.as_deref(), master_key).map_err(|error| failed(error.into()))?;
    let (tickets, made) = tickets(&kept, &vault, period)?;
    let until = made.after(2 * period);
    if until <= now() {
        return Err(OfflineError::Over(until));
    }
    let keys = authority_keys(&authority, &vault).map_err(|error| failed(error.into()))?;
    Ok(Material {
        tickets,
        until,
        authority: (keys.authority, keys.successor),
        channels: channels
            .iter()
            .map(|channel| ChannelId(channel.id))
            .collect(),
    })
}

/// The key of a version of a content, of the store of the server in `data`.
///
/// # Errors
/// When there is no store, no such version, or its file is not there yet.
pub fn content_key(
    data: &Path,
    location: &Location,
    master_key: &Path,
    (content, version): (ContentId, u32),
) -> Result<ContentKey, StartError> {
    let rows = store::peek(data, location, |store| {
        let probe = keys::secret(store, PROBE)?;
        Ok((
            probe,
            catalogue::files::sealed_key(store, content, version)?,
        ))
    });
    let (probe, (file, sealed)) = rows??;
    let vault = Vault::of_store(probe.as_deref(), master_key)?;
    let key = vault.open_key(&key_name(content, version, file), &sealed)?;
    Ok(ContentKey::from_bytes(key))
}

/// What a look at a store found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// The last entry of the audit log.
    pub head: Head,
    /// What is wrong with the log.
    pub audit: Vec<AuditFault>,
    /// What is wrong with the ledger.
    pub ledger: Vec<ledger::Fault>,
    /// What is wrong with bills.
    pub bills: Vec<billing::Fault>,
}

/// Checks the audit log, the ledger and all bills of the store of the server in `data`, which may be running, at one moment. Heads in `kept` must be in the
/// log.
///
/// # Errors
/// When there is no store, or it cannot be read.
pub fn verify(data: &Path, location: &Location, kept: Vec<Head>) -> Result<Verified, StartError> {
    let verified = store::peek(data, location, |store| {
        let (head, audit) = audit::verify(store, kept)?;
        let ledger = ledger::verify(store)?;
        let bills = billing::verify(store)?;
        Ok(Verified {
            head,
            audit,
            ledger,
            bills,
        })
    });
    Ok(verified??)
}

/// Counts usage files anew, as a server does that takes them in, in a store of its own in `folder`, which is empty: the rows of an account in a
/// month.
///
/// # Errors
/// The place of a file in the list that is not good, and why.
pub fn count_usage<'a>(
    folder: &Path,
    files: impl IntoIterator<Item = &'a [u8]>,
    account: AccountId,
    month: Month,
) -> Result<Vec<UsageRow>, (usize, Problem)> {
    let failed = |error: String| (0, internal(error));
    let store = store::driver(folder, &Location::Folder);
    let mut store = store.map_err(|error| failed(error.to_string()))?;
    let now = now();
    let begun = store.begin(now);
    begun.map_err(|error| failed(error.to_string()))?;
    for (index, file) in files.into_iter().enumerate() {
        let counted = Counted::read(file, now).map_err(|problem| (index, problem))?;
        let taken = Counted::take(&[counted], &mut *store, now);
        for taken in taken.map_err(|error| (index, problem(error)))? {
            taken.map_err(|problem| (index, problem))?;
        }
    }
    let rows = metering::of_account(&mut *store, account, month, &mut metering::Sent::default());
    rows.map_err(|error| (0, problem(error)))
}
