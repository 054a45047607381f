//! The keys that the server signs with: one for each role, made at the first start, sealed in the store (SEC-25).

use rand_core::CryptoRng;
use sealcast_crypto::SigningKey;
use sealcast_domain::keys;
use sealcast_objects::api::{Signer, SignerRole};
use zeroize::Zeroizing;

use crate::server::StartError;
use crate::store::Store;
use crate::vault::Vault;

/// The keys of a server.
#[derive(Debug)]
pub(crate) struct Signers {
    /// Signs heads of the audit log.
    pub(crate) audit: SigningKey,
    /// Signs licences, and the lists of which count.
    pub(crate) licences: SigningKey,
}

impl Signers {
    /// Those of the store; what is missing is made.
    ///
    /// # Errors
    /// The store's; a key that does not open.
    pub(crate) fn open(
        store: &Store,
        vault: &Vault,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, StartError> {
        Ok(Self {
            audit: key(store, vault, rng, "audit key")?,
            licences: key(store, vault, rng, "licence key")?,
        })
    }

    /// What others need to check signatures.
    pub(crate) fn public(&self) -> Vec<Signer> {
        let roles = [
            (SignerRole::Licences, &self.licences),
            (SignerRole::Audit, &self.audit),
        ];
        let signer = |(role, key): (SignerRole, &SigningKey)| Signer {
            role,
            key: key.verifying_key().as_bytes().to_vec(),
        };
        roles.map(signer).into()
    }
}

/// The key that is sealed under this name.
fn key(
    store: &Store,
    vault: &Vault,
    rng: &mut dyn CryptoRng,
    name: &'static str,
) -> Result<SigningKey, StartError> {
    let kept = store.read_blocking(|store| keys::secret(store, name))?;
    if let Some(sealed) = kept {
        return Ok(SigningKey::from_seed(&*vault.open_key(name, &sealed)?));
    }
    let mut seed = Zeroizing::new([0; 32]);
    rng.fill_bytes(seed.as_mut());
    let sealed = vault.seal(name, seed.as_ref(), rng);
    store.write_blocking(move |tx| keys::put_secret(tx, name, &sealed))?;
    Ok(SigningKey::from_seed(&seed))
}
