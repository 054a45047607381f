//! Published test vectors, each run through the public interface and, for the packet AEAD, every implementation.

mod common;

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use sealcast_crypto::{
    AesKey, Backend, Frame, LaneSecret, OpenKey, Prk, SALT_LEN, SUITE, SealKey, Signature,
    SigningKey, SivKey, Span, TAG_LEN, VerifyingKey, WrapKeyPair, wrap,
};
use serde::Deserialize;

use common::{Hex, load};

#[derive(Debug, Deserialize)]
struct AeadCase {
    key: Hex,
    nonce: Hex,
    aad: Hex,
    pt: Hex,
    ct: Hex,
    tag: Hex,
    /// Whether the tag is the right one.
    ok: bool,
}

impl AeadCase {
    /// The packet with `payload` and `tag`, as it lies in a buffer.
    fn packet(&self, payload: &[u8], tag: &[u8]) -> Vec<u8> {
        [&self.aad.0, payload, tag].concat()
    }

    fn aes_key(&self) -> AesKey {
        match self.key.0.len() {
            16 => AesKey::Aes128(self.key.array()),
            _ => AesKey::Aes256(self.key.array()),
        }
    }

    fn check_packet(&self, backend: Backend) {
        // With the nonce as salt, packet number 0 has that nonce.
        let (key, salt) = (self.aes_key(), self.nonce.array());
        let (header_len, payload_len, ctr) = (self.aad.0.len(), self.ct.0.len(), 0);
        let sealed = self.packet(&self.ct.0, &self.tag.0);

        let mut opened = [b"before", sealed.as_slice(), b"behind"].concat();
        let span = Span {
            offset: 6,
            header_len,
            payload_len,
            ctr,
        };
        let verdicts = OpenKey::from_parts(&key, &salt, backend).open(&mut opened, &[span]);
        assert_eq!(verdicts.is_ok(0), self.ok, "{backend:?} {self:?}");
        let payload = if self.ok {
            self.pt.0.clone()
        } else {
            vec![0; payload_len]
        };
        let expected = [
            b"before",
            self.packet(&payload, &self.tag.0).as_slice(),
            b"behind",
        ]
        .concat();
        assert_eq!(opened, expected, "{backend:?} {self:?}");

        if self.ok {
            let mut buf = self.packet(&self.pt.0, &[0; TAG_LEN]);
            let mut frames = [Frame {
                buf: &mut buf,
                header_len,
                payload_len,
                ctr,
            }];
            SealKey::from_parts(&key, &salt, backend).seal_frames(&mut frames);
            assert_eq!(buf, sealed, "{backend:?} {self:?}");
        }
    }

    fn check_siv(&self) {
        let key = SivKey::new(self.key.array());
        let mut sealed = [self.ct.0.as_slice(), &self.tag.0].concat();
        let opened = key.open_in_place(self.nonce.array(), &self.aad.0, &mut sealed);
        assert_eq!(
            opened.map(|plaintext| plaintext.to_vec()).ok(),
            self.ok.then(|| self.pt.0.clone()),
            "{self:?}"
        );
        if self.ok {
            let mut buf = self.pt.0.clone();
            key.seal_in_place(self.nonce.array(), &self.aad.0, &mut buf);
            assert_eq!(
                buf,
                [self.ct.0.as_slice(), &self.tag.0].concat(),
                "{self:?}"
            );
        }
    }
}

fn check_packets(name: &str, genuine: usize, forged: usize) {
    let cases: Vec<AeadCase> = load(name, genuine + forged);
    assert_eq!(cases.iter().filter(|case| case.ok).count(), genuine);
    for &backend in Backend::available() {
        cases.iter().for_each(|case| case.check_packet(backend));
    }
}

#[test]
fn nist_cavp_gcm_encrypt() {
    check_packets("cavp_gcm_encrypt_128.json", 300, 0);
    check_packets("cavp_gcm_encrypt_256.json", 300, 0);
}

#[test]
fn nist_cavp_gcm_decrypt() {
    check_packets("cavp_gcm_decrypt_128.json", 139, 161);
    check_packets("cavp_gcm_decrypt_256.json", 150, 150);
}

#[test]
fn wycheproof_aes_gcm() {
    check_packets("wycheproof_aes_gcm_128.json", 30, 27);
    check_packets("wycheproof_aes_gcm_256.json", 29, 27);
}

#[test]
fn rfc_8452_aes_gcm_siv() {
    load("rfc8452_aes_gcm_siv_256.json", 24)
        .iter()
        .for_each(AeadCase::check_siv);
}

#[test]
fn wycheproof_aes_gcm_siv() {
    let cases: Vec<AeadCase> = load("wycheproof_aes_gcm_siv_256.json", 103);
    assert_eq!(cases.iter().filter(|case| case.ok).count(), 69);
    cases.iter().for_each(AeadCase::check_siv);
}

