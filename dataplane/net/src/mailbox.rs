//! Bounded mailboxes between any threads and executors: a lock-free queue, and a waker for its one reader.
//!
//! Many writers, one reader. An empty mailbox costs a load, so a busy loop can look into it once per batch.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;

/// Pause of a blocked writer before it tries again. Writers block only when a reader is far behind.
const RETRY: Duration = Duration::from_micros(200);

#[derive(Debug)]
struct Shared<T> {
    queue: ArrayQueue<T>,
    reader: AtomicWaker,
    senders: AtomicUsize,
    reader_gone: AtomicBool,
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

/// A mailbox for `capacity` messages.
#[must_use]
pub fn mailbox<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(capacity),
        reader: AtomicWaker::new(),
        senders: AtomicUsize::new(1),
        reader_gone: AtomicBool::new(false),
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

    /// Puts a message in, blocking this thread while there is no room. Not for executors.
    ///
    /// # Errors
    /// Gives it back when there is no reader.
    pub fn send_blocking(&self, mut message: T) -> Result<(), T> {
        loop {
            match self.try_send(message) {
                Ok(()) => return Ok(()),
                Err(SendError::Closed(back)) => return Err(back),
                Err(SendError::Full(back)) => message = back,
            }
            std::thread::sleep(RETRY);
        }
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
        self.0.queue.pop()
    }

    /// The next message; `None` when all writers are gone and nothing waits. Cancel-safe.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| {
            if let Some(message) = self.0.queue.pop() {
                return Poll::Ready(Some(message));
            }
            self.0.reader.register(cx.waker());
            // Whoever pushed or left before the waker was registered did not wake it.
            let gone = self.0.senders.load(Ordering::Acquire) == 0;
            match self.0.queue.pop() {
                Some(message) => Poll::Ready(Some(message)),
                None if gone => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// The next message, blocking this thread; `None` when all writers are gone and nothing waits. Not for executors.
    pub fn recv_blocking(&mut self) -> Option<T> {
        futures_lite::future::block_on(self.recv())
    }

    /// Whether nothing waits at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.queue.is_empty()
    }

    /// Waits until something waits, without taking it; false when all writers are gone and nothing waits. Cancel-safe.
    pub async fn ready(&mut self) -> bool {
        poll_fn(|cx| {
            self.0.reader.register(cx.waker());
            let gone = self.0.senders.load(Ordering::Acquire) == 0;
            match (self.0.queue.is_empty(), gone) {
                (false, _) => Poll::Ready(true),
                (true, true) => Poll::Ready(false),
                (true, false) => Poll::Pending,
            }
        })
        .await
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.reader_gone.store(true, Ordering::Release);
        while self.0.queue.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_or_doubled_between_threads() {
        const WRITERS: u64 = 4;
        const EACH: u64 = 20_000;
        let (sender, mut receiver) = mailbox(64);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    (0..EACH).for_each(|i| sender.send_blocking(writer * EACH + i).unwrap())
                })
            })
            .collect();
        drop(sender);
        let mut last = vec![None; usize::try_from(WRITERS).unwrap()];
        let mut count = 0;
        while let Some(message) = receiver.recv_blocking() {
            let writer = usize::try_from(message / EACH).unwrap();
            assert!(last[writer] < Some(message), "in order per writer");
            last[writer] = Some(message);
            count += 1;
        }
        assert_eq!(count, WRITERS * EACH);
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
    }

    #[test]
    fn a_full_mailbox_and_a_closed_one_give_the_message_back() {
        let (sender, mut receiver) = mailbox(1);
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(sender.try_send(2), Err(SendError::Full(2)));
        assert_eq!((receiver.try_recv(), receiver.try_recv()), (Some(1), None));
        drop(receiver);
        assert_eq!(sender.try_send(3), Err(SendError::Closed(3)));
        assert_eq!(sender.send_blocking(4), Err(4));
    }

    #[test]
    fn a_reader_wakes_when_the_last_writer_leaves() {
        let (sender, mut receiver) = mailbox::<u8>(1);
        let waiting = std::thread::spawn(move || receiver.recv_blocking());
        std::thread::sleep(Duration::from_millis(20));
        drop(sender);
        assert_eq!(waiting.join().unwrap(), None);
    }
}
