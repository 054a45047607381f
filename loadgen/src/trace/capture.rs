//! Traces of what is there: a live feed, or a capture.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_lite::future::or;
use sealcast_dataplane::pcap::{PcapCounts, PcapError, PcapReader};
use sealcast_net::{GroupOptions, RecvBatch, SocketError, UdpReceiver, clock, shard};
use sealcast_proto::records::{Origin, PacketTrace, TraceIdentity};

use super::file::TraceFile;
use super::recorder::{Recorder, Summary, TooManyChannels};

/// Buffers of one receive call, and calls before the end is looked for.
const FRAMES: usize = 16;
const CALLS: usize = 64;
/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(20);

const RECORDED: TraceIdentity = TraceIdentity {
    origin: Origin::Captured,
    seed: 0,
};

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The feed cannot be received.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The capture cannot be read.
    #[error(transparent)]
    Pcap(#[from] PcapError),
    /// The trace cannot be written.
    #[error("the trace cannot be written: {0}")]
    Write(io::Error),
    /// Receiving failed.
    #[error("receiving failed: {0}")]
    Receive(io::Error),
    /// More channels than a trace can name.
    #[error(transparent)]
    Channels(#[from] TooManyChannels),
}

/// Writes a capture's datagrams as a trace. Returns also what was passed over.
///
/// # Errors
/// [`CaptureError`]; also when there is no datagram.
pub fn pcap(
    mut reader: PcapReader,
    out: impl Write,
) -> Result<(Summary, PcapCounts), CaptureError> {
    let mut trace = Trace::create(out)?;
    let mut payload = Vec::new();
    while let Some(datagram) = reader.next(&mut payload)? {
        trace.take(datagram.time, datagram.dst, &payload)?;
        payload.clear();
    }
    Ok((trace.finish()?, reader.counts()))
}

/// Writes what comes to a group or address as a trace, until `stop` or, if given, for `length` from the first datagram or, if
/// none comes, from the start. `out` is opened once the socket is. Inside a shard only. Datagrams that the kernel hands over together have one time. Returns also how
/// many buffers the kernel dropped.
///
/// # Errors
/// [`CaptureError`].
pub async fn live<W: Write>(
    options: &GroupOptions,
    length: Option<Duration>,
    stop: &AtomicBool,
    out: impl FnOnce() -> io::Result<W>,
) -> Result<(Summary, u64), CaptureError> {
    let mut socket = UdpReceiver::bind(options)?;
    let dst = socket.local_addr().map_err(CaptureError::Receive)?;
    let mut trace = Trace::create(out().map_err(CaptureError::Write)?)?;
    let mut batch = RecvBatch::new(FRAMES, 0);
    let mut began = clock::boottime();
    let length = length.map(|length| u64::try_from(length.as_nanos()).unwrap_or(u64::MAX));
    while !stop.load(Ordering::Relaxed)
        && length.is_none_or(|length| clock::boottime() - began < length)
    {
        let wait = async {
            shard::sleep(LOOK).await;
            Ok(())
        };
        or(socket.readable(), wait)
            .await
            .map_err(CaptureError::Receive)?;
        for _ in 0..CALLS {
            let count = socket.recv(&mut batch).map_err(CaptureError::Receive)?;
            let now = clock::boottime();
            if count > 0 && trace.recorder.summary().packets == 0 {
                began = now;
            }
            for mut received in batch.iter_mut() {
                for datagram in received.segments() {
                    trace.take(now, dst, datagram)?;
                }
            }
            if !socket.may_have_more() {
                break;
            }
        }
    }
    let drops = socket.drops();
    Ok((trace.finish()?, drops))
}

struct Trace<W> {
    recorder: Recorder,
    file: TraceFile<PacketTrace, W>,
}

impl<W: Write> Trace<W> {
    fn create(out: W) -> Result<Self, CaptureError> {
        Ok(Self {
            recorder: Recorder::default(),
            file: TraceFile::create(out, &RECORDED).map_err(CaptureError::Write)?,
        })
    }

    fn take(&mut self, time: u64, dst: SocketAddr, payload: &[u8]) -> Result<(), CaptureError> {
        let packet = self.recorder.record(time, dst, payload)?;
        self.file.push(packet).map_err(CaptureError::Write)
    }

    fn finish(self) -> Result<Summary, CaptureError> {
        self.file.finish().map_err(CaptureError::Write)?;
        Ok(self.recorder.summary())
    }
}
