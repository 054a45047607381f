//! Inputs and outputs as URLs with options in the query, as ffmpeg and RIST users write them:
//! `udp://239.1.1.1:5000?iface=eth0&ttl=4&source=10.0.0.5`.
//!
//! Unknown options are refused with the list of those that exist. What is parsed here is plain data; nothing is opened.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use url::{Host, Url};

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
    Udp(UdpOptions),
    /// RTP packets; payloads that are RTP already keep their header.
    Rtp(UdpOptions),
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

/// A URL taken apart: scheme, what follows, options.
struct Parts<'a> {
    text: &'a str,
    scheme: &'a str,
    rest: &'a str,
    options: Vec<(String, String)>,
}

const UDP_OPTIONS: [&str; 6] = ["iface", "source", "ttl", "dscp", "loop", "buffer"];

impl<'a> Parts<'a> {
    fn new(text: &'a str) -> Self {
        let (head, query) = text.split_once('?').unwrap_or((text, ""));
        let options = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let Some((scheme @ ("udp" | "rtp" | "file" | "pcap" | "gen"), rest)) = head.split_once(':')
        else {
            // A plain path may hold a question mark or a colon.
            return Self {
                text,
                scheme: "",
                rest: text,
                options: Vec::new(),
            };
        };
        Self {
            text,
            scheme,
            rest,
            options,
        }
    }

    fn error(&self, why: impl Into<String>) -> EndpointError {
        EndpointError {
            url: self.text.to_owned(),
            why: why.into(),
        }
    }

    /// Takes an option out.
    fn take(&mut self, name: &str) -> Option<String> {
        let index = self.options.iter().position(|(known, _)| known == name)?;
        Some(self.options.remove(index).1)
    }

    fn parse<T: FromStr>(&mut self, name: &str, what: &str) -> Result<Option<T>, EndpointError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        value
            .parse()
            .map(Some)
            .map_err(|_| self.error(format!("{name}={value} is no {what}")))
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>, EndpointError> {
        match self.take(name).as_deref() {
            None => Ok(None),
            Some("1" | "true" | "yes") => Ok(Some(true)),
            Some("0" | "false" | "no") => Ok(Some(false)),
            Some(other) => Err(self.error(format!("{name}={other}: write {name}=1 or {name}=0"))),
        }
    }

    /// Refuses what is left over.
    fn done(&self, known: &[&str]) -> Result<(), EndpointError> {
        match self.options.first() {
            None => Ok(()),
            Some((name, _)) => Err(self.error(format!(
                "no option {name:?}: there are {}",
                known.join(", ")
            ))),
        }
    }

    /// The address of a udp or rtp URL; ffmpeg's `@` before it is taken.
    fn address(&self) -> Result<SocketAddr, EndpointError> {
        let rest = self.rest.strip_prefix("//").unwrap_or(self.rest);
        let rest = rest.strip_prefix('@').unwrap_or(rest).trim_end_matches('/');
        if let Some(port) = rest.strip_prefix(':') {
            let port = port
                .parse()
                .map_err(|_| self.error(format!("{port:?} is no port")))?;
            return Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
        }
        let url = Url::parse(&format!("{}://{rest}", self.scheme))
            .map_err(|error| self.error(error.to_string()))?;
        let ip = match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
            Some(Host::Domain(name)) => name.parse().map_err(|_| {
                self.error(format!(
                    "{name:?} is no IP address: names are not looked up, write the address"
                ))
            })?,
            None => return Err(self.error("an address is missing: write udp://ADDRESS:PORT")),
        };
        let port = url
            .port()
            .ok_or_else(|| self.error("a port is missing: write udp://ADDRESS:PORT"))?;
        Ok(SocketAddr::new(ip, port))
    }

    fn udp(&mut self, more: &[&str]) -> Result<UdpOptions, EndpointError> {
        let options = UdpOptions {
            addr: self.address()?,
            source: self.parse("source", "IP address")?,
            iface: self.take("iface"),
            ttl: self.parse("ttl", "number of hops (0 to 255)")?,
            dscp: self.parse("dscp", "number from 0 to 63")?,
            loopback: self.flag("loop")?,
            buffer: self
                .take("buffer")
                .map(|text| {
                    size(&text).ok_or_else(|| self.error(format!("buffer={text} is no size")))
                })
                .transpose()?
                .map(|size| usize::try_from(size).unwrap_or(usize::MAX)),
        };
        if options.dscp.is_some_and(|dscp| dscp > 63) {
            return Err(self.error("dscp is a number from 0 to 63"));
        }
        if let Some(source) = options.source
            && (source.is_ipv4() != options.addr.is_ipv4() || !options.addr.ip().is_multicast())
        {
            return Err(self.error("source= needs a multicast group of the same address family"));
        }
        self.done(&[&UDP_OPTIONS, more].concat())?;
        Ok(options)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(self.rest.strip_prefix("//").unwrap_or(self.rest))
    }
}

