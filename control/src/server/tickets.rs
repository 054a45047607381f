//! Ticket keys as the store keeps them: made when their time has come, sealed, told to doors and slaves by whoever calls.

use std::time::Duration;

use rand::rngs::StdRng;
use sealcast_domain::keys;
use sealcast_objects::time::Timestamp;
use sealcast_proto::door::{TicketKey, Tickets};

use super::StartError;
use crate::http::{KeysError, now};
use crate::store::Store;
use crate::vault::Vault;

fn ticket_name(period: u32) -> String {
    format!("ticket key {period}")
}

/// The ticket keys that are kept, with a new one if the last is over.
pub(super) fn open_tickets(
    store: &Store,
    vault: &Vault,
    period: Duration,
    rng: &mut StdRng,
) -> Result<(Tickets, Timestamp), StartError> {
    let kept = store.read_blocking(|store| keys::ticket_keys(store))?;
    if kept
        .first()
        .is_none_or(|key| is_over(key.made_at, now(), period))
    {
        let next = kept.first().map_or(1, |key| key.period + 1);
        let sealed = new_ticket(vault, next, rng);
        store.write_blocking(move |tx| keys::add_ticket_key(tx, now(), next, &sealed))?;
    }
    let kept = store.read_blocking(|store| keys::ticket_keys(store))?;
    tickets(&kept, vault, period)
}

/// By the wall clock: one that was set back by more than a minute makes a new key, too.
pub(super) fn is_over(made: Timestamp, now: Timestamp, period: Duration) -> bool {
    now.since(made) >= period || made > now.after(Duration::from_secs(60))
}

pub(super) fn new_ticket(vault: &Vault, period: u32, rng: &mut StdRng) -> Vec<u8> {
    use rand_core::Rng as _;
    let mut key = zeroize::Zeroizing::new([0; 32]);
    rng.fill_bytes(key.as_mut());
    vault.seal(&ticket_name(period), key.as_ref(), rng)
}

/// The keys of these rows, newest first, and when the newest was made.
pub(crate) fn tickets(
    kept: &[keys::TicketKey],
    vault: &Vault,
    period: Duration,
) -> Result<(Tickets, Timestamp), StartError> {
    let open = |key: &keys::TicketKey| -> Result<TicketKey, StartError> {
        let bytes = vault.open_key(&ticket_name(key.period), &key.sealed)?;
        Ok(TicketKey::new(key.period, *bytes))
    };
    let (current, rest) = kept.split_first().ok_or(KeysError::None)?;
    // A server that was away long enough has ended the sessions of the former period.
    let previous = rest
        .iter()
        .find(|key| key.period + 1 == current.period && now().since(key.made_at) < 2 * period);
    let previous = previous.map(open).transpose()?;
    Ok((Tickets::new(open(current)?, previous), current.made_at))
}
