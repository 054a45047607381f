//! The bench of the master's commands; see `sealcast_bench::commands`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line speaks to people")]

use clap::Parser as _;
use sealcast_bench::commands::{Options, run};

fn main() -> anyhow::Result<()> {
    print!("{}", run(&Options::parse())?);
    Ok(())
}
