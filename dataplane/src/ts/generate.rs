//! A TS made here: PAT, PMT, one video-like PID with a clock, null packets, at a constant rate. The same seed gives the same
//! bytes.
//!
//! The video is MPEG-2 headers around noise in user data: analysers take it for a stream, and no two packets are alike.

use super::packet::{NULL_PID, PACKET, PER_PAYLOAD, Pcr, SYNC};

/// The least rate, bits per second: below it tables and clock do not fit between each other.
pub const RATE_MIN: u64 = 100_000;

const PMT_PID: u16 = 0x1000;
const VIDEO_PID: u16 = 0x100;
/// At most so long between two PCRs (ETSI TR 101 290 2.3a).
const CLOCK_INTERVAL: u64 = Pcr::HZ / 25;
/// Between two rounds of tables; ETSI TR 101 290 1.3 and 1.5 ask for 0.5 s.
const TABLE_INTERVAL: u64 = Pcr::HZ / 10;
/// Of the packets that hold neither tables nor clock, every so many is a null packet.
const NULL_EVERY: u64 = 10;
/// From the clock to the presentation of what comes with it, 90 kHz: 100 ms.
const PRESENTED_AFTER: u64 = 9000;

/// ISO/IEC 13818-2: sequence header (320x240, 25 Hz) and its extension, picture header (I) and its extension, user data.
const PICTURE: [u8; 43] = [
    0, 0, 1, 0xB3, 0x14, 0x00, 0xF0, 0x13, 0xFF, 0xFF, 0xE3, 0x80, //
    0, 0, 1, 0xB5, 0x14, 0x8A, 0x00, 0x01, 0x00, 0x00, //
    0, 0, 1, 0x00, 0x00, 0x0F, 0xFF, 0xF8, //
    0, 0, 1, 0xB5, 0x8F, 0xFF, 0xF3, 0x41, 0x80, //
    0, 0, 1, 0xB2,
];

/// The tables of a round that are still to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tables {
    Both,
    Pmt,
    Done,
}

/// Makes payloads of 7 TS packets, for ever.
#[derive(Clone, Debug)]
pub struct TsGenerator {
    /// Bits per second.
    rate: u64,
    packets: u64,
    /// Packets that held neither tables nor clock.
    others: u64,
    /// Ticks of the last PCR.
    last_clock: Option<u64>,
    tables: Tables,
    next_tables: u64,
    pat: Counter,
    pmt: Counter,
    video: Counter,
    noise: u64,
}

impl TsGenerator {
    /// A stream of `rate` bits per second, [`RATE_MIN`] or more.
    #[must_use]
    pub fn new(rate: u64, seed: u64) -> Self {
        Self {
            rate: rate.max(RATE_MIN),
            packets: 0,
            others: 0,
            last_clock: None,
            tables: Tables::Done,
            next_tables: 0,
            pat: Counter::default(),
            pmt: Counter::default(),
            video: Counter::default(),
            noise: mixed(seed).max(1),
        }
    }

