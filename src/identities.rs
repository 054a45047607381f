//! `sealcast device|node|slave|operator enrol`: from a one-time code to an identity file; and how a device takes the place of a lost one.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sealcast_objects::RecoveryId;
use sealcast_objects::api::{Recovery, RecoveryState, Role};
use sealcast_objects::code::{Code, NoCode};
use sealcast_objects::id::Text;
use sealcast_terminal::enrol;
use sealcast_terminal::https::Client;
use sealcast_terminal::identity::{FileError, Identity};

use crate::Failure;
use crate::admin::devices::parse_id;
use crate::admin::failure;
use crate::device;

/// Commands about identities.
#[derive(Debug, clap::Subcommand)]
pub enum IdentityCommand {
    /// Makes a key, enrols it with a one-time code, writes the identity file
    Enrol(EnrolArgs),
}

/// Commands about devices.
#[derive(Debug, clap::Subcommand)]
pub enum DeviceCommand {
    /// Makes a key, enrols it with a one-time code, writes the identity file
    Enrol(EnrolArgs),
    /// Takes the place of a lost device, with the code that the operator gave: run it once to begin, and again when the delay is over
    Recover(EnrolArgs),
    /// Objects to a recovery: the device that is said to be lost is not
    Object {
        /// Which, as the notice names it
        #[arg(value_parser = parse_id::<RecoveryId>)]
        recovery: Text<RecoveryId>,
        /// Identity of another device of the account
        #[arg(long, value_name = "FILE")]
        identity: PathBuf,
    },
    /// Enrols a device by the key that it was made with, writes the identity file
    EnrolMade {
        /// Address of the key server: https://HOST:PORT
        #[arg(long, value_name = "URL")]
        server: String,
        /// The key from the factory, PKCS #8, PEM
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The certificate of the key server's CA, PEM
        #[arg(long, value_name = "FILE")]
        ca: PathBuf,
        /// File to write (mode 0600); it must not exist
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
    },
    #[command(flatten)]
    Wallet(device::Command),
}

/// Flags of `enrol`.
#[derive(Debug, clap::Args)]
pub struct EnrolArgs {
    /// Address of the key server: https://HOST:PORT
    #[arg(long, value_name = "URL")]
    server: String,
    /// The one-time code that the operator gave; it carries the fingerprint of the server's CA
    #[arg(long, env = "SEALCAST_CODE", value_name = "SC1-...")]
    code: String,
    /// File to write (mode 0600); it must not exist
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
}

/// Runs one command.
pub fn run(command: &IdentityCommand, role: Role) -> Result<(), Failure> {
    let IdentityCommand::Enrol(args) = command;
    enrol_as(args, role)
}

/// Runs a command about devices.
pub fn run_device(command: &DeviceCommand) -> Result<(), Failure> {
    match command {
        DeviceCommand::Enrol(args) => enrol_as(args, Role::Device),
        DeviceCommand::Recover(args) => recover(args),
        DeviceCommand::Object { recovery, identity } => object(*recovery, identity),
        DeviceCommand::Wallet(command) => device::run(command),
        DeviceCommand::EnrolMade {
            server,
            key,
            ca,
            out,
        } => enrol_made(server, key, ca, out),
    }
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::CannotOpen(error.into()))
}

fn recover(args: &EnrolArgs) -> Result<(), Failure> {
    let code = args.code()?;
    let used = runtime()?.block_on(enrol::recover(&args.server, &code));
    let recovery = used.map_err(failure)?;
    if recovery.state == RecoveryState::Done {
        return enrol_as(args, Role::Device);
    }
    let ready = recovery.ready_at.unwrap_or(recovery.until);
    println!(
        "{} is suspended; run this again after {ready}, until {}: then this code enrols the device that takes its place",
        recovery.device, recovery.until
    );
    Ok(())
}

fn object(recovery: Text<RecoveryId>, identity: &Path) -> Result<(), Failure> {
    let identity = Identity::load(identity, Role::Device);
    let identity = identity.map_err(|error| Failure::CannotOpen(error.into()))?;
    let client = Client::new(&identity).map_err(failure)?;
    let path = format!("/v1/recoveries/{recovery}/object");
    let refused = runtime()?.block_on(client.post::<Recovery>(&path, &()));
    let refused = refused.map_err(failure)?;
    println!("{} is {}", refused.id, refused.state.name());
    Ok(())
}

fn enrol_made(server: &str, key: &Path, ca: &Path, out: &Path) -> Result<(), Failure> {
    check_server(server)?;
    let read = |file: &Path| {
        std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))
            .map_err(Failure::CannotOpen)
    };
    let (key, ca) = (read(key)?, read(ca)?);
    let enrolled = runtime()?.block_on(enrol::enrol_made(server, &key, &ca));
    keep(&enrolled.map_err(failure)?, out)
}

/// Enrols as `role`.
pub(crate) fn enrol_as(args: &EnrolArgs, role: Role) -> Result<(), Failure> {
    let code = args.code()?;
    if args.out.exists() {
        let error = FileError::Exists(args.out.clone());
        return Err(Failure::CannotOpen(error.into()));
    }
    let enrolled = runtime()?.block_on(async {
        let key = enrol::new_key()?;
        enrol::enrol(&args.server, &code, &key, role).await
    });
    keep(
        &enrolled.map_err(|error| Failure::CannotOpen(error.into()))?,
        &args.out,
    )
}

impl EnrolArgs {
    /// The code, if that and the server can be.
    fn code(&self) -> Result<Code, Failure> {
        check_server(&self.server)?;
        self.code
            .parse()
            .map_err(|error: NoCode| Failure::Configuration(error.into()))
    }
}

fn check_server(server: &str) -> Result<(), Failure> {
    if server.starts_with("https://") {
        return Ok(());
    }
    let error = anyhow::anyhow!(
        "{server:?} is no address of a key server: it looks like https://keys.example:8443"
    );
    Err(Failure::Configuration(error))
}

/// Writes an identity that is new.
fn keep(identity: &Identity, out: &Path) -> Result<(), Failure> {
    identity
        .save(out)
        .context(
            "the code is used, but the identity could not be kept: ask the operator for a new code",
        )
        .map_err(Failure::CannotOpen)?;
    println!(
        "enrolled {} {} until {}; identity in {}",
        identity.role.name(),
        identity.subject,
        identity.until,
        out.display()
    );
    Ok(())
}
