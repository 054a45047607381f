//! From a captured frame to the UDP datagram inside.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86DD;
/// 802.1Q, 802.1ad, and what came before it.
const VLAN: [u16; 3] = [0x8100, 0x88A8, 0x9100];
const UDP: u8 = 17;

/// How frames begin, by the numbers of tcpdump.org/linktypes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    Ethernet,
    /// Linux cooked, versions 1 and 2: what the interface `any` gives.
    Cooked,
    Cooked2,
    /// Four bytes of address family, then IP.
    Loopback,
    RawIp,
}

impl Link {
    pub(super) fn new(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Ethernet,
            113 => Self::Cooked,
            276 => Self::Cooked2,
            0 | 108 => Self::Loopback,
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            _ => return None,
        })
    }
}

/// A UDP datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Udp<'a> {
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    pub(super) payload: &'a [u8],
}

/// Why a frame gives no datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Skip {
    /// It carries something else.
    Other,
    /// A piece of an IP packet.
    Fragment,
    /// Not all of it was captured.
    Short,
}

/// The datagram in a frame.
pub(super) fn datagram(link: Link, frame: &[u8]) -> Result<Udp<'_>, Skip> {
    let ip = match link {
        Link::Ethernet => after_ethertype(frame, 12)?,
        Link::Cooked => after_ethertype(frame, 14)?,
        Link::Cooked2 => match word(frame, 0)? {
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => from(frame, 20)?,
            _ => return Err(Skip::Other),
        },
        Link::Loopback => from(frame, 4)?,
        Link::RawIp => frame,
    };
    match byte(ip, 0)? >> 4 {
        4 => in_ipv4(ip),
        6 => in_ipv6(ip),
        _ => Err(Skip::Other),
    }
}

/// What follows the protocol at `at`, behind VLAN tags, if it is IP.
fn after_ethertype(frame: &[u8], mut at: usize) -> Result<&[u8], Skip> {
    while VLAN.contains(&word(frame, at)?) {
        at += 4;
    }
    match word(frame, at)? {
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => from(frame, at + 2),
        _ => Err(Skip::Other),
    }
}

fn in_ipv4(packet: &[u8]) -> Result<Udp<'_>, Skip> {
    if byte(packet, 9)? != UDP {
        return Err(Skip::Other);
    }
    // More fragments, or an offset.
    if word(packet, 6)? & 0x3FFF != 0 {
        return Err(Skip::Fragment);
    }
    let header = usize::from(byte(packet, 0)? & 0x0F) * 4;
    let total = usize::from(word(packet, 2)?);
    let address = |at| Ok(Ipv4Addr::from(array::<4>(packet, at)?));
    let body = packet.get(header..total).ok_or(Skip::Short)?;
    in_udp(body, |ports| {
        Ok([
            SocketAddr::new(address(12)?.into(), ports[0]),
            SocketAddr::new(address(16)?.into(), ports[1]),
        ])
    })
}

fn in_ipv6(packet: &[u8]) -> Result<Udp<'_>, Skip> {
    let length = usize::from(word(packet, 4)?);
    let address = |at| Ok(Ipv6Addr::from(array::<16>(packet, at)?));
    let mut next = byte(packet, 6)?;
    let mut body = packet.get(40..40 + length);
    loop {
        let here = body.ok_or(Skip::Short)?;
        match next {
            UDP => {
                return in_udp(here, |ports| {
                    Ok([
                        SocketAddr::new(address(8)?.into(), ports[0]),
                        SocketAddr::new(address(24)?.into(), ports[1]),
                    ])
                });
            }
            // Hop-by-hop options, routing, destination options (RFC 8200 4).
            0 | 43 | 60 => body = here.get((usize::from(byte(here, 1)?) + 1) * 8..),
            // A fragment header with neither offset nor more to come is none (RFC 6946).
            44 if word(here, 2)? & 0xFFF9 == 0 => body = here.get(8..),
            44 => return Err(Skip::Fragment),
            _ => return Err(Skip::Other),
        }
        next = byte(here, 0)?;
    }
}

fn in_udp(
    datagram: &[u8],
    addresses: impl FnOnce([u16; 2]) -> Result<[SocketAddr; 2], Skip>,
) -> Result<Udp<'_>, Skip> {
    let [src, dst] = addresses([word(datagram, 0)?, word(datagram, 2)?])?;
    let length = usize::from(word(datagram, 4)?);
    let payload = datagram.get(8..length).ok_or(Skip::Short)?;
    Ok(Udp { src, dst, payload })
}

fn from(bytes: &[u8], at: usize) -> Result<&[u8], Skip> {
    bytes.get(at..).ok_or(Skip::Short)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Skip> {
    from(bytes, at)?.first_chunk().copied().ok_or(Skip::Short)
}

fn byte(bytes: &[u8], at: usize) -> Result<u8, Skip> {
    array(bytes, at).map(|[byte]| byte)
}

fn word(bytes: &[u8], at: usize) -> Result<u16, Skip> {
    array(bytes, at).map(u16::from_be_bytes)
}
