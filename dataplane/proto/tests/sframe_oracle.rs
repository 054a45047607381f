//! The crate `sframe`, an independent implementation of RFC 9605, opens what we seal and seals what we open.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sealcast_crypto::{EpochRoot, OpenKey, SealKey, Span};
use sealcast_proto::ids::{ChannelId, Ctr, Epoch, Kid, Lane};
use sealcast_proto::limits::{CTR_END, CTR_FIRST, HEADER_LEN, OVERHEAD};
use sealcast_proto::wire::header::{Header, PacketHeader};
use sframe::CipherSuite;
use sframe::frame::EncryptedFrameView;
use sframe::key::DecryptionKey;

#[test]
fn another_implementation_opens_our_packets() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..200 {
        let mut root = [0; 32];
        rng.fill_bytes(&mut root);
        let lane = Lane::new(u8::try_from(1 + rng.next_u64() % 255).unwrap()).unwrap();
        let channel = ChannelId(u16::try_from(rng.next_u64() % 65536).unwrap());
        let kid = Kid::new(lane, channel, Epoch(rng.next_u64()));
        let ctr = Ctr(CTR_FIRST + rng.next_u64() % (CTR_END - CTR_FIRST));
        let mut content = vec![0; usize::try_from(rng.next_u64() % 1400).unwrap()];
        rng.fill_bytes(&mut content);
        let mut packet = vec![0; content.len() + OVERHEAD];
        packet[HEADER_LEN..HEADER_LEN + content.len()].copy_from_slice(&content);
        PacketHeader { kid, ctr }.write(&mut packet);
        let span = Span {
            offset: 0,
            header_len: HEADER_LEN,
            payload_len: content.len(),
            ctr: ctr.0,
        };
        let secret = EpochRoot::from_bytes(root).prk().lane_secret(kid.value());
        SealKey::new(&secret).seal(&mut packet, &[span]);
        let theirs =
            DecryptionKey::derive_from(CipherSuite::AesGcm256Sha512, kid.value(), root).unwrap();
        let view = EncryptedFrameView::try_new(packet.as_slice()).unwrap();
        assert_eq!(view.decrypt(&theirs).unwrap().payload(), content);
        // And what it takes for genuine, we do.
        assert!(OpenKey::new(&secret).open(&mut packet, &[span]).is_ok(0));
        assert_eq!(packet[HEADER_LEN..HEADER_LEN + content.len()], content);
    }
}

#[test]
fn we_open_what_another_implementation_seals() {
    use sframe::frame::{MediaFrameView, SingleUseCounter};
    use sframe::key::EncryptionKey;
    let root = [5; 32];
    let kid = Kid::new(Lane::new(200).unwrap(), ChannelId(77), Epoch(0x0123_4567));
    let key = EncryptionKey::derive_from(CipherSuite::AesGcm256Sha512, kid.value(), root).unwrap();
    let ours = OpenKey::new(&EpochRoot::from_bytes(root).prk().lane_secret(kid.value()));
    for ctr in [CTR_FIRST, CTR_FIRST + 1, 0xAB_CDEF_0123] {
        let content = [&ctr.to_be_bytes()[..], b" content"].concat();
        let frame = MediaFrameView::try_new(&mut SingleUseCounter::new(ctr), &content)
            .unwrap()
            .encrypt(&key)
            .unwrap();
        let mut packet = frame.as_ref().to_vec();
        let header = PacketHeader::parse(&packet).expect("our form");
        assert_eq!((header.kid, header.ctr), (kid, Ctr(ctr)));
        let span = Span {
            offset: 0,
            header_len: HEADER_LEN,
            payload_len: content.len(),
            ctr,
        };
        assert!(ours.open(&mut packet, &[span]).is_ok(0));
        assert_eq!(packet[HEADER_LEN..HEADER_LEN + content.len()], content);
    }
}

/// RFC 9605 C.1: encodings of key id and counter.
#[test]
fn headers_are_those_of_the_standard() {
    let vectors: [(u64, u64, &str); 12] = [
        (0x0, 0x0, "00"),
        (0x0, 0x1, "01"),
        (0x0, 0xff, "08ff"),
        (0x0, 0x100, "090100"),
        (0x0, 0xffff, "09ffff"),
        (0x0, 0x10000, "0a010000"),
        (0x1, 0x0, "10"),
        (0x1, 0xff, "18ff"),
        (0xff, 0x0, "80ff"),
        (0xff, 0x100, "89ff0100"),
        (0xffff, 0xffff, "99ffffffff"),
        (
            0xffff_ffff_ffff_ffff,
            0xffff_ffff_ffff_ffff,
            "ffffffffffffffffffffffffffffffffff",
        ),
    ];
    for (kid, ctr, hex) in vectors {
        let mut out = [0; 17];
        let length = Header { kid, ctr }.write(&mut out);
        let text = out[..length]
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        assert_eq!(text, hex);
        assert_eq!(
            Header::parse(&out[..length]),
            Ok((Header { kid, ctr }, length))
        );
    }
}
