//! From an epoch root to lane keys and commitments: HKDF with SHA-512 (RFC 5869), as RFC 9605 4.4.2 derives them.
//!
//! ```text
//! root --Extract(salt "")--> prk --Expand("SFrame 1.0 Secret key "  | KID | suite)--> lane key
//!                             |--Expand("SFrame 1.0 Secret salt " | KID | suite)--> lane salt
//!                             `--Expand("sealcast commit" | channel | epoch)------> commitment
//! ```

use aws_lc_rs::hkdf;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `AES_256_GCM_SHA512_128` (RFC 9605, IANA "SFrame Cipher Suites").
const SUITE: [u8; 2] = [0x00, 0x05];

/// 32 random bytes per channel and epoch: the decipher half. Every lane's key comes from it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct EpochRoot([u8; 32]);

impl EpochRoot {
    /// From bytes that were drawn at random.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be sent to those who may have them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The extracted key; many lanes derive from one.
    #[must_use]
    pub fn prk(&self) -> Prk {
        Prk(hkdf::Salt::new(hkdf::HKDF_SHA512, &[]).extract(&self.0))
    }
}

impl PartialEq for EpochRoot {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for EpochRoot {}

impl std::fmt::Debug for EpochRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EpochRoot(..)")
    }
}

/// HKDF-Extract of an epoch root.
#[derive(Clone)]
pub struct Prk(hkdf::Prk);

impl std::fmt::Debug for Prk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prk(..)")
    }
}

impl Prk {
    /// HKDF-Expand with the concatenated `label` into `out`.
    ///
    /// # Panics
    /// When `out` is longer than 255 hashes (16,320 bytes): the caller's own bug.
    pub fn expand(&self, label: &[&[u8]], out: &mut [u8]) {
        struct Len(usize);
        impl hkdf::KeyType for Len {
            fn len(&self) -> usize {
                self.0
            }
        }
        let okm = self.0.expand(label, Len(out.len())).expect("at most 255 hashes");
        okm.fill(out).expect("the length asked for");
    }

    /// Key and salt of the lane with this key id (RFC 9605 4.4.2).
    #[must_use]
    pub fn lane_secret(&self, kid: u64) -> LaneSecret {
        let kid = kid.to_be_bytes();
        let mut secret = LaneSecret { key: [0; 32], salt: [0; 12] };
        self.expand(&[b"SFrame 1.0 Secret key ", &kid, &SUITE], &mut secret.key);
        self.expand(&[b"SFrame 1.0 Secret salt ", &kid, &SUITE], &mut secret.salt);
        secret
    }

    /// What a signed Notice says of this root, so that nobody can put another in its place.
    #[must_use]
    pub fn commitment(&self, channel: u16, epoch: u64) -> Commitment {
        let mut bytes = [0; 32];
        self.expand(&[b"sealcast commit", &channel.to_be_bytes(), &epoch.to_be_bytes()], &mut bytes);
        Commitment(bytes)
    }
}

/// Key and salt of one lane in one epoch: the cipher half. Reveals neither the root nor another lane.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct LaneSecret {
    key: [u8; 32],
    salt: [u8; 12],
}

impl LaneSecret {
    /// From its parts.
    #[must_use]
    pub fn from_parts(key: [u8; 32], salt: [u8; 12]) -> Self {
        Self { key, salt }
    }

    /// The AES-256 key.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// The salt of the nonces.
    #[must_use]
    pub fn salt(&self) -> &[u8; 12] {
        &self.salt
    }
}

impl PartialEq for LaneSecret {
    fn eq(&self, other: &Self) -> bool {
        (self.key.ct_eq(&other.key) & self.salt.ct_eq(&other.salt)).into()
    }
}

impl Eq for LaneSecret {}

impl std::fmt::Debug for LaneSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LaneSecret(..)")
    }
}

/// 32 bytes that bind an epoch's number to its root.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commitment([u8; 32]);

impl Commitment {
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
}

impl std::fmt::Debug for Commitment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Commitment({})", hex(&self.0[..8]))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
