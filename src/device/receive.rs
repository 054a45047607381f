//! Before a channel is received, the wallet says whether a licence allows it.

use std::path::Path;

use sealcast_terminal::wallet::PlayerError;

use super::{Lock, Opened, failure};
use crate::Failure;
use crate::identities::runtime;

/// Whether the wallet has a licence for each of these channels, by a new list if the key server can be reached, and else by the one that it has.
///
/// # Errors
/// The refusal of the first that it has none for.
pub(crate) fn check(
    (wallet, lock): (&Path, &Lock),
    identity: &Path,
    channels: &[u16],
) -> Result<(), Failure> {
    let mut wallet = lock.open(wallet, identity, false)?;
    refresh(&mut wallet)?;
    for channel in channels {
        let valid = wallet.channel(*channel);
        let valid = valid.map_err(|refusal| failure(PlayerError::Refused(refusal)))?;
        let until = valid
            .until
            .map_or_else(|| "for good".to_owned(), |until| format!("until {until}"));
        tracing::info!(channel, until, "a licence allows it");
    }
    Ok(())
}

fn refresh(wallet: &mut Opened) -> Result<(), Failure> {
    match runtime()?.block_on(wallet.sync(false)) {
        Ok(_) => {}
        Err(PlayerError::Wallet(error)) => return Err(failure(error.into())),
        Err(error) => tracing::warn!(%error, "the wallet goes by the list that it has"),
    }
    Ok(())
}
