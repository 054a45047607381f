//! Endpoint URLs read: text to [`Input`], [`Output`], [`Group`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::{
    EndpointError, Group, Input, Output, RtpHeader, SMOOTH_DEFAULT, UdpOptions, UdpOutput,
};
use crate::smooth::DELAY_MAX;
use crate::ts::generate::RATE_MIN;

const UDP_OPTIONS: [&str; 6] = ["iface", "source", "ttl", "dscp", "loop", "buffer"];
/// Options of other programs, and what to write here.
const ELSEWHERE: [(&str, &str); 8] = [
    ("localaddr", "write iface="),
    ("miface", "write iface="),
    ("interface", "write iface="),
    ("sources", "write source="),
    ("tos", "write dscp=, a quarter of it"),
    ("buffer_size", "write buffer="),
    ("fifo_size", "write buffer="),
    ("pkt_size", "leave it out: payloads keep their size"),
];
const INPUTS: &str = "udp://, rtp://, file:, pcap:, gen:, a path, and - for standard input";
const OUTPUTS: &str = "udp://, rtp://, file:, a path, and - for standard output";

/// A URL taken apart: scheme, what follows, options.
struct Parts<'a> {
    text: &'a str,
    /// Empty for a plain path and for `-`.
    scheme: &'a str,
    rest: &'a str,
    options: Vec<(String, String)>,
}

impl<'a> Parts<'a> {
    fn new(text: &'a str) -> Self {
        let (head, query) = text.split_once('?').unwrap_or((text, ""));
        let known = head
            .split_once(':')
            .filter(|(scheme, _)| matches!(*scheme, "udp" | "rtp" | "file" | "pcap" | "gen"));
        // A plain path may hold a question mark or a colon.
        let (scheme, rest, query) = match known {
            Some((scheme, rest)) => (scheme, rest, query),
            None if head == "-" => ("", head, query),
            None => ("", text, ""),
        };
        let options = url::form_urlencoded::parse(query.as_bytes());
        Self {
            text,
            scheme,
            rest,
            options: options.into_owned().collect(),
        }
    }

    fn error(&self, why: impl Into<String>) -> EndpointError {
        EndpointError {
            url: self.text.to_owned(),
            why: why.into(),
        }
    }

    /// Takes an option out.
    fn take(&mut self, name: &str) -> Result<Option<String>, EndpointError> {
        let Some(index) = self.options.iter().position(|(known, _)| known == name) else {
            return Ok(None);
        };
        let (_, value) = self.options.remove(index);
        if self.options.iter().any(|(known, _)| known == name) {
            return Err(self.error(format!("{name}= is there twice: write it once")));
        }
        if value.is_empty() {
            return Err(self.error(format!("{name}= has no value: write one, or leave it out")));
        }
        Ok(Some(value))
    }

