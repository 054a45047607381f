//! `sealcast device|node|slave|operator enrol`: from a one-time code to an identity file.

use std::path::PathBuf;

use anyhow::Context as _;
use sealcast_objects::api::Role;
use sealcast_objects::code::{Code, NoCode};
use sealcast_terminal::enrol;
use sealcast_terminal::identity::FileError;

use crate::Failure;

/// Commands about identities.
#[derive(Debug, clap::Subcommand)]
pub enum IdentityCommand {
    /// Makes a key, enrols it with a one-time code, writes the identity file
    Enrol(EnrolArgs),
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

/// Enrols as `role`.
pub(crate) fn enrol_as(args: &EnrolArgs, role: Role) -> Result<(), Failure> {
    let code = args
        .code
        .parse::<Code>()
        .map_err(|error: NoCode| Failure::Configuration(error.into()))?;
    if !args.server.starts_with("https://") {
        let error = anyhow::anyhow!(
            "{:?} is no address of a key server: it looks like https://keys.example:8443",
            args.server
        );
        return Err(Failure::Configuration(error));
    }
    if args.out.exists() {
        let error = FileError::Exists(args.out.clone());
        return Err(Failure::CannotOpen(error.into()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::CannotOpen(error.into()))?;
    let enrolled = runtime.block_on(async {
        let key = enrol::new_key()?;
        enrol::enrol(&args.server, &code, &key, role).await
    });
    let identity = enrolled.map_err(|error| Failure::CannotOpen(error.into()))?;
    identity
        .save(&args.out)
        .context(
            "the code is used, but the identity could not be kept: ask the operator for a new code",
        )
        .map_err(Failure::CannotOpen)?;
    println!(
        "enrolled {} {} until {}; identity in {}",
        role.name(),
        identity.subject,
        identity.until,
        args.out.display()
    );
    Ok(())
}
