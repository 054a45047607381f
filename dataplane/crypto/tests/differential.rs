//! Every implementation of the packet AEAD against aws-lc-rs on random batches. The whole buffer is compared, which
//! proves that bytes outside the packets are left alone.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use proptest::collection::vec;
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sealcast_crypto::{
    AesKey, BATCH_MAX, Backend, Frame, HEADER_MAX, OpenKey, SealKey, Span, TAG_LEN,
};

/// A batch in a buffer of random bytes.
#[derive(Clone, Debug)]
struct Batch {
    key: AesKey,
    salt: [u8; 12],
    spans: Vec<Span>,
    len: usize,
    /// Where the buffer begins, relative to a 64-byte line.
    shift: usize,
    seed: u64,
}

/// One packet: (bytes before it, header length, payload length, packet number).
fn packet(
    payload: impl Strategy<Value = usize>,
) -> impl Strategy<Value = (usize, usize, usize, u64)> {
    let gap = prop_oneof![2 => Just(0), 1 => 0..=70_usize];
    let header = prop_oneof![2 => Just(12), 1 => 0..=HEADER_MAX];
    let ctr = prop_oneof![2 => (1_u64 << 32)..(1 << 40), 1 => any::<u64>()];
    (gap, header, payload, ctr)
}

fn batch(payload: impl Strategy<Value = usize>, most: usize) -> impl Strategy<Value = Batch> {
    let packets = vec(packet(payload), 1..=most);
    (
        any::<([u8; 32], bool, [u8; 12], u64)>(),
        packets,
        0..64_usize,
        0..70_usize,
    )
        .prop_map(|((key, short, salt, seed), packets, shift, behind)| {
            let mut len = 0;
            let mut spans = Vec::new();
            for (gap, header_len, payload_len, ctr) in packets {
                let span = Span {
                    offset: len + gap,
                    header_len,
                    payload_len,
                    ctr,
                };
                len = span.end();
                spans.push(span);
            }
            let key = if short {
                AesKey::Aes128(key[..16].try_into().expect("16 bytes"))
            } else {
                AesKey::Aes256(key)
            };
            Batch {
                key,
                salt,
                spans,
                len: len + behind,
                shift,
                seed,
            }
        })
}

fn batches() -> impl Strategy<Value = Batch> {
    let payload = prop_oneof![
        3 => 0..=9000_usize,
        2 => Just(1316_usize),
        2 => 0..=260_usize,
        1 => (0..=140_usize).prop_map(|blocks| blocks * 64),
    ];
    prop_oneof![3 => batch(payload, 12), 1 => batch(0..=1500_usize, BATCH_MAX)]
}

impl Batch {
    fn clear(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        ChaCha8Rng::seed_from_u64(self.seed).fill_bytes(&mut bytes);
        bytes
    }

    /// `clear`, its packets sealed by the other library.
    fn sealed(&self, clear: &[u8]) -> Vec<u8> {
        let key = match &self.key {
            AesKey::Aes128(key) => UnboundKey::new(&AES_128_GCM, key),
            AesKey::Aes256(key) => UnboundKey::new(&AES_256_GCM, key),
        };
        let key = LessSafeKey::new(key.expect("the right length"));
        let mut bytes = clear.to_vec();
        for span in &self.spans {
            let mut nonce = self.salt;
            nonce[4..]
                .iter_mut()
                .zip(span.ctr.to_be_bytes())
                .for_each(|(byte, ctr)| *byte ^= ctr);
            let (header, payload) = bytes[span.offset..].split_at_mut(span.header_len);
            let (payload, rest) = payload.split_at_mut(span.payload_len);
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = key
                .seal_in_place_separate_tag(nonce, Aad::from(header), payload)
                .expect("short");
            rest[..TAG_LEN].copy_from_slice(tag.as_ref());
        }
        bytes
    }

