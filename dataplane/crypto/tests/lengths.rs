//! Every length of a packet, on every implementation of the packet AEAD, with both lengths of key, against aws-lc-rs. A
//! batch of nine holds two groups of four alike and one left over, so that what is shared between packets and what is
//! done alone are both met; the whole buffer is compared.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sealcast_crypto::{AesKey, Backend, OpenKey, SealKey, Span, TAG_LEN};

const SALT: [u8; 12] = [0x5a; 12];
static KEYS: [AesKey; 2] = [AesKey::Aes128([0x21; 16]), AesKey::Aes256([0x42; 32])];
const PACKETS: usize = 9;

struct Lengths {
    keys: Vec<(LessSafeKey, Vec<(SealKey, OpenKey)>)>,
    rng: ChaCha8Rng,
}

impl Lengths {
    fn new(seed: u64) -> Self {
        let keys = KEYS.iter().map(|key| {
            let other = match key {
                AesKey::Aes128(key) => UnboundKey::new(&AES_128_GCM, key),
                AesKey::Aes256(key) => UnboundKey::new(&AES_256_GCM, key),
            };
            let ours = Backend::available().iter().map(|&backend| {
                let seal = SealKey::from_parts(key, &SALT, backend);
                (seal, OpenKey::from_parts(key, &SALT, backend))
            });
            (
                LessSafeKey::new(other.expect("the right length")),
                ours.collect(),
            )
        });
        Self {
            keys: keys.collect(),
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Seals and opens packets of these lengths, which begin `shift` bytes behind a 64-byte line, `gap` bytes apart.
    fn check(&mut self, header_len: usize, payload_lens: &[usize], shift: usize, gap: usize) {
        let mut offset = gap;
        let mut spans = Vec::new();
        for &payload_len in payload_lens {
            let ctr = self.rng.next_u64();
            let span = Span {
                offset,
                header_len,
                payload_len,
                ctr,
            };
            offset = span.end() + gap;
            spans.push(span);
        }
        let mut buffer = vec![0; offset + 128];
        let start = buffer.as_ptr().align_offset(64) + shift;
        let mut clear = vec![0; offset];
        self.rng.fill_bytes(&mut clear);

        for (other, ours) in &self.keys {
            let mut sealed = clear.clone();
            let mut opened = clear.clone();
            for span in &spans {
                let mut nonce = SALT;
                nonce[4..]
                    .iter_mut()
                    .zip(span.ctr.to_be_bytes())
                    .for_each(|(byte, ctr)| *byte ^= ctr);
                let (header, payload) = sealed[span.offset..].split_at_mut(header_len);
                let (payload, rest) = payload.split_at_mut(span.payload_len);
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = other
                    .seal_in_place_separate_tag(nonce, Aad::from(header), payload)
                    .expect("short");
                rest[..TAG_LEN].copy_from_slice(tag.as_ref());
                opened[span.end() - TAG_LEN..span.end()].copy_from_slice(tag.as_ref());
            }
            for (seal, open) in ours {
                let place = &mut buffer[start..start + offset];
                place.copy_from_slice(&clear);
                seal.seal(place, &spans);
                assert!(place == sealed, "{seal:?} {header_len} {payload_lens:?}");
                assert!(
                    open.open(place, &spans).all_ok(),
                    "{open:?} {payload_lens:?}"
                );
                assert!(place == opened, "{open:?} {header_len} {payload_lens:?}");
            }
        }
    }
}

#[test]
fn every_length_to_1600() {
    let mut lengths = Lengths::new(1);
    for len in 0..=1600 {
        lengths.check(12, &[len; PACKETS], (len * 7) % 64, len % 3);
    }
}

#[test]
fn every_header_length() {
    let mut lengths = Lengths::new(2);
    for header_len in 0..=64 {
        for len in [
            0, 1, 16, 47, 64, 188, 241, 255, 256, 500, 1316, 1712, 1713, 3300,
        ] {
            lengths.check(header_len, &[len; PACKETS], header_len % 64, header_len % 5);
        }
    }
}

#[test]
fn every_alignment() {
    let mut lengths = Lengths::new(3);
    for shift in 0..64 {
        for len in [63, 188, 1316, 2000] {
            lengths.check(12, &[len; PACKETS], shift, 0);
        }
    }
}

#[test]
fn unequal_packets() {
    let mut lengths = Lengths::new(4);
    for len in 0..=700 {
        lengths.check(
            12,
            &[len, len, len, len, len + 1, len, 1316, 3 * len],
            5,
            len % 7,
        );
    }
}

#[test]
fn long_packets() {
    let mut lengths = Lengths::new(5);
    let stretches = (1..12).flat_map(|k| [1536 * k, 1536 * k + 176, 1536 * k + 177]);
    let edges = stretches.flat_map(|len| [len - 1, len, len + 1]);
    for len in edges
        .chain((1601..65_535).step_by(809))
        .chain([65_535, 100_003])
    {
        lengths.check(12, &[len], len % 64, 1);
    }
}
