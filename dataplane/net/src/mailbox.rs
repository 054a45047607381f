//! Bounded mailboxes between any threads and executors: a lock-free queue, a waker for its one reader, and a list of wakers
//! for writers that wait for room.
//!
//! Many writers, one reader. An empty mailbox costs a load, so a busy loop can look into it once per batch; the list's lock is
//! taken only when a writer found no room.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;
use futures_lite::future::block_on;

#[derive(Debug)]
struct Shared<T> {
    queue: ArrayQueue<T>,
    reader: AtomicWaker,
    senders: AtomicUsize,
    reader_gone: AtomicBool,
    /// Whether `writers` holds any; spares the reader the lock.
    waiting: AtomicBool,
    writers: Mutex<Vec<Waker>>,
}

/// The writing end.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

/// The reading end.
#[derive(Debug)]
pub struct Receiver<T>(Arc<Shared<T>>);

/// Why a message was not taken; it comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError<T> {
    /// No room now.
    Full(T),
    /// The reader is gone.
    Closed(T),
}

/// A mailbox for `capacity` messages, at least one.
#[must_use]
pub fn mailbox<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(capacity),
        reader: AtomicWaker::new(),
        senders: AtomicUsize::new(1),
        reader_gone: AtomicBool::new(false),
        waiting: AtomicBool::new(false),
        writers: Mutex::new(Vec::new()),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Sender<T> {
    /// Puts a message in, without waiting.
    ///
    /// # Errors
    /// Gives it back when there is no room or no reader.
    pub fn try_send(&self, message: T) -> Result<(), SendError<T>> {
        if self.0.reader_gone.load(Ordering::Acquire) {
            return Err(SendError::Closed(message));
        }
        self.0.queue.push(message).map_err(SendError::Full)?;
        self.0.reader.wake();
        Ok(())
    }

    /// Puts a message in, waiting while there is no room. If it is cancelled, the message is lost.
    ///
    /// # Errors
    /// Gives it back when there is no reader.
    pub async fn send(&self, mut message: T) -> Result<(), T> {
        loop {
            match self.try_send(message) {
                Ok(()) => return Ok(()),
                Err(SendError::Closed(back)) => return Err(back),
                Err(SendError::Full(back)) => message = back,
            }
            poll_fn(|cx| self.0.poll_room(cx)).await;
        }
    }

    /// Puts a message in, blocking this thread while there is no room. Not for executors.
    ///
    /// # Errors
    /// Gives it back when there is no reader.
    pub fn send_blocking(&self, message: T) -> Result<(), T> {
        block_on(self.send(message))
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.reader.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The next message, if one waits.
    pub fn try_recv(&mut self) -> Option<T> {
        let message = self.0.queue.pop()?;
        self.0.wake_writers();
        Some(message)
    }

    /// The next message; `None` when all writers are gone and nothing waits. Cancel-safe.
    pub async fn recv(&mut self) -> Option<T> {
        // One reader: what is ready is there until it is taken here.
        self.ready().await;
        self.try_recv()
    }

    /// The next message, blocking this thread; `None` when all writers are gone and nothing waits. Not for executors.
    pub fn recv_blocking(&mut self) -> Option<T> {
        block_on(self.recv())
    }

    /// Whether nothing waits at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.queue.is_empty()
    }

    /// Whether all writers are gone and nothing waits.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.senders.load(Ordering::Acquire) == 0 && self.0.queue.is_empty()
    }

    /// Waits until something waits, without taking it; false when all writers are gone and nothing waits. Cancel-safe.
    pub async fn ready(&mut self) -> bool {
        poll_fn(|cx| self.0.poll_ready(cx)).await
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.reader_gone.store(true, Ordering::Release);
        while self.0.queue.pop().is_some() {}
        self.0.wake_writers();
    }
}

impl<T> Shared<T> {
    fn poll_ready(&self, cx: &Context<'_>) -> Poll<bool> {
        if !self.queue.is_empty() {
            return Poll::Ready(true);
        }
        self.reader.register(cx.waker());
        // Whoever pushed or left before the waker was registered did not wake it. The last message comes before its writer
        // leaves, so the order of these two looks matters.
        let gone = self.senders.load(Ordering::Acquire) == 0;
        match (self.queue.is_empty(), gone) {
            (false, _) => Poll::Ready(true),
            (true, true) => Poll::Ready(false),
            (true, false) => Poll::Pending,
        }
    }

    fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        {
            let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
            if !writers.iter().any(|waker| waker.will_wake(cx.waker())) {
                writers.push(cx.waker().clone());
            }
            self.waiting.store(true, Ordering::Relaxed);
        }
        // Pairs with the fence of `wake_writers`: either it sees us waiting, or we see the room that it made.
        fence(Ordering::SeqCst);
        if self.queue.is_full() && !self.reader_gone.load(Ordering::Relaxed) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Wakes all writers that wait: one that was cancelled must not keep the others asleep.
    fn wake_writers(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) {
            let writers = {
                let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
                self.waiting.store(false, Ordering::Relaxed);
                std::mem::take(&mut *writers)
            };
            writers.into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests;
