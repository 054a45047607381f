//! The key that shows that a manifest comes from a member: who has not even the lane's key fails here, before a signature is looked at
//! (SEC-10).

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::kdf::{LaneSecret, Prk};

/// Length of a manifest's MAC.
pub const MANIFEST_MAC_LEN: usize = 16;

/// Makes and checks the MACs of one lane's manifests in one epoch: BLAKE3 in keyed mode, cut to 16 bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ManifestKey([u8; blake3::KEY_LEN]);

impl fmt::Debug for ManifestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ManifestKey(..)")
    }
}

impl LaneSecret {
    /// HKDF (RFC 5869) with SHA-512 and an empty salt: of the lane's key, for "sealcast manifest", 32 bytes. It reveals nothing of the
    /// lane's key.
    #[must_use]
    pub fn manifest_key(&self) -> ManifestKey {
        let mut key = ManifestKey([0; _]);
        Prk::extract(self.key()).expand(&[b"sealcast manifest"], &mut key.0);
        key
    }
}

impl ManifestKey {
    /// The MAC of the parts, one after the other.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; MANIFEST_MAC_LEN] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(part);
        }
        let mut mac = [0; MANIFEST_MAC_LEN];
        mac.copy_from_slice(&hasher.finalize().as_bytes()[..MANIFEST_MAC_LEN]);
        hasher.zeroize();
        mac
    }

    /// Whether `mac` is that of the parts, in constant time.
    #[must_use]
    pub fn verifies(&self, parts: &[&[u8]], mac: &[u8; MANIFEST_MAC_LEN]) -> bool {
        self.mac(parts).ct_eq(mac).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [&[u8]; 2] = [b"one", b"two"];

    /// What is derived and computed is on the wire for ever: HKDF by the standard's two steps, then the crate's keyed hash.
    #[test]
    fn sec_10_a_mac_is_keyed_blake3_under_a_key_derived_from_the_lane_key() {
        let lane = LaneSecret::from_parts([7; 32], [8; 12]);
        let reference = aws_lc_rs::hkdf::Salt::none(aws_lc_rs::hkdf::HKDF_SHA512).extract(&[7; 32]);
        let mut key = [0; 32];
        reference
            .expand(&[b"sealcast manifest"], aws_lc_rs::hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut key))
            .unwrap();
        let expected = blake3::keyed_hash(&key, b"onetwo");
        let mac = lane.manifest_key().mac(&PARTS);
        assert_eq!(mac, expected.as_bytes()[..16]);
        assert!(lane.manifest_key().verifies(&PARTS, &mac));
    }

    #[test]
    fn sec_10_no_other_mac_passes() {
        let key = LaneSecret::from_parts([7; 32], [8; 12]).manifest_key();
        let mac = key.mac(&PARTS);
        for bit in 0..128 {
            let mut other = mac;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.verifies(&PARTS, &other), "bit {bit}");
        }
        let stranger = LaneSecret::from_parts([6; 32], [8; 12]).manifest_key();
        assert!(!stranger.verifies(&PARTS, &mac));
        assert_eq!(format!("{key:?}"), "ManifestKey(..)");
    }
}
