//! Who takes part, and how each is run. All get what they need to carry the rate: buffers, no bandwidth limits; and those that
//! can change keys do so as often as sealcast.

use clap::ValueEnum;
use serde::Serialize;

use super::ours::Sealcast;
use super::payload::{Framing, SSRC};
use super::program::CommandLine;
use super::traffic::{INPUT, OUTPUT};
use crate::lab::{INTERFACE, Side};

/// Who takes part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// `sealcast serve`, `send` and `receive`; a key each second
    Sealcast,
    /// `srt-live-transmit` (libsrt), unicast, a key each second
    Srt,
    /// The same with a key for every so many packets (--often), and threads on both cores: what becomes of the packets then
    SrtOften,
    /// `ristsender` and `ristreceiver` (librist), main profile, a key each second
    Librist,
    /// `gst-launch-1.0` with srtpenc and srtpdec (libsrtp); one key
    Gstreamer,
    /// `ffmpeg` with its srtp protocol; one key
    Ffmpeg,
}

/// How keys change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keys {
    /// They do not.
    Never,
    /// By count: a key for so many packets.
    Packets(u64),
    /// By time: the sender tells its epoch.
    Told,
}

/// One of them, ready to run.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub(super) cipher: &'static str,
    pub(super) addressing: &'static str,
    pub(super) framing: Framing,
    pub(super) keys: Keys,
    /// Whether its threads may run beside each other, so that what they do not agree on shows.
    pub(super) any_core: bool,
    /// Where its receiver listens.
    pub(super) port: u16,
    /// A key server, and what it says when it runs.
    pub(super) server: Option<(CommandLine, &'static str)>,
    pub(super) sender: CommandLine,
    pub(super) receiver: CommandLine,
}

/// A key's life, in seconds, for those whose keys change by count.
const KEY_SECONDS: u64 = 1;
/// Bytes of socket buffers that are asked for; the kernel gives as many as net.core.rmem_max says.
const BUFFER: u32 = 8 << 20;
/// TTL of multicast packets.
const TTL: u8 = 4;
/// Passphrase of those that derive keys from one.
const PASSPHRASE: &str = "passphrase-of-peers";

impl Name {
    /// For people.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Sealcast => "sealcast",
            Self::Srt => "SRT",
            Self::SrtOften => "SRT, many keys, two cores",
            Self::Librist => "librist",
            Self::Gstreamer => "GStreamer SRTP",
            Self::Ffmpeg => "ffmpeg SRTP",
        }
    }

    /// The Debian packages that it needs.
    pub(super) const fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Sealcast => &[],
            Self::Srt | Self::SrtOften => &["srt-tools"],
            Self::Librist => &["rist-tools"],
            Self::Gstreamer => &[
                "gstreamer1.0-tools",
                "gstreamer1.0-plugins-good",
                "gstreamer1.0-plugins-bad",
            ],
            Self::Ffmpeg => &["ffmpeg"],
        }
    }

    /// Ready for `rate` packets per second; where keys change often, each is for `often` of them. None if it is sealcast, and
    /// there is none.
    pub(super) fn contender(
        self,
        rate: u32,
        often: u32,
        sealcast: Option<&Sealcast>,
    ) -> Option<Contender> {
        let key = u64::from(rate) * KEY_SECONDS;
        Some(match self {
            Self::Sealcast => sealcast?.contender(),
            Self::Srt => srt(rate, key),
            Self::SrtOften => Contender {
                any_core: true,
                ..srt(rate, often.into())
            },
            Self::Librist => librist(rate, key),
            Self::Gstreamer => gstreamer(),
            Self::Ffmpeg => ffmpeg(),
        })
    }
}

/// The sender listens, so that a receiver can join while the stream runs, as with multicast.
fn srt(rate: u32, key: u64) -> Contender {
    const PORT: u16 = 9000;
    let host = Side::Sender.ip();
    let ahead = 4000.min((key - 1) / 2);
    // Packets in flight, and 1500 bytes for each: a second of them, at least the defaults.
    let flight = rate.max(25_600);
    let buffer = u64::from(flight) * 1500;
    let common =
        format!("passphrase={PASSPHRASE}&latency=120&fc={flight}&rcvbuf={buffer}&sndbuf={buffer}");
    let keys = format!("pbkeylen=32&kmrefreshrate={key}&kmpreannounce={ahead}&maxbw=-1");
    let program = ["-loglevel:error", "-chunk:1316"];
    let run = |from: &str, to: &str| {
        CommandLine::new("srt-live-transmit", program.into_iter().chain([from, to]))
    };
    Contender {
        cipher: "AES-256-CTR, no tag",
        addressing: "unicast",
        framing: Framing::Bare,
        keys: Keys::Packets(key),
        // The receiver calls; from which port is its kernel's choice.
        any_core: false,
        port: PORT,
        server: None,
        sender: run(
            &format!("udp://{INPUT}?rcvbuf={BUFFER}"),
            &format!("srt://:{PORT}?mode=listener&{common}&{keys}"),
        ),
        receiver: run(
            &format!("srt://{host}:{PORT}?mode=caller&{common}"),
            &format!("udp://{OUTPUT}"),
        ),
    }
}

