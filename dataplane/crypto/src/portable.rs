//! AES-GCM (NIST SP 800-38D) composed of the crates `aes`, `ctr` and `ghash`, which find the processor's
//! instructions themselves. No unsafe code here; the reference that every other implementation is compared with.

use aes::cipher::{BlockCipherEncrypt as _, InnerIvInit as _, KeyInit as _, StreamCipherCore as _};
use aes::{Aes128, Aes256};
use ctr::CtrCore;
use ctr::flavors::Ctr32BE;
use ghash::universal_hash::UniversalHash as _;
use ghash::{Block, GHash};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

use crate::aead::{AesKey, TAG_LEN};
use crate::batch::Packet;

const BLOCK: usize = 16;
/// Keystream blocks made at a time: as many as the widest code of `aes` takes at once.
const CHUNK: usize = 64;
/// Counter of the block behind the first chunk.
const SECOND: u32 = 65;
const _: () = assert!(SECOND as usize == 1 + CHUNK);

/// The round keys, which wipe themselves when dropped.
enum Aes {
    Short(Box<Aes128>),
    Long(Box<Aes256>),
}

impl Aes {
    fn encrypt(&self, blocks: &mut [Block]) {
        match self {
            Self::Short(aes) => aes.encrypt_blocks(blocks),
            Self::Long(aes) => aes.encrypt_blocks(blocks),
        }
    }

    /// Xors the keystream from the block `counter` on over `data`.
    fn apply(&self, counter: &Block, data: &mut [u8]) {
        match self {
            Self::Short(aes) => CtrCore::<_, Ctr32BE>::inner_iv_init(&**aes, counter)
                .apply_keystream_partial(data.into()),
            Self::Long(aes) => CtrCore::<_, Ctr32BE>::inner_iv_init(&**aes, counter)
                .apply_keystream_partial(data.into()),
        }
    }
}

/// An expanded key. `Aes128`, `Aes256` and `GHash` wipe themselves when dropped.
pub(crate) struct Gcm {
    aes: Aes,
    /// Holds the hash key; cloned for each packet.
    ghash: GHash,
}

impl Gcm {
    pub(crate) fn new(key: &AesKey) -> Self {
        let aes = match key {
            AesKey::Aes128(key) => Aes::Short(Box::new(Aes128::new(key.into()))),
            AesKey::Aes256(key) => Aes::Long(Box::new(Aes256::new(key.into()))),
        };
        let mut hash_key = [Block::default()];
        aes.encrypt(&mut hash_key);
        let ghash = GHash::new(&hash_key[0]);
        hash_key[0].zeroize();
        Self { aes, ghash }
    }

    /// Encrypts the payload and writes the tag.
    pub(crate) fn seal(&self, packet: Packet<'_>) {
        let mask = self.apply_keystream(packet.nonce, packet.payload);
        *packet.tag = self.tag(mask, packet.header, packet.payload);
    }

    /// Decrypts the payload if the tag is right; zeroes it if not.
    pub(crate) fn open(&self, packet: Packet<'_>) -> bool {
        // The mask of the tag falls off with the keystream, so the hash of the ciphertext is taken first.
        let unmasked = self.hash(packet.header, packet.payload);
        let mask = self.apply_keystream(packet.nonce, packet.payload);
        let genuine = bool::from(xor(mask, unmasked).ct_eq(packet.tag));
        if !genuine {
            packet.payload.fill(0);
        }
        genuine
    }

    fn tag(&self, mask: [u8; TAG_LEN], header: &[u8], ciphertext: &[u8]) -> [u8; TAG_LEN] {
        xor(mask, self.hash(header, ciphertext))
    }

    /// GHASH of header, ciphertext and their lengths in bits.
    fn hash(&self, header: &[u8], ciphertext: &[u8]) -> [u8; TAG_LEN] {
        let mut ghash = self.ghash.clone();
        ghash.update_padded(header);
        ghash.update_padded(ciphertext);
        let bits = |bytes: &[u8]| (bytes.len() as u64 * 8).to_be_bytes();
        let mut lengths = Block::default();
        lengths[..8].copy_from_slice(&bits(header));
        lengths[8..].copy_from_slice(&bits(ciphertext));
        ghash.update(&[lengths]);
        ghash.finalize().into()
    }

    /// Xors the keystream from counter 2 on over `data`, and returns the block of counter 1, which masks the tag.
    fn apply_keystream(&self, nonce: u128, data: &mut [u8]) -> [u8; TAG_LEN] {
        let mut blocks = [Block::default(); CHUNK];
        let (first, rest) = data.split_at_mut(data.len().min((CHUNK - 1) * BLOCK));
        self.keystream(nonce, 1, &mut blocks[..1 + first.len().div_ceil(BLOCK)]);
        xor_in_place(first, &blocks[1..]);
        let mask = blocks[0].into();

        if rest.len() > CHUNK * BLOCK {
            self.aes.apply(&counter_block(nonce, SECOND), rest);
        } else if !rest.is_empty() {
            // A part of a chunk, which `ctr` takes in smaller pieces.
            self.keystream(nonce, SECOND, &mut blocks[..rest.len().div_ceil(BLOCK)]);
            xor_in_place(rest, &blocks);
        }
        mask
    }