    /// Takes an option out that `read` understands; `what` says what it has to be.
    fn read<T>(
        &mut self,
        name: &str,
        what: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, EndpointError> {
        let Some(text) = self.take(name)? else {
            return Ok(None);
        };
        let value = read(&text);
        value.map_or_else(
            || Err(self.error(format!("{name}={text} is no {what}"))),
            |value| Ok(Some(value)),
        )
    }

    fn parse<T: FromStr>(&mut self, name: &str, what: &str) -> Result<Option<T>, EndpointError> {
        self.read(name, what, |text| text.parse().ok())
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>, EndpointError> {
        self.read(name, "switch: write 1 or 0", |text| match text {
            "1" | "true" | "yes" => Some(true),
            "0" | "false" | "no" => Some(false),
            _ => None,
        })
    }

    /// What becomes of RTP headers; they are kept unless it is said.
    fn rtp_header(&mut self) -> Result<RtpHeader, EndpointError> {
        let header = self.read("header", "choice: write keep or strip", |text| match text {
            "keep" => Some(RtpHeader::Keep),
            "strip" => Some(RtpHeader::Strip),
            _ => None,
        })?;
        Ok(header.unwrap_or_default())
    }

    /// Refuses what is left over.
    fn done(&self, known: &[&str]) -> Result<(), EndpointError> {
        let Some((name, _)) = self.options.first() else {
            return Ok(());
        };
        let hint = ELSEWHERE.iter().find(|(other, _)| other == name);
        let hint = hint.map_or_else(String::new, |(_, hint)| format!(" ({hint})"));
        Err(self.error(match known {
            [] => format!("no option {name:?}: there are none"),
            known => format!("no option {name:?}{hint}: there are {}", known.join(", ")),
        }))
    }

    /// The address of a udp or rtp URL; ffmpeg's `@` before it is taken.
    fn address(&self) -> Result<SocketAddr, EndpointError> {
        let scheme = self.scheme;
        let rest = self.rest.strip_prefix("//").unwrap_or(self.rest);
        let rest = rest.strip_prefix('@').unwrap_or(rest);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
            _ if rest.matches(':').count() > 1 && !rest.ends_with(']') => {
                return Err(self.error(format!(
                    "an IPv6 address stands in brackets: write {scheme}://[ADDRESS]:PORT"
                )));
            }
            _ => {
                return Err(self.error(format!("a port is missing: write {scheme}://ADDRESS:PORT")));
            }
        };
        let number = port.parse().ok().filter(|&number: &u16| number > 0);
        let Some(port) = number else {
            return Err(self.error(format!("{port:?} is no port: a port is 1 to 65535")));
        };
        if host.is_empty() {
            return Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
        }
        let six = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let ip = match six {
            Some(six) => six.parse().map(IpAddr::V6),
            None => host.parse().map(IpAddr::V4),
        };
        ip.map(|ip| SocketAddr::new(ip, port)).map_err(|_| {
            self.error(format!(
                "{host:?} is no IP address: names are not looked up, write the address"
            ))
        })
    }

    fn udp(&mut self, more: &[&str]) -> Result<UdpOptions, EndpointError> {
        let options = UdpOptions {
            addr: self.address()?,
            source: self.parse("source", "IP address")?,
            iface: self.take("iface")?,
            ttl: self.parse("ttl", "number of hops: write 0 to 255")?,
            dscp: self.read("dscp", "code point: write 0 to 63", |text| {
                text.parse().ok().filter(|&dscp: &u8| dscp < 64)
            })?,
            loopback: self.flag("loop")?,
            buffer: self.read("buffer", "size: write bytes, for example 8M", |text| {
                usize::try_from(quantity(text)?).ok()
            })?,
        };
        if let Some(source) = options.source
            && (source.is_ipv4() != options.addr.is_ipv4() || !options.addr.ip().is_multicast())
        {
            return Err(self.error("source= needs a multicast group of the same address family"));
        }
        self.done(&[&UDP_OPTIONS, more].concat())?;
        Ok(options)
    }

    /// An address that can be sent to.
    fn udp_to(&mut self) -> Result<UdpOutput, EndpointError> {
        let longest = DELAY_MAX.as_millis();
        let what = format!("delay: write milliseconds, 0 to {longest}");
        let smooth = self.read("smooth", &what, |text| {
            let delay = Duration::from_millis(text.parse().ok()?);
            (delay <= DELAY_MAX).then_some(delay)
        })?;
        let options = self.udp(&["smooth"])?;
        if options.addr.ip().is_unspecified() {
            return Err(self.error(format!(
                "an address to send to is missing: write {}://ADDRESS:PORT",
                self.scheme
            )));
        }
        Ok(UdpOutput {
            options,
            smooth: smooth.unwrap_or(SMOOTH_DEFAULT),
        })
    }

    fn path(&self) -> Result<PathBuf, EndpointError> {
        let path = self.rest.strip_prefix("//").unwrap_or(self.rest);
        let path = percent_decoded(path)
            .ok_or_else(|| self.error("the path is not UTF-8 once its %XX are read"))?;
        if path.is_empty() {
            return Err(self.error(format!("a path is missing: write {}:PATH", self.scheme)));
        }
        Ok(path.into())
    }

    fn plain_path(&self, there_are: &str) -> Result<PathBuf, EndpointError> {
        if self.text.is_empty() || self.text.contains("://") || !self.scheme.is_empty() {
            return Err(self.error(format!("not to be used here: there are {there_are}")));
        }
        Ok(self.text.into())
    }
}

/// A rate of at least `least` bits per second.
pub(crate) fn bits_per_second(text: &str, least: u64) -> Result<u64, EndpointError> {
    quantity(text)
        .filter(|&rate| rate >= least)
        .ok_or_else(|| EndpointError {
            url: text.to_owned(),
            why: format!("write bits per second, {least} or more, for example 8M"),
        })
}

/// A number with k, M or G (powers of 1000); it may have a fraction, as in 1.5M. `None` if it is none, or no whole number.
#[must_use]
pub fn quantity(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (text.get(..at)?, 1_000),
        (at, 'm' | 'M') => (text.get(..at)?, 1_000_000),
        (at, 'g' | 'G') => (text.get(..at)?, 1_000_000_000),
        _ => (text, 1),
    };
    let digits = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().ok()).flatten()
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = digits(fraction)?.checked_mul(unit)?;
    // No fractions of one.
    let part = part.is_multiple_of(scale).then_some(part / scale)?;
    digits(whole)?.checked_mul(unit)?.checked_add(part)
}

