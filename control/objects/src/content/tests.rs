//! Files of contents against an independent AES-GCM and HKDF, and everything that must not open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sealcast_crypto::sha256;

use super::*;

const WHOLE: usize = SEGMENT_LEN;

fn key(number: u8) -> ContentKey {
    ContentKey::from_bytes(Zeroizing::new([number; 32]))
}

fn header(version: u32, length: usize) -> Header {
    Header::new(ContentId([7; 16]), version, length as u64).unwrap()
}

fn plain(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

/// The file of this plaintext, which comes in pieces of these lengths.
fn seal(key: &ContentKey, version: u32, plain: &[u8], pieces: &[usize]) -> Vec<u8> {
    let header = header(version, plain.len());
    let mut file = header.to_bytes().to_vec();
    let mut sealer = Sealer::new(key, header);
    let mut rest = plain;
    let mut lengths = pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
    loop {
        let length = lengths.next().unwrap().min(rest.len());
        let (mut piece, after) = rest.split_at(length);
        rest = after;
        while let Some(segment) = sealer.push(&mut piece).unwrap() {
            file.extend(segment);
        }
        assert!(piece.is_empty());
        if rest.is_empty() {
            break;
        }
    }
    sealer.finish().unwrap();
    file
}

/// All of a file; the first error ends it.
fn open(key: &ContentKey, file: &[u8]) -> Result<Vec<u8>, Option<OpenError>> {
    let header = Header::read(file).map_err(|_| None)?;
    let opener = Opener::new(key, header);
    let mut plain = Vec::new();
    for index in 0..header.segments() {
        let Segment { sealed, .. } = header.segment(index).unwrap();
        let [from, to] = [sealed.start, sealed.end].map(|at| usize::try_from(at).unwrap());
        let to = to.min(file.len());
        let mut segment = file.get(from..to).unwrap_or_default().to_vec();
        plain.extend_from_slice(opener.open(index, &mut segment)?);
    }
    match file.len() as u64 == header.sealed_length() {
        true => Ok(plain),
        false => Err(None),
    }
}

/// The same file by other code: HKDF as RFC 5869 writes it, AES-GCM of aws-lc-rs, the header by hand.
fn expected(key: [u8; 32], version: u32, plain: &[u8]) -> Vec<u8> {
    let mut file = b"SEALCONT\x00\x01\x00\x00\x00\x01\x00\x00".to_vec();
    file.extend([7; 16]);
    file.extend(version.to_be_bytes());
    file.extend([0; 4]);
    file.extend((plain.len() as u64).to_be_bytes());
    let sign = |key: &[u8], text: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA512, key);
        hmac::sign(&key, text).as_ref().to_vec()
    };
    let prk = sign(&[0; 64], &key);
    let okm = sign(
        &prk,
        &[b"sealcast content segments", &file[..], &[1]].concat(),
    );
    let aes = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &okm[..32]).unwrap());
    let mut parts: Vec<_> = plain.chunks(65536).map(<[u8]>::to_vec).collect();
    if parts.is_empty() {
        parts.push(Vec::new());
    }
    let last = parts.len() - 1;
    for (index, mut part) in parts.into_iter().enumerate() {
        let number = u32::try_from(index).unwrap().to_be_bytes();
        let nonce = [&okm[32..39], &number, &[u8::from(index == last)]].concat();
        let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
        aes.seal_in_place_append_tag(nonce, Aad::empty(), &mut part)
            .unwrap();
        file.extend(part);
    }
    file
}

#[test]
fn files_are_those_of_another_implementation() {
    for length in [
        0,
        1,
        1000,
        WHOLE - 1,
        WHOLE,
        WHOLE + 1,
        3 * WHOLE,
        3 * WHOLE + 777,
    ] {
        let plain = plain(length);
        let file = seal(&key(9), 3, &plain, &[]);
        assert!(file == expected([9; 32], 3, &plain), "{length}");
        assert_eq!(file.len() as u64, header(3, length).sealed_length());
        assert!(open(&key(9), &file).unwrap() == plain, "{length}");
    }
}

