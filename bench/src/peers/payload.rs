//! Payloads that tell what happened to them: seven TS packets with a number, the time they were sent, and a checksum over
//! every byte. Those who parse TS find sync bytes, one PID and continuity counters; those who want RTP get a header before.

/// Bytes of a TS packet.
const TS_PACKET: usize = 188;
/// TS packets of a payload.
const TS_PACKETS: u8 = 7;
/// Bytes of a payload.
pub(super) const PAYLOAD: usize = TS_PACKET * TS_PACKETS as usize;
/// Bytes of an RTP header (RFC 3550 5.1) without sources and extension.
const RTP_HEADER: usize = 12;
/// SSRC of the stream.
pub(super) const SSRC: u32 = 1234;
/// Payload type of TS (RFC 3551 6), and its clock, in kHz.
const RTP_TS: (u8, u64) = (33, 90);
/// PID of the stream.
const PID: u16 = 0x100;
/// Where number, time and checksum stand: in the payload of the first TS packet.
const NUMBER: usize = 4;
const SENT: usize = NUMBER + 8;
const SUM: usize = SENT + 8;
const FILL: usize = SUM + 4;

/// How payloads travel between the generator, a contender, and the checker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// As they are: TS over UDP.
    Bare,
    /// Each in an RTP packet.
    Rtp,
}

impl Framing {
    const fn header(self) -> usize {
        match self {
            Self::Bare => 0,
            Self::Rtp => RTP_HEADER,
        }
    }

    /// Bytes of a datagram.
    pub(super) const fn datagram(self) -> usize {
        self.header() + PAYLOAD
    }
}

/// Makes payloads, each in the place of the one before.
pub(super) struct Maker {
    framing: Framing,
    datagram: Vec<u8>,
}

impl Maker {
    pub(super) fn new(framing: Framing) -> Self {
        // Any bytes will do that are not the same everywhere; none of them looks like a sync byte.
        let fill = (0..=u8::MAX).filter(|&byte| byte != 0x47).cycle();
        let mut datagram: Vec<u8> = fill.take(framing.datagram()).collect();
        let (header, payload) = datagram.split_at_mut(framing.header());
        if let [version, kind, .., a, b, c, d] = header {
            (*version, *kind) = (0x80, RTP_TS.0);
            [*a, *b, *c, *d] = SSRC.to_be_bytes();
        }
        for packet in payload.chunks_exact_mut(TS_PACKET) {
            if let [sync, high, low, ..] = packet {
                *sync = 0x47;
                [*high, *low] = PID.to_be_bytes();
            }
        }
        Self { framing, datagram }
    }

    /// The datagram with this number, sent at `sent` (nanoseconds since the stream began).
    pub(super) fn make(&mut self, number: u64, sent: u64) -> &[u8] {
        let (header, payload) = self.datagram.split_at_mut(self.framing.header());
        if let [_, _, high, low, a, b, c, d, ..] = header {
            let clock = sent.wrapping_mul(RTP_TS.1) / 1_000_000;
            [*high, *low] = low16(number).to_be_bytes();
            [*a, *b, *c, *d] = low32(clock).to_be_bytes();
        }
        let first = number.wrapping_mul(TS_PACKETS.into()).to_le_bytes()[0];
        for (packet, index) in payload.chunks_exact_mut(TS_PACKET).zip(0..) {
            packet[3] = 0x10 | (first.wrapping_add(index) & 0x0F);
        }
        payload[NUMBER..SENT].copy_from_slice(&number.to_be_bytes());
        payload[SENT..SUM].copy_from_slice(&sent.to_be_bytes());
        let sum = sum(payload);
        payload[SUM..FILL].copy_from_slice(&sum.to_be_bytes());
        &self.datagram
    }
}

/// What a payload says that arrived as it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Genuine {
    pub(super) number: u64,
    /// Nanoseconds since the stream began.
    pub(super) sent: u64,
}

/// What the datagram says; None if it is not, byte for byte, what was sent. RTP headers may be changed under way.
pub(super) fn check(framing: Framing, datagram: &[u8]) -> Option<Genuine> {
    let payload = datagram
        .split_at_checked(framing.header())
        .map(|(_, payload)| payload)
        .filter(|payload| payload.len() == PAYLOAD)?;
    (payload[SUM..FILL] == sum(payload).to_be_bytes()).then_some(())?;
    Some(Genuine {
        number: u64::from_be_bytes(payload[NUMBER..SENT].try_into().ok()?),
        sent: u64::from_be_bytes(payload[SENT..SUM].try_into().ok()?),
    })
}

/// The checksum of all bytes but those where it stands.
fn sum(payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&payload[..SUM]);
    hasher.update(&payload[FILL..]);
    hasher.finalize()
}

const fn low16(number: u64) -> u16 {
    let [.., high, low] = number.to_be_bytes();
    u16::from_be_bytes([high, low])
}

const fn low32(number: u64) -> u32 {
    let [.., a, b, c, d] = number.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Framing; 2] = [Framing::Bare, Framing::Rtp];

    #[test]
    fn what_was_sent_is_genuine() {
        for framing in BOTH {
            let mut maker = Maker::new(framing);
            for number in [0, 1, 65_536, u64::MAX] {
                let sent = number / 3;
                let datagram = maker.make(number, sent);
                assert_eq!(datagram.len(), framing.datagram());
                assert_eq!(check(framing, datagram), Some(Genuine { number, sent }));
            }
        }
    }

    #[test]
    fn no_byte_of_a_payload_can_change_unseen() {
        for framing in BOTH {
            let good = Maker::new(framing).make(7, 9).to_vec();
            for at in framing.header()..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 1;
                assert_eq!(check(framing, &bad), None, "byte {at}");
            }
            for length in 0..good.len() {
                assert_eq!(check(framing, &good[..length]), None, "{length} bytes");
            }
            assert_eq!(check(framing, &[&good[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn who_parses_ts_finds_packets_of_one_pid_in_order() {
        let mut maker = Maker::new(Framing::Bare);
        let packets: Vec<Vec<u8>> = (5..8)
            .flat_map(|number| {
                let datagram = maker.make(number, 0).to_vec();
                datagram
                    .chunks(TS_PACKET)
                    .map(<[u8]>::to_vec)
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(packets.len(), 21);
        for (packet, index) in packets.iter().zip(35_u8..) {
            assert_eq!(packet[..3], [0x47, 0x01, 0x00]);
            assert_eq!(packet[3], 0x10 | (index & 0x0F), "packet {index}");
            assert!(!packet[24..].contains(&0x47), "a second sync byte");
        }
    }

    #[test]
    fn who_parses_rtp_finds_a_header() {
        let mut maker = Maker::new(Framing::Rtp);
        let header = maker.make(0x12_3456, 2_000_000_000)[..12].to_vec();
        assert_eq!(header[..4], [0x80, 33, 0x34, 0x56]);
        assert_eq!(header[4..8], 180_000_u32.to_be_bytes());
        assert_eq!(header[8..], SSRC.to_be_bytes());
    }
}
