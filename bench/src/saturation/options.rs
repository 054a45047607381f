//! The command line of the saturation bench.

use std::time::Duration;

use clap::{Parser, ValueEnum};

/// How much one core does: seal, send, receive, open alone, and the whole path in the same run. As root.
#[derive(Clone, Debug, Parser)]
#[command(name = "saturation", max_term_width = 110)]
pub struct Options {
    /// Rounds; everything is measured in each
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// How long a whole path is measured in a round, in ms; there is a key each second
    #[arg(long, value_name = "MS", default_value_t = 2000, value_parser = clap::value_parser!(u16).range(200..))]
    pub window: u16,
    /// Between which ends
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Path::value_variants().to_vec())]
    pub paths: Vec<Path>,
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::value_variants().to_vec())]
    pub parts: Vec<Part>,
    /// Datagrams per second that a channel receives
    #[arg(long, value_delimiter = ',', default_values_t = [1_000_000, 2_000_000, 2_500_000, 3_000_000], value_parser = clap::value_parser!(u32).range(1000..=20_000_000))]
    pub receive_rates: Vec<u32>,
    /// Single datagrams per second that a channel gets to send
    #[arg(long, value_delimiter = ',', default_values_t = [600_000, 800_000, 1_000_000, 1_100_000], value_parser = clap::value_parser!(u32).range(1000..=20_000_000))]
    pub input_rates: Vec<u32>,
    /// The core that sends
    #[arg(long, default_value_t = 0)]
    pub send_core: usize,
    /// The core that receives; keys are made there, too
    #[arg(long, default_value_t = 1)]
    pub receive_core: usize,
    /// Shards wait in io_uring, not in epoll
    #[arg(long)]
    pub io_uring: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Between which ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Path {
    /// On one host, over its loopback
    Lo,
    /// Between two hosts (network namespaces), over a pair of veth that hands batches on whole
    Veth,
}

impl Path {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Lo => "lo",
            Self::Veth => "veth",
        }
    }
}

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Part {
    /// Sealing, sending, a channel that sends from memory
    Send,
    /// Receiving, opening, a channel that receives
    Receive,
    /// A channel that gets single datagrams
    Input,
    /// Sending and opening with manifests, beside the same without
    Manifests,
    /// Sending without copies, to an interface behind which nobody listens
    ZeroCopy,
}

impl Options {
    /// How long a whole path is measured in a round.
    #[must_use]
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.window.into())
    }
}
