//! aws-lc-rs and ring, which share an interface: `LessSafeKey`, in place.

use sealcast_crypto::{Span, TAG_LEN};

use super::workload::{Nonces, parts};
use super::{Aead, Key, KeyBits};

macro_rules! less_safe {
    ($name:ident, $library:ident) => {
        pub(crate) struct $name {
            key: $library::aead::LessSafeKey,
            nonces: Nonces,
        }

        impl $name {
            pub(crate) fn new(key: &Key) -> Self {
                let algorithm = match key.bits {
                    KeyBits::Aes128 => &$library::aead::AES_128_GCM,
                    KeyBits::Aes256 => &$library::aead::AES_256_GCM,
                };
                let unbound = $library::aead::UnboundKey::new(algorithm, key.bytes());
                Self {
                    key: $library::aead::LessSafeKey::new(unbound.expect("the key has its length")),
                    nonces: Nonces::new(key),
                }
            }
        }

        impl Aead for $name {
            fn seal(&mut self, buf: &mut [u8], spans: &[Span]) {
                for (nonce, span) in self.nonces.of(spans) {
                    let nonce = $library::aead::Nonce::assume_unique_for_key(*nonce);
                    let (header, rest) = parts(buf, span);
                    let (payload, tag) = rest.split_at_mut(span.payload_len);
                    let made = self
                        .key
                        .seal_in_place_separate_tag(
                            nonce,
                            $library::aead::Aad::from(header),
                            payload,
                        )
                        .expect("the packet is short");
                    tag[..TAG_LEN].copy_from_slice(made.as_ref());
                }
            }

            fn open(&mut self, buf: &mut [u8], spans: &[Span]) -> usize {
                let mut genuine = 0;
                for (nonce, span) in self.nonces.of(spans) {
                    let nonce = $library::aead::Nonce::assume_unique_for_key(*nonce);
                    let (header, rest) = parts(buf, span);
                    let opened =
                        self.key
                            .open_in_place(nonce, $library::aead::Aad::from(header), rest);
                    genuine += usize::from(opened.is_ok());
                }
                genuine
            }
        }
    };
}

less_safe!(AwsLc, aws_lc_rs);
less_safe!(Ring, ring);
