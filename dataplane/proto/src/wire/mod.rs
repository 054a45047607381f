//! The wire format: packet header, control datagrams, key door, link messages.

pub(crate) mod codec;
pub mod control;
pub mod door;
pub mod feed;
pub mod header;
pub mod key_block;
pub mod link;
pub mod manifest;

pub use codec::{Malformed, Wire};

/// What the first byte of a datagram says it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A packet: 0xD0..=0xDF.
    Packet,
    /// A control datagram: 0x01..=0x3F.
    Control(u8),
    /// Neither.
    Other,
}

/// What kind of datagram this is.
#[must_use]
pub fn kind(datagram: &[u8]) -> Kind {
    match datagram.first() {
        Some(0xD0..=0xDF) => Kind::Packet,
        Some(&byte @ 0x01..=0x3F) => Kind::Control(byte),
        _ => Kind::Other,
    }
}
