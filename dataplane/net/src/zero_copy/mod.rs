//! Sends that the kernel does not copy (io_uring SEND_ZC from registered buffers): a network card that cuts datagrams apart
//! itself (UDP segmentation offload) reads them where they were sealed. One small ring per shard, beside the executor's own,
//! which knows no such sends.
//!
//! A send is told to be over twice: at once, with its result, and later, when nothing reads the buffer any more. Until then the
//! kernel holds the buffer: were it filled anew before, what is not sealed yet could leave.
#![expect(unsafe_code, reason = "entries of the ring point to buffers")]

mod buffers;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::or;
use io_uring::{IoUring, cqueue, opcode, types};

pub use self::buffers::{ClosedBuffer, SendBuffer};
use self::buffers::{Hold, Pool};
use crate::shard;
use crate::watched::Watched;

/// Entries of the submission queue; each send is submitted at once.
const ENTRIES: u32 = 4;
/// Of the completion queue: what may be told between two sends. The kernel keeps what is beyond.
const COMPLETIONS: u32 = 512;
/// How often the kernel is asked again before the ring counts as broken.
const TRIES: u32 = 100;
/// Longest wait for a buffer: one leg that is slow must not keep the shard's other channels.
const WAIT_MAX: Duration = Duration::from_millis(10);
/// Shorter sends cost more than the copy that they save: on one virtual machine the two meet at 17 datagrams of 1344 bytes.
const WORTH: usize = 24_000;
/// After so many sends of a socket that were all copied none is tried any more.
const TRIAL: u64 = 64;

/// IORING_SEND_ZC_REPORT_USAGE and IORING_NOTIF_USAGE_ZC_COPIED of linux/io_uring.h, which io-uring keeps to itself.
const REPORT_USAGE: u16 = 1 << 3;
const COPIED: u32 = 1 << 31;

/// A shard's ring and its buffers.
pub struct ZeroCopy {
    ring: RefCell<IoUring>,
    /// The ring's descriptor, readable while there are completions.
    watch: Watched<OwnedFd>,
    pool: Arc<Pool>,
    /// Whoever sends through it, found again by the number in completions.
    sockets: RefCell<Vec<Rc<Usage>>>,
    /// Sends whose buffers the kernel still reads.
    flying: Cell<usize>,
    /// An entry may lie in the ring that the kernel did not take: nothing may be submitted any more.
    broken: Cell<bool>,
}

/// What became of a socket's zero-copy sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ZeroCopyCounts {
    /// Read by the device where they lay.
    pub direct: u64,
    /// Copied by the kernel all the same.
    pub copied: u64,
}

impl ZeroCopyCounts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            direct: self.direct + other.direct,
            copied: self.copied + other.copied,
        }
    }

    /// The kernel copies for this socket, so that zero-copy sends are slower than others.
    fn is_useless(self) -> bool {
        self.direct == 0 && self.copied >= TRIAL
    }
}

#[derive(Debug, Default)]
struct Usage {
    counts: Cell<ZeroCopyCounts>,
    /// Sends that failed: the kernel will tell of them as copied.
    failed: Cell<u64>,
    flying: Cell<usize>,
}

impl Usage {
    fn ended(&self, copied: bool) {
        let mut counts = self.counts.get();
        match self.failed.get().checked_sub(1) {
            Some(failed) if copied => return self.failed.set(failed),
            _ if copied => counts.copied += 1,
            _ => counts.direct += 1,
        }
        self.counts.set(counts);
    }
}

