//! Keys wrapped to one device: HPKE (RFC 9180) in base mode with MLKEM768-X25519 (X-Wing: draft-connolly-cfrg-xwing-kem,
//! draft-ietf-hpke-pq), HKDF-SHA256 and AES-256-GCM. Whoever wants to open one must break both X25519 and ML-KEM-768. Each wrap
//! encapsulates a fresh key, so it is good for one message and needs no counter.
//!
//! Base mode does not say who wrapped: whoever needs that signs what contains the [`Wrapped`] value.

use std::fmt;

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

type Kem = XWing;
type Private = <Kem as hpke::Kem>::PrivateKey;
type Public = <Kem as hpke::Kem>::PublicKey;
type Encapped = <Kem as hpke::Kem>::EncappedKey;

/// Bytes of a public key.
pub const WRAP_PUBLIC_LEN: usize = 1216;
/// Bytes of an encapsulated key.
const ENC_LEN: usize = 1120;
/// Bytes of a private key: a seed.
const SEED_LEN: usize = 32;

/// The public key of a device. It was checked: something can be wrapped to it.
#[derive(Clone, PartialEq, Eq)]
pub struct WrapPublicKey(Public);

/// What was wrapped, for one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// The encapsulated key: 1120 bytes.
    pub enc: Vec<u8>,
    /// The ciphertext with its 16-byte tag.
    pub ciphertext: Vec<u8>,
}

/// These bytes are no public key: there are not 1216 of them, or numbers of ML-KEM are out of range (FIPS 203 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these are no {WRAP_PUBLIC_LEN} bytes of a public key of MLKEM768-X25519")]
pub struct NoWrapKey;

/// What was to be unwrapped is forged, damaged, or meant for another device or purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wrapped bytes are not genuine")]
pub struct UnwrapError;

/// The key pair of a device.
pub struct WrapKeyPair {
    seed: Zeroizing<[u8; SEED_LEN]>,
    public: WrapPublicKey,
}

impl WrapPublicKey {
    /// The key of these bytes.
    ///
    /// # Errors
    /// [`NoWrapKey`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoWrapKey> {
        Public::from_bytes(bytes).map(Self).map_err(|_| NoWrapKey)
    }

    /// Its bytes, [`WRAP_PUBLIC_LEN`] of them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes().to_vec()
    }
}

impl fmt::Debug for WrapPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The beginning tells it from others.
        let beginning = &self.to_bytes()[..16];
        f.debug_tuple("WrapPublicKey")
            .field(&crate::bytes::Hex(beginning))
            .finish()
    }
}

fn private(seed: &[u8; SEED_LEN]) -> Private {
    Private::from_bytes(seed).expect("any 32 bytes are a seed")
}

impl WrapKeyPair {
    /// A new key pair.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        rng.fill_bytes(seed.as_mut());
        Self::from_private_bytes(&seed)
    }

    /// A key pair that was kept as its [private bytes](Self::private_bytes). Any 32 bytes are one.
    #[must_use]
    pub fn from_private_bytes(seed: &[u8; SEED_LEN]) -> Self {
        Self {
            seed: Zeroizing::new(*seed),
            public: WrapPublicKey(Kem::sk_to_pk(&private(seed))),
        }
    }

    /// The secret bytes, for the device's own storage.
    #[must_use]
    pub fn private_bytes(&self) -> &Zeroizing<[u8; SEED_LEN]> {
        &self.seed
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &WrapPublicKey {
        &self.public
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
        if wrapped.enc.len() != ENC_LEN {
            return Err(UnwrapError);
        }
        let enc = Encapped::from_bytes(&wrapped.enc).map_err(|_| UnwrapError)?;
        let opened = hpke::single_shot_open::<AesGcm256, HkdfSha256, Kem>(
            &OpModeR::Base,
            &private(&self.seed),
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
#[must_use]
pub fn wrap(
    public: &WrapPublicKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    mut rng: &mut dyn CryptoRng,
) -> Wrapped {
    let sealed = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, Kem>(
        &OpModeS::Base,
        &public.0,
        info,
        plaintext,
        aad,
        &mut rng,
    );
    let (enc, ciphertext) = sealed.expect("the key was checked, and the message has an end");
    Wrapped {
        enc: enc.to_bytes().to_vec(),
        ciphertext,
    }
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
        let wrapped = wrap(owner.public(), b"info", b"aad", b"content key", rng);
        assert_eq!(wrapped.enc.len(), ENC_LEN);
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
        for index in (0..ENC_LEN).step_by(5) {
            let mut damaged = wrapped.clone();
            damaged.enc[index] ^= 1;
            assert_eq!(
                owner.unwrap(b"info", b"aad", &damaged),
                Err(UnwrapError),
                "byte {index} of enc"
            );
        }
        for length in [0, 1, ENC_LEN - 1, ENC_LEN + 1] {
            let enc = wrapped.enc.iter().copied().cycle().take(length);
            let other = Wrapped {
                enc: enc.collect(),
                ..wrapped.clone()
            };
            assert_eq!(owner.unwrap(b"info", b"aad", &other), Err(UnwrapError));
        }
        let cut = Wrapped {
            ciphertext: Vec::new(),
            ..wrapped
        };
        assert_eq!(owner.unwrap(b"info", b"aad", &cut), Err(UnwrapError));
    }

    #[test]
    fn a_public_key_is_checked_and_comes_back() {
        let pair = WrapKeyPair::generate(&mut ChaCha20Rng::seed_from_u64(2));
        let bytes = pair.public().to_bytes();
        assert_eq!(bytes.len(), WRAP_PUBLIC_LEN);
        assert_eq!(
            WrapPublicKey::from_bytes(&bytes).as_ref(),
            Ok(pair.public())
        );
        assert_eq!(WrapPublicKey::from_bytes(&bytes[1..]), Err(NoWrapKey));
        assert_eq!(WrapPublicKey::from_bytes(b""), Err(NoWrapKey));
        // 4095 is no number modulo 3329.
        let bad = [&[0xff; 3], &bytes[3..]].concat();
        assert_eq!(WrapPublicKey::from_bytes(&bad), Err(NoWrapKey));
    }

    #[test]
    fn a_key_pair_survives_storage() {
        let pair = WrapKeyPair::generate(&mut ChaCha20Rng::seed_from_u64(3));
        let again = WrapKeyPair::from_private_bytes(pair.private_bytes());
        assert_eq!(again.public(), pair.public());
        assert_eq!(again.private_bytes(), pair.private_bytes());
    }

    #[test]
    fn debug_shows_the_public_half_only() {
        let pair = WrapKeyPair::from_private_bytes(&[0x77; SEED_LEN]);
        assert_eq!(
            format!("{pair:?}"),
            format!("WrapKeyPair {{ public: {:?}, .. }}", pair.public())
        );
        assert!(!format!("{pair:?}").contains("7777"));
    }
}