    /// Encrypts successive counter blocks, the first of which has the number `counter`.
    fn keystream(&self, nonce: u128, counter: u32, blocks: &mut [Block]) {
        for (block, counter) in blocks.iter_mut().zip(counter..) {
            *block = counter_block(nonce, counter);
        }
        self.aes.encrypt(blocks);
    }
}

fn counter_block(nonce: u128, counter: u32) -> Block {
    (nonce | u128::from(counter.swap_bytes()) << 96)
        .to_le_bytes()
        .into()
}

fn xor(mut a: [u8; TAG_LEN], b: [u8; TAG_LEN]) -> [u8; TAG_LEN] {
    a.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
    a
}

fn xor_in_place(data: &mut [u8], keystream: &[Block]) {
    let keystream = Block::slice_as_flattened(keystream);
    data.iter_mut()
        .zip(keystream)
        .for_each(|(data, key)| *data ^= key);
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    fn seal(key: [u8; 32], nonce: u128, header: &[u8], payload: &mut [u8]) -> [u8; TAG_LEN] {
        let mut tag = [0; TAG_LEN];
        Gcm::new(&AesKey::Aes256(key)).seal(Packet {
            nonce,
            header,
            payload,
            tag: &mut tag,
        });
        tag
    }

    /// Test cases 13 and 14 of the GCM specification (McGrew, Viega): key, nonce and plaintext all zero.
    #[test]
    fn the_specifications_first_cases() {
        let tag = seal([0; 32], 0, &[], &mut []);
        assert_eq!(
            u128::from_be_bytes(tag),
            0x530f_8afb_c745_36b9_a963_b4f1_c4cb_738b
        );
        let mut payload = [0; 16];
        let tag = seal([0; 32], 0, &[], &mut payload);
        assert_eq!(
            u128::from_be_bytes(payload),
            0xcea7_403d_4d60_6b6e_074e_c5d3_baf3_9d18
        );
        assert_eq!(
            u128::from_be_bytes(tag),
            0xd0d1_c8a7_9999_6bf0_265b_98b5_d48a_b919
        );
    }

    /// The keystream of a long payload is that of its counter blocks, also across the chunk boundary.
    #[test]
    fn chunks_join_without_a_seam() {
        let gcm = Gcm::new(&AesKey::Aes256([7; 32]));
        let nonce = 9 << 88 | 7;
        let lens: &[usize] = if cfg!(miri) {
            &[0, 17, 1521]
        } else {
            &[
                0, 1, 15, 16, 1007, 1008, 1009, 2031, 2032, 2033, 1519, 1520, 1521, 3055, 3056,
                3057, 4608,
            ]
        };
        for &len in lens {
            let mut whole = vec![0; len];
            let mask = gcm.apply_keystream(nonce, &mut whole);
            let mut blocks = vec![Block::default(); 1 + len.div_ceil(BLOCK)];
            for (block, counter) in blocks.iter_mut().zip(1_u32..) {
                block[..12].copy_from_slice(&nonce.to_le_bytes()[..12]);
                block[12..].copy_from_slice(&counter.to_be_bytes());
                gcm.aes.encrypt(slice::from_mut(block));
            }
            let expected = Block::slice_as_flattened(&blocks);
            assert_eq!(mask, expected[..BLOCK]);
            assert_eq!(whole, expected[BLOCK..BLOCK + len], "{len} bytes");
        }
    }

    #[test]
    fn a_forged_packet_is_zeroed() {
        let gcm = Gcm::new(&AesKey::Aes128([1; 16]));
        let (nonce, header) = (2, [3; 12]);
        for forge in [false, true] {
            let mut payload = [4; 40];
            let mut tag = [0; TAG_LEN];
            gcm.seal(Packet {
                nonce,
                header: &header,
                payload: &mut payload,
                tag: &mut tag,
            });
            assert_ne!(payload, [4; 40]);
            tag[15] ^= u8::from(forge);
            let genuine = gcm.open(Packet {
                nonce,
                header: &header,
                payload: &mut payload,
                tag: &mut tag,
            });
            assert_eq!(
                (genuine, payload),
                if forge {
                    (false, [0; 40])
                } else {
                    (true, [4; 40])
                }
            );
        }
    }

    #[test]
    fn the_key_wipes_itself() {
        fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        wiped(&Aes128::new(&[0; 16].into()));
        wiped(&Aes256::new(&[0; 32].into()));
        // `GHash` has no marker of its own; it consists of a value that needs dropping.
        assert!(std::mem::needs_drop::<GHash>());
    }
}
