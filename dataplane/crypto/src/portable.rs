//! AES-256-GCM (NIST SP 800-38D) composed of the crates `aes` and `ghash`: no unsafe code, every architecture, Miri.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};
use ghash::GHash;
use ghash::universal_hash::UniversalHash as _;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

/// Key stream blocks made at once: enough for the ciphers of the crate `aes` to work side by side.
const CHUNK: usize = 64;
const BLOCK: usize = 16;

pub(crate) struct PortableKey {
    cipher: Aes256,
    hash: GHash,
}

impl PortableKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let cipher = Aes256::new(&Array(*key));
        let mut subkey = Array([0; BLOCK]);
        cipher.encrypt_block(&mut subkey);
        let hash = GHash::new(&subkey);
        subkey.zeroize();
        Self { cipher, hash }
    }

    pub(crate) fn seal(&self, nonce: &[u8; 12], aad: &[u8], payload: &mut [u8]) -> [u8; 16] {
        self.apply_key_stream(nonce, payload);
        self.tag(nonce, aad, payload)
    }

    pub(crate) fn open(&self, nonce: &[u8; 12], aad: &[u8], payload: &mut [u8], tag: &[u8; 16]) -> bool {
        let genuine = bool::from(self.tag(nonce, aad, payload).ct_eq(tag));
        if genuine {
            self.apply_key_stream(nonce, payload);
        } else {
            payload.fill(0);
        }
        genuine
    }

    /// Counter mode from counter 2 on (counter 1 masks the tag).
    fn apply_key_stream(&self, nonce: &[u8; 12], payload: &mut [u8]) {
        let mut counter = 2_u32;
        let mut stream = Zeroizing::new([[0_u8; BLOCK]; CHUNK]);
        for chunk in payload.chunks_mut(CHUNK * BLOCK) {
            let blocks = Array::cast_slice_from_core_mut(&mut stream[..chunk.len().div_ceil(BLOCK)]);
            for block in blocks.iter_mut() {
                *block = counter_block(nonce, counter);
                counter = counter.wrapping_add(1);
            }
            self.cipher.encrypt_blocks(blocks);
            chunk.iter_mut().zip(stream.as_flattened()).for_each(|(byte, key)| *byte ^= key);
        }
    }

    /// GHASH over AAD, ciphertext and their lengths, masked with the key stream of counter 1.
    fn tag(&self, nonce: &[u8; 12], aad: &[u8], ciphertext: &[u8]) -> [u8; 16] {
        let mut hash = self.hash.clone();
        hash.update_padded(aad);
        hash.update_padded(ciphertext);
        let bits = |bytes: &[u8]| (bytes.len() as u64 * 8).to_be_bytes();
        let mut lengths = [0; BLOCK];
        lengths[..8].copy_from_slice(&bits(aad));
        lengths[8..].copy_from_slice(&bits(ciphertext));
        hash.update(&[Array(lengths)]);
        let mut mask = counter_block(nonce, 1);
        self.cipher.encrypt_block(&mut mask);
        let mut tag = hash.finalize();
        tag.iter_mut().zip(mask).for_each(|(tag, mask)| *tag ^= mask);
        tag.0
    }
}

fn counter_block(nonce: &[u8; 12], counter: u32) -> aes::Block {
    let mut block = [0; BLOCK];
    block[..12].copy_from_slice(nonce);
    block[12..].copy_from_slice(&counter.to_be_bytes());
    Array(block)
}