fn librist(rate: u32, key: u64) -> Contender {
    const PORT: u16 = 8002;
    let group = format!("239.1.1.2:{PORT}");
    // kbit/s, twice what is sent: it must not limit.
    let bandwidth = u64::from(rate) * 1316 * 8 / 1000 * 2;
    let common = format!("secret={PASSPHRASE}&aes-type=256&buffer=200&bandwidth={bandwidth}");
    let run = |program: &str, from: &str, to: &str| {
        let quiet = ["-p", "1", "-S", "0", "-v", "4"];
        CommandLine::new(program, quiet.into_iter().chain(["-i", from, "-o", to]))
    };
    Contender {
        cipher: "AES-256-CTR, no tag",
        addressing: "multicast",
        framing: Framing::Bare,
        keys: Keys::Packets(key),
        any_core: false,
        port: PORT,
        server: None,
        sender: run(
            "ristsender",
            &format!("udp://@{INPUT}"),
            &format!(
                "rist://{group}?miface={}&{common}&key-rotation={key}",
                Side::Sender.ip()
            ),
        ),
        receiver: run(
            "ristreceiver",
            &format!("rist://@{group}?miface={}&{common}", Side::Receiver.ip()),
            &format!("udp://{OUTPUT}"),
        ),
    }
}

/// Packets come and go as RTP, so that its pipelines are nothing but sockets and crypto.
fn gstreamer() -> Contender {
    const GROUP: &str = "239.1.1.4";
    const PORT: u16 = 8004;
    // 32 bytes of key, 12 of salt.
    let key = hex(44);
    let (input, output) = (INPUT.port(), OUTPUT.port());
    let stream =
        format!("media=video,clock-rate=90000,encoding-name=MP2T,payload=33,ssrc=(uint){SSRC}");
    let ciphers = "srtp-cipher=aes-256-gcm,srtp-auth=null,srtcp-cipher=aes-256-gcm,srtcp-auth=null";
    let from = format!("buffer-size={BUFFER} retrieve-sender-address=false");
    let to = format!("sync=false async=false buffer-size={BUFFER}");
    Contender {
        cipher: "AES-256-GCM",
        addressing: "multicast",
        framing: Framing::Rtp,
        keys: Keys::Never,
        any_core: false,
        port: PORT,
        server: None,
        sender: CommandLine::split(&format!(
            "gst-launch-1.0 -q udpsrc address=127.0.0.1 port={input} {from} caps=application/x-rtp,{stream} \
             ! srtpenc key={key} rtp-cipher=aes-256-gcm rtp-auth=null rtcp-cipher=aes-256-gcm rtcp-auth=null \
             ! udpsink host={GROUP} port={PORT} multicast-iface={INTERFACE} ttl-mc={TTL} {to}"
        )),
        receiver: CommandLine::split(&format!(
            "gst-launch-1.0 -q udpsrc address={GROUP} port={PORT} multicast-iface={INTERFACE} {from} \
             caps=application/x-srtp,{stream},srtp-key=(buffer){key},{ciphers},roc=(uint)0 \
             ! srtpdec ! udpsink host=127.0.0.1 port={output} {to}"
        )),
    }
}

/// Its RTP demuxer and muxer would make a new TS; as *data*, RTP packets pass through its SRTP as they are.
fn ffmpeg() -> Contender {
    const PORT: u16 = 8006;
    let group = format!("239.1.1.5:{PORT}");
    const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";
    // 16 bytes of key, 14 of salt, in Base64.
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd";
    let packet = Framing::Rtp.datagram();
    let read = format!(
        "-nostdin -hide_banner -loglevel error -fflags nobuffer -f data -raw_packet_size {packet}"
    );
    let write = "-map 0 -c copy -f data -flush_packets 1";
    let (sender, receiver) = (Side::Sender.ip(), Side::Receiver.ip());
    Contender {
        cipher: "AES-128-CTR, HMAC-SHA1-80",
        addressing: "multicast",
        framing: Framing::Rtp,
        keys: Keys::Never,
        any_core: false,
        port: PORT,
        server: None,
        sender: CommandLine::split(&format!(
            "ffmpeg {read} -i udp://{INPUT}?buffer_size={BUFFER}&fifo_size=50000&overrun_nonfatal=1 \
             {write} -srtp_out_suite {SUITE} -srtp_out_params {KEY} \
             srtp://{group}?localaddr={sender}&ttl={TTL}&pkt_size=1400"
        )),
        receiver: CommandLine::split(&format!(
            "ffmpeg {read} -srtp_in_suite {SUITE} -srtp_in_params {KEY} \
             -i srtp://{group}?localaddr={receiver}&buffer_size={BUFFER} {write} udp://{OUTPUT}?pkt_size={packet}"
        )),
    }
}

/// So many bytes of a key that everybody knows, in hexadecimal digits.
fn hex(bytes: u8) -> String {
    (0..bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn srt_announces_keys_no_earlier_than_it_may() {
        // libsrt refuses more than half of a key's packets.
        for (key, ahead) in [(200, 99), (20_000, 4000), (5000, 2499)] {
            let line = format!("{:?}", srt(20_000, key).sender);
            let wanted = format!("kmrefreshrate={key}&kmpreannounce={ahead}&");
            assert!(line.contains(&wanted), "{line}");
        }
    }

    #[test]
    fn everybody_but_sealcast_needs_packages_and_has_command_lines() {
        for &name in Name::value_variants() {
            let contender = name.contender(20_000, 500, None);
            assert_eq!(contender.is_none(), name == Name::Sealcast);
            assert_eq!(name.packages().is_empty(), name == Name::Sealcast);
        }
        assert_eq!(hex(3), "000102");
    }
}