impl fmt::Debug for ZeroCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZeroCopy")
            .field("flying", &self.flying)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl ZeroCopy {
    /// A ring with buffers of `len` bytes, of which byte `lead` lies on a 64-byte line. Inside a shard only.
    ///
    /// # Errors
    /// When the kernel is older than Linux 6.2, or too little memory may be locked; the message says which and what to do.
    pub fn open(len: usize, lead: usize) -> io::Result<Rc<Self>> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_cqsize(COMPLETIONS)
            .build(ENTRIES)
            .map_err(|error| impossible(&error, 0))?;
        let pool = Pool::new(len, lead)?;
        let mapping = pool.mapping();
        // SAFETY: the mapping lives as long as the pool, which outlives the ring or is never unmapped (see `drop`).
        unsafe { ring.submitter().register_buffers(&[mapping]) }
            .map_err(|error| impossible(&error, mapping.iov_len))?;
        // SAFETY: the ring is open.
        let watch = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) }.try_clone_to_owned()?;
        let watch = Watched::new(watch)?;
        let zero_copy = Rc::new(Self {
            ring: RefCell::new(ring),
            watch,
            pool,
            sockets: RefCell::default(),
            flying: Cell::new(0),
            broken: Cell::new(false),
        });
        zero_copy.try_out()?;
        Ok(zero_copy)
    }

    /// Sends without a socket: a kernel that has all this looks for one.
    fn try_out(self: &Rc<Self>) -> io::Result<()> {
        let buffer = self.pool.take().map(SendBuffer::close);
        let buffer = buffer.ok_or(io::ErrorKind::OutOfMemory)?;
        let socket = self.attach();
        let hold = buffer.of(&self.pool);
        let sent = hold.map(|hold| socket.send(-1, hold, &buffer));
        match sent {
            Some(Err(error)) if error.raw_os_error() != Some(libc::EBADF) => {
                Err(impossible(&error, 0))
            }
            _ => Ok(()),
        }
    }

    /// A buffer to be filled; waits, not for long, if the kernel has all. `None` when none came back, or others keep them.
    pub async fn take(&self) -> Option<SendBuffer> {
        if let free @ Some(_) = self.pool.take() {
            return free;
        }
        let back = async {
            loop {
                self.reap();
                if let free @ Some(_) = self.pool.take() {
                    return free;
                }
                if self.flying.get() == 0 || self.watch.readable().await.is_err() {
                    return None;
                }
            }
        };
        let late = async {
            shard::sleep(WAIT_MAX).await;
            None
        };
        or(back, late).await
    }

    /// What a socket sends through it with.
    pub(crate) fn attach(self: &Rc<Self>) -> ZeroCopySocket {
        let mut sockets = self.sockets.borrow_mut();
        let over = |usage: &Rc<Usage>| Rc::strong_count(usage) == 1 && usage.flying.get() == 0;
        let number = sockets.iter().position(over).unwrap_or(sockets.len());
        let usage = Rc::<Usage>::default();
        if number < sockets.len() {
            sockets[number] = Rc::clone(&usage);
        } else {
            sockets.push(Rc::clone(&usage));
        }
        ZeroCopySocket {
            ring: Rc::clone(self),
            number,
            usage,
        }
    }

    fn reap(&self) {
        let mut ring = self.ring.borrow_mut();
        if !self.broken.get() && ring.submission().cq_overflow() {
            // Brings what the kernel kept; there is nothing to submit.
            let _ = ring.submit();
        }
        self.reap_from(&mut ring);
    }

    /// Takes what the kernel has told; returns the result of a send if it was among it.
    fn reap_from(&self, ring: &mut IoUring) -> Option<i32> {
        let mut result = None;
        let sockets = self.sockets.borrow();
        for told in ring.completion() {
            let (number, index) = untag(told.user_data());
            let usage = &sockets[number];
            if cqueue::notif(told.flags()) {
                usage.ended(told.result().cast_unsigned() & COPIED != 0);
            } else {
                result = Some(told.result());
                if cqueue::more(told.flags()) {
                    usage
                        .failed
                        .set(usage.failed.get() + u64::from(told.result() < 0));
                    continue;
                }
            }
            usage.flying.set(usage.flying.get() - 1);
            self.flying.set(self.flying.get() - 1);
            self.pool.release(index);
        }
        result
    }

    /// Submits one send of `bytes`, which lie in the buffer of `hold`, and returns its result.
    fn send(
        &self,
        fd: RawFd,
        (number, usage): (usize, &Usage),
        hold: &Hold,
        bytes: &[u8],
    ) -> io::Result<bool> {
        if self.broken.get() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let length =
            u32::try_from(bytes.len()).map_err(|_| io::Error::from_raw_os_error(libc::EMSGSIZE))?;
        assert!(hold.covers(bytes), "its buffer is the one that is held");
        let index = hold.of_kernel();
        // Not waiting: the result comes at once, and sends of a socket stay in their order.
        let entry = opcode::SendZc::new(types::Fd(fd), bytes.as_ptr(), length)
            .flags(libc::MSG_DONTWAIT)
            .buf_index(Some(0))
            .zc_flags(REPORT_USAGE)
            .build()
            .user_data(tag(number, index));
        let ring = &mut *self.ring.borrow_mut();
        // SAFETY: the bytes lie in the mapping, which is kept; the kernel's hold, which only its completion ends, keeps them
        // from being written as long as it reads them.
        if unsafe { ring.submission().push(&entry) }.is_err() {
            self.broken.set(true);
            return Err(io::ErrorKind::Unsupported.into());
        }
        usage.flying.set(usage.flying.get() + 1);
        self.flying.set(self.flying.get() + 1);
        for try_again in 0..TRIES {
            let wait = usize::from(try_again > 0 && ring.submission().is_empty());
            let submitted = ring.submit_and_wait(wait);
            if let Some(result) = self.reap_from(ring) {
                return u32::try_from(result)
                    .map(|sent| sent == length)
                    .map_err(|_| io::Error::from_raw_os_error(-result));
            }
            if let Err(error) = submitted
                && !matches!(
                    error.raw_os_error(),
                    Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)
                )
            {
                break;
            }
        }
        self.broken.set(true);
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Drop for ZeroCopy {
    fn drop(&mut self) {
        self.reap();
        if self.flying.get() > 0 {
            // The kernel still reads: nobody else shall get this memory.
            std::mem::forget(Arc::clone(&self.pool));
        }
    }
}

