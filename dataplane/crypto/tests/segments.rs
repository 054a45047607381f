//! Streams of segments: against aws-lc-rs with nonces put together here, and everything that must not open.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sealcast_crypto::{
    AesKey, Backend, BadSegment, SEALED_SEGMENT_LEN, SEGMENT_LEN, SegmentOpener, SegmentSealer,
    TAG_LEN,
};

const PREFIX: [u8; 7] = [1, 2, 3, 4, 5, 6, 7];
static KEYS: [AesKey; 2] = [AesKey::Aes128([0x21; 16]), AesKey::Aes256([0x42; 32])];

fn clear(len: usize) -> Vec<u8> {
    (1..=251).cycle().take(len).collect()
}

/// The sealed stream of `plaintext`, by the other library, as the module describes it.
fn expected(key: &AesKey, plaintext: &[u8]) -> Vec<Vec<u8>> {
    let key = match key {
        AesKey::Aes128(key) => UnboundKey::new(&AES_128_GCM, key),
        AesKey::Aes256(key) => UnboundKey::new(&AES_256_GCM, key),
    };
    let key = LessSafeKey::new(key.expect("the right length"));
    let mut parts: Vec<_> = plaintext.chunks(SEGMENT_LEN).map(<[u8]>::to_vec).collect();
    if parts.is_empty() {
        parts.push(Vec::new());
    }
    let last = parts.len() - 1;
    for (index, part) in parts.iter_mut().enumerate() {
        let middle = u32::try_from(index).expect("few").to_be_bytes();
        let nonce = [&PREFIX[..], &middle, &[u8::from(index == last)]].concat();
        let nonce = Nonce::try_assume_unique_for_key(&nonce).expect("12 bytes");
        key.seal_in_place_append_tag(nonce, Aad::empty(), part)
            .expect("short");
    }
    parts
}

fn sealed(key: &AesKey, plaintext: &[u8], backend: Backend) -> Vec<Vec<u8>> {
    let mut sealer = SegmentSealer::with_backend(key, &PREFIX, backend);
    let count = plaintext.len().div_ceil(SEGMENT_LEN).max(1);
    let seal = |index: usize| {
        let end = plaintext.len().min((index + 1) * SEGMENT_LEN);
        let mut buf = [&plaintext[index * SEGMENT_LEN..end], &[0; TAG_LEN]].concat();
        assert_eq!(sealer.seal(index + 1 == count, &mut buf) as usize, index);
        buf
    };
    (0..count).map(seal).collect()
}

#[test]
#[cfg_attr(miri, ignore = "aws-lc-rs is foreign code")]
fn streams_are_those_of_aws_lc() {
    for key in &KEYS {
        for len in [
            0,
            1,
            SEGMENT_LEN - 1,
            SEGMENT_LEN,
            SEGMENT_LEN + 1,
            3 * SEGMENT_LEN + 777,
        ] {
            let plaintext = clear(len);
            let expected = expected(key, &plaintext);
            for &backend in Backend::available() {
                assert!(
                    sealed(key, &plaintext, backend) == expected,
                    "{backend} {len}"
                );
                let opener = SegmentOpener::with_backend(key, &PREFIX, backend);
                // Any segment alone, the last first.
                for (index, segment) in expected.iter().enumerate().rev() {
                    let last = index + 1 == expected.len();
                    let mut buf = segment.clone();
                    let number = u32::try_from(index).expect("few");
                    let opened = opener.open(number, last, &mut buf).expect("genuine");
                    assert!(*opened == plaintext[index * SEGMENT_LEN..][..opened.len()]);
                }
            }
        }
    }
}

/// The nonce of segment 0 that is the last: known without this package's code.
#[test]
fn a_known_answer() {
    let mut buf = [b"segment".as_slice(), &[0; TAG_LEN]].concat();
    let key = AesKey::Aes256([0; 32]);
    SegmentSealer::new(&key, &[0; 7]).seal(true, &mut buf);
    let hex: String = buf.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "5aa4434f911813c08879d30bf9e98f73407d4a73fb6346");
}

#[test]
#[cfg_attr(miri, ignore = "segments of 64 KiB take hours")]
fn what_was_moved_cut_or_changed_does_not_open() {
    for &backend in Backend::available() {
        let key = &KEYS[1];
        let plaintext = clear(2 * SEGMENT_LEN + 100);
        let segments = sealed(key, &plaintext, backend);
        let opener = SegmentOpener::with_backend(key, &PREFIX, backend);
        let open = |index, last, segment: &[u8]| {
            let mut buf = segment.to_vec();
            let opened = opener
                .open(index, last, &mut buf)
                .map(|opened| opened.len());
            if opened.is_err() && buf.len() >= TAG_LEN && buf.len() <= SEALED_SEGMENT_LEN && last {
                assert!(buf[..buf.len() - TAG_LEN].iter().all(|&byte| byte == 0));
            }
            opened
        };
        assert_eq!(open(0, false, &segments[0]), Ok(SEGMENT_LEN));
        assert_eq!(open(2, true, &segments[2]), Ok(100));

        // At another index; as the last, though it is not; as not the last, though it is.
        assert_eq!(open(1, false, &segments[0]), Err(BadSegment));
        assert_eq!(open(0, false, &segments[1]), Err(BadSegment));
        assert_eq!(open(1, true, &segments[1]), Err(BadSegment));
        assert_eq!(open(2, false, &segments[2]), Err(BadSegment));
        let full = sealed(key, &plaintext[..SEGMENT_LEN], backend);
        assert_eq!(open(0, true, &full[0]), Ok(SEGMENT_LEN));
        assert_eq!(open(0, false, &full[0]), Err(BadSegment));
        // Cut anywhere, or longer.
        for len in [0, 15, 16, 17, 115, SEALED_SEGMENT_LEN - 1] {
            assert_eq!(open(0, false, &segments[0][..len]), Err(BadSegment));
            assert_eq!(open(0, true, &segments[0][..len]), Err(BadSegment));
        }
        assert_eq!(open(2, true, &segments[2][..115]), Err(BadSegment));
        let longer = [segments[0].as_slice(), &[0]].concat();
        assert_eq!(open(0, true, &longer), Err(BadSegment));
        // Changed.
        for byte in (0..SEALED_SEGMENT_LEN).step_by(4099) {
            let mut changed = segments[1].clone();
            changed[byte] ^= 0x10;
            assert_eq!(open(1, false, &changed), Err(BadSegment));
        }
        for byte in 0..segments[2].len() {
            let mut changed = segments[2].clone();
            changed[byte] ^= 1;
            assert_eq!(open(2, true, &changed), Err(BadSegment));
        }
        // Of another stream.
        let other = SegmentOpener::with_backend(key, &[9; 7], backend);
        assert_eq!(
            other.open(2, true, &mut segments[2].clone()),
            Err(BadSegment)
        );
    }
}

#[test]
#[should_panic(expected = "the stream has ended")]
fn nothing_follows_the_last_segment() {
    let mut sealer = SegmentSealer::new(&KEYS[0], &PREFIX);
    sealer.seal(true, &mut [0; 20]);
    sealer.seal(true, &mut [0; 20]);
}

#[test]
#[should_panic(expected = "20 bytes are no segment")]
fn only_the_last_segment_is_short() {
    SegmentSealer::new(&KEYS[0], &PREFIX).seal(false, &mut [0; 20]);
}
