//! `sealcast load keys`: devices that ask key doors, and the sessions that they ask with.

mod mint;
mod renew;
mod run;

use crate::Failure;

/// Flags of `sealcast load keys`.
#[derive(Debug, clap::Subcommand)]
pub enum KeysCommand {
    /// Makes sessions of devices offline, with a key server's store and master key: the file is as secret as these
    Mint(mint::MintArgs),
    /// Devices ask key doors as real ones do: at a rate, all at once, at a change of key, or as a trace says
    Run(Box<run::RunArgs>),
    /// Devices renew their sessions, at a rate, each over a connection of its own
    Renew(renew::RenewArgs),
}

/// Runs one.
pub fn run(command: &KeysCommand) -> Result<(), Failure> {
    match command {
        KeysCommand::Mint(args) => mint::run(args),
        KeysCommand::Run(args) => run::run(args),
        KeysCommand::Renew(args) => renew::run(args),
    }
}
