//! The header of an SFrame ciphertext (RFC 9605 4.3).
//!
//! ```text
//!  0 1 2 3 4 5 6 7
//! +-+-+-+-+-+-+-+-+---------------+---------------+
//! |X|  K  |Y|  C  |  KID 0..=8 B  |  CTR 0..=8 B  |
//! +-+-+-+-+-+-+-+-+---------------+---------------+
//! ```
//! X = 0: K is the key id itself; X = 1: K + 1 bytes of key id follow. Y and C say the same of the CTR.
//! A sealcast packet always has 6 bytes of key id and 5 of CTR, so it begins with [`CONFIG`].

use sealcast_crypto::TAG_LEN;

use crate::ids::{Ctr, Kid};
use crate::limits::{CTR_END, CTR_FIRST, HEADER_LEN};

/// First byte of every packet: X = 1, K = 5, Y = 1, C = 4.
pub const CONFIG: u8 = 0xDC;

/// Any header of RFC 9605.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Key id, any 64-bit number.
    pub kid: u64,
    /// Counter, any 64-bit number.
    pub ctr: u64,
}

/// Why bytes are no header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// It ends early.
    #[error("the header ends early")]
    Truncated,
    /// A number takes more bytes than it needs: two encodings of one header would be two AADs.
    #[error("a number is not in its shortest form")]
    NotMinimal,
}

impl Header {
    /// Reads the header at the start of `bytes` and says how long it is (1..=17 bytes). Takes every form of RFC 9605 and
    /// refuses numbers that are not in their shortest form.
    ///
    /// # Errors
    /// [`HeaderError`] when the bytes end early or a number is longer than it needs to be.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), HeaderError> {
        let (&config, mut rest) = bytes.split_first().ok_or(HeaderError::Truncated)?;
        let kid = number(config >> 4, &mut rest)?;
        let ctr = number(config & 0x0F, &mut rest)?;
        Ok((Self { kid, ctr }, bytes.len() - rest.len()))
    }

    /// Writes the header in its only form to the start of `out` (17 bytes are always enough); returns its length.
    pub fn write(self, out: &mut [u8; 17]) -> usize {
        let mut len = 1;
        let kid = put(self.kid, out, &mut len);
        let ctr = put(self.ctr, out, &mut len);
        out[0] = kid << 4 | ctr;
        len
    }
}

/// One number: its 4 bits of the config byte are `nibble`, its bytes (if any) are taken off `rest`.
fn number(nibble: u8, rest: &mut &[u8]) -> Result<u64, HeaderError> {
    if nibble & 0x8 == 0 {
        return Ok(u64::from(nibble));
    }
    let len = usize::from(nibble & 0x7) + 1;
    let (bytes, tail) = rest.split_at_checked(len).ok_or(HeaderError::Truncated)?;
    *rest = tail;
    let value = bytes
        .iter()
        .fold(0, |value, &byte| value << 8 | u64::from(byte));
    if bytes.first() == Some(&0) || value < 8 {
        Err(HeaderError::NotMinimal)
    } else {
        Ok(value)
    }
}

/// Appends `value` at `len` and returns its 4 bits of the config byte.
fn put(value: u64, out: &mut [u8; 17], len: &mut usize) -> u8 {
    let bytes = value.to_be_bytes();
    if value < 8 {
        return bytes[7];
    }
    let skip = usize::try_from(value.leading_zeros() / 8).expect("at most 7");
    let tail = &bytes[skip..];
    out[*len..*len + tail.len()].copy_from_slice(tail);
    *len += tail.len();
    0x8 | u8::try_from(tail.len() - 1).expect("at most 7")
}

/// What the 12 bytes at the start of a packet say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketHeader {
    /// The key that opens it (MD-01).
    pub kid: Kid,
    /// Its number in its stripe group.
    pub ctr: Ctr,
}

impl PacketHeader {
    /// Reads a whole packet's header; `None` when it is no sealcast packet: another form, lane 0, a CTR out of range, or no
    /// room for a tag.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        if packet.len() < HEADER_LEN + TAG_LEN || packet.first() != Some(&CONFIG) {
            return None;
        }
        let (header, len) = Header::parse(packet).ok()?;
        let kid = Kid::from_wire(header.kid)?;
        let in_range = (CTR_FIRST..CTR_END).contains(&header.ctr);
        (len == HEADER_LEN && in_range).then_some(Self {
            kid,
            ctr: Ctr(header.ctr),
        })
    }

    /// Writes the 12 bytes to the start of `out`.
    pub fn write(self, out: &mut [u8]) {
        debug_assert!((CTR_FIRST..CTR_END).contains(&self.ctr.0));
        let kid = self.kid.value().to_be_bytes();
        let ctr = self.ctr.0.to_be_bytes();
        let [config, out @ ..] = &mut out[..HEADER_LEN] else {
            unreachable!("a header has bytes")
        };
        *config = CONFIG;
        let (kid_out, ctr_out) = out.split_at_mut(6);
        kid_out.copy_from_slice(&kid[2..]);
        ctr_out.copy_from_slice(&ctr[3..]);
    }
}
