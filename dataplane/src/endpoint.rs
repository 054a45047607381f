//! Inputs and outputs as URLs with options in the query, as ffmpeg and RIST users write them:
//! `udp://239.1.1.1:5000?iface=eth0&ttl=4&source=10.0.0.5`.
//!
//! Unknown options are refused with the list of those that exist. What is parsed here is plain data; nothing is opened.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::pacer::Rate;

mod parse;

pub(crate) use parse::bits_per_second;
pub use parse::quantity;

/// How long outputs hold payloads back if nothing else is set: more than senders and networks of one site make them uneven.
pub const SMOOTH_DEFAULT: Duration = Duration::from_millis(10);

/// Why a URL is no endpoint: what, why, what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{url:?}: {why}")]
pub struct EndpointError {
    url: String,
    why: String,
}

/// A UDP address and how its socket is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UdpOptions {
    /// Where.
    pub addr: SocketAddr,
    /// Only packets from there (SSM).
    pub source: Option<IpAddr>,
    /// Interface, by name or address.
    pub iface: Option<String>,
    /// Hops of multicast.
    pub ttl: Option<u8>,
    /// Differentiated services code point.
    pub dscp: Option<u8>,
    /// Whether this host's receivers get what it sends.
    pub loopback: Option<bool>,
    /// Socket buffer, bytes.
    pub buffer: Option<usize>,
}

/// What becomes of the RTP header of an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RtpHeader {
    /// It is part of the payload.
    #[default]
    Keep,
    /// Only what is inside is the payload.
    Strip,
}

/// Where payloads come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Datagrams, each a payload.
    Udp(UdpOptions),
    /// RTP packets.
    Rtp {
        /// The address.
        options: UdpOptions,
        /// Whether headers are kept.
        header: RtpHeader,
    },
    /// A TS file, paced by its PCR.
    File {
        /// Which.
        path: PathBuf,
        /// From the start again at its end.
        repeat: bool,
    },
    /// Standard input, as it comes.
    Stdin,
    /// A capture, with its timing.
    Pcap {
        /// Which.
        path: PathBuf,
        /// Only datagrams to this address.
        dst: Option<SocketAddr>,
        /// From the start again at its end.
        repeat: bool,
    },
    /// A TS made here.
    Generated {
        /// Bits per second.
        rate: u64,
        /// Ends after this.
        seconds: Option<u64>,
        /// Chooses the bytes.
        seed: u64,
    },
}

/// Where payloads go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Datagrams.
    Udp(UdpOutput),
    /// RTP packets; payloads that are RTP already keep their header.
    Rtp(UdpOutput),
    /// A file.
    File {
        /// Which.
        path: PathBuf,
        /// Whether RTP headers are taken off.
        strip: bool,
    },
    /// Standard output.
    Stdout {
        /// Whether RTP headers are taken off.
        strip: bool,
    },
}

/// Datagrams to an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UdpOutput {
    /// Where to, and how its socket is to be.
    pub options: UdpOptions,
    /// Payloads are held back so long in order to leave in even time; zero: they leave as they come.
    pub smooth: Duration,
}

/// A multicast group that carries a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group(UdpOptions);

impl Group {
    /// Address and socket options.
    #[must_use]
    pub fn options(&self) -> &UdpOptions {
        &self.0
    }
}

impl Input {
    /// A TS file.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self::File {
            path: path.to_owned(),
            repeat: false,
        }
    }
}

impl Output {
    /// A file that takes payloads as they are.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self::File {
            path: path.to_owned(),
            strip: false,
        }
    }
}

impl fmt::Display for UdpOptions {
    /// Without the scheme.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.addr)?;
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                query.append_pair(name, &value);
            }
        };
        put("iface", self.iface.clone());
        put("source", self.source.map(|source| source.to_string()));
        put("ttl", self.ttl.map(|ttl| ttl.to_string()));
        put("dscp", self.dscp.map(|dscp| dscp.to_string()));
        put("loop", self.loopback.map(|on| u8::from(on).to_string()));
        put("buffer", self.buffer.map(|bytes| bytes.to_string()));
        let query = query.finish();
        if query.is_empty() {
            Ok(())
        } else {
            write!(f, "?{query}")
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "udp://{}", self.0)
    }
}

/// A path as it stands in a URL, so that it is read back as it is.
struct UrlPath<'a>(&'a Path);

impl fmt::Display for UrlPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string_lossy();
        if text.starts_with("//") {
            f.write_str("//")?;
        }
        f.write_str(&text.replace('%', "%25").replace('?', "%3F"))
    }
}

/// Options that are there, as a query.
fn query(options: &[Option<String>]) -> String {
    let options: Vec<_> = options.iter().flatten().map(String::as_str).collect();
    if options.is_empty() {
        String::new()
    } else {
        format!("?{}", options.join("&"))
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let again = |repeat: bool| repeat.then(|| "loop=1".to_owned());
        match self {
            Self::Udp(options) => write!(f, "udp://{options}"),
            Self::Rtp { options, header } => {
                let text = options.to_string();
                let joint = if text.contains('?') { '&' } else { '?' };
                let header = if *header == RtpHeader::Keep {
                    "keep"
                } else {
                    "strip"
                };
                write!(f, "rtp://{text}{joint}header={header}")
            }
            Self::File { path, repeat } => {
                write!(f, "file:{}{}", UrlPath(path), query(&[again(*repeat)]))
            }
            Self::Stdin => f.write_str("-"),
            Self::Pcap { path, dst, repeat } => {
                // The scope of an IPv6 address stands behind a percent sign.
                let dst = dst.map(|dst| format!("dst={dst}").replace('%', "%25"));
                write!(f, "pcap:{}{}", UrlPath(path), query(&[dst, again(*repeat)]))
            }
            Self::Generated {
                rate,
                seconds,
                seed,
            } => {
                let seconds = seconds.map(|seconds| format!("&seconds={seconds}"));
                let seconds = seconds.unwrap_or_default();
                write!(f, "gen:?rate={rate}{seconds}&seed={seed}")
            }
        }
    }
}

impl fmt::Display for UdpOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.options.to_string();
        f.write_str(&text)?;
        if self.smooth == SMOOTH_DEFAULT {
            return Ok(());
        }
        let joint = if text.contains('?') { '&' } else { '?' };
        write!(f, "{joint}smooth={}", self.smooth.as_millis())
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = |strip: bool| query(&[strip.then(|| "header=strip".to_owned())]);
        match self {
            Self::Udp(output) => write!(f, "udp://{output}"),
            Self::Rtp(output) => write!(f, "rtp://{output}"),
            Self::File { path, strip } => write!(f, "file:{}{}", UrlPath(path), header(*strip)),
            Self::Stdout { strip } => write!(f, "-{}", header(*strip)),
        }
    }
}

macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    )*};
}
serde_as_text!(Input, Output, Group, Rate);

#[cfg(test)]
mod tests;
