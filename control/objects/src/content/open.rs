//! Opening a content, segment by segment, in any order.

use sealcast_crypto::SegmentOpener;

use super::{ContentKey, Header};

/// Why a segment does not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// The file has none of this index.
    #[error("there is no segment {index}: the content has {count}")]
    NoSegment {
        /// Which.
        index: u64,
        /// How many there are.
        count: u64,
    },
    /// It has not the length that this segment has.
    #[error("segment {index} has {length} bytes instead of {expected}")]
    Length {
        /// Which.
        index: u64,
        /// Its length.
        length: usize,
        /// What it must be.
        expected: u64,
    },
    /// It is damaged, forged, of another place, another content, or another key.
    #[error("segment {0} is not genuine: the file is damaged, or the key is another's")]
    Forged(u64),
}

/// Opens the segments of one file.
#[derive(Debug)]
pub struct Opener {
    header: Header,
    opener: SegmentOpener,
}

impl Opener {
    /// Of the file with this header.
    #[must_use]
    pub fn new(key: &ContentKey, header: Header) -> Self {
        let (key, prefix) = key.segments(&header);
        Self {
            header,
            opener: SegmentOpener::new(&key, &prefix),
        }
    }

    /// The file's header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Opens segment `index` in place: `sealed` is all of it, what is given back its plaintext.
    ///
    /// # Errors
    /// [`OpenError`]; nothing of the plaintext is in `sealed` then.
    pub fn open<'a>(&self, index: u64, sealed: &'a mut [u8]) -> Result<&'a [u8], OpenError> {
        let Some(place) = self.header.segment(index) else {
            let count = self.header.segments();
            return Err(OpenError::NoSegment { index, count });
        };
        let expected = place.sealed.end - place.sealed.start;
        if sealed.len() as u64 != expected {
            let length = sealed.len();
            return Err(OpenError::Length {
                index,
                length,
                expected,
            });
        }
        match self.opener.open(place.index, place.last, sealed) {
            Ok(plain) => Ok(plain),
            Err(_) => Err(OpenError::Forged(index)),
        }
    }
}
