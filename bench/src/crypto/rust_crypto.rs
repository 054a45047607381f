//! RustCrypto's `aes-gcm`.

use aes_gcm::KeyInit;
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::array::typenum::{U12, U16};
use aes_gcm::aead::{AeadCore, Nonce, Tag};
use sealcast_crypto::{SALT_LEN, Span};

use super::workload::{nonce, parts};
use super::{Aead, Key};

pub(crate) struct Gcm<Cipher> {
    cipher: Cipher,
    salt: [u8; SALT_LEN],
}

impl<Cipher: KeyInit> Gcm<Cipher> {
    pub(crate) fn new(key: &Key) -> Self {
        Self {
            cipher: Cipher::new_from_slice(key.bytes()).expect("the key has its length"),
            salt: key.salt,
        }
    }
}

impl<Cipher: AeadInOut + AeadCore<NonceSize = U12, TagSize = U16>> Aead for Gcm<Cipher> {
    fn seal(&mut self, buf: &mut [u8], spans: &[Span]) {
        for span in spans {
            let nonce = Nonce::<Cipher>::from(nonce(&self.salt, span.ctr));
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
        for span in spans {
            let nonce = Nonce::<Cipher>::from(nonce(&self.salt, span.ctr));
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
