//! SHA-256, for chains of records: what was written once cannot be altered or left out unseen (SEC-34); and for files.

use std::fmt;

use aws_lc_rs::digest;

/// Length of a SHA-256 digest.
pub const DIGEST_LEN: usize = 32;

/// SHA-256 (FIPS 180-4) of the parts, one after the other.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
    let mut sha = Sha256::default();
    parts.iter().for_each(|part| sha.update(part));
    sha.finish()
}

/// SHA-256 of what comes piece by piece.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256(..)")
    }
}

impl Sha256 {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all pieces.
    #[must_use]
    pub fn finish(self) -> [u8; DIGEST_LEN] {
        let mut out = [0; DIGEST_LEN];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2 appendix B.1: the digest of "abc", in any parts.
    #[test]
    fn the_standards_example_comes_out() {
        let hex = |digest: [u8; DIGEST_LEN]| digest.map(|byte| format!("{byte:02x}")).concat();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(sha256(&[b"abc"])), expected);
        assert_eq!(hex(sha256(&[b"a", b"", b"bc"])), expected);
    }
}
