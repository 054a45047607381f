//! Answers that were given: a request that is repeated gets the answer of the first, and nothing is done twice. Whoever asks names each
//! request by a key of his own; what is in `sealed` is the caller's business.

use std::time::Duration;

use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use crate::{Read, Result, Tx, params, refuse};

/// Answers are kept for so long.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The answer that `actor` got under this key, if he asked the same: `request` is its hash.
///
/// # Errors
/// [`Kind::KeyReused`]: he asked something else. The store's.
pub fn find(
    store: &mut dyn Read,
    actor: &str,
    key: &str,
    request: &[u8; 32],
) -> Result<Option<Vec<u8>>> {
    let row = store.first(
        "SELECT request, sealed FROM answered WHERE actor = $1 AND idempotency_key = $2",
        params![actor, key],
    )?;
    let Some(row) = row else { return Ok(None) };
    if row.get::<[u8; 32]>(0)? != *request {
        let detail = format!(
            "the Idempotency-Key {key:?} was used for another request: take a new one for each; a key is kept for 7 days"
        );
        return refuse(Kind::KeyReused, detail);
    }
    Ok(Some(row.get(1)?))
}

/// Keeps an answer.
///
/// # Errors
/// The store's; also when there is one under this key.
pub fn keep(
    tx: &mut dyn Tx,
    now: Timestamp,
    (actor, key): (&str, &str),
    request: [u8; 32],
    sealed: &[u8],
) -> Result<()> {
    tx.execute(
        "INSERT INTO answered (actor, idempotency_key, request, sealed, at) VALUES ($1, $2, $3, $4, $5)",
        params![actor, key, request, sealed, now.0],
    )?;
    Ok(())
}

/// Forgets answers that have been kept for long enough; how many.
///
/// # Errors
/// The store's.
pub fn forget(tx: &mut dyn Tx, now: Timestamp) -> Result<u64> {
    let forgotten = tx.execute(
        "DELETE FROM answered WHERE at < $1",
        params![now.before(KEPT).0],
    )?;
    Ok(forgotten)
}
