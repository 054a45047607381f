//! The command line of the bench of key doors.

use clap::Parser;

/// How many key requests one core answers, and what an answer is made of.
#[derive(Clone, Debug, Parser)]
#[command(name = "keydoor", max_term_width = 110)]
pub struct Options {
    /// Rounds; every rate has its turn in each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// How long requests are sent in a turn, in ms
    #[arg(long, value_name = "MS", default_value_t = 2000, value_parser = clap::value_parser!(u16).range(100..))]
    pub window: u16,
    /// Requests per second
    #[arg(long, value_delimiter = ',', default_values_t = [150_000, 250_000, 300_000, 350_000, 450_000], value_parser = clap::value_parser!(u32).range(1000..=2_000_000))]
    pub rates: Vec<u32>,
    /// Sockets of the devices
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..=900))]
    pub sockets: u16,
    /// The core of the door
    #[arg(long, default_value_t = 0)]
    pub door_core: usize,
    /// The core of the devices
    #[arg(long, default_value_t = 1)]
    pub load_core: usize,
    /// The door waits in io_uring, not in epoll
    #[arg(long)]
    pub io_uring: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
}
