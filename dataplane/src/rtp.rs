//! RTP around MPEG-TS (RFC 3550 5.1, RFC 2250): taking it off, putting it on.

use std::ops::Range;

/// Payload type of MPEG-TS (RFC 3551 6).
pub const MP2T: u8 = 33;
/// Bytes of a header without CSRC list and extension.
pub const FIXED: usize = 12;
/// Version 2, no padding, no extension, no CSRC.
const PLAIN: u8 = 0x80;

/// The fixed part of an RTP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtpHeader {
    /// Counts packets, modulo 2^16.
    pub sequence: u16,
    /// Ticks of the payload type's clock: 90 kHz for MPEG-TS.
    pub timestamp: u32,
    /// Synchronisation source: which stream.
    pub ssrc: u32,
    /// With MPEG-TS: the timestamp is discontinuous here (RFC 2250 2).
    pub marker: bool,
    /// 0..=127.
    pub payload_type: u8,
}

impl RtpHeader {
    /// Reads a packet: its header, and where its payload is. `None` when the bytes are no RTP packet (version, CSRC list,
    /// extension or padding do not fit, or it is RTCP).
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<(Self, Range<usize>)> {
        let (&[first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3], rest) =
            packet.split_first_chunk::<FIXED>()?;
        // RTCP shares the version; its packet types stand where RTP has marker and type (RFC 5761 4).
        if first >> 6 != 2 || (192..=223).contains(&second) {
            return None;
        }
        let mut body = rest.get(usize::from(first & 0x0F) * 4..)?;
        if first & 0x10 != 0 {
            let (&[.., high, low], after) = body.split_first_chunk::<4>()?;
            body = after.get(usize::from(u16::from_be_bytes([high, low])) * 4..)?;
        }
        let start = packet.len() - body.len();
        if first & 0x20 != 0 {
            let padding = usize::from(*body.last()?);
            body = body
                .get(..body.len().checked_sub(padding)?)
                .filter(|_| padding > 0)?;
        }
        let header = Self {
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            marker: second & 0x80 != 0,
            payload_type: second & 0x7F,
        };
        Some((header, start..start + body.len()))
    }

    /// The header as bytes, without CSRC list, extension or padding.
    #[must_use]
    pub fn to_bytes(self) -> [u8; FIXED] {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [c0, c1, c2, c3] = self.ssrc.to_be_bytes();
        let second = u8::from(self.marker) << 7 | self.payload_type & 0x7F;
        [PLAIN, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3]
    }
}

/// What an RTP packet carries; `None` when the bytes are no RTP packet.
#[must_use]
pub fn payload(packet: &[u8]) -> Option<&[u8]> {
    let (_, payload) = RtpHeader::parse(packet)?;
    packet.get(payload)
}

/// Writes the headers of one MPEG-TS stream, for rtp:// outputs.
#[derive(Clone, Debug)]
pub struct RtpWriter {
    ssrc: u32,
    sequence: u16,
}

impl RtpWriter {
    /// A stream with this SSRC (random, RFC 3550 8.1); the sequence starts at its low bits.
    #[must_use]
    pub fn new(ssrc: u32) -> Self {
        let [.., high, low] = ssrc.to_be_bytes();
        Self {
            ssrc,
            sequence: u16::from_be_bytes([high, low]),
        }
    }

    /// The header of the next packet, sent at `now` nanoseconds (of any clock that runs evenly).
    pub fn header(&mut self, now: u64) -> [u8; FIXED] {
        // 90 kHz; the header has the low 32 bits.
        let ticks = u128::from(now) * 9 / 100_000;
        let [.., t0, t1, t2, t3] = ticks.to_be_bytes();
        let header = RtpHeader {
            sequence: self.sequence,
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: self.ssrc,
            marker: false,
            payload_type: MP2T,
        };
        self.sequence = self.sequence.wrapping_add(1);
        header.to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn csrc_extension_and_padding_are_taken_off() {
        let mut packet = vec![0x80 | 0x20 | 0x10 | 1, 33, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
        packet.extend([1, 2, 3, 4]); // CSRC
        packet.extend([0xBE, 0xDE, 0, 1, 5, 6, 7, 8]); // extension of one word
        packet.extend([0x47, 1, 2, 0, 2]); // content, two bytes of padding
        assert_eq!(payload(&packet), Some(&[0x47, 1, 2][..]));
        let (header, range) = RtpHeader::parse(&packet).unwrap();
        assert_eq!((header.sequence, header.ssrc, range), (1, 9, 24..27));
        assert_eq!(payload(&packet[..20]), None);
        assert_eq!(payload(&[0x47; 188]), None, "TS is no RTP");
        packet[1] = 200;
        assert_eq!(payload(&packet), None, "RTCP is no RTP");
    }

    #[test]
    fn padding_that_does_not_fit_is_refused() {
        let packet = |padding| [&[0xA0, 33][..], &[0; 10], &[0x47, padding]].concat();
        assert_eq!(payload(&packet(1)), Some(&[0x47][..]));
        assert_eq!(payload(&packet(2)), Some(&[][..]));
        assert_eq!((payload(&packet(3)), payload(&packet(0))), (None, None));
    }

    #[test]
    fn headers_count_on_and_keep_time() {
        let mut writer = RtpWriter::new(0x1234_FFFF);
        let [first, second, third] = [0, 1_000_000_000, 2_000_000_000]
            .map(|now| writer.header(now))
            .map(|header| RtpHeader::parse(&header).unwrap().0);
        let sequences = [first.sequence, second.sequence, third.sequence];
        assert_eq!(sequences, [0xFFFF, 0, 1]);
        let timestamps = [first.timestamp, second.timestamp, third.timestamp];
        assert_eq!(timestamps, [0, 90_000, 180_000]);
        assert_eq!((first.payload_type, first.ssrc), (33, 0x1234_FFFF));
    }

    #[test]
    fn timestamps_wrap_at_32_bits() {
        // 2^32 ticks of 90 kHz are 47721 s and 858.8 ms.
        let header = RtpWriter::new(0).header(47_722_000_000_000);
        let (header, _) = RtpHeader::parse(&header).unwrap();
        let ticks = 47_722 * 90_000 - (1_u64 << 32);
        assert_eq!(u64::from(header.timestamp), ticks);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(sequence: u16, timestamp: u32, ssrc: u32, content in prop::collection::vec(any::<u8>(), 0..32)) {
            let payload_type = MP2T;
            let marker = ssrc & 1 == 1;
            let header = RtpHeader { sequence, timestamp, ssrc, marker, payload_type };
            let packet = [&header.to_bytes()[..], &content].concat();
            prop_assert_eq!(RtpHeader::parse(&packet), Some((header, FIXED..packet.len())));
        }

        #[test]
        fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..64), version_2: bool) {
            if version_2 && let Some(first) = bytes.first_mut() {
                *first = *first & 0x3F | 0x80;
            }
            if let Some((_, payload)) = RtpHeader::parse(&bytes) {
                prop_assert!(payload.start >= FIXED && payload.end <= bytes.len() && payload.start <= payload.end);
            }
        }
    }
}
