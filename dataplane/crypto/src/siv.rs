//! AES-256-GCM-SIV (RFC 8452) for cookies, key requests and key replies. Several servers seal under one key with random
//! nonces; if a nonce ever comes twice, this AEAD reveals only whether the two messages were equal.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::aead::TAG_LEN;

/// An AES-256-GCM-SIV key. The library wipes what it expands from it.
pub struct SivKey(LessSafeKey);

/// What was opened is forged, damaged, cut short, or sealed under another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes are not genuine")]
pub struct OpenError;

impl SivKey {
    /// Length of a nonce, in bytes.
    pub const NONCE_LEN: usize = 12;
    /// Length of the tag behind the ciphertext, in bytes.
    pub const TAG_LEN: usize = TAG_LEN;

    /// Expands a key of 32 random bytes.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        let key = Zeroizing::new(key);
        Self(LessSafeKey::new(
            UnboundKey::new(&AES_256_GCM_SIV, &*key).expect("the key has the right length"),
        ))
    }

    /// Encrypts `buf` and appends the tag. `nonce` should be random.
    ///
    /// # Panics
    /// If `buf` is longer than the 64 GiB of RFC 8452.
    pub fn seal_in_place(&self, nonce: [u8; Self::NONCE_LEN], aad: &[u8], buf: &mut Vec<u8>) {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self.0.seal_in_place_append_tag(nonce, Aad::from(aad), buf);
        sealed.expect("messages are far below 64 GiB");
    }

    /// Encrypts what stands in `buf` from `start` on, and appends the tag. `nonce` should be random.
    ///
    /// # Panics
    /// As [`SivKey::seal_in_place`], and if `start` is beyond the end.
    pub fn seal_tail(
        &self,
        nonce: [u8; Self::NONCE_LEN],
        aad: &[u8],
        buf: &mut Vec<u8>,
        start: usize,
    ) {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut buf[start..]);
        let tag = sealed.expect("messages are far below 64 GiB");
        buf.extend_from_slice(tag.as_ref());
    }

    /// Decrypts `buf`, ciphertext and tag, and gives back the plaintext at its start.
    ///
    /// # Errors
    /// [`OpenError`]; `buf` is zeroed then, so that no unverified plaintext remains.
    pub fn open_in_place<'a>(
        &self,
        nonce: [u8; Self::NONCE_LEN],
        aad: &[u8],
        buf: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        let opened = self
            .0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), buf);
        let Ok(len) = opened.map(|plaintext| plaintext.len()) else {
            buf.fill(0);
            return Err(OpenError);
        };
        Ok(&mut buf[..len])
    }
}

impl fmt::Debug for SivKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SivKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; 12] = [3; 12];

    #[test]
    fn each_field_is_authenticated() {
        let key = SivKey::new([1; 32]);
        let mut sealed = b"plaintext".to_vec();
        key.seal_in_place(NONCE, b"aad", &mut sealed);
        assert_eq!(sealed.len(), 9 + SivKey::TAG_LEN);
        assert_eq!(
            key.open_in_place(NONCE, b"aad", &mut sealed.clone()),
            Ok(b"plaintext".to_vec().as_mut_slice())
        );

        assert_eq!(
            key.open_in_place([4; 12], b"aad", &mut sealed.clone()),
            Err(OpenError)
        );
        assert_eq!(
            key.open_in_place(NONCE, b"aae", &mut sealed.clone()),
            Err(OpenError)
        );
        assert_eq!(
            SivKey::new([2; 32]).open_in_place(NONCE, b"aad", &mut sealed.clone()),
            Err(OpenError)
        );
        for index in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[index] ^= 1;
            assert_eq!(
                key.open_in_place(NONCE, b"aad", &mut damaged),
                Err(OpenError),
                "byte {index}"
            );
            assert!(damaged.iter().all(|&byte| byte == 0), "byte {index}");
        }
    }

    #[test]
    fn a_tail_is_sealed_as_if_it_stood_alone() {
        let key = SivKey::new([1; 32]);
        let mut whole = b"plaintext".to_vec();
        key.seal_in_place(NONCE, b"aad", &mut whole);
        let mut tail = b"before plaintext".to_vec();
        key.seal_tail(NONCE, b"aad", &mut tail, 7);
        assert_eq!(tail, [b"before ", &whole[..]].concat());
    }

    #[test]
    fn what_is_shorter_than_a_tag_is_refused() {
        let key = SivKey::new([1; 32]);
        for len in 0..SivKey::TAG_LEN {
            assert_eq!(
                key.open_in_place(NONCE, b"", &mut vec![7; len]),
                Err(OpenError)
            );
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", SivKey::new([0x77; 32])), "SivKey(..)");
    }
}
