//! One TS packet (ISO/IEC 13818-1 2.4.3).

/// Bytes of a TS packet.
pub const PACKET: usize = 188;
/// First byte of every TS packet.
pub const SYNC: u8 = 0x47;
/// PID of null packets.
pub const NULL_PID: u16 = 0x1FFF;
/// TS packets in a datagram.
pub const PER_PAYLOAD: usize = 7;

/// A programme clock reference: ticks of 27 MHz, modulo [`Pcr::WRAP`] (2.4.3.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pcr(pub u64);

impl Pcr {
    /// Where the clock starts anew: 2^33 ticks of 90 kHz.
    pub const WRAP: u64 = (1 << 33) * 300;
    /// Ticks per second.
    pub const HZ: u64 = 27_000_000;

    /// Ticks from `earlier` to here, going forward.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        (self.0 + Self::WRAP - earlier.0) % Self::WRAP
    }
}

/// What the header and adaptation field of a TS packet say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TsPacket {
    /// Packet identifier.
    pub pid: u16,
    /// Continuity counter, 0..=15.
    pub continuity: u8,
    /// Whether there is a payload; only then the counter goes on.
    pub has_payload: bool,
    /// The stream is discontinuous here on purpose.
    pub discontinuity: bool,
    /// Programme clock reference, if one is here.
    pub pcr: Option<Pcr>,
}

impl TsPacket {
    /// Reads a packet; `None` when it is none (length, sync byte, adaptation field).
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let packet: &[u8; PACKET] = packet.try_into().ok()?;
        if packet[0] != SYNC {
            return None;
        }
        let control = packet[3] >> 4 & 3;
        let mut parsed = Self {
            pid: u16::from_be_bytes([packet[1] & 0x1F, packet[2]]),
            continuity: packet[3] & 0x0F,
            has_payload: control & 1 != 0,
            discontinuity: false,
            pcr: None,
        };
        let length = usize::from(packet[4]);
        if control & 2 != 0 && length > 0 {
            let field = packet.get(5..5 + length)?;
            let flags = field[0];
            parsed.discontinuity = flags & 0x80 != 0;
            if flags & 0x10 != 0 {
                let [a, b, c, d, e, f] = *field.get(1..7)?.first_chunk()?;
                let base = u64::from(u32::from_be_bytes([a, b, c, d])) << 1 | u64::from(e >> 7);
                parsed.pcr = Some(Pcr(base * 300 + u64::from(u16::from_be_bytes([e & 1, f]))));
            }
        }
        Some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pcr_is_read() {
        let mut packet = [0xFF; PACKET];
        packet[..6].copy_from_slice(&[0x47, 0x41, 0x00, 0x35, 7, 0x90]);
        packet[6..12].copy_from_slice(&[0, 0, 0, 1, 0x80 | 0x7E, 0x05]);
        let parsed = TsPacket::parse(&packet).unwrap();
        assert_eq!(
            (
                parsed.pid,
                parsed.continuity,
                parsed.has_payload,
                parsed.discontinuity
            ),
            (0x100, 5, true, true)
        );
        assert_eq!(parsed.pcr, Some(Pcr(3 * 300 + 5)));
    }

    #[test]
    fn pcr_differences_go_over_the_wrap() {
        assert_eq!(Pcr(5).since(Pcr(Pcr::WRAP - 5)), 10);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 180..200)) {
            let _ = TsPacket::parse(&bytes);
        }
    }
}
