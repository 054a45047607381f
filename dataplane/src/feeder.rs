//! Feeds a channel from a source that is no socket. One that may block (file, standard input, capture) runs on a plain thread and
//! hands over payloads in chunks, with the time each is due; one that never does (generator) is asked where the channel runs.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use sealcast_net::mailbox::{Receiver, Sender, mailbox};

use crate::source::{Due, PayloadSource, Warning};

/// Payloads of one chunk, at most.
const CHUNK: usize = 48;
/// Chunks under way: a source may be this far ahead.
const AHEAD: usize = 16;

/// Payloads one after the other, with their lengths and due times (nanoseconds since the source's start).
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    ends: Vec<(usize, Due)>,
    read: usize,
}

impl Chunk {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.read = 0;
    }

    /// The next payload and when it is due.
    #[must_use]
    pub fn front(&self) -> Option<(&[u8], Due)> {
        let &(end, due) = self.ends.get(self.read)?;
        let start = self
            .read
            .checked_sub(1)
            .map_or(0, |before| self.ends[before].0);
        Some((&self.bytes[start..end], due))
    }

    /// Goes on to the payload after it.
    pub fn advance(&mut self) {
        self.read += 1;
    }
}

/// What the feeder hands over.
#[derive(Debug)]
pub enum Fed {
    /// Payloads.
    Chunk(Chunk),
    /// What people should know of the source.
    Warning(Warning),
    /// The source has ended; why, if it failed.
    End(Option<String>),
}

/// The channel's end of a feeder.
#[derive(Debug)]
pub struct Feed(Supply);

/// Where payloads come from.
#[derive(Debug)]
enum Supply {
    Thread(Thread),
    Here(Box<Here>),
}

/// A source on a thread of its own.
#[derive(Debug)]
struct Thread {
    filled: Receiver<Fed>,
    empty: Sender<Chunk>,
    stop: Arc<AtomicBool>,
}

/// A source that never blocks.
struct Here {
    source: Box<dyn PayloadSource>,
    /// To be filled again.
    empty: Chunk,
    /// To be handed over before the source is asked again.
    said: VecDeque<Fed>,
    ended: bool,
}

impl fmt::Debug for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Here")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Here {
    fn next(&mut self) -> Option<Fed> {
        if let Some(said) = self.said.pop_front() {
            return Some(said);
        }
        if self.ended {
            return None;
        }
        let mut chunk = std::mem::take(&mut self.empty);
        let end = fill(self.source.as_mut(), &mut chunk);
        while let Some(warning) = self.source.take_warning() {
            self.said.push_back(Fed::Warning(warning));
        }
        if let Some(end) = end {
            self.ended = true;
            self.said.push_back(Fed::End(end));
        }
        Some(Fed::Chunk(chunk))
    }
}

impl Feed {
    /// Starts `source` on a thread of its own.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(name: &str, mut source: Box<dyn PayloadSource>) -> std::io::Result<Self> {
        let (filled_in, filled) = mailbox(AHEAD);
        let (empty, mut empty_out) = mailbox(AHEAD + 2);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || {
            let mut chunks = (0..AHEAD).map(|_| Chunk::default()).collect::<Vec<_>>();
            while !stopped.load(Ordering::Relaxed) {
                let Some(mut chunk) = chunks.pop().or_else(|| empty_out.recv_blocking()) else {
                    return;
                };
                let end = fill(source.as_mut(), &mut chunk);
                if filled_in.send_blocking(Fed::Chunk(chunk)).is_err() {
                    return;
                }
                while let Some(warning) = source.take_warning() {
                    let _ = filled_in.send_blocking(Fed::Warning(warning));
                }
                if let Some(end) = end {
                    let _ = filled_in.send_blocking(Fed::End(end));
                    return;
                }
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self(Supply::Thread(Thread {
            filled,
            empty,
            stop,
        })))
    }

    /// Asks `source`, which never blocks, whenever payloads are needed.
    #[must_use]
    pub fn here(source: Box<dyn PayloadSource>) -> Self {
        Self(Supply::Here(Box::new(Here {
            source,
            empty: Chunk::default(),
            said: VecDeque::new(),
            ended: false,
        })))
    }

    /// What has been handed over, if anything.
    pub fn try_recv(&mut self) -> Option<Fed> {
        match &mut self.0 {
            Supply::Thread(thread) => thread.filled.try_recv(),
            Supply::Here(here) => here.next(),
        }
    }

    /// Waits until something is handed over. Cancel-safe.
    pub async fn ready(&mut self) {
        if let Supply::Thread(thread) = &mut self.0 {
            thread.filled.ready().await;
        }
    }

    /// Gives an emptied chunk back to be filled again.
    pub fn recycle(&mut self, mut chunk: Chunk) {
        chunk.clear();
        match &mut self.0 {
            Supply::Thread(thread) => drop(thread.empty.try_send(chunk)),
            Supply::Here(here) => here.empty = chunk,
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Fills a chunk. A source without due times gives one payload at a time, since the next may be long in coming. Returns how the source ended, if it did.
fn fill(source: &mut dyn PayloadSource, chunk: &mut Chunk) -> Option<Option<String>> {
    chunk.clear();
    while chunk.ends.len() < CHUNK {
        match source.next(&mut chunk.bytes) {
            Ok(Some(due)) => chunk.ends.push((chunk.bytes.len(), due)),
            Ok(None) => return Some(None),
            Err(error) => return Some(Some(error.to_string())),
        }
        if matches!(chunk.ends.last(), Some((_, Due::Now))) {
            break;
        }
    }
    None
}
