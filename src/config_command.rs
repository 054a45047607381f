//! `sealcast config check | print`: configuration files without running anything.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::Failure;
use crate::config::{ChannelArgs, CommonArgs, Plan, Role};
use crate::serve::{ServeArgs, ServePlan};
use crate::slave::{SlaveArgs, SlavePlan};

/// Which program a file is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Program {
    /// `sealcast serve`
    Serve,
    /// `sealcast slave serve`
    Slave,
    /// `sealcast send`
    Send,
    /// `sealcast receive`
    Receive,
}

/// Commands about configuration files.
#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Checks a file: unknown keys, values, what is missing
    Check {
        /// Which program it is for
        program: Program,
        /// The file
        file: PathBuf,
    },
    /// Prints a commented example; with a file: what would be in force, defaults included
    Print {
        /// Which program
        program: Program,
        /// The file
        file: Option<PathBuf>,
    },
}

/// Checks or prints.
pub fn run(command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { program, file } => {
            resolve(*program, file.clone()).map_err(Failure::Configuration)?;
            println!("{} is good", file.display());
        }
        ConfigCommand::Print {
            program,
            file: None,
        } => print!("{}", example(*program)),
        ConfigCommand::Print {
            program,
            file: Some(file),
        } => print!(
            "{}",
            in_force(*program, file.clone()).map_err(Failure::Configuration)?
        ),
    }
    Ok(())
}

fn example(program: Program) -> &'static str {
    match program {
        Program::Serve => include_str!("../docs/examples/serve.toml"),
        Program::Slave => include_str!("../docs/examples/slave.toml"),
        Program::Send => include_str!("../docs/examples/send.toml"),
        Program::Receive => include_str!("../docs/examples/receive.toml"),
    }
}

/// What a file is resolved into.
enum Resolved {
    Serve(Box<ServePlan>),
    Slave(SlavePlan),
    Cast(Role, Plan),
}

fn resolve(program: Program, file: PathBuf) -> anyhow::Result<Resolved> {
    let role = match program {
        Program::Serve => {
            let plan = ServePlan::resolve(&ServeArgs::of_file(Some(file)))?;
            return Ok(Resolved::Serve(Box::new(plan)));
        }
        Program::Slave => {
            return SlavePlan::resolve(&SlaveArgs::of_file(Some(file))).map(Resolved::Slave);
        }
        Program::Send => Role::Send,
        Program::Receive => Role::Receive,
    };
    let common = CommonArgs {
        config: Some(file),
        ..CommonArgs::default()
    };
    let plan = Plan::resolve(role, &common, &ChannelArgs::default())?;
    Ok(Resolved::Cast(role, plan))
}

fn in_force(program: Program, file: PathBuf) -> anyhow::Result<String> {
    match resolve(program, file)? {
        Resolved::Serve(plan) => toml::to_string(&plan).context("the settings cannot be printed"),
        Resolved::Slave(plan) => toml::to_string(&plan).context("the settings cannot be printed"),
        Resolved::Cast(role, plan) => plan.in_force(role),
    }
}
