//! One-time enrolment codes. A code is shown once, to the operator who asked for it, and holds a secret and the fingerprint
//! of the CA key: whoever enrols with it knows the server without having seen it before (no trust on first use).
//!
//! `SC1-` and groups of eight characters: base32 (RFC 4648 6) of 16 bytes secret, 32 bytes SHA-256 of the CA's
//! SubjectPublicKeyInfo, and 2 bytes of checksum against typing errors.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE32_NOPAD;
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

const PREFIX: &str = "SC1-";
const SECRET: usize = 16;
const FINGERPRINT: usize = 32;
const CHECK: usize = 2;
const GROUP: usize = 8;

/// A one-time code.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Code {
    secret: [u8; SECRET],
    /// SHA-256 of the CA's SubjectPublicKeyInfo.
    pub ca: [u8; FINGERPRINT],
}

/// Why a text is no code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoCode {
    /// Another shape.
    #[error(
        "this is no enrolment code: it begins with SC1- and goes on in groups of eight letters and digits; copy it whole"
    )]
    Shape,
    /// A typing error.
    #[error(
        "there is a typing error in this enrolment code: its checksum does not fit; copy it again"
    )]
    Checksum,
}

impl Code {
    /// A new code of the CA whose key has this fingerprint.
    #[must_use]
    pub fn new(ca: [u8; FINGERPRINT], rng: &mut dyn CryptoRng) -> Self {
        let mut secret = [0; SECRET];
        rng.fill_bytes(&mut secret);
        Self { secret, ca }
    }

    /// What the server keeps of it: SHA-256 of the secret. The secret has 128 random bits, so nobody guesses it from this.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&self.secret)
    }

    /// The secret, as it travels to the server.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes)
        .as_ref()
        .try_into()
        .expect("SHA-256 has 32 bytes")
}

fn check(body: &[u8]) -> [u8; CHECK] {
    let [a, b, ..] = sha256(body);
    [a, b]
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut body = [&self.secret[..], &self.ca].concat();
        body.extend(check(&body));
        let text = BASE32_NOPAD.encode(&body);
        body.zeroize();
        f.write_str(PREFIX)?;
        for (index, character) in text.chars().enumerate() {
            if index > 0 && index % GROUP == 0 {
                f.write_str("-")?;
            }
            write!(f, "{character}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

impl FromStr for Code {
    type Err = NoCode;

    fn from_str(text: &str) -> Result<Self, NoCode> {
        let upper = text.trim().to_ascii_uppercase();
        let body = upper.strip_prefix(PREFIX).ok_or(NoCode::Shape)?;
        let body: String = body.chars().filter(|c| *c != '-' && *c != ' ').collect();
        let bytes = BASE32_NOPAD
            .decode(body.as_bytes())
            .map_err(|_| NoCode::Shape)?;
        let (body, sum) = bytes.split_last_chunk().ok_or(NoCode::Shape)?;
        let (secret, ca) = body.split_first_chunk().ok_or(NoCode::Shape)?;
        let ca = ca.try_into().map_err(|_| NoCode::Shape)?;
        if check(body) != *sum {
            return Err(NoCode::Checksum);
        }
        Ok(Self {
            secret: *secret,
            ca,
        })
    }
}

const _: () = assert!(SECRET * 8 >= 128);

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn codes_are_copied_by_hand_and_errors_are_named() {
        let code = Code::new([7; 32], &mut ChaCha8Rng::seed_from_u64(3));
        let text = code.to_string();
        assert_eq!(text.parse(), Ok(code.clone()));
        assert_eq!(
            format!(" {} ", text.to_lowercase()).parse(),
            Ok(code.clone())
        );
        let typed = text.replacen(&text[4..5], if &text[4..5] == "A" { "B" } else { "A" }, 1);
        assert_eq!(typed.parse::<Code>(), Err(NoCode::Checksum));
        assert_eq!(text[..60].parse::<Code>(), Err(NoCode::Shape));
        assert_eq!("hello".parse::<Code>(), Err(NoCode::Shape));
        assert_eq!(format!("{code:?}"), "Code(..)");
    }
}
