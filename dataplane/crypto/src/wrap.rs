//! Keys wrapped to one device: HPKE (RFC 9180) in base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and
//! AES-256-GCM. Each wrap makes a fresh key pair, so it is good for one message and needs no counter.
//!
//! Base mode does not say who wrapped: whoever needs that signs what contains the [`Wrapped`] value.
//!
//! X25519 does not withstand a quantum computer. The hybrid with ML-KEM-768 (X-Wing) takes its place where devices
//! enrol; it changes the length of keys and of [`Wrapped::enc`], which is why this file keeps to one choice.

use std::fmt;

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::bytes::public_bytes;

type Kem = X25519HkdfSha256;

const KEY_LEN: usize = 32;

/// The X25519 public key of a device, as it travels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WrapPublicKey([u8; KEY_LEN]);
public_bytes!(WrapPublicKey, 32);

/// What was wrapped, for one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// The encapsulated key: an X25519 public key made for this wrap.
    pub enc: [u8; KEY_LEN],
    /// The ciphertext with its 16-byte tag.
    pub ciphertext: Vec<u8>,
}

/// The public key is a point of small order, to which nothing can be wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the public key is not fit to wrap to")]
pub struct WrapError;

/// What was to be unwrapped is forged, damaged, or meant for another device or purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wrapped bytes are not genuine")]
pub struct UnwrapError;

/// The X25519 key pair of a device.
pub struct WrapKeyPair {
    private: <Kem as hpke::Kem>::PrivateKey,
    public: WrapPublicKey,
}

impl WrapKeyPair {
    /// A new key pair.
    pub fn generate(mut rng: &mut dyn CryptoRng) -> Self {
        let (private, public) = Kem::gen_keypair_with_rng(&mut rng);
        Self {
            private,
            public: WrapPublicKey(public.to_bytes().into()),
        }
    }

    /// A key pair that was kept as its [private bytes](Self::private_bytes). Any 32 bytes are a key; they are clamped.
    #[must_use]
    pub fn from_private_bytes(bytes: &[u8; KEY_LEN]) -> Self {
        let private = <Kem as hpke::Kem>::PrivateKey::from_bytes(bytes)
            .expect("any 32 bytes are a private key");
        let public = Kem::sk_to_pk(&private).to_bytes().into();
        Self {
            private,
            public: WrapPublicKey(public),
        }
    }

    /// The secret bytes, for the device's own storage.
    #[must_use]
    pub fn private_bytes(&self) -> Zeroizing<[u8; KEY_LEN]> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        self.private.write_exact(bytes.as_mut());
        bytes
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> WrapPublicKey {
        self.public
    }

    /// Unwraps what was wrapped to the public half under the same `info` and `aad`.
    ///
    /// # Errors
    /// [`UnwrapError`] if it was not.
    pub fn unwrap(
        &self,
        info: &[u8],
        aad: &[u8],
        wrapped: &Wrapped,
    ) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
        let enc =
            <Kem as hpke::Kem>::EncappedKey::from_bytes(&wrapped.enc).map_err(|_| UnwrapError)?;
        let (mode, private) = (OpModeR::Base, &self.private);
        let opened = hpke::single_shot_open::<AesGcm256, HkdfSha256, Kem>(
            &mode,
            private,
            &enc,
            info,
            &wrapped.ciphertext,
            aad,
        );
        opened.map(Zeroizing::new).map_err(|_| UnwrapError)
    }
}

impl fmt::Debug for WrapKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrapKeyPair")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Wraps `plaintext` to the owner of `public`. `info` names the purpose, `aad` what it belongs to; both must be the same
/// when it is unwrapped, and neither is part of the result.
///
/// # Errors
/// [`WrapError`] if `public` is a point of small order.
pub fn wrap(
    public: &WrapPublicKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    mut rng: &mut dyn CryptoRng,
) -> Result<Wrapped, WrapError> {
    let public = <Kem as hpke::Kem>::PublicKey::from_bytes(&public.0).map_err(|_| WrapError)?;
    let sealed = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, Kem>(
        &OpModeS::Base,
        &public,
        info,
        plaintext,
        aad,
        &mut rng,
    );
    let (enc, ciphertext) = sealed.map_err(|_| WrapError)?;
    Ok(Wrapped {
        enc: enc.to_bytes().into(),
        ciphertext,
    })
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn only_the_owner_unwraps_and_only_what_was_wrapped() {
        let rng = &mut ChaCha20Rng::seed_from_u64(1);
        let (owner, other) = (WrapKeyPair::generate(rng), WrapKeyPair::generate(rng));
        let wrapped = wrap(&owner.public(), b"info", b"aad", b"content key", rng).unwrap();
        assert_eq!(wrapped.ciphertext.len(), 11 + 16);
        assert_eq!(
            **owner.unwrap(b"info", b"aad", &wrapped).unwrap(),
            *b"content key"
        );

        assert_eq!(other.unwrap(b"info", b"aad", &wrapped), Err(UnwrapError));
        assert_eq!(owner.unwrap(b"infx", b"aad", &wrapped), Err(UnwrapError));
        assert_eq!(owner.unwrap(b"info", b"aax", &wrapped), Err(UnwrapError));
        for index in 0..wrapped.ciphertext.len() {
            let mut damaged = wrapped.clone();
            damaged.ciphertext[index] ^= 1;
            assert_eq!(
                owner.unwrap(b"info", b"aad", &damaged),
                Err(UnwrapError),
                "byte {index}"
            );
        }
        for index in 0..KEY_LEN {
            let mut damaged = wrapped.clone();
            damaged.enc[index] ^= 1;
            assert_eq!(
                owner.unwrap(b"info", b"aad", &damaged),
                Err(UnwrapError),
                "byte {index} of enc"
            );
        }
        let cut = Wrapped {
            ciphertext: Vec::new(),
            ..wrapped
        };
        assert_eq!(owner.unwrap(b"info", b"aad", &cut), Err(UnwrapError));
    }

    #[test]
    fn a_point_of_small_order_is_refused() {
        let rng = &mut ChaCha20Rng::seed_from_u64(2);
        let small = [0; KEY_LEN];
        assert_eq!(
            wrap(&WrapPublicKey(small), b"", b"", b"x", rng),
            Err(WrapError)
        );
        let wrapped = Wrapped {
            enc: small,
            ciphertext: vec![0; 17],
        };
        assert_eq!(
            WrapKeyPair::generate(rng).unwrap(b"", b"", &wrapped),
            Err(UnwrapError)
        );
    }

    #[test]
    fn a_key_pair_survives_storage() {
        let pair = WrapKeyPair::generate(&mut ChaCha20Rng::seed_from_u64(3));
        let again = WrapKeyPair::from_private_bytes(&pair.private_bytes());
        assert_eq!(again.public(), pair.public());
        assert_eq!(again.private_bytes(), pair.private_bytes());
    }

    #[test]
    fn debug_shows_the_public_half_only() {
        let pair = WrapKeyPair::from_private_bytes(&[0x77; KEY_LEN]);
        assert_eq!(
            format!("{pair:?}"),
            format!("WrapKeyPair {{ public: {:?}, .. }}", pair.public())
        );
        assert!(!format!("{pair:?}").contains("7777"));
    }
}
