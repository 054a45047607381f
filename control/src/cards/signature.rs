//! Whether an event comes from the card provider: the header `Stripe-Signature`, `t=SECONDS,v1=HEX,...`, where each `v1` is an HMAC-SHA256 over
//! the text `SECONDS.BODY` (Stripe, "Verify webhook signatures manually").

use std::time::Duration;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use sealcast_objects::time::Timestamp;
use zeroize::Zeroizing;

/// An event whose signature is older, or younger, is not taken.
const TOLERANCE: Duration = Duration::from_secs(300);
/// Signatures of one event that are looked at.
const SIGNATURES_MAX: usize = 8;
/// Longest header.
const HEADER_MAX: usize = 2048;

/// Why an event is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BadSignature {
    /// There is none, or it is none.
    #[error("it has no header Stripe-Signature: t=SECONDS,v1=SIGNATURE")]
    Missing,
    /// Not of now.
    #[error("it was signed more than five minutes ago, or later than now: look at both clocks")]
    NotNow,
    /// None of the signatures is right.
    #[error("it was signed with another secret, or was changed on its way")]
    Wrong,
}

/// Whether `body` was signed with one of the secrets, about now. In constant time.
pub(crate) fn verify(
    header: &str,
    body: &[u8],
    now: Timestamp,
    secrets: &[Zeroizing<String>],
) -> Result<(), BadSignature> {
    if header.len() > HEADER_MAX {
        return Err(BadSignature::Missing);
    }
    let (mut at, mut signatures) = (None, Vec::new());
    for (name, value) in header.split(',').filter_map(|part| part.split_once('=')) {
        match name.trim() {
            // Said twice, it says nothing.
            "t" if at.is_some() => return Err(BadSignature::Missing),
            "t" => at = Some(value.trim()),
            "v1" if signatures.len() < SIGNATURES_MAX => {
                signatures.extend(HEXLOWER.decode(value.trim().as_bytes()).ok());
            }
            _ => {}
        }
    }
    let digits =
        |text: &&str| (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let at = at.filter(digits).ok_or(BadSignature::Missing)?;
    let seconds: i64 = at.parse().map_err(|_| BadSignature::Missing)?;
    if signatures.is_empty() {
        return Err(BadSignature::Missing);
    }
    let signed = Timestamp(seconds.saturating_mul(1000));
    if now.since(signed) > TOLERANCE || signed.since(now) > TOLERANCE {
        return Err(BadSignature::NotNow);
    }
    let text = [at.as_bytes(), b".", body].concat();
    let mut right = false;
    for secret in secrets {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        for signature in &signatures {
            right |= hmac::verify(&key, &text, signature).is_ok();
        }
    }
    if right {
        Ok(())
    } else {
        Err(BadSignature::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng as _, RngExt as _, SeedableRng as _};

    use super::*;

    // Computed by Python: hmac.new(SECRET.encode(), b"1790000000." + BODY, "sha256").hexdigest()
    const BODY: &[u8] = br#"{"id":"evt_1","type":"payment_intent.succeeded"}"#;
    const NEW: (&str, &str) = (
        "whsec_new",
        "75d860516aba7f85675ce40141275722f7cbb1d2f56c1116f84c6ab924bdd1dc",
    );
    const OLD: (&str, &str) = (
        "whsec_old",
        "34ef44ed62770d2911fe8747bcec896e48e67cc996a2ba9fd7ba0f32ac138091",
    );

    fn secrets(all: &[&str]) -> Vec<Zeroizing<String>> {
        let secret = |one: &&str| Zeroizing::new((*one).to_owned());
        all.iter().map(secret).collect()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    const T: i64 = 1_790_000_000;

    #[test]
    fn sec_27_what_the_provider_signed_is_taken_and_nothing_else() {
        let (new, old) = (secrets(&[NEW.0]), secrets(&[OLD.0]));
        let both = secrets(&[NEW.0, OLD.0]);
        let header = format!("t={T},v1={}", NEW.1);
        let two = format!("t={T},v1={},v1={},v0=00", OLD.1, NEW.1);
        for (header, secrets) in [
            (&header, &new),
            (&header, &both),
            (&two, &new),
            (&two, &old),
            (&format!("t={T},v1={}", OLD.1), &both),
            (&format!(" t={T} , v1={} ", NEW.1), &new),
        ] {
            assert_eq!(verify(header, BODY, at(T), secrets), Ok(()), "{header}");
        }
        assert_eq!(verify(&header, BODY, at(T), &old), Err(BadSignature::Wrong));
        assert_eq!(verify(&header, BODY, at(T), &[]), Err(BadSignature::Wrong));
        let upper = header.to_uppercase();
        for missing in [
            "",
            "t=1790000000",
            &format!("v1={}", NEW.1),
            &format!("t=,v1={}", NEW.1),
            &format!("t=-1,v1={}", NEW.1),
            &format!("t={T},t={T},v1={}", NEW.1),
            &format!("t={T},v0={}", NEW.1),
            &format!("t={T},v1=zz"),
            &format!("t={T},v1={}{}", NEW.1, " ".repeat(HEADER_MAX)),
            upper.as_str(),
        ] {
            let refused = verify(missing, BODY, at(T), &new);
            assert_eq!(refused, Err(BadSignature::Missing), "{missing}");
        }
        for (off, good) in [(300, true), (-300, true), (301, false), (-301, false)] {
            let verified = verify(&header, BODY, at(T + off), &new);
            assert_eq!(verified.is_ok(), good, "{off}");
        }
    }

    /// Any other byte of body, time or signature, and any hostile header.
    #[test]
    fn sec_27_no_altered_byte_is_taken() {
        let secrets = secrets(&[NEW.0]);
        let mut rng = StdRng::seed_from_u64(27);
        for index in 0..BODY.len() {
            for bit in 0..8 {
                let mut altered = BODY.to_vec();
                altered[index] ^= 1 << bit;
                let header = format!("t={T},v1={}", NEW.1);
                let verified = verify(&header, &altered, at(T), &secrets);
                assert_eq!(verified, Err(BadSignature::Wrong), "{index} {bit}");
            }
        }
        let header = format!("t={T},v1={}", NEW.1).into_bytes();
        for _ in 0..20_000 {
            let mut altered = header.clone();
            for _ in 0..rng.random_range(1..4) {
                let index = rng.random_range(0..altered.len());
                altered[index] = (rng.next_u32() & 0x7f) as u8;
            }
            let text = String::from_utf8(altered.clone()).unwrap();
            let same = text.replace(' ', "") == String::from_utf8_lossy(&header);
            assert!(
                same || verify(&text, BODY, at(T), &secrets).is_err(),
                "{text}"
            );
        }
    }
}
