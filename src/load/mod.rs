//! `sealcast load`: load, open loop, with its verification.

mod addresses;
mod progress;
mod stream;

use crate::Failure;

/// What is loaded.
#[derive(Debug, clap::Subcommand)]
pub enum LoadCommand {
    /// Streams of stamped datagrams into groups or addresses, and sinks that verify them
    Stream(Box<stream::StreamArgs>),
}

/// Runs a load.
pub fn run(command: LoadCommand) -> Result<(), Failure> {
    match command {
        LoadCommand::Stream(args) => stream::run(&args),
    }
}
