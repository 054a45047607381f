//! The authority's keys: out of the store's rows, and new ones.

use std::sync::Arc;

use sealcast_crypto::SigningKey;
use sealcast_domain::keys;
use sealcast_objects::api::KeyStage;
use sealcast_proto::authority::Keys;

use crate::vault::{NotOurs, Vault};

/// Why the authority has no keys.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum KeysError {
    /// A key does not open.
    #[error(transparent)]
    Secret(#[from] NotOurs),
    /// There is none that signs.
    #[error("the store holds no authority key that signs: restore a backup")]
    None,
}

/// What signs, and what others are told, by the rows of the store.
///
/// # Errors
/// [`KeysError`].
pub fn authority_keys(rows: &[keys::AuthorityKey], vault: &Vault) -> Result<Keys, KeysError> {
    let find = |stage| rows.iter().find(|row| row.stage == stage);
    let open = |row: &keys::AuthorityKey| -> Result<SigningKey, KeysError> {
        let seed = vault.open_key(&authority_key_name(&row.public_key), &row.sealed)?;
        Ok(SigningKey::from_seed(&seed))
    };
    let signing = open(find(KeyStage::Current).ok_or(KeysError::None)?)?;
    let current = signing.verifying_key();
    let other = |stage| {
        find(stage)
            .map(open)
            .transpose()
            .map(|key| key.map(|key| key.verifying_key()))
    };
    let (authority, successor) = match other(KeyStage::Retiring)? {
        Some(retiring) => (retiring, Some(current)),
        None => (current, other(KeyStage::Successor)?),
    };
    Ok(Keys {
        signing: Arc::new(signing),
        authority,
        successor,
    })
}

/// What an authority key is sealed as.
pub(crate) fn authority_key_name(public_key: &[u8]) -> String {
    public_key
        .iter()
        .fold("authority key ".to_owned(), |name, byte| {
            format!("{name}{byte:02x}")
        })
}

/// A new authority key and its sealed form.
pub(crate) fn new_authority_key(
    vault: &Vault,
    rng: &mut dyn rand_core::CryptoRng,
) -> (Vec<u8>, Vec<u8>) {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    rng.fill_bytes(seed.as_mut());
    let public_key = SigningKey::from_seed(&seed)
        .verifying_key()
        .as_bytes()
        .to_vec();
    let sealed = vault.seal(&authority_key_name(&public_key), seed.as_ref(), rng);
    (public_key, sealed)
}
