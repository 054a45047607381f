//! One TS packet (ISO/IEC 13818-1 2.4.3).

/// Bytes of a TS packet.
pub const PACKET: usize = 188;
/// First byte of every TS packet.
pub const SYNC: u8 = 0x47;
/// PID of null packets.
pub const NULL_PID: u16 = 0x1FFF;
/// TS packets in a datagram.
pub const PER_PAYLOAD: usize = 7;

/// A programme clock reference: ticks of 27 MHz, below [`Pcr::WRAP`] (2.4.3.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pcr(u64);

impl Pcr {
    /// Where the clock starts anew: 2^33 ticks of 90 kHz.
    pub const WRAP: u64 = (1 << 33) * 300;
    /// Ticks per second.
    pub const HZ: u64 = 27_000_000;

    /// The reference for a count of ticks that never wraps.
    #[must_use]
    pub fn new(ticks: u64) -> Self {
        Self(ticks % Self::WRAP)
    }

    /// Ticks of 27 MHz.
    #[must_use]
    pub fn ticks(self) -> u64 {
        self.0
    }

    /// The 90 kHz part: the unit of presentation times and of RTP timestamps. 33 bits.
    #[must_use]
    pub fn base(self) -> u64 {
        self.0 / 300
    }

    /// What is left of a 90 kHz tick, 0..300.
    #[must_use]
    pub fn extension(self) -> u64 {
        self.0 % 300
    }

    /// Ticks from `earlier` to here, going forward, over the wrap if need be.
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
    /// Programme clock reference, if one is here and valid.
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
                parsed.pcr = pcr(*field.get(1..7)?.first_chunk()?);
            }
        }
        Some(parsed)
    }
}

/// The packets of a payload that carry a clock reference, with their first bytes' offsets. What is no whole TS packet is passed
/// over.
pub fn clock_references(payload: &[u8]) -> impl Iterator<Item = (usize, TsPacket)> {
    let packets = payload.chunks_exact(PACKET).zip((0..).step_by(PACKET));
    packets.filter_map(|(packet, offset)| {
        // Few packets carry one; whether there is an adaptation field is asked of every packet.
        let parsed = (packet[3] & 0x20 != 0).then(|| TsPacket::parse(packet))??;
        parsed.pcr.is_some().then_some((offset, parsed))
    })
}

/// Base (33 bits), six reserved bits, extension (9 bits); an extension above 299 is no time.
fn pcr([a, b, c, d, e, f]: [u8; 6]) -> Option<Pcr> {
    let base = u64::from(u32::from_be_bytes([a, b, c, d])) << 1 | u64::from(e >> 7);
    let extension = u64::from(u16::from_be_bytes([e & 1, f]));
    (extension < 300).then_some(Pcr(base * 300 + extension))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_pcr(field: [u8; 6]) -> [u8; PACKET] {
        let mut packet = [0xFF; PACKET];
        packet[..6].copy_from_slice(&[0x47, 0x41, 0x00, 0x35, 7, 0x90]);
        packet[6..12].copy_from_slice(&field);
        packet
    }

    #[test]
    fn a_pcr_is_read() {
        let packet = with_pcr([0, 0, 0, 1, 0x80 | 0x7E, 0x05]);
        let parsed = TsPacket::parse(&packet).unwrap();
        assert_eq!((parsed.pid, parsed.continuity), (0x100, 5));
        assert!(parsed.has_payload && parsed.discontinuity);
        assert_eq!(parsed.pcr, Some(Pcr(3 * 300 + 5)));
    }

    #[test]
    fn an_impossible_pcr_is_none() {
        let largest = with_pcr([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 43]); // extension 299
        let last = Some(Pcr(Pcr::WRAP - 1));
        assert_eq!(TsPacket::parse(&largest).unwrap().pcr, last);
        let beyond = with_pcr([0xFF; 6]);
        assert_eq!(TsPacket::parse(&beyond).unwrap().pcr, None);
    }

    #[test]
    fn an_adaptation_field_that_does_not_fit_is_no_packet() {
        let mut packet = with_pcr([0; 6]);
        packet[4] = 184;
        assert_eq!(TsPacket::parse(&packet), None);
        packet[4] = 6; // the PCR flag, but no room for a PCR
        assert_eq!(TsPacket::parse(&packet), None);
        assert_eq!(TsPacket::parse(&packet[..187]), None);
    }

    #[test]
    fn pcr_differences_go_over_the_wrap() {
        assert_eq!(Pcr(5).since(Pcr(Pcr::WRAP - 5)), 10);
        assert_eq!(Pcr::new(Pcr::WRAP + 301), Pcr(301));
        assert_eq!((Pcr(301).base(), Pcr(301).extension()), (1, 1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 180..200), sync: bool) {
            if sync {
                bytes[0] = SYNC;
                bytes.resize(PACKET, 0);
            }
            if let Some(packet) = TsPacket::parse(&bytes) {
                prop_assert!(packet.pcr.is_none_or(|pcr| pcr.ticks() < Pcr::WRAP));
                prop_assert!(packet.pid <= NULL_PID && packet.continuity < 16);
            }
        }

        #[test]
        fn differences_add_up(start in 0..Pcr::WRAP, step in 0..Pcr::WRAP) {
            prop_assert_eq!(Pcr::new(start + step).since(Pcr(start)), step);
        }
    }
}
