//! The one binary: `sealcast demo`, `serve`, `send`, `receive`, `admin` and what belongs to them.
//!
//! Exit codes: 0 done; 1 it ran but something was not as it must be (demo: not proved; a channel failed; doctor: it found a
//! warning or an error, or a change failed); 2 wrong flags or configuration; 3 an input, output, socket or file could not be
//! opened.
#![forbid(unsafe_code)]
#![expect(
    unreachable_pub,
    reason = "in a binary, pub says what other rooms may use"
)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line speaks to people"
)]

mod admin;
mod audit;
mod backup;
mod bill;
mod channels;
mod config;
mod config_command;
mod content;
mod daemon;
mod demo;
mod device;
mod doctor;
mod door_hub;
mod identities;
mod keylog;
mod live;
mod load;
mod node_hub;
mod ops;
mod receive;
mod run;
mod send;
mod serve;
mod signals;
mod slave;
mod table;
mod upstream;
mod usage;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_crypto::Backend;
use sealcast_objects::api::Role;

/// Live content, encrypted once, multicast, keys changing without a lost packet.
#[derive(Debug, Parser)]
#[command(
    name = "sealcast",
    version,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Start with `sealcast demo`: the whole system on this machine, no set-up.\n\
    Exit codes: 0 done, 1 something was not as it must be, 2 wrong flags or configuration, 3 cannot open."
)]
struct Cli {
    /// Logs as JSON instead of text
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole system as processes on loopback: key changes, an outage of the key server; says what it proves
    Demo(demo::DemoArgs),
    /// The key server: channels, delivery servers, devices, rights, keys
    Serve(Box<serve::ServeArgs>),
    /// A delivery server: takes a TS, encrypts it, multicasts it
    Send(send::SendArgs),
    /// A receiver: joins, decrypts, delivers in order
    Receive(receive::ReceiveArgs),
    /// Administration of a key server
    Admin(admin::AdminArgs),
    /// Contents that are kept and downloaded: files, versions, what is known of them
    Content(content::ContentArgs),
    /// A device: its identity (`receive`), and its wallet: what it buys, downloads and plays
    #[command(subcommand)]
    Device(identities::DeviceCommand),
    /// The identity of a delivery server (`send`)
    #[command(subcommand)]
    Node(identities::IdentityCommand),
    /// A slave key server: answers devices in the master's place
    #[command(subcommand)]
    Slave(slave::SlaveCommand),
    /// The identity of an operator (`admin`)
    #[command(subcommand)]
    Operator(identities::IdentityCommand),
    /// Copies the store of a key server, which may be running
    Backup(backup::BackupArgs),
    /// Bills: shown, and computed again
    #[command(subcommand)]
    Bill(bill::BillCommand),
    /// Checks what a key server has written down
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Is this host fit for it? Kernel, limits, interface, processor: what is wrong, what it costs, and puts it right
    Doctor(doctor::DoctorArgs),
    /// Usage files: what was sent or received, by channel, epoch and lane
    #[command(subcommand)]
    Usage(usage::UsageCommand),
    /// Load generators, open loop, and what verifies what comes of it
    #[command(subcommand)]
    Load(load::LoadCommand),
    /// Prints the description of the key server's API: OpenAPI 3.1, as it is served at /openapi.json
    Openapi,
    /// Configuration files
    #[command(subcommand)]
    Config(config_command::ConfigCommand),
}

/// How a command ends when it does not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 1.
    NotAsItMustBe(anyhow::Error),
    /// Exit code 2.
    Configuration(anyhow::Error),
    /// Exit code 3.
    CannotOpen(anyhow::Error),
    /// Exit code 4: another key server writes to the store since.
    TakenOver,
}

impl Failure {
    fn parts(self) -> (u8, anyhow::Error) {
        match self {
            Self::NotAsItMustBe(error) => (1, error),
            Self::Configuration(error) => (2, error),
            Self::CannotOpen(error) => (3, error),
            Self::TakenOver => (
                4,
                anyhow::anyhow!(
                    "another key server has taken over the store: start this one again and it stands by"
                ),
            ),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The demo draws a table of its own.
    start_logging(
        cli.log_json,
        if matches!(cli.command, Command::Demo(_)) {
            "error"
        } else {
            "info,refinery_core=warn"
        },
    );
    let result = named_backend().and_then(|()| run(cli.command));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (code, error) = failure.parts();
            eprintln!("sealcast: {error:#}");
            ExitCode::from(code)
        }
    }
}

fn print_openapi() -> Result<(), Failure> {
    let text = sealcast_control::http::openapi().as_bytes();
    match io::stdout().write_all(text) {
        // Whoever reads may have read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::CannotOpen(error.into()))
        }
        _ => Ok(()),
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Admin(args) => admin::run(&args),
        Command::Content(args) => content::run(&args),
        Command::Device(command) => identities::run_device(&command),
        Command::Node(command) => identities::run(&command, Role::Node),
        Command::Slave(command) => slave::run(&command),
        Command::Operator(command) => identities::run(&command, Role::Admin),
        Command::Backup(args) => backup::run(&args),
        Command::Bill(command) => bill::run(&command),
        Command::Audit(command) => audit::run(&command),
        Command::Doctor(args) => doctor::run(&args),
        Command::Usage(command) => usage::run(&command),
        Command::Load(command) => load::run(command),
        Command::Openapi => print_openapi(),
        Command::Config(command) => config_command::run(&command),
        Command::Send(args) => send::run(&args),
        Command::Receive(args) => receive::run(&args),
    }
}

/// If the environment names a crypto backend, it must be one that runs here.
fn named_backend() -> Result<(), Failure> {
    let named = Backend::from_env().context(Backend::ENV);
    named.map(drop).map_err(Failure::Configuration)
}

/// A generator seeded by the operating system.
pub(crate) fn rng() -> StdRng {
    StdRng::try_from_rng(&mut rand::rngs::SysRng).expect("the operating system gives randomness")
}

/// Logs go to standard error; SEALCAST_LOG chooses what.
fn start_logging(json: bool, default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SEALCAST_LOG")
        .unwrap_or_else(|_| default.into());
    let colour = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(colour);
    if json {
        builder.json().init()
    } else {
        builder.init()
    }
}
