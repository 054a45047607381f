//! Damage to any field of one packet is found, and costs that packet alone.

use sealcast_crypto::{Backend, LaneSecret, OpenKey, SealKey, Span, Verdicts};

const HEADER: usize = 12;
const PAYLOADS: [usize; 4] = [1316, 0, 33, 188];

fn secret() -> LaneSecret {
    LaneSecret::from_parts([0x42; 32], [0x24; 12])
}

fn spans() -> Vec<Span> {
    let mut offset = 0;
    let spans = PAYLOADS
        .into_iter()
        .zip(1_u64 << 32..)
        .map(|(payload_len, ctr)| {
            let span = Span {
                offset,
                header_len: HEADER,
                payload_len,
                ctr,
            };
            offset = span.end();
            span
        });
    spans.collect()
}

fn clear() -> Vec<u8> {
    let len = spans().last().map_or(0, Span::end);
    (1..=251).cycle().take(len).collect()
}

fn sealed(backend: Backend) -> Vec<u8> {
    let mut buf = clear();
    SealKey::with_backend(&secret(), backend).seal(&mut buf, &spans());
    buf
}

/// Packet `victim` failed and is zeroed; the others are open.
fn assert_one_lost(verdicts: Verdicts, buf: &[u8], victim: usize) {
    assert_eq!(verdicts.count_ok(), PAYLOADS.len() - 1);
    assert!(!verdicts.is_ok(victim));
    for (index, span) in spans().iter().enumerate() {
        let payload = span.offset + HEADER..span.offset + HEADER + span.payload_len;
        if index == victim {
            assert!(buf[payload].iter().all(|&byte| byte == 0));
        } else {
            assert_eq!(buf[payload.clone()], clear()[payload]);
        }
    }
}

#[test]
fn every_bit_of_header_payload_and_tag_counts() {
    for &backend in Backend::available() {
        let sealed = sealed(backend);
        let open = OpenKey::with_backend(&secret(), backend);
        for (victim, span) in spans().iter().enumerate().skip(1) {
            for bit in span.offset * 8..span.end() * 8 {
                let mut buf = sealed.clone();
                buf[bit / 8] ^= 1 << (bit % 8);
                let verdicts = open.open(&mut buf, &spans());
                assert_one_lost(verdicts, &buf, victim);
            }
        }
    }
}

#[test]
fn the_packet_number_counts() {
    for &backend in Backend::available() {
        for victim in 0..PAYLOADS.len() {
            for bit in 0..64 {
                let mut buf = sealed(backend);
                let mut spans = spans();
                spans[victim].ctr ^= 1 << bit;
                let verdicts = OpenKey::with_backend(&secret(), backend).open(&mut buf, &spans);
                assert_one_lost(verdicts, &buf, victim);
            }
        }
    }
}

#[test]
fn key_and_salt_count() {
    for &backend in Backend::available() {
        for (key, salt) in [([0x43; 32], [0x24; 12]), ([0x42; 32], [0x25; 12])] {
            let mut buf = sealed(backend);
            let open = OpenKey::with_backend(&LaneSecret::from_parts(key, salt), backend);
            assert_eq!(open.open(&mut buf, &spans()).count_ok(), 0);
        }
    }
}

/// Where header, payload and tag meet is authenticated by their lengths.
#[test]
fn the_lengths_count() {
    let span = spans()[3];
    for &backend in Backend::available() {
        let open = OpenKey::with_backend(&secret(), backend);
        for wrong in [
            Span {
                header_len: HEADER + 1,
                payload_len: span.payload_len - 1,
                ..span
            },
            Span {
                header_len: HEADER - 1,
                payload_len: span.payload_len + 1,
                ..span
            },
            Span {
                payload_len: span.payload_len - 1,
                ..span
            },
            Span {
                payload_len: 0,
                ..span
            },
        ] {
            assert_eq!(
                open.open(&mut sealed(backend), &[wrong]).count_ok(),
                0,
                "{wrong:?}"
            );
        }
        assert!(open.open(&mut sealed(backend), &[span]).all_ok());
    }
}
