//! A TS made here: PAT, PMT, one video-like PID with a clock, null packets to a constant rate. The same seed gives the same
//! bytes.

use super::packet::{NULL_PID, PACKET, PER_PAYLOAD, Pcr};

const PMT_PID: u16 = 0x1000;
const VIDEO_PID: u16 = 0x100;
/// Ticks between tables, and between clock references: 40 ms.
const CLOCK_INTERVAL: u64 = Pcr::HZ / 25;
/// Every so many packets is a null packet.
const NULL_EVERY: u64 = 10;

/// Makes payloads of 7 TS packets.
#[derive(Debug)]
pub struct TsGenerator {
    rate: u64,
    packets: u64,
    next_clock: u64,
    continuity: [u8; 3],
    noise: u64,
}

impl TsGenerator {
    /// `rate` in bits per second.
    #[must_use]
    pub fn new(rate: u64, seed: u64) -> Self {
        Self {
            rate: rate.max(1),
            packets: 0,
            next_clock: 0,
            continuity: [0; 3],
            noise: seed | 1,
        }
    }

    /// Nanoseconds from the start to the next payload.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.scaled(1_000_000_000)
    }

    /// The time of the next packet in ticks of `hz`.
    fn scaled(&self, hz: u64) -> u64 {
        let bits = u128::from(self.packets) * PACKET as u128 * 8;
        u64::try_from(bits * u128::from(hz) / u128::from(self.rate)).unwrap_or(u64::MAX)
    }

    /// Appends the next payload to `out`.
    pub fn next_payload(&mut self, out: &mut Vec<u8>) {
        (0..PER_PAYLOAD).for_each(|_| self.next_packet(out));
    }

    fn next_packet(&mut self, out: &mut Vec<u8>) {
        let clock = self.scaled(Pcr::HZ);
        // Tables, then the clock, each in a packet of its own at the start of every interval.
        let slot = self.packets;
        self.packets += 1;
        if clock >= self.next_clock {
            let phase = self.next_clock % CLOCK_INTERVAL;
            match phase {
                0 => self.section(out, 0, 0, &pat()),
                1 => self.section(out, 1, PMT_PID, &pmt()),
                _ => self.video(out, Some(Pcr(clock % Pcr::WRAP))),
            }
            self.next_clock += if phase < 2 { 1 } else { CLOCK_INTERVAL - 2 };
        } else if slot.is_multiple_of(NULL_EVERY) {
            out.extend(header(NULL_PID, false, 0));
            out.resize(out.len() + PACKET - 4, 0xFF);
        } else {
            self.video(out, None);
        }
    }

    fn section(&mut self, out: &mut Vec<u8>, counter: usize, pid: u16, section: &[u8]) {
        let start = out.len();
        out.extend(header(pid, true, self.count(counter)));
        out.push(0);
        out.extend(section);
        out.resize(start + PACKET, 0xFF);
    }

    fn video(&mut self, out: &mut Vec<u8>, pcr: Option<Pcr>) {
        let start = out.len();
        let count = self.count(2);
        let Some(Pcr(ticks)) = pcr else {
            out.extend(header(VIDEO_PID, false, count));
            return self.fill(out, start);
        };
        let mut head = header(VIDEO_PID, true, count);
        head[3] |= 0x20;
        out.extend(head);
        let (base, extension) = (ticks / 300, ticks % 300);
        let field = base << 15 | 0x3F << 9 | extension;
        out.extend([7, 0x10]);
        out.extend(&field.to_be_bytes()[2..]);
        // A PES packet of unbounded length with a presentation time (2.4.3.6).
        let pts = base.wrapping_add(9000) & 0x1_FFFF_FFFF;
        let part = |shift: u32, bits: u64| u8::try_from(pts >> shift & bits).unwrap_or(0);
        out.extend([0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5]);
        out.extend([
            0x21 | part(30, 7) << 1,
            part(22, 0xFF),
            part(15, 0x7F) << 1 | 1,
            part(7, 0xFF),
            part(0, 0x7F) << 1 | 1,
        ]);
        self.fill(out, start);
    }

    /// Fills the packet with noise (xorshift), so that no two packets are alike.
    fn fill(&mut self, out: &mut Vec<u8>, start: usize) {
        while out.len() < start + PACKET {
            self.noise ^= self.noise << 13;
            self.noise ^= self.noise >> 7;
            self.noise ^= self.noise << 17;
            // No start codes inside.
            out.push(self.noise.to_be_bytes()[0] | 1);
        }
    }

    fn count(&mut self, counter: usize) -> u8 {
        let count = self.continuity[counter];
        self.continuity[counter] = (count + 1) & 0x0F;
        count
    }
}

