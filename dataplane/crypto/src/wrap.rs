//! Key wrap to a device: HPKE base mode (RFC 9180) with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
//!
//! The hybrid with ML-KEM-768 comes where devices enrol; the shape of this API does not change with it.

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::OpenError;

type Kem = X25519HkdfSha256;

/// A device's key pair.
pub struct WrapKeyPair {
    private: <Kem as hpke::Kem>::PrivateKey,
    public: WrapPublicKey,
}

impl WrapKeyPair {
    /// Derives a pair from at least 32 random bytes (RFC 9180 4, DeriveKeyPair).
    #[must_use]
    pub fn derive(seed: &[u8; 32]) -> Self {
        let (private, public) = Kem::derive_keypair(seed);
        Self { private, public: WrapPublicKey(public.to_bytes().into()) }
    }

    /// The half that others wrap to.
    #[must_use]
    pub fn public(&self) -> &WrapPublicKey {
        &self.public
    }

    /// Opens what was wrapped to this pair with the same `info` and `aad`.
    ///
    /// # Errors
    /// [`OpenError`] when it was altered, wrapped to another key, or with other `info` or `aad`.
    pub fn unwrap(&self, wrapped: &Wrapped, info: &[u8], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(&wrapped.enc).map_err(|_| OpenError)?;
        hpke::single_shot_open::<AesGcm256, HkdfSha256, Kem>(&OpModeR::Base, &self.private, &enc, info, &wrapped.ciphertext, aad)
            .map(Zeroizing::new)
            .map_err(|_| OpenError)
    }
}

impl std::fmt::Debug for WrapKeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WrapKeyPair(of {:?})", self.public)
    }
}

/// The public half, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WrapPublicKey([u8; 32]);

impl WrapPublicKey {
    /// Off the wire.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Wraps `plaintext` to this key.
    ///
    /// # Errors
    /// [`OpenError`] when these bytes are no usable key (a point of small order).
    pub fn wrap(&self, info: &[u8], aad: &[u8], plaintext: &[u8], rng: &mut impl CryptoRng) -> Result<Wrapped, OpenError> {
        let public = <Kem as hpke::Kem>::PublicKey::from_bytes(&self.0).map_err(|_| OpenError)?;
        let (enc, ciphertext) = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, Kem>(
            &OpModeS::Base,
            &public,
            info,
            plaintext,
            aad,
            rng,
        )
        .map_err(|_| OpenError)?;
        Ok(Wrapped { enc: enc.to_bytes().into(), ciphertext })
    }
}

impl std::fmt::Debug for WrapPublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WrapPublicKey({})", crate::kdf::hex(&self.0[..8]))
    }
}

/// A wrapped key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrapped {
    /// The encapsulated key (an ephemeral X25519 public key).
    pub enc: [u8; 32],
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}
