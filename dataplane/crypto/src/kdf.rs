//! Key derivation: from an epoch root to the secrets of its lanes, and to the commitment that stands in its place
//! wherever the root itself must not. HKDF (RFC 5869) with SHA-512, as RFC 9605 4.4.2 uses it in cipher suite 0x0005.

use std::fmt;

use aws_lc_rs::{hkdf, hmac};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::aead::{KEY_LEN, SALT_LEN};
use crate::bytes::public_bytes;
use crate::cenc::{CENC_KEY_LEN, CencKey};

/// The cipher suite, AES_256_GCM_SHA512_128 (RFC 9605 8.1).
pub const SUITE: u16 = 0x0005;

const ROOT_LEN: usize = 32;
const SHA512_LEN: usize = 64;

/// The root of one channel and epoch: 32 random bytes from which every key of the epoch is derived. RFC 9605 calls it the
/// base key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct EpochRoot([u8; ROOT_LEN]);

impl EpochRoot {
    /// Takes 32 bytes, which must be random.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; ROOT_LEN]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; ROOT_LEN] {
        &self.0
    }

    /// The extracted key, to derive from.
    #[must_use]
    pub fn prk(&self) -> Prk {
        Prk::extract(&self.0)
    }
}

impl PartialEq for EpochRoot {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for EpochRoot {}

impl fmt::Debug for EpochRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochRoot(..)")
    }
}

/// Key and salt of one lane in one epoch: all that sealing and opening its packets needs.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct LaneSecret {
    key: [u8; KEY_LEN],
    salt: [u8; SALT_LEN],
}

impl LaneSecret {
    /// Puts key and salt together again, as they came over a private link.
    #[must_use]
    pub const fn from_parts(key: [u8; KEY_LEN], salt: [u8; SALT_LEN]) -> Self {
        Self { key, salt }
    }

    /// The AES-256 key (`sframe_key`).
    #[must_use]
    pub const fn key(&self) -> &[u8; KEY_LEN] {
        &self.key
    }

    /// The salt of the nonces (`sframe_salt`).
    #[must_use]
    pub const fn salt(&self) -> &[u8; SALT_LEN] {
        &self.salt
    }
}

impl PartialEq for LaneSecret {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        (self.key.ct_eq(&other.key) & self.salt.ct_eq(&other.salt)).into()
    }
}

impl Eq for LaneSecret {}

impl fmt::Debug for LaneSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaneSecret(..)")
    }
}

/// A public value that fixes one root for one channel and epoch without revealing it. AES-GCM itself does not commit to
/// its key, so this is what proves that two parties hold the same root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commitment([u8; 32]);
public_bytes!(Commitment, 32);

/// The pseudorandom key of an epoch root (`sframe_secret` in RFC 9605): HKDF-Extract done once, for any number of lanes.
#[derive(Clone)]
pub struct Prk(hkdf::Prk);

impl Prk {
    /// HKDF-Extract with SHA-512 and an empty salt, of a base key of any length.
    #[must_use]
    pub fn extract(base_key: &[u8]) -> Self {
        // The library's own extract does not extract: it repeats the step in every expand and keeps the root for it.
        let mut prk = Zeroizing::new([0; SHA512_LEN]);
        let empty_salt = hmac::Key::new(hmac::HMAC_SHA512, &[]);
        hmac::sign_to_buffer(&empty_salt, base_key, prk.as_mut())
            .expect("the buffer has the length of SHA-512");
        Self(hkdf::Prk::new_less_safe(hkdf::HKDF_SHA512, prk.as_ref()))
    }

    /// Key and salt of the lane whose packets bear `kid` (RFC 9605 4.4.2).
    #[must_use]
    pub fn lane_secret(&self, kid: u64) -> LaneSecret {
        let mut secret = LaneSecret {
            key: [0; KEY_LEN],
            salt: [0; SALT_LEN],
        };
        let (kid, suite) = (kid.to_be_bytes(), SUITE.to_be_bytes());
        self.expand(&[b"SFrame 1.0 Secret key ", &kid, &suite], &mut secret.key);
        self.expand(
            &[b"SFrame 1.0 Secret salt ", &kid, &suite],
            &mut secret.salt,
        );
        secret
    }

    /// The commitment to this root as that of `channel` and `epoch`.
    #[must_use]
    pub fn commitment(&self, channel: u16, epoch: u64) -> Commitment {
        let mut commitment = [0; 32];
        self.expand(
            &[
                b"sealcast commit",
                &channel.to_be_bytes(),
                &epoch.to_be_bytes(),
            ],
            &mut commitment,
        );
        Commitment(commitment)
    }

    /// The key that packagers of Common Encryption (ISO/IEC 23001-7) get under `kid`: it reveals neither the root nor the secret of
    /// a lane (SEC-14).
    #[must_use]
    pub fn cenc_key(&self, kid: &[u8; CENC_KEY_LEN]) -> CencKey {
        let mut key = CencKey([0; CENC_KEY_LEN]);
        self.expand(&[b"cenc", kid], &mut key.0);
        key
    }

