//! Which implementation of the packet AEAD a key uses: chosen once, when the key is made.

use crate::portable::PortableKey;

/// An implementation of the packet AEAD. Wide kernels join here as further variants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Backend {
    /// The crates `aes` and `ghash`: every architecture, and Miri.
    Portable,
}

impl Backend {
    /// The fastest one that this processor runs.
    #[must_use]
    pub fn detect() -> Self {
        Self::Portable
    }
}

/// An expanded key of one backend: one match per call, loops inside.
pub(crate) enum ExpandedKey {
    Portable(Box<PortableKey>),
}

impl ExpandedKey {
    pub(crate) fn new(backend: Backend, key: &[u8; 32]) -> Self {
        match backend {
            Backend::Portable => Self::Portable(Box::new(PortableKey::new(key))),
        }
    }

    /// Encrypts `payload` in place and returns the tag.
    pub(crate) fn seal(&self, nonce: &[u8; 12], aad: &[u8], payload: &mut [u8]) -> [u8; 16] {
        match self {
            Self::Portable(key) => key.seal(nonce, aad, payload),
        }
    }

    /// Checks the tag and decrypts `payload` in place; zeroes it when the tag does not fit.
    pub(crate) fn open(&self, nonce: &[u8; 12], aad: &[u8], payload: &mut [u8], tag: &[u8; 16]) -> bool {
        match self {
            Self::Portable(key) => key.open(nonce, aad, payload, tag),
        }
    }
}
