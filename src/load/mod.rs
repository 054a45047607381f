//! `sealcast load`: load, open loop, with its verification; and traces.

mod addresses;
mod capture;
mod keys;
mod make;
mod progress;
mod replay;
mod shop;
mod soak;
mod stream;

use crate::Failure;

/// What is loaded.
#[derive(Debug, clap::Subcommand)]
pub enum LoadCommand {
    /// Streams of stamped datagrams into groups or addresses, and sinks that verify them
    Stream(Box<stream::StreamArgs>),
    /// Devices that ask key doors, a million if need be, by the rules of real ones
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Devices that buy, with lost and doubled messages, and a look at what came of it
    Shop(Box<shop::ShopArgs>),
    /// Records a live feed or a capture as a trace: times and sizes, no content
    Capture(capture::CaptureArgs),
    /// Makes up a trace from a seed
    #[command(subcommand)]
    Make(make::MakeCommand),
    /// Many channels in this process, sent, received and checked for as long as one likes
    Soak(soak::SoakArgs),
}

/// Runs a load.
pub fn run(command: LoadCommand) -> Result<(), Failure> {
    match command {
        LoadCommand::Stream(args) => stream::run(&args),
        LoadCommand::Keys(command) => keys::run(&command),
        LoadCommand::Shop(args) => shop::run(&args),
        LoadCommand::Capture(args) => capture::run(&args),
        LoadCommand::Make(command) => make::run(&command),
        LoadCommand::Soak(args) => soak::run(&args),
    }
}
