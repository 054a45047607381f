//! Buffers that sends read from. The kernel may read one of a ring after the call that sends it, so there are two types: a
//! [`SendBuffer`] is filled, a [`ClosedBuffer`] only read and sent, and none becomes the other again before all have read it.
#![expect(unsafe_code, reason = "buffers are parts of one mapping")]

use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam_queue::ArrayQueue;
use memmap2::{MmapMut, MmapRaw};

use crate::aligned::{AlignedBuffer, LINE};

/// Buffers of a ring. At 100 Gbit/s they are 80 us of sending: what a network card needs to tell that it is done.
pub(super) const BUFFERS: usize = 16;

/// A buffer to be filled. It may go to another shard; a ring's goes back to its ring when it is dropped, wherever that is.
#[derive(Debug)]
pub struct SendBuffer(Memory);

/// A buffer that was filled: it is read and sent, never written.
#[derive(Debug)]
pub struct ClosedBuffer(Memory);

#[derive(Debug)]
enum Memory {
    Plain(AlignedBuffer),
    Shared(Hold),
}

impl SendBuffer {
    /// A buffer of no ring: `len` bytes, of which byte `lead` lies on a 64-byte line.
    #[must_use]
    pub fn plain(len: usize, lead: usize) -> Self {
        Self(Memory::Plain(AlignedBuffer::new(len, lead)))
    }

    /// Nothing more is written.
    #[must_use]
    pub fn close(self) -> ClosedBuffer {
        ClosedBuffer(self.0)
    }
}

impl Deref for SendBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl DerefMut for SendBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Memory::Plain(buffer) => buffer,
            // SAFETY: `Pool::take` gave the only hold on this buffer, `SendBuffer` does not clone it, and nothing that was
            // sent from it before is still being read, or it would not have been free.
            Memory::Shared(hold) => unsafe {
                slice::from_raw_parts_mut(hold.pool.start_of(hold.index), hold.pool.len)
            },
        }
    }
}

impl ClosedBuffer {
    /// To be filled anew. `None` for one of a ring: it goes back there as soon as the kernel has read it.
    #[must_use]
    pub fn reopen(self) -> Option<SendBuffer> {
        match self.0 {
            memory @ Memory::Plain(_) => Some(SendBuffer(memory)),
            Memory::Shared(_) => None,
        }
    }

    /// The hold on it, if it is one of this pool.
    pub(super) fn of(&self, pool: &Arc<Pool>) -> Option<&Hold> {
        match &self.0 {
            Memory::Shared(hold) if Arc::ptr_eq(&hold.pool, pool) => Some(hold),
            _ => None,
        }
    }
}

impl Deref for ClosedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(buffer) => buffer,
            // SAFETY: the bytes are part of the mapping, which the pool keeps; only `SendBuffer::deref_mut` writes them, which
            // needs the one hold there is, and `self` has one.
            Self::Shared(hold) => unsafe {
                slice::from_raw_parts(hold.pool.start_of(hold.index), hold.pool.len)
            },
        }
    }
}

/// The buffers of one ring, in one mapping.
#[derive(Debug)]
pub(super) struct Pool {
    map: MmapRaw,
    /// From the start of one buffer to that of the next.
    stride: usize,
    /// From there to its first byte.
    skip: usize,
    len: usize,
    /// Who holds each: whoever has it, and each of its sends that the kernel has not said to be done with.
    holds: [AtomicU32; BUFFERS],
    free: ArrayQueue<usize>,
}

impl Pool {
    pub(super) fn new(len: usize, lead: usize) -> io::Result<Arc<Self>> {
        let skip = lead.wrapping_neg() % LINE;
        let stride = (skip + len).next_multiple_of(LINE);
        let free = ArrayQueue::new(BUFFERS);
        for index in 0..BUFFERS {
            let _ = free.push(index);
        }
        Ok(Arc::new(Self {
            map: MmapMut::map_anon(BUFFERS * stride)?.into(),
            stride,
            skip,
            len,
            holds: [const { AtomicU32::new(0) }; BUFFERS],
            free,
        }))
    }

