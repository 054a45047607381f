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
/// Payloads of a chunk where the channel runs: they are still in the first-level cache when they are copied on.
const CHUNK_HERE: usize = 8;
/// Chunks under way: a source may be this far ahead.
const AHEAD: usize = 16;

/// Payloads one after the other, with their lengths and due times (nanoseconds since the source's start).
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    ends: Vec<(usize, Due)>,
    /// How many have been taken, and where the next begins.
    taken: usize,
    start: usize,
}

impl Chunk {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        (self.taken, self.start) = (0, 0);
    }

    fn is_used_up(&self) -> bool {
        self.taken == self.ends.len()
    }
}

/// What a thread hands over.
#[derive(Debug)]
enum Fed {
    Chunk(Chunk),
    Warning(Warning),
    End(Option<String>),
}

/// The channel's end of a feeder.
#[derive(Debug)]
pub struct Feed {
    supply: Supply,
    /// What is taken now.
    chunk: Chunk,
    warnings: VecDeque<Warning>,
    end: Option<Option<String>>,
}

/// What comes next.
#[derive(Debug)]
pub enum Front<'a> {
    /// A payload, and when it is due. It stays until [`Feed::advance`].
    Payload(&'a [u8], Due),
    /// Nothing yet.
    Nothing,
    /// Nothing any more; why, if the source failed.
    End(Option<String>),
}

/// Where payloads come from.
enum Supply {
    Thread(Thread),
    /// A source that never blocks.
    Here(Box<dyn PayloadSource>),
}

/// A source on a thread of its own.
struct Thread {
    filled: Receiver<Fed>,
    empty: Sender<Chunk>,
    stop: Arc<AtomicBool>,
}

impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thread(_) => "Supply::Thread",
            Self::Here(_) => "Supply::Here",
        })
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
                let end = fill(source.as_mut(), &mut chunk, CHUNK);
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
        Ok(Self::new(Supply::Thread(Thread {
            filled,
            empty,
            stop,
        })))
    }

    /// Asks `source`, which never blocks, whenever payloads are needed.
    #[must_use]
    pub fn here(source: Box<dyn PayloadSource>) -> Self {
        Self::new(Supply::Here(source))
    }

    fn new(supply: Supply) -> Self {
        Self {
            supply,
            chunk: Chunk::default(),
            warnings: VecDeque::new(),
            end: None,
        }
    }

    /// What comes next, if it is there.
    pub fn front(&mut self) -> Front<'_> {
        while self.chunk.is_used_up() {
            if let Some(end) = &self.end {
                return Front::End(end.clone());
            }
            if !self
                .supply
                .refill(&mut self.chunk, &mut self.warnings, &mut self.end)
            {
                return Front::Nothing;
            }
        }
        let (end, due) = self.chunk.ends[self.chunk.taken];
        Front::Payload(&self.chunk.bytes[self.chunk.start..end], due)
    }

    /// Goes on to what comes after the payload.
    pub fn advance(&mut self) {
        if let Some(&(end, _)) = self.chunk.ends.get(self.chunk.taken) {
            (self.chunk.taken, self.chunk.start) = (self.chunk.taken + 1, end);
        }
    }

    /// What people should know of the source, each once.
    pub fn take_warning(&mut self) -> Option<Warning> {
        self.warnings.pop_front()
    }

    /// Waits until something may come. Cancel-safe.
    pub async fn ready(&mut self) {
        if let Supply::Thread(thread) = &mut self.supply {
            thread.filled.ready().await;
        }
    }
}

impl Supply {
    /// Gets other payloads instead of the used-up `chunk`, or whatever else there is; false if there is nothing.
    fn refill(
        &mut self,
        chunk: &mut Chunk,
        warnings: &mut VecDeque<Warning>,
        end: &mut Option<Option<String>>,
    ) -> bool {
        match self {
            Self::Here(source) => {
                *end = fill(source.as_mut(), chunk, CHUNK_HERE);
                warnings.extend(std::iter::from_fn(|| source.take_warning()));
            }
            Self::Thread(thread) => match thread.filled.try_recv() {
                None => return false,
                Some(Fed::Warning(warning)) => warnings.push_back(warning),
                Some(Fed::End(why)) => *end = Some(why),
                Some(Fed::Chunk(filled)) => {
                    let used = std::mem::replace(chunk, filled);
                    // The first has never held any.
                    if !used.ends.is_empty() {
                        let _ = thread.empty.try_send(used);
                    }
                }
            },
        }
        true
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Fills a chunk with up to `most` payloads. A source without due times gives one payload at a time, since the next may be long in coming. Returns how the source ended, if it did.
fn fill(source: &mut dyn PayloadSource, chunk: &mut Chunk, most: usize) -> Option<Option<String>> {
    chunk.clear();
    while chunk.ends.len() < most {
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
