//! The command line of the bench of commands.

use std::path::PathBuf;

use clap::Parser;

/// How many durable commands per second a master takes over HTTPS.
#[derive(Clone, Debug, Parser)]
#[command(name = "commands", max_term_width = 110)]
pub struct Options {
    /// Rounds; each number of connections and the baseline have their turn in each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// How long a turn is, in seconds
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=600))]
    pub seconds: u16,
    /// Connections
    #[arg(long, value_delimiter = ',', default_values_t = [64], value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub connections: Vec<u16>,
    /// Commands in one request; 1: a request for each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32], value_parser = clap::value_parser!(u16).range(1..=256))]
    pub per_request: Vec<u16>,
    /// Books that transfers are to; all are from the same
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub books: u32,
    /// Folder for stores, on the disk that is to be measured [default: the system's for temporary files]
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// A PostgreSQL server, whose turns follow those of the embedded store; each makes a database of its own there and leaves it
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
}