fn header(pid: u16, start: bool, continuity: u8) -> [u8; 4] {
    let [high, low] = pid.to_be_bytes();
    [
        0x47,
        high | if start { 0x40 } else { 0 },
        low,
        0x10 | continuity,
    ]
}

/// Programme association section (2.4.4.3).
fn pat() -> Vec<u8> {
    let [high, low] = PMT_PID.to_be_bytes();
    with_crc(&[0x00, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0, 1, 0xE0 | high, low])
}

/// Programme map section (2.4.4.8): one MPEG-2 video stream.
fn pmt() -> Vec<u8> {
    let [high, low] = VIDEO_PID.to_be_bytes();
    with_crc(&[
        0x02,
        0xB0,
        18,
        0,
        1,
        0xC1,
        0,
        0,
        0xE0 | high,
        low,
        0xF0,
        0,
        0x02,
        0xE0 | high,
        low,
        0xF0,
        0,
    ])
}

/// Appends the CRC of Annex A.
fn with_crc(section: &[u8]) -> Vec<u8> {
    let crc = section.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
        })
    });
    [section, &crc.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::super::check::ContinuityChecker;
    use super::super::packet::TsPacket;
    use super::*;

    #[test]
    fn the_stream_is_continuous_at_rate_and_clocked() {
        let rate = 8_000_000;
        let mut generator = TsGenerator::new(rate, 7);
        let (mut bytes, mut checker) = (Vec::new(), ContinuityChecker::default());
        while generator.due() < 5_000_000_000 {
            generator.next_payload(&mut bytes);
        }
        checker.push(&bytes);
        assert_eq!((checker.errors(), checker.sync_losses()), (0, 0));
        assert!(
            (bytes.len() as u64 * 8).abs_diff(rate * 5) < rate * 5 / 1000,
            "within 0.1 %"
        );
        let clocks: Vec<_> = bytes
            .chunks(PACKET)
            .enumerate()
            .filter_map(|(index, packet)| {
                TsPacket::parse(packet)
                    .unwrap()
                    .pcr
                    .map(|pcr| (index as u64, pcr))
            })
            .collect();
        assert!(clocks.len() >= 124);
        for pair in clocks.windows(2) {
            let [(at, pcr), (later, next)] = pair else {
                unreachable!()
            };
            let ticks = next.since(*pcr);
            assert!(
                ticks <= Pcr::HZ / 25 + Pcr::HZ / 1000,
                "{ticks} ticks between clocks"
            );
            assert!(ticks.abs_diff((later - at) * 188 * 8 * Pcr::HZ / rate) <= 1);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let make = |seed| {
            let (mut generator, mut bytes) = (TsGenerator::new(1_000_000, seed), Vec::new());
            (0..100).for_each(|_| generator.next_payload(&mut bytes));
            bytes
        };
        assert!(make(3) == make(3) && make(3) != make(5));
    }

    #[test]
    fn the_crc_of_a_section_with_its_crc_is_zero() {
        let with = with_crc(&pat());
        assert_eq!(with[with.len() - 4..], [0; 4]);
    }
}