/// Reads %XX; a percent sign that begins none stands for itself.
fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |digit: &u8| char::from(*digit).to_digit(16);
        let escaped = match rest {
            [b'%', high, low, ..] => hex(high).zip(hex(low)),
            _ => None,
        };
        match escaped.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &rest[3..];
            }
            None => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

impl FromStr for Input {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let mut parts = Parts::new(text);
        match parts.scheme {
            "udp" => parts.udp(&[]).map(Self::Udp),
            "rtp" => {
                let header = parts.rtp_header()?;
                let options = parts.udp(&["header"])?;
                Ok(Self::Rtp { options, header })
            }
            "file" => {
                let repeat = parts.flag("loop")?.unwrap_or(false);
                parts.done(&["loop"])?;
                let path = parts.path()?;
                Ok(Self::File { path, repeat })
            }
            "pcap" => {
                let dst = parts.parse("dst", "address: write ADDRESS:PORT")?;
                let repeat = parts.flag("loop")?.unwrap_or(false);
                parts.done(&["dst", "loop"])?;
                let path = parts.path()?;
                Ok(Self::Pcap { path, dst, repeat })
            }
            "gen" => generated(parts),
            _ if parts.rest == "-" => parts.done(&[]).map(|()| Self::Stdin),
            _ => Ok(Self::file(&parts.plain_path(INPUTS)?)),
        }
    }
}

fn generated(mut parts: Parts<'_>) -> Result<Input, EndpointError> {
    let rate = parts.read(
        "rate",
        "rate: write bits per second, 100k or more, for example 4M",
        |text| quantity(text).filter(|&rate| rate >= RATE_MIN),
    )?;
    let seconds = parts.parse("seconds", "number of seconds")?;
    let seed = parts.parse("seed", "number")?;
    parts.done(&["rate", "seconds", "seed"])?;
    if !parts.rest.is_empty() {
        return Err(parts.error("nothing stands between gen: and its options: write gen:?rate=4M"));
    }
    Ok(Input::Generated {
        rate: rate.unwrap_or(4_000_000),
        seconds,
        seed: seed.unwrap_or(1),
    })
}

impl FromStr for Output {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let mut parts = Parts::new(text);
        match parts.scheme {
            "udp" => parts.udp_to().map(Self::Udp),
            "rtp" => parts.udp_to().map(Self::Rtp),
            "file" => {
                let strip = parts.rtp_header()? == RtpHeader::Strip;
                parts.done(&["header"])?;
                let path = parts.path()?;
                Ok(Self::File { path, strip })
            }
            _ if parts.rest == "-" => {
                let strip = parts.rtp_header()? == RtpHeader::Strip;
                parts.done(&["header"])?;
                Ok(Self::Stdout { strip })
            }
            _ => Ok(Self::file(&parts.plain_path(OUTPUTS)?)),
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
        let ip = options.addr.ip();
        if !ip.is_multicast() {
            let example = if ip.is_ipv4() { "239.1.1.1" } else { "ff15::1" };
            return Err(parts.error(format!(
                "{ip} is no multicast address: a group is 224.0.0.0 to 239.255.255.255 or ff00::/8, for example {example}"
            )));
        }
        Ok(Self(options))
    }
}
