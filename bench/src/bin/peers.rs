//! The peers bench; see `sealcast_bench::peers`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line speaks to people")]

use clap::Parser as _;
use sealcast_bench::peers::{Options, run};

fn main() -> anyhow::Result<()> {
    print!("{}", run(&Options::parse())?);
    Ok(())
}