#[derive(Debug, Deserialize)]
struct SframeCase {
    cipher_suite: u16,
    kid: u64,
    ctr: u64,
    base_key: Hex,
    sframe_key: Hex,
    sframe_salt: Hex,
    nonce: Hex,
    aad: Hex,
    metadata: Hex,
    pt: Hex,
    ct: Hex,
}

#[test]
fn rfc_9605_suite_5() {
    for case in load::<SframeCase>("rfc9605_suite_5.json", 1) {
        assert_eq!(case.cipher_suite, SUITE);
        let secret = Prk::extract(&case.base_key.0).lane_secret(case.kid);
        assert_eq!(
            (secret.key(), secret.salt()),
            (&case.sframe_key.array(), &case.sframe_salt.array())
        );

        // The AAD is the header and the metadata, which is not sent; here it stands in front of the payload.
        let (header_len, payload_len, ctr) = (case.aad.0.len(), case.pt.0.len(), case.ctr);
        let sframe_header = header_len - case.metadata.0.len();
        let clear = [&case.aad.0, &case.pt.0, &[0; TAG_LEN][..]].concat();
        let span = Span {
            offset: 0,
            header_len,
            payload_len,
            ctr,
        };
        for &backend in Backend::available() {
            let mut buf = clear.clone();
            SealKey::with_backend(&secret, backend).seal(&mut buf, &[span]);
            assert_eq!(buf[header_len..], case.ct.0[sframe_header..]);
            assert!(
                OpenKey::with_backend(&secret, backend)
                    .open(&mut buf, &[span])
                    .all_ok()
            );
            assert_eq!(buf[header_len..][..payload_len], case.pt.0);

            // The same with the nonce that the vector states, as packet number 0.
            let stated = LaneSecret::from_parts(*secret.key(), case.nonce.array::<SALT_LEN>());
            let mut again = clear.clone();
            SealKey::with_backend(&stated, backend).seal(&mut again, &[Span { ctr: 0, ..span }]);
            assert_eq!(again[header_len..], case.ct.0[sframe_header..]);
        }
    }
}

#[derive(Debug, Deserialize)]
struct SignCase {
    seed: Hex,
    key: Hex,
    msg: Hex,
    sig: Hex,
}

#[test]
fn rfc_8032_ed25519() {
    for case in load::<SignCase>("rfc8032_ed25519.json", 5) {
        let key = SigningKey::from_seed(&case.seed.array());
        assert_eq!(key.verifying_key().as_bytes(), &case.key.array());
        let signature = key.sign(&case.msg.0);
        assert_eq!(signature.as_bytes(), &case.sig.array());
        assert!(key.verifying_key().verify(&case.msg.0, &signature).is_ok());
    }
}

#[derive(Debug, Deserialize)]
struct VerifyCase {
    key: Hex,
    msg: Hex,
    sig: Hex,
    ok: bool,
}

#[test]
fn wycheproof_ed25519() {
    let cases: Vec<VerifyCase> = load("wycheproof_ed25519.json", 151);
    assert_eq!(cases.iter().filter(|case| case.ok).count(), 88);
    for case in cases {
        let key = VerifyingKey::from_bytes(case.key.array());
        // A signature of another length cannot even be named.
        let signature = <[u8; 64]>::try_from(case.sig.0.as_slice()).map(Signature::from_bytes);
        let holds = signature.is_ok_and(|signature| key.verify(&case.msg.0, &signature).is_ok());
        assert_eq!(holds, case.ok, "{case:?}");
    }
}

#[derive(Debug, Deserialize)]
struct KemCase {
    sk: Hex,
    pk: Hex,
    /// The randomness of the encapsulation.
    eseed: Hex,
    ct: Hex,
}

/// Gives out the given bytes and nothing else.
struct Fixed<'a>(&'a [u8]);

impl TryRng for Fixed<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a wrap takes bytes only")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a wrap takes bytes only")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let (taken, rest) = self.0.split_at(out.len());
        out.copy_from_slice(taken);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Fixed<'_> {}

/// The key encapsulation is that of the draft; what HPKE makes of its secret has no vectors with this suite, and must open.
#[test]
fn x_wing_draft() {
    for case in load::<KemCase>("xwing.json", 3) {
        let pair = WrapKeyPair::from_private_bytes(&case.sk.array());
        assert_eq!(pair.public().to_bytes(), case.pk.0);
        let rng = &mut Fixed(&case.eseed.0);
        let wrapped = wrap(pair.public(), b"info", b"aad", b"secret", rng);
        assert_eq!(wrapped.enc, case.ct.0);
        let opened = pair.unwrap(b"info", b"aad", &wrapped).unwrap();
        assert_eq!(**opened, *b"secret");
    }
}