/// A number with k, M or G (powers of 1000).
fn size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 1_000),
        (at, 'm' | 'M') => (&text[..at], 1_000_000),
        (at, 'g' | 'G') => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

impl FromStr for Input {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let mut parts = Parts::new(text);
        match parts.scheme {
            "udp" => parts.udp(&[]).map(Self::Udp),
            "rtp" => {
                let header = match parts.take("header").as_deref() {
                    None | Some("keep") => RtpHeader::Keep,
                    Some("strip") => RtpHeader::Strip,
                    Some(other) => return Err(parts.error(format!("header={other}: write header=keep or header=strip"))),
                };
                Ok(Self::Rtp { options: parts.udp(&["header"])?, header })
            }
            "pcap" => {
                let dst = parts.parse("dst", "address (ADDRESS:PORT)")?;
                parts.done(&["dst"])?;
                Ok(Self::Pcap { path: parts.path(), dst })
            }
            "gen" => {
                let rate = parts.take("rate").unwrap_or_else(|| "4M".to_owned());
                let rate = size(&rate).filter(|&rate| rate >= 100_000).ok_or_else(|| parts.error(format!("rate={rate}: bits per second, at least 100k, for example 4M")))?;
                let seconds = parts.parse("seconds", "number of seconds")?;
                let seed = parts.parse("seed", "number")?.unwrap_or(1);
                parts.done(&["rate", "seconds", "seed"])?;
                Ok(Self::Generated { rate, seconds, seed })
            }
            "file" => {
                let repeat = parts.flag("repeat")?.unwrap_or(false);
                parts.done(&["repeat"])?;
                Ok(Self::File { path: parts.path(), repeat })
            }
            _ if text == "-" => Ok(Self::Stdin),
            _ if text.is_empty() || text.contains("://") => {
                Err(parts.error("no such input: there are udp://, rtp://, file:, pcap:, gen:, a path, and - for standard input"))
            }
            _ => Ok(Self::File { path: text.into(), repeat: false }),
        }
    }
}

impl FromStr for Output {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let mut parts = Parts::new(text);
        match parts.scheme {
            "udp" => parts.udp(&[]).map(Self::Udp),
            "rtp" => parts.udp(&[]).map(Self::Rtp),
            "file" => {
                let strip = parts.take("header").as_deref() == Some("strip");
                parts.done(&["header"])?;
                Ok(Self::File { path: parts.path(), strip })
            }
            _ if text == "-" => Ok(Self::Stdout { strip: false }),
            "pcap" | "gen" => Err(parts.error("this is no output: there are udp://, rtp://, file:, a path, and - for standard output")),
            _ if text.is_empty() || text.contains("://") => {
                Err(parts.error("no such output: there are udp://, rtp://, file:, a path, and - for standard output"))
            }
            _ => Ok(Self::File { path: text.into(), strip: false }),
        }
    }
}

impl FromStr for Group {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let mut parts = Parts::new(text);
        if parts.scheme != "udp" {
            return Err(parts.error("a group is written udp://GROUP:PORT"));
        }
        let options = parts.udp(&[])?;
        if !options.addr.ip().is_multicast() {
            let example = if options.addr.is_ipv4() {
                "239.1.1.1"
            } else {
                "ff15::1"
            };
            let why = format!(
                "{} is no multicast address: a group is 224.0.0.0 to 239.255.255.255 or ff00::/8, for example {example}",
                options.addr.ip()
            );
            return Err(parts.error(why));
        }
        Ok(Self(options))
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

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            Self::File {
                path,
                repeat: false,
            } => write!(f, "file:{}", path.display()),
            Self::File { path, repeat: true } => write!(f, "file:{}?repeat=1", path.display()),
            Self::Stdin => f.write_str("-"),
            Self::Pcap { path, dst: None } => write!(f, "pcap:{}", path.display()),
            Self::Pcap {
                path,
                dst: Some(dst),
            } => write!(f, "pcap:{}?dst={dst}", path.display()),
            Self::Generated {
                rate,
                seconds: None,
                seed,
            } => write!(f, "gen:?rate={rate}&seed={seed}"),
            Self::Generated {
                rate,
                seconds: Some(seconds),
                seed,
            } => write!(f, "gen:?rate={rate}&seconds={seconds}&seed={seed}"),
        }
    }
}

