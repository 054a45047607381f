//! Payload sources that may block: they run on a feeder thread. Byte-transparent: what is in the file goes out.

mod capture;
mod file;
mod generated;

use std::io;

use crate::endpoint::Input;

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

/// A source of payloads.
pub trait PayloadSource: Send {
    /// Appends the next payload to `out` and says when it is due; `None` at the end.
    ///
    /// # Errors
    /// [`SourceError`]; there is no more after it.
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Due>, SourceError>;
}

/// Opens an input that is not a socket.
///
/// # Errors
/// [`SourceError`] when it cannot be opened or holds nothing usable.
///
/// # Panics
/// For udp:// and rtp:// inputs, which are sockets: the caller's own bug.
pub fn open(input: &Input) -> Result<Box<dyn PayloadSource>, SourceError> {
    Ok(match input {
        Input::Udp(_) | Input::Rtp { .. } => unreachable!("a socket is no payload source"),
        Input::File { path, repeat } => Box::new(file::TsFile::open(path, *repeat)?),
        Input::Stdin => Box::new(file::Stdin::default()),
        Input::Pcap { path, dst } => Box::new(capture::Capture::open(path, *dst)?),
        Input::Generated {
            rate,
            seconds,
            seed,
        } => Box::new(generated::Generated::new(*rate, *seconds, *seed)),
    })
}
