//! SHA-256, for chains of records: what was written once cannot be altered or left out unseen (SEC-34).

use aws_lc_rs::digest;

/// Length of a SHA-256 digest.
pub const DIGEST_LEN: usize = 32;

/// SHA-256 (FIPS 180-4) of the parts, one after the other.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; DIGEST_LEN];
    out.copy_from_slice(context.finish().as_ref());
    out
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
