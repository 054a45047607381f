//! Ed25519 signatures (RFC 8032, without context or prehash).
//!
//! **Strictness.** [`VerifyingKey::verify`] checks S·B = R + k·A without multiplying by the cofactor, and refuses
//! - an S that is not below the group order (so nobody can turn one signature into another),
//! - an R that is not the canonical encoding of the point computed,
//! - a key that is no point of the curve.
//!
//! Keys of small order are *not* refused: whoever owns such a key can make signatures that hold for many messages. A key
//! is therefore trusted because of who vouches for it, never because a signature verifies under it.

use std::fmt;

use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::bytes::public_bytes;

/// An Ed25519 signature, R and S.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature([u8; 64]);
public_bytes!(Signature, 64);

/// An Ed25519 public key as it travels; whether it is a point of the curve shows when it verifies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey([u8; 32]);
public_bytes!(VerifyingKey, 32);

/// The signature does not hold for this message and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not hold")]
pub struct BadSignature;

impl VerifyingKey {
    /// Checks that the owner of this key signed `message`, by the rules at the top of this file.
    ///
    /// # Errors
    /// [`BadSignature`] if not, or if this is no key at all.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let key = UnparsedPublicKey::new(&signature::ED25519, &self.0);
        key.verify(message, &signature.0).map_err(|_| BadSignature)
    }
}

/// An Ed25519 private key. The library wipes it when it frees it.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// The key that `seed`, 32 random bytes, stands for (RFC 8032 5.1.5).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed"))
    }

    /// Signs `message`. The same message always gets the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let signature = self.0.sign(message);
        Signature(
            signature
                .as_ref()
                .try_into()
                .expect("an Ed25519 signature has 64 bytes"),
        )
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(
            self.0
                .public_key()
                .as_ref()
                .try_into()
                .expect("an Ed25519 public key has 32 bytes"),
        )
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("verifying_key", &self.verifying_key())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 32] = [0x5a; 32];

    #[test]
    fn a_signature_holds_for_its_message_and_key_only() {
        let key = SigningKey::from_seed(&SEED);
        let signature = key.sign(b"message");
        assert_eq!(key.verifying_key().verify(b"message", &signature), Ok(()));
        assert_eq!(
            key.verifying_key().verify(b"massage", &signature),
            Err(BadSignature)
        );
        let other = SigningKey::from_seed(&[0xa5; 32]).verifying_key();
        assert_eq!(other.verify(b"message", &signature), Err(BadSignature));
        for bit in 0..512 {
            let mut bytes = *signature.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let damaged = Signature::from_bytes(bytes);
            assert_eq!(
                key.verifying_key().verify(b"message", &damaged),
                Err(BadSignature),
                "bit {bit}"
            );
        }
    }

    /// S + L would hold as well if its range were not checked.
    #[test]
    fn a_signature_cannot_be_turned_into_another() {
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let key = SigningKey::from_seed(&SEED);
        let mut bytes = *key.sign(b"message").as_bytes();
        let mut carry = 0;
        for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            [*byte, _] = sum.to_le_bytes();
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert_eq!(
            key.verifying_key().verify(b"message", &Signature(bytes)),
            Err(BadSignature)
        );
    }

    #[test]
    fn what_is_no_point_verifies_nothing() {
        // y = 2 has no x on the curve.
        let mut bytes = [0; 32];
        bytes[0] = 2;
        assert_eq!(
            VerifyingKey(bytes).verify(b"", &Signature([0; 64])),
            Err(BadSignature)
        );
    }

    /// The neutral point as key and as R, S = 0: the equation holds for every message. The module says so.
    #[test]
    fn a_key_of_small_order_is_taken() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert_eq!(
            VerifyingKey(neutral).verify(b"anything", &Signature(signature)),
            Ok(())
        );
        // The same R, not canonically encoded: y = p + 1.
        signature[..32].copy_from_slice(&[0xff; 32]);
        (signature[0], signature[31]) = (0xee, 0x7f);
        assert_eq!(
            VerifyingKey(neutral).verify(b"anything", &Signature(signature)),
            Err(BadSignature)
        );
    }

    #[test]
    fn debug_shows_the_public_half_only() {
        let key = SigningKey::from_seed(&SEED);
        let public: String = key
            .verifying_key()
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            format!("{key:?}"),
            format!("SigningKey {{ verifying_key: VerifyingKey({public}), .. }}")
        );
    }
}
