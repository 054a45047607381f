//! UDP datagrams out of a capture (pcap or pcapng, read by the crate `pcap-parser`): Ethernet with VLAN tags, Linux cooked,
//! raw IP, loopback; IPv4 and IPv6.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError as ParserError, create_reader};

use frame::{Link, Skip};

mod frame;

/// Bytes buffered: larger than any packet a capture holds.
const BUFFER: usize = 1 << 20;
const NS: u64 = 1_000_000_000;

/// Why a capture cannot be read (on).
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// The file cannot be opened.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is no capture.
    #[error("this is no pcap or pcapng file (a compressed one has to be unpacked first)")]
    NotACapture,
    /// It is damaged.
    #[error("the capture is damaged")]
    Damaged,
    /// It ends inside a packet.
    #[error("the capture is cut off: its last packet is not all there")]
    CutOff,
    /// Its packets have a header that is not known here.
    #[error(
        "link type {0} is not supported: capture on Ethernet, Linux cooked (any), raw IP or loopback"
    )]
    LinkType(i32),
    /// It holds nothing of use.
    #[error("no UDP datagram{to} in the capture, {elsewhere} to other addresses")]
    Nothing {
        /// The address asked for, as ` to ADDRESS`.
        to: String,
        /// Datagrams to others.
        elsewhere: u64,
    },
}

/// Where and when a datagram was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// Nanoseconds, of the capture's clock.
    pub time: u64,
    /// From.
    pub src: SocketAddr,
    /// To.
    pub dst: SocketAddr,
}

/// Packets that were passed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PcapCounts {
    /// No UDP.
    pub other: u64,
    /// To another address than the one asked for.
    pub elsewhere: u64,
    /// Pieces of IP packets.
    pub fragments: u64,
    /// Captured in part only.
    pub short: u64,
}

/// A capture that is being read.
pub struct PcapReader {
    parser: Box<dyn PcapReaderIterator + Send>,
    dst: Option<SocketAddr>,
    /// Link type and time units per second, per interface.
    interfaces: Vec<(Linktype, u64)>,
    taken: u64,
    counts: PcapCounts,
}

impl fmt::Debug for PcapReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PcapReader")
            .field("dst", &self.dst)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

/// A captured frame: interface, time in its units, bytes.
type Frame<'a> = (usize, u64, &'a [u8]);

impl PcapReader {
    /// Opens a capture; `dst` takes only datagrams to that address.
    ///
    /// # Errors
    /// [`PcapError`] when it cannot be opened or is no capture.
    pub fn open(path: &Path, dst: Option<SocketAddr>) -> Result<Self, PcapError> {
        Self::new(File::open(path)?, dst)
    }

    /// As [`PcapReader::open`], from any bytes.
    ///
    /// # Errors
    /// [`PcapError`] when they are no capture.
    pub fn new(
        input: impl io::Read + Send + 'static,
        dst: Option<SocketAddr>,
    ) -> Result<Self, PcapError> {
        let parser = create_reader(BUFFER, input).map_err(|_| PcapError::NotACapture)?;
        Ok(Self {
            parser,
            dst,
            interfaces: Vec::new(),
            taken: 0,
            counts: PcapCounts::default(),
        })
    }

    /// What was passed over so far.
    #[must_use]
    pub fn counts(&self) -> PcapCounts {
        self.counts
    }

    /// Appends the next datagram's payload to `out`; `None` at the end.
    ///
    /// # Errors
    /// [`PcapError`] when the capture is damaged, or ends without any datagram.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Datagram>, PcapError> {
        loop {
            match self.parser.next() {
                Ok((offset, block)) => {
                    let found = match frame_of(&mut self.interfaces, &block) {
                        Ok(Some(frame)) => {
                            take(&self.interfaces, &mut self.counts, self.dst, frame, out)
                        }
                        Ok(None) => Ok(None),
                        Err(error) => Err(error),
                    };
                    self.parser.consume_noshift(offset);
                    if let Some(datagram) = found? {
                        self.taken += 1;
                        return Ok(Some(datagram));
                    }
                }
                Err(ParserError::Eof) if self.taken > 0 => return Ok(None),
                Err(ParserError::Eof) => return Err(self.nothing()),
                Err(ParserError::Incomplete(_)) => {
                    self.parser.refill().map_err(|_| PcapError::Damaged)?
                }
                Err(ParserError::UnexpectedEof) => return Err(PcapError::CutOff),
                Err(_) => return Err(PcapError::Damaged),
            }
        }
    }

    fn nothing(&self) -> PcapError {
        let to = self
            .dst
            .map_or_else(String::new, |dst| format!(" to {dst}"));
        let elsewhere = self.counts.elsewhere;
        PcapError::Nothing { to, elsewhere }
    }
}

/// The frame in a block; blocks that describe interfaces are noted.
fn frame_of<'a>(
    interfaces: &mut Vec<(Linktype, u64)>,
    block: &'a PcapBlockOwned<'_>,
) -> Result<Option<Frame<'a>>, PcapError> {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let units = if header.is_nanosecond_precision() {
                NS
            } else {
                1_000_000
            };
            interfaces.push((header.network, units));
            Ok(None)
        }
        PcapBlockOwned::Legacy(packet) => {
            let units = interfaces.first().map_or(1_000_000, |&(_, units)| units);
            let ticks = u64::from(packet.ts_sec) * units + u64::from(packet.ts_usec);
            Ok(Some((0, ticks, packet.data)))
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            Ok(None)
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            let units = interface.ts_resolution().unwrap_or(1_000_000).max(1);
            interfaces.push((interface.linktype, units));
            Ok(None)
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let captured = packet.data.get(..packet.caplen as usize);
            let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            let data = captured.ok_or(PcapError::Damaged)?;
            Ok(Some((packet.if_id as usize, ticks, data)))
        }
        PcapBlockOwned::NG(_) => Ok(None),
    }
}

/// Appends the payload of the datagram in a frame, if there is one to `dst`.
fn take(
    interfaces: &[(Linktype, u64)],
    counts: &mut PcapCounts,
    dst: Option<SocketAddr>,
    (interface, ticks, data): Frame<'_>,
    out: &mut Vec<u8>,
) -> Result<Option<Datagram>, PcapError> {
    let &(Linktype(number), units) = interfaces.get(interface).ok_or(PcapError::Damaged)?;
    // The upper half may tell of a frame check sequence.
    let link = Link::new(number & 0xFFFF).ok_or(PcapError::LinkType(number))?;
    let time = u64::try_from(u128::from(ticks) * u128::from(NS) / u128::from(units));
    let counter = match frame::datagram(link, data) {
        Ok(udp) if dst.is_none_or(|dst| dst == udp.dst) => {
            out.extend_from_slice(udp.payload);
            return Ok(Some(Datagram {
                time: time.unwrap_or(u64::MAX),
                src: udp.src,
                dst: udp.dst,
            }));
        }
        Ok(_) => &mut counts.elsewhere,
        Err(Skip::Other) => &mut counts.other,
        Err(Skip::Fragment) => &mut counts.fragments,
        Err(Skip::Short) => &mut counts.short,
    };
    *counter += 1;
    Ok(None)
}

#[cfg(test)]
mod tests;
