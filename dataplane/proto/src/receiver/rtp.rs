//! SSRC and sequence number of the RTP packets inside the payloads (RFC 3550 5.1): what merges servers without a gap.

/// A jump of at least this many numbers is a new start of the stream (RFC 3550 A.1, MAX_DROPOUT).
const JUMP: i64 = 3000;

/// Extends 16-bit sequence numbers of one SSRC to 64 bits.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    ssrc: Option<u32>,
    highest: i64,
}

/// Where a payload belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// At this number.
    At(u64),
    /// A new stream begins with it, at this number: another SSRC, or a jump.
    Restart(u64),
}

impl Sequence {
    /// Where `payload` belongs; `None` when it is no RTP packet.
    pub(crate) fn place(&mut self, payload: &[u8]) -> Option<Place> {
        let [first, _, high, low, _, _, _, _, a, b, c, d, ..] = *payload else {
            return None;
        };
        if first >> 6 != 2 {
            return None;
        }
        let ssrc = u32::from_be_bytes([a, b, c, d]);
        let sequence = u16::from_be_bytes([high, low]);
        // Starts far from 0, so that what comes a little before the first packet has a number too.
        let start = (1 << 32) + i64::from(sequence);
        let place = if self.ssrc == Some(ssrc) {
            let low = (self.highest & 0xFFFF).cast_unsigned();
            let low = u16::try_from(low).expect("16 bits");
            let distance = i64::from(sequence.wrapping_sub(low).cast_signed());
            let number = self.highest + distance;
            if distance.abs() < JUMP {
                self.highest = self.highest.max(number);
                Place::At(number.cast_unsigned())
            } else {
                self.highest = start.max((self.highest & !0xFFFF) + 0x1_0000 + i64::from(sequence));
                Place::Restart(self.highest.cast_unsigned())
            }
        } else {
            self.ssrc = Some(ssrc);
            self.highest = start;
            Place::Restart(start.cast_unsigned())
        };
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rtp(ssrc: u8, sequence: u16) -> Vec<u8> {
        let [high, low] = sequence.to_be_bytes();
        vec![0x80, 33, high, low, 0, 0, 0, 0, 0, 0, 0, ssrc, 0x47]
    }

    fn at(place: Option<Place>) -> u64 {
        match place {
            Some(Place::At(number) | Place::Restart(number)) => number,
            None => panic!("no RTP"),
        }
    }

    #[test]
    fn sequence_numbers_run_on_over_the_wrap() {
        let mut sequence = Sequence::default();
        let first = at(sequence.place(&rtp(1, 65534)));
        let numbers: Vec<_> = [65535, 1, 0, 65533, 2]
            .iter()
            .map(|&number| at(sequence.place(&rtp(1, number))))
            .collect();
        assert_eq!(
            numbers,
            [first + 1, first + 3, first + 2, first - 1, first + 4]
        );
    }

    #[test]
    fn another_ssrc_or_a_jump_is_a_new_start() {
        let mut sequence = Sequence::default();
        sequence.place(&rtp(1, 10));
        assert!(matches!(
            sequence.place(&rtp(2, 10)),
            Some(Place::Restart(_))
        ));
        assert!(matches!(sequence.place(&rtp(2, 11)), Some(Place::At(_))));
        let before = at(sequence.place(&rtp(2, 12)));
        let Some(Place::Restart(after)) = sequence.place(&rtp(2, 9000)) else {
            panic!("a jump")
        };
        assert!(after > before);
        assert_eq!(sequence.place(&[0x47; 188]), None, "TS is no RTP");
        assert_eq!(sequence.place(&[0x80, 33]), None);
    }
}