    /// HKDF-Expand: fills `out` from the parts of `label`, which are joined without separators. A label therefore begins
    /// with a constant text that no other label begins with, and goes on in fields of fixed length.
    ///
    /// # Panics
    /// If `out` is longer than HKDF can make it, 16,320 bytes.
    pub fn expand(&self, label: &[&[u8]], out: &mut [u8]) {
        let expanded = self
            .0
            .expand(label, Length(out.len()))
            .and_then(|okm| okm.fill(out));
        expanded.expect("HKDF expands to at most 255 hashes");
    }
}

impl fmt::Debug for Prk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prk(..)")
    }
}

/// How many bytes to expand to.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: EpochRoot = EpochRoot::from_bytes([0xab; ROOT_LEN]);

    /// The library's combined extract and expand gives the same as extracting once.
    #[test]
    fn extracting_once_changes_nothing() {
        let reference = hkdf::Salt::none(hkdf::HKDF_SHA512).extract(ROOT.as_bytes());
        let mut expected = [0; 200];
        reference
            .expand(&[b"some ", b"label"], Length(200))
            .and_then(|okm| okm.fill(&mut expected))
            .unwrap();
        let mut got = [0; 200];
        ROOT.prk().expand(&[b"some label"], &mut got);
        assert_eq!(got, expected);
    }

    #[test]
    fn lanes_and_commitments_differ_by_every_field() {
        let prk = ROOT.prk();
        let lanes = [0, 1, 1 << 40, u64::MAX].map(|kid| prk.lane_secret(kid));
        for (index, lane) in lanes.iter().enumerate() {
            assert!(
                lanes[..index]
                    .iter()
                    .all(|other| other.key() != lane.key() && other.salt() != lane.salt())
            );
        }
        let commitments =
            [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(channel, epoch)| prk.commitment(channel, epoch));
        for (index, commitment) in commitments.iter().enumerate() {
            assert!(!commitments[..index].contains(commitment));
        }
        let other = EpochRoot::from_bytes([0xac; ROOT_LEN]).prk();
        assert_ne!(other.commitment(0, 0), commitments[0]);
        assert_ne!(other.lane_secret(0), lanes[0]);
    }

    /// The label of a commitment is on the wire for ever.
    #[test]
    fn the_commitment_is_expanded_from_its_label() {
        let mut expected = [0; 32];
        ROOT.prk().expand(
            &[b"sealcast commit\x12\x34\x00\x00\x00\x00\x00\x00\x00\x09"],
            &mut expected,
        );
        assert_eq!(
            ROOT.prk().commitment(0x1234, 9),
            Commitment::from_bytes(expected)
        );
    }

    /// What other software encrypted under a key id opens with that key for ever.
    #[test]
    fn sec_14_a_cenc_key_is_expanded_from_its_label_and_is_no_lane_key() {
        let (kid, mut expected) = (*b"0123456789abcdef", [0; 16]);
        ROOT.prk().expand(&[b"cenc0123456789abcdef"], &mut expected);
        assert_eq!(ROOT.prk().cenc_key(&kid).as_bytes(), &expected);
        let mut other = kid;
        other[15] ^= 1;
        assert_ne!(ROOT.prk().cenc_key(&other).as_bytes(), &expected);
        let lane = ROOT.prk().lane_secret(0);
        assert!(!lane.key().windows(16).any(|part| part == expected));
        assert!(!ROOT.as_bytes().windows(16).any(|part| part == expected));
    }

    #[test]
    fn equality_looks_at_every_byte() {
        for index in 0..ROOT_LEN {
            let mut bytes = *ROOT.as_bytes();
            bytes[index] ^= 0x80;
            assert_ne!(EpochRoot::from_bytes(bytes), ROOT);
        }
        let lane = LaneSecret::from_parts([1; KEY_LEN], [2; SALT_LEN]);
        assert_eq!(lane, lane.clone());
        assert_ne!(lane, LaneSecret::from_parts([1; KEY_LEN], [3; SALT_LEN]));
        assert_ne!(lane, LaneSecret::from_parts([3; KEY_LEN], [2; SALT_LEN]));
    }

    #[test]
    fn debug_shows_no_secret() {
        let prk = ROOT.prk();
        let shown = format!("{ROOT:?} {prk:?} {:?}", prk.lane_secret(7));
        assert_eq!(shown, "EpochRoot(..) Prk(..) LaneSecret(..)");
    }

    #[test]
    #[should_panic(expected = "at most 255 hashes")]
    fn expanding_too_far_is_refused() {
        ROOT.prk().expand(&[b"x"], &mut [0; 255 * SHA512_LEN + 1]);
    }
}
