//! What must hold for any bytes that a user's files and URLs hold. Shared by the smoke run and the fuzz targets.

use std::io::Cursor;

use sealcast_dataplane::endpoint::{Group, Input, Output};
use sealcast_dataplane::pcap::PcapReader;
use sealcast_dataplane::rtp::RtpHeader;
use sealcast_dataplane::ts::check::ContinuityChecker;
use sealcast_dataplane::ts::pace::PcrPacer;

/// Endpoint URLs: what is taken is shown as it is read.
pub(crate) fn endpoint(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(input) = text.parse::<Input>() {
        assert_eq!(input.to_string().parse(), Ok(input));
    }
    if let Ok(output) = text.parse::<Output>() {
        assert_eq!(output.to_string().parse(), Ok(output));
    }
    if let Ok(group) = text.parse::<Group>() {
        assert_eq!(group.to_string().parse(), Ok(group));
    }
}

/// Captures: no more comes out than is in them.
pub(crate) fn pcap(bytes: &[u8]) {
    let Ok(mut reader) = PcapReader::new(Cursor::new(bytes.to_vec()), None) else {
        return;
    };
    let mut out = Vec::new();
    while let Ok(Some(_)) = reader.next(&mut out) {}
    assert!(out.len() <= bytes.len());
}

/// TS and RTP: every payload gets a time, and times rise.
pub(crate) fn ts(bytes: &[u8]) {
    let (mut checker, mut pacer) = (ContinuityChecker::default(), PcrPacer::new(1_000_000));
    let payloads = bytes.chunks(1316).count();
    for payload in bytes.chunks(1316) {
        checker.push(payload);
        pacer.push(payload);
        if let Some((_, content)) = RtpHeader::parse(payload) {
            assert!(content.end <= payload.len());
        }
    }
    pacer.finish();
    let dues: Vec<_> = std::iter::from_fn(|| pacer.pop()).collect();
    assert!(dues.len() == payloads && dues.is_sorted());
}
