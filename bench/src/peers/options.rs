//! The command line of the peers bench.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum as _};

use super::contender::Name;

/// sealcast beside SRT, librist, GStreamer and ffmpeg: what a packet costs, what gets lost, how long joining takes. As root.
#[derive(Clone, Debug, Parser)]
#[command(name = "peers", max_term_width = 110)]
pub struct Options {
    /// Packets per second
    #[arg(long, value_delimiter = ',', default_values_t = [20_000, 200_000], value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub rates: Vec<u32>,
    /// Rounds; everybody has a turn in each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// How long is measured in a turn, in seconds; joining and settling come on top
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=600))]
    pub seconds: u16,
    /// Who takes part
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Name::value_variants().to_vec())]
    pub only: Vec<Name>,
    /// Packets of a key in turns of srt-often
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(100..))]
    pub often: u32,
    /// Install no packages: who lacks some is left out
    #[arg(long)]
    pub no_install: bool,
    /// The sealcast to run [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    pub sealcast: Option<PathBuf>,
    /// More flags for `sealcast send`
    #[arg(
        long,
        value_name = "FLAGS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub sealcast_send_args: String,
    /// More flags for `sealcast receive`
    #[arg(
        long,
        value_name = "FLAGS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub sealcast_receive_args: String,
    /// How long sealcast's output may wait to leave in even time, in ms (`smooth=` of its output)
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub sealcast_smooth: u16,
    /// The core of whoever has its turn
    #[arg(long, default_value_t = 0)]
    pub peer_core: usize,
    /// The core of generator, checker and key server; one that does nothing else
    #[arg(long, default_value_t = 1)]
    pub own_core: usize,
    /// Let the checker's socket take batches whole (UDP_GRO); those of most players do not
    #[arg(long)]
    pub gro: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
    /// Draw µs per packet into this SVG file
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}

impl Options {
    /// How long is measured in a turn.
    #[must_use]
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_sealcast_may_begin_with_hyphens() {
        let options = Options::parse_from([
            "peers",
            "--sealcast-send-args",
            "--budget 2ms",
            "--only",
            "sealcast,srt-often",
        ]);
        assert_eq!(options.sealcast_send_args, "--budget 2ms");
        assert_eq!(options.only, [Name::Sealcast, Name::SrtOften]);
        assert!(Options::try_parse_from(["peers", "--rates", "0"]).is_err());
    }
}