macro_rules! deserialize_from_str {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
deserialize_from_str!(Input, Output, Group);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn input(text: &str) -> Input {
        text.parse().unwrap()
    }

    #[test]
    fn urls_as_people_write_them() {
        let Input::Udp(options) =
            input("udp://239.1.1.1:5000?iface=eth0&ttl=4&source=10.0.0.5&dscp=34&loop=1&buffer=8M")
        else {
            panic!("udp")
        };
        assert_eq!(options.addr, "239.1.1.1:5000".parse().unwrap());
        assert_eq!(
            (options.iface.as_deref(), options.ttl, options.dscp),
            (Some("eth0"), Some(4), Some(34))
        );
        assert_eq!(
            (options.source, options.loopback, options.buffer),
            (Some([10, 0, 0, 5].into()), Some(true), Some(8_000_000))
        );
        assert!(matches!(input("udp://@239.1.1.1:5000"), Input::Udp(_)));
        assert!(
            matches!(input("udp://@:5000"), Input::Udp(UdpOptions { addr, .. }) if addr.port() == 5000)
        );
        assert!(
            matches!(input("udp://[ff15::1]:5000"), Input::Udp(UdpOptions { addr, .. }) if addr.is_ipv6())
        );
        assert!(matches!(
            input("rtp://239.1.1.1:5000?header=strip"),
            Input::Rtp {
                header: RtpHeader::Strip,
                ..
            }
        ));
        assert_eq!(input("-"), Input::Stdin);
        assert_eq!(
            input("/a/b?c.ts"),
            Input::File {
                path: "/a/b?c.ts".into(),
                repeat: false
            }
        );
        assert_eq!(
            input("file:///a.ts?repeat=1"),
            Input::File {
                path: "/a.ts".into(),
                repeat: true
            }
        );
        assert_eq!(
            input("gen:?rate=4M&seconds=10"),
            Input::Generated {
                rate: 4_000_000,
                seconds: Some(10),
                seed: 1
            }
        );
        assert!(matches!(
            input("pcap:x.pcap?dst=239.1.1.1:5000"),
            Input::Pcap { dst: Some(_), .. }
        ));
    }

    #[test]
    fn wrong_urls_say_why_and_what_to_do() {
        let cases = [
            ("udp://239.1.1.1", "a port is missing"),
            ("udp://example.org:5000", "names are not looked up"),
            (
                "udp://239.1.1.1:5000?colour=red",
                "there are iface, source, ttl",
            ),
            ("udp://239.1.1.1:5000?ttl=300", "ttl=300"),
            ("udp://239.1.1.1:5000?dscp=64", "0 to 63"),
            (
                "udp://10.1.1.1:5000?source=10.0.0.1",
                "needs a multicast group",
            ),
            ("http://x/", "there are udp://"),
            ("gen:?rate=fast", "for example 4M"),
        ];
        for (text, why) in cases {
            let error = text.parse::<Input>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(text), "{error}");
        }
        let error = "udp://10.1.1.1:5000"
            .parse::<Group>()
            .unwrap_err()
            .to_string();
        assert!(error.contains("is no multicast address"), "{error}");
        assert!("gen:".parse::<Output>().is_err());
    }

    #[test]
    fn what_is_shown_is_what_is_parsed() {
        for text in [
            "udp://239.1.1.1:5000?iface=eth0&source=10.0.0.5&ttl=4&dscp=34&loop=0&buffer=100",
            "rtp://239.1.1.1:5000?header=strip",
            "file:/a/b.ts?repeat=1",
            "pcap:x.pcap?dst=239.1.1.1:5000",
            "gen:?rate=4000000&seconds=3&seed=9",
            "-",
        ] {
            assert_eq!(input(&input(text).to_string()), input(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(udp|rtp|gen|pcap|file)?:?(//)?[ -~]{0,40}") {
            let _ = (text.parse::<Input>(), text.parse::<Output>(), text.parse::<Group>());
        }
    }
}
