//! Traces: what a feed's datagrams looked like, or when devices asked key servers for what, as record files that load generators
//! replay (INT-16). Recorded from a live feed or a capture, or made up from a seed.
//!
//! Content is never kept: a packet trace says when, which channel, how long, and of which kind.

mod capture;
mod file;
mod packets;
mod recorder;
pub mod replay;
pub mod requests;

pub use capture::{CaptureError, live, pcap};
pub use file::TraceFile;
pub use packets::{Packets, TraceError};
pub use recorder::{Recorder, Summary, TooManyChannels};

use std::io::{self, Write};

use sealcast_dataplane::source::Due;
use sealcast_proto::records::{Content, Origin, PacketTrace, TraceIdentity, TracedPacket};

use crate::schedule::{Part, Rate, Slot, Traffic};

/// Bytes of a TS packet.
const TS: usize = 188;

/// Writes made-up traffic as a packet trace.
///
/// # Errors
/// As `out` says, or as [`Traffic::check`]; a rate without a limit has no times to write.
pub fn make(traffic: &Traffic, out: impl Write) -> io::Result<Summary> {
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    traffic.check().map_err(|error| wrong(error.to_string()))?;
    if traffic.rate == Rate::Unlimited {
        return Err(wrong("a trace needs a rate with a limit".to_owned()));
    }
    let identity = TraceIdentity {
        origin: Origin::Synthetic,
        seed: traffic.seed,
    };
    let mut file = TraceFile::<PacketTrace, _>::create(out, &identity)?;
    let mut summary = Summary::default();
    for slot in traffic.schedule(Part { index: 0, of: 1 }) {
        let packet = packet(slot);
        summary.add(packet);
        file.push(packet)?;
    }
    file.finish()?;
    Ok(summary)
}

fn packet(slot: Slot) -> TracedPacket {
    let at = match slot.due {
        Due::At(at) => at,
        Due::Now => 0,
    };
    let limited = "flows and lengths of checked traffic are bounded";
    TracedPacket {
        at,
        channel: u16::try_from(slot.flow + 1).expect(limited),
        length: u16::try_from(slot.len).expect(limited),
        content: if slot.len.is_multiple_of(TS) {
            Content::Ts
        } else {
            Content::Opaque
        },
    }
}

#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod tests;
