//! RustCrypto's `aes-gcm`.

use aes_gcm::KeyInit;
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::array::typenum::{U12, U16};
use aes_gcm::aead::{AeadCore, Nonce, Tag};
use sealcast_crypto::Span;

use super::workload::{Nonces, parts};
use super::{Aead, Key};

pub(crate) struct Gcm<Cipher> {
    cipher: Cipher,
    nonces: Nonces,
}

impl<Cipher: KeyInit> Gcm<Cipher> {
    pub(crate) fn new(key: &Key) -> Self {
        Self {
            cipher: Cipher::new_from_slice(key.bytes()).expect("the key has its length"),
            nonces: Nonces::new(key),
        }
    }
}

impl<Cipher: AeadInOut + AeadCore<NonceSize = U12, TagSize = U16>> Aead for Gcm<Cipher> {
    fn seal(&mut self, buf: &mut [u8], spans: &[Span]) {
        for (nonce, span) in self.nonces.of(spans) {
            let nonce = Nonce::<Cipher>::from(*nonce);
            let (header, rest) = parts(buf, span);
            let (payload, tag) = rest.split_at_mut(span.payload_len);
            let made = self
                .cipher
                .encrypt_inout_detached(&nonce, header, payload.into())
                .expect("the packet is short");
            tag.copy_from_slice(&made);
        }
    }

    fn open(&mut self, buf: &mut [u8], spans: &[Span]) -> usize {
        let mut genuine = 0;
        for (nonce, span) in self.nonces.of(spans) {
            let nonce = Nonce::<Cipher>::from(*nonce);
            let (header, rest) = parts(buf, span);
            let (payload, tag) = rest.split_at_mut(span.payload_len);
            let tag = Tag::<Cipher>::try_from(&*tag).expect("the tag has its length");
            let opened = self
                .cipher
                .decrypt_inout_detached(&nonce, header, payload.into(), &tag);
            genuine += usize::from(opened.is_ok());
        }
        genuine
    }
}