/// The vector of docs/content-format.md, which was made with other software.
#[test]
fn the_documented_vector_comes_out() {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(0..).for_each(|(byte, at)| *byte = at);
    let key = ContentKey::from_bytes(Zeroizing::new(bytes));
    let mut content = [0; 16];
    content
        .iter_mut()
        .zip(0xa0..)
        .for_each(|(byte, at)| *byte = at);
    let header = Header::new(ContentId(content), 1, 8).unwrap();
    let mut file = header.to_bytes().to_vec();
    let mut sealer = Sealer::new(&key, header);
    file.extend(sealer.push(&mut &b"sealcast"[..]).unwrap().unwrap());
    let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = include_str!("../../../../docs/content-format.md");
    let told: String = text
        .split("```")
        .find_map(|part| part.strip_prefix("vector\n"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(hex, told);
    let digest: String = sha256(&[&file])
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(text.contains(&digest), "{digest}");
}

#[test]
fn a_segment_opens_nowhere_else() {
    let (two, other) = (plain(3 * WHOLE), plain(3 * WHOLE));
    let file = seal(&key(1), 1, &two, &[]);
    let at = |index: u64| {
        let place = header(1, two.len()).segment(index).unwrap().sealed;
        usize::try_from(place.start).unwrap()..usize::try_from(place.end).unwrap()
    };
    // Two segments change places.
    let mut swapped = file.clone();
    swapped[at(0)].copy_from_slice(&file[at(1)]);
    swapped[at(1)].copy_from_slice(&file[at(0)]);
    assert_eq!(open(&key(1), &swapped), Err(Some(OpenError::Forged(0))));
    // The last stands before, another one last.
    let mut swapped = file.clone();
    swapped[at(2)].copy_from_slice(&file[at(1)]);
    assert_eq!(open(&key(1), &swapped), Err(Some(OpenError::Forged(2))));
    // From another version, another content, another length: under the same key, which no program of ours takes twice.
    for (version, content) in [(2, [7; 16]), (1, [8; 16])] {
        let header = Header::new(ContentId(content), version, other.len() as u64).unwrap();
        let mut segment = Sealer::new(&key(1), header)
            .push(&mut &other[..])
            .unwrap()
            .unwrap();
        let opener = Opener::new(&key(1), self::header(1, two.len()));
        assert_eq!(opener.open(0, &mut segment), Err(OpenError::Forged(0)));
    }
    // A header that promises less, or more, with the segments of this one.
    for length in [two.len() - WHOLE, two.len() + WHOLE] {
        let mut lying = header(1, length).to_bytes().to_vec();
        lying.extend(&file[Header::LEN..]);
        assert_eq!(open(&key(1), &lying), Err(Some(OpenError::Forged(0))));
    }
    assert_eq!(open(&key(2), &file), Err(Some(OpenError::Forged(0))));
    let opener = Opener::new(&key(1), header(1, two.len()));
    let none = OpenError::NoSegment { index: 3, count: 3 };
    assert_eq!(opener.open(3, &mut [0; 16]), Err(none));
    assert_eq!(
        opener.open(u64::MAX, &mut []).unwrap_err().to_string(),
        "there is no segment 18446744073709551615: the content has 3"
    );
}

#[test]
fn a_plaintext_must_be_as_long_as_was_said() {
    let mut sealer = Sealer::new(&key(1), header(1, 10));
    let mut piece = &[0; 11][..];
    assert!(sealer.push(&mut piece).unwrap().is_some());
    assert_eq!(sealer.push(&mut piece), Err(SealError::TooLong(10)));
    let mut sealer = Sealer::new(&key(1), header(1, 10));
    assert_eq!(sealer.push(&mut &[0; 9][..]), Ok(None));
    let short = SealError::TooShort {
        taken: 9,
        length: 10,
    };
    assert_eq!(sealer.finish(), Err(short));
    let empty = Sealer::new(&key(1), header(1, 0));
    assert!(empty.finish().is_err(), "also nothing is one segment");
    let long = Header::new(ContentId([0; 16]), 1, Header::LENGTH_MAX + 1);
    assert_eq!(long, Err(HeaderError::TooLong(Header::LENGTH_MAX + 1)));
    let longest = Header::new(ContentId([0; 16]), 1, Header::LENGTH_MAX).unwrap();
    let last = longest.segment(longest.segments() - 1).unwrap();
    assert!(last.last);
    assert_eq!(last.sealed.end, longest.sealed_length());
    assert_eq!(longest.segment(longest.segments()), None);
}

#[test]
fn keys_are_not_shown_and_not_repeated() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let (one, two) = (ContentKey::new(rng), ContentKey::new(rng));
    assert_ne!(one.as_bytes(), two.as_bytes());
    assert_eq!(format!("{one:?}"), "ContentKey(..)");
    let mut sealer = Sealer::new(&one, header(1, 10));
    sealer.push(&mut &b"secret"[..]).unwrap();
    let shown = format!("{sealer:?}");
    assert!(
        shown.contains("6 bytes") && !shown.contains("115"),
        "{shown}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_length_in_any_pieces_comes_back(
        length in prop_oneof![0..200_usize, 0..4 * WHOLE],
        pieces in prop::collection::vec(1..2 * WHOLE, 0..6),
    ) {
        let plain = plain(length);
        let file = seal(&key(1), 1, &plain, &pieces);
        prop_assert!(file == seal(&key(1), 1, &plain, &[]));
        prop_assert_eq!(Header::read(&file), Ok(header(1, length)));
        prop_assert!(open(&key(1), &file).unwrap() == plain);
    }

    /// A range of the plaintext lies in the segments that hold it, and in no others.
    #[test]
    fn any_range_is_in_its_segments(
        length in 1..4 * WHOLE,
        from in 0..4 * WHOLE,
        to in 0..5 * WHOLE,
    ) {
        let header = header(1, length);
        let holding = header.holding(from as u64..to as u64);
        let (from, to) = (from.min(length), to.min(length));
        if from >= to {
            prop_assert!(holding.is_empty());
            return Ok(());
        }
        let first = header.segment(holding.start).unwrap().plain;
        let last = header.segment(holding.end - 1).unwrap().plain;
        prop_assert!(first.contains(&(from as u64)));
        prop_assert!(last.contains(&(to as u64 - 1)));
    }

    #[test]
    fn any_cut_and_any_flipped_bit_is_found(
        length in 0..3 * WHOLE,
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let file = seal(&key(1), 1, &plain(length), &[]);
        let at = at.index(file.len());
        prop_assert!(open(&key(1), &file[..at]).is_err(), "cut at {at}");
        let mut flipped = file.clone();
        flipped[at] ^= 1 << bit;
        prop_assert!(open(&key(1), &flipped).is_err(), "flipped at {at}");
        let longer = [&file[..], &[0]].concat();
        prop_assert!(open(&key(1), &longer).is_err());
    }

    #[test]
    fn any_bytes_are_a_header_or_not(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(header) = Header::read(&bytes) {
            prop_assert_eq!(&header.to_bytes()[..], &bytes[..Header::LEN]);
        }
    }
}
