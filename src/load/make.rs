//! `sealcast load make`: traces that are made up from a seed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::ValueEnum;
use sealcast_dataplane::endpoint::quantity;
use sealcast_loadgen::schedule::{Rate, Shape, Traffic};
use sealcast_loadgen::trace;
use sealcast_loadgen::trace::requests::{Fetch, Population};

use super::capture::create;
use super::stream::{packets, rate, shape};
use crate::Failure;

/// What is made.
#[derive(Debug, clap::Subcommand)]
pub enum MakeCommand {
    /// A packet trace: constant, variable or in bursts, of any number of channels
    Packets(PacketsArgs),
    /// A trace of key requests: devices that join, and all of them at every change of key
    Requests(RequestsArgs),
}

/// Flags of `sealcast load make packets`.
#[derive(Debug, clap::Args)]
pub struct PacketsArgs {
    /// Bits of payload per second, of all channels together, for example 20M
    #[arg(long, default_value = "10M", value_parser = rate)]
    rate: Rate,
    /// Datagrams per second, of all channels together, in place of --rate
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = packets)]
    pps: Option<Rate>,
    /// Bytes of payload of each datagram; multiples of 188 are TS packets
    #[arg(long, default_value_t = 1316, value_name = "BYTES")]
    size: usize,
    /// Channels
    #[arg(long, default_value_t = 1, value_name = "N")]
    channels: u32,
    /// How datagrams of a channel follow each other: constant, variable (as coded video), bursts:N
    #[arg(long, default_value = "constant", value_parser = shape)]
    shape: Shape,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Chooses what is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The trace to write; what is there is replaced
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// Flags of `sealcast load make requests`.
#[derive(Debug, clap::Args)]
pub struct RequestsArgs {
    /// Devices, each of which watches one channel
    #[arg(long, default_value = "1000", value_name = "N", value_parser = count)]
    devices: u32,
    /// Channels; all change their keys in the same moments
    #[arg(long, default_value_t = 1, value_name = "N")]
    channels: u16,
    /// Life of a key
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    lifetime: Duration,
    /// Second preset
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    fetch_ahead: Duration,
    /// What makes devices ask for the next key
    #[arg(long, value_enum, default_value = "timer")]
    fetch: FetchName,
    /// Over how long requests are spread; 0s: all in one instant [default: 0.7 of fetch-ahead; on demand 5ms]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    spread: Option<Duration>,
    /// Devices that turn to another channel, per second
    #[arg(long, default_value_t = 0, value_name = "N")]
    joins: u32,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Chooses what is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The trace to write; what is there is replaced
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// Occasions to fetch a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum FetchName {
    /// The second preset
    Timer,
    /// The Notice
    Notice,
    /// The first packet under the new key
    Demand,
}

pub(super) fn count(text: &str) -> Result<u32, String> {
    let number = quantity(text).and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| "write a number, with k or M if you like, for example 100k".to_owned())
}

/// Makes a trace.
pub fn run(command: &MakeCommand) -> Result<(), Failure> {
    match command {
        MakeCommand::Packets(args) => make_packets(args),
        MakeCommand::Requests(args) => make_requests(args),
    }
}

fn make_packets(args: &PacketsArgs) -> Result<(), Failure> {
    let traffic = Traffic {
        shape: args.shape,
        rate: args.pps.unwrap_or(args.rate),
        len: args.size,
        flows: args.channels,
        duration: args.duration,
        seed: args.seed,
    };
    let wrong = |why| Failure::Configuration(why);
    if traffic.rate == Rate::Unlimited {
        return Err(wrong(anyhow!(
            "a trace needs a rate with a limit: give --rate, for example 20M"
        )));
    }
    traffic.check().map_err(|error| wrong(error.into()))?;
    let made = trace::make(&traffic, create(&args.output)?);
    let summary = made.map_err(|error| unwritten(&args.output, error))?;
    println!("{}: {summary}", args.output.display());
    Ok(())
}

fn make_requests(args: &RequestsArgs) -> Result<(), Failure> {
    let (fetch, spread) = match args.fetch {
        FetchName::Timer => (Fetch::Timer, args.fetch_ahead * 7 / 10),
        FetchName::Notice => (Fetch::Notice, args.fetch_ahead * 7 / 10),
        FetchName::Demand => (Fetch::Demand, Duration::from_millis(5)),
    };
    let population = Population {
        devices: args.devices,
        channels: args.channels,
        lifetime: args.lifetime,
        fetch_ahead: args.fetch_ahead,
        fetch,
        spread: args.spread.unwrap_or(spread),
        joins: args.joins,
        duration: args.duration,
        seed: args.seed,
    };
    let checked = population.check();
    checked.map_err(|error| Failure::Configuration(error.into()))?;
    let written = population.write(create(&args.output)?);
    let count = written.map_err(|error| unwritten(&args.output, error))?;
    println!(
        "{}: {count} key requests of {} devices over {}",
        args.output.display(),
        args.devices,
        humantime::format_duration(args.duration)
    );
    Ok(())
}

fn unwritten(path: &Path, error: std::io::Error) -> Failure {
    Failure::CannotOpen(anyhow!("cannot write {}: {error}", path.display()))
}