/// A socket's part of a ring.
#[derive(Debug)]
pub(crate) struct ZeroCopySocket {
    ring: Rc<ZeroCopy>,
    number: usize,
    usage: Rc<Usage>,
}

impl ZeroCopySocket {
    /// The hold on `buffer`, if it is one of this ring and a zero-copy send of so many bytes is worth it: it is not if such sends
    /// have shown to be useless for this socket.
    pub(crate) fn hold<'a>(&self, buffer: &'a ClosedBuffer, bytes: usize) -> Option<&'a Hold> {
        if bytes < WORTH || self.is_useless() {
            return None;
        }
        buffer.of(&self.ring.pool)
    }

    /// Sends `bytes` of the buffer of `hold` through `fd` without waiting; whether all went.
    pub(crate) fn send(&self, fd: RawFd, hold: &Hold, bytes: &[u8]) -> io::Result<bool> {
        self.ring.send(fd, (self.number, &self.usage), hold, bytes)
    }

    /// A send that this way was refused and another was not.
    pub(crate) fn went_otherwise(&self) {
        self.usage.counts.set(self.counts().plus(ZeroCopyCounts {
            direct: 0,
            copied: 1,
        }));
    }

    /// With all that the kernel has told until now.
    pub(crate) fn counts(&self) -> ZeroCopyCounts {
        self.ring.reap();
        self.usage.counts.get()
    }

    pub(crate) fn is_useless(&self) -> bool {
        self.usage.counts.get().is_useless()
    }
}

/// Socket and buffer in the word that completions bring back.
fn tag(number: usize, index: usize) -> u64 {
    const { assert!(buffers::BUFFERS <= 1 << 8) }
    (number as u64) << 8 | index as u64
}

fn untag(tag: u64) -> (usize, usize) {
    let part = |part| usize::try_from(part).unwrap_or(usize::MAX);
    (part(tag >> 8), part(tag & 0xff))
}

/// `locked`: bytes that were to be locked.
fn impossible(error: &io::Error, locked: usize) -> io::Error {
    let what_to_do = match error.raw_os_error() {
        Some(libc::EINVAL) => "they need Linux 6.2 or newer".to_owned(),
        Some(libc::ENOMEM) => format!(
            "let the program lock {} KiB more of memory (ulimit -l, LimitMEMLOCK= of the service)",
            locked.div_ceil(1024)
        ),
        _ => "see the kernel's log".to_owned(),
    };
    io::Error::other(format!(
        "no zero-copy sends here: {error}; {what_to_do}, or send without them"
    ))
}
