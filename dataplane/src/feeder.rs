//! Feeds a channel from a source that may block (file, standard input, capture, generator): the source runs on a plain
//! thread and hands over payloads in chunks, with the time each is due.

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
pub struct Feed {
    filled: Receiver<Fed>,
    empty: Sender<Chunk>,
    stop: Arc<AtomicBool>,
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
        Ok(Self {
            filled,
            empty,
            stop,
        })
    }

    /// What has been handed over, if anything.
    pub fn try_recv(&mut self) -> Option<Fed> {
        self.filled.try_recv()
    }

    /// Waits until something is handed over. Cancel-safe.
    pub async fn ready(&mut self) {
        self.filled.ready().await;
    }

    /// Gives an emptied chunk back to be filled again.
    pub fn recycle(&self, mut chunk: Chunk) {
        chunk.clear();
        let _ = self.empty.try_send(chunk);
    }
}

impl Drop for Feed {
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
