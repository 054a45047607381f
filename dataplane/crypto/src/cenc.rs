//! What packagers of Common Encryption (ISO/IEC 23001-7) need: their keys, and the signatures of their requests.

use std::fmt;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::iv::FixedLength;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a key of Common Encryption, and of its id.
pub const CENC_KEY_LEN: usize = 16;
/// Bytes of the initialisation vector of a [`RequestSigner`].
pub const SIGNER_IV_LEN: usize = 16;

/// A key of Common Encryption: AES-128.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct CencKey(pub(crate) [u8; CENC_KEY_LEN]);

impl CencKey {
    /// Takes the secret bytes, as they were stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; CENC_KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; CENC_KEY_LEN] {
        &self.0
    }
}

impl PartialEq for CencKey {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for CencKey {}

impl fmt::Debug for CencKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CencKey(..)")
    }
}

/// No AES key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a signing key has 16, 24 or 32 bytes")]
pub struct NoSigningKey;

/// Signs requests for keys as Widevine's common encryption API does, for want of a MAC: AES-CBC of the SHA-1 of the request, padded as
/// in PKCS #7, under a key and a fixed initialisation vector. TLS and a token stand in front of it.
pub struct RequestSigner {
    key: PaddedBlockEncryptingKey,
    iv: [u8; SIGNER_IV_LEN],
}

impl fmt::Debug for RequestSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestSigner(..)")
    }
}

impl RequestSigner {
    /// A signer of this key (16, 24 or 32 bytes) and initialisation vector.
    ///
    /// # Errors
    /// [`NoSigningKey`] when the key has another length.
    pub fn new(key: &[u8], iv: [u8; SIGNER_IV_LEN]) -> Result<Self, NoSigningKey> {
        let cipher = match key.len() {
            16 => &AES_128,
            24 => &AES_192,
            32 => &AES_256,
            _ => return Err(NoSigningKey),
        };
        let key = UnboundCipherKey::new(cipher, key).and_then(PaddedBlockEncryptingKey::cbc_pkcs7);
        Ok(Self {
            key: key.map_err(|_| NoSigningKey)?,
            iv,
        })
    }

    /// The signature of a request.
    #[must_use]
    pub fn sign(&self, request: &[u8]) -> Vec<u8> {
        let mut signature = digest(&SHA1_FOR_LEGACY_USE_ONLY, request).as_ref().to_vec();
        let iv = EncryptionContext::Iv128(FixedLength::from(self.iv));
        self.key
            .less_safe_encrypt(&mut signature, iv)
            .expect("CBC encrypts 20 bytes");
        signature
    }

    /// Whether `signature` is that of `request`; in constant time.
    #[must_use]
    pub fn verifies(&self, request: &[u8], signature: &[u8]) -> bool {
        self.sign(request).ct_eq(signature).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [
        0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
        0xff, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd,
        0xee, 0xff,
    ];
    const IV: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    /// What Shaka Packager 3.8 sent for this request, key and vector.
    #[test]
    fn a_request_is_signed_as_shaka_packager_does() {
        let request = br#"{"content_id":"AQI=","policy":"","tracks":[{"type":"SD"},{"type":"HD"},{"type":"UHD1"},{"type":"UHD2"},{"type":"AUDIO"}],"drm_types":["WIDEVINE"],"protection_scheme":"CENC"}"#;
        let expected = [
            0xeb, 0x92, 0x60, 0x52, 0x1c, 0x57, 0x28, 0xc0, 0xc6, 0xb6, 0xcf, 0x22, 0x0d, 0xe1,
            0xa1, 0x99, 0xa2, 0xac, 0xca, 0x93, 0x27, 0x52, 0x90, 0x5f, 0xf7, 0xc3, 0x24, 0x54,
            0x86, 0x88, 0x6f, 0x87,
        ];
        let signer = RequestSigner::new(&KEY, IV).unwrap();
        assert_eq!(signer.sign(request), expected);
    }

    #[test]
    fn only_the_right_signature_verifies() {
        let signer = RequestSigner::new(&KEY[..16], IV).unwrap();
        let signature = signer.sign(b"keys, please");
        assert!(signer.verifies(b"keys, please", &signature));
        assert!(!signer.verifies(b"keys, pleasf", &signature));
        assert!(!signer.verifies(b"keys, please", &signature[..31]));
        assert!(!signer.verifies(b"keys, please", &[]));
        for index in 0..signature.len() {
            let mut wrong = signature.clone();
            wrong[index] ^= 1;
            assert!(!signer.verifies(b"keys, please", &wrong));
        }
        let other = RequestSigner::new(&KEY[..24], IV).unwrap();
        assert!(!other.verifies(b"keys, please", &signature));
        assert_eq!(
            RequestSigner::new(&KEY[..20], IV).unwrap_err(),
            NoSigningKey
        );
    }
}
