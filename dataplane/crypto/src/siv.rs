//! AES-256-GCM-SIV (RFC 8452) through aws-lc-rs: what the key door seals with, where many servers share a key and nonces
//! are random. A repeated nonce reveals no more than that two messages are equal.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::OpenError;

/// A nonce, drawn at random.
pub type SivNonce = [u8; 12];

/// A key of 32 bytes.
pub struct SivKey(LessSafeKey);

impl SivKey {
    /// Expands a key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key).expect("32 bytes are a key")))
    }

    /// Encrypts `message` in place and appends the 16-byte tag.
    ///
    /// # Panics
    /// For messages beyond 2^36 bytes: the caller's own bug.
    pub fn seal_in_place(&self, nonce: &SivNonce, aad: &[u8], message: &mut Vec<u8>) {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.seal_in_place_append_tag(nonce, Aad::from(aad), message).expect("a message of ordinary length");
    }

    /// Decrypts `message` (ciphertext and tag) in place and returns the plaintext.
    ///
    /// # Errors
    /// [`OpenError`] when it was altered or sealed otherwise.
    pub fn open_in_place<'a>(&self, nonce: &SivNonce, aad: &[u8], message: &'a mut [u8]) -> Result<&'a mut [u8], OpenError> {
        self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), message).map_err(|_| OpenError)
    }
}

impl std::fmt::Debug for SivKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SivKey(..)")
    }
}
