//! Payload sources that may block: they run on a feeder thread. Byte-transparent: what is in the file goes out.

mod capture;
mod cut;
mod file;
mod generated;
mod pipe;

use std::fmt;
use std::io;

use crate::endpoint::Input;
use crate::pcap::PcapCounts;

/// When a payload is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// As it comes.
    Now,
    /// Nanoseconds since the source's start.
    At(u64),
}

/// Why a source ended badly.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// The system's word.
        source: io::Error,
    },
    /// What it holds is not what it should be.
    #[error("{what}: {why}")]
    Content {
        /// Which.
        what: String,
        /// Why, and what to do.
        why: String,
    },
}

/// What people should know of a source that goes on all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Warning {
    /// The last bytes are no whole TS packet. They are sent.
    PartialPacket {
        /// How many.
        bytes: usize,
    },
    /// From byte `at` on there is something else than TS packets for a while. It is sent as it is.
    SyncLost {
        /// The first place.
        at: u64,
        /// Places so far.
        places: u64,
    },
    /// There is no clock (PCR) to go by.
    Unclocked {
        /// Bits per second that it is sent with.
        rate: u64,
    },
    /// Packets of a capture were passed over that may be missed.
    Incomplete(PcapCounts),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartialPacket { bytes } => write!(
                f,
                "the input ends with {bytes} bytes that are no whole TS packet: was it cut off? They are sent as they are"
            ),
            Self::SyncLost { at, places } => write!(
                f,
                "no TS packets from byte {at} on ({places} such places so far): the input is damaged, and sent as it is"
            ),
            Self::Unclocked { rate } => write!(
                f,
                "the input has no clock (PCR): it is sent at {rate} bits per second"
            ),
            Self::Incomplete(PcapCounts {
                fragments, short, ..
            }) => write!(
                f,
                "the capture has {fragments} pieces of IP packets and {short} packets captured in part, which are not sent: capture \
                 with -s 0 and datagrams below the MTU"
            ),
        }
    }
}

/// A source of payloads.
pub trait PayloadSource: Send {
    /// Appends the next payload to `out` and says when it is due; `None` at the end.
    ///
    /// # Errors
    /// [`SourceError`]; there is no more after it.
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Due>, SourceError>;

    /// What people should know, each once.
    fn take_warning(&mut self) -> Option<Warning> {
        None
    }
}

/// Opens an input that is not a socket.
///
/// # Errors
/// [`SourceError`] when it cannot be opened or holds nothing usable, and for udp:// and rtp:// inputs, which are sockets.
pub fn open(input: &Input) -> Result<Box<dyn PayloadSource>, SourceError> {
    Ok(match input {
        Input::Udp(_) | Input::Rtp { .. } => {
            return Err(SourceError::Content {
                what: input.to_string(),
                why: "a socket is no payload source".into(),
            });
        }
        Input::File { path, repeat } => Box::new(file::TsFile::open(path, *repeat)?),
        Input::Stdin => Box::new(pipe::Pipe::new("standard input", io::stdin())),
        Input::Pcap { path, dst, repeat } => Box::new(capture::Capture::open(path, *dst, *repeat)?),
        Input::Generated {
            rate,
            seconds,
            seed,
        } => Box::new(generated::Generated::new(*rate, *seconds, *seed)),
    })
}

#[cfg(test)]
mod tests;
