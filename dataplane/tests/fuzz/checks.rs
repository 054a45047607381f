//! What must hold for any bytes: shared by `fuzz_smoke.rs` (seeded mutations) and `fuzz/` (guided by coverage).

use std::fmt::Display;
use std::io::Cursor;
use std::str::FromStr;

use sealcast_dataplane::endpoint::{Group, Input, Output};
use sealcast_dataplane::pcap::PcapReader;
use sealcast_dataplane::rtp::{self, FIXED, RtpHeader};
use sealcast_dataplane::ts::check::ContinuityChecker;
use sealcast_dataplane::ts::pace::PcrPacer;
use sealcast_dataplane::ts::packet::{NULL_PID, PACKET, Pcr, TsPacket};

/// Every datagram is a piece of the capture, and all of them together are no more than it.
pub fn pcap(bytes: &[u8]) {
    let Ok(mut reader) = PcapReader::new(Cursor::new(bytes.to_vec()), None) else {
        return;
    };
    let (mut payloads, mut datagrams) = (Vec::new(), 0);
    while let Ok(Some(_)) = reader.next(&mut payloads) {
        datagrams += 1;
    }
    // A UDP header is 8 bytes, whatever is around it.
    assert!(payloads.len() + 8 * datagrams <= bytes.len());
}

/// What is shown is what is parsed.
fn comes_back<T: FromStr + Display + PartialEq>(text: &str) {
    if let Ok(endpoint) = text.parse::<T>() {
        let shown = endpoint.to_string();
        assert!(
            shown.parse::<T>().is_ok_and(|again| again == endpoint),
            "{text:?} is shown as {shown:?}"
        );
    }
}

pub fn endpoint(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        comes_back::<Input>(text);
        comes_back::<Group>(text);
        let _ = text.parse::<Output>();
    }
}

/// A stream of payloads: the first byte of each is its length, in pieces of 47 bytes (a quarter of a TS packet).
pub fn ts(bytes: &[u8]) {
    let mut checker = ContinuityChecker::default();
    let mut pacer = PcrPacer::new(4_000_000);
    let (mut pieces, mut payloads, mut rest) = (0, 0, bytes);
    while let [length, tail @ ..] = rest {
        let length = usize::from(*length) % 32 * PACKET / 4;
        let (payload, tail) = tail.split_at(tail.len().min(length));
        rest = tail;
        rtp(payload);
        payload.chunks(PACKET).for_each(packet);
        checker.push(payload);
        pieces += payload.chunks(PACKET).len() as u64;
        pacer.push(payload);
        payloads += 1;
        if length == 0 {
            pacer.restart();
        }
    }
    assert_eq!(checker.packets() + checker.sync_losses(), pieces);
    pacer.finish();
    let dues: Vec<_> = std::iter::from_fn(|| pacer.pop()).collect();
    assert_eq!(dues.len(), payloads);
    assert!(dues.is_sorted(), "times go back");
}

fn packet(bytes: &[u8]) {
    if let Some(packet) = TsPacket::parse(bytes) {
        assert!(packet.pid <= NULL_PID && packet.continuity < 16);
        assert!(packet.pcr.is_none_or(|pcr| pcr.ticks() < Pcr::WRAP));
    }
}

fn rtp(bytes: &[u8]) {
    if let Some((header, payload)) = RtpHeader::parse(bytes) {
        assert!(payload.start >= FIXED);
        assert_eq!(rtp::payload(bytes), Some(&bytes[payload.clone()]));
        // Without CSRC list, extension and padding it is the same packet.
        let plain = [&header.to_bytes(), &bytes[payload]].concat();
        assert_eq!(RtpHeader::parse(&plain), Some((header, FIXED..plain.len())));
    }
}
