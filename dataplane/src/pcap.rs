//! UDP payloads out of a capture (pcap or pcapng, read by the crate `pcap-parser`): Ethernet with VLAN tags, Linux cooked,
//! raw IP, loopback; IPv4 and IPv6.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError as ParserError, create_reader};

/// Bytes buffered: larger than any packet a capture holds.
const BUFFER: usize = 1 << 20;
const UDP: u8 = 17;

/// Why a capture cannot be read (on).
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// The file cannot be opened.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is no capture.
    #[error("this is no pcap or pcapng file")]
    NotACapture,
    /// It is damaged.
    #[error("the capture is damaged or cut off")]
    Damaged,
    /// Its packets have a header that is not known here.
    #[error(
        "link type {0} is not supported: capture on Ethernet, Linux cooked (any), raw IP or loopback"
    )]
    LinkType(i32),
    /// It holds nothing of use.
    #[error("no UDP datagram{0} in the capture")]
    Nothing(String),
}

/// A capture that is being read.
pub struct PcapReader {
    parser: Box<dyn PcapReaderIterator + Send>,
    dst: Option<SocketAddr>,
    /// Link type and time units per second, per interface.
    interfaces: Vec<(Linktype, u64)>,
    taken: u64,
    fragments: u64,
}

impl fmt::Debug for PcapReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PcapReader")
            .field("dst", &self.dst)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

/// What one block held.
enum Found {
    /// A datagram: time, and length appended.
    Datagram(u64),
    Other,
}

impl PcapReader {
    /// Opens a capture; `dst` takes only datagrams to that address.
    ///
    /// # Errors
    /// [`PcapError`] when it cannot be opened or is no capture.
    pub fn open(path: &Path, dst: Option<SocketAddr>) -> Result<Self, PcapError> {
        let file = File::open(path)?;
        let parser = create_reader(BUFFER, file).map_err(|_| PcapError::NotACapture)?;
        Ok(Self {
            parser,
            dst,
            interfaces: Vec::new(),
            taken: 0,
            fragments: 0,
        })
    }

    /// IP fragments seen: they are passed over.
    #[must_use]
    pub fn fragments(&self) -> u64 {
        self.fragments
    }

    /// Appends the next datagram's payload to `out` and gives its time, nanoseconds; `None` at the end.
    ///
    /// # Errors
    /// [`PcapError`] when the capture is damaged, or ends without any datagram.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<u64>, PcapError> {
        loop {
            match self.parser.next() {
                Ok((offset, block)) => {
                    let found = take(
                        &mut self.interfaces,
                        &mut self.fragments,
                        self.dst,
                        &block,
                        out,
                    );
                    self.parser.consume_noshift(offset);
                    if let Found::Datagram(time) = found? {
                        self.taken += 1;
                        return Ok(Some(time));
                    }
                }
                Err(ParserError::Eof) if self.taken > 0 => return Ok(None),
                Err(ParserError::Eof) => {
                    let to = self
                        .dst
                        .map_or_else(String::new, |dst| format!(" to {dst}"));
                    return Err(PcapError::Nothing(to));
                }
                Err(ParserError::Incomplete(_)) => {
                    self.parser.refill().map_err(|_| PcapError::Damaged)?
                }
                Err(_) => return Err(PcapError::Damaged),
            }
        }
    }
}