    /// Nanoseconds from the start to the next payload.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.time_of(self.packets, 1_000_000_000)
    }

    /// Appends the next payload to `out`.
    pub fn next_payload(&mut self, out: &mut Vec<u8>) {
        (0..PER_PAYLOAD).for_each(|_| self.next_packet(out));
    }

    /// The time of a packet in ticks of `hz`.
    fn time_of(&self, packet: u64, hz: u64) -> u64 {
        let bits = u128::from(packet) * (PACKET as u128 * 8);
        u64::try_from(bits * u128::from(hz) / u128::from(self.rate)).unwrap_or(u64::MAX)
    }

    fn next_packet(&mut self, out: &mut Vec<u8>) {
        let clock = self.time_of(self.packets, Pcr::HZ);
        if clock >= self.next_tables {
            self.tables = Tables::Both;
            self.next_tables = clock + TABLE_INTERVAL;
        }
        self.packets += 1;
        if self.is_clock_due() {
            self.last_clock = Some(clock);
            self.picture(out, Pcr::new(clock));
        } else if self.tables == Tables::Both {
            self.tables = Tables::Pmt;
            section(out, 0, self.pat.next(), &pat());
        } else if self.tables == Tables::Pmt {
            self.tables = Tables::Done;
            section(out, PMT_PID, self.pmt.next(), &pmt());
        } else {
            self.other(out);
        }
    }

    /// Whether the packet after this one would be too late for the clock. The first follows the first tables.
    fn is_clock_due(&self) -> bool {
        let next = self.time_of(self.packets, Pcr::HZ);
        self.last_clock.map_or(self.tables == Tables::Done, |last| {
            next - last > CLOCK_INTERVAL
        })
    }

    /// Video or stuffing.
    fn other(&mut self, out: &mut Vec<u8>) {
        self.others += 1;
        let start = out.len();
        if self.others.is_multiple_of(NULL_EVERY) {
            out.extend(header(NULL_PID, false, 0));
            out.resize(start + PACKET, 0xFF);
        } else {
            out.extend(header(VIDEO_PID, false, self.video.next()));
            self.fill(out, start);
        }
    }

    /// A packet with the clock and the beginning of a PES packet of unbounded length (2.4.3.6).
    fn picture(&mut self, out: &mut Vec<u8>, pcr: Pcr) {
        let start = out.len();
        let mut head = header(VIDEO_PID, true, self.video.next());
        head[3] |= 0x20;
        out.extend(head);
        let field = pcr.base() << 15 | 0x3F << 9 | pcr.extension();
        out.extend([7, 0x10]);
        out.extend(&field.to_be_bytes()[2..]);
        out.extend([0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5]);
        out.extend(presentation_time(pcr.base() + PRESENTED_AFTER));
        out.extend(PICTURE);
        self.fill(out, start);
    }

    /// Fills the packet with noise (xorshift) in which no start code is possible.
    fn fill(&mut self, out: &mut Vec<u8>, start: usize) {
        let end = start + PACKET;
        while out.len() < end {
            self.noise ^= self.noise << 13;
            self.noise ^= self.noise >> 7;
            self.noise ^= self.noise << 17;
            out.extend((self.noise | 0x0101_0101_0101_0101).to_be_bytes());
        }
        out.truncate(end);
    }
}

/// A continuity counter.
#[derive(Clone, Default, Debug)]
struct Counter(u8);

impl Counter {
    fn next(&mut self) -> u8 {
        let count = self.0;
        self.0 = (count + 1) & 0x0F;
        count
    }
}

/// Spreads seeds that are near each other (the finaliser of SplitMix64).
fn mixed(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

fn header(pid: u16, start: bool, continuity: u8) -> [u8; 4] {
    let [high, low] = pid.to_be_bytes();
    let start = if start { 0x40 } else { 0 };
    [SYNC, high | start, low, 0x10 | continuity]
}

/// 33 bits of 90 kHz in five bytes with marker bits (2.4.3.6).
fn presentation_time(time: u64) -> [u8; 5] {
    let part = |shift: u32, bits: u64| u8::try_from(time >> shift & bits).unwrap_or(0);
    [
        0x21 | part(30, 7) << 1,
        part(22, 0xFF),
        part(15, 0x7F) << 1 | 1,
        part(7, 0xFF),
        part(0, 0x7F) << 1 | 1,
    ]
}

/// A packet with one section.
fn section(out: &mut Vec<u8>, pid: u16, continuity: u8, section: &[u8]) {
    let start = out.len();
    out.extend(header(pid, true, continuity));
    out.push(0);
    out.extend(section);
    out.resize(start + PACKET, 0xFF);
}

/// Programme association section (2.4.4.3).
fn pat() -> Vec<u8> {
    let [high, low] = PMT_PID.to_be_bytes();
    with_crc(&[0x00, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0, 1, 0xE0 | high, low])
}

/// Programme map section (2.4.4.8): one MPEG-2 video stream.
fn pmt() -> Vec<u8> {
    let [high, low] = VIDEO_PID.to_be_bytes();
    let programme = [2, 0xB0, 18, 0, 1, 0xC1, 0, 0, 0xE0 | high, low, 0xF0, 0];
    let stream = [2, 0xE0 | high, low, 0xF0, 0];
    with_crc(&[&programme[..], &stream].concat())
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
mod tests;
