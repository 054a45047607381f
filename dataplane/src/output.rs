//! Where a receiving channel's payloads go: a socket, or a file through a thread of its own.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::thread;

use sealcast_net::UdpSender;
use sealcast_net::mailbox::{Receiver, SendError, Sender, mailbox};

use crate::batch::Runs;
use crate::rtp::{self, RtpWriter};

/// Buffers under way to a file writer.
const WRITES: usize = 256;
/// Bytes that leave with about one call.
const LARGE: usize = 60_000;

/// Payloads on their way out, one after the other.
#[derive(Debug, Default)]
pub struct OutBatch {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
    /// Where payloads with clock references lie.
    clocked: Vec<Range<usize>>,
}

impl OutBatch {
    /// Copies a payload in; `clocked`: it may have clock references.
    pub fn push(&mut self, payload: &[u8], clocked: bool) {
        self.push_parts(payload, &[], clocked);
    }

    /// Copies a payload in that lies in two parts.
    pub fn push_parts(&mut self, front: &[u8], back: &[u8], clocked: bool) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(front);
        self.bytes.extend_from_slice(back);
        self.lengths.push(front.len() + back.len());
        if clocked {
            self.clocked.push(start..self.bytes.len());
        }
    }

    /// Whether it should leave before more comes: then what is in it is still in the cache.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.bytes.len() >= LARGE
    }

    /// The payloads that may have clock references.
    pub fn clocked(&self) -> impl Iterator<Item = &[u8]> {
        self.clocked.iter().map(|range| &self.bytes[range.clone()])
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The payloads.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().map(move |&length| {
            let (payload, tail) = rest.split_at(length);
            rest = tail;
            payload
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
        self.clocked.clear();
    }
}

/// Looks at a payload.
pub type Watcher = Box<dyn FnMut(&[u8])>;

/// A channel's output.
pub enum Sink {
    /// Datagrams; `rtp` puts an RTP header before payloads that have none.
    Udp {
        /// The socket.
        socket: Box<UdpSender>,
        /// Writes RTP headers, for rtp:// outputs.
        rtp: Option<RtpWriter>,
        /// Payloads with their headers.
        framed: OutBatch,
    },
    /// A byte stream, written by a thread of its own.
    Stream {
        /// To the thread.
        full: Sender<Vec<u8>>,
        /// Written buffers, to be used again.
        empty: Receiver<Vec<u8>>,
        /// The thread; joined at the end so that everything is on disk.
        writer: Option<thread::JoinHandle<io::Result<()>>>,
        /// Whether RTP headers are taken off.
        strip: bool,
    },
    /// Whoever looks at each payload, where the channel runs.
    Watcher(Watcher),
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp { .. } => "Sink::Udp",
            Self::Stream { .. } => "Sink::Stream",
            Self::Watcher(_) => "Sink::Watcher",
        })
    }
}

impl Sink {
    /// Datagrams over a socket.
    #[must_use]
    pub fn udp(socket: UdpSender, rtp: Option<RtpWriter>) -> Self {
        Self::Udp {
            socket: Box::new(socket),
            rtp,
            framed: OutBatch::default(),
        }
    }

    /// A byte stream to `writer`; `strip` takes RTP headers off.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn stream(name: &str, writer: Box<dyn Write + Send>, strip: bool) -> io::Result<Self> {
        let (full, full_out) = mailbox(WRITES);
        let (empty_in, empty) = mailbox(WRITES);
        let writer = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write_all(writer, full_out, &empty_in))?;
        Ok(Self::Stream {
            full,
            empty,
            writer: Some(writer),
            strip,
        })
    }

    /// Sends or hands over all of `batch` and empties it. Returns how many payloads were not taken.
    pub async fn flush(&mut self, batch: &mut OutBatch, now: u64) -> u64 {
        let refused = match self {
            Self::Udp {
                socket, rtp: None, ..
            } => send(socket, batch).await,
            Self::Udp {
                socket,
                rtp: Some(writer),
                framed,
            } => {
                frame(writer, batch, framed, now);
                let refused = send(socket, framed).await;
                framed.clear();
                refused
            }
            Self::Stream {
                full, empty, strip, ..
            } => {
                let mut buffer = empty.try_recv().unwrap_or_default();
                buffer.clear();
                for payload in batch.iter() {
                    let inside = if *strip { rtp::payload(payload) } else { None };
                    buffer.extend_from_slice(inside.unwrap_or(payload));
                }
                hand_over(full, buffer, batch.lengths.len() as u64).await
            }
            Self::Watcher(watch) => {
                batch.iter().for_each(watch);
                0
            }
        };
        batch.clear();
        refused
    }

    /// Ends the output: everything is written when this returns.
    ///
    /// # Errors
    /// What went wrong with the file.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::Udp { .. } | Self::Watcher(_) => Ok(()),
            Self::Stream { full, writer, .. } => {
                drop(full);
                let ended = writer.map(thread::JoinHandle::join);
                ended.unwrap_or(Ok(Ok(()))).unwrap_or_else(|_| {
                    Err(io::Error::other("the writer of the output ended badly"))
                })
            }
        }
    }
}

async fn send(socket: &mut UdpSender, batch: &OutBatch) -> u64 {
    let mut refused = 0;
    for (range, segment) in Runs::new(batch.lengths.iter().copied()) {
        let count = range.len().div_ceil(segment) as u64;
        if socket
            .send_batch(&batch.bytes[range], segment)
            .await
            .is_err()
        {
            refused += count;
        }
    }
    refused
}

/// Puts an RTP header before each payload that is not RTP already.
fn frame(writer: &mut RtpWriter, batch: &OutBatch, framed: &mut OutBatch, now: u64) {
    for payload in batch.iter() {
        if rtp::payload(payload).is_some() {
            framed.push(payload, false);
            continue;
        }
        let start = framed.bytes.len();
        framed.bytes.extend_from_slice(&writer.header(now));
        framed.bytes.extend_from_slice(payload);
        framed.lengths.push(framed.bytes.len() - start);
    }
}

/// Hands a buffer to the writer, waiting while it is behind.
async fn hand_over(full: &Sender<Vec<u8>>, mut buffer: Vec<u8>, payloads: u64) -> u64 {
    loop {
        match full.try_send(buffer) {
            Ok(()) => return 0,
            Err(SendError::Closed(_)) => return payloads,
            Err(SendError::Full(back)) => buffer = back,
        }
        sealcast_net::shard::sleep(std::time::Duration::from_micros(200)).await;
    }
}

fn write_all(
    mut writer: Box<dyn Write + Send>,
    mut full: Receiver<Vec<u8>>,
    empty: &Sender<Vec<u8>>,
) -> io::Result<()> {
    while let Some(buffer) = full.recv_blocking() {
        writer.write_all(&buffer)?;
        if full.is_empty() {
            writer.flush()?;
        }
        let _ = empty.try_send(buffer);
    }
    writer.flush()
}
