//! Sealing a content: bytes in, segments out.

use sealcast_crypto::{SEGMENT_LEN, SegmentSealer, TAG_LEN};
use zeroize::Zeroize as _;

use super::{ContentKey, Header};

/// The plaintext is not what the header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// More came than was to come.
    #[error("there is more than the {0} bytes that there were to be")]
    TooLong(u64),
    /// It ended too soon.
    #[error("it ended after {taken} bytes of {length}")]
    TooShort {
        /// What came.
        taken: u64,
        /// What was to come.
        length: u64,
    },
}

/// Seals the plaintext of one file. It holds one segment at most.
#[derive(Debug)]
pub struct Sealer {
    header: Header,
    sealer: SegmentSealer,
    /// The segment that comes next; `None` after the last.
    next: Option<u64>,
    segment: Plain,
    taken: u64,
}

/// Plaintext that waits until its segment is full.
struct Plain(Vec<u8>);

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Sealer {
    /// A file that begins; its first bytes are [`Header::to_bytes`]. A key seals one file: whoever begins again takes a new key.
    #[must_use]
    pub fn new(key: &ContentKey, header: Header) -> Self {
        let (key, prefix) = key.segments(&header);
        Self {
            header,
            sealer: SegmentSealer::new(&key, &prefix),
            next: Some(0),
            segment: Plain(Vec::with_capacity(SEGMENT_LEN + TAG_LEN)),
            taken: 0,
        }
    }

    /// Takes bytes off the front of `plain`, and gives the next segment when it is full. Gives nothing when all of `plain` is taken; so it
    /// is called until it does. The last segment comes with the last byte; that of an empty plaintext comes of nothing.
    ///
    /// # Errors
    /// [`SealError::TooLong`].
    pub fn push(&mut self, plain: &mut &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let place = self.next.and_then(|index| self.header.segment(index));
        let Some(place) = place else {
            return match plain.is_empty() {
                true => Ok(None),
                false => Err(SealError::TooLong(self.header.length())),
            };
        };
        let whole = usize::try_from(place.plain.end - place.plain.start).unwrap_or(SEGMENT_LEN);
        let take = plain.len().min(whole - self.segment.0.len());
        let (front, rest) = plain.split_at(take);
        *plain = rest;
        self.segment.0.extend_from_slice(front);
        self.taken += take as u64;
        if self.segment.0.len() < whole {
            return Ok(None);
        }
        let next = Vec::with_capacity(SEGMENT_LEN + TAG_LEN);
        let mut sealed = std::mem::replace(&mut self.segment.0, next);
        sealed.resize(whole + TAG_LEN, 0);
        self.sealer.seal(place.last, &mut sealed);
        self.next = (!place.last).then_some(u64::from(place.index) + 1);
        Ok(Some(sealed))
    }

    /// The plaintext has ended.
    ///
    /// # Errors
    /// [`SealError::TooShort`]: the file is to be thrown away.
    pub fn finish(self) -> Result<(), SealError> {
        match self.next {
            None => Ok(()),
            Some(_) => Err(SealError::TooShort {
                taken: self.taken,
                length: self.header.length(),
            }),
        }
    }
}