fn take(
    interfaces: &mut Vec<(Linktype, u64)>,
    fragments: &mut u64,
    dst: Option<SocketAddr>,
    block: &PcapBlockOwned<'_>,
    out: &mut Vec<u8>,
) -> Result<Found, PcapError> {
    let (interface, ticks, data) = match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let units = if header.is_nanosecond_precision() {
                1_000_000_000
            } else {
                1_000_000
            };
            interfaces.push((header.network, units));
            return Ok(Found::Other);
        }
        PcapBlockOwned::Legacy(packet) => {
            let units = interfaces.first().map_or(1_000_000, |&(_, units)| units);
            (
                0,
                u64::from(packet.ts_sec) * units + u64::from(packet.ts_usec),
                packet.data,
            )
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            return Ok(Found::Other);
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            interfaces.push((
                interface.linktype,
                interface.ts_resolution().unwrap_or(1_000_000).max(1),
            ));
            return Ok(Found::Other);
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let data = packet
                .data
                .get(..packet.caplen as usize)
                .ok_or(PcapError::Damaged)?;
            (
                packet.if_id as usize,
                u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low),
                data,
            )
        }
        PcapBlockOwned::NG(_) => return Ok(Found::Other),
    };
    let &(link, units) = interfaces.get(interface).ok_or(PcapError::Damaged)?;
    let time =
        u64::try_from(u128::from(ticks) * 1_000_000_000 / u128::from(units)).unwrap_or(u64::MAX);
    let Some((to, payload)) = network(link, data)?.and_then(|packet| udp(packet, fragments)) else {
        return Ok(Found::Other);
    };
    if dst.is_some_and(|dst| dst != to) {
        return Ok(Found::Other);
    }
    out.extend_from_slice(payload);
    Ok(Found::Datagram(time))
}

/// The IP packet inside a frame; `None` when the frame carries something else.
fn network(link: Linktype, frame: &[u8]) -> Result<Option<&[u8]>, PcapError> {
    const VLAN: [u16; 3] = [0x8100, 0x88A8, 0x9100];
    let ip_at = |mut at: usize| {
        let kind = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
        while VLAN.contains(&kind(at)?) {
            at += 4;
        }
        matches!(kind(at)?, 0x0800 | 0x86DD)
            .then(|| frame.get(at + 2..))
            .flatten()
    };
    Ok(match link.0 {
        1 => ip_at(12),
        113 => ip_at(14),
        // Linux cooked, version 2: the protocol comes first.
        276 => match frame {
            [0x08, 0x00, ..] | [0x86, 0xDD, ..] => frame.get(20..),
            _ => None,
        },
        0 | 108 => frame.get(4..),
        12 | 14 | 101 | 228 | 229 => Some(frame),
        other => return Err(PcapError::LinkType(other)),
    })
}

