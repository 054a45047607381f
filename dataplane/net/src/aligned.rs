//! Buffers in which a chosen byte lies on a 64-byte line: vector code is fastest on payloads that begin there.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the widest vectors.
pub const LINE: usize = 64;

/// A buffer of a fixed length whose byte `lead` lies on a [`LINE`].
#[derive(Debug)]
pub struct AlignedBuffer {
    bytes: Box<[u8]>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zero bytes, of which byte `lead` (the first behind a header of that length) lies on a line.
    #[must_use]
    pub fn new(len: usize, lead: usize) -> Self {
        let bytes = vec![0; len + LINE].into_boxed_slice();
        // The box never moves its bytes.
        let start = (bytes.as_ptr().addr() + lead).wrapping_neg() % LINE;
        Self { bytes, start, len }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_behind_the_lead_lies_on_a_line() {
        for lead in 0..200 {
            for len in [0, 1, 1344, 65_536] {
                let mut buffer = AlignedBuffer::new(len, lead);
                assert_eq!((buffer.as_ptr().addr() + lead) % LINE, 0);
                assert_eq!((buffer.len(), buffer.deref_mut().len()), (len, len));
            }
        }
    }
}
