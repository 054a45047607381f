//! `sealcast config check | print`: configuration files without running anything.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::Failure;
use crate::config::{ChannelArgs, CommonArgs, Plan, Role};
use crate::serve::{ServeArgs, ServePlan};

/// Which program a file is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Program {
    /// `sealcast serve`
    Serve,
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
    /// Prints a commented example; for `serve` with a file: what would be in force, defaults and environment included
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
            check(*program, file.clone()).map_err(Failure::Configuration)?;
            println!("{} is good", file.display());
        }
        ConfigCommand::Print {
            program,
            file: None,
        } => print!("{}", example(*program)),
        ConfigCommand::Print {
            program: Program::Serve,
            file,
        } => {
            let plan = serve_plan(file.clone()).map_err(Failure::Configuration)?;
            let text = toml::to_string(&plan)
                .context("printing")
                .map_err(Failure::Configuration)?;
            print!("{text}");
        }
        ConfigCommand::Print {
            program,
            file: Some(file),
        } => {
            check(*program, file.clone()).map_err(Failure::Configuration)?;
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))
                .map_err(Failure::Configuration)?;
            print!("{text}");
        }
    }
    Ok(())
}

fn example(program: Program) -> &'static str {
    match program {
        Program::Serve => include_str!("../docs/examples/serve.toml"),
        Program::Send => include_str!("../docs/examples/send.toml"),
        Program::Receive => include_str!("../docs/examples/receive.toml"),
    }
}

fn serve_plan(file: Option<PathBuf>) -> anyhow::Result<ServePlan> {
    ServePlan::resolve(&ServeArgs::of_file(file))
}

fn check(program: Program, file: PathBuf) -> anyhow::Result<()> {
    let role = match program {
        Program::Serve => return serve_plan(Some(file)).map(drop),
        Program::Send => Role::Send,
        Program::Receive => Role::Receive,
    };
    let common = CommonArgs {
        config: Some(file),
        ..CommonArgs::default()
    };
    Plan::resolve(role, &common, &ChannelArgs::default()).map(drop)
}