/// Destination and payload of a UDP datagram in an IP packet.
fn udp<'a>(packet: &'a [u8], fragments: &mut u64) -> Option<(SocketAddr, &'a [u8])> {
    let (ip, datagram): (IpAddr, &[u8]) = match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet[0] & 0x0F) * 4;
            let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
            let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3FFF;
            if *packet.get(9)? != UDP {
                return None;
            }
            if fragment != 0 {
                *fragments += 1;
                return None;
            }
            let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            (Ipv4Addr::from(to).into(), packet.get(header..total)?)
        }
        6 => {
            let length = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
            if *packet.get(6)? != UDP {
                return None;
            }
            let to: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            (Ipv6Addr::from(to).into(), packet.get(40..40 + length)?)
        }
        _ => return None,
    };
    let port = u16::from_be_bytes([*datagram.get(2)?, *datagram.get(3)?]);
    let length = usize::from(u16::from_be_bytes([*datagram.get(4)?, *datagram.get(5)?]));
    Some((SocketAddr::new(ip, port), datagram.get(8..length)?))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn datagram(port: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + payload.len()).unwrap();
        [
            &[0, 9][..],
            &port.to_be_bytes(),
            &length.to_be_bytes(),
            &[0, 0],
            payload,
        ]
        .concat()
    }

    fn ipv4(port: u16, payload: &[u8]) -> Vec<u8> {
        let udp = datagram(port, payload);
        let total = u16::try_from(20 + udp.len()).unwrap().to_be_bytes();
        [
            &[0x45, 0][..],
            &total,
            &[0, 0, 0, 0, 9, 17, 0, 0, 10, 0, 0, 1, 239, 1, 1, 1],
            &udp,
        ]
        .concat()
    }

    fn ipv6(port: u16, payload: &[u8]) -> Vec<u8> {
        let udp = datagram(port, payload);
        let length = u16::try_from(udp.len()).unwrap().to_be_bytes();
        let to = "ff15::1".parse::<Ipv6Addr>().unwrap().octets();
        [&[0x60, 0, 0, 0][..], &length, &[17, 9], &[0; 16], &to, &udp].concat()
    }

    fn capture(link: u32, frames: &[(u32, u32, Vec<u8>)]) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 65535, link] {
            file.extend(word.to_le_bytes());
        }
        for (seconds, micros, frame) in frames {
            let length = u32::try_from(frame.len()).unwrap();
            for word in [*seconds, *micros, length, length] {
                file.extend(word.to_le_bytes());
            }
            file.extend(frame);
        }
        file
    }

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn read(bytes: &[u8], dst: Option<&str>) -> Result<Vec<(u64, Vec<u8>)>, PcapError> {
        let file = file(bytes);
        let dst = dst.and_then(|dst| dst.parse().ok());
        let mut reader = PcapReader::open(file.path(), dst)?;
        let mut found = Vec::new();
        loop {
            let mut payload = Vec::new();
            match reader.next(&mut payload)? {
                Some(time) => found.push((time, payload)),
                None => return Ok(found),
            }
        }
    }

    #[test]
    fn every_link_type_gives_its_datagrams() {
        let ethernet = |kind: &[u8], ip: &[u8]| [&[0; 12][..], kind, ip].concat();
        let frames = vec![
            (1, 5, ethernet(&[8, 0], &ipv4(5000, b"one"))),
            (1, 6, ethernet(&[0x81, 0, 0, 7, 8, 0], &ipv4(5000, b"two"))),
            (1, 7, ethernet(&[0x86, 0xDD], &ipv6(5000, b"three"))),
            (1, 8, ethernet(&[8, 6], &[0; 28])),
        ];
        let found = read(&capture(1, &frames), None).unwrap();
        assert_eq!(found[0], (1_000_005_000, b"one".to_vec()));
        assert_eq!(
            (found[1].1.as_slice(), found[2].1.as_slice(), found.len()),
            (&b"two"[..], &b"three"[..], 3)
        );
        let cooked = [&[0; 14][..], &[8, 0], &ipv4(5000, b"x")].concat();
        let cooked_2 = [&[8, 0][..], &[0; 18], &ipv4(5000, b"x")].concat();
        for (link, frame) in [
            (113, cooked),
            (276, cooked_2),
            (101, ipv4(5000, b"x")),
            (0, [&[2, 0, 0, 0][..], &ipv4(5000, b"x")].concat()),
        ] {
            assert_eq!(
                read(&capture(link, &[(0, 0, frame)]), None).unwrap()[0].1,
                b"x",
                "link type {link}"
            );
        }
    }

    #[test]
    fn a_destination_can_be_chosen() {
        let frames = vec![(0, 0, ipv4(5000, b"a")), (0, 1, ipv4(5001, b"b"))];
        let found = read(&capture(101, &frames), Some("239.1.1.1:5001")).unwrap();
        assert_eq!(found, [(1_000, b"b".to_vec())]);
        let error = read(&capture(101, &frames), Some("239.1.1.1:7"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("239.1.1.1:7"), "{error}");
    }

    #[test]
    fn what_is_no_capture_or_damaged_is_an_error() {
        assert!(matches!(
            read(b"no capture at all, just text", None),
            Err(PcapError::NotACapture)
        ));
        assert!(matches!(
            read(&capture(147, &[(0, 0, vec![0; 60])]), None),
            Err(PcapError::LinkType(147))
        ));
        let whole = capture(101, &[(0, 0, ipv4(5000, b"a")), (0, 0, ipv4(5000, b"b"))]);
        assert!(matches!(
            read(&whole[..whole.len() - 5], None),
            Err(PcapError::Damaged)
        ));
    }

    proptest! {
        #[test]
        fn any_frame_is_survived(link in prop::sample::select(vec![0, 1, 101, 113, 276]), bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(Some(packet)) = network(Linktype(link), &bytes) {
                let _ = udp(packet, &mut 0);
            }
        }
    }
}