    /// What `bytes` is when its packets have been opened: `clear`, but for the tags.
    fn opened(&self, clear: &[u8], sealed: &[u8]) -> Vec<u8> {
        let mut bytes = clear.to_vec();
        for span in &self.spans {
            let tag = span.end() - TAG_LEN..span.end();
            bytes[tag.clone()].copy_from_slice(&sealed[tag]);
        }
        bytes
    }

    /// The packets of `bytes` as frames, each with the gap that follows it.
    fn frames<'a>(&self, bytes: &'a mut [u8]) -> Vec<Frame<'a>> {
        let starts = self.spans.iter().map(|span| span.offset);
        let ends = starts.skip(1).chain([self.len]);
        let (mut rest, mut position) = (bytes, 0);
        let mut frames = Vec::new();
        for (span, end) in self.spans.iter().zip(ends) {
            let (_, tail) = rest.split_at_mut(span.offset - position);
            let (buf, tail) = tail.split_at_mut(end - span.offset);
            frames.push(Frame {
                buf,
                header_len: span.header_len,
                payload_len: span.payload_len,
                ctr: span.ctr,
            });
            (rest, position) = (tail, end);
        }
        frames
    }

    /// Runs `work` on a copy of `bytes` that begins `shift` bytes behind a 64-byte line.
    fn shifted(&self, bytes: &[u8], work: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut buffer = vec![0; bytes.len() + 128];
        let start = buffer.as_ptr().align_offset(64) + self.shift;
        let place = &mut buffer[start..start + bytes.len()];
        place.copy_from_slice(bytes);
        work(place);
        place.to_vec()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn batches_are_those_of_aws_lc(batch in batches()) {
        let clear = batch.clear();
        let sealed = batch.sealed(&clear);
        let opened = batch.opened(&clear, &sealed);
        for &backend in Backend::available() {
            let seal = SealKey::from_parts(&batch.key, &batch.salt, backend);
            let open = OpenKey::from_parts(&batch.key, &batch.salt, backend);
            prop_assert!(batch.shifted(&clear, |buf| seal.seal(buf, &batch.spans)) == sealed);
            prop_assert!(batch.shifted(&clear, |buf| seal.seal_frames(&mut batch.frames(buf))) == sealed);

            let mut verdicts = Vec::new();
            prop_assert!(batch.shifted(&sealed, |buf| verdicts.push(open.open(buf, &batch.spans))) == opened);
            prop_assert!(batch.shifted(&sealed, |buf| verdicts.push(open.open_frames(&mut batch.frames(buf)))) == opened);
            prop_assert!(verdicts.iter().all(|verdicts| verdicts.all_ok() && verdicts.len() == batch.spans.len()));
        }
    }

    /// In a batch with some packets forged, exactly those fail, and their payloads are zero.
    #[test]
    fn forged_packets_fail_alone(batch in batches(), forged in any::<u128>(), at in any::<usize>(), flip in 1..=255_u8) {
        let clear = batch.clear();
        let mut sealed = batch.sealed(&clear);
        let mut opened = batch.opened(&clear, &sealed);
        let is_forged = |index: usize| forged >> index & 1 == 1;
        for (_, span) in batch.spans.iter().enumerate().filter(|&(index, _)| is_forged(index)) {
            let place = span.offset + at % (span.end() - span.offset);
            sealed[place] ^= flip;
            opened[span.offset..span.end()].copy_from_slice(&sealed[span.offset..span.end()]);
            opened[span.offset + span.header_len..span.end() - TAG_LEN].fill(0);
        }
        for &backend in Backend::available() {
            let open = OpenKey::from_parts(&batch.key, &batch.salt, backend);
            let mut verdicts = None;
            prop_assert!(batch.shifted(&sealed, |buf| verdicts = Some(open.open(buf, &batch.spans))) == opened);
            let verdicts = verdicts.unwrap();
            prop_assert!(verdicts.iter().enumerate().all(|(index, genuine)| genuine != is_forged(index)));
        }
    }
}