    /// The mapping, for the kernel.
    pub(super) fn mapping(&self) -> libc::iovec {
        libc::iovec {
            iov_base: self.map.as_mut_ptr().cast(),
            iov_len: self.map.len(),
        }
    }

    /// One that nobody holds.
    pub(super) fn take(self: &Arc<Self>) -> Option<SendBuffer> {
        let index = self.free.pop()?;
        self.holds[index].store(1, Ordering::Relaxed);
        Some(SendBuffer(Memory::Shared(Hold {
            pool: Arc::clone(self),
            index,
        })))
    }

    /// Ends one hold.
    pub(super) fn release(&self, index: usize) {
        if self.holds[index].fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = self.free.push(index);
        }
    }

    fn bytes(&self, index: usize) -> Range<*const u8> {
        let start = self.start_of(index).cast_const();
        start..start.wrapping_add(self.len)
    }

    fn start_of(&self, index: usize) -> *mut u8 {
        let offset = index * self.stride + self.skip;
        assert!(offset + self.len <= self.map.len());
        // SAFETY: the offset lies in the mapping.
        unsafe { self.map.as_mut_ptr().add(offset) }
    }
}

/// A share in a buffer, as long as it lives.
#[derive(Debug)]
pub(crate) struct Hold {
    pool: Arc<Pool>,
    index: usize,
}

impl Hold {
    /// Whether these bytes lie in its buffer.
    pub(super) fn covers(&self, bytes: &[u8]) -> bool {
        let (buffer, bytes) = (self.pool.bytes(self.index), bytes.as_ptr_range());
        buffer.start <= bytes.start && bytes.end <= buffer.end
    }

    /// One more, which [`Pool::release`] of the returned index ends.
    pub(super) fn of_kernel(&self) -> usize {
        self.pool.holds[self.index].fetch_add(1, Ordering::Relaxed);
        self.index
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.pool.release(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_free_again_when_all_have_let_it_go() {
        let pool = Pool::new(1000, 12).unwrap();
        let mut all: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(all.len(), BUFFERS);
        for (mark, buffer) in all.iter_mut().enumerate() {
            assert_eq!((buffer.as_ptr().addr() + 12) % LINE, 0);
            buffer.fill(u8::try_from(mark).unwrap());
        }
        let whole = |(mark, buffer): (usize, &SendBuffer)| {
            buffer.len() == 1000 && buffer.iter().all(|&byte| usize::from(byte) == mark)
        };
        assert!(all.iter().enumerate().all(whole), "none lies in another");
        let closed = all.pop().unwrap().close();
        let hold = closed.of(&pool).unwrap();
        assert!(hold.covers(&closed) && hold.covers(&closed[1..999]));
        assert!(!hold.covers(&all[0]), "that is another's");
        let of_kernel = hold.of_kernel();
        assert_eq!((closed[0], closed.len()), (15, 1000));
        assert!(closed.reopen().is_none());
        assert!(pool.take().is_none(), "the kernel still has it");
        pool.release(of_kernel);
        let again = pool.take().unwrap();
        assert!(pool.take().is_none(), "there is only one of it");
        // On another thread, and never sent.
        std::thread::spawn(|| drop(again)).join().unwrap();
        assert!(pool.take().is_some());
    }

    #[test]
    fn a_plain_one_belongs_to_no_ring() {
        let pool = Pool::new(64, 0).unwrap();
        let closed = SendBuffer::plain(64, 0).close();
        assert!(closed.of(&pool).is_none());
        let other = Pool::new(64, 0).unwrap().take().unwrap().close();
        assert!(other.of(&pool).is_none(), "nor does one of another");
        assert!(closed.reopen().is_some());
    }
}
