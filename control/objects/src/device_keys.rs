//! The public keys of a device: what it signs with, and what secrets are wrapped to (SEC-01).

use sealcast_crypto::{VerifyingKey, WrapPublicKey};

use crate::api::DeviceKeys;

/// The keys of a device. The secret halves never leave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKeys {
    /// What it signs with.
    pub sign: VerifyingKey,
    /// What secrets are wrapped to.
    pub wrap: WrapPublicKey,
}

/// Which of them is no key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoKeys {
    /// What signatures are checked with.
    #[error("`sign` is no public key of Ed25519: it has {0} bytes, not 32")]
    Sign(usize),
    /// What secrets are wrapped to.
    #[error("`wrap` is no public key of MLKEM768-X25519: {0}")]
    Wrap(String),
}

impl TryFrom<&DeviceKeys> for PublicKeys {
    type Error = NoKeys;

    fn try_from(told: &DeviceKeys) -> Result<Self, NoKeys> {
        let sign = told.sign.as_slice().try_into();
        let wrap = WrapPublicKey::from_bytes(&told.wrap);
        Ok(Self {
            sign: VerifyingKey::from_bytes(sign.map_err(|_| NoKeys::Sign(told.sign.len()))?),
            wrap: wrap.map_err(|error| NoKeys::Wrap(error.to_string()))?,
        })
    }
}

impl From<&PublicKeys> for DeviceKeys {
    fn from(keys: &PublicKeys) -> Self {
        Self {
            sign: keys.sign.as_bytes().to_vec(),
            wrap: keys.wrap.to_bytes(),
        }
    }
}
