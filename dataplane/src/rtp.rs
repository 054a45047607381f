//! RTP around MPEG-TS (RFC 3550 5.1, RFC 2250): taking it off, putting it on.

/// Payload type of MPEG-TS (RFC 3551 6).
const MP2T: u8 = 33;
const FIXED: usize = 12;

/// What an RTP packet carries; `None` when the bytes are no RTP packet (version, CSRC list, extension or padding do not fit).
#[must_use]
pub fn payload(packet: &[u8]) -> Option<&[u8]> {
    let (fixed, rest) = packet.split_first_chunk::<FIXED>()?;
    let first = fixed[0];
    // RTCP shares the version; its packet types stand where RTP has marker and type (RFC 5761 4).
    if first >> 6 != 2 || (192..=223).contains(&fixed[1]) {
        return None;
    }
    let mut body = rest.get(usize::from(first & 0x0F) * 4..)?;
    if first & 0x10 != 0 {
        let (header, after) = body.split_first_chunk::<4>()?;
        body = after.get(usize::from(u16::from_be_bytes([header[2], header[3]])) * 4..)?;
    }
    if first & 0x20 != 0 {
        let padding = usize::from(*body.last()?);
        body = body
            .get(..body.len().checked_sub(padding)?)
            .filter(|_| padding > 0)?;
    }
    Some(body)
}

/// Writes RTP headers for one stream.
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
        let mut header = [0; FIXED];
        header[..2].copy_from_slice(&[0x80, MP2T]);
        header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        // 90 kHz, modulo 2^32.
        let ticks = u128::from(now) * 9 / 100_000;
        header[4..8].copy_from_slice(&ticks.to_be_bytes()[12..]);
        header[8..].copy_from_slice(&self.ssrc.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        header
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
        assert_eq!(payload(&packet[..20]), None);
        assert_eq!(payload(&[0x47; 188]), None, "TS is no RTP");
        packet[1] = 200;
        assert_eq!(payload(&packet), None, "RTCP is no RTP");
    }

    #[test]
    fn headers_count_on_and_keep_time() {
        let mut writer = RtpWriter::new(0x1234_FFFF);
        let first = writer.header(0);
        let second = writer.header(1_000_000_000);
        assert_eq!(
            (&first[2..4], &second[2..4]),
            (&[0xFF, 0xFF][..], &[0, 0][..])
        );
        assert_eq!(second[4..8], 90_000_u32.to_be_bytes());
        assert_eq!(payload(&[&second[..], &[0x47]].concat()), Some(&[0x47][..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(inside) = payload(&bytes) {
                prop_assert!(inside.len() + FIXED <= bytes.len());
            }
        }
    }
}
