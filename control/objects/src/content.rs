//! Files of contents, at rest and in download: a header, then sealed segments of 64 KiB. No IO. docs/content-format.md has it byte by byte.
//!
//! Each version of a content has a key of its own, 32 random bytes. Key and nonce prefix of its segments are derived from it and *the whole
//! header* (HKDF), so that the header is authenticated by whatever opens, and a segment of another content, version or length does not. Within
//! a file the construction is STREAM ([`sealcast_crypto::SegmentSealer`]): the nonce of a segment holds its index and whether it is the last.
//! So segments cannot be swapped, repeated, dropped or cut off. A segment begins where its index says; so any range of the plaintext is a
//! range of the file, and a download goes on at any byte.

mod open;
mod seal;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use rand_core::CryptoRng;
use sealcast_crypto::{AesKey, PREFIX_LEN, Prk, SEGMENT_LEN, TAG_LEN};
use zeroize::Zeroizing;

pub use open::{OpenError, Opener};
pub use seal::{SealError, Sealer};

use crate::ContentId;

/// What a file begins with.
const MAGIC: &[u8; 8] = b"SEALCONT";
/// The format that is described here.
const FORMAT: u16 = 1;
/// What keys of segments are derived under, before the header.
const LABEL: &[u8] = b"sealcast content segments";
/// Plaintext of a segment that is not the last, in bytes.
const PLAIN: u64 = SEGMENT_LEN as u64;
/// A segment that is not the last, in bytes.
const SEALED: u64 = (SEGMENT_LEN + TAG_LEN) as u64;

/// The key of one version of a content.
#[derive(Clone)]
pub struct ContentKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey(..)")
    }
}

impl ContentKey {
    /// A new one.
    #[must_use]
    pub fn new(rng: &mut dyn CryptoRng) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(key.as_mut());
        Self(key)
    }

    /// The key of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Its bytes: a secret.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Key and nonce prefix of the segments of the file with this header.
    fn segments(&self, header: &Header) -> (AesKey, Zeroizing<[u8; PREFIX_LEN]>) {
        let mut both = Zeroizing::new([0; 32 + PREFIX_LEN]);
        Prk::extract(self.as_bytes()).expand(&[LABEL, &header.to_bytes()], both.as_mut());
        let mut key = Zeroizing::new([0; 32]);
        let mut prefix = Zeroizing::new([0; PREFIX_LEN]);
        let (front, back) = both.split_at(32);
        key.copy_from_slice(front);
        prefix.copy_from_slice(back);
        (AesKey::Aes256(*key), prefix)
    }
}

/// It is no header of a content file, or of none that can be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// Another file, or only the beginning of one.
    #[error("this is no sealed content of sealcast")]
    NotOne,
    /// A newer format.
    #[error("the content is sealed in format {0}, and this program knows format {FORMAT}")]
    Format(u16),
    /// A plaintext that no file can hold.
    #[error("a content of {0} bytes is too long: at most {max}", max = Header::LENGTH_MAX)]
    TooLong(u64),
}

/// What a file is: everything that its layout follows from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    content: ContentId,
    version: u32,
    length: u64,
}

/// Where a segment is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Its number, from 0.
    pub index: u32,
    /// Its bytes in the plaintext.
    pub plain: Range<u64>,
    /// Its bytes in the file, the tag included.
    pub sealed: Range<u64>,
    /// Whether it is the last.
    pub last: bool,
}

impl Header {
    /// Length of a header in bytes.
    pub const LEN: usize = 48;
    /// The longest plaintext in bytes: 2^32 segments.
    pub const LENGTH_MAX: u64 = PLAIN << 32;

    /// The header of a version of a content, whose plaintext has `length` bytes.
    ///
    /// # Errors
    /// [`HeaderError::TooLong`].
    pub fn new(content: ContentId, version: u32, length: u64) -> Result<Self, HeaderError> {
        if length > Self::LENGTH_MAX {
            return Err(HeaderError::TooLong(length));
        }
        Ok(Self {
            content,
            version,
            length,
        })
    }

    /// Reads the header that `file` begins with. It is genuine if segments open under it, and not before.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn read(file: &[u8]) -> Result<Self, HeaderError> {
        let header: &[u8; Self::LEN] = file.first_chunk().ok_or(HeaderError::NotOne)?;
        let (magic, rest) = header.split_first_chunk::<8>().ok_or(HeaderError::NotOne)?;
        let (format, rest) = rest.split_first_chunk().ok_or(HeaderError::NotOne)?;
        let (zero, rest) = rest.split_first_chunk::<2>().ok_or(HeaderError::NotOne)?;
        let (segment, rest) = rest.split_first_chunk().ok_or(HeaderError::NotOne)?;
        let (content, rest) = rest.split_first_chunk().ok_or(HeaderError::NotOne)?;
        let (version, rest) = rest.split_first_chunk().ok_or(HeaderError::NotOne)?;
        let (spare, length) = rest.split_first_chunk::<4>().ok_or(HeaderError::NotOne)?;
        let length = length.first_chunk().ok_or(HeaderError::NotOne)?;
        if magic != MAGIC {
            return Err(HeaderError::NotOne);
        }
        let format = u16::from_be_bytes(*format);
        if format != FORMAT {
            return Err(HeaderError::Format(format));
        }
        if *zero != [0; 2] || *spare != [0; 4] || u64::from(u32::from_be_bytes(*segment)) != PLAIN {
            return Err(HeaderError::NotOne);
        }
        Self::new(
            ContentId(*content),
            u32::from_be_bytes(*version),
            u64::from_be_bytes(*length),
        )
    }

    /// As the file begins.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let segment = u32::try_from(PLAIN).unwrap_or(u32::MAX).to_be_bytes();
        let fields: [&[u8]; 8] = [
            MAGIC,
            &FORMAT.to_be_bytes(),
            &[0; 2],
            &segment,
            &self.content.0,
            &self.version.to_be_bytes(),
            &[0; 4],
            &self.length.to_be_bytes(),
        ];
        let all = fields.into_iter().flatten();
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Which content.
    #[must_use]
    pub fn content(&self) -> ContentId {
        self.content
    }

    /// Which version of it.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Length of the plaintext in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// How many segments there are: at least one, also of nothing.
    #[must_use]
    pub fn segments(&self) -> u64 {
        self.length.div_ceil(PLAIN).max(1)
    }

    /// Length of the file in bytes.
    #[must_use]
    pub fn sealed_length(&self) -> u64 {
        Self::LEN as u64 + self.length + self.segments() * TAG_LEN as u64
    }

    /// Where segment `index` is, if there is one.
    #[must_use]
    pub fn segment(&self, index: u64) -> Option<Segment> {
        let last = self.segments() - 1;
        let number = u32::try_from(index).ok().filter(|_| index <= last)?;
        let plain = index * PLAIN..self.length.min((index + 1) * PLAIN);
        let from = Self::LEN as u64 + index * SEALED;
        let length = plain.end - plain.start + TAG_LEN as u64;
        Some(Segment {
            index: number,
            plain,
            sealed: from..from + length,
            last: index == last,
        })
    }

    /// The indices of the segments that hold these bytes of the plaintext; what is beyond its end is left out.
    #[must_use]
    pub fn holding(&self, plain: Range<u64>) -> Range<u64> {
        let end = plain.end.min(self.length);
        if plain.start >= end {
            return 0..0;
        }
        plain.start / PLAIN..end.div_ceil(PLAIN)
    }
}
